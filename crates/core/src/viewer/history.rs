//! What was sent, so that it can be sent again: for each packet where the hub
//! has it and how this viewer saw it. The payload itself is never kept here.

use std::time::{Duration, Instant};

use crate::hub::{Origin, Patch};

/// Packets remembered at first, which is enough for 2 Mbit/s: growing from less would leave holes in memory.
const INITIAL: usize = 256;
/// Packets remembered at most.
const MAX: usize = 2048;
/// Time that should be covered: two long round trips. What is repaired later, no player waits for.
const COVER: Duration = Duration::from_millis(700);

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
    /// Low bits of the sequence number.
    seq: u32,
    timestamp: u32,
    origin: Origin,
    /// Milliseconds of the history's clock.
    at: u32,
    /// Milliseconds after `at`.
    resent_after: u16,
    resends: u8,
    /// Low bits of the transport-wide number that it was last sent again with.
    resent_as: u16,
    rtx_pt: u8,
    marker: bool,
    /// It left after the one that follows it, so that the first request for it means nothing.
    overtaken: bool,
    patch: Option<Patch>,
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
        let seq = sent.seq as u32;
        let cover = COVER.as_millis() as u32;
        let young = |old: &Slot| old.seq != seq && at.saturating_sub(old.at) < cover;
        let index = self.index(seq);
        if self.slots.len() < MAX && self.slots[index].as_ref().is_some_and(young) {
            self.resize((self.slots.len() * 3 / 2).min(MAX));
        } else if index == 0 && self.slots.len() > INITIAL {
            // Once a turn: a start that caught up with live took more room than what follows does. A quarter
            // stays to spare, or it would grow and shrink in turn.
            let fewer = (self.slots.len() * 2 / 3).max(INITIAL);
            let oldest = self.index(seq.wrapping_sub(fewer as u32 * 3 / 4));
            if !self.slots[oldest].as_ref().is_some_and(young) {
                self.resize(fewer);
            }
        }
        self.newest = self.newest.max(sent.seq);
        let index = self.index(seq);
        self.slots[index] = Some(Slot {
            seq,
            timestamp: sent.timestamp,
            origin: sent.origin,
            at,
            resent_after: 0,
            resends: 0,
            resent_as: 0,
            rtx_pt: sent.rtx_pt,
            marker: sent.marker,
            overtaken: false,
            patch: sent.patch,
        });
    }

    /// A packet left after the one that follows it.
    pub fn overtaken(&mut self, seq: u64) {
        if let Some(slot) = self.slot(seq) {
            slot.overtaken = true;
        }
    }

    /// The packet with this 16-bit number.
    pub fn find(&self, lost: u16) -> Option<Sent> {
        let behind = (self.newest as u16).wrapping_sub(lost);
        self.recent(behind.into())
    }

    /// The newest packet but `back`.
    pub fn recent(&self, back: u64) -> Option<Sent> {
        let seq = self.newest.checked_sub(back)?;
        let slot = self.slots.get(self.index(seq as u32))?.as_ref()?;
        (slot.seq == seq as u32).then_some(Sent {
            seq,
            timestamp: slot.timestamp,
            marker: slot.marker,
            rtx_pt: slot.rtx_pt,
            origin: slot.origin,
            patch: slot.patch,
        })
    }

    /// The newest packet.
    pub fn newest(&self) -> Option<Sent> {
        self.recent(0)
    }

    /// Whether a packet may be sent again now, `most` times in all.
    ///
    /// A request that repeats before an answer can have arrived is ignored, and so is the first one for a packet
    /// that was overtaken.
    pub fn may_resend(&mut self, seq: u64, rtt: Duration, most: u8, now: Instant) -> bool {
        let now = self.millis(now);
        let patience = (rtt.as_millis() as u32).clamp(10, 100);
        self.slot(seq).is_some_and(|slot| {
            if std::mem::take(&mut slot.overtaken) {
                return false;
            }
            let answered = slot.at + u32::from(slot.resent_after) + patience;
            slot.resends < most && (slot.resends == 0 || now >= answered)
        })
    }

    /// A packet is sent again now.
    pub fn resent(&mut self, seq: u64, now: Instant) {
        let now = self.millis(now);
        if let Some(slot) = self.slot(seq) {
            slot.resends += 1;
            slot.resent_after = u16::try_from(now.saturating_sub(slot.at)).unwrap_or(u16::MAX);
        }
    }

    /// The transport-wide number of the copy that left last.
    pub fn number(&mut self, seq: u64, number: u16) {
        if let Some(slot) = self.slot(seq) {
            slot.resent_as = number;
        }
    }

    /// The low 16 bits of the transport-wide number that a packet was last sent again with, if it was.
    pub fn resent_as(&mut self, seq: u64) -> Option<u16> {
        let slot = self.slot(seq).filter(|slot| slot.resends > 0)?;
        Some(slot.resent_as)
    }

    /// The transmission of a packet after so many others of it is lost: whether it was the last. Then the
    /// packet may be sent again at once.
    pub fn is_missing(&mut self, lost: u16, resends: u8) -> bool {
        let behind = (self.newest as u16).wrapping_sub(lost);
        let Some(seq) = self.newest.checked_sub(behind.into()) else {
            return false;
        };
        let Some(slot) = self.slot(seq).filter(|s| s.resends == resends) else {
            return false;
        };
        slot.resent_after = 0;
        true
    }

    /// How often a packet has been sent again.
    pub fn resends(&self, seq: u64) -> u8 {
        let slot = self.slots.get(self.index(seq as u32));
        let slot = slot.and_then(Option::as_ref);
        slot.filter(|s| s.seq == seq as u32)
            .map_or(0, |s| s.resends)
    }

    /// What is known of a packet, if it still is.
    fn slot(&mut self, seq: u64) -> Option<&mut Slot> {
        let index = self.index(seq as u32);
        let slot = self.slots.get_mut(index).and_then(Option::as_mut);
        slot.filter(|s| s.seq == seq as u32)
    }

    /// The place of a packet.
    fn index(&self, seq: u32) -> usize {
        seq.checked_rem(self.slots.len() as u32).unwrap_or(0) as usize
    }

    fn millis(&mut self, now: Instant) -> u32 {
        let began = *self.began.get_or_insert(now);
        now.saturating_duration_since(began).as_millis() as u32
    }

    /// Keep the newest packets, in so many places.
    fn resize(&mut self, places: usize) {
        let old = std::mem::replace(&mut self.slots, vec![None; places]);
        let oldest = (self.newest as u32).wrapping_sub(places as u32);
        for slot in old.into_iter().flatten() {
            if slot.seq.wrapping_sub(oldest) as i32 > 0 {
                let index = self.index(slot.seq);
                self.slots[index] = Some(slot);
            }
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

    const MOST: u8 = 3;

    /// Send a packet again if that may be.
    fn take(history: &mut History, seq: u64, now: Instant) -> bool {
        let may = history.may_resend(seq, MS(50), MOST, now);
        if may {
            history.resent(seq, now);
        }
        may
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
    fn packet_is_sent_again_so_often_at_most_and_not_before_an_answer_can_arrive() {
        let t0 = Instant::now();
        let mut history = History::default();
        history.push(sent(7), t0);
        assert!(take(&mut history, 7, t0));
        assert!(!take(&mut history, 7, t0 + MS(40)));
        for again in 1..u64::from(MOST) {
            assert!(take(&mut history, 7, t0 + MS(60 * again)));
        }
        assert!(!take(&mut history, 7, t0 + MS(999)));
    }

    #[test]
    fn copy_that_left_last_is_known_by_its_number() {
        let t0 = Instant::now();
        let mut history = History::default();
        history.push(sent(7), t0);
        assert_eq!(history.resent_as(7), None);
        for number in [12, 40_000] {
            assert!(take(&mut history, 7, t0 + MS(number)));
            history.number(7, number as u16);
            assert_eq!(history.resent_as(7), Some(number as u16));
        }
    }

    #[test]
    fn first_request_for_a_packet_that_was_overtaken_is_ignored() {
        let t0 = Instant::now();
        let mut history = History::default();
        history.push(sent(7), t0);
        history.push(sent(8), t0);
        history.overtaken(7);
        assert!(!take(&mut history, 7, t0 + MS(50)));
        assert!(take(&mut history, 7, t0 + MS(120)), "it really is lost");
        assert!(take(&mut history, 8, t0 + MS(50)));
    }

    #[test]
    fn packet_whose_last_transmission_is_lost_may_be_sent_again_at_once() {
        let t0 = Instant::now();
        let mut history = History::default();
        for seq in 65_500..65_700 {
            history.push(sent(seq), t0);
        }
        assert!(history.is_missing(64, 0));
        assert!(take(&mut history, 65_600, t0 + MS(100)));
        assert_eq!(history.resends(65_600), 1);
        assert!(!history.is_missing(64, 0), "it is on its way again");
        assert!(!take(&mut history, 65_600, t0 + MS(120)));
        assert!(history.is_missing(64, 1));
        assert!(take(&mut history, 65_600, t0 + MS(120)), "lost once more");
        assert!(!history.is_missing(1000, 0), "not sent yet");
        assert!(!History::default().is_missing(7, 0));
    }

    #[test]
    fn memory_grows_to_cover_some_time_and_no_further() {
        let t0 = Instant::now();
        let mut history = History::default();
        for seq in 0..5000u64 {
            history.push(sent(seq), t0 + MS(seq));
        }
        assert_eq!(history.slots.len(), 864);
        assert!(history.find((5000 - 700) as u16).is_some());
        for seq in 5000..50_000u64 {
            history.push(sent(seq), t0 + MS(5000));
        }
        assert_eq!(history.slots.len(), MAX);
    }

    #[test]
    fn memory_shrinks_after_a_burst() {
        let t0 = Instant::now();
        let mut history = History::default();
        for seq in 0..3000u64 {
            history.push(sent(seq), t0);
        }
        assert_eq!(history.slots.len(), MAX);
        let at = |seq: u64| t0 + MS(seq * 4);
        for seq in 3000..12_000u64 {
            history.push(sent(seq), at(seq));
        }
        assert_eq!(history.slots.len(), 256);
        for seq in 11_800..12_000u64 {
            assert_eq!(history.find(seq as u16).map(|s| s.seq), Some(seq));
        }
    }
}
