//! When sessions are due, in constant time each: a wheel of milliseconds (Varghese and Lauck, scheme 6).
//!
//! A session has one time, the earliest that was asked for; it asks again once it was served. Times beyond
//! the wheel's turn are put in its last place and looked at again there. Nothing allocates once the places
//! have grown to what they hold.

use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);
/// Places; a power of two. A second, after which most sessions report, and some more.
const PLACES: usize = 2048;
const WORDS: usize = PLACES / 64;

/// Due times by session slot.
#[derive(Debug)]
pub struct Wheel {
    epoch: Instant,
    places: Vec<Vec<usize>>,
    /// A bit for each place that holds something.
    occupied: [u64; WORDS],
    /// All before this tick has been served.
    cursor: u64,
    /// The tick that each session waits for. What a place holds besides is of no use any more.
    due: Vec<Option<u64>>,
}

impl Wheel {
    /// Nobody waits; `now` is the beginning of its time.
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            places: vec![Vec::new(); PLACES],
            occupied: [0; WORDS],
            cursor: 0,
            due: Vec::new(),
        }
    }

    /// Let `slot` be due at `at`, rounded up, unless it is earlier anyway.
    pub fn arm(&mut self, slot: usize, at: Instant) {
        let passed = at.saturating_duration_since(self.epoch);
        let tick = passed.as_nanos().div_ceil(TICK.as_nanos()) as u64;
        let tick = tick.max(self.cursor);
        if self.due.len() <= slot {
            self.due.resize(slot + 1, None);
        }
        if self.due[slot].is_some_and(|due| due <= tick) {
            return;
        }
        self.due[slot] = Some(tick);
        self.insert(slot, tick);
    }

    /// The session is gone.
    pub fn forget(&mut self, slot: usize) {
        if let Some(due) = self.due.get_mut(slot) {
            *due = None;
        }
    }

    /// The next session that is due, which then is so no more.
    pub fn pop(&mut self, now: Instant) -> Option<usize> {
        let passed = now.saturating_duration_since(self.epoch);
        let present = (passed.as_nanos() / TICK.as_nanos()) as u64;
        loop {
            let Some(tick) = self.next_tick().filter(|&tick| tick <= present) else {
                self.cursor = self.cursor.max(present);
                return None;
            };
            self.cursor = tick;
            let place = place(tick);
            let Some(slot) = self.places[place].pop() else {
                self.occupied[place / 64] &= !(1 << (place % 64));
                continue;
            };
            match self.due.get(slot).copied().flatten() {
                Some(due) if due <= tick => {
                    self.due[slot] = None;
                    return Some(slot);
                }
                // From beyond the wheel's turn, or put here before an earlier time was asked for
                // and served.
                Some(due) => self.insert(slot, due),
                None => {}
            }
        }
    }

    /// When somebody may be due.
    pub fn next(&self) -> Option<Instant> {
        let tick = self.next_tick()?;
        Some(self.epoch + TICK * u32::try_from(tick).unwrap_or(u32::MAX))
    }

    fn insert(&mut self, slot: usize, tick: u64) {
        let place = place(tick.min(self.cursor + PLACES as u64 - 1));
        self.places[place].push(slot);
        self.occupied[place / 64] |= 1 << (place % 64);
    }

    /// The tick of the first place, from the cursor on, that holds something.
    fn next_tick(&self) -> Option<u64> {
        let start = place(self.cursor);
        let from = |word: usize| match word {
            0 => !0 << (start % 64),
            // The first word again, for what is before the cursor's place.
            WORDS => (1 << (start % 64)) - 1,
            _ => !0,
        };
        (0..=WORDS).find_map(|word| {
            let index = (start / 64 + word) % WORDS;
            let bits: u64 = self.occupied[index] & from(word);
            let found = (bits != 0).then(|| index * 64 + bits.trailing_zeros() as usize)?;
            Some(self.cursor + (found.wrapping_sub(start) % PLACES) as u64)
        })
    }
}

fn place(tick: u64) -> usize {
    tick as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    const NOBODY: [usize; 0] = [];

    fn due(wheel: &mut Wheel, now: Instant) -> Vec<usize> {
        let mut due: Vec<usize> = std::iter::from_fn(|| wheel.pop(now)).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn session_is_due_at_the_earliest_time_that_was_asked_for_and_once() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        wheel.arm(3, t0 + MS(50));
        wheel.arm(3, t0 + MS(20));
        wheel.arm(3, t0 + MS(30));
        assert_eq!(wheel.next(), Some(t0 + MS(20)));
        assert_eq!(due(&mut wheel, t0 + MS(19)), NOBODY);
        assert_eq!(due(&mut wheel, t0 + MS(20)), [3]);
        assert_eq!(due(&mut wheel, t0 + MS(100)), NOBODY);
    }

    #[test]
    fn part_of_a_tick_is_rounded_up() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        wheel.arm(0, t0 + Duration::from_micros(1100));
        assert_eq!(due(&mut wheel, t0 + Duration::from_micros(1999)), NOBODY);
        assert_eq!(due(&mut wheel, t0 + MS(2)), [0]);
    }

    #[test]
    fn past_time_is_due_at_once() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        assert_eq!(due(&mut wheel, t0 + MS(5000)), NOBODY);
        wheel.arm(1, t0 + MS(3));
        assert_eq!(due(&mut wheel, t0 + MS(5000)), [1]);
    }

    #[test]
    fn time_beyond_the_turn_of_the_wheel_is_kept() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        wheel.arm(1, t0 + MS(7000));
        for ms in (0..7000).step_by(100) {
            assert_eq!(due(&mut wheel, t0 + MS(ms)), NOBODY);
        }
        assert_eq!(due(&mut wheel, t0 + MS(7000)), [1]);
    }

    #[test]
    fn forgotten_session_is_not_due_and_its_slot_can_be_used_anew() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        wheel.arm(1, t0 + MS(10));
        wheel.forget(1);
        wheel.arm(1, t0 + MS(40));
        assert_eq!(due(&mut wheel, t0 + MS(39)), NOBODY);
        assert_eq!(due(&mut wheel, t0 + MS(40)), [1]);
    }

    #[test]
    fn every_session_is_served_in_time_whatever_is_asked_for() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        // A fixed sequence of pseudo-random times (Knuth's multiplier).
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut expected = vec![None; 200];
        for ms in 0..20_000 {
            let now = t0 + MS(ms);
            for slot in due(&mut wheel, now) {
                assert_eq!(expected[slot].take(), Some(ms), "slot {slot}");
            }
            assert!(expected.iter().flatten().all(|&at| at > ms));
            let (slot, at) = (random(200) as usize, ms + 1 + random(5000));
            wheel.arm(slot, t0 + MS(at));
            let earlier = expected[slot].is_none_or(|before| at < before);
            expected[slot] = if earlier { Some(at) } else { expected[slot] };
        }
    }
}
