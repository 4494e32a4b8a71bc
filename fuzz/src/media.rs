//! Media as it is carried: decoder configurations with what stands behind them, and frames in RTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::frames::{Assembler, MAX_PAYLOAD, Packetizer, Unit};
use stagecast_core::ingest::config::{from_record, to_rtmp_record};
use stagecast_core::ingest::nal;
use stagecast_core::packet::{Format, Packet, Scale};
use stagecast_proto::codec::{Codec, Kind, inspect};
use stagecast_proto::hls::codecs::codec_string;

/// Decoder configurations of any codec, which the first byte chooses: what is read is written for
/// players so that it reads the same, and has a name that is safe in a playlist. The same bytes as a
/// frame are taken apart.
pub fn config(data: &[u8]) {
    let Some((codec, data)) = choice(data) else {
        return;
    };
    if let Some(read) = from_record(codec, data) {
        assert_eq!(read.codec, codec);
        let again = from_record(codec, &to_rtmp_record(&read));
        assert_eq!(again.as_ref(), Some(&read), "round trip");
        if let Some(name) = codec_string(codec, &read.record) {
            let safe = |c: char| c.is_ascii_alphanumeric() || c == '.';
            assert!(name.len() < 64 && name.chars().all(safe), "{name}");
        }
    }
    if !matches!(codec, Codec::H264 | Codec::H265) {
        return;
    }
    let mut assembler = nal::Assembler::new(codec);
    assembler.set_record(data);
    let units = [assembler.from_lengths(data), assembler.from_annex_b(data)];
    for unit in units.into_iter().flatten() {
        assert!(!unit.data.is_empty() && unit.data.len() <= 5 * data.len());
    }
}

/// Frames of packets: the first byte chooses the codec, then comes each payload after its length in
/// two bytes, of which the highest bit says that the frame ends with it, and the next that a packet
/// before it was lost. What comes out can be sent again.
pub fn frames(data: &[u8]) {
    let Some((codec, mut rest)) = choice(data) else {
        return;
    };
    let began = Instant::now();
    let mut now = began;
    let mut assembler = Assembler::new(codec.kind());
    let (mut seq, mut timestamp, mut frame_start) = (0, 0_u32, true);
    while let Some((head, after)) = rest.split_first_chunk::<2>() {
        let head = u16::from_be_bytes(*head);
        let (payload, after) = after.split_at(usize::from(head & 0x07ff).min(after.len()));
        rest = after;
        now += Duration::from_millis(50);
        seq += 1 + u64::from(head & 0x4000 != 0);
        let info = inspect(codec, payload);
        let packet = Packet {
            seq,
            timestamp,
            marker: head & 0x8000 != 0,
            keyframe: codec.kind() == Kind::Audio || info.keyframe,
            frame_start,
            format: Format::plain(codec),
            arrival: now,
            capture: now,
            media_us: (now - began).as_micros() as i64,
            resolution: info.resolution,
            scale: Scale::NONE,
            dependency: None,
            audio_level: None,
            padding: 0,
            payload: payload.into(),
        };
        frame_start = packet.marker;
        timestamp = timestamp.wrapping_add(if packet.marker { 3000 } else { 0 });
        let mut out = Unit::default();
        assembler.push(packet, &mut out);
        for frame in out.frames {
            assert_eq!(frame.config.codec, codec);
            assert!(!frame.data.is_empty() && frame.data.len() <= 3 * data.len());
            assert!(frame.capture <= now);
            let mut again = Vec::new();
            let mut packetizer = Packetizer::new(&frame.config).expect("it came by RTP");
            packetizer.packetize(&frame, &mut again);
            let fits = |payload: &Arc<[u8]>| payload.len() <= MAX_PAYLOAD;
            assert!(codec == Codec::Opus || again.iter().all(fits));
        }
    }
}

fn choice(data: &[u8]) -> Option<(Codec, &[u8])> {
    let (&choice, rest) = data.split_first()?;
    Some((Codec::ALL[usize::from(choice) % Codec::ALL.len()], rest))
}
