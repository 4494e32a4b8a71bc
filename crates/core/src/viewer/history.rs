//! What was sent, so that it can be sent again: for each packet where the hub
//! has it and how this viewer saw it. The payload itself is never kept here.

use std::time::{Duration, Instant};

use crate::hub::{Origin, Patch};

/// Packets remembered at first: more than a second of audio.
const INITIAL: usize = 64;
/// Packets remembered at most.
const MAX: usize = 2048;
/// Time that should be covered.
const COVER: Duration = Duration::from_secs(1);
/// A packet is sent again at most so often.
const MAX_RESENDS: u8 = 3;

/// A sent packet.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Extended sequence number of the viewer's stream.
    pub seq: u64,
    /// RTP timestamp of the viewer's stream.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// Payload type of its retransmission.
    pub rtx_pt: u8,
    /// Where the payload is.
    pub origin: Origin,
    /// What was changed in it.
    pub patch: Option<Patch>,
}

/// As it is kept: hundreds of them are most of what a viewer costs in memory.
#[derive(Debug, Clone, Copy)]
struct Slot {
    sent: Sent,
    /// Milliseconds of the history's clock.
    at: u32,
    resent_at: u32,
    resends: u8,
}

/// The latest packets of one stream, by sequence number.
#[derive(Debug, Default)]
pub struct History {
    slots: Vec<Option<Slot>>,
    newest: u64,
    began: Option<Instant>,
}

impl History {
    /// Remember a packet that is sent now.
    pub fn push(&mut self, sent: Sent, now: Instant) {
        if self.slots.is_empty() {
            self.slots.resize(INITIAL, None);
        }
        let at = self.millis(now);
        let index = sent.seq as usize % self.slots.len();
        let cover = COVER.as_millis() as u32;
        let young = |old: &Slot| old.sent.seq != sent.seq && at.saturating_sub(old.at) < cover;
        if self.slots.len() < MAX && self.slots[index].as_ref().is_some_and(young) {
            self.grow();
        }
        self.newest = self.newest.max(sent.seq);
        let index = sent.seq as usize % self.slots.len();
        self.slots[index] = Some(Slot {
            sent,
            at,
            resent_at: at,
            resends: 0,
        });
    }

    /// The packet with this 16-bit number.
    pub fn find(&self, lost: u16) -> Option<Sent> {
        let behind = (self.newest as u16).wrapping_sub(lost);
        self.get(self.newest.checked_sub(u64::from(behind))?)
    }

    /// The newest packet but `back`.
    pub fn recent(&self, back: u64) -> Option<Sent> {
        self.get(self.newest.checked_sub(back)?)
    }

    /// The newest packet.
    pub fn newest(&self) -> Option<Sent> {
        self.recent(0)
    }

    /// Whether a packet may be sent again now; if so that is noted.
    ///
    /// A request that repeats before an answer can have arrived is ignored.
    pub fn take(&mut self, seq: u64, rtt: Duration, now: Instant) -> bool {
        let now = self.millis(now);
        let index = seq as usize % self.slots.len().max(1);
        let slot = self.slots.get_mut(index).and_then(Option::as_mut);
        let Some(slot) = slot.filter(|s| s.sent.seq == seq) else {
            return false;
        };
        let patience = (rtt.as_millis() as u32).clamp(10, 100);
        let answered = slot.resends > 0 && now < slot.resent_at + patience;
        if answered || slot.resends >= MAX_RESENDS {
            return false;
        }
        slot.resends += 1;
        slot.resent_at = now;
        true
    }

    fn get(&self, seq: u64) -> Option<Sent> {
        let index = seq as usize % self.slots.len().max(1);
        let slot = self.slots.get(index)?.as_ref()?;
        (slot.sent.seq == seq).then_some(slot.sent)
    }

    fn millis(&mut self, now: Instant) -> u32 {
        let began = *self.began.get_or_insert(now);
        now.saturating_duration_since(began).as_millis() as u32
    }

    fn grow(&mut self) {
        let wider = vec![None; self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, wider);
        for slot in old.into_iter().flatten() {
            let index = slot.sent.seq as usize % self.slots.len();
            self.slots[index] = Some(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn sent(seq: u64) -> Sent {
        Sent {
            seq,
            timestamp: 0,
            marker: false,
            rtx_pt: 97,
            origin: Origin::nowhere(),
            patch: None,
        }
    }

    #[test]
    fn lost_packet_is_found_across_the_wrap_of_its_number() {
        let now = Instant::now();
        let mut history = History::default();
        for seq in 65_500..65_600 {
            history.push(sent(seq), now);
        }
        assert_eq!(history.find(65_530).map(|s| s.seq), Some(65_530));
        assert_eq!(history.find(5).map(|s| s.seq), Some(65_541));
        assert!(history.find(1000).is_none(), "not sent yet");
    }

    #[test]
    fn packet_is_sent_again_at_most_three_times_and_not_before_an_answer_can_arrive() {
        let t0 = Instant::now();
        let mut history = History::default();
        history.push(sent(7), t0);
        assert!(history.take(7, MS(50), t0));
        assert!(!history.take(7, MS(50), t0 + MS(40)));
        assert!(history.take(7, MS(50), t0 + MS(60)));
        assert!(history.take(7, MS(50), t0 + MS(120)));
        assert!(!history.take(7, MS(50), t0 + MS(999)));
    }

    #[test]
    fn memory_grows_to_cover_a_second_and_no_further() {
        let t0 = Instant::now();
        let mut history = History::default();
        for seq in 0..5000u64 {
            history.push(sent(seq), t0 + MS(seq));
        }
        assert_eq!(history.slots.len(), 1024);
        assert!(history.find((5000 - 900) as u16).is_some());
        for seq in 5000..50_000u64 {
            history.push(sent(seq), t0 + MS(5000));
        }
        assert_eq!(history.slots.len(), MAX);
    }
}
