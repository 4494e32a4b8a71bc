//! Mutated messages never make a parser panic or break its promises.
//!
//! A corpus of valid messages is cut, flipped, spliced and overwritten for two seconds, or
//! `FUZZ_SECONDS`, and every result goes through every parser. The seed is printed;
//! `STAGECAST_FUZZ_SEED` runs one again, and a failure prints the bytes that caused it.

use stagecast_proto::codec::config::{aac, annex_b, av1, avc, hevc, nal_units, opus, vpx};
use stagecast_proto::codec::{self, Codec, Kind, vp8};
use stagecast_proto::ntp::Ntp;
use stagecast_proto::rtcp::{
    Bye, Compound, Dlrr, Fir, FirEntry, Nack, Packet, Pli, ReceiverReport, Remb, ReportBlock, Sdes,
    SenderInfo, SenderReport, Twcc, TwccHeader, Xr, XrBlock,
};
use stagecast_proto::rtp::dependency::{Descriptor, MAX_TARGETS};
use stagecast_proto::rtp::{self, HeaderWriter, ext};
use stagecast_proto::sdp::{self, fragment::Fragment};
use stagecast_proto::stun;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

const BUDGET: Duration = Duration::from_secs(2);
/// Longer than a datagram, shorter than what would make the run slow.
const MAX_LEN: usize = 4096;

/// `SplitMix64`: small, seeded, good enough to choose bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        // The values that lengths and counts break at come often.
        const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0x81, 0xbe, 0xfe, 0xff];
        if self.below(3) == 0 {
            EDGES[self.below(EDGES.len())]
        } else {
            self.next() as u8
        }
    }
}

/// Prints what was being read when a panic passes by.
struct Witness<'a>(&'a [u8]);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failing input: {:02x?}", self.0);
        }
    }
}

#[test]
fn mutated_messages_never_panic() {
    let seed = match std::env::var("STAGECAST_FUZZ_SEED") {
        Ok(seed) => seed
            .parse()
            .expect("STAGECAST_FUZZ_SEED is a decimal number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    println!("STAGECAST_FUZZ_SEED={seed}");
    let mut random = Random(seed);
    let corpus = corpus();
    for message in &corpus {
        read(message);
        for len in 0..message.len() {
            let _witness = Witness(&message[..len]);
            read(&message[..len]);
        }
    }
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    let budget = seconds.map_or(BUDGET, Duration::from_secs);
    let start = Instant::now();
    let mut runs = 0_u64;
    while start.elapsed() < budget {
        let message = mutate(&mut random, &corpus);
        let _witness = Witness(&message);
        read(&message);
        runs += 1;
    }
    println!("{runs} mutated messages");
}

fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut message = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(message.len());
        match random.below(8) {
            0 => message.truncate(at),
            1 | 2 if !message.is_empty() => message[at] ^= 1 << random.below(8),
            3 | 4 if !message.is_empty() => message[at] = random.byte(),
            5 => {
                let other = &corpus[random.below(corpus.len())];
                message.truncate(at);
                message.extend(&other[random.below(other.len())..]);
            }
            6 => {
                let end = at + random.below(message.len() - at);
                let copy = message[at..end].to_vec();
                message.splice(at..at, copy);
            }
            _ => {
                let noise: Vec<u8> = (0..random.below(16)).map(|_| random.byte()).collect();
                message.splice(at..at, noise);
            }
        }
        message.truncate(MAX_LEN);
    }
    message
}

/// Everything that reads bytes, and the promises that hold for all of them.
fn read(message: &[u8]) {
    read_configuration(message);
    for codec in Codec::ALL {
        codec::inspect(codec, message);
    }
    if let Some(descriptor) = vp8::Descriptor::parse(message) {
        let mut copy = message.to_vec();
        descriptor.rewrite(&mut copy, 0x5555, 0xaa);
        assert_eq!(
            vp8::Descriptor::parse(&copy).map(|it| it.header_len),
            Some(descriptor.header_len)
        );
        assert_eq!(
            copy[descriptor.header_len..],
            message[descriptor.header_len..]
        );
    }
    read_dependency(message);
    stun::classify(message);
    assert!(stun::binding_username(message).is_none() || stun::is_stun(message));
    read_rtp(message);
    read_rtcp(message);
    let text = String::from_utf8_lossy(message);
    if let Ok(session) = sdp::Session::parse(&text) {
        session.codecs(Kind::Video);
    }
    if let Ok(fragment) = Fragment::parse(&text) {
        assert_eq!(Fragment::parse(&fragment.to_string()), Ok(fragment));
    }
}

fn read_rtp(message: &[u8]) {
    let Ok(header) = rtp::Header::parse(message) else {
        return;
    };
    assert_eq!(
        header.payload.end + usize::from(header.padding),
        message.len()
    );
    assert!(header.csrcs().count() <= 15);
    for (_, value) in header.extensions() {
        ext::AbsSendTime::parse(value);
        ext::TransportSequence::parse(value);
        ext::AbsCaptureTime::parse(value);
        ext::PlayoutDelay::parse(value);
        ext::AudioLevel::parse(value);
        ext::text(value);
        read_dependency(value);
    }
    for codec in Codec::ALL {
        codec::inspect(codec, &message[header.payload.clone()]);
    }
}

fn read_dependency(value: &[u8]) {
    if let Ok(Descriptor {
        structure: Some(structure),
        ..
    }) = Descriptor::parse(value, None)
    {
        assert!(structure.targets().len() <= MAX_TARGETS);
        let _ = Descriptor::parse(&value[..value.len().min(4)], Some(&structure));
    }
}

fn read_rtcp(message: &[u8]) {
    for packet in Compound::new(message).flatten() {
        match packet {
            Packet::SenderReport(report) => {
                report.info.ntp.to_unix_micros();
                assert!(report.reports().count() <= 31);
            }
            Packet::ReceiverReport(report) => assert!(report.reports().count() <= 31),
            Packet::Sdes(sdes) => {
                for chunk in sdes.chunks() {
                    chunk.cname();
                }
            }
            Packet::Bye(bye) => {
                bye.reason();
                assert!(bye.ssrcs().count() <= 31);
            }
            Packet::Nack(nack) => assert!(nack.lost().count() <= 17 * Nack::MAX_PAIRS),
            Packet::Fir(fir) => assert!(fir.entries().count() * 8 < message.len()),
            Packet::Twcc(twcc) => {
                let statuses: Vec<_> = twcc.packets().map(|(_, delta)| delta).collect();
                assert_eq!(statuses.len(), usize::from(twcc.status_count));
                let mut again = Vec::new();
                Twcc::write(&mut again, &twcc.header, &statuses);
                if let Some(Ok(Packet::Twcc(again))) = Compound::new(&again).next() {
                    assert!(again.packets().eq(twcc.packets()));
                }
            }
            Packet::Remb(remb) => assert!(remb.ssrcs().count() <= 255),
            Packet::Xr(xr) => {
                for block in xr.blocks() {
                    if let XrBlock::Dlrr(body) = block {
                        assert_eq!(Dlrr::all(body).count() * 12, body.len());
                    }
                }
            }
            Packet::Pli(_) | Packet::Unknown { .. } => {}
        }
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = payloads();
    let packets: Vec<_> = corpus.iter().map(|payload| rtp_packet(payload)).collect();
    corpus.extend(packets);
    corpus.extend(rtcp_packets());
    corpus.push(rtcp_packets().concat());
    corpus.push(stun_request());
    corpus.push(OFFER.into());
    corpus.push(TRICKLE.into());
    corpus
}

/// Configuration records: what can be read can be written, and what is written is read back.
fn read_configuration(message: &[u8]) {
    if let Some(read) = avc::Record::parse(message)
        && let Some(made) = avc::record(&read.sps, &read.pps)
    {
        let again = avc::Record::parse(&made).expect("a made record is one");
        assert_eq!((&again.sps, &again.pps), (&read.sps, &read.pps));
    }
    if let Some(read) = hevc::Record::parse(message)
        && let Some(made) = hevc::record(&read.vps, &read.sps, &read.pps)
    {
        let again = hevc::Record::parse(&made).expect("a made record is one");
        assert_eq!((&again.vps, &again.sps), (&read.vps, &read.sps));
    }
    if let Some(made) = av1::record(message) {
        let again = av1::Record::parse(&made).expect("a made record is one");
        assert!(again.sequence_header.is_some());
    }
    if let Some(read) = aac::AudioSpecificConfig::parse(message) {
        let again = aac::AudioSpecificConfig::parse(&read.write()).expect("a written one is one");
        assert_eq!(again.sample_rate, read.sample_rate);
    }
    if let Some(read) = opus::Head::parse_dops(message) {
        assert_eq!(opus::Head::parse_dops(&read.to_dops()), Some(read));
    }
    let _ = (opus::Head::parse(message), opus::samples(message));
    let _ = (
        vpx::vp8(message),
        vpx::vp9(message),
        aac::Adts::parse(message),
    );
    let units: usize = nal_units(message, 4)
        .chain(annex_b(message))
        .map(<[u8]>::len)
        .sum();
    assert!(units <= 2 * message.len());
    let mut put = Vec::new();
    av1::units(message).for_each(|obu| av1::put_obu(&mut put, obu));
    assert!(put.len() <= 2 * message.len() + 8);
}

/// The first payload of a keyframe, for each codec.
fn payloads() -> Vec<Vec<u8>> {
    [
        // H.264: STAP-A of SPS and PPS; first fragment of an IDR slice.
        "7800196764001facd9405005ba10000003001000000303c0f1831960000668ebe3cb22c0",
        "7c85888400",
        // H.265: SPS.
        "420101016000000300900000030000030078a003c08010e596566924cae680800000030080000003\
         0f04",
        // VP8: every descriptor field, key frame header.
        "90f0923456a9d033009d012a8002680101c708",
        // VP9: scalability structure of two layers; flexible mode.
        "ae05000738014000b402800168020008010200",
        "f801000302824983420014100b560038241c184a",
        // Dependency descriptors: two temporal layers; two spatial layers of a `_KEY` mode.
        "85000780a11ea85141010c09fc059c",
        "c00000800123b82345045a00422224",
        // AV1: sequence header and frame.
        "280b080000002d4cffb3c4af900410008c20",
        // Configuration records: avcC, AudioSpecificConfig with SBR, dOps, OpusHead, ADTS.
        "0164001fffe100196764001facd9405005ba10000003001000000303c0f183196001000668ebe3cb22c0\
         fdf8f800",
        "2b118800",
        "000201380000bb80000000",
        "4f70757348656164010238018 0bb0000000000",
        "fff14c802e7ffc2110",
        // A sequence header OBU alone; two NAL units with lengths.
        "080000002d4cffb3c4af9004",
        "00000002674200000003 68ee3c",
    ]
    .map(hex)
    .to_vec()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|char| char.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn rtp_packet(payload: &[u8]) -> Vec<u8> {
    let (capture, len) = ext::AbsCaptureTime {
        capture: Ntp(1 << 40),
        clock_offset: Some(-1),
    }
    .to_bytes();
    let writer = HeaderWriter {
        marker: true,
        payload_type: 96,
        sequence: 65_535,
        timestamp: 90_000,
        ssrc: 1,
        csrcs: &[2, 3],
        extensions: &[
            (1, &ext::AbsSendTime::from_micros(1).to_bytes()),
            (2, &ext::TransportSequence(9).to_bytes()),
            (3, &capture[..len]),
            (4, b"mid"),
        ],
    };
    let mut packet = vec![0; writer.len()];
    writer.write(&mut packet).expect("it has room");
    packet.extend(payload);
    packet
}

fn rtcp_packets() -> Vec<Vec<u8>> {
    let block = ReportBlock {
        ssrc: 1,
        lsr: 2,
        dlsr: 3,
        ..ReportBlock::default()
    };
    let twcc = [
        Some(4),
        None,
        Some(-300),
        Some(7),
        Some(8),
        None,
        None,
        Some(9),
    ];
    let long = [Some(4); 40]
        .into_iter()
        .chain([None; 40])
        .collect::<Vec<_>>();
    let fir = FirEntry {
        ssrc: 2,
        sequence: 3,
    };
    let echo = Dlrr {
        ssrc: 2,
        lrr: 3,
        dlrr: 4,
    };
    let mut packets = [const { Vec::new() }; 12];
    let [
        sr,
        rr,
        sdes,
        bye,
        nack,
        pli,
        fir_out,
        twcc_out,
        long_out,
        remb,
        rrtr,
        dlrr,
    ] = &mut packets;
    SenderReport::write(sr, 1, &SenderInfo::default(), &[block; 2]);
    ReceiverReport::write(rr, 1, &[block; 3]);
    Sdes::write(sdes, 1, "name");
    Bye::write(bye, &[1, 2], "end");
    Nack::write(nack, 1, 2, [1, 2, 40, 65_535]);
    Pli::write(pli, 1, 2);
    Fir::write(fir_out, 1, &[fir; 2]);
    Twcc::write(twcc_out, &TwccHeader::default(), &twcc);
    Twcc::write(long_out, &TwccHeader::default(), &long);
    Remb::write(remb, 1, 2_500_000, &[2, 3]);
    Xr::write_reference_time(rrtr, 1, Ntp(1 << 40));
    Xr::write_dlrr(dlrr, 1, &[echo; 2]);
    packets.to_vec()
}

fn stun_request() -> Vec<u8> {
    let attributes = hex("002400046e0001ff 00060009 6576746a3a68367659000000");
    let header = hex("0001 0018 2112a442 b7e7a701bc34d686fa87dfae");
    [header, attributes].concat()
}

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    a=fingerprint:sha-1 12:34\r\na=ice-lite\r\na=setup:actpass\r\na=sendonly\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:secret\r\n\
    a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=msid:s a\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtcp-fb:* nack\r\na=rtcp-fb:96 nack pli\r\n\
    a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rid:h send\r\n\
    a=simulcast:send h;~l\r\na=ssrc-group:FID 1 2\r\na=ssrc:1 cname:c\r\na=rtcp-mux\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";

const TRICKLE: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
    a=end-of-candidates\r\n";
