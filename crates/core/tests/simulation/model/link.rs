//! The bottleneck: a drop-tail queue before a line of some rate, or a policer that drops what is above
//! its rate, then delay, jitter and random loss. Times are microseconds since the run began.

use std::collections::VecDeque;

use super::random::Random;

/// What a link is like.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Rate in kbit/s from a second on.
    pub rate: Vec<(u32, u32)>,
    /// Round trip in milliseconds without any queue.
    pub rtt_ms: u32,
    /// How much waits before packets are dropped, as milliseconds of the first rate.
    pub queue_ms: u32,
    /// Share of packets lost at random.
    pub loss: f64,
    /// Most random delay in milliseconds; order is kept.
    pub jitter_ms: f64,
    /// Instead of a queue: a token bucket of so many bytes.
    pub policer_bytes: Option<u32>,
}

impl LinkSpec {
    /// A link that does not change, with 50 ms round trip and a queue of 300 ms.
    pub fn steady(kbps: u32) -> Self {
        Self {
            rate: vec![(0, kbps)],
            rtt_ms: 50,
            queue_ms: 300,
            loss: 0.0,
            jitter_ms: 0.0,
            policer_bytes: None,
        }
    }

    /// A link that changes.
    pub fn steps(rate: &[(u32, u32)]) -> Self {
        Self {
            rate: rate.to_vec(),
            ..Self::steady(0)
        }
    }

    /// Rate in kbit/s at a time.
    pub fn rate_at(&self, us: u64) -> u32 {
        let past = |step: &&(u32, u32)| u64::from(step.0) * 1_000_000 <= us;
        self.rate.iter().take_while(past).last().map_or(0, |s| s.1)
    }
}

/// A packet at the far end.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<T> {
    /// When it came.
    pub at: u64,
    /// How long it waited in the queue, its own transmission not counted.
    pub waited: u64,
    /// The packet.
    pub packet: T,
}

struct Waiting<T> {
    since: u64,
    bytes: u64,
    packet: T,
}

/// A link in one direction.
pub struct Link<T> {
    spec: LinkSpec,
    random: Random,
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: u64,
    capacity: u64,
    free_at: u64,
    last_arrival: u64,
    tokens: f64,
    tokens_at: u64,
    flying: VecDeque<Delivered<T>>,
}

impl<T> Link<T> {
    /// An empty link.
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        let capacity = u64::from(spec.rate[0].1) * u64::from(spec.queue_ms) / 8;
        Self {
            random: Random::new(seed),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            // Two frames of any layer find room in any router.
            capacity: capacity.max(30_000),
            free_at: 0,
            last_arrival: 0,
            tokens: f64::from(spec.policer_bytes.unwrap_or(0)),
            tokens_at: 0,
            flying: VecDeque::new(),
            spec,
        }
    }

    /// Hand it a packet; false when it is dropped.
    pub fn push(&mut self, now: u64, bytes: usize, packet: T) -> bool {
        let bytes = bytes as u64;
        if let Some(bucket) = self.spec.policer_bytes {
            let earned = f64::from(self.spec.rate_at(now)) / 8e3 * (now - self.tokens_at) as f64;
            self.tokens = (self.tokens + earned).min(f64::from(bucket));
            self.tokens_at = now;
            if self.tokens < bytes as f64 {
                return false;
            }
            self.tokens -= bytes as f64;
        } else if self.waiting_bytes + bytes > self.capacity {
            return false;
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting {
            since: now,
            bytes,
            packet,
        });
        true
    }

    /// What has come out by now, in order.
    pub fn pop(&mut self, now: u64) -> Option<Delivered<T>> {
        self.transmit(now);
        let first = self.flying.front()?;
        if first.at > now {
            return None;
        }
        self.flying.pop_front()
    }

    fn transmit(&mut self, now: u64) {
        while let Some(first) = self.waiting.front() {
            let start = self.free_at.max(first.since);
            let kbps = match self.spec.policer_bytes {
                Some(_) => 100_000,
                None => self.spec.rate_at(start),
            };
            let done = start + first.bytes * 8_000 / u64::from(kbps.max(1));
            if done > now {
                return;
            }
            self.free_at = done;
            let first = self.waiting.pop_front().expect("there is a first");
            self.waiting_bytes -= first.bytes;
            if self.random.unit() < self.spec.loss {
                continue;
            }
            let jitter = self.random.unit() * self.spec.jitter_ms * 1e3;
            let at = done + u64::from(self.spec.rtt_ms) * 500 + jitter as u64;
            self.last_arrival = self.last_arrival.max(at);
            self.flying.push_back(Delivered {
                at: self.last_arrival,
                waited: start - first.since,
                packet: first.packet,
            });
        }
    }
}
