//! Which layers of simulcast are read, and which of them a publisher may therefore leave out.
//!
//! Weighed some times a second where the publisher lives. A layer that nobody has read for [`UNREAD`]
//! rests: the publisher is asked not to send it. It stays among the offers, with the rate that it had, so
//! that viewers go on choosing it; once one does, it is asked for again at once. The lowest layer never
//! rests: whoever comes is to have a picture.
//!
//! A publisher is asked by name of the layers, if its page listens. One that goes on with them for [`PATIENCE`]
//! is told a bitrate that leaves no room for them (REMB), which takes them away from the top.

use std::time::{Duration, Instant};

use super::source::Source;
use super::track::{Layer, Track};
use crate::bwe::{Bitrate, LayerOffer};

/// A layer rests when nobody has read it for this time.
pub const UNREAD: Duration = Duration::from_secs(10);
/// A layer that was asked for again is counted on for this time.
const RETURNS_WITHIN: Duration = Duration::from_secs(5);
/// Who still sends a layer after this time does not know how to leave it out by name.
const PATIENCE: Duration = Duration::from_secs(3);
/// Room above what the layers take that are to stay.
const ROOM: f64 = 1.2;
/// And of the rate of the lowest that is to go, in case the others take little just now. Encoders begin a layer with
/// a quarter of its rate or more.
const ROOM_OF_NEXT: f64 = 0.1;

/// Layers of a track, by their index in [`Track::layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerSet(u8);

impl LayerSet {
    /// Every layer.
    pub const ALL: Self = Self(u8::MAX);

    /// Put a layer in.
    pub fn insert(&mut self, layer: usize) {
        self.0 |= 1_u8.checked_shl(layer as u32).unwrap_or(0);
    }

    /// Whether a layer is in it.
    pub fn contains(self, layer: usize) -> bool {
        self.0 & 1_u8.checked_shl(layer as u32).unwrap_or(0) != 0
    }

    /// The layers of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<usize> for LayerSet {
    fn from_iter<I: IntoIterator<Item = usize>>(layers: I) -> Self {
        let mut set = Self::default();
        layers.into_iter().for_each(|layer| set.insert(layer));
        set
    }
}

/// A layer that the publisher was asked not to send.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    since: Instant,
    /// What it took when it was sent.
    offer: LayerOffer,
    size: Option<(u16, u16)>,
    /// When it was asked for again.
    recalled: Option<Instant>,
    /// It was sent on nevertheless.
    unheeded: bool,
}

impl Rest {
    /// Whether the publisher is to leave it out now.
    pub fn is_on(&self) -> bool {
        self.recalled.is_none()
    }

    /// Whether it would come if it were wanted.
    fn is_available(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < RETURNS_WITHIN;
        self.recalled.is_none_or(lately)
    }

    /// The rate of each temporal layer together with those below it.
    pub(super) fn rates(&self) -> &[Bitrate] {
        self.offer.rates()
    }
}

impl Track {
    /// Take note of which layers are `read`; whether the publisher is to be asked for others than before.
    pub fn weigh(&mut self, read: LayerSet, now: Instant) -> bool {
        let offers = self.offers(now);
        let Some(lowest) = offers.first().map(|offer| offer.layer) else {
            return false;
        };
        // What comes back begins with a keyframe; others than browsers have one layer.
        let may_rest = self.can_ask_keyframe && self.layers.len() > 1;
        let mut changed = false;
        for index in 0..self.layers.len() {
            let sent = self.is_active(index, now);
            let offer = offers.iter().find(|o| sent && o.layer == index).copied();
            let needed = !may_rest || index == lowest || read.contains(index);
            changed |= self.layers[index].weigh(needed, offer, now);
        }
        changed
    }

    /// The layers that the publisher is to send.
    pub fn asked(&self) -> LayerSet {
        let asked = |i: &usize| !self.layers[*i].rest.is_some_and(|rest| rest.is_on());
        (0..self.layers.len()).filter(asked).collect()
    }

    /// Whether a layer is left out because nobody reads it.
    pub fn is_resting(&self, layer: usize, now: Instant) -> bool {
        let rest = self.layers.get(layer).and_then(|l| l.rest);
        rest.is_some_and(|rest| rest.is_available(now)) && !self.is_active(layer, now)
    }

    /// What a layer would be to a viewer that chose it; `None` when it cannot be had.
    pub(super) fn offer(&self, index: usize, now: Instant) -> Option<LayerOffer> {
        let layer = &self.layers[index];
        let sent = self.is_active(index, now);
        let rest = layer.rest.filter(|rest| rest.is_available(now));
        if !sent && rest.is_none() {
            return None;
        }
        let measured = layer.offer(index, layer.rates.spatial(), now);
        // What has just come back is measured anew, from nothing.
        let former = rest.filter(|rest| !sent || !rest.is_on());
        Some(former.map_or(measured, |rest| measured.at_least(&rest.offer)))
    }

    /// The lowest of the layers that rest, with all above it, but are sent, or were until a ceiling
    /// took them away.
    fn unheeded(&mut self, now: Instant) -> Option<usize> {
        for index in 0..self.layers.len() {
            let sent = self.is_active(index, now);
            if let Some(rest) = &mut self.layers[index].rest {
                let long = now.saturating_duration_since(rest.since) >= PATIENCE;
                rest.unheeded |= rest.is_on() && sent && long;
            }
        }
        let offers = self.offers(now);
        let rest = |offer: &&LayerOffer| self.layers[offer.layer].rest.filter(Rest::is_on);
        let top = offers
            .iter()
            .rev()
            .map_while(|o| Some((o.layer, rest(&o)?)));
        top.filter(|(_, rest)| rest.unheeded).last().map(|t| t.0)
    }
}

impl Layer {
    /// What the home of the source says. A reader's thread may never have seen the layer.
    pub fn set_rest(&mut self, rest: Option<Rest>) {
        self.rest = rest;
        if let Some(size) = rest.and_then(|rest| rest.size) {
            self.meter.suppose(size);
        }
    }

    fn weigh(&mut self, needed: bool, offer: Option<LayerOffer>, now: Instant) -> bool {
        self.rest = self.rest.filter(|rest| rest.is_available(now));
        if needed {
            self.unread_since = None;
            let resting = self.rest.as_mut().filter(|rest| rest.is_on());
            return resting.is_some_and(|rest| rest.recalled.replace(now).is_none());
        }
        let Some(offer) = offer.filter(|_| !self.rest.is_some_and(|rest| rest.is_on())) else {
            self.unread_since = None;
            return false;
        };
        let since = *self.unread_since.get_or_insert(now);
        let long = now.saturating_duration_since(since) >= UNREAD;
        if long {
            self.rest = Some(Rest {
                since: now,
                offer,
                size: self.meter.resolution(),
                recalled: None,
                unheeded: false,
            });
        }
        long
    }
}

impl Source {
    /// The bitrate in all that a publisher is to be told, so that it leaves out layers of a track that rest
    /// but are sent.
    pub fn ceiling(&mut self, track: usize, now: Instant) -> Option<Bitrate> {
        let of_all = |t: &Track| t.layers.iter().map(|l| l.rate(now)).sum::<Bitrate>();
        let others = self.tracks.iter().enumerate();
        let others: Bitrate = others
            .filter(|(i, _)| *i != track)
            .map(|t| of_all(t.1))
            .sum();
        let track = self.tracks.get_mut(track)?;
        let Some(lowest) = track.unheeded(now) else {
            track.ceiling = None;
            return None;
        };
        let offers = track.offers(now);
        let sent = |o: &&LayerOffer| o.layer != lowest && track.is_active(o.layer, now);
        let below = offers.iter().take_while(|o| o.layer != lowest).filter(sent);
        let stays: Bitrate = others + below.map(LayerOffer::bitrate).sum();
        let next = offers.iter().find(|o| o.layer == lowest)?.bitrate();
        let ceiling = stays * ROOM + next * ROOM_OF_NEXT;
        // What the others take just now must not press them down.
        let before = track.ceiling.filter(|before| before.0 == lowest);
        let ceiling = before.map_or(ceiling, |before| ceiling.max(before.1));
        track.ceiling = Some((lowest, ceiling));
        Some(ceiling)
    }
}

#[cfg(test)]
#[path = "demand_tests.rs"]
mod tests;
