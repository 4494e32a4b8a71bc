//! What encoders send: RTMP with its AMF and FLV, transport streams, SRT.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::frame::Frame;
use stagecast_core::ingest::ts::TsIngest;
use stagecast_core::rtmp::handshake::Handshake as RtmpHandshake;
use stagecast_core::rtmp::{Connection, Event};
use stagecast_core::srt;
use stagecast_proto::amf::amf0;
use stagecast_proto::flv::{Part, read_audio, read_video, write_audio, write_video};
use stagecast_proto::srt::handshake::{CONCLUSION, Handshake, Terms, VERSION, extension};
use stagecast_proto::srt::{Packet, read_lost};

/// AMF: values that were read are written so that they read the same.
pub fn amf(data: &[u8]) {
    if let Ok(values) = amf0::read(data) {
        let written = amf0::write(&values);
        if let Ok(again) = amf0::read(&written) {
            assert_eq!(amf0::write(&again), written, "round trip");
        }
    }
}

/// FLV: parts lie in their message, and one written again reads the same.
pub fn flv(data: &[u8]) {
    type Read = fn(&[u8]) -> Result<Vec<Part<'_>>, stagecast_proto::flv::FlvError>;
    type Write = fn(&Part<'_>) -> Vec<u8>;
    let both: [(Read, Write); 2] = [(read_video, write_video), (read_audio, write_audio)];
    for (read, write) in both {
        for part in read(data).into_iter().flatten() {
            assert!(part.data.len() <= data.len());
            let _ = read(&write(&part));
        }
    }
}

/// RTMP's handshake, simple or with digests: the answer is as long as it must be, and what came
/// behind it is kept.
pub fn handshake(data: &[u8]) {
    const ANSWER: usize = 1 + 2 * 1536;
    let mut handshake = RtmpHandshake::new([7; 1528]);
    let mut out = Vec::new();
    for piece in data.chunks(1 + data.len() / 3) {
        match handshake.handle_input(piece, &mut out) {
            Ok(None) => assert!(out.is_empty() || out.len() == ANSWER),
            Ok(Some(rest)) => {
                assert_eq!(out.len(), ANSWER);
                assert!(piece.ends_with(&rest));
                return;
            }
            Err(_) => {
                assert!(data[0] != 3 && out.is_empty());
                return;
            }
        }
    }
    assert!(data.len() < ANSWER);
}

/// RTMP: whatever follows the handshake, a connection asks, gives frames or is refused.
pub fn rtmp(data: &[u8]) {
    let now = Instant::now();
    let mut connection = Connection::new([7; 1528]);
    let mut hello = vec![3];
    hello.resize(1 + 2 * 1536, 0);
    connection.handle_input(now, &hello).expect("a handshake");
    for piece in data.chunks(1 + data.len() / 3) {
        if connection.handle_input(now, piece).is_err() {
            return;
        }
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Ask(..) if connection.admit(now).is_err() => return,
                Event::Frame(track, frame) => check(&track, &frame, now),
                Event::Ask(..) | Event::Done => {}
            }
        }
        assert!(connection.take_output().len() < 1 << 20);
    }
}

/// Transport streams: frames have what they promise.
pub fn ts(data: &[u8]) {
    let now = Instant::now();
    let mut ingest = TsIngest::default();
    for piece in data.chunks(1 + data.len() / 5) {
        ingest.push(piece, now, &mut |track, frame| check(track, &frame, now));
    }
}

fn check(track: &Arc<str>, frame: &Frame, now: Instant) {
    assert!(track.starts_with(frame.kind().name()));
    assert!(!frame.data.is_empty());
    assert!(frame.capture <= now);
}

/// SRT: handshakes are read, and a connection takes any datagrams, each after its length in two
/// bytes, without growing.
pub fn srt(data: &[u8]) {
    if let Some(Packet::Control(control)) = Packet::parse(data)
        && let Some(asked) = Handshake::parse(control.body)
    {
        let _ = srt::Opening::read(&asked, None);
        let _ = srt::induction_answer(&asked, 1, false);
        if let Some(stream_id) = asked.stream_id() {
            let _ = srt::Request::parse(&stream_id);
        }
    }
    assert!(read_lost(data).len() <= 8192);
    let mut now = Instant::now();
    let mut connection = open(now);
    let mut rest = data;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(after.len());
        let (datagram, after) = after.split_at(len);
        rest = after;
        now += Duration::from_millis(5);
        connection.handle_input(datagram, now);
        connection.handle_timeout(now);
        while let Some(srt::Event::Payload(payload)) = connection.poll_event(now) {
            assert!(payload.len() <= datagram.len().max(data.len()));
        }
        let mut sent = 0;
        while connection.poll_output().is_some() {
            sent += 1;
        }
        assert!(sent < 20, "an answer to a datagram is small");
    }
}

fn open(now: Instant) -> srt::Connection {
    let terms = Terms {
        version: 0x01_0500,
        flags: 0xbf,
        receive_ms: 0,
        send_ms: 120,
    };
    let terms = terms.to_bytes();
    let asked = Handshake {
        version: VERSION,
        encryption: 0,
        extension: 1,
        sequence: 0,
        mtu: 1500,
        window: 8192,
        kind: CONCLUSION,
        socket: 1,
        cookie: 0,
        extensions: vec![(extension::HS_REQUEST, &terms)],
    };
    let opening = srt::Opening::read(&asked, None).expect("a good conclusion");
    srt::Connection::new(opening, 2, 120, None, now)
}
