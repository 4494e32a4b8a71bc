//! Vectors and properties of every RTCP packet, read through [`Compound`] as a datagram is.

use super::*;
use crate::vectors::hex;
use proptest::prelude::*;

/// The only packet of a datagram.
fn one(datagram: &[u8]) -> Packet<'_> {
    let mut packets = Compound::new(datagram);
    let packet = packets.next().expect("a packet").expect("well formed");
    assert!(packets.next().is_none(), "one packet");
    packet
}

fn refused(text: &str) -> &'static str {
    Compound::new(&hex(text))
        .next()
        .expect("an answer")
        .expect_err("malformed")
        .code()
}

fn block(ssrc: u32) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: 64,
        cumulative_lost: -2,
        highest_sequence: 0x0001_0010,
        jitter: 90,
        lsr: 0xb705_2000,
        dlsr: 0x0005_4000,
    }
}

#[test]
fn sender_report_vector() {
    let datagram = hex(
        "81c8000c 11111111 b44db705 20000000 00015f90 00000064 00002710
         22222222 40fffffe 00010010 0000005a b7052000 00054000",
    );
    let Packet::SenderReport(report) = one(&datagram) else {
        panic!("an SR")
    };
    assert_eq!(report.ssrc, 0x1111_1111);
    assert_eq!(
        report.info,
        SenderInfo {
            ntp: Ntp(0xb44d_b705_2000_0000),
            rtp_timestamp: 90_000,
            packet_count: 100,
            octet_count: 10_000,
        }
    );
    assert_eq!(report.reports().collect::<Vec<_>>(), [block(0x2222_2222)]);
    let mut out = Vec::new();
    SenderReport::write(&mut out, report.ssrc, &report.info, &[block(0x2222_2222)]);
    assert_eq!(out, datagram);
}

#[test]
fn receiver_report_may_be_empty_and_holds_31_blocks() {
    let mut out = Vec::new();
    ReceiverReport::write(&mut out, 7, &[]);
    assert_eq!(out, hex("80c90001 00000007"));
    out.clear();
    let blocks: Vec<_> = (0..40).map(block).collect();
    ReceiverReport::write(&mut out, 7, &blocks);
    let Packet::ReceiverReport(report) = one(&out) else {
        panic!("an RR")
    };
    assert_eq!(report.reports().collect::<Vec<_>>(), blocks[..31]);
    assert_eq!(refused("81c90001 00000007"), "rtcp.malformed");
}

#[test]
fn cumulative_loss_is_written_as_the_nearest_of_24_bits() {
    let mut out = Vec::new();
    let blocks = [i32::MAX, i32::MIN].map(|lost| ReportBlock {
        cumulative_lost: lost,
        ..block(1)
    });
    ReceiverReport::write(&mut out, 7, &blocks);
    let Packet::ReceiverReport(report) = one(&out) else {
        panic!("an RR")
    };
    let lost: Vec<_> = report
        .reports()
        .map(|block| block.cumulative_lost)
        .collect();
    assert_eq!(lost, [0x7f_ffff, -0x80_0000]);
}

#[test]
fn sdes_names_each_source() {
    // NAME before CNAME; the second chunk ends exactly at a word and so has a word of zeros.
    let datagram = hex("82ca0006 00000001 02016e01 01610000 00000002 01026263 00000000");
    let Packet::Sdes(sdes) = one(&datagram) else {
        panic!("an SDES")
    };
    assert_eq!(sdes.cname(1), Some("a"));
    assert_eq!(sdes.cname(2), Some("bc"));
    assert_eq!(sdes.cname(3), None);
    assert_eq!(sdes.chunks().count(), 2);
    assert_eq!(refused("81ca0002 00000001 01ff6162"), "rtcp.malformed");
    assert_eq!(refused("81ca0002 00000001 01026162"), "rtcp.malformed");
}

#[test]
fn written_sdes_ends_with_a_zero() {
    let mut out = Vec::new();
    Sdes::write(&mut out, 1, "ab");
    assert_eq!(out, hex("81ca0003 00000001 01026162 00000000"));
    out.clear();
    Sdes::write(&mut out, 1, &"é".repeat(200));
    let Packet::Sdes(sdes) = one(&out) else {
        panic!("an SDES")
    };
    assert_eq!(sdes.cname(1), Some("é".repeat(127).as_str()));
}

#[test]
fn bye_with_and_without_a_reason() {
    let mut out = Vec::new();
    Bye::write(&mut out, &[1, 2], "done");
    assert_eq!(out, hex("82cb0004 00000001 00000002 04646f6e 65000000"));
    let Packet::Bye(bye) = one(&out) else {
        panic!("a BYE")
    };
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(bye.reason(), Some("done"));
    out.clear();
    Bye::write(&mut out, &[], "");
    assert_eq!(out, hex("80cb0000"));
    let Packet::Bye(bye) = one(&out) else {
        panic!("a BYE")
    };
    assert_eq!((bye.ssrcs().count(), bye.reason()), (0, None));
    assert_eq!(refused("81cb0000"), "rtcp.malformed");
    assert_eq!(refused("80cb0001 04616263"), "rtcp.malformed");
}

#[test]
fn nack_packs_seventeen_into_a_pair() {
    let mut out = Vec::new();
    let lost = [65_534, 65_535, 0, 14, 15, 100];
    assert_eq!(Nack::write(&mut out, 1, 2, lost), 6);
    assert_eq!(
        out,
        hex("81cd0005 00000001 00000002 fffe8003 000f0000 00640000")
    );
}

#[test]
fn nack_is_bounded_both_ways() {
    let mut out = Vec::new();
    assert_eq!(Nack::write(&mut out, 1, 2, []), 0);
    assert!(out.is_empty());
    let sparse = (0..u16::MAX).step_by(20);
    assert_eq!(Nack::write(&mut out, 1, 2, sparse.clone()), Nack::MAX_PAIRS);
    let Packet::Nack(nack) = one(&out) else {
        panic!("a NACK")
    };
    assert!(nack.lost().eq(sparse.take(Nack::MAX_PAIRS)));
    let mut longer = out.clone();
    longer.extend([0; 4]);
    longer[2..4].copy_from_slice(&(2 + 513_u16).to_be_bytes());
    assert_eq!(
        Compound::new(&longer).next().unwrap().unwrap_err().code(),
        "rtcp.malformed"
    );
}

#[test]
fn keyframe_requests() {
    let mut out = Vec::new();
    Pli::write(&mut out, 1, 2);
    assert_eq!(out, hex("81ce0002 00000001 00000002"));
    assert_eq!(
        one(&out),
        Packet::Pli(Pli {
            sender_ssrc: 1,
            media_ssrc: 2
        })
    );
    out.clear();
    Fir::write(
        &mut out,
        1,
        &[FirEntry {
            ssrc: 2,
            sequence: 9,
        }],
    );
    assert_eq!(out, hex("84ce0004 00000001 00000000 00000002 09000000"));
    let Packet::Fir(fir) = one(&out) else {
        panic!("a FIR")
    };
    assert_eq!(
        fir.entries().collect::<Vec<_>>(),
        [FirEntry {
            ssrc: 2,
            sequence: 9
        }]
    );
    assert_eq!(refused("81ce0001 00000001"), "rtcp.malformed");
}

#[test]
fn remb_vector() {
    let datagram = hex("8fce0006 00000001 00000000 52454d42 020bf290 00000002 00000003");
    let Packet::Remb(remb) = one(&datagram) else {
        panic!("a REMB")
    };
    assert_eq!(remb.bitrate, 0x3f290 << 2);
    assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [2, 3]);
    let mut out = Vec::new();
    Remb::write(&mut out, 1, remb.bitrate, &[2, 3]);
    assert_eq!(out, datagram);
}

#[test]
fn remb_beyond_64_bits_is_the_most_there_is() {
    let datagram = hex("8fce0004 00000001 00000000 52454d42 00ffffff");
    let Packet::Remb(remb) = one(&datagram) else {
        panic!("a REMB")
    };
    assert_eq!(remb.bitrate, u64::MAX);
    assert_eq!(
        refused("8fce0004 00000001 00000000 52454d42 01000001"),
        "rtcp.malformed"
    );
    let other = hex("8fce0003 00000001 00000000 41424344");
    assert!(matches!(
        one(&other),
        Packet::Unknown {
            packet_type: 206,
            count: 15,
            ..
        }
    ));
}

#[test]
fn twcc_vector() {
    // Base 5, 7 packets, reference 0x000102, feedback 3. A two-bit vector: small, lost, large,
    // small, and three lost; deltas 4, -2, 255; padding to a word.
    let datagram = hex("8fcd0006 00000001 00000002 00050007 00010203 d240 04 fffe ff 0000");
    let Packet::Twcc(twcc) = one(&datagram) else {
        panic!("a TWCC")
    };
    let header = TwccHeader {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence: 5,
        reference_time: 0x102,
        feedback_count: 3,
    };
    assert_eq!(twcc.header, header);
    let statuses = [Some(4), None, Some(-2), Some(255), None, None, None];
    let packets: Vec<_> = twcc.packets().collect();
    assert!(packets.iter().copied().eq((5..).zip(statuses)));
    assert_eq!(twcc.packets().len(), 7);
    let mut out = Vec::new();
    assert_eq!(Twcc::write(&mut out, &header, &statuses), 7);
    assert_eq!(out, datagram);
}

#[test]
fn twcc_that_lies_about_itself_is_refused() {
    let feedback = |count: &str, rest: &str| {
        let words = 4 + rest.replace(' ', "").len() / 8;
        refused(&format!(
            "8fcd{words:04x} 00000001 00000002 0005{count} 00000000 {rest}"
        ))
    };
    assert_eq!(feedback("0001", ""), "rtcp.malformed"); // no chunk
    assert_eq!(feedback("0005", "20050000"), "rtcp.malformed"); // deltas missing
    assert_eq!(feedback("0001", "60010000"), "rtcp.malformed"); // reserved status
    assert_eq!(feedback("1001", "1fff0000"), "rtcp.malformed"); // over the limit
    assert_eq!(feedback("0001", "00000000"), "rtcp.malformed"); // runs of nothing
}

#[test]
fn twcc_times_may_be_negative() {
    let header = TwccHeader {
        reference_time: -2,
        ..TwccHeader::default()
    };
    let mut out = Vec::new();
    Twcc::write(&mut out, &header, &[Some(i16::MIN)]);
    let Packet::Twcc(twcc) = one(&out) else {
        panic!("a TWCC")
    };
    assert_eq!(twcc.header.reference_time, -2);
    assert_eq!(twcc.packets().next(), Some((0, Some(i16::MIN))));
}

#[test]
fn long_runs_of_twcc_take_one_chunk() {
    let mut out = Vec::new();
    let statuses = vec![None; 5000];
    assert_eq!(
        Twcc::write(&mut out, &TwccHeader::default(), &statuses),
        Twcc::MAX_STATUSES
    );
    assert_eq!(out.len(), 24);
    assert_eq!(Twcc::write(&mut out, &TwccHeader::default(), &[]), 0);
}

#[test]
fn extended_reports_measure_the_round_trip() {
    let mut out = Vec::new();
    Xr::write_reference_time(&mut out, 1, Ntp(0x1122_3344_5566_7788));
    assert_eq!(out, hex("80cf0004 00000001 04000002 11223344 55667788"));
    let Packet::Xr(xr) = one(&out) else {
        panic!("an XR")
    };
    let blocks: Vec<_> = xr.blocks().collect();
    assert_eq!(blocks, [XrBlock::ReferenceTime(Ntp(0x1122_3344_5566_7788))]);
    out.clear();
    let echo = Dlrr {
        ssrc: 2,
        lrr: 0x3344_5566,
        dlrr: 9,
    };
    Xr::write_dlrr(&mut out, 1, &[echo]);
    assert_eq!(
        out,
        hex("80cf0005 00000001 05000003 00000002 33445566 00000009")
    );
    let Packet::Xr(xr) = one(&out) else {
        panic!("an XR")
    };
    let Some(XrBlock::Dlrr(body)) = xr.blocks().next() else {
        panic!("a DLRR")
    };
    assert_eq!(Dlrr::all(body).collect::<Vec<_>>(), [echo]);
    assert_eq!(refused("80cf0002 00000001 04000002"), "rtcp.malformed");
    assert_eq!(
        refused("80cf0003 00000001 04000001 00000000"),
        "rtcp.malformed"
    );
    let other = hex("80cf0002 00000001 63000000");
    let Packet::Xr(xr) = one(&other) else {
        panic!("an XR")
    };
    assert_eq!(
        xr.blocks().next(),
        Some(XrBlock::Unknown { block_type: 99 })
    );
}

#[test]
fn compound_goes_on_behind_a_malformed_body() {
    let datagram = hex("81c90001 00000007 81ce0002 00000001 00000002 80cc0001 41424344");
    let packets: Vec<_> = Compound::new(&datagram).collect();
    assert_eq!(packets[0], Err(RtcpError::Malformed { packet: "RR" }));
    assert!(matches!(packets[1], Ok(Packet::Pli(_))));
    assert!(matches!(
        packets[2],
        Ok(Packet::Unknown {
            packet_type: 204,
            count: 0,
            ..
        })
    ));
    assert_eq!(packets.len(), 3);
}

#[test]
fn compound_ends_at_a_broken_frame() {
    assert_eq!(refused("40c90001 00000007"), "rtcp.version");
    assert_eq!(refused("80c90002 00000007"), "rtcp.truncated");
    assert_eq!(refused("80c9"), "rtcp.truncated");
    let datagram = hex("80c9ffff 00000007");
    assert_eq!(Compound::new(&datagram).count(), 1);
}

#[test]
fn padding_is_no_body() {
    let datagram = hex("a0c90002 00000007 00000004");
    assert!(matches!(one(&datagram), Packet::ReceiverReport(_)));
    for padding in ["00", "0c", "ff"] {
        assert_eq!(
            refused(&format!("a0c90002 00000007 000000{padding}")),
            "rtcp.padding"
        );
    }
    assert_eq!(refused("a0cb0000"), "rtcp.padding");
}

#[test]
fn datagram_of_endless_packets_is_cut() {
    let datagram = hex("80cb0000").repeat(MAX_PACKETS + 50);
    let packets: Vec<_> = Compound::new(&datagram).collect();
    assert_eq!(packets.len(), MAX_PACKETS + 1);
    assert_eq!(packets[MAX_PACKETS], Err(RtcpError::TooMany));
}

/// Looks at all there is to see.
fn exhaust(datagram: &[u8]) {
    for packet in Compound::new(datagram).flatten() {
        match packet {
            Packet::SenderReport(report) => drop(report.reports().count()),
            Packet::ReceiverReport(report) => drop(report.reports().count()),
            Packet::Sdes(sdes) => drop(sdes.chunks().filter_map(|chunk| chunk.cname()).count()),
            Packet::Bye(bye) => drop((bye.ssrcs().count(), bye.reason())),
            Packet::Nack(nack) => drop(nack.lost().count()),
            Packet::Fir(fir) => drop(fir.entries().count()),
            Packet::Twcc(twcc) => {
                // What was counted at the start is there to the end.
                assert_eq!(twcc.packets().count(), usize::from(twcc.status_count));
            }
            Packet::Remb(remb) => drop(remb.ssrcs().count()),
            Packet::Xr(xr) => drop(xr.blocks().count()),
            Packet::Pli(_) | Packet::Unknown { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
        exhaust(&datagram);
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        packet_type in 200_u8..=207,
        count in 0_u8..32,
        words in prop::collection::vec(any::<[u8; 4]>(), 0..40),
    ) {
        let mut datagram = vec![0x80 | count, packet_type];
        datagram.extend((words.len() as u16).to_be_bytes());
        datagram.extend(words.as_flattened());
        exhaust(&datagram);
    }

    #[test]
    fn arbitrary_feedback_after_a_valid_start_never_panics(
        statuses in 0_u16..300,
        rest in prop::collection::vec(any::<[u8; 4]>(), 0..20),
    ) {
        let mut datagram = hex("8fcd0000 00000001 00000002 0005");
        datagram.extend(statuses.to_be_bytes());
        datagram.extend([0; 4]);
        datagram.extend(rest.as_flattened());
        let words = (datagram.len() / 4 - 1) as u16;
        datagram[2..4].copy_from_slice(&words.to_be_bytes());
        exhaust(&datagram);
    }

    #[test]
    fn lost_numbers_come_back(mut lost in prop::collection::btree_set(any::<u16>(), 1..300)) {
        let mut out = Vec::new();
        prop_assert_eq!(Nack::write(&mut out, 1, 2, lost.iter().copied()), lost.len());
        let Packet::Nack(nack) = one(&out) else { panic!("a NACK") };
        for sequence in nack.lost() {
            prop_assert!(lost.remove(&sequence));
        }
        prop_assert!(lost.is_empty());
    }

    #[test]
    fn arrivals_come_back(
        base_sequence: u16,
        reference_time in -0x80_0000..0x80_0000,
        statuses in prop::collection::vec(
            prop_oneof![
                4 => Just(None),
                8 => (0_i16..256).prop_map(Some),
                1 => any::<i16>().prop_map(Some),
            ],
            1..200,
        ),
        repeat in 1_usize..20,
    ) {
        // Repeated, so that runs are long enough for chunks of their own.
        let statuses: Vec<_> =
            statuses.iter().flat_map(|status| std::iter::repeat_n(*status, repeat)).collect();
        let header = TwccHeader { base_sequence, reference_time, ..TwccHeader::default() };
        let mut out = Vec::new();
        prop_assert_eq!(Twcc::write(&mut out, &header, &statuses), statuses.len());
        let Packet::Twcc(twcc) = one(&out) else { panic!("a TWCC") };
        prop_assert_eq!(twcc.header, header);
        for (index, (sequence, delta)) in twcc.packets().enumerate() {
            prop_assert_eq!(sequence, base_sequence.wrapping_add(index as u16));
            prop_assert_eq!(delta, statuses[index]);
        }
        prop_assert_eq!(twcc.packets().count(), statuses.len());
    }

    #[test]
    fn bitrate_keeps_18_significant_bits(bitrate: u64) {
        let mut out = Vec::new();
        Remb::write(&mut out, 1, bitrate, &[]);
        let Packet::Remb(remb) = one(&out) else { panic!("a REMB") };
        prop_assert!(remb.bitrate <= bitrate);
        prop_assert!(bitrate - remb.bitrate <= bitrate >> 17);
    }

    #[test]
    fn truncated_compound_never_panics(cut in 0_usize..200) {
        let mut out = Vec::new();
        SenderReport::write(&mut out, 1, &SenderInfo::default(), &[block(1), block(2)]);
        Sdes::write(&mut out, 1, "name");
        Nack::write(&mut out, 1, 2, [1, 2, 40]);
        Twcc::write(&mut out, &TwccHeader::default(), &[Some(1), None, Some(-1)]);
        Remb::write(&mut out, 1, 1_000_000, &[2]);
        Bye::write(&mut out, &[1], "end");
        out.truncate(cut);
        exhaust(&out);
    }
}
