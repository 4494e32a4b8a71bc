//! How long packets wait in the bottleneck: their one-way delay above the least of the last seconds.
//!
//! The trend says that a queue grows, this says that it stands. A keyframe makes a queue that is gone
//! again by the time anyone hears of it; traffic above the link's rate makes one that stays. The least
//! of a short time tells one from the other, and is not deceived by jitter.

use std::time::Duration;

use super::units::Stamp;

const BASE_US: i64 = 10_000_000;
const RECENT_US: i64 = 60_000;

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

/// Queueing delay of the path.
#[derive(Debug)]
pub(super) struct Queue {
    base: Least,
    recent: Least,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            base: Least::over(BASE_US),
            recent: Least::over(RECENT_US),
        }
    }

    pub fn on_arrival(&mut self, sent: Stamp, arrival: Stamp) {
        let one_way = arrival.as_micros() - sent.as_micros();
        self.base.add(arrival, one_way);
        self.recent.add(arrival, one_way);
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
            queue.on_arrival(sent, arrival);
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
