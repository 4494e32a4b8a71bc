//! A bad network between the socket and a viewer: loss, delay, jitter.
//!
//! Seeded, so a run can be repeated. Order is kept, as most real paths do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// Datagrams held for one viewer; at 400 packets a second this is ten seconds.
const MAX_HELD: usize = 4096;

/// What the network does to datagrams towards a viewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Share of datagrams that are lost, 0 to 1.
    pub loss: f64,
    /// Milliseconds every datagram is late.
    pub delay_ms: u64,
    /// Up to so many milliseconds more, evenly spread.
    pub jitter_ms: u64,
}

/// A held datagram.
#[derive(Debug)]
pub struct Held {
    /// When it shall be handled.
    pub due: Instant,
    /// Who sent it.
    pub from: SocketAddr,
    /// When it really came, Unix nanoseconds.
    pub at: i64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One viewer's way.
#[derive(Debug)]
pub struct Impairment {
    network: Network,
    random: u64,
    held: VecDeque<Held>,
}

impl Impairment {
    /// `seed` makes it repeatable.
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            network,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            held: VecDeque::new(),
        }
    }

    /// Whether datagrams pass untouched.
    pub fn is_clean(&self) -> bool {
        self.network == Network::default()
    }

    /// Lose the datagram (false) or hold it until it is due.
    pub fn take(&mut self, now: Instant, from: SocketAddr, at: i64, bytes: &[u8]) -> bool {
        if self.next() < self.network.loss || self.held.len() == MAX_HELD {
            return false;
        }
        let jitter = self.next() * self.network.jitter_ms as f64 / 1e3;
        let wait = Duration::from_millis(self.network.delay_ms) + Duration::from_secs_f64(jitter);
        let earliest = self.held.back().map_or(now, |h| h.due);
        self.held.push_back(Held {
            due: (now + wait).max(earliest),
            from,
            at,
            bytes: bytes.to_vec(),
        });
        true
    }

    /// A datagram whose time has come.
    pub fn release(&mut self, now: Instant) -> Option<Held> {
        let due = self.held.front().is_some_and(|h| h.due <= now);
        due.then(|| self.held.pop_front()).flatten()
    }

    /// When the next one is due.
    pub fn wake(&self) -> Option<Instant> {
        self.held.front().map(|h| h.due)
    }

    /// xorshift64*, 0 to 1.
    fn next(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    #[test]
    fn share_of_datagrams_is_lost_and_the_seed_repeats_it() {
        let network = Network {
            loss: 0.05,
            ..Network::default()
        };
        let now = Instant::now();
        let lost = |seed| {
            let mut way = Impairment::new(network, seed);
            let kept = (0..4000u32).filter(|n| way.take(now, from(), 0, &n.to_be_bytes()));
            4000 - kept.count()
        };
        assert!((120..280).contains(&lost(1)), "{}", lost(1));
        assert_eq!(lost(7), lost(7));
    }

    #[test]
    fn delay_and_jitter_keep_the_order() {
        let network = Network {
            delay_ms: 20,
            jitter_ms: 50,
            ..Network::default()
        };
        let start = Instant::now();
        let mut way = Impairment::new(network, 3);
        for n in 0..100u8 {
            assert!(way.take(start + Duration::from_millis(u64::from(n)), from(), 0, &[n]));
        }
        assert!(way.release(start + Duration::from_millis(19)).is_none());
        let mut got = Vec::new();
        for ms in 0..300 {
            while let Some(held) = way.release(start + Duration::from_millis(ms)) {
                assert!(ms >= u64::from(held.bytes[0]) + 20);
                got.push(held.bytes[0]);
            }
        }
        assert_eq!(got, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn held_datagrams_are_bounded() {
        let network = Network {
            delay_ms: 1000,
            ..Network::default()
        };
        let now = Instant::now();
        let mut way = Impairment::new(network, 1);
        let taken = (0..10_000)
            .filter(|_| way.take(now, from(), 0, &[]))
            .count();
        assert_eq!(taken, MAX_HELD);
    }
}
