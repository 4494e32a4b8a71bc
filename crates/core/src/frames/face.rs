//! The frames of a source since its last keyframes, for readers that join late.
//!
//! Frames of all tracks are kept in their order of arrival: a video layer from its last keyframe on,
//! audio from the oldest frame of video that is kept. Bounded like a ring, by bytes and age: a group
//! of pictures that outgrows the bound is given up, and late readers wait for the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use stagecast_proto::codec::Kind;

use crate::figures::LayerMeter;
use crate::frame::{Config, Frame};
use crate::hub::ring::Limits;

/// Tracks times layers of a source.
const MAX_LAYERS: usize = 32;

/// One layer's state.
#[derive(Debug)]
pub struct FaceLayer {
    /// Restriction id; empty without simulcast.
    pub rid: Arc<str>,
    /// How its newest frame is decoded.
    pub config: Arc<Config>,
    /// Its figures.
    pub meter: LayerMeter,
    /// Number of the entry that a late reader starts at.
    keyframe: Option<u64>,
}

/// A track's layers.
#[derive(Debug)]
pub struct FaceTrack {
    /// Track name.
    pub name: Arc<str>,
    /// Its layers, one for audio.
    pub layers: Vec<FaceLayer>,
}

#[derive(Debug)]
struct Entry {
    track: usize,
    layer: usize,
    arrival: Instant,
    frame: Frame,
}

/// The frame face of a source.
#[derive(Debug)]
pub struct Face {
    tracks: Vec<FaceTrack>,
    entries: VecDeque<Entry>,
    /// Number of `entries[0]`.
    base: u64,
    bytes: usize,
    limits: Limits,
}

impl Face {
    /// Without tracks.
    pub fn new(limits: Limits) -> Self {
        Self {
            tracks: Vec::new(),
            entries: VecDeque::new(),
            base: 0,
            bytes: 0,
            limits,
        }
    }

    /// Forget everything: another publisher begins, or there is none.
    pub fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// The tracks that have frames.
    pub fn tracks(&self) -> &[FaceTrack] {
        &self.tracks
    }

    /// The same, to measure them.
    pub fn tracks_mut(&mut self) -> &mut [FaceTrack] {
        &mut self.tracks
    }

    /// Keep a frame; whether its track or layer is new. Frames beyond the allowed number of layers
    /// are not kept.
    pub fn push(&mut self, track: &Arc<str>, rid: &Arc<str>, frame: &Frame, now: Instant) -> bool {
        let Some((track, layer, new)) = self.place(track, rid, frame) else {
            return false;
        };
        let state = &mut self.tracks[track].layers[layer];
        let size = Some(frame.config.resolution).filter(|size| size.0 > 0);
        state.meter.on_packet(frame.data.len(), true, size, 0);
        if !Arc::ptr_eq(&state.config, &frame.config) {
            state.config = Arc::clone(&frame.config);
        }
        if frame.keyframe && frame.kind() == Kind::Video {
            state.keyframe = Some(self.base + self.entries.len() as u64);
            state.meter.on_keyframe(now);
        }
        self.bytes += frame.data.len();
        self.entries.push_back(Entry {
            track,
            layer,
            arrival: now,
            frame: frame.clone(),
        });
        self.trim(now);
        new
    }

    /// What a late reader gets, in order: from the last keyframes on.
    pub fn since_keyframe(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Frame)> {
        let from = self.oldest_keyframe();
        self.entries
            .iter()
            .zip(self.base..)
            .filter_map(move |(entry, number)| {
                let track = &self.tracks[entry.track];
                let layer = &track.layers[entry.layer];
                let wanted = match entry.frame.kind() {
                    Kind::Video => layer.keyframe.is_some_and(|start| number >= start),
                    Kind::Audio => from.is_some_and(|from| number >= from),
                };
                wanted.then_some((&track.name, &layer.rid, &entry.frame))
            })
    }

    fn place(
        &mut self,
        name: &Arc<str>,
        rid: &Arc<str>,
        frame: &Frame,
    ) -> Option<(usize, usize, bool)> {
        let track = self.tracks.iter().position(|t| t.name == *name);
        let layer = track.and_then(|t| self.tracks[t].layers.iter().position(|l| l.rid == *rid));
        if let (Some(track), Some(layer)) = (track, layer) {
            return Some((track, layer, false));
        }
        if self.tracks.iter().map(|t| t.layers.len()).sum::<usize>() >= MAX_LAYERS {
            return None;
        }
        let track = track.unwrap_or_else(|| {
            self.tracks.push(FaceTrack {
                name: Arc::clone(name),
                layers: Vec::new(),
            });
            self.tracks.len() - 1
        });
        self.tracks[track].layers.push(FaceLayer {
            rid: Arc::clone(rid),
            config: Arc::clone(&frame.config),
            meter: LayerMeter::default(),
            keyframe: None,
        });
        Some((track, self.tracks[track].layers.len() - 1, true))
    }

    fn oldest_keyframe(&self) -> Option<u64> {
        let layers = self.tracks.iter().flat_map(|t| &t.layers);
        layers.filter_map(|l| l.keyframe).min()
    }

    fn trim(&mut self, now: Instant) {
        let needed_from = self.oldest_keyframe().unwrap_or(u64::MAX);
        while let Some(front) = self.entries.front() {
            let fresh = now.saturating_duration_since(front.arrival) <= self.limits.max_age;
            if self.base >= needed_from && fresh && self.bytes <= self.limits.max_bytes {
                break;
            }
            let layer = &mut self.tracks[front.track].layers[front.layer];
            if layer.keyframe == Some(self.base) {
                layer.keyframe = None;
            }
            self.bytes -= front.frame.data.len();
            self.entries.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::publisher::tests::h264_config;
    use stagecast_proto::codec::Codec;
    use std::time::Duration;

    fn push(face: &mut Face, what: &str, keyframe: bool, size: usize, at: Instant) -> bool {
        let (track, rid) = what.split_once('/').unwrap_or((what, ""));
        let config = if track == "audio" {
            Arc::new(Config {
                codec: Codec::Aac,
                record: Arc::from([0x11, 0x90]),
                resolution: (0, 0),
                sample_rate: 48_000,
                channels: 2,
            })
        } else {
            h264_config()
        };
        let frame = Frame {
            config,
            pts_us: 0,
            dts_us: 0,
            keyframe,
            capture: at,
            data: vec![0; size].into(),
        };
        face.push(&track.into(), &rid.into(), &frame, at)
    }

    fn kept(face: &Face) -> Vec<String> {
        let name = |(track, rid, frame): (&Arc<str>, &Arc<str>, &Frame)| {
            format!("{track}/{rid}{}", if frame.keyframe { "!" } else { "" })
        };
        face.since_keyframe().map(name).collect()
    }

    #[test]
    fn late_reader_starts_at_the_last_keyframe_with_the_audio_since() {
        let t0 = Instant::now();
        let mut face = Face::new(Limits::default());
        assert!(push(&mut face, "video", true, 9, t0));
        assert!(push(&mut face, "audio", true, 9, t0));
        assert!(!push(&mut face, "video", false, 9, t0));
        push(&mut face, "video", true, 9, t0);
        push(&mut face, "audio", true, 9, t0);
        push(&mut face, "video", false, 9, t0);
        assert_eq!(kept(&face), ["video/!", "audio/!", "video/"]);
        assert_eq!(face.entries.len(), 3);
    }

    #[test]
    fn layers_start_at_keyframes_of_their_own() {
        let t0 = Instant::now();
        let mut face = Face::new(Limits::default());
        for (what, keyframe) in [("video/l", true), ("video/h", true), ("video/l", false)] {
            push(&mut face, what, keyframe, 9, t0);
        }
        push(&mut face, "video/l", true, 9, t0);
        push(&mut face, "video/h", false, 9, t0);
        assert_eq!(kept(&face), ["video/h!", "video/l!", "video/h"]);
    }

    #[test]
    fn group_that_outgrows_the_bound_is_given_up() {
        let t0 = Instant::now();
        let limits = Limits {
            max_bytes: 1000,
            ..Limits::default()
        };
        let mut face = Face::new(limits);
        push(&mut face, "video", true, 600, t0);
        push(&mut face, "video", false, 600, t0);
        assert_eq!(kept(&face).len(), 0);
        assert!(face.bytes <= 1000);
        let mut face = Face::new(Limits::default());
        push(&mut face, "video", true, 9, t0);
        push(&mut face, "video", false, 9, t0 + Duration::from_secs(7));
        assert_eq!(kept(&face).len(), 0, "older than a reader may start");
    }

    #[test]
    fn audio_alone_is_not_hoarded() {
        let t0 = Instant::now();
        let mut face = Face::new(Limits::default());
        for _ in 0..1000 {
            push(&mut face, "audio", true, 9, t0);
        }
        assert_eq!(face.entries.len(), 0);
        assert_eq!(face.tracks().len(), 1);
    }
}
