//! From frames to a player's messages.
//!
//! RTMP players take one video and one audio track: the largest picture the source has, and audio in
//! a codec they know. Video starts at a keyframe, and a configuration goes before the first frame it
//! is for. The timeline starts at zero and goes on when the publisher changes.

use std::sync::Arc;

use stagecast_proto::amf::Value;
use stagecast_proto::codec::Kind;
use stagecast_proto::flv::{Part, What, write_audio, write_video};
use stagecast_proto::rtmp::{Message, kind};

use super::commands::{self, Capabilities};
use crate::frame::{Config, Frame};
use crate::ingest::config::to_rtmp_record;

/// Between the last frame of a publisher and the first of the next, in milliseconds.
const PAUSE_MS: i64 = 20;

/// One player.
#[derive(Debug)]
pub struct Player {
    capabilities: Capabilities,
    stream: u32,
    video: Option<Chosen>,
    audio: Option<Chosen>,
    /// What is taken from a frame's time to get the player's.
    base_us: Option<i64>,
    last_ms: i64,
}

/// The track that is played.
#[derive(Debug)]
struct Chosen {
    track: Arc<str>,
    layer: Arc<str>,
    config: Arc<Config>,
}

impl Player {
    pub(super) fn new(capabilities: Capabilities, stream: u32) -> Self {
        Self {
            capabilities,
            stream,
            video: None,
            audio: None,
            base_us: None,
            last_ms: -PAUSE_MS,
        }
    }

    /// Another publisher begins, or frames are missing: go on at a keyframe.
    pub fn restart(&mut self) {
        self.video = None;
        self.audio = None;
        self.base_us = None;
    }

    /// The messages for a frame; none if it is of no use to this player.
    pub fn messages(&mut self, track: &Arc<str>, layer: &Arc<str>, frame: &Frame) -> Vec<Message> {
        let video = frame.kind() == Kind::Video;
        if !self.capabilities.takes(frame.config.codec) {
            return Vec::new();
        }
        let chosen = if video { &self.video } else { &self.audio };
        let same = |c: &&Chosen| c.track == *track && c.layer == *layer;
        let changed = match chosen.as_ref().filter(same) {
            Some(known) => !Arc::ptr_eq(&known.config, &frame.config),
            None if frame.keyframe && is_better(chosen.as_ref(), &frame.config) => true,
            None => return Vec::new(),
        };
        let base = *self
            .base_us
            .get_or_insert(frame.dts_us - (self.last_ms + PAUSE_MS) * 1000);
        let at_ms = (frame.dts_us - base).div_euclid(1000).max(0);
        self.last_ms = self.last_ms.max(at_ms);
        let mut messages = Vec::new();
        if changed {
            let chosen = Chosen {
                track: Arc::clone(track),
                layer: Arc::clone(layer),
                config: Arc::clone(&frame.config),
            };
            *(if video {
                &mut self.video
            } else {
                &mut self.audio
            }) = Some(chosen);
            messages.push(self.metadata());
            let record = to_rtmp_record(&frame.config);
            messages.push(self.message(&frame.config, What::Config, &record, at_ms));
        }
        let what = What::Frame {
            keyframe: frame.keyframe,
            composition_ms: ((frame.pts_us - frame.dts_us) / 1000) as i32,
        };
        messages.push(self.message(&frame.config, what, &frame.data, at_ms));
        messages
    }

    fn message(&self, config: &Config, what: What, data: &[u8], at_ms: i64) -> Message {
        let part = Part {
            track: 0,
            codec: commands::four_cc(config.codec),
            what,
            nanoseconds: 0,
            data,
        };
        let (kind, payload) = match config.codec.kind() {
            Kind::Video => (kind::VIDEO, write_video(&part)),
            Kind::Audio => (kind::AUDIO, write_audio(&part)),
        };
        Message {
            kind,
            stream: self.stream,
            timestamp: at_ms as u32,
            payload,
        }
    }

    /// At time zero: at any other, ffmpeg takes metadata for a subtitle.
    fn metadata(&self) -> Message {
        let mut members = Vec::new();
        let mut add = |name: &str, number: f64| members.push((name.to_owned(), number.into()));
        if let Some(video) = &self.video {
            add("width", video.config.resolution.0.into());
            add("height", video.config.resolution.1.into());
        }
        if let Some(audio) = &self.audio {
            add("audiosamplerate", audio.config.sample_rate.into());
            add("audiochannels", audio.config.channels.into());
        }
        let values = [Value::string("onMetaData"), Value::EcmaArray(members)];
        commands::data(self.stream, &values)
    }
}

/// Whether to leave what is played for this: only for a larger picture.
fn is_better(chosen: Option<&Chosen>, config: &Config) -> bool {
    let pixels = |config: &Config| u32::from(config.resolution.0) * u32::from(config.resolution.1);
    chosen.is_none_or(|chosen| pixels(config) > pixels(&chosen.config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagecast_proto::codec::Codec;
    use std::time::Instant;

    fn frame(codec: Codec, width: u16, at_ms: i64, keyframe: bool) -> Frame {
        Frame {
            config: Arc::new(Config {
                codec,
                record: Arc::from([1, 2, 3]),
                resolution: (width, width / 2),
                sample_rate: 0,
                channels: 0,
            }),
            pts_us: at_ms * 1000,
            dts_us: at_ms * 1000,
            keyframe,
            capture: Instant::now(),
            data: Arc::from([9]),
        }
    }

    fn player() -> Player {
        Player::new(Capabilities::default(), 1)
    }

    #[test]
    fn video_starts_at_a_keyframe_with_its_configuration() {
        let (mut player, track, layer) = (player(), Arc::from("video"), Arc::from(""));
        let early = frame(Codec::H264, 640, 1000, false);
        assert!(player.messages(&track, &layer, &early).is_empty());
        let key = frame(Codec::H264, 640, 1040, true);
        let messages = player.messages(&track, &layer, &key);
        let kinds: Vec<_> = messages.iter().map(|m| (m.kind, m.timestamp)).collect();
        assert_eq!(kinds, [(kind::DATA, 0), (kind::VIDEO, 0), (kind::VIDEO, 0)]);
        let next = Frame {
            dts_us: 1_080_000,
            keyframe: false,
            ..key
        };
        let messages = player.messages(&track, &layer, &next);
        assert_eq!((messages.len(), messages[0].timestamp), (1, 40));
    }

    #[test]
    fn the_larger_of_two_layers_is_played() {
        let (mut player, track) = (player(), Arc::from("video"));
        let (small, large) = (Arc::from("l"), Arc::from("h"));
        let key = |width| frame(Codec::H264, width, 0, true);
        assert!(!player.messages(&track, &small, &key(320)).is_empty());
        assert!(!player.messages(&track, &large, &key(1280)).is_empty());
        assert!(player.messages(&track, &small, &key(320)).is_empty());
    }

    #[test]
    fn codecs_that_the_player_did_not_announce_are_left_out() {
        let (track, layer) = (Arc::from("audio"), Arc::from(""));
        let opus = frame(Codec::Opus, 0, 0, true);
        assert!(player().messages(&track, &layer, &opus).is_empty());
    }

    #[test]
    fn another_publisher_goes_on_where_the_last_one_ended() {
        let (mut player, track, layer) = (player(), Arc::from("video"), Arc::from(""));
        player.messages(&track, &layer, &frame(Codec::H264, 640, 500, true));
        player.messages(&track, &layer, &frame(Codec::H264, 640, 1500, true));
        player.restart();
        let messages = player.messages(&track, &layer, &frame(Codec::H264, 640, 7, true));
        let times: Vec<_> = messages.iter().map(|m| m.timestamp).collect();
        assert_eq!(times, [0, 1020, 1020]);
    }
}
