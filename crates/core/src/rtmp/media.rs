//! From a publisher's audio and video messages to frames.
//!
//! Message times are 32 bits of milliseconds that wrap; frames count on in microseconds. Track 0 of
//! each kind is `video` or `audio`, further ones of Enhanced RTMP are `video-1` and so on.

use std::sync::Arc;
use std::time::Instant;

use stagecast_proto::amf::{Value, amf0};
use stagecast_proto::codec::config::opus;
use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::flv::{self, Part, What};
use stagecast_proto::rtmp::{Message, kind};

use super::{RtmpError, commands};
use crate::frame::{Config, Frame};
use crate::ingest::arrival::ArrivalClock;
use crate::ingest::config;
use crate::ingest::nal::Assembler;

/// Tracks of one publisher; more are left out.
const MAX_TRACKS: usize = 8;
/// A temporal delimiter of AV1, as it stands in a temporal unit.
const AV1_DELIMITER: &[u8] = &[0x12, 0];

/// One publisher's tracks and clock.
#[derive(Debug, Default)]
pub struct Ingest {
    tracks: Vec<Track>,
    clock: ArrivalClock,
    /// The last message's time as it stood there, and counted on.
    time: Option<(u32, i64)>,
    /// What the metadata says, for codecs whose configuration does not.
    resolution: (u16, u16),
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    id: u8,
    name: Arc<str>,
    codec: Codec,
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    Nal(Assembler),
    Plain(Option<Arc<Config>>),
}

impl Ingest {
    /// Take an audio, video or data message; frames go to `emit` with their track's name.
    pub fn handle(
        &mut self,
        message: &Message,
        now: Instant,
        emit: &mut impl FnMut(&Arc<str>, Frame),
    ) -> Result<(), RtmpError> {
        let (media, parts) = match message.kind {
            kind::VIDEO => (Kind::Video, flv::read_video(&message.payload)),
            kind::AUDIO => (Kind::Audio, flv::read_audio(&message.payload)),
            kind::DATA | kind::DATA_AMF3 => {
                self.on_data(message);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let parts = match parts {
            Err(flv::FlvError::Unsupported(name)) => return Err(unsupported(name)),
            parts => parts?,
        };
        let at_ms = self.count_on(message.timestamp);
        for part in parts {
            if part.what == What::Other {
                continue;
            }
            let codec = commands::codec(part.codec).filter(|codec| codec.kind() == media);
            let Some(codec) = codec else {
                return Err(unsupported(&format!("{} {}", part.codec, media.name())));
            };
            let at_us = at_ms * 1000 + i64::from(part.nanoseconds / 1000);
            self.on_part(&part, codec, at_us, now, emit);
        }
        Ok(())
    }

    fn on_part(
        &mut self,
        part: &Part<'_>,
        codec: Codec,
        dts_us: i64,
        now: Instant,
        emit: &mut impl FnMut(&Arc<str>, Frame),
    ) {
        let resolution = self.resolution;
        let Some(track) = self.track(codec, part.track) else {
            return;
        };
        let (keyframe, composition_ms) = match part.what {
            What::Config => return track.set_config(part.data, resolution),
            What::Frame {
                keyframe,
                composition_ms,
            } => (keyframe, composition_ms),
            What::End | What::Other => return,
        };
        let Some((config, data, starts)) = track.frame(part.data, keyframe) else {
            return;
        };
        let name = Arc::clone(&track.name);
        let pts_us = dts_us + i64::from(composition_ms) * 1000;
        let frame = Frame {
            config,
            pts_us,
            dts_us,
            keyframe: starts,
            capture: self.clock.capture(pts_us, now),
            data,
        };
        emit(&name, frame);
    }

    fn track(&mut self, codec: Codec, id: u8) -> Option<&mut Track> {
        let kind = codec.kind();
        let known = self
            .tracks
            .iter()
            .position(|t| t.kind == kind && t.id == id);
        if known.is_none() && self.tracks.len() >= MAX_TRACKS {
            return None;
        }
        let index = known.unwrap_or_else(|| {
            self.tracks.push(Track::new(codec, id));
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[index];
        if track.codec != codec {
            *track = Track::new(codec, id);
        }
        Some(track)
    }

    /// A message's time beyond 32 bits: the shorter way from the last one.
    fn count_on(&mut self, timestamp: u32) -> i64 {
        let at = match self.time {
            None => i64::from(timestamp),
            Some((last, at)) => at + i64::from(timestamp.wrapping_sub(last).cast_signed()),
        };
        self.time = Some((timestamp, at));
        at
    }

    /// Metadata is a convenience: what cannot be read is left out.
    fn on_data(&mut self, message: &Message) {
        let skip = usize::from(message.kind == kind::DATA_AMF3);
        let payload = message.payload.get(skip..).unwrap_or_default();
        let Ok(values) = amf0::read(payload) else {
            return;
        };
        let Some(metadata) = values.iter().find(|value| !value.members().is_empty()) else {
            return;
        };
        let side = |name| metadata.get(name).and_then(Value::as_number).unwrap_or(0.0) as u16;
        self.resolution = (side("width"), side("height"));
    }
}

fn unsupported(name: &str) -> RtmpError {
    RtmpError::Unsupported(format!(
        "{name} is not supported; send H.264, H.265, AV1 or VP9 video and AAC or Opus audio."
    ))
}

impl Track {
    fn new(codec: Codec, id: u8) -> Self {
        let kind = codec.kind();
        let name = match id {
            0 => kind.name().into(),
            _ => format!("{}-{id}", kind.name()).into(),
        };
        let decoder = match codec {
            Codec::H264 | Codec::H265 => Decoder::Nal(Assembler::new(codec)),
            _ => Decoder::Plain(None),
        };
        Self {
            kind,
            id,
            name,
            codec,
            decoder,
        }
    }

    /// A record that is none changes nothing.
    fn set_config(&mut self, record: &[u8], resolution: (u16, u16)) {
        match &mut self.decoder {
            Decoder::Nal(assembler) => {
                assembler.set_record(record);
            }
            Decoder::Plain(config) => {
                let Some(mut new) = config::from_record(self.codec, record) else {
                    return;
                };
                if self.kind == Kind::Video && new.resolution == (0, 0) {
                    new.resolution = resolution;
                }
                if config.as_deref() != Some(&new) {
                    *config = Some(Arc::new(new));
                }
            }
        }
    }

    fn frame(&mut self, data: &[u8], keyframe: bool) -> Option<(Arc<Config>, Arc<[u8]>, bool)> {
        let config = match &mut self.decoder {
            Decoder::Nal(assembler) => {
                let unit = assembler.from_lengths(data)?;
                // The message's word, or the picture's own: some encoders forget one.
                return Some((unit.config, unit.data.into(), keyframe || unit.keyframe));
            }
            Decoder::Plain(config) => config,
        };
        if config.is_none() && self.codec == Codec::Opus {
            let head = opus::Head::plain(opus::channels(data));
            *config = Some(Arc::new(config::opus(head)));
        }
        let config = config.as_mut()?;
        if keyframe
            && matches!(self.codec, Codec::Vp8 | Codec::Vp9)
            && let Some(changed) = config::vpx(config, data)
        {
            *config = Arc::new(changed);
        }
        let mut data = data;
        while self.codec == Codec::Av1
            && let Some(rest) = data.strip_prefix(AV1_DELIMITER)
        {
            data = rest;
        }
        (!data.is_empty()).then(|| (Arc::clone(config), data.into(), keyframe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn message(kind: u8, timestamp: u32, payload: &[u8]) -> Message {
        Message {
            kind,
            stream: 1,
            timestamp,
            payload: payload.to_vec(),
        }
    }

    fn take(ingest: &mut Ingest, message: &Message) -> Vec<(String, Frame)> {
        let mut frames = Vec::new();
        let emit = &mut |name: &Arc<str>, frame| frames.push((name.to_string(), frame));
        ingest.handle(message, Instant::now(), emit).unwrap();
        frames
    }

    #[test]
    fn aac_is_taken_with_its_configuration() {
        let mut ingest = Ingest::default();
        assert!(take(&mut ingest, &message(kind::AUDIO, 0, b"\xaf\x01early")).is_empty());
        take(&mut ingest, &message(kind::AUDIO, 0, b"\xaf\x00\x12\x10"));
        let frames = take(&mut ingest, &message(kind::AUDIO, 23, b"\xaf\x01data"));
        let (name, frame) = &frames[0];
        assert_eq!((name.as_str(), &*frame.data), ("audio", &b"data"[..]));
        assert_eq!((frame.pts_us, frame.keyframe), (23_000, true));
        assert_eq!(
            (frame.config.sample_rate, frame.config.channels),
            (44_100, 2)
        );
    }

    #[test]
    fn time_counts_on_past_32_bits_and_steps_back_within_them() {
        let mut ingest = Ingest::default();
        let times: Vec<_> = [u32::MAX - 10, 5, 3, 20]
            .map(|time| ingest.count_on(time) - i64::from(u32::MAX))
            .into();
        assert_eq!(times, [-10, 6, 4, 21]);
    }

    #[test]
    fn a_second_track_has_a_name_of_its_own_and_nanoseconds_count() {
        let mut ingest = Ingest::default();
        let start =
            b"\x95\x10Opus\x01\x00\x00\x13OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        take(&mut ingest, &message(kind::AUDIO, 0, start));
        // ModEx: 2 bytes more than one, nanoseconds 7000, then multitrack.
        let frames = b"\x97\x02\x00\x1b\x58\x05\x01Opus\x01data";
        let frames = take(&mut ingest, &message(kind::AUDIO, 20, frames));
        assert_eq!(frames[0].0, "audio-1");
        assert_eq!(frames[0].1.pts_us, 20_007);
        assert_eq!(*frames[0].1.data, *b"data");
    }

    #[test]
    fn flac_and_mp3_are_refused_by_name() {
        let mut ingest = Ingest::default();
        for (payload, name) in [(&b"\x90fLaC"[..], "fLaC audio"), (b"\x2f\xff", "MP3 audio")] {
            let message = message(kind::AUDIO, 0, payload);
            let error = ingest.handle(&message, Instant::now(), &mut |_, _| {});
            let text = error.unwrap_err().to_string();
            assert!(text.starts_with(name), "{text}");
        }
    }

    #[test]
    fn capture_of_audio_and_video_keeps_them_in_step() {
        let mut ingest = Ingest::default();
        let t0 = Instant::now();
        let mut captures = Vec::new();
        let mut emit = |_: &Arc<str>, frame: Frame| captures.push(frame.capture);
        let mut send = |ms, later: u64, payload: &[u8]| {
            let message = message(kind::AUDIO, ms, payload);
            let at = t0 + Duration::from_millis(later);
            ingest.handle(&message, at, &mut emit).unwrap();
        };
        send(0, 0, b"\xaf\x00\x12\x10");
        send(0, 0, b"\xaf\x01a");
        send(100, 250, b"\xaf\x01b");
        let held_up = captures[1] - t0;
        assert!(held_up >= Duration::from_millis(100) && held_up < Duration::from_millis(102));
    }
}
