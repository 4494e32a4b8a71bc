//! A source: the tracks that one publisher feeds.
//!
//! A source outlives its publisher while readers are attached. Each publisher
//! starts a new `generation`; readers notice and begin the new tracks at a
//! keyframe, continuing their own RTP streams.

use std::time::Instant;

use stagecast_proto::codec::Kind;

use super::ring::Limits;
use super::track::Track;
use crate::id::SourceKey;

/// What one publisher feeds and readers read.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub key: SourceKey,
    /// Counts the publishers it has had.
    pub generation: u32,
    /// The tracks of the current publisher; empty while there is none.
    pub tracks: Vec<Track>,
    limits: Limits,
}

impl Source {
    /// A source without a publisher.
    pub fn new(key: SourceKey, limits: Limits) -> Self {
        Self {
            key,
            generation: 0,
            tracks: Vec::new(),
            limits,
        }
    }

    /// A new publisher begins; the tracks of the former are forgotten.
    pub fn begin(&mut self, generation: u32) {
        self.generation = generation;
        self.tracks.clear();
    }

    /// The publisher is gone: readers keep waiting for the next one.
    pub fn end(&mut self) {
        self.tracks.clear();
    }

    /// Prepare packets of video that came since the last call for delivery.
    pub fn even_out(&mut self) {
        for track in self.tracks.iter_mut().filter(|t| t.kind == Kind::Video) {
            track.layers.iter_mut().for_each(|l| l.ring.even_out());
        }
    }

    /// Whether any media has arrived from the current publisher.
    pub fn is_live(&self) -> bool {
        self.tracks
            .iter()
            .any(|t| t.layers.iter().any(|l| l.ring.end() > 0))
    }

    /// The track with this name, made if it is new.
    pub fn track_mut(&mut self, name: &str, kind: Kind, can_ask_keyframe: bool) -> &mut Track {
        let index = self
            .tracks
            .iter()
            .position(|t| &*t.name == name)
            .unwrap_or_else(|| {
                self.tracks
                    .push(Track::new(name, kind, can_ask_keyframe, self.limits));
                self.tracks.len() - 1
            });
        &mut self.tracks[index]
    }

    /// The first track of a kind that has media.
    pub fn first(&self, kind: Kind) -> Option<(usize, &Track)> {
        let live = |t: &Track| t.kind == kind && t.layers.iter().any(|l| l.ring.end() > 0);
        self.tracks.iter().enumerate().find(|(_, t)| live(t))
    }

    /// Keyframe requests held back until now: (track, layer).
    pub fn due_keyframe_requests(&mut self, now: Instant) -> Vec<(usize, usize)> {
        let mut due = Vec::new();
        for (t, track) in self.tracks.iter_mut().enumerate() {
            for (l, layer) in track.layers.iter_mut().enumerate() {
                if layer.keyframe_gate.due(now) {
                    due.push((t, l));
                }
            }
        }
        due
    }
}
