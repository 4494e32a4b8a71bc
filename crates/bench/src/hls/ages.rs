//! How old the newest picture of a part is when a player has the part.
//!
//! The first player of a thread that asks for a part looks for the stamp of its last picture, which
//! the publisher wrote as the picture's last packet left; for the others the time of arrival is
//! enough. So age is counted from the moment a part can be complete at the server.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::stamps::{self, TAIL};

/// Parts remembered; at five a second this is over a minute.
const MAX_PARTS: usize = 512;

#[derive(Debug)]
enum Known {
    /// Somebody who looks is on the way; others came at these times.
    Awaited(Vec<i64>),
    /// When its last picture left, if that could be found.
    Stamp(Option<i64>),
}

/// The parts of a thread's players.
#[derive(Debug, Default)]
pub(super) struct Ages {
    hasher: RandomState,
    parts: HashMap<u64, Known>,
    order: VecDeque<u64>,
    /// Ages in microseconds since the last report.
    pub(super) micros: Vec<u32>,
}

impl Ages {
    /// A player asks for a part: whether it has to look into it.
    pub(super) fn asked(&mut self, path: &str) -> bool {
        let key = self.key(path);
        if self.parts.contains_key(&key) {
            return false;
        }
        self.parts.insert(key, Known::Awaited(Vec::new()));
        self.order.push_back(key);
        if self.order.len() > MAX_PARTS
            && let Some(old) = self.order.pop_front()
        {
            self.parts.remove(&old);
        }
        true
    }

    /// A player has a part; with its bytes if it looks.
    pub(super) fn arrived(&mut self, path: &str, body: Option<&[u8]>, at: i64) {
        let Some(known) = self.parts.get_mut(&self.hasher.hash_one(name(path))) else {
            return;
        };
        if let (Known::Awaited(waiting), Some(body)) = (&mut *known, body) {
            let stamp = stamps::read_last(body, TAIL);
            for earlier in waiting.iter().chain([&at]) {
                stamp.inspect(|stamp| stamps::push(&mut self.micros, earlier - stamp));
            }
            *known = Known::Stamp(stamp);
            return;
        }
        match known {
            Known::Awaited(waiting) => waiting.push(at),
            Known::Stamp(Some(stamp)) => stamps::push(&mut self.micros, at - *stamp),
            Known::Stamp(None) => {}
        }
    }

    fn key(&self, path: &str) -> u64 {
        self.hasher.hash_one(name(path))
    }
}

/// What all players call a part: their sessions are in the query.
fn name(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_player_looks_for_all() {
        let mut ages = Ages::default();
        assert!(ages.asked("/v/1.0.m4s?s=1"));
        assert!(!ages.asked("/v/1.0.m4s?s=2"));
        ages.arrived("/v/1.0.m4s?s=2", None, 5_000_000);
        let mut body = vec![1; 2000];
        for sent in [1_000_000, 2_000_000] {
            body.extend(stamps::sei(TAIL));
            let start = body.len() - 64;
            stamps::write(&mut body[start..], TAIL, sent);
            body.extend([7; 3000]);
        }
        ages.arrived("/v/1.0.m4s?s=1", Some(&body), 4_000_000);
        ages.arrived("/v/1.0.m4s?s=3", None, 6_000_000);
        assert_eq!(ages.micros, [3000, 2000, 4000]);
        ages.arrived("/unknown", None, 1);
        assert_eq!(ages.micros.len(), 3);
    }
}
