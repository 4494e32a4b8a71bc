//! The rate that loss allows: which bandwidth, together with which loss that the path has anyway,
//! explains best what was lost at which rate (libwebrtc's `LossBasedBweV2`).
//!
//! Radio loses packets at any rate, and lowering the rate does not help; a policer or a short queue
//! loses what is above its rate. Looking at the last four seconds together tells one from the other:
//! for each candidate bandwidth the likeliest inherent loss is found by a step of Newton's method, and
//! the candidate that makes the observations most likely wins, a higher one when in doubt.

use std::time::Duration;

use super::units::{Bitrate, Stamp};

const WINDOW: usize = 15;
const OBSERVATION_US: i64 = 250_000;
const AGEING: f64 = 0.9;
const INHERENT_MIN: f64 = 1e-3;
/// Most loss that can be inherent: a share, and more at low rates.
const INHERENT_MAX: f64 = 0.08;
const INHERENT_BALANCE: f64 = 100e3;
/// Average loss above this bounds the rate whatever its cause.
const LOSS_THAT_BOUNDS: f64 = 0.12;
const BOUND_BALANCE: f64 = 100e3;
/// What arrives in spite of the loss may be sent.
const BOUND_FLOOR: f64 = 0.9;
const NEWTON_STEP: f64 = 0.75;
const CANDIDATES: [f64; 3] = [1.02, 1.0, 0.95];
/// How much a higher bandwidth is preferred, per kbit/s and per e-fold, while loss is below
/// the threshold; a lower one above it.
const BIAS: f64 = 0.0002;
const BIAS_LOG: f64 = 0.02;
const BIAS_THRESHOLD: f64 = 0.2;
const BIAS_SMOOTHING: f64 = 0.002;
const RAMP_UP: f64 = 1.5;
const RAMP_UP_HELD: f64 = 1.2;
const HELD_BELOW: f64 = 1.3;
const INCREASE_IN_WINDOW: f64 = 1.3;
const INCREASE_WINDOW_US: i64 = 300_000;
const FIRST_HOLD: Duration = Duration::from_millis(300);
const MAX_HOLD: Duration = Duration::from_secs(60);

/// What was sent and lost in a quarter of a second.
#[derive(Copy, Clone, Debug, Default)]
struct Observation {
    kilobytes: f64,
    lost: f64,
    /// Bits a second.
    rate: f64,
}

/// Whether loss limits the rate.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    /// It does not.
    None,
    Decreasing,
    Increasing,
}

#[derive(Copy, Clone, Debug)]
struct Channel {
    inherent: f64,
    /// Bits a second.
    bandwidth: f64,
}

impl Channel {
    /// Share lost at a rate.
    fn loss(&self, rate: f64) -> f64 {
        let excess = ((rate - self.bandwidth) / rate.max(1.0)).max(0.0);
        (self.inherent + (1.0 - self.inherent) * excess).clamp(1e-6, 1.0 - 1e-6)
    }

    fn feasible(mut self) -> Self {
        let most = (INHERENT_MAX + INHERENT_BALANCE / self.bandwidth.max(1.0)).min(1.0);
        self.inherent = self.inherent.clamp(INHERENT_MIN, most);
        self
    }
}

/// No increase after a decrease, for longer each time.
#[derive(Copy, Clone, Debug)]
struct Hold {
    until: Option<Stamp>,
    next: Duration,
    rate: f64,
}

const NO_HOLD: Hold = Hold {
    until: None,
    next: FIRST_HOLD,
    rate: f64::INFINITY,
};

/// The loss-based estimate.
#[derive(Debug)]
pub(super) struct LossControl {
    observations: [Observation; WINDOW],
    len: usize,
    newest: usize,
    open: Observation,
    open_since: Option<Stamp>,
    channel: Channel,
    limit: Limit,
    hold: Hold,
    recovering: Option<(Stamp, f64)>,
    /// Bits a second that arrive.
    acknowledged: f64,
}

impl LossControl {
    pub fn new(initial: Bitrate) -> Self {
        Self {
            observations: [Observation::default(); WINDOW],
            len: 0,
            newest: 0,
            open: Observation::default(),
            open_since: None,
            channel: Channel {
                inherent: 0.01,
                bandwidth: initial.as_f64(),
            },
            limit: Limit::None,
            hold: NO_HOLD,
            recovering: None,
            acknowledged: 0.0,
        }
    }

    #[cfg(test)]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// The bound, while loss limits.
    pub fn bound(&self) -> Option<Bitrate> {
        (self.limit != Limit::None)
            .then(|| Bitrate::from_bps(self.channel.bandwidth.min(self.hard_bound()) as u64))
    }

    /// What was sent for each byte that arrives, if loss has nothing to do with the rate.
    pub fn inherent_scale(&self) -> f64 {
        1.0 / (1.0 - self.channel.inherent.min(self.average()).min(0.5))
    }

    /// Share of bytes lost in the last seconds, the newest counting most.
    pub fn average(&self) -> f64 {
        let (mut all, mut lost) = (0.0, 0.0);
        for (weight, observation) in self.weighted() {
            all += weight * observation.kilobytes;
            lost += weight * observation.lost;
        }
        if all > 0.0 { lost / all } else { 0.0 }
    }

    /// A probe has shown that a rate goes through. A policer lets a short one through, so that
    /// counts only when little is lost besides.
    pub fn prove(&mut self, rate: Bitrate) {
        if self.limit == Limit::None || self.average() < LOSS_THAT_BOUNDS {
            self.channel.bandwidth = self.channel.bandwidth.max(rate.as_f64());
        }
    }

    /// What was seen so far has been acted on. The bandwidth that it led to stays.
    pub fn forget(&mut self) {
        self.len = 0;
        self.open = Observation::default();
        self.open_since = None;
    }

    pub fn on_packet(&mut self, bytes: u16, lost: bool) {
        let kilobytes = f64::from(bytes) / 1000.0;
        self.open.kilobytes += kilobytes;
        if lost {
            self.open.lost += kilobytes;
        }
    }

    pub fn on_late_arrival(&mut self, bytes: u16) {
        self.open.lost = (self.open.lost - f64::from(bytes) / 1000.0).max(0.0);
    }

    /// Packets up to this one, by send time, have been reported on. True when the rate was lowered.
    pub fn update(
        &mut self,
        newest: Stamp,
        delay_based: Bitrate,
        acknowledged: Option<Bitrate>,
    ) -> bool {
        let since = *self.open_since.get_or_insert(newest);
        let passed = newest.micros_since(since);
        if passed < OBSERVATION_US {
            return false;
        }
        self.open_since = Some(newest);
        let mut closed = std::mem::take(&mut self.open);
        closed.rate = closed.kilobytes * 8e9 / passed as f64;
        self.newest = (self.newest + 1) % WINDOW;
        self.observations[self.newest] = closed;
        self.len = (self.len + 1).min(WINDOW);

        let before = self.channel.bandwidth;
        let acknowledged = acknowledged.map(Bitrate::as_f64);
        self.acknowledged = acknowledged.unwrap_or(0.0);
        let best = self.best(delay_based.as_f64(), acknowledged, newest);
        self.take(best, delay_based.as_f64(), newest);
        self.limit == Limit::Decreasing && self.channel.bandwidth < before
    }

    fn best(&self, delay_based: f64, acknowledged: Option<f64>, newest: Stamp) -> Channel {
        let current = self.channel.bandwidth;
        let mut upper = self.hard_bound().min(delay_based);
        if let (Some((_, limit)), true) = (self.recovering, self.limit != Limit::None) {
            upper = upper.min(limit);
        }
        let upper = upper.max(current);
        let average = self.average();
        let candidates = CANDIDATES.map(|factor| Some(factor * current));
        let others = [acknowledged, (delay_based > current).then_some(delay_based)];
        let mut best = self.channel;
        let mut best_score = f64::NEG_INFINITY;
        for bandwidth in candidates.into_iter().chain(others).flatten() {
            let candidate = self.fit(Channel {
                inherent: self.channel.inherent,
                bandwidth: bandwidth.min(upper),
            });
            let score = self.score(&candidate, average);
            if score > best_score {
                best_score = score;
                best = candidate;
            }
        }
        if average > best.inherent && best.bandwidth > current {
            best.bandwidth = current;
        }
        self.ramp(best, acknowledged, newest)
    }

    /// Bound how quickly a limit is lifted.
    fn ramp(&self, mut best: Channel, acknowledged: Option<f64>, newest: Stamp) -> Channel {
        let current = self.channel.bandwidth;
        if self.limit == Limit::None || best.bandwidth <= current {
            return best;
        }
        if let Some((since, limit)) = self.recovering
            && newest.micros_since(since) < INCREASE_WINDOW_US
        {
            best.bandwidth = best.bandwidth.min(limit);
        }
        if let Some(acknowledged) = acknowledged {
            let held = acknowledged < self.hold.rate * HELD_BELOW;
            let factor = if held { RAMP_UP_HELD } else { RAMP_UP };
            best.bandwidth = best.bandwidth.min(acknowledged * factor).max(current);
        }
        if self.hold.until.is_some_and(|until| newest < until) {
            best.bandwidth = best.bandwidth.min(self.hold.rate);
        }
        best
    }

    fn take(&mut self, best: Channel, delay_based: f64, newest: Stamp) {
        let (new, old) = (best.bandwidth, self.channel.bandwidth);
        // Not lower: where it stays as it was, an increase under way goes on.
        let increasing = new > old || (new >= old && self.limit == Limit::Increasing);
        self.channel = best;
        if best.bandwidth.min(self.hard_bound()) >= delay_based {
            self.limit = Limit::None;
            self.hold = NO_HOLD;
            self.recovering = None;
            return;
        }
        if self.limit != Limit::None && increasing {
            self.limit = Limit::Increasing;
        } else {
            if self.limit != Limit::Decreasing {
                let until = newest.as_micros() + self.hold.next.as_micros() as i64;
                self.hold = Hold {
                    until: Some(Stamp::from_micros(until)),
                    next: (self.hold.next * 2).min(MAX_HOLD),
                    rate: best.bandwidth,
                };
            }
            self.limit = Limit::Decreasing;
        }
        let over = self
            .recovering
            .is_none_or(|(since, _)| newest.micros_since(since) >= INCREASE_WINDOW_US);
        if over {
            self.recovering = Some((newest, best.bandwidth * INCREASE_IN_WINDOW));
        }
    }

    /// One step of Newton's method towards the likeliest inherent loss.
    fn fit(&self, channel: Channel) -> Channel {
        let mut channel = channel.feasible();
        let (mut first, mut second) = (0.0, 0.0);
        for (weight, seen) in self.weighted() {
            let loss = channel.loss(seen.rate);
            let arrived = seen.kilobytes - seen.lost;
            first += weight * (seen.lost / loss - arrived / (1.0 - loss));
            second -= weight * (seen.lost / loss.powi(2) + arrived / (1.0 - loss).powi(2));
        }
        if second < 0.0 {
            channel.inherent -= NEWTON_STEP * first / second;
        }
        channel.feasible()
    }

    /// Logarithm of how likely the observations are, and the preference for more.
    fn score(&self, channel: &Channel, average: f64) -> f64 {
        let distance = BIAS_THRESHOLD - average;
        let sign = distance / (BIAS_SMOOTHING + distance.abs());
        let kbps = channel.bandwidth / 1e3;
        let bias = sign * (BIAS * kbps + BIAS_LOG * kbps.ln_1p());
        self.weighted()
            .map(|(weight, seen)| {
                let loss = channel.loss(seen.rate);
                let arrived = seen.kilobytes - seen.lost;
                let likelihood = seen.lost * loss.ln() + arrived * (1.0 - loss).ln();
                weight * (likelihood + bias * seen.kilobytes)
            })
            .sum()
    }

    fn hard_bound(&self) -> f64 {
        let above = self.average() - LOSS_THAT_BOUNDS;
        if above > 0.0 {
            (BOUND_BALANCE / above).max(self.acknowledged * BOUND_FLOOR)
        } else {
            f64::INFINITY
        }
    }

    /// Observations with their weights, newest first.
    fn weighted(&self) -> impl Iterator<Item = (f64, &Observation)> {
        (0..self.len).scan(1.0, |weight, back| {
            let now = *weight;
            *weight *= AGEING;
            Some((
                now,
                &self.observations[(self.newest + WINDOW - back) % WINDOW],
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at a rate for some seconds over a path that loses what `lost` says of each packet.
    struct Path {
        control: LossControl,
        us: i64,
        delay_based: Bitrate,
        packets: u64,
    }

    impl Path {
        fn new(kbps: u64) -> Self {
            let rate = Bitrate::from_kbps(kbps);
            Self {
                control: LossControl::new(rate),
                us: 0,
                delay_based: rate,
                packets: 0,
            }
        }

        fn send(&mut self, kbps: u64, seconds: f64, lost: impl Fn(u64) -> bool) {
            let step = 8_000_000 / kbps as i64;
            let end = self.us + (seconds * 1e6) as i64;
            let (mut arrived, since) = (0, self.us);
            while self.us < end {
                self.us += step;
                self.packets += 1;
                let gone = lost(self.packets);
                arrived += u64::from(!gone) * 1000;
                self.control.on_packet(1000, gone);
                let passed = Duration::from_micros((self.us - since) as u64);
                let acknowledged = Bitrate::of(arrived, passed);
                self.control.update(
                    Stamp::from_micros(self.us),
                    self.delay_based,
                    Some(acknowledged),
                );
            }
        }

        fn bound_kbps(&self) -> u64 {
            let bound = self.control.bound().unwrap_or(self.delay_based);
            bound.as_bps() / 1000
        }
    }

    #[test]
    fn no_loss_is_no_limit() {
        let mut path = Path::new(2000);
        path.send(1500, 10.0, |_| false);
        assert_eq!(path.control.limit(), Limit::None);
    }

    #[test]
    fn loss_that_the_path_has_anyway_does_not_limit() {
        let mut path = Path::new(3000);
        path.send(2500, 10.0, |packet| packet % 20 == 0);
        assert!(path.bound_kbps() > 2500, "{}", path.bound_kbps());
    }

    #[test]
    fn loss_that_came_with_the_rate_limits() {
        let mut path = Path::new(2000);
        path.send(500, 4.0, |_| false);
        // A policer at 1 Mbit/s.
        path.send(1500, 2.0, |packet| packet % 3 == 0);
        let kbps = path.bound_kbps();
        assert!((800..1200).contains(&kbps), "{kbps}");
    }

    #[test]
    fn burst_that_was_lost_does_not_outlive_its_queue() {
        let after_burst = || {
            let mut path = Path::new(1000);
            path.send(2500, 0.5, |packet| packet % 4 != 0);
            path
        };
        let proved = |mut path: Path| {
            path.send(110, 1.0, |_| false);
            path.control.prove(Bitrate::from_kbps(450));
            path.bound_kbps()
        };
        let remembers = proved(after_burst());
        assert!(remembers < 450, "{remembers}");
        let mut path = after_burst();
        path.control.forget();
        let forgets = proved(path);
        assert!(forgets >= 450, "{forgets}");
    }

    #[test]
    fn limit_is_lifted_by_what_arrives_and_by_a_probe() {
        let mut path = Path::new(2000);
        path.send(500, 4.0, |_| false);
        path.send(1500, 2.0, |packet| packet % 3 == 0);
        path.send(900, 10.0, |_| false);
        assert_eq!(path.control.limit(), Limit::Increasing);
        let kbps = path.bound_kbps();
        assert!((1050..1400).contains(&kbps), "what arrives allows {kbps}");
        path.control.prove(path.delay_based);
        path.send(900, 1.0, |_| false);
        assert_eq!(path.control.limit(), Limit::None);
    }
}
