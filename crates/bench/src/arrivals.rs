//! When packets arrived, across all streams: transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use stagecast_proto::rtcp::{Twcc, TwccHeader};

/// Packets remembered between two feedbacks.
const MAX: usize = Twcc::MAX_STATUSES;

/// Arrivals since the last feedback.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Number of the first in `times`, extended past 16 bits.
    base: Option<i64>,
    /// Microseconds; `None` has not come.
    times: Vec<Option<i64>>,
    statuses: Vec<Option<i16>>,
    count: u8,
}

impl Arrivals {
    /// Transport number `seq` came at `micros` of an even clock.
    pub fn record(&mut self, seq: u16, micros: i64) {
        let base = *self.base.get_or_insert(i64::from(seq));
        let newest = base + self.times.len() as i64;
        let full = newest + i64::from(seq.wrapping_sub(newest as u16) as i16);
        // One that a feedback has already called lost stays so.
        let Ok(index) = usize::try_from(full - base) else {
            return;
        };
        if index >= MAX {
            return;
        }
        if self.times.len() <= index {
            self.times.resize(index + 1, None);
        }
        self.times[index] = Some(micros);
    }

    /// Append feedback on everything since the last one; nothing if nothing came.
    pub fn write(&mut self, out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
        while let (Some(base), Some(first)) = (self.base, self.times.iter().flatten().next()) {
            let reference = first.div_euclid(Twcc::REFERENCE_MICROS);
            let header = TwccHeader {
                sender_ssrc,
                media_ssrc,
                base_sequence: base as u16,
                reference_time: ((reference as i32) << 8) >> 8,
                feedback_count: self.count,
            };
            self.count = self.count.wrapping_add(1);
            self.deltas(reference * Twcc::REFERENCE_MICROS / Twcc::TICK_MICROS);
            let taken = Twcc::write(out, &header, &self.statuses).max(1);
            self.times.drain(..taken);
            self.base = Some(base + taken as i64);
        }
        // Only losses are left; they go with the next packet that comes.
    }

    /// Ticks between arrivals, up to the first that does not fit.
    fn deltas(&mut self, mut last: i64) {
        self.statuses.clear();
        for time in &self.times {
            let Some(micros) = time else {
                self.statuses.push(None);
                continue;
            };
            let ticks = micros.div_euclid(Twcc::TICK_MICROS);
            let Ok(delta) = i16::try_from(ticks - last) else {
                return;
            };
            last = ticks;
            self.statuses.push(Some(delta));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stagecast_proto::rtcp::{Compound, Packet};

    /// Numbers and arrival times that a sender reads.
    fn read(bytes: &[u8]) -> Vec<(u16, Option<i64>)> {
        let mut all = Vec::new();
        for packet in Compound::new(bytes) {
            let Ok(Packet::Twcc(twcc)) = packet else {
                panic!("{packet:?} is no feedback")
            };
            let mut at = i64::from(twcc.header.reference_time) * Twcc::REFERENCE_MICROS;
            for (seq, delta) in twcc.packets() {
                let time = delta.map(|d| {
                    at += i64::from(d) * Twcc::TICK_MICROS;
                    at
                });
                all.push((seq, time));
            }
        }
        all
    }

    #[test]
    fn sender_reads_what_arrived_when() {
        let mut arrivals = Arrivals::default();
        arrivals.record(65_535, 1_000_000);
        arrivals.record(1, 1_002_000);
        arrivals.record(2, 1_001_000);
        let mut out = Vec::new();
        arrivals.write(&mut out, 1, 2);
        let expected = [
            (65_535, Some(1_000_000)),
            (0, None),
            (1, Some(1_002_000)),
            (2, Some(1_001_000)),
        ];
        assert_eq!(read(&out), expected);
        let mut again = Vec::new();
        arrivals.write(&mut again, 1, 2);
        assert!(again.is_empty());
    }

    #[test]
    fn long_pause_makes_a_second_feedback() {
        let mut arrivals = Arrivals::default();
        arrivals.record(7, 0);
        arrivals.record(8, 60_000_000);
        let mut out = Vec::new();
        arrivals.write(&mut out, 1, 2);
        assert_eq!(Compound::new(&out).count(), 2);
        assert_eq!(read(&out)[1], (8, Some(60_000_000)));
    }

    proptest! {
        #[test]
        fn any_order_of_numbers_and_times_ends(
            packets in prop::collection::vec((any::<u16>(), 0i64..1 << 40), 0..200),
        ) {
            let mut arrivals = Arrivals::default();
            for (seq, micros) in packets {
                arrivals.record(seq, micros);
            }
            let mut out = Vec::new();
            arrivals.write(&mut out, 1, 2);
            prop_assert!(Compound::new(&out).all(|p| p.is_ok()));
            prop_assert!(arrivals.times.iter().flatten().next().is_none());
        }
    }
}
