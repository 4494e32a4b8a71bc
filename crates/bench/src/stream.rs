//! What was received of one SSRC: loss, recovery, order, jitter, as a browser counts.
//!
//! Sequence numbers and timestamps stand in the clear RTP header, so nothing here needs
//! a packet's content. Loss is counted twice: raw, when a later packet shows the gap,
//! and for good, when nobody filled it within [`GIVE_UP`].

use std::time::{Duration, Instant};

use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::rtcp::ReportBlock;

/// A missing packet is asked for this long after it was noticed …
const FIRST_ASK: Duration = Duration::from_millis(5);
/// … and again after this, doubling,
const ASK_AGAIN: Duration = Duration::from_millis(40);
/// … so often,
const MAX_ASKS: u8 = 6;
/// … until the decoder would have gone on without it.
pub const GIVE_UP: Duration = Duration::from_secs(1);
/// Missing packets that are tracked; a longer gap is a break.
const MAX_MISSING: usize = 1024;
/// A jump of this many packets is a new start, not a gap.
const MAX_GAP: i64 = 3000;

/// Where a packet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Newer than all before.
    New(i64),
    /// It was missing.
    Filled(i64),
    /// Came before, or too late.
    Stale,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    seq: i64,
    since: Instant,
    next_ask: Instant,
    asks: u8,
}

/// Counters that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Media packets received.
    pub packets: u64,
    /// Packets that should have come.
    pub expected: u64,
    /// Packets that were missing when a later one came.
    pub missed: u64,
    /// Of those, packets that came after all.
    pub filled: u64,
    /// Of those, packets that never came.
    pub lost: u64,
    /// Packets that came twice, or after being given up.
    pub stale: u64,
}

/// One SSRC.
#[derive(Debug)]
pub struct Stream {
    /// Its identity.
    pub ssrc: u32,
    /// What it carries.
    pub codec: Codec,
    /// Counters.
    pub counts: Counts,
    /// Highest number that came, extended past 16 bits.
    pub newest: i64,
    first: i64,
    missing: Vec<Missing>,
    jitter: f64,
    transit: Option<f64>,
    reported: (u64, u64),
    /// Middle bits of the last sender report, and when it came.
    sender_report: Option<(u32, Instant)>,
}

impl Stream {
    /// A stream whose first packet has this number.
    pub fn new(ssrc: u32, codec: Codec, seq: u16) -> Self {
        let first = i64::from(seq) + (1 << 16);
        Self {
            ssrc,
            codec,
            counts: Counts::default(),
            newest: first - 1,
            first,
            missing: Vec::new(),
            jitter: 0.0,
            transit: None,
            reported: (0, 0),
            sender_report: None,
        }
    }

    /// Audio or video.
    pub fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// The full number nearest to the newest.
    pub fn extend(&self, seq: u16) -> i64 {
        self.newest + i64::from(seq.wrapping_sub(self.newest as u16) as i16)
    }

    /// A media packet came, at `at` Unix nanoseconds.
    pub fn receive(&mut self, seq: u16, timestamp: u32, at: i64, now: Instant) -> Place {
        let place = self.place(self.extend(seq), now);
        match place {
            Place::New(_) => {
                self.counts.packets += 1;
                self.measure_jitter(timestamp, at);
            }
            Place::Filled(_) => self.counts.packets += 1,
            Place::Stale => self.counts.stale += 1,
        }
        place
    }

    /// The packet `seq` came as a retransmission (RFC 4588).
    pub fn recover(&mut self, seq: u16) -> Option<i64> {
        let seq = self.extend(seq);
        self.fill(seq).then_some(seq)
    }

    fn place(&mut self, seq: i64, now: Instant) -> Place {
        let step = seq - self.newest;
        if !(-MAX_GAP..=MAX_GAP).contains(&step) {
            // Another sender took over: what came before is no longer awaited.
            self.counts.lost += self.missing.len() as u64;
            self.missing.clear();
            self.newest = seq;
            self.first = seq;
            self.counts.expected += 1;
            return Place::New(seq);
        }
        if step <= 0 {
            return if self.fill(seq) {
                Place::Filled(seq)
            } else {
                Place::Stale
            };
        }
        let gap = step as u64 - 1;
        self.counts.expected += gap + 1;
        self.counts.missed += gap;
        for missing in self.newest + 1..seq {
            if self.missing.len() == MAX_MISSING {
                self.counts.lost += 1;
                continue;
            }
            self.missing.push(Missing {
                seq: missing,
                since: now,
                next_ask: now + FIRST_ASK,
                asks: 0,
            });
        }
        self.newest = seq;
        Place::New(seq)
    }

    fn fill(&mut self, seq: i64) -> bool {
        let Ok(at) = self.missing.binary_search_by_key(&seq, |m| m.seq) else {
            return false;
        };
        self.missing.remove(at);
        self.counts.filled += 1;
        true
    }

    /// All packets up to this one came, or were given up.
    pub fn contiguous(&self) -> i64 {
        self.missing.first().map_or(self.newest, |m| m.seq - 1)
    }

    /// Forget what will not come; the newest number given up.
    pub fn give_up(&mut self, now: Instant) -> Option<i64> {
        let old = |m: &Missing| now >= m.since + GIVE_UP;
        let last = self.missing.iter().rev().find(|m| old(m)).map(|m| m.seq)?;
        let before = self.missing.len();
        self.missing.retain(|m| !old(m));
        self.counts.lost += (before - self.missing.len()) as u64;
        Some(last)
    }

    /// Numbers to ask for now (RFC 4585 §6.2.1), ascending.
    pub fn take_due(&mut self, now: Instant, out: &mut Vec<u16>) {
        for missing in &mut self.missing {
            if missing.asks < MAX_ASKS && missing.next_ask <= now {
                missing.next_ask = now + ASK_AGAIN * (1 << missing.asks.min(4));
                missing.asks += 1;
                out.push(missing.seq as u16);
            }
        }
    }

    /// When [`Stream::take_due`] or [`Stream::give_up`] has something to do.
    pub fn wake(&self) -> Option<Instant> {
        let due = |m: &Missing| {
            if m.asks < MAX_ASKS {
                m.next_ask.min(m.since + GIVE_UP)
            } else {
                m.since + GIVE_UP
            }
        };
        self.missing.iter().map(due).min()
    }

    /// A sender report of this SSRC came.
    pub fn on_sender_report(&mut self, middle: u32, now: Instant) {
        self.sender_report = Some((middle, now));
    }

    /// What a receiver report says (RFC 3550 §6.4.1); starts the next interval.
    pub fn report(&mut self, now: Instant) -> ReportBlock {
        let (expected, received) = (
            self.counts.expected - self.reported.0,
            self.counts.packets - self.reported.1,
        );
        self.reported = (self.counts.expected, self.counts.packets);
        let lost = expected.saturating_sub(received);
        let (lsr, dlsr) = self.sender_report.map_or((0, 0), |(middle, at)| {
            let since = now.saturating_duration_since(at).as_micros() as u64;
            (middle, stagecast_proto::ntp::short_from_micros(since))
        });
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            cumulative_lost: (self.counts.expected as i64 - self.counts.packets as i64) as i32,
            highest_sequence: (self.newest - (1 << 16)) as u32,
            jitter: self.jitter as u32,
            lsr,
            dlsr,
        }
    }

    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub fn jitter_ms(&self) -> f64 {
        self.jitter * 1e3 / f64::from(self.codec.clock_rate())
    }

    fn measure_jitter(&mut self, timestamp: u32, at: i64) {
        let rate = f64::from(self.codec.clock_rate());
        let transit = (at as f64 / 1e9 * rate) - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let change = (transit - before).abs();
            // A wrapped timestamp is no jitter.
            if change < rate * 5.0 {
                self.jitter += (change - self.jitter) / 16.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(stream: &mut Stream, seqs: impl IntoIterator<Item = u16>, now: Instant) {
        for seq in seqs {
            stream.receive(seq, 0, 0, now);
        }
    }

    #[test]
    fn gap_is_raw_loss_and_a_late_packet_fills_it() {
        let now = Instant::now();
        let mut stream = Stream::new(1, Codec::H264, 65_534);
        feed(&mut stream, [65_534, 65_535, 2, 3], now);
        assert_eq!((stream.counts.expected, stream.counts.missed), (6, 2));
        assert_eq!(stream.contiguous(), (1 << 16) + 65_535);
        assert_eq!(stream.receive(0, 0, 0, now), Place::Filled(2 << 16));
        assert_eq!(stream.recover(1), Some((2 << 16) + 1));
        assert_eq!(stream.recover(1), None);
        assert_eq!(stream.contiguous(), stream.newest);
        assert_eq!((stream.counts.filled, stream.counts.lost), (2, 0));
    }

    #[test]
    fn missing_packet_is_asked_for_soon_then_less_often_then_given_up() {
        let start = Instant::now();
        let mut stream = Stream::new(1, Codec::H264, 10);
        feed(&mut stream, [10, 12], start);
        let mut asked = Vec::new();
        let mut given_up = None;
        for ms in 0..1200 {
            let now = start + Duration::from_millis(ms);
            let before = asked.len();
            let mut list = Vec::new();
            stream.take_due(now, &mut list);
            asked.extend(list.iter().map(|seq| (*seq, ms)));
            assert!(asked.len() - before <= 1);
            if let Some(seq) = stream.give_up(now) {
                given_up = Some((seq, ms));
            }
        }
        assert_eq!(asked[0], (11, 5));
        assert_eq!(asked[1], (11, 45));
        assert!(asked.len() >= 4 && asked.len() <= usize::from(MAX_ASKS));
        assert_eq!(given_up, Some(((1 << 16) + 11, 1000)));
        assert_eq!(stream.counts.lost, 1);
        assert_eq!(stream.wake(), None);
    }

    #[test]
    fn report_counts_loss_since_the_last_one() {
        let now = Instant::now();
        let mut stream = Stream::new(9, Codec::Opus, 0);
        feed(&mut stream, [0, 1, 3], now);
        let first = stream.report(now);
        assert_eq!((first.fraction_lost, first.cumulative_lost), (64, 1));
        feed(&mut stream, [4, 5], now);
        let second = stream.report(now);
        assert_eq!((second.fraction_lost, second.cumulative_lost), (0, 1));
        assert_eq!(second.highest_sequence, 5);
    }

    #[test]
    fn jump_of_thousands_is_a_new_start_not_a_loss() {
        let now = Instant::now();
        let mut stream = Stream::new(1, Codec::Vp8, 1);
        feed(&mut stream, [1, 2, 20_000, 20_001], now);
        assert_eq!((stream.counts.missed, stream.counts.expected), (0, 4));
    }

    proptest! {
        #[test]
        fn counts_always_add_up(seqs in prop::collection::vec(any::<u16>(), 1..500)) {
            let now = Instant::now();
            let mut stream = Stream::new(1, Codec::Vp8, seqs[0]);
            feed(&mut stream, seqs, now);
            stream.give_up(now + GIVE_UP);
            let c = stream.counts;
            prop_assert_eq!(c.missed, c.filled + c.lost);
            prop_assert_eq!(c.expected + c.filled, c.packets + c.missed);
            prop_assert!(stream.missing.is_empty());
        }
    }
}
