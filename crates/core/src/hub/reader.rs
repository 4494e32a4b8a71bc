//! A reader: one viewer's place in the tracks of a source.
//!
//! `deliver` is called when a source has new packets, and again when a reader
//! that is catching up is due. It decides what the viewer gets (track, layer,
//! where to start, at what pace) and hands each packet, with its place in the
//! viewer's RTP stream, to an [`EgressTransport`], which seals and sends it.
//!
//! Which layer that is can be set from outside ([`Reader::set_target`]): a
//! viewer's bandwidth is not known here. Until that layer has a keyframe the
//! present one goes on, so a layer that never has one stalls nobody.

use std::time::{Duration, Instant};

use stagecast_proto::codec::Kind;

use super::demand::LayerSet;
use super::rewrite::{Continuity, Patch};
use super::selection::Selection;
use super::source::Source;
use super::track::{Pick, Track};
use super::wish::LayerWish;
use crate::bwe::Target;
use crate::packet::{Level, Packet};

/// A keyframe up to this age counts as coming now.
const LIVE: Duration = Duration::from_millis(100);
/// So long the layer that is left may take to end its frame.
const FRAME_PATIENCE: Duration = Duration::from_millis(20);

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
    /// RTP marker: last packet of the picture as this viewer gets it.
    pub marker: bool,
    /// Capture time of `timestamp`, for sender reports and abs-capture-time.
    pub capture: Instant,
    /// What must be changed in the payload.
    pub patch: Option<Patch>,
    /// Where the packet can be found again, for retransmission.
    pub origin: Origin,
}

/// A packet's place in a source; small, because viewers remember many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    generation: u32,
    /// Low bits of the index in the ring, which holds far fewer packets than they count.
    index: u32,
    track: u8,
    layer: u8,
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

    /// Whether both are of one layer of one publisher.
    pub fn is_beside(self, other: Self) -> bool {
        let layer = |at: Self| (at.generation, at.track, at.layer);
        layer(self) == layer(other)
    }

    /// The packet, if the publisher is still the same and the ring still has it.
    pub fn find(self, source: &Source) -> Option<&Packet> {
        if source.generation != self.generation {
            return None;
        }
        let track = source.tracks.get(usize::from(self.track))?;
        let ring = &track.layers.get(usize::from(self.layer))?.ring;
        let behind = (ring.end() as u32).wrapping_sub(self.index);
        ring.get(ring.end().checked_sub(behind.into())?)
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

/// What of the video a reader is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Choice {
    /// Nothing chosen: the best there is.
    target: Option<Target>,
    hold: bool,
    paused: bool,
}

/// One viewer's place in a source.
#[derive(Debug)]
pub struct Reader {
    slots: Vec<Slot>,
    policy: ReaderPolicy,
    choice: Choice,
    wish: LayerWish,
}

impl Reader {
    /// A reader of the given kinds; `first_seq` is the caller's randomness.
    pub fn new(kinds: &[Kind], policy: ReaderPolicy, first_seq: u16) -> Self {
        let slots = kinds
            .iter()
            .map(|&kind| Slot::new(kind, first_seq))
            .collect();
        Self {
            slots,
            policy,
            choice: Choice::default(),
            wish: LayerWish::default(),
        }
    }

    /// What the viewer asks for. Who sets targets must heed it; without one the reader does so itself.
    pub fn set_wish(&mut self, wish: LayerWish) {
        self.wish = wish;
    }

    /// What the viewer asks for.
    pub fn wish(&self) -> &LayerWish {
        &self.wish
    }

    /// Give this layer of the video and these temporal layers, from the layer's next keyframe on;
    /// `None`, as at first, is the best picture there is.
    ///
    /// A target without media is no target until it has some. Takes effect with the next `deliver`.
    pub fn set_target(&mut self, target: Option<Target>) {
        self.choice.target = target;
    }

    /// While the keyframe of the target is awaited: do not go on with the present layer.
    pub fn set_hold(&mut self, hold: bool) {
        self.choice.hold = hold;
    }

    /// Send no video; audio goes on. Afterwards video begins at a keyframe that is not old.
    pub fn set_paused(&mut self, paused: bool) {
        self.choice.paused = paused;
    }

    /// The video layer that is really sent, as targets and offers number them.
    pub fn video_layer(&self) -> Option<usize> {
        let video = self.slots.iter().find(|s| s.kind == Kind::Video)?;
        video.reading.as_ref()?;
        video.number
    }

    /// The layers of the video, in the source's track of this index, that it reads, and would read if they
    /// had media.
    pub fn wanted(&self, source: &Source, now: Instant) -> Option<(usize, LayerSet)> {
        let slot = self.slots.iter().find(|s| s.kind == Kind::Video)?;
        let (index, track) = source.first(Kind::Video)?;
        let here = |r: &Reading| r.generation == source.generation && r.track == index;
        let reading = slot.reading.filter(here).map(|r| r.layer);
        let mut layers: LayerSet = reading.into_iter().collect();
        if !self.choice.paused {
            let wished = || {
                let wishes = track.wishes(&self.wish, now);
                wishes.only.or(wishes.max)
            };
            let best = || track.offers(now).last().map(|offer| offer.layer);
            let target = self.choice.target.map(|target| target.layer);
            if let Some(layer) = target.or_else(wished).or_else(best) {
                layers.insert(layer);
            }
        }
        Some((index, layers))
    }

    /// Send what is due.
    pub fn deliver(
        &mut self,
        source: &Source,
        now: Instant,
        transport: &mut impl EgressTransport,
    ) -> Wants {
        let mut turn = Turn {
            source,
            now,
            policy: self.policy,
            transport,
            wants: Wants::default(),
        };
        for slot in &mut self.slots {
            let choice = match slot.kind {
                Kind::Video => self.choice,
                Kind::Audio => Choice::default(),
            };
            slot.deliver(choice, &self.wish, &mut turn);
        }
        turn.wants
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

/// One call of `deliver`.
struct Turn<'a, T> {
    source: &'a Source,
    now: Instant,
    policy: ReaderPolicy,
    transport: &'a mut T,
    wants: Wants,
}

impl<T> Turn<'_, T> {
    fn wake(&mut self, at: Instant) {
        self.wants.wake = Some(self.wants.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// The reader's place in one track.
#[derive(Debug)]
struct Slot {
    kind: Kind,
    reading: Option<Reading>,
    selection: Selection,
    /// Of the layer that was sent last.
    number: Option<usize>,
    out: Continuity,
    /// A keyframe that starts at or after this ring index is being waited for.
    waiting_from: Option<(u32, usize, usize, u64)>,
    /// A viewer that sees nothing yet may be shown the recent past, to have a picture at once.
    may_replay: bool,
    /// Timestamp, on the way in, of a frame whose last packet has not been sent.
    open_frame: Option<u32>,
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
        Self {
            kind,
            reading: None,
            selection: Selection::default(),
            number: None,
            out: Continuity::new(kind.clock_rate(), first_seq),
            waiting_from: None,
            may_replay: true,
            open_frame: None,
            began: None,
        }
    }

    fn deliver<T: EgressTransport>(
        &mut self,
        choice: Choice,
        wish: &LayerWish,
        turn: &mut Turn<'_, T>,
    ) {
        let (source, now) = (turn.source, turn.now);
        if self
            .reading
            .is_some_and(|r| r.generation != source.generation)
        {
            self.stop(true);
        }
        if choice.paused {
            self.stop(false);
            return;
        }
        let Some((track_index, track)) = source.first(self.kind) else {
            return;
        };
        let Some(pick) = self.pick(choice, wish, track, now) else {
            return;
        };
        self.selection.aim(pick.level);
        if self.reading.map(|r| r.layer) != Some(pick.layer) {
            self.turn_to((track_index, track, pick), turn);
        }
        let elsewhere = self.reading.is_some_and(|r| r.layer != pick.layer);
        if elsewhere && choice.hold {
            self.stop(false);
            return;
        }
        self.forward(None, turn);
        if let Some(reading) = self.reading {
            let level = self.selection.level();
            let layer = reading.layer;
            self.number = Some(track.number(Pick { layer, level }));
            if self.selection.awaits_keyframe() && layer == pick.layer {
                turn.wants.keyframe = Some((track_index, layer));
            }
        }
    }

    /// What should be read. Where the target has no media, what is read goes on.
    fn pick(&self, choice: Choice, wish: &LayerWish, track: &Track, now: Instant) -> Option<Pick> {
        if self.kind == Kind::Audio {
            return track.best(now);
        }
        let wished = || {
            let wishes = track.wishes(wish, now);
            let layer = wishes.only.or(wishes.max)?;
            let temporal = Level::TOP.temporal;
            Some(Target { layer, temporal })
        };
        let mut pick = match choice.target.or_else(wished) {
            None => track.best(now),
            Some(target) => {
                let present = || {
                    let layer = self.reading.map(|r| r.layer);
                    let layer = layer.filter(|&l| track.is_active(l, now))?;
                    let level = self.selection.level();
                    Some(Pick { layer, level })
                };
                let chosen = track.pick(target, now);
                chosen.or_else(present).or_else(|| track.best(now))
            }
        }?;
        if let Some(temporal) = wish.temporal() {
            pick.level.temporal = pick.level.temporal.min(temporal);
        }
        Some(pick)
    }

    /// Send nothing more of what is read.
    fn stop(&mut self, may_replay: bool) {
        if self.reading.take().is_some() {
            self.waiting_from = None;
            self.open_frame = None;
        }
        self.may_replay = may_replay || (self.may_replay && self.out.newest().is_none());
    }

    /// Begin (or switch to) a layer if a decoder can start there.
    fn turn_to<T: EgressTransport>(
        &mut self,
        place: (usize, &Track, Pick),
        turn: &mut Turn<'_, T>,
    ) {
        let (track_index, track, pick) = place;
        let ring = &track.layers[pick.layer].ring;
        let awaited = (turn.source.generation, track_index, pick.layer);
        let waiting = self
            .waiting_from
            .filter(|w| (w.0, w.1, w.2) == awaited)
            .map(|w| w.3);
        let Some((cursor, first)) = self.start_in(track, pick.layer, waiting, turn) else {
            if waiting.is_none() {
                self.waiting_from = Some((awaited.0, awaited.1, awaited.2, ring.end()));
            }
            if self.kind == Kind::Video {
                turn.wants.keyframe = Some((track_index, pick.layer));
            }
            return;
        };
        if !self.finish_frame(first, turn) {
            return;
        }
        let newest = ring.last().expect("the ring has the packet to start from");
        let behind = newest.capture.saturating_duration_since(first.capture);
        let catch_up = self.kind == Kind::Video && behind > Duration::from_millis(100);
        let (live, speed) = if catch_up {
            (newest.capture, turn.policy.catch_up_speed)
        } else {
            (first.capture, 1)
        };
        self.out.begin(first, live, speed);
        self.selection.begin(pick.level);
        self.waiting_from = None;
        self.may_replay = false;
        self.began = Some(turn.now);
        self.reading = Some(Reading {
            generation: turn.source.generation,
            track: track_index,
            layer: pick.layer,
            cursor,
            catching_up_since: catch_up.then_some(turn.now),
        });
    }

    /// Where reading the layer can begin now: index and packet.
    fn start_in<'a, T>(
        &self,
        track: &'a Track,
        layer: usize,
        waiting: Option<u64>,
        turn: &Turn<'_, T>,
    ) -> Option<(u64, &'a Packet)> {
        let ring = &track.layers[layer].ring;
        if self.kind == Kind::Audio {
            let newest = ring.end().checked_sub(1)?;
            return Some((newest, ring.get(newest)?));
        }
        ring.keyframe().filter(|(index, first)| {
            if waiting.is_some_and(|from| *index >= from) {
                return true;
            }
            let age = turn.now.saturating_duration_since(first.arrival);
            if self.may_replay {
                return age <= turn.policy.replay_max_age || !track.can_ask_keyframe;
            }
            // Who has seen something must not see it again.
            age <= LIVE && self.out.newest().is_none_or(|seen| first.capture > seen)
        })
    }

    /// Before a switch to `next`: send what is left of the frame that is under way, for a bounded
    /// time. Whether the switch can be made now.
    fn finish_frame<T: EgressTransport>(&mut self, next: &Packet, turn: &mut Turn<'_, T>) -> bool {
        let (Some(frame), Some(reading)) = (self.open_frame, self.reading) else {
            return true;
        };
        if reading.catching_up_since.is_none() {
            self.forward(Some(frame), turn);
        }
        let patience = next.arrival + FRAME_PATIENCE;
        if self.open_frame.is_none() || turn.now >= patience {
            self.open_frame = None;
            return true;
        }
        turn.wake(patience);
        false
    }

    /// Send what the layer that is read has; `only` the rest of this frame.
    fn forward<T: EgressTransport>(&mut self, only: Option<u32>, turn: &mut Turn<'_, T>) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        let Some(layer) = turn
            .source
            .tracks
            .get(reading.track)
            .and_then(|track| track.layers.get(reading.layer))
        else {
            return;
        };
        let ring = &layer.ring;
        // Fell behind the ring: what is gone is a gap, which the viewer repairs by a keyframe.
        reading.cursor = reading.cursor.max(ring.start());
        while let Some(packet) = ring.get(reading.cursor) {
            if only.is_some_and(|frame| frame != packet.timestamp) {
                self.open_frame = None;
                return;
            }
            if let Some(since) = reading.catching_up_since {
                let due = since + self.out.elapsed(packet) / turn.policy.catch_up_speed.max(1);
                if due > turn.now {
                    turn.wake(due);
                    return;
                }
            }
            let origin = Origin {
                generation: reading.generation,
                index: reading.cursor as u32,
                track: reading.track as u8,
                layer: reading.layer as u8,
            };
            reading.cursor += 1;
            let capture = match reading.catching_up_since {
                Some(_) => turn.now,
                None => packet.capture,
            };
            if !self.selection.takes(packet) {
                self.out.skip(packet);
            } else if let Some(place) = self.out.place(packet, capture) {
                let marker = self.selection.ends_picture(packet);
                self.open_frame = (!marker).then_some(packet.timestamp);
                let out = Outgoing {
                    kind: self.kind,
                    packet,
                    seq: place.seq,
                    timestamp: place.timestamp,
                    marker,
                    capture,
                    patch: place.patch,
                    origin,
                };
                turn.transport.send(turn.now, &out);
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
            self.stop(true);
            wants.wake = Some(now);
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
