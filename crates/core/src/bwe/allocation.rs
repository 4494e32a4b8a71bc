//! Which layer of a video track a viewer gets: audio first, then the best picture that the estimate
//! carries, and no flapping.
//!
//! Down is quick: as soon as the network is congested and the layer does not fit. Up is slow: a
//! probe must have shown that the higher layer goes through, or head-room must have lasted; and a layer
//! that failed soon after it was chosen is not tried again for a while, longer each time. Temporal
//! layers are dropped before the picture shrinks, down to half of the frames, and to the
//! base only in the lowest layer. When not even that fits, video pauses, so that audio never stalls.

use std::time::{Duration, Instant};

use super::units::Bitrate;
use super::{Congestion, Network, Wanted};

/// Most layers of a track.
pub const MAX_LAYERS: usize = 8;
/// Most temporal layers of a layer.
pub const MAX_TEMPORAL: usize = 4;
const MAX_RUNGS: usize = MAX_LAYERS * 2 + MAX_TEMPORAL;

/// What must be free above a layer's rate to go up to it: keyframes and its own variation.
const HEADROOM: f64 = 1.1;
/// And when a probe has shown the rate, which is already put a little lower than it was.
const PROVEN_HEADROOM: f64 = 1.05;
/// A probe's result falls a little short of its rate.
const PROBE_MARGIN: f64 = 1.08;
/// And to be a step of its own at all.
const DISTANCE: f64 = 1.1;
/// Head-room without a probe must last this long.
const SUSTAINED: Duration = Duration::from_secs(2);
const PROVEN_FOR: Duration = Duration::from_secs(3);
/// A layer that does not fit any more, but harms nobody, is left after this.
const PATIENCE: Duration = Duration::from_secs(2);
/// No step up so soon after one down.
const CALM: Duration = Duration::from_secs(1);
/// Congestion this soon after a step up is its consequence.
const REGRET: Duration = Duration::from_secs(6);
const FIRST_BLOCK: Duration = Duration::from_secs(10);
const MAX_BLOCK: Duration = Duration::from_secs(160);
/// After this time on a layer earlier failures are forgotten.
const FORGIVEN: Duration = Duration::from_secs(30);
/// While the keyframe of a lower layer is awaited, the present one may exceed the budget this much.
const TOLERATED: f64 = 1.3;
/// A rate this little above the budget may fit.
const CLOSE: f64 = 1.2;
/// With this share lost audio suffers.
const MUCH_LOSS: f64 = 0.1;
/// An average of loss goes so far back.
const LOSS_REMEMBERED: Duration = Duration::from_secs(5);
/// With a queue of this length nothing is waited out.
const LONG_QUEUE: Duration = Duration::from_millis(80);
/// A queue to be drained before anything else, and when it is.
const DRAIN_ABOVE: Duration = Duration::from_millis(150);
const DRAINED_BELOW: Duration = Duration::from_millis(60);
const DRAIN_SLACK: Duration = Duration::from_millis(300);
/// Where one queue was another's the next will be.
const FOREIGN_FOR: Duration = Duration::from_secs(30);

/// A layer that may be chosen.
#[derive(Copy, Clone, Debug)]
pub struct LayerOffer {
    /// Its index in the track.
    pub layer: usize,
    rates: [Bitrate; MAX_TEMPORAL],
    temporal: u8,
}

impl LayerOffer {
    /// A layer of this rate, headers included, whose frames cannot be thinned out.
    pub fn new(layer: usize, bitrate: Bitrate) -> Self {
        Self::with_temporal(layer, &[bitrate])
    }

    /// A layer with the rate of each temporal layer together with those below it.
    pub fn with_temporal(layer: usize, cumulative: &[Bitrate]) -> Self {
        let mut rates = [Bitrate::ZERO; MAX_TEMPORAL];
        let count = cumulative.len().min(MAX_TEMPORAL);
        rates[..count].copy_from_slice(&cumulative[..count]);
        Self {
            layer,
            rates,
            temporal: count as u8,
        }
    }

    /// Its rate with all temporal layers.
    pub fn bitrate(&self) -> Bitrate {
        self.full()
    }

    /// The rate of each temporal layer together with those below it.
    pub fn rates(&self) -> &[Bitrate] {
        &self.rates[..usize::from(self.temporal)]
    }

    /// With the rates of `other`, if those are higher.
    #[must_use]
    pub fn at_least(self, other: &Self) -> Self {
        let layer = self.layer;
        let higher = if other.full() > self.full() {
            *other
        } else {
            self
        };
        Self { layer, ..higher }
    }

    fn full(&self) -> Bitrate {
        self.rates[usize::from(self.temporal.max(1)) - 1]
    }
}

/// What the viewer asked for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// This layer or none.
    pub only: Option<usize>,
    /// No layer of a higher rate than this one.
    pub max: Option<usize>,
}

/// What is to be forwarded.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Index of the layer.
    pub layer: usize,
    /// Highest temporal layer.
    pub temporal: u8,
}

/// What to do now.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Forward this, from the layer's next keyframe on; nothing if `None`.
    pub target: Option<Target>,
    /// Do not go on with another layer until that keyframe comes.
    pub stop: bool,
    /// Rates that would be of use: for `Estimator::want_probe`.
    pub probe: Option<Wanted>,
    /// What will be in use: for `Estimator::set_allocated`.
    pub allocated: Bitrate,
    /// The queue stays while nothing is sent: for `Estimator::accept_queue`.
    pub foreign_queue: bool,
    /// The queue is gone, and what made it is no longer sent: for `Estimator::forget_losses`.
    pub drained: bool,
}

/// A step of the ladder, by growing rate.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Rung {
    target: Target,
    rate: Bitrate,
}

/// Everything that may be chosen.
struct Ladder {
    rungs: [Rung; MAX_RUNGS],
    len: usize,
}

impl Ladder {
    fn of(offers: &[LayerOffer], wishes: Wishes, current: Option<Target>) -> Self {
        let mut layers = [(Bitrate::ZERO, 0); MAX_LAYERS];
        let mut count = 0;
        let cap = wishes
            .max
            .and_then(|max| offers.iter().find(|offer| offer.layer == max))
            .map_or(Bitrate::MAX, LayerOffer::full);
        for (index, offer) in offers.iter().enumerate().take(MAX_LAYERS) {
            let wanted = wishes.only.is_none_or(|only| only == offer.layer);
            if wanted && offer.full() > Bitrate::ZERO && offer.full() <= cap {
                layers[count] = (offer.full(), index);
                count += 1;
            }
        }
        layers[..count].sort_unstable();
        let nothing = Rung {
            target: Target {
                layer: 0,
                temporal: 0,
            },
            rate: Bitrate::ZERO,
        };
        let mut ladder = Self {
            rungs: [nothing; MAX_RUNGS],
            len: 0,
        };
        for (place, &(_, index)) in layers[..count].iter().enumerate() {
            let offer = &offers[index];
            let kept = if place == 0 { MAX_TEMPORAL as u8 } else { 2 };
            for temporal in offer.temporal.saturating_sub(kept)..offer.temporal {
                let target = Target {
                    layer: offer.layer,
                    temporal,
                };
                let rate = offer.rates[usize::from(temporal)];
                ladder.add(Rung { target, rate }, current == Some(target));
            }
        }
        ladder
    }

    /// A larger picture with fewer frames must cost more than the smaller with all of them. Rates
    /// vary, though, and what is in use stays.
    fn add(&mut self, rung: Rung, in_use: bool) {
        let dearer_by = if in_use { 1.0 } else { DISTANCE };
        let cheaper = self
            .rungs()
            .iter()
            .filter(|other| other.rate * dearer_by < rung.rate);
        let place = cheaper.count();
        if rung.rate > Bitrate::ZERO && (in_use || place == self.len) {
            self.len = place + 1;
            self.rungs[place] = rung;
        }
    }

    fn rungs(&self) -> &[Rung] {
        &self.rungs[..self.len]
    }

    fn find(&self, target: Target) -> Option<usize> {
        self.rungs().iter().position(|rung| rung.target == target)
    }

    fn highest(&self, fits: impl Fn(&Rung) -> bool) -> Option<usize> {
        self.rungs().iter().rposition(fits)
    }
}

/// A layer that failed.
#[derive(Copy, Clone, Debug)]
struct Block {
    until: Option<Instant>,
    next: Duration,
}

/// Waiting for a queue.
#[derive(Copy, Clone, Debug)]
struct Drain {
    since: Instant,
    longest: Duration,
}

/// Chooses layers of one track for one viewer.
#[derive(Debug)]
pub struct Allocator {
    target: Option<Target>,
    /// The layer that is forwarded.
    running: Option<usize>,
    began: bool,
    changed: Option<Instant>,
    lowered: Option<Instant>,
    raised: Option<Instant>,
    too_much_since: Option<Instant>,
    room_since: Option<(Target, Instant)>,
    draining: Option<Drain>,
    /// A queue was found to be another's.
    foreign: Option<Instant>,
    blocks: [Block; MAX_LAYERS],
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

impl Allocator {
    /// An allocator that has chosen nothing yet.
    pub fn new() -> Self {
        let open = Block {
            until: None,
            next: FIRST_BLOCK,
        };
        Self {
            target: None,
            running: None,
            began: false,
            changed: None,
            lowered: None,
            raised: None,
            too_much_since: None,
            room_since: None,
            draining: None,
            foreign: None,
            blocks: [open; MAX_LAYERS],
        }
    }

    /// A keyframe of this layer was forwarded, and what follows it will be.
    pub fn on_switched(&mut self, layer: usize) {
        self.running = Some(layer);
    }

    /// Choose anew: after each report, and some times a second.
    ///
    /// `offers` are the layers that have media now, with rates averaged over some seconds, so that a
    /// keyframe is not taken for the rate of its layer; `audio` is what goes to the viewer anyway.
    pub fn update(
        &mut self,
        now: Instant,
        audio: Bitrate,
        offers: &[LayerOffer],
        wishes: Wishes,
        network: &Network,
    ) -> Decision {
        let ladder = Ladder::of(offers, wishes, self.target);
        let budget = network.estimate - audio;
        let current = self.target.and_then(|target| ladder.find(target));
        let drained = self.drain(now, network);
        // While a queue is drained only what made it is judged, when it is found.
        if self.draining.is_none_or(|drain| drain.since == now) {
            let more = (drained == Some(true))
                .then(|| self.resume(now, &ladder, budget, network))
                .filter(|&more| more > current);
            let next =
                more.unwrap_or_else(|| self.choose(now, &ladder, current, budget, audio, network));
            self.apply(now, &ladder, current, next, network);
        }
        let target = self.target.filter(|_| self.draining.is_none());
        let rate = target
            .and_then(|target| ladder.find(target))
            .map_or(Bitrate::ZERO, |index| ladder.rungs()[index].rate);
        let stop = self.must_stop(&ladder, target, budget, network);
        if stop || target.is_none() {
            self.running = None;
        }
        Decision {
            target,
            stop,
            probe: self.probe(now, &ladder, audio, network),
            allocated: audio + rate,
            foreign_queue: drained == Some(false),
            drained: drained == Some(true),
        }
    }

    /// Whether a queue that was waited for is gone, or is not ours.
    fn drain(&mut self, now: Instant, network: &Network) -> Option<bool> {
        let Some(mut drain) = self.draining else {
            let ours = network.congestion.is_some() && !self.is_foreign(now);
            let paused = self.began && self.target.is_none();
            let begin = network.queue > DRAIN_ABOVE && (ours || paused);
            self.draining = begin.then_some(Drain {
                since: now,
                longest: network.queue,
            });
            return None;
        };
        drain.longest = drain.longest.max(network.queue);
        self.draining = Some(drain);
        let gone = network.queue < DRAINED_BELOW;
        // What waits for a time is through after that time, if nothing is added.
        let takes = drain.longest + drain.longest / 2 + DRAIN_SLACK;
        if !gone && now.saturating_duration_since(drain.since) < takes {
            return None;
        }
        self.draining = None;
        if !gone {
            self.foreign = Some(now);
        }
        Some(gone)
    }

    /// Share that will go on being lost. What was lost of late may have been the work of a layer that has
    /// been left since.
    fn lasting_loss(&self, now: Instant, network: &Network) -> f64 {
        let lately = |at: Instant| now.saturating_duration_since(at) < LOSS_REMEMBERED;
        let most = if self.lowered.is_some_and(lately) {
            MUCH_LOSS
        } else {
            0.5
        };
        network.loss.min(most)
    }

    /// Whether a queue was found to be another's of late.
    fn is_foreign(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < FOREIGN_FOR;
        self.foreign.is_some_and(lately)
    }

    /// Whether what waits in the queue is another's, so that sending nothing would not help.
    fn bears_queue(&self, now: Instant, network: &Network) -> bool {
        self.is_foreign(now) && network.loss < MUCH_LOSS
    }

    fn choose(
        &mut self,
        now: Instant,
        ladder: &Ladder,
        current: Option<usize>,
        budget: Bitrate,
        audio: Bitrate,
        network: &Network,
    ) -> Option<usize> {
        let vanished = self.target.is_some() && current.is_none();
        if !self.began || vanished {
            // The first picture is to come at once: what is not known yet does not delay it.
            self.began = ladder.len > 0;
            let lowest = (ladder.len > 0).then_some(0);
            return ladder.highest(|rung| rung.rate <= budget).or(lowest);
        }
        if let Some(index) = current
            && ladder.rungs()[index].rate > budget
        {
            self.room_since = None;
            return self.down(now, ladder, index, budget, network);
        }
        self.too_much_since = None;
        let up = self.up(now, ladder, current, budget, audio, network);
        // A pause that does not shorten the queue is for nothing.
        let lowest = (ladder.len > 0 && self.bears_queue(now, network)).then_some(0);
        up.or(current).or(lowest)
    }

    /// After a queue is gone any layer begins with a keyframe. What was taken while it lasted may be less
    /// than fits, for the estimate was lowered by what the queue lost.
    fn resume(
        &self,
        now: Instant,
        ladder: &Ladder,
        budget: Bitrate,
        network: &Network,
    ) -> Option<usize> {
        let room = budget * (1.0 - self.lasting_loss(now, network));
        let fits =
            |rung: &Rung| rung.rate * HEADROOM <= room && !self.is_blocked(now, rung.target.layer);
        ladder.highest(fits)
    }

    fn down(
        &mut self,
        now: Instant,
        ladder: &Ladder,
        current: usize,
        budget: Bitrate,
        network: &Network,
    ) -> Option<usize> {
        // Below the lowest there is no picture at all: not for a doubt, only when audio is in danger.
        let queued = network.queue >= LONG_QUEUE && !self.bears_queue(now, network);
        let in_danger = queued || network.loss >= MUCH_LOSS;
        if current == 0 && !in_danger {
            self.too_much_since = None;
            return Some(current);
        }
        let since = *self.too_much_since.get_or_insert(now);
        let patient = now.saturating_duration_since(since) < PATIENCE;
        // A small deficit without a queue may be noise; if it is not, the queue will tell.
        let close = ladder.rungs()[current].rate <= budget * CLOSE;
        let heard = network.congestion != Some(Congestion::Silence);
        let calm = network.congestion.is_none() || (heard && close);
        if calm && network.queue < LONG_QUEUE && patient {
            return Some(current);
        }
        self.too_much_since = None;
        let lowest = (!in_danger).then_some(0);
        ladder.highest(|rung| rung.rate <= budget).or(lowest)
    }

    fn up(
        &mut self,
        now: Instant,
        ladder: &Ladder,
        current: Option<usize>,
        budget: Bitrate,
        audio: Bitrate,
        network: &Network,
    ) -> Option<usize> {
        // What is lost will be sent again, and takes its room.
        let room = budget * (1.0 - self.lasting_loss(now, network));
        let is_proven = |rung: &Rung| {
            network.proven.is_some_and(|(at, rate)| {
                let fresh = now.saturating_duration_since(at) < PROVEN_FOR;
                fresh && rate >= rung.rate * PROVEN_HEADROOM + audio
            })
        };
        let fits = |rung: &Rung| {
            let headroom = if is_proven(rung) {
                PROVEN_HEADROOM
            } else {
                HEADROOM
            };
            rung.rate * headroom <= room && !self.is_blocked(now, rung.target.layer)
        };
        let candidate = ladder.highest(fits);
        let better = candidate.filter(|&index| current.is_none_or(|current| index > current));
        let Some(index) = better.filter(|_| self.is_calm(now, network)) else {
            self.room_since = None;
            return None;
        };
        let rung = ladder.rungs()[index];
        let since = match self.room_since {
            // The room for a lower step is also there while there is room for a higher one.
            Some((seen, since)) if ladder.find(seen).is_some_and(|seen| seen <= index) => since,
            _ => now,
        };
        self.room_since = Some((rung.target, since));
        let sustained = now.saturating_duration_since(since) >= SUSTAINED;
        ((is_proven(&rung) && !network.probing) || sustained).then_some(index)
    }

    fn is_calm(&self, now: Instant, network: &Network) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < CALM;
        let settled = self.target.is_none_or(|t| self.running == Some(t.layer));
        network.congestion.is_none() && settled && !self.lowered.is_some_and(lately)
    }

    fn apply(
        &mut self,
        now: Instant,
        ladder: &Ladder,
        current: Option<usize>,
        next: Option<usize>,
        network: &Network,
    ) {
        let target = next.map(|index| ladder.rungs()[index].target);
        if target == self.target {
            return;
        }
        let held = self.changed.map(|at| now.saturating_duration_since(at));
        if let (Some(from), true) = (self.target, next < current) {
            self.lowered = Some(now);
            let regret = |at: Instant| now.saturating_duration_since(at) < REGRET;
            let tried = self.running == Some(from.layer);
            let failed = tried && network.congestion.is_some();
            if failed && self.raised.take().is_some_and(regret) {
                self.block(now, from.layer);
            } else if held.is_some_and(|held| held >= FORGIVEN) {
                self.forgive(from.layer);
            }
        }
        if next > current && self.target.is_some() {
            self.raised = Some(now);
        }
        self.target = target;
        self.changed = Some(now);
        self.room_since = None;
    }

    fn block(&mut self, now: Instant, layer: usize) {
        if let Some(block) = self.blocks.get_mut(layer) {
            block.until = Some(now + block.next);
            block.next = (block.next * 2).min(MAX_BLOCK);
        }
    }

    fn forgive(&mut self, layer: usize) {
        if let Some(block) = self.blocks.get_mut(layer) {
            block.next = FIRST_BLOCK;
        }
    }

    fn is_blocked(&self, now: Instant, layer: usize) -> bool {
        let until = self.blocks.get(layer).and_then(|block| block.until);
        until.is_some_and(|until| now < until)
    }

    /// Whether the layer that is still forwarded does more harm than a picture that stands still.
    fn must_stop(
        &self,
        ladder: &Ladder,
        target: Option<Target>,
        budget: Bitrate,
        network: &Network,
    ) -> bool {
        let (Some(running), Some(target)) = (self.running, target) else {
            return target.is_none();
        };
        if running == target.layer {
            return false;
        }
        let rate = ladder
            .highest(|rung| rung.target.layer == running)
            .map(|index| ladder.rungs()[index].rate);
        let too_much = rate.is_none_or(|rate| rate > budget * TOLERATED);
        too_much && network.congestion != Some(Congestion::Silence)
    }

    fn probe(
        &self,
        now: Instant,
        ladder: &Ladder,
        audio: Bitrate,
        network: &Network,
    ) -> Option<Wanted> {
        let top = ladder.highest(|rung| !self.is_blocked(now, rung.target.layer))?;
        let current = self.target.and_then(|target| ladder.find(target));
        if current >= Some(top) || !self.is_calm(now, network) || self.draining.is_some() {
            return None;
        }
        let next = current.map_or(0, |current| current + 1).min(top);
        let again = 1.0 / (1.0 - self.lasting_loss(now, network));
        let needed = |index: usize| {
            let video = ladder.rungs()[index].rate * HEADROOM * again;
            (video + audio) * PROBE_MARGIN
        };
        Some(Wanted {
            next: needed(next),
            top: needed(top),
        })
    }
}

#[cfg(test)]
#[path = "allocation_tests.rs"]
mod tests;
