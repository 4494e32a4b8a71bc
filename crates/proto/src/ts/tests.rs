use super::audio::{AdtsFrames, opus_packets, write_adts, write_opus};
use super::*;
use crate::codec::config::aac::AudioSpecificConfig;
use crate::codec::{Codec, Kind};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    Demuxer::default().push(bytes, &mut |event| events.push(event));
    events
}

fn packets(events: &[Event]) -> Vec<&Pes> {
    let pes = events.iter().filter_map(|event| match event {
        Event::Pes(pes) => Some(pes),
        Event::Program(_) => None,
    });
    pes.collect()
}

fn unit(pts: i64, dts: i64, data: &[u8]) -> Unit<'_> {
    Unit {
        pts,
        dts,
        keyframe: true,
        data,
    }
}

/// Video packets end where the next one begins, so one more is written behind them.
fn stream(frames: &[(i64, i64, Vec<u8>)]) -> Vec<u8> {
    let (mut muxer, mut out) = (Muxer::default(), Vec::new());
    assert_eq!(muxer.set_stream(Codec::H264, 0), Some(true));
    assert_eq!(muxer.set_stream(Codec::Opus, 2), Some(true));
    muxer.write_tables(&mut out);
    for (pts, dts, data) in frames {
        muxer.write_unit(&mut out, Kind::Video, &unit(*pts, *dts, data));
    }
    muxer.write_unit(&mut out, Kind::Video, &unit(0, 0, b"end"));
    out
}

#[test]
fn the_program_says_what_it_carries() {
    let Event::Program(streams) = &read(&stream(&[]))[0] else {
        panic!("no program");
    };
    let codecs: Vec<_> = streams.iter().map(|stream| stream.codec).collect();
    assert_eq!(codecs, [Some(Codec::H264), Some(Codec::Opus)]);
}

#[test]
fn a_frame_with_a_lost_packet_is_damaged_and_the_next_one_is_not() {
    let frames: Vec<_> = (0..3).map(|n| (n, n, vec![n as u8; 1000])).collect();
    let mut bytes = stream(&frames);
    // Two tables, six packets a frame: out of the middle of the second one.
    bytes.drain(10 * PACKET..11 * PACKET);
    let events = read(&bytes);
    let damaged: Vec<_> = packets(&events).iter().map(|pes| pes.damaged).collect();
    assert_eq!(damaged, [false, true, false]);
}

#[test]
fn times_count_on_when_33_bits_are_full() {
    let wrap = (1 << 33) - 3000;
    let frames = [
        (wrap, wrap, vec![1]),
        (3000, 0, vec![2]),
        (6000, 3000, vec![3]),
    ];
    let events = read(&stream(&frames));
    let times: Vec<_> = packets(&events)
        .iter()
        .map(|pes| (pes.pts, pes.dts))
        .collect();
    let full = 1 << 33;
    assert_eq!(times[0], (Some(wrap), None));
    assert_eq!(times[1], (Some(full + 3000), Some(full)));
    assert_eq!(times[2], (Some(full + 6000), Some(full + 3000)));
}

#[test]
fn noise_between_packets_is_passed_over() {
    let mut bytes = stream(&[(1, 1, vec![7; 300])]);
    bytes.splice(2 * PACKET..2 * PACKET, [0x47, 1, 2, 3, 4]);
    bytes.splice(0..0, [9; 50]);
    assert_eq!(packets(&read(&bytes))[0].data, [7; 300]);
}

#[test]
fn a_table_with_a_wrong_checksum_is_not_believed() {
    let mut bytes = stream(&[]);
    let last = PACKET - 1;
    // The first table is filled up in front, so its checksum ends the packet.
    bytes[last] ^= 1;
    assert_eq!(read(&bytes), []);
}

#[test]
fn adts_frames_are_found_across_packets() {
    let config = AudioSpecificConfig::low_complexity(48_000, 2);
    let frames = [vec![1; 100], vec![0xff; 50]];
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|f| write_adts(&config, f).unwrap())
        .collect();
    let (first, second) = bytes.split_at(130);
    let mut found = AdtsFrames::new(first);
    assert_eq!(found.next(), Some((config, &frames[0][..])));
    assert_eq!(found.next(), None);
    let joined = [found.rest(), second].concat();
    let all: Vec<_> = AdtsFrames::new(&joined).collect();
    assert_eq!(all, [(config, &frames[1][..])]);
}

proptest! {
    #[test]
    fn what_is_muxed_is_demuxed_in_any_pieces(
        frames in prop::collection::vec(
            (0..1i64 << 32, 0..20_000i64, prop::collection::vec(any::<u8>(), 1..700)), 1..8),
        piece in 1..500usize,
    ) {
        let mut at = 0;
        let frames: Vec<_> = frames.into_iter().map(|(start, more, data)| {
            at = if at == 0 { start } else { at + 3000 };
            (at + more, at, data)
        }).collect();
        let (mut events, mut demuxer) = (Vec::new(), Demuxer::default());
        for piece in stream(&frames).chunks(piece) {
            demuxer.push(piece, &mut |event| events.push(event));
        }
        let read = packets(&events);
        prop_assert_eq!(read.len(), frames.len());
        for (pes, (pts, dts, data)) in read.iter().zip(&frames) {
            prop_assert_eq!(pes.pts, Some(*pts));
            prop_assert_eq!(pes.dts.or(pes.pts), Some(*dts));
            prop_assert_eq!(&pes.data, data);
            prop_assert!(!pes.damaged);
        }
    }

    #[test]
    fn opus_packets_are_read_back(
        sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 0..5),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|packet| write_opus(packet)).collect();
        let read: Vec<_> = opus_packets(&bytes).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn arbitrary_packets_never_panic(
        heads in prop::collection::vec(any::<[u8; 4]>(), 1..20),
        body in prop::collection::vec(any::<u8>(), 184),
    ) {
        let mut bytes = stream(&[]);
        for [flags, pid, control, first] in heads {
            let mut packet = [SYNC, flags & 0xe1, pid, control].to_vec();
            packet.extend_from_slice(&body);
            packet[4] = first;
            bytes.extend_from_slice(&packet);
        }
        read(&bytes);
        AdtsFrames::new(&body).for_each(drop);
        opus_packets(&body).for_each(drop);
    }
}
