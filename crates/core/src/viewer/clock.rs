//! Instants of the engine as wall-clock time, for sender reports and capture times.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One pair of instant and wall-clock time; never adjusted, so that what a
/// viewer is told never jumps.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    at: Instant,
    unix_micros: u64,
}

impl WallClock {
    /// Tie `now` to the given time.
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        let unix = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            at: now,
            unix_micros: unix.as_micros() as u64,
        }
    }

    /// Microseconds since 1970 at `instant`.
    pub fn unix_micros(self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.at) {
            Some(after) => self.unix_micros + after.as_micros() as u64,
            None => self
                .unix_micros
                .saturating_sub((self.at - instant).as_micros() as u64),
        }
    }
}
