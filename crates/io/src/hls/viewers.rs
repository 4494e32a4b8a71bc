//! Who watches: players told apart by a session in their addresses, or by address and browser.
//!
//! A player watches from its first request for a media playlist to its last; one that has not asked
//! for some seconds is gone. The seconds of all players add up as they ask.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::lock;

/// Players counted one by one at a time.
const MAX_PLAYERS: usize = 100_000;

/// The players of a source.
#[derive(Debug)]
pub(super) struct Viewers {
    hasher: RandomState,
    last_seen: Mutex<HashMap<u64, Instant>>,
    watched_ms: AtomicU64,
    /// Silence after which a player is gone.
    gone_after: Duration,
}

impl Viewers {
    pub(super) fn new(gone_after: Duration) -> Self {
        Self {
            hasher: RandomState::new(),
            last_seen: Mutex::default(),
            watched_ms: AtomicU64::new(0),
            gone_after,
        }
    }

    /// A player asks for a playlist.
    pub(super) fn seen(&self, session: &str, remote: IpAddr, user_agent: &str, now: Instant) {
        let player = self.hasher.hash_one((session, remote, user_agent));
        let mut last_seen = lock(&self.last_seen);
        if let Some(last) = last_seen.get_mut(&player) {
            let since = now.saturating_duration_since(*last);
            *last = now;
            if since < self.gone_after {
                let ms = since.as_millis() as u64;
                self.watched_ms.fetch_add(ms, Ordering::Relaxed);
            }
        } else if last_seen.len() < MAX_PLAYERS {
            last_seen.insert(player, now);
        }
    }

    /// Players now, and seconds watched by all.
    pub(super) fn count(&self, now: Instant) -> (usize, f64) {
        let mut last_seen = lock(&self.last_seen);
        last_seen.retain(|_, last| now.saturating_duration_since(*last) < self.gone_after);
        let seconds = self.watched_ms.load(Ordering::Relaxed) as f64 / 1000.0;
        (last_seen.len(), seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_count_from_their_first_to_their_last_request() {
        let viewers = Viewers::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let home = IpAddr::from([10, 0, 0, 1]);
        for second in 0..=5 {
            viewers.seen("a", home, "x", at(second));
            viewers.seen("b", home, "x", at(second));
        }
        assert_eq!(viewers.count(at(6)), (2, 10.0));
        viewers.seen("a", home, "x", at(14));
        assert_eq!(viewers.count(at(16)), (1, 19.0));
        assert_eq!(viewers.count(at(40)), (0, 19.0));
        viewers.seen("a", home, "x", at(100));
        assert_eq!(viewers.count(at(100)), (1, 19.0), "a pause does not count");
    }

    #[test]
    fn without_a_session_address_and_browser_tell_players_apart() {
        let viewers = Viewers::new(Duration::from_secs(10));
        let now = Instant::now();
        for (host, browser) in [(1, "x"), (1, "y"), (2, "x"), (1, "x")] {
            viewers.seen("", IpAddr::from([10, 0, 0, host]), browser, now);
        }
        assert_eq!(viewers.count(now).0, 3);
    }
}
