//! What was sent and is not yet reported on: a ring of twelve bytes a packet.
//!
//! It starts small and doubles, up to [`MAX_PACKETS`], only while reports do come and have not yet come to the
//! packet whose place is needed, and halves when they have come to what the half would forget, so that it settles
//! at the size that rate and round trip ask for. A receiver that reports on packets never sent, or twice, finds nothing.

use std::time::Duration;

use super::units::Stamp;

/// Most packets remembered: two seconds of 20 Mbit/s.
pub const MAX_PACKETS: usize = 4096;
const FIRST_PACKETS: usize = 256;
/// A packet older than this gets no report any more.
const MAX_AGE: Duration = Duration::from_secs(4);

/// Which probe cluster a packet belongs to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Cluster(pub u8);

/// A packet as it was sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub at: Stamp,
    pub bytes: u16,
    pub cluster: Option<Cluster>,
    /// Milliseconds it was to wait behind what was sent before it.
    pub expected_ms: u16,
}

/// What a report says about a packet for the first time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    Arrived(Sent),
    /// It had been reported as lost and arrived after all.
    ArrivedLate(Sent),
    Lost(Sent),
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Unused,
    InFlight,
    Lost,
    Arrived,
}

/// Send time modulo 2³² µs, which is unambiguous for 71 minutes.
#[derive(Copy, Clone, Debug, Default)]
struct Entry {
    at: u32,
    bytes: u16,
    expected_ms: u16,
    cluster: u8,
    state: State,
}

#[derive(Debug)]
pub(super) struct History {
    entries: Vec<Entry>,
    /// Extended number after the newest packet's.
    next: u64,
    /// Places in use, ending before `next`.
    len: usize,
    newest: Stamp,
    /// The highest number that was reported on; what is below is awaited no more.
    reported: Option<u64>,
}

impl History {
    pub fn new() -> Self {
        Self {
            entries: vec![Entry::default(); FIRST_PACKETS],
            next: 0,
            len: 0,
            newest: Stamp::default(),
            reported: None,
        }
    }

    /// Remember a packet; numbers grow, and gaps between them are packets of nobody.
    pub fn push(&mut self, seq: u64, sent: Sent) {
        if self.len > 0 && seq < self.next {
            return;
        }
        if self.len == 0 || seq - self.next >= self.entries.len() as u64 {
            self.len = 0;
            self.next = seq;
        }
        while self.next < seq {
            self.append(Entry::default());
        }
        self.newest = self.newest.max(sent.at);
        self.append(Entry {
            at: sent.at.as_micros() as u32,
            bytes: sent.bytes,
            expected_ms: sent.expected_ms,
            cluster: sent.cluster.map_or(0, |cluster| cluster.0),
            state: State::InFlight,
        });
    }

    /// Whether a report said that the packet whose number has these low 16 bits arrived.
    pub fn has_arrived(&self, low: u16) -> bool {
        let entry = self.find(low).map(|seq| self.entries[self.index(seq)]);
        entry.is_some_and(|entry| entry.state == State::Arrived)
    }

    /// Take a report on the packet whose number has these low 16 bits.
    pub fn report(&mut self, low: u16, arrived: bool) -> Option<News> {
        let seq = self.find(low)?;
        self.reported = self.reported.max(Some(seq));
        let sent_by = self.newest;
        let index = self.index(seq);
        let entry = &mut self.entries[index];
        let age = (sent_by.as_micros() as u32).wrapping_sub(entry.at);
        let sent = Sent {
            at: Stamp::from_micros(sent_by.as_micros() - i64::from(age)),
            bytes: entry.bytes,
            expected_ms: entry.expected_ms,
            cluster: (entry.cluster != 0).then_some(Cluster(entry.cluster)),
        };
        match (entry.state, arrived) {
            (State::InFlight, true) => {
                entry.state = State::Arrived;
                Some(News::Arrived(sent))
            }
            (State::Lost, true) => {
                entry.state = State::Arrived;
                Some(News::ArrivedLate(sent))
            }
            (State::InFlight, false) => {
                entry.state = State::Lost;
                Some(News::Lost(sent))
            }
            _ => None,
        }
    }

    fn append(&mut self, entry: Entry) {
        if self.len == self.entries.len() {
            let seq = self.next - self.len as u64;
            let oldest = self.entries[self.index(seq)];
            let age = (self.newest.as_micros() as u32).wrapping_sub(oldest.at);
            let awaited = oldest.state == State::InFlight
                && Duration::from_micros(age.into()) < MAX_AGE
                && self.reported.is_some_and(|reported| seq > reported);
            if awaited && self.len < MAX_PACKETS {
                self.resize(self.entries.len() * 2);
            } else {
                self.len -= 1;
            }
        }
        let half = self.entries.len() / 2;
        // Once a turn. A quarter stays to spare, or it would grow and shrink in turn.
        if half >= FIRST_PACKETS && self.index(self.next) == 0 {
            let told = |reported: u64| self.next.saturating_sub(reported) <= half as u64 * 3 / 4;
            if self.reported.is_some_and(told) {
                self.len = self.len.min(half);
                self.resize(half);
            }
        }
        let index = self.index(self.next);
        self.entries[index] = entry;
        self.next += 1;
        self.len += 1;
    }

    /// Keep what is in use, in so many places: a power of two.
    fn resize(&mut self, places: usize) {
        let mut entries = vec![Entry::default(); places];
        let mask = places as u64 - 1;
        for seq in self.next - self.len as u64..self.next {
            entries[(seq & mask) as usize] = self.entries[self.index(seq)];
        }
        self.entries = entries;
    }

    /// The number of which these are the low 16 bits, if its packet is remembered.
    fn find(&self, low: u16) -> Option<u64> {
        let back = u64::from((self.next as u16).wrapping_sub(low));
        (1..=self.len as u64)
            .contains(&back)
            .then(|| self.next - back)
    }

    fn index(&self, seq: u64) -> usize {
        (seq & (self.entries.len() as u64 - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ms: i64) -> Sent {
        Sent {
            at: Stamp::from_micros(ms * 1000),
            bytes: 1200,
            cluster: None,
            expected_ms: 0,
        }
    }

    #[test]
    fn report_finds_its_packet_across_the_wrap_of_16_bits() {
        let mut history = History::new();
        for seq in 65_500..65_600 {
            history.push(seq, sent(seq as i64));
        }
        let news = history.report(65_510, true);
        assert_eq!(news, Some(News::Arrived(sent(65_510))));
        assert_eq!(history.report(9, true), Some(News::Arrived(sent(65_545))));
    }

    #[test]
    fn packet_never_sent_or_forgotten_or_reported_twice_is_no_news() {
        let mut history = History::new();
        assert_eq!(history.report(7, true), None);
        for seq in 0..300 {
            history.push(seq, sent(0));
        }
        assert_eq!(history.report(300, true), None, "not sent yet");
        assert_eq!(history.report(3, true), None, "overwritten");
        assert!(history.report(299, true).is_some());
        assert_eq!(history.report(299, true), None);
        assert_eq!(history.report(299, false), None);
    }

    #[test]
    fn packet_has_arrived_once_a_report_says_so() {
        let mut history = History::new();
        for seq in 65_530..65_540 {
            history.push(seq, sent(0));
        }
        history.report(65_535, true);
        history.report(0, false);
        let arrived = [65_534, 65_535, 0, 4, 9].map(|low| history.has_arrived(low));
        assert_eq!(arrived, [false, true, false, false, false]);
        history.report(0, true);
        assert!(history.has_arrived(0), "late");
    }

    #[test]
    fn lost_packet_may_arrive_late() {
        let mut history = History::new();
        history.push(1, sent(5));
        assert_eq!(history.report(1, false), Some(News::Lost(sent(5))));
        assert_eq!(history.report(1, false), None);
        assert_eq!(history.report(1, true), Some(News::ArrivedLate(sent(5))));
    }

    #[test]
    fn grows_for_packets_in_flight_only_up_to_its_bound() {
        let mut history = History::new();
        history.push(0, sent(0));
        history.report(0, true);
        for seq in 1..10_000 {
            history.push(seq, sent(0));
        }
        assert_eq!(history.entries.len(), MAX_PACKETS);
        assert!(history.report(9_999_u16.wrapping_sub(4000), true).is_some());

        let mut unreported = History::new();
        for seq in 0..10_000 {
            unreported.push(seq, sent(0));
        }
        assert_eq!(unreported.entries.len(), FIRST_PACKETS);
    }

    #[test]
    fn shrinks_when_reports_come_soon_again_and_forgets_nothing_that_is_awaited() {
        let mut history = History::new();
        history.push(0, sent(0));
        history.report(0, true);
        for seq in 1..1000 {
            history.push(seq, sent(0));
        }
        assert_eq!(history.entries.len(), 1024);
        for seq in 1000..5000_u64 {
            history.push(seq, sent(0));
            let told = seq - 150;
            assert_eq!(
                history.report(told as u16, true),
                Some(News::Arrived(sent(0))),
                "{told}"
            );
        }
        assert_eq!(history.entries.len(), FIRST_PACKETS);
    }

    #[test]
    fn numbers_that_jump_far_start_over() {
        let mut history = History::new();
        history.push(1, sent(1));
        history.push(1_000_000, sent(2));
        assert_eq!(history.report(1, true), None);
        assert!(history.report(1_000_000_u64 as u16, true).is_some());
    }
}
