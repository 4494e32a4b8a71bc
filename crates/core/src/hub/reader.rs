//! A reader: one viewer's place in the tracks of a source.
//!
//! `deliver` is called when a source has new packets, and again when a reader
//! that is catching up is due. It decides what the viewer gets (track, layer,
//! where to start, at what pace) and hands each packet, with its place in the
//! viewer's RTP stream, to an [`EgressTransport`], which seals and sends it.

use std::time::{Duration, Instant};

use stagecast_proto::codec::Kind;

use super::rewrite::{Continuity, Patch};
use super::source::Source;
use super::track::Track;
use crate::packet::Packet;

/// How a chosen packet reaches one viewer. The only thing that the forwarding
/// rules know of the viewer's connection.
pub trait EgressTransport {
    /// Seal and queue a packet. A format that the viewer cannot decode is dropped.
    fn send(&mut self, now: Instant, out: &Outgoing<'_>);
}

/// A packet with its place in a viewer's RTP stream.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Audio or video of the viewer.
    pub kind: Kind,
    /// The packet as the hub has it.
    pub packet: &'a Packet,
    /// Extended sequence number of the viewer's stream.
    pub seq: u64,
    /// RTP timestamp of the viewer's stream.
    pub timestamp: u32,
    /// Capture time of `timestamp`, for sender reports and abs-capture-time.
    pub capture: Instant,
    /// What must be changed in the payload.
    pub patch: Option<Patch>,
    /// Where the packet can be found again, for retransmission.
    pub origin: Origin,
}

/// A packet's place in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    generation: u32,
    track: usize,
    layer: usize,
    index: u64,
}

impl Origin {
    /// A place that no source has.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self {
            generation: u32::MAX,
            track: 0,
            layer: 0,
            index: 0,
        }
    }

    /// The packet, if the publisher is still the same and the ring still has it.
    pub fn find(self, source: &Source) -> Option<&Packet> {
        if source.generation != self.generation {
            return None;
        }
        source
            .tracks
            .get(self.track)?
            .layers
            .get(self.layer)?
            .ring
            .get(self.index)
    }
}

/// Rules for joining late.
#[derive(Clone, Copy, Debug)]
pub struct ReaderPolicy {
    /// A cached keyframe up to this age is used rather than asking the publisher
    /// for a new one, which costs every viewer quality.
    pub replay_max_age: Duration,
    /// Multiple of real time at which a reader catches up from a cached keyframe.
    pub catch_up_speed: u32,
}

impl Default for ReaderPolicy {
    fn default() -> Self {
        Self {
            replay_max_age: Duration::from_millis(2500),
            catch_up_speed: 5,
        }
    }
}

/// What a reader needs after a delivery.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// A keyframe of this (track, layer).
    pub keyframe: Option<(usize, usize)>,
    /// To be called again then, even without new packets.
    pub wake: Option<Instant>,
}

/// One viewer's place in a source.
#[derive(Debug)]
pub struct Reader {
    slots: Vec<Slot>,
    policy: ReaderPolicy,
}

impl Reader {
    /// A reader of the given kinds; `first_seq` is the caller's randomness.
    pub fn new(kinds: &[Kind], policy: ReaderPolicy, first_seq: u16) -> Self {
        let slots = kinds
            .iter()
            .map(|&kind| Slot::new(kind, first_seq))
            .collect();
        Self { slots, policy }
    }

    /// Send what is due.
    pub fn deliver(
        &mut self,
        source: &Source,
        now: Instant,
        transport: &mut impl EgressTransport,
    ) -> Wants {
        let mut wants = Wants::default();
        for slot in &mut self.slots {
            slot.deliver(source, now, self.policy, transport, &mut wants);
        }
        wants
    }

    /// The viewer lost the picture and asks for a keyframe.
    pub fn on_keyframe_request(&mut self, source: &Source, now: Instant) -> Wants {
        let mut wants = Wants::default();
        for slot in self.slots.iter_mut().filter(|s| s.kind == Kind::Video) {
            slot.on_keyframe_request(source, now, &mut wants);
        }
        wants
    }
}

/// The reader's place in one track.
#[derive(Debug)]
struct Slot {
    kind: Kind,
    reading: Option<Reading>,
    out: Continuity,
    /// A keyframe that starts at or after this ring index is being waited for.
    waiting_from: Option<(u32, usize, usize, u64)>,
    began: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    generation: u32,
    track: usize,
    layer: usize,
    cursor: u64,
    catching_up_since: Option<Instant>,
}

impl Slot {
    fn new(kind: Kind, first_seq: u16) -> Self {
        let rate = if kind == Kind::Audio { 48_000 } else { 90_000 };
        Self {
            kind,
            reading: None,
            out: Continuity::new(rate, first_seq),
            waiting_from: None,
            began: None,
        }
    }

    fn deliver(
        &mut self,
        source: &Source,
        now: Instant,
        policy: ReaderPolicy,
        transport: &mut impl EgressTransport,
        wants: &mut Wants,
    ) {
        if self
            .reading
            .is_some_and(|r| r.generation != source.generation)
        {
            self.reading = None;
            self.waiting_from = None;
        }
        let Some((track_index, track)) = source.first(self.kind) else {
            return;
        };
        let Some(best) = track.best_layer(now) else {
            return;
        };
        let current = self.reading.map(|r| r.layer);
        if current != Some(best) {
            self.try_start(source, (track_index, track, best), now, policy, wants);
        }
        self.forward(source, now, policy, transport, wants);
    }

    /// Begin (or switch to) a layer if a decoder can start there.
    fn try_start(
        &mut self,
        source: &Source,
        (track_index, track, layer_index): (usize, &Track, usize),
        now: Instant,
        policy: ReaderPolicy,
        wants: &mut Wants,
    ) {
        let ring = &track.layers[layer_index].ring;
        let waiting = self
            .waiting_from
            .filter(|w| (w.0, w.1, w.2) == (source.generation, track_index, layer_index))
            .map(|w| w.3);
        let start = match self.kind {
            Kind::Audio => ring
                .end()
                .checked_sub(1)
                .and_then(|i| Some((i, ring.get(i)?))),
            Kind::Video => ring.keyframe().filter(|(index, first)| {
                let age = now.saturating_duration_since(first.arrival);
                let fresh = age <= policy.replay_max_age || !track.can_ask_keyframe;
                // A switch between layers must not go back in time.
                let awaited = waiting.is_some_and(|from| *index >= from);
                awaited || (fresh && self.reading.is_none())
            }),
        };
        let Some((cursor, first)) = start else {
            if waiting.is_none() {
                let awaited = (source.generation, track_index, layer_index, ring.end());
                self.waiting_from = Some(awaited);
            }
            if self.kind == Kind::Video {
                wants.keyframe = Some((track_index, layer_index));
            }
            return;
        };
        let newest = ring.last().expect("the ring has the packet to start from");
        let behind = newest.capture.saturating_duration_since(first.capture);
        let catch_up = self.kind == Kind::Video && behind > Duration::from_millis(100);
        let speed = if catch_up { policy.catch_up_speed } else { 1 };
        self.out.begin(first, newest.capture, speed);
        self.waiting_from = None;
        self.began = Some(now);
        self.reading = Some(Reading {
            generation: source.generation,
            track: track_index,
            layer: layer_index,
            cursor,
            catching_up_since: catch_up.then_some(now),
        });
    }

    fn forward(
        &mut self,
        source: &Source,
        now: Instant,
        policy: ReaderPolicy,
        transport: &mut impl EgressTransport,
        wants: &mut Wants,
    ) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        let Some(track) = source.tracks.get(reading.track) else {
            return;
        };
        let Some(layer) = track.layers.get(reading.layer) else {
            return;
        };
        let ring = &layer.ring;
        // Fell behind the ring: what is gone is a gap, which the viewer repairs by a keyframe.
        reading.cursor = reading.cursor.max(ring.start());
        while let Some(packet) = ring.get(reading.cursor) {
            if let Some(since) = reading.catching_up_since {
                let due = since + self.out.elapsed(packet) / policy.catch_up_speed.max(1);
                if due > now {
                    wants.wake = Some(wants.wake.map_or(due, |w| w.min(due)));
                    return;
                }
            }
            let origin = Origin {
                generation: reading.generation,
                track: reading.track,
                layer: reading.layer,
                index: reading.cursor,
            };
            reading.cursor += 1;
            let capture = match reading.catching_up_since {
                Some(_) => now,
                None => packet.capture,
            };
            if let Some(place) = self.out.place(packet, capture) {
                let out = Outgoing {
                    kind: self.kind,
                    packet,
                    seq: place.seq,
                    timestamp: place.timestamp,
                    capture,
                    patch: self.out.patch(packet),
                    origin,
                };
                transport.send(now, &out);
            }
            if reading.catching_up_since.is_some() && reading.cursor == ring.end() {
                self.out.caught_up(packet);
                reading.catching_up_since = None;
            }
        }
    }

    fn on_keyframe_request(&mut self, source: &Source, now: Instant, wants: &mut Wants) {
        let Some(reading) = self.reading.filter(|r| r.generation == source.generation) else {
            return;
        };
        let Some(track) = source.tracks.get(reading.track) else {
            return;
        };
        if track.can_ask_keyframe {
            wants.keyframe = Some((reading.track, reading.layer));
            return;
        }
        // This publisher cannot be asked: go back to its last keyframe, but give
        // a start that is under way the time to arrive.
        let settled = |at: Instant| now.saturating_duration_since(at) > Duration::from_secs(1);
        if self.began.is_none_or(settled) {
            self.reading = None;
            wants.wake = Some(now);
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
