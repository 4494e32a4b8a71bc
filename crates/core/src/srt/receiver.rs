//! What comes in: order, holes, reports of loss, and giving up when a hole's time is over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use stagecast_proto::srt::{ahead, later};

use super::WINDOW;

/// Reports of the same hole are not closer together.
const REPORT_MIN: Duration = Duration::from_millis(10);
/// Ranges in one report; more wait for the next one.
const MAX_RANGES: usize = 150;

/// A packet that came, or the place of one that did not.
#[derive(Debug)]
enum Slot {
    Here(Vec<u8>, Instant),
    Hole,
}

/// Packets behind the last one handed on.
#[derive(Debug)]
pub struct Receiver {
    /// Sequence number of the first slot.
    next: u32,
    slots: VecDeque<Slot>,
    /// How long a hole is waited for, from when what follows it came.
    latency: Duration,
    reported: Option<Instant>,
    /// Packets given up.
    pub lost: u64,
}

impl Receiver {
    /// Expecting this packet first.
    pub fn new(sequence: u32, latency: Duration) -> Self {
        Self {
            next: sequence,
            slots: VecDeque::new(),
            latency,
            reported: None,
            lost: 0,
        }
    }

    /// Take a packet; whether it shows a new hole, which is to be reported at once.
    pub fn push(&mut self, sequence: u32, payload: Vec<u8>, now: Instant) -> bool {
        let at = ahead(self.next, sequence);
        // Handed on or given up already, or so far ahead that it is from another world.
        if at < 0 || at >= WINDOW as i32 {
            return false;
        }
        let at = at as usize;
        let gap = at > self.slots.len();
        while self.slots.len() <= at {
            self.slots.push_back(Slot::Hole);
        }
        if matches!(self.slots[at], Slot::Hole) {
            self.slots[at] = Slot::Here(payload, now);
        }
        gap
    }

    /// The sender will not repeat these, so they are not waited for.
    pub fn give_up(&mut self, first: u32, last: u32, now: Instant) {
        let end = ahead(self.next, last)
            .saturating_add(1)
            .clamp(0, WINDOW as i32) as usize;
        let begin = ahead(self.next, first).max(0) as usize;
        let Some(long_ago) = now.checked_sub(2 * self.latency) else {
            return;
        };
        for slot in self.slots.iter_mut().take(end).skip(begin) {
            if matches!(slot, Slot::Hole) {
                *slot = Slot::Here(Vec::new(), long_ago);
                self.lost += 1;
            }
        }
    }

    /// Nothing more will come: holes are not waited for.
    pub fn finish(&mut self) {
        self.latency = Duration::ZERO;
    }

    /// The next payload in order.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        loop {
            match self.slots.front()? {
                Slot::Here(..) => {}
                Slot::Hole => {
                    let waited = self.slots.iter().find_map(|slot| match slot {
                        Slot::Here(_, came) => Some(now.saturating_duration_since(*came)),
                        Slot::Hole => None,
                    });
                    if waited.is_none_or(|waited| waited < self.latency) {
                        return None;
                    }
                    self.lost += 1;
                }
            }
            self.next = later(self.next, 1);
            if let Some(Slot::Here(payload, _)) = self.slots.pop_front()
                && !payload.is_empty()
            {
                return Some(payload);
            }
        }
    }

    /// All before this one came or were given up.
    pub fn acknowledged(&self) -> u32 {
        let whole = self
            .slots
            .iter()
            .take_while(|slot| matches!(slot, Slot::Here(..)))
            .count();
        later(self.next, whole as u32)
    }

    /// Packets there is room for.
    pub fn room(&self) -> u32 {
        WINDOW - (self.slots.len() as u32).min(WINDOW)
    }

    /// The holes to report, as ranges: all of them, if the last report is long enough ago.
    pub fn report(&mut self, now: Instant, interval: Duration, at_once: bool) -> Vec<(u32, u32)> {
        let due = self
            .reported
            .is_none_or(|last| now >= last + interval.max(REPORT_MIN));
        if !due && !at_once {
            return Vec::new();
        }
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (at, slot) in self.slots.iter().enumerate() {
            if matches!(slot, Slot::Here(..)) {
                continue;
            }
            let sequence = later(self.next, at as u32);
            if let Some((_, last)) = ranges.last_mut()
                && ahead(*last, sequence) == 1
            {
                *last = sequence;
            } else if ranges.len() < MAX_RANGES {
                ranges.push((sequence, sequence));
            } else {
                break;
            }
        }
        if at_once && !due {
            // Only the newest hole is news.
            ranges.drain(..ranges.len().saturating_sub(1));
        } else if !ranges.is_empty() {
            self.reported = Some(now);
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATENCY: Duration = Duration::from_millis(120);
    const MS: Duration = Duration::from_millis(1);

    fn all(receiver: &mut Receiver, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| receiver.pop(now)).flatten().collect()
    }

    #[test]
    fn a_hole_is_reported_filled_and_handed_on_in_order() {
        let now = Instant::now();
        let mut receiver = Receiver::new(0x7fff_ffff, LATENCY);
        assert!(!receiver.push(0x7fff_ffff, vec![1], now));
        assert!(receiver.push(2, vec![4], now));
        assert_eq!(all(&mut receiver, now), [1]);
        assert_eq!(receiver.report(now, MS, true), [(0, 1)]);
        assert_eq!(receiver.report(now, MS, false), []);
        assert_eq!(receiver.report(now + 20 * MS, MS, false), [(0, 1)]);
        assert_eq!(receiver.acknowledged(), 0);
        receiver.push(1, vec![3], now);
        receiver.push(0, vec![2], now);
        assert_eq!(receiver.acknowledged(), 3);
        assert_eq!(all(&mut receiver, now), [2, 3, 4]);
    }

    #[test]
    fn a_hole_is_given_up_when_its_time_is_over() {
        let now = Instant::now();
        let mut receiver = Receiver::new(0, LATENCY);
        receiver.push(2, vec![3], now);
        assert_eq!(receiver.pop(now + 119 * MS), None);
        assert_eq!(receiver.pop(now + LATENCY), Some(vec![3]));
        assert_eq!(receiver.lost, 2);
        assert!(!receiver.push(1, vec![2], now + LATENCY), "too late");
        assert_eq!(receiver.pop(now + LATENCY), None);
    }

    #[test]
    fn at_the_end_holes_are_not_waited_for() {
        let now = Instant::now();
        let mut receiver = Receiver::new(0, LATENCY);
        receiver.push(1, vec![2], now);
        assert_eq!(receiver.pop(now), None);
        receiver.finish();
        assert_eq!(receiver.pop(now), Some(vec![2]));
    }

    #[test]
    fn what_the_sender_drops_is_not_waited_for() {
        let now = Instant::now() + Duration::from_secs(10);
        let mut receiver = Receiver::new(0, LATENCY);
        receiver.push(3, vec![4], now);
        receiver.give_up(0, 2, now);
        assert_eq!(receiver.pop(now), Some(vec![4]));
        assert_eq!(receiver.lost, 3);
    }

    #[test]
    fn a_packet_from_far_ahead_takes_no_memory() {
        let mut receiver = Receiver::new(0, LATENCY);
        receiver.push(1 << 30, vec![1], Instant::now());
        assert!(receiver.slots.is_empty());
    }

    proptest! {
        #[test]
        fn any_order_becomes_the_right_one(
            order in Just((0..200u32).collect::<Vec<_>>()).prop_shuffle(),
            start in 0..1u32 << 31,
        ) {
            let now = Instant::now();
            let mut receiver = Receiver::new(start, LATENCY);
            let mut out = Vec::new();
            for by in order {
                receiver.push(later(start, by), vec![by as u8], now);
                out.extend(all(&mut receiver, now));
            }
            prop_assert_eq!(out, (0..200).collect::<Vec<u8>>());
        }
    }
}
