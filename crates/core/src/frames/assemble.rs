//! Packets of one layer into frames: in order, without those that loss has spoiled.
//!
//! Packets are put in order by sequence number. What is missing is waited for as long as a
//! retransmission may take; then the frame is given up, and video goes on at the next keyframe,
//! because what follows a lost frame cannot be decoded cleanly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stagecast_proto::codec::Kind;

use super::depacketize::Depacketizer;
use super::timeline::Timeline;
use crate::frame::Frame;
use crate::packet::Packet;

/// How long a missing packet is waited for.
const PATIENCE: Duration = Duration::from_millis(120);
/// Packets that wait for a missing one.
const MAX_PENDING: usize = 2048;

/// What came of a packet.
#[derive(Debug, Default)]
pub struct Unit {
    /// Frames that are complete, in order.
    pub frames: Vec<Frame>,
    /// Nothing can be decoded until there is a keyframe.
    pub wants_keyframe: bool,
}

/// Puts the packets of one layer together.
#[derive(Debug)]
pub struct Assembler {
    kind: Kind,
    timeline: Option<Timeline>,
    depacketizer: Option<Depacketizer>,
    /// The sequence number that comes next.
    next: Option<u64>,
    pending: BTreeMap<u64, Packet>,
    /// Timestamp, media time and capture time of the frame in the making.
    frame: Option<(u32, i64, Instant)>,
    broken: bool,
    awaits_keyframe: bool,
}

impl Assembler {
    /// For a layer.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            timeline: None,
            depacketizer: None,
            next: None,
            pending: BTreeMap::new(),
            frame: None,
            broken: false,
            awaits_keyframe: kind == Kind::Video,
        }
    }

    /// Take a packet in order of arrival.
    pub fn push(&mut self, packet: Packet, out: &mut Unit) {
        let now = packet.arrival;
        if self.next.is_none() {
            // In the middle of a frame its beginning is not waited for.
            self.broken = self.kind == Kind::Video && !packet.keyframe;
            self.next = Some(packet.seq);
        }
        if self.next.is_some_and(|next| packet.seq < next) {
            return;
        }
        self.pending.insert(packet.seq, packet);
        self.drain(out);
        while let Some((&seq, first)) = self.pending.first_key_value() {
            let waited = now.saturating_duration_since(first.arrival);
            if waited < PATIENCE && self.pending.len() < MAX_PENDING {
                break;
            }
            self.next = Some(seq);
            if self.kind == Kind::Video {
                self.broken = true;
                self.awaits_keyframe = true;
                out.wants_keyframe = true;
            }
            self.drain(out);
        }
    }

    fn drain(&mut self, out: &mut Unit) {
        while let Some(packet) = self.next.and_then(|next| self.pending.remove(&next)) {
            self.next = Some(packet.seq + 1);
            self.digest(&packet, out);
        }
    }

    fn digest(&mut self, packet: &Packet, out: &mut Unit) {
        let codec = packet.format.codec;
        if self
            .depacketizer
            .as_ref()
            .is_none_or(|d| d.codec() != codec)
        {
            self.depacketizer = Some(Depacketizer::new(codec));
            self.timeline = Some(Timeline::new(codec));
            self.awaits_keyframe = self.kind == Kind::Video;
            self.frame = None;
        }
        if self
            .frame
            .is_some_and(|(timestamp, ..)| timestamp != packet.timestamp)
        {
            self.finish(out);
        }
        if self.frame.is_none() {
            // What was spoiled ends where another frame begins.
            self.broken &= !packet.frame_start && !packet.keyframe;
            self.frame = Some((packet.timestamp, packet.media_us, packet.capture));
        }
        if let Some(depacketizer) = &mut self.depacketizer
            && !self.broken
        {
            self.broken = depacketizer.push(&packet.payload).is_err();
        }
        if packet.marker || self.kind == Kind::Audio {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut Unit) {
        let (Some((timestamp, media_us, capture)), Some(depacketizer)) =
            (self.frame.take(), &mut self.depacketizer)
        else {
            return;
        };
        if std::mem::take(&mut self.broken) {
            depacketizer.reset();
            self.awaits_keyframe = self.kind == Kind::Video;
            out.wants_keyframe |= self.awaits_keyframe;
            return;
        }
        let Some(unit) = depacketizer.finish() else {
            return;
        };
        let Some(config) = depacketizer.config() else {
            out.wants_keyframe |= self.kind == Kind::Video;
            return;
        };
        if self.awaits_keyframe && !unit.keyframe {
            out.wants_keyframe = true;
            return;
        }
        self.awaits_keyframe = false;
        let Some(timeline) = &mut self.timeline else {
            return;
        };
        let pts_us = timeline.place(timestamp, media_us);
        out.frames.push(Frame {
            config: config.clone(),
            pts_us,
            dts_us: pts_us,
            keyframe: unit.keyframe,
            capture,
            data: unit.data.into(),
        });
    }
}

#[cfg(test)]
#[path = "round_trip_tests.rs"]
mod tests;
