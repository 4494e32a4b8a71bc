//! How long a frame lasts, told by those before it.

/// Frames that must disagree with the rhythm in a row before it is another one.
const CHANGE_AFTER: u8 = 4;

/// The usual distance of frames, in units of the timescale.
#[derive(Debug, Clone)]
pub(super) struct Rhythm {
    usual: f64,
    seen: u32,
    odd: u8,
}

impl Rhythm {
    /// A rhythm that is expected to be `usual`.
    pub(super) fn new(usual: i64) -> Self {
        Self {
            usual: usual.max(1) as f64,
            seen: 0,
            odd: 0,
        }
    }

    /// A frame came this much after the one before it.
    pub(super) fn observe(&mut self, distance: i64) {
        if distance <= 0 {
            return;
        }
        let distance = distance as f64;
        let fits = (0.6..1.6).contains(&(distance / self.usual));
        if self.seen == 0 || self.odd >= CHANGE_AFTER {
            self.usual = distance;
            self.odd = 0;
        } else if fits {
            // A plain mean at first, so that timestamps rounded to milliseconds even out soon.
            self.usual += (distance - self.usual) / f64::from(self.seen.clamp(2, 32));
            self.odd = 0;
        } else {
            self.odd += 1;
        }
        self.seen = self.seen.saturating_add(1);
    }

    /// What the next distance will be.
    pub(super) fn next(&self) -> i64 {
        (self.usual.round() as i64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_even_out() {
        let mut rhythm = Rhythm::new(3000);
        for distance in [33, 33, 34].iter().cycle().take(60) {
            rhythm.observe(distance * 90);
        }
        assert!((2990..=3010).contains(&rhythm.next()), "{rhythm:?}");
    }

    #[test]
    fn one_late_frame_changes_nothing_and_a_new_rate_is_learnt() {
        let mut rhythm = Rhythm::new(3000);
        for _ in 0..10 {
            rhythm.observe(3000);
        }
        rhythm.observe(90_000);
        assert_eq!(rhythm.next(), 3000);
        for _ in 0..6 {
            rhythm.observe(6000);
        }
        assert_eq!(rhythm.next(), 6000);
    }
}
