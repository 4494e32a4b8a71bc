//! The rate at which media leaves, and whether the application rather than the network limits it.

use std::time::{Duration, Instant};

use super::units::Bitrate;

const SLICE: Duration = Duration::from_millis(100);
const SLICES: usize = 5;
/// Sending less than this part of the estimate proves nothing about it.
const LIMITED_BELOW: f64 = 0.8;

/// Bytes of the last half second.
#[derive(Debug, Default)]
pub(super) struct Sending {
    slices: [u64; SLICES],
    current: usize,
    began: Option<Instant>,
    allocated: Bitrate,
}

impl Sending {
    pub fn on_sent(&mut self, now: Instant, bytes: usize) {
        self.turn(now);
        self.slices[self.current] += bytes as u64;
    }

    /// What the layers in use amount to; media comes in bursts, this does not. Gives what it was.
    pub fn set_allocated(&mut self, allocated: Bitrate) -> Bitrate {
        std::mem::replace(&mut self.allocated, allocated)
    }

    pub fn allocated(&self) -> Bitrate {
        self.allocated
    }

    pub fn bitrate(&mut self, now: Instant) -> Bitrate {
        self.turn(now);
        let bytes = self.slices.iter().sum();
        Bitrate::of(bytes, SLICE * SLICES as u32)
    }

    /// Whether the sender sends so little that delivery proves nothing about `estimate`.
    pub fn is_limited(&mut self, now: Instant, estimate: Bitrate) -> bool {
        self.bitrate(now).max(self.allocated) < estimate * LIMITED_BELOW
    }

    fn turn(&mut self, now: Instant) {
        let mut began = *self.began.get_or_insert(now);
        if now < began + SLICE {
            return;
        }
        if now.saturating_duration_since(began) > SLICE * SLICES as u32 * 2 {
            self.slices = [0; SLICES];
            began = now;
        }
        while now.saturating_duration_since(began) >= SLICE {
            began += SLICE;
            self.current = (self.current + 1) % SLICES;
            self.slices[self.current] = 0;
        }
        self.began = Some(began);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_that_of_the_last_half_second() {
        let start = Instant::now();
        let mut sending = Sending::default();
        for ms in 0..1000 {
            sending.on_sent(start + Duration::from_millis(ms), 125);
        }
        let now = start + Duration::from_millis(999);
        assert_eq!(sending.bitrate(now), Bitrate::from_kbps(1000));
        assert!(sending.is_limited(now, Bitrate::from_kbps(1300)));
        assert!(!sending.is_limited(now, Bitrate::from_kbps(1200)));
        assert_eq!(sending.bitrate(now + Duration::from_secs(5)), Bitrate::ZERO);
    }
}
