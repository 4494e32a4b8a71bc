//! The rate that the delay allows: additive or multiplicative increase while it is steady,
//! multiplicative decrease when a queue grows (draft-ietf-rmcat-gcc-02 §5.5, libwebrtc's
//! `AimdRateControl`).
//!
//! Growth needs evidence: it ends at one and a half times the rate that arrives, and there is none
//! at all while the sender sends much less than it might. What a probe has shown is taken at once.

use std::time::{Duration, Instant};

use super::overuse::Usage;
use super::units::Bitrate;

const BACKOFF: f64 = 0.85;
/// Of what is sent: little of it stays in a queue.
const CREEPING: f64 = 0.85;
/// Of what is sent: nothing of it stays in a queue.
const ALL: f64 = 0.9;
/// Of the rate of a queue that drains: what may be sent all the time.
const SUSTAINED: f64 = 0.95;
const GROWTH_A_SECOND: f64 = 1.08;
const MAX_OVER_ACKNOWLEDGED: f64 = 1.5;
const SLACK: Bitrate = Bitrate::from_kbps(10);
const MIN_GROWTH_A_SECOND: f64 = 4_000.0;
const RESPONSE_BEYOND_RTT: Duration = Duration::from_millis(100);

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    Hold,
    Increase,
    Decrease,
}

/// Where overuse was met before, in kbit/s, with its variance relative to the mean.
#[derive(Copy, Clone, Debug)]
struct Ceiling {
    mean: f64,
    variance: f64,
}

impl Ceiling {
    const WEIGHT: f64 = 0.05;
    const VARIANCE: (f64, f64) = (0.4, 2.5);

    fn met(seen: Option<Self>, at: Bitrate) -> Self {
        let sample = at.as_f64() / 1e3;
        let Some(old) = seen else {
            return Self {
                mean: sample,
                variance: Self::VARIANCE.0,
            };
        };
        let mean = (1.0 - Self::WEIGHT) * old.mean + Self::WEIGHT * sample;
        let error = (mean - sample).powi(2) / mean.max(1.0);
        let variance = (1.0 - Self::WEIGHT) * old.variance + Self::WEIGHT * error;
        Self {
            mean,
            variance: variance.clamp(Self::VARIANCE.0, Self::VARIANCE.1),
        }
    }

    fn deviation(&self) -> f64 {
        3.0 * (self.variance * self.mean).sqrt()
    }

    fn is_below(&self, rate: Bitrate) -> bool {
        rate.as_f64() / 1e3 > self.mean + self.deviation()
    }

    fn is_above(&self, rate: Bitrate) -> bool {
        rate.as_f64() / 1e3 < self.mean - self.deviation()
    }
}

/// What the rate is judged by.
#[derive(Copy, Clone, Debug)]
pub(super) struct Evidence {
    pub usage: Usage,
    pub acknowledged: Option<Bitrate>,
    /// The rate at which a queue drains that stands now: sooner known than the mean.
    pub bottleneck: Option<Bitrate>,
    /// What was sent lately.
    pub sent: Bitrate,
    /// What the media in use takes in the long run, bursts evened out.
    pub used: Bitrate,
    pub rtt: Duration,
    /// No queue stands.
    pub queue_free: bool,
    /// A long queue stands that was not to be expected, whether it grows or not.
    pub queue_stands: bool,
    /// The sender sends much less than the estimate.
    pub application_limited: bool,
}

impl Evidence {
    /// All of the little that is sent arrives: the queue is another's, or was made before.
    fn all_arrives(&self, arriving: Bitrate) -> bool {
        self.application_limited && arriving >= self.sent * ALL
    }
}

/// The delay-based estimate.
#[derive(Debug)]
pub(super) struct Aimd {
    state: State,
    estimate: Bitrate,
    ceiling: Option<Ceiling>,
    changed: Option<Instant>,
}

impl Aimd {
    pub fn new(initial: Bitrate) -> Self {
        Self {
            state: State::Hold,
            estimate: initial,
            ceiling: None,
            changed: None,
        }
    }

    pub fn estimate(&self) -> Bitrate {
        self.estimate
    }

    /// Take a rate that was shown to go through, or a bound that others set.
    pub fn set(&mut self, now: Instant, estimate: Bitrate) {
        self.estimate = estimate;
        self.changed = Some(now);
    }

    /// Judge anew; true when the rate was lowered.
    pub fn update(&mut self, now: Instant, evidence: &Evidence) -> bool {
        if evidence.queue_stands && evidence.usage != Usage::Over {
            self.state = State::Hold;
            self.bound(now, evidence);
            return false;
        }
        self.state = match (evidence.usage, self.state) {
            (Usage::Over, _) => State::Decrease,
            (Usage::Normal, State::Hold | State::Increase) => State::Increase,
            (Usage::Under, _) | (Usage::Normal, State::Decrease) => State::Hold,
        };
        match self.state {
            State::Hold => false,
            State::Increase => {
                self.increase(now, evidence);
                false
            }
            State::Decrease => self.decrease(now, evidence),
        }
    }

    fn increase(&mut self, now: Instant, evidence: &Evidence) {
        let passed = now.saturating_duration_since(self.changed.replace(now).unwrap_or(now));
        let Some(acknowledged) = evidence.acknowledged else {
            return;
        };
        if self.ceiling.is_some_and(|c| c.is_below(acknowledged)) {
            self.ceiling = None;
        }
        let limit = acknowledged * MAX_OVER_ACKNOWLEDGED + SLACK;
        if evidence.queue_free {
            // What arrives without a queue goes through, whatever was thought before.
            self.estimate = self.estimate.max(acknowledged);
        }
        if evidence.application_limited || self.estimate >= limit {
            return;
        }
        let passed = passed.as_secs_f64().min(1.0);
        let growth = match self.ceiling {
            Some(_) => self.growth_near_ceiling(evidence.rtt) * passed,
            None => self.estimate.as_f64() * (GROWTH_A_SECOND.powf(passed) - 1.0),
        };
        let grown = self.estimate + Bitrate::from_bps(growth.max(1.0) as u64);
        self.estimate = grown.min(limit);
    }

    /// Bits a second each second: half a packet of a 30 Hz video for each time it takes to see it.
    fn growth_near_ceiling(&self, rtt: Duration) -> f64 {
        let frame_bits = self.estimate.as_f64() / 30.0;
        let packets = (frame_bits / (1200.0 * 8.0)).ceil().max(1.0);
        let response = (rtt + RESPONSE_BEYOND_RTT).as_secs_f64();
        (frame_bits / packets / response).max(MIN_GROWTH_A_SECOND)
    }

    fn decrease(&mut self, now: Instant, evidence: &Evidence) -> bool {
        let interval = evidence
            .rtt
            .clamp(Duration::from_millis(10), Duration::from_millis(200));
        let early = self
            .changed
            .is_some_and(|at| now.saturating_duration_since(at) < interval);
        let lowered = match evidence.bottleneck.or(evidence.acknowledged) {
            Some(arriving) if evidence.all_arrives(arriving) => return false,
            Some(arriving) if early && arriving >= self.estimate * 0.5 => return false,
            Some(arriving) => {
                let lowered = self.below(arriving);
                // A burst's queue drains by itself if what is in use is less than what drains.
                let sustained = evidence.bottleneck.unwrap_or(Bitrate::ZERO) * SUSTAINED;
                if evidence.used < sustained {
                    sustained
                } else {
                    lowered
                }
            }
            None if early => return false,
            None => self.estimate * 0.5,
        };
        self.state = State::Hold;
        self.changed = Some(now);
        let before = self.estimate;
        self.estimate = before.min(lowered);
        self.estimate < before
    }

    /// A queue that does not shrink leaves nothing to grow into: no more than what drains it. That is
    /// for the queue that creeps; one that grows quickly is overuse.
    fn bound(&mut self, now: Instant, evidence: &Evidence) {
        let Some(rate) = evidence.bottleneck else {
            return;
        };
        let creeps = rate >= evidence.sent * CREEPING && !evidence.application_limited;
        if creeps && rate * SUSTAINED < self.estimate {
            self.set(now, rate * SUSTAINED);
        }
    }

    fn below(&mut self, acknowledged: Bitrate) -> Bitrate {
        let mut lowered = acknowledged * BACKOFF;
        if let (true, Some(ceiling)) = (lowered > self.estimate, self.ceiling) {
            lowered = Bitrate::from_bps((ceiling.mean * 1e3 * BACKOFF) as u64);
        }
        if self.ceiling.is_some_and(|c| c.is_above(acknowledged)) {
            self.ceiling = None;
        }
        self.ceiling = Some(Ceiling::met(self.ceiling, acknowledged));
        lowered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn evidence(usage: Usage, acknowledged_kbps: u64) -> Evidence {
        Evidence {
            usage,
            acknowledged: Some(Bitrate::from_kbps(acknowledged_kbps)),
            bottleneck: None,
            sent: Bitrate::from_kbps(acknowledged_kbps),
            used: Bitrate::from_kbps(acknowledged_kbps),
            rtt: RTT,
            queue_free: true,
            queue_stands: false,
            application_limited: false,
        }
    }

    fn run(aimd: &mut Aimd, start: Instant, seconds: u64, evidence: &Evidence) -> Instant {
        let mut now = start;
        for _ in 0..seconds * 10 {
            now += Duration::from_millis(100);
            aimd.update(now, evidence);
        }
        now
    }

    #[test]
    fn grows_by_eight_percent_a_second_without_a_known_ceiling() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(1000));
        run(&mut aimd, now, 1, &evidence(Usage::Normal, 1000));
        let kbps = aimd.estimate().as_bps() / 1000;
        assert!((1060..1085).contains(&kbps), "{kbps}");
    }

    #[test]
    fn what_arrives_without_a_queue_is_not_doubted() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(500));
        let queue = Evidence {
            queue_free: false,
            ..evidence(Usage::Normal, 900)
        };
        run(&mut aimd, now, 1, &queue);
        assert!(aimd.estimate() < Bitrate::from_kbps(600));
        run(&mut aimd, now, 1, &evidence(Usage::Normal, 900));
        assert!(aimd.estimate() >= Bitrate::from_kbps(900));
    }

    #[test]
    fn growth_ends_at_what_the_acknowledged_rate_supports() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(1000));
        run(&mut aimd, now, 60, &evidence(Usage::Normal, 1000));
        assert_eq!(aimd.estimate(), Bitrate::from_kbps(1510));
    }

    #[test]
    fn application_limited_sender_neither_grows_nor_collapses() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(1000));
        let limited = Evidence {
            application_limited: true,
            ..evidence(Usage::Normal, 100)
        };
        run(&mut aimd, now, 60, &limited);
        assert_eq!(aimd.estimate(), Bitrate::from_kbps(1000));
    }

    #[test]
    fn overuse_goes_below_what_arrives_and_then_grows_slowly() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(2000));
        assert!(aimd.update(now, &evidence(Usage::Over, 1000)));
        assert_eq!(aimd.estimate(), Bitrate::from_kbps(850));
        run(&mut aimd, now, 1, &evidence(Usage::Normal, 850));
        let kbps = aimd.estimate().as_bps() / 1000;
        assert!((870..920).contains(&kbps), "{kbps}");
    }

    #[test]
    fn queue_of_a_burst_lowers_to_what_drains_it() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(3000));
        let burst = Evidence {
            bottleneck: Some(Bitrate::from_kbps(2000)),
            used: Bitrate::from_kbps(1500),
            ..evidence(Usage::Over, 1500)
        };
        aimd.update(now, &burst);
        assert_eq!(aimd.estimate(), Bitrate::from_kbps(1900));
    }

    #[test]
    fn queue_of_others_does_not_lower_what_is_not_used() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(1000));
        let paused = Evidence {
            application_limited: true,
            ..evidence(Usage::Over, 50)
        };
        assert!(!aimd.update(now, &paused));
        let shrunk = Evidence {
            sent: Bitrate::from_kbps(500),
            ..Evidence {
                application_limited: true,
                ..evidence(Usage::Over, 300)
            }
        };
        assert!(aimd.update(now + RTT, &shrunk));
        assert_eq!(aimd.estimate(), Bitrate::from_kbps(255));
    }

    #[test]
    fn queue_that_stands_bounds_to_what_drains_it() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(1200));
        let standing = Evidence {
            queue_stands: true,
            queue_free: false,
            bottleneck: Some(Bitrate::from_kbps(1000)),
            ..evidence(Usage::Normal, 1000)
        };
        run(&mut aimd, now, 5, &standing);
        assert_eq!(aimd.estimate(), Bitrate::from_kbps(950));
    }

    #[test]
    fn overuse_never_raises() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(500));
        assert!(!aimd.update(now, &evidence(Usage::Over, 1000)));
        assert_eq!(aimd.estimate(), Bitrate::from_kbps(500));
    }

    #[test]
    fn is_lowered_once_a_round_trip() {
        let now = Instant::now();
        let mut aimd = Aimd::new(Bitrate::from_kbps(2000));
        assert!(aimd.update(now, &evidence(Usage::Over, 1900)));
        let soon = now + Duration::from_millis(20);
        assert!(!aimd.update(soon, &evidence(Usage::Over, 1500)));
        assert!(aimd.update(now + RTT, &evidence(Usage::Over, 1500)));
    }
}
