//! Packets sent together, and how the time between two such groups changed on the way
//! (draft-ietf-rmcat-gcc-02 §5.2).
//!
//! Single packets are noisy, so those sent within 5 ms count as one; packets that left the
//! bottleneck back to back after waiting join the group too, for a link that pauses and then releases
//! what it held says nothing about its rate.

use super::units::Stamp;

const GROUP_US: i64 = 5_000;
const BURST_US: i64 = 5_000;
const MAX_BURST_US: i64 = 100_000;
/// Groups that arrive before their predecessor until the receiver's clock is taken as reset.
const MAX_REORDERED: u8 = 3;

/// How the distance between two groups changed.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) struct Variation {
    /// Milliseconds between the groups when sent.
    pub sent_ms: f64,
    /// Milliseconds that the later group was delayed more than the earlier.
    pub delay_ms: f64,
    /// Arrival of the later group's last packet.
    pub arrival: Stamp,
}

#[derive(Copy, Clone, Debug)]
struct Group {
    first_sent: Stamp,
    last_sent: Stamp,
    first_arrival: Stamp,
    last_arrival: Stamp,
}

impl Group {
    fn of(sent: Stamp, arrival: Stamp) -> Self {
        Self {
            first_sent: sent,
            last_sent: sent,
            first_arrival: arrival,
            last_arrival: arrival,
        }
    }

    fn takes(&self, sent: Stamp, arrival: Stamp) -> bool {
        let sent_delta = sent.micros_since(self.last_sent);
        if sent_delta == 0 {
            return true;
        }
        let arrival_delta = arrival.micros_since(self.last_arrival);
        let in_burst = arrival_delta - sent_delta < 0
            && arrival_delta <= BURST_US
            && arrival.micros_since(self.first_arrival) < MAX_BURST_US;
        in_burst || sent.micros_since(self.first_sent) <= GROUP_US
    }
}

/// Makes groups of packets, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Groups {
    previous: Option<Group>,
    current: Option<Group>,
    reordered: u8,
}

impl Groups {
    /// A packet arrived. When it begins a group, the two before it are compared.
    pub fn on_arrival(&mut self, sent: Stamp, arrival: Stamp) -> Option<Variation> {
        // Whole milliseconds, as a burst handed to the kernel at once is stamped over some µs.
        let sent = Stamp::from_micros((sent.as_micros() + 500).div_euclid(1000) * 1000);
        let Some(current) = &mut self.current else {
            self.current = Some(Group::of(sent, arrival));
            return None;
        };
        if sent < current.first_sent {
            return None;
        }
        if current.takes(sent, arrival) {
            current.last_sent = current.last_sent.max(sent);
            current.last_arrival = current.last_arrival.max(arrival);
            return None;
        }
        let complete = *current;
        self.current = Some(Group::of(sent, arrival));
        let previous = self.previous.replace(complete)?;
        let arrival_ms = complete.last_arrival.ms_since(previous.last_arrival);
        if arrival_ms < 0.0 {
            self.reordered += 1;
            if self.reordered >= MAX_REORDERED {
                *self = Self::default();
            }
            return None;
        }
        self.reordered = 0;
        let sent_ms = complete.last_sent.ms_since(previous.last_sent);
        Some(Variation {
            sent_ms,
            delay_ms: arrival_ms - sent_ms,
            arrival: complete.last_arrival,
        })
    }

    /// What comes next is not to be compared with what came before.
    pub fn interrupt(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: f64) -> Stamp {
        Stamp::from_micros((ms * 1000.0) as i64)
    }

    #[test]
    fn packets_of_a_frame_are_one_group() {
        let mut groups = Groups::default();
        for frame in 0..3 {
            for packet in 0..4 {
                let sent = f64::from(frame) * 33.0 + f64::from(packet);
                let found = groups.on_arrival(at(sent), at(sent + 50.0));
                let compared = frame == 2 && packet == 0;
                assert_eq!(found.is_some(), compared, "frame {frame} packet {packet}");
            }
        }
    }

    #[test]
    fn growing_queue_shows_as_delay() {
        let mut groups = Groups::default();
        let variations: Vec<_> = (0..10)
            .filter_map(|i| {
                let sent = f64::from(i) * 20.0;
                groups.on_arrival(at(sent), at(50.0 + sent * 1.1))
            })
            .collect();
        assert_eq!(variations.len(), 8);
        for variation in variations {
            assert!((variation.delay_ms - 2.0).abs() < 0.01, "{variation:?}");
        }
    }

    #[test]
    fn packets_held_back_and_released_at_once_are_one_group() {
        let mut groups = Groups::default();
        groups.on_arrival(at(0.0), at(50.0));
        groups.on_arrival(at(20.0), at(70.0));
        for (i, sent) in [40.0, 60.0, 80.0, 100.0].into_iter().enumerate() {
            let found = groups.on_arrival(at(sent), at(200.0 + i as f64));
            assert_eq!(found.is_some(), i == 0);
        }
    }
}
