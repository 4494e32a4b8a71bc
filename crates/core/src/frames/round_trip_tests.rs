//! Frames into packets and packets into frames: what comes out is what went in.

use std::sync::Arc;

use proptest::prelude::*;
use stagecast_proto::codec::Codec;
use stagecast_proto::codec::config::{av1, avc, hevc, opus, vpx};

use super::*;
use crate::frame::Config;
use crate::frames::FramePublisher;
use crate::hub::ring::Limits;
use crate::hub::{Inbound, Source};
use crate::id::SourceKey;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Configuration, and the beginning of a keyframe and of another frame, of real encoders.
fn codec_vectors(codec: Codec) -> (Arc<Config>, Vec<u8>, Vec<u8>) {
    let (record, resolution, key, inter) = match codec {
        Codec::H264 => {
            let sps = hex("6764001facd9405005ba10000003001000000303c0f1831960");
            let record = avc::record(&[&sps], &[&hex("68ebe3cb22c0")]).unwrap();
            (record, (1280, 720), hex("65888400"), hex("419a2263"))
        }
        Codec::H265 => {
            let vps = hex("40010c01ffff016000000300900000030000030078959809");
            let sps = hex(
                "420101016000000300900000030000030078a003c08010e596566924cae68080\
                           000003008000000f04",
            );
            let record = hevc::record(&[&vps], &[&sps], &[&hex("4401c172b46240")]).unwrap();
            (record, (1920, 1080), hex("2801af08"), hex("0201d809"))
        }
        Codec::Vp8 => {
            let key = hex("d033009d012a8002680101c708");
            let (record, size) = vpx::vp8(&key).unwrap();
            (record, size, key, hex("3103000f11fc0018"))
        }
        Codec::Vp9 => {
            let key = hex("824983420014100b560038241c184a");
            let (record, size) = vpx::vp9(&key).unwrap();
            (record, size, key, hex("8600409200"))
        }
        Codec::Av1 => {
            let record = av1::record(&hex("080000002d4cffb3c4af9004")).unwrap();
            (
                record,
                (1280, 720),
                hex("0a0b0000002d4cffb3c4af9004"),
                Vec::new(),
            )
        }
        _ => (opus::Head::plain(2).to_dops(), (0, 0), hex("fc"), hex("fc")),
    };
    let audio = codec.kind() == Kind::Audio;
    let config = Config {
        codec,
        record: record.into(),
        resolution,
        sample_rate: if audio { 48_000 } else { 0 },
        channels: if audio { 2 } else { 0 },
    };
    (Arc::new(config), key, inter)
}

/// A frame of pieces of the given sizes, in the form of its codec.
fn data(codec: Codec, start: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut data = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        // No zeros and no start codes: what an encoder's escaping leaves.
        let body = (0..*size).map(|at| (at % 251) as u8 | 1);
        match codec {
            Codec::H264 | Codec::H265 => {
                data.extend(((start.len() + size) as u32).to_be_bytes());
                data.extend(start.iter().copied().chain(body));
            }
            Codec::Av1 => {
                if index == 0 {
                    data.extend(start);
                }
                let obu: Vec<u8> = std::iter::once(0x30).chain(body).collect();
                av1::put_obu(&mut data, &obu);
            }
            _ => {
                if index == 0 {
                    data.extend(start);
                }
                data.extend(body);
            }
        }
    }
    data
}

/// A layer's packets as the hub makes them of what a publisher of frames gives.
fn packets(frames: &[Frame]) -> Vec<Packet> {
    let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
    let mut publisher = FramePublisher::default();
    let kind = frames[0].kind();
    let name: (Arc<str>, Arc<str>) = (kind.name().into(), "".into());
    let mut out = Vec::new();
    for frame in frames {
        let now = frame.capture;
        let mut inbound: Vec<Inbound> = Vec::new();
        assert!(
            publisher.take((&name.0, &name.1), &mut frame.clone(), now, |p| inbound
                .push(p))
        );
        let track = source.track_mut(kind.name(), kind, false);
        let layer = track.layer_mut("").expect("the first layer");
        out.extend(inbound.into_iter().map(|p| layer.ingest(p).clone()));
    }
    out
}

fn assemble(kind: Kind, packets: &[Packet]) -> Unit {
    let mut assembler = Assembler::new(kind);
    let mut out = Unit::default();
    for packet in packets {
        assembler.push(packet.clone(), &mut out);
    }
    out
}

fn frames(codec: Codec, t0: Instant, sizes: &[Vec<usize>]) -> Vec<Frame> {
    let (config, key, inter) = codec_vectors(codec);
    let frame = |(index, sizes): (usize, &Vec<usize>)| {
        let keyframe = index == 0 || codec.kind() == Kind::Audio;
        let step = if codec.kind() == Kind::Audio {
            20_000
        } else {
            40_000
        };
        let pts_us = index as i64 * step;
        Frame {
            config: Arc::clone(&config),
            pts_us,
            dts_us: pts_us,
            keyframe,
            capture: t0 + Duration::from_micros(pts_us as u64),
            data: data(codec, if keyframe { &key } else { &inter }, sizes).into(),
        }
    };
    sizes.iter().enumerate().map(frame).collect()
}

fn assert_same(sent: &[Frame], got: &[Frame]) {
    assert_eq!(sent.len(), got.len());
    for (a, b) in sent.iter().zip(got) {
        assert_eq!(
            (a.pts_us, a.dts_us, a.keyframe),
            (b.pts_us, b.dts_us, b.keyframe)
        );
        assert_eq!(a.data, b.data);
        assert_eq!(a.config, b.config);
        assert_eq!(a.capture, b.capture);
    }
}

fn every_codec(sizes: &[Vec<usize>]) {
    let t0 = Instant::now();
    for codec in Codec::ALL.into_iter().filter(|c| c.is_webrtc()) {
        let sizes: Vec<Vec<usize>> = match codec {
            Codec::Opus => sizes.iter().map(|s| vec![s[0].min(1000)]).collect(),
            _ => sizes.to_vec(),
        };
        let sent = frames(codec, t0, &sizes);
        let packets = packets(&sent);
        assert!(packets.iter().all(|p| p.payload.len() <= 1200), "{codec:?}");
        let got = assemble(codec.kind(), &packets);
        assert_same(&sent, &got.frames);
        assert!(!got.wants_keyframe, "{codec:?}");
    }
}

#[test]
fn frames_of_every_codec_survive_the_way_through_packets() {
    every_codec(&[
        vec![5000, 20, 1195],
        vec![1, 1],
        vec![1196],
        vec![100_000],
        vec![1200, 1201],
    ]);
}

#[test]
fn reordered_packets_are_put_in_order() {
    let t0 = Instant::now();
    let sent = frames(Codec::H264, t0, &[vec![5000], vec![3000], vec![10]]);
    let mut packets = packets(&sent);
    packets.swap(1, 3);
    packets.swap(4, 6);
    assert_same(&sent, &assemble(Kind::Video, &packets).frames);
}

#[test]
fn lost_packet_costs_what_follows_up_to_the_next_keyframe() {
    let t0 = Instant::now();
    let sizes: Vec<_> = (0..10).map(|_| vec![3000]).collect();
    let mut sent = frames(Codec::Vp8, t0, &sizes);
    let (_, key, _) = codec_vectors(Codec::Vp8);
    sent[7].data = data(Codec::Vp8, &key, &[3000]).into();
    sent[7].keyframe = true;
    let mut packets = packets(&sent);
    let gone = packets
        .iter()
        .position(|p| p.capture == sent[2].capture)
        .unwrap();
    packets.remove(gone + 1);
    let got = assemble(Kind::Video, &packets);
    assert!(got.wants_keyframe);
    let times: Vec<_> = got.frames.iter().map(|f| f.pts_us / 40_000).collect();
    assert_eq!(times, [0, 1, 7, 8, 9]);
}

#[test]
fn repaired_packet_within_the_patience_costs_nothing() {
    let t0 = Instant::now();
    let sent = frames(Codec::H265, t0, &[vec![3000], vec![3000], vec![3000]]);
    let mut packets = packets(&sent);
    let repaired = packets.remove(4);
    packets.insert(6, repaired);
    let got = assemble(Kind::Video, &packets);
    assert_same(&sent, &got.frames);
    assert!(!got.wants_keyframe);
}

#[test]
fn lost_audio_is_a_gap_and_no_more() {
    let t0 = Instant::now();
    let sizes: Vec<_> = (0..20).map(|_| vec![50]).collect();
    let sent = frames(Codec::Opus, t0, &sizes);
    let mut packets = packets(&sent);
    packets.remove(3);
    let got = assemble(Kind::Audio, &packets);
    let times: Vec<_> = got.frames.iter().map(|f| f.pts_us / 20_000).collect();
    assert_eq!(times, (0..20).filter(|t| *t != 3).collect::<Vec<i64>>());
    assert!(!got.wants_keyframe);
}

#[test]
fn start_in_the_middle_of_a_frame_waits_for_a_keyframe() {
    let t0 = Instant::now();
    let mut sent = frames(Codec::Av1, t0, &[vec![4000], vec![4000], vec![4000]]);
    let (_, key, _) = codec_vectors(Codec::Av1);
    sent[2].data = data(Codec::Av1, &key, &[4000]).into();
    sent[2].keyframe = true;
    let packets = packets(&sent);
    let got = assemble(Kind::Video, &packets[2..]);
    assert!(got.wants_keyframe);
    assert_same(&sent[2..], &got.frames);
}

proptest! {
    #[test]
    fn frames_of_any_size_survive(
        sizes in prop::collection::vec(prop::collection::vec(1_usize..4000, 1..5), 1..6),
    ) {
        every_codec(&sizes);
    }

    #[test]
    fn arbitrary_payloads_never_panic(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20),
        timestamps in prop::collection::vec(0_u32..3, 20),
    ) {
        let t0 = Instant::now();
        for codec in Codec::ALL {
            let mut assembler = Assembler::new(codec.kind());
            let mut out = Unit::default();
            for (seq, payload) in payloads.iter().enumerate() {
                assembler.push(
                    Packet {
                        seq: seq as u64,
                        timestamp: timestamps[seq % timestamps.len()],
                        marker: seq % 3 == 0,
                        keyframe: seq == 0,
                        frame_start: true,
                        format: crate::packet::Format::plain(codec),
                        arrival: t0,
                        capture: t0,
                        media_us: 0,
                        audio_level: None,
                        resolution: None,
                        scale: crate::packet::Scale::NONE,
                        dependency: None,
                        padding: 0,
                        payload: payload.as_slice().into(),
                    },
                    &mut out,
                );
            }
        }
    }

    #[test]
    fn arbitrary_frames_are_cut_to_size(data in prop::collection::vec(any::<u8>(), 0..5000)) {
        let t0 = Instant::now();
        for codec in Codec::ALL.into_iter().filter(|c| c.kind() == Kind::Video) {
            let (config, ..) = codec_vectors(codec);
            let frame = Frame {
                config, pts_us: 0, dts_us: 0, keyframe: true, capture: t0, data: data.as_slice().into(),
            };
            prop_assert!(packets(&[frame]).iter().all(|p| p.payload.len() <= 1200));
        }
    }
}
