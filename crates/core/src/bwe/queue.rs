//! How long packets wait in the bottleneck: their one-way delay above the least of the last seconds.
//!
//! The trend says that a queue grows, this says whether that is congestion. A keyframe waits for
//! itself, on any link, and a forwarder does not spread it; so each packet is expected to wait for what
//! was sent before it at the estimated rate. Only what waits longer shows that the link is slower
//! than the estimate. The least of a short time is taken, which jitter does not deceive.

use std::time::{Duration, Instant};

use super::units::{Bitrate, Stamp};

const BASE_US: i64 = 10_000_000;
const RECENT_US: i64 = 60_000;
/// A packet that waited this long was behind another.
const WAITED_US: i64 = 15_000;
/// A train tells its rate after this time, and anew after that.
const TRAIN_US: (i64, i64) = (60_000, 250_000);
const JITTER_WEIGHT: f64 = 1.0 / 128.0;
const MAX_JITTER_US: i64 = 50_000;
const MAX_EXPECTED_S: f64 = 60.0;
/// A little faster than the estimate, or sending at just that rate would seem a burst.
const DRAIN: f64 = 1.05;
/// A burst explains a queue for about this long; sending too much all the time does not.
const BURST_S: f64 = 1.0;

/// Least value of the last one to two spans.
#[derive(Copy, Clone, Debug)]
struct Least {
    span_us: i64,
    began: Stamp,
    current: Option<i64>,
    previous: Option<i64>,
}

impl Least {
    fn over(span_us: i64) -> Self {
        Self {
            span_us,
            began: Stamp::default(),
            current: None,
            previous: None,
        }
    }

    fn add(&mut self, at: Stamp, value: i64) {
        let passed = at.micros_since(self.began);
        if passed >= self.span_us || self.current.is_none() {
            let fresh = passed < 2 * self.span_us;
            self.previous = self.current.filter(|_| fresh);
            self.current = None;
            self.began = at;
        }
        self.current = Some(self.current.map_or(value, |least| least.min(value)));
    }

    fn get(&self) -> Option<i64> {
        match (self.current, self.previous) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// What was sent and, at the estimated rate, is not through yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: f64,
    at: Option<Instant>,
}

impl Backlog {
    /// A packet is sent: how long it will wait.
    pub fn on_sent(&mut self, now: Instant, bytes: u16, rate: Bitrate) -> Duration {
        let passed = now.saturating_duration_since(self.at.replace(now).unwrap_or(now));
        let bytes_a_second = (rate.as_f64() / 8.0).max(1.0);
        // Most packets leave together with the one before.
        if !passed.is_zero() {
            let drained = passed.as_secs_f64() * bytes_a_second * DRAIN;
            self.bytes = (self.bytes - drained).max(0.0);
            self.bytes *= (-passed.as_secs_f64() / BURST_S).exp();
        }
        self.bytes += f64::from(bytes);
        Duration::from_secs_f64((self.bytes / bytes_a_second).min(MAX_EXPECTED_S))
    }
}

/// Packets that waited one behind the other. Where a queue stands, what comes out of it comes at the
/// rate of the bottleneck, or at this viewer's share of it.
#[derive(Debug, Default)]
struct Train {
    began: Option<Stamp>,
    bytes: u64,
    rate: Option<Bitrate>,
}

impl Train {
    fn on_arrival(&mut self, arrival: Stamp, bytes: u16, waited_us: i64) {
        let began = match self.began {
            Some(began) if waited_us >= WAITED_US => began,
            _ => {
                *self = Self {
                    began: Some(arrival),
                    ..Self::default()
                };
                return;
            }
        };
        self.bytes += u64::from(bytes);
        let took_us = arrival.micros_since(began);
        if took_us >= TRAIN_US.0 {
            let took = Duration::from_micros(took_us as u64);
            self.rate = Some(Bitrate::of(self.bytes, took));
        }
        if took_us >= TRAIN_US.1 {
            self.began = Some(arrival);
            self.bytes = 0;
        }
    }
}

/// How much the delay differs from packet to packet, which a queue that grows does little.
#[derive(Debug, Default)]
struct Jitter {
    last_us: Option<i64>,
    mean_us: f64,
}

impl Jitter {
    fn add(&mut self, us: i64) {
        if let Some(last) = self.last_us.replace(us) {
            let difference = (us - last).abs().min(MAX_JITTER_US) as f64;
            self.mean_us += (difference - self.mean_us) * JITTER_WEIGHT;
        }
    }
}

/// Queueing delay of the path.
#[derive(Debug)]
pub(super) struct Queue {
    train: Train,
    jitter: Jitter,
    base: Least,
    recent: Least,
    /// One-way delay less what was expected.
    unexpected: Least,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            train: Train::default(),
            jitter: Jitter::default(),
            base: Least::over(BASE_US),
            recent: Least::over(RECENT_US),
            unexpected: Least::over(RECENT_US),
        }
    }

    pub fn on_arrival(&mut self, sent: Stamp, arrival: Stamp, bytes: u16, expected_ms: u16) {
        let one_way = arrival.as_micros() - sent.as_micros();
        self.base.add(arrival, one_way);
        let waited = one_way - self.base.get().unwrap_or(one_way);
        self.train.on_arrival(arrival, bytes, waited);
        self.recent.add(arrival, one_way);
        let expected = i64::from(expected_ms) * 1000;
        self.unexpected.add(arrival, one_way - expected);
        self.jitter.add(one_way - expected);
    }

    /// Mean difference of delay between packets (as RFC 3550 §6.4.1 has it).
    pub fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter.mean_us as u64)
    }

    /// The rate at which the queue drains, while one stands.
    pub fn rate(&self) -> Option<Bitrate> {
        self.train.rate
    }

    /// What every packet of the last tenth of a second waited longer than for what was sent before it.
    pub fn unexplained(&self) -> Duration {
        let (Some(recent), Some(base)) = (self.unexpected.get(), self.base.get()) else {
            return Duration::ZERO;
        };
        Duration::from_micros((recent - base).max(0) as u64)
    }

    /// What every packet of the last tenth of a second waited at least.
    pub fn standing(&self) -> Duration {
        let (Some(recent), Some(base)) = (self.recent.get(), self.base.get()) else {
            return Duration::ZERO;
        };
        Duration::from_micros((recent - base).max(0) as u64)
    }

    /// The path has become longer, or the queue is another's: what stands now is the new least.
    pub fn accept(&mut self) {
        self.base.current = self.recent.get();
        self.base.previous = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(queue: &mut Queue, from_ms: i64, to_ms: i64, wait_ms: impl Fn(i64) -> i64) {
        for ms in (from_ms..to_ms).step_by(5) {
            let sent = Stamp::from_micros(ms * 1000);
            // The receiver's clock is an hour off.
            let arrival = Stamp::from_micros((3_600_000 + ms + 40 + wait_ms(ms)) * 1000);
            queue.on_arrival(sent, arrival, 1000, 0);
        }
    }

    #[test]
    fn only_a_queue_that_stays_counts() {
        let mut queue = Queue::new();
        feed(&mut queue, 0, 1000, |_| 0);
        feed(
            &mut queue,
            1000,
            1200,
            |ms| if ms % 50 == 0 { 0 } else { 80 },
        );
        assert_eq!(queue.standing(), Duration::ZERO);
        feed(&mut queue, 1200, 1400, |_| 80);
        assert_eq!(queue.standing(), Duration::from_millis(80));
    }

    #[test]
    fn burst_is_expected_to_wait_for_itself() {
        let start = Instant::now();
        let link = Bitrate::from_kbps(800);
        let mut unexplained = Vec::new();
        for estimate in [800, 1600] {
            let mut queue = Queue::new();
            let mut backlog = Backlog::default();
            queue.on_arrival(Stamp::default(), Stamp::default(), 1000, 0);
            for packet in 1..=40_i64 {
                let rate = Bitrate::from_kbps(estimate);
                let expected = backlog.on_sent(start, 1000, rate);
                let waited = link.time_for(packet as u64 * 1000);
                let arrival = Stamp::from_micros(waited.as_micros() as i64);
                let expected_ms = expected.as_millis() as u16;
                queue.on_arrival(Stamp::default(), arrival, 1000, expected_ms);
            }
            unexplained.push(queue.unexplained().as_millis());
        }
        assert_eq!(unexplained[0], 0, "at the link's rate");
        assert!(unexplained[1] > 100, "at twice that: {} ms", unexplained[1]);
    }

    #[test]
    fn standing_queue_tells_the_rate_of_the_bottleneck() {
        let mut queue = Queue::new();
        for ms in 0..200 {
            // A packet a millisecond, and one in two milliseconds comes out.
            let arrival = Stamp::from_micros(ms * 2000);
            queue.on_arrival(Stamp::from_micros(ms * 1000), arrival, 1000, 0);
        }
        let kbps = queue.rate().map(|rate| rate.as_bps() / 1000);
        assert_eq!(kbps, Some(4000));
        queue.on_arrival(
            Stamp::from_micros(500_000),
            Stamp::from_micros(500_000),
            1000,
            0,
        );
        assert_eq!(queue.rate(), None, "drained");
    }

    #[test]
    fn longer_path_is_accepted_in_time_or_when_told() {
        let mut queue = Queue::new();
        feed(&mut queue, 0, 1000, |_| 0);
        feed(&mut queue, 1000, 5000, |_| 100);
        assert_eq!(queue.standing(), Duration::from_millis(100));
        queue.accept();
        assert_eq!(queue.standing(), Duration::ZERO);

        let mut queue = Queue::new();
        feed(&mut queue, 0, 1000, |_| 0);
        feed(&mut queue, 1000, 25_000, |_| 100);
        assert_eq!(queue.standing(), Duration::ZERO);
    }
}
