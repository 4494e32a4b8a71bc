//! What goes out: kept until it is acknowledged or too old, and sent again when it is reported lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use stagecast_proto::srt::{ahead, later};

use super::WINDOW;

/// A packet is not repeated more often than this: its last repetition may still be under way.
const REPEAT_MIN: Duration = Duration::from_millis(10);
/// Kept at least this long, however small the latency is (as libsrt does).
const KEPT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Sent {
    payload: Vec<u8>,
    key: u8,
    message: u32,
    first: Instant,
    last: Instant,
}

/// Packets under way.
#[derive(Debug)]
pub struct Sender {
    /// Of the first packet under way.
    oldest: u32,
    sent: VecDeque<Sent>,
    kept: Duration,
}

/// One packet to send again.
#[derive(Debug, PartialEq, Eq)]
pub struct Again<'a> {
    /// Its sequence number.
    pub sequence: u32,
    /// The key it is encrypted with.
    pub key: u8,
    /// Its message number.
    pub message: u32,
    /// When it was first sent.
    pub first: Instant,
    /// Its payload, encrypted as before.
    pub payload: &'a [u8],
}

impl Sender {
    /// Nothing sent yet.
    pub fn new(sequence: u32, latency: Duration) -> Self {
        Self {
            oldest: sequence,
            sent: VecDeque::new(),
            kept: KEPT.max(2 * latency),
        }
    }

    /// The sequence number of the next packet.
    pub fn next(&self) -> u32 {
        later(self.oldest, self.sent.len() as u32)
    }

    /// Whether as much is under way as may be.
    pub fn is_full(&self) -> bool {
        self.sent.len() >= WINDOW as usize / 2
    }

    /// Keep a packet that is sent now.
    pub fn push(&mut self, payload: Vec<u8>, key: u8, message: u32, now: Instant) {
        self.sent.push_back(Sent {
            payload,
            key,
            message,
            first: now,
            last: now,
        });
        while self
            .sent
            .front()
            .is_some_and(|sent| now >= sent.first + self.kept)
        {
            self.sent.pop_front();
            self.oldest = later(self.oldest, 1);
        }
    }

    /// All before this one arrived.
    pub fn acknowledge(&mut self, sequence: u32) {
        let arrived = ahead(self.oldest, sequence).clamp(0, self.sent.len() as i32);
        self.sent.drain(..arrived as usize);
        self.oldest = later(self.oldest, arrived as u32);
    }

    /// A packet reported lost, if it is still there and was not repeated just now.
    pub fn again(&mut self, sequence: u32, now: Instant) -> Option<Again<'_>> {
        let at = usize::try_from(ahead(self.oldest, sequence)).ok()?;
        let sent = self.sent.get_mut(at)?;
        if now < sent.last + REPEAT_MIN {
            return None;
        }
        sent.last = now;
        Some(Again {
            sequence,
            key: sent.key,
            message: sent.message,
            first: sent.first,
            payload: &sent.payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lost_packet_is_sent_again_until_it_is_acknowledged_or_old() {
        let t0 = Instant::now();
        let mut sender = Sender::new(0x7fff_ffff, 120 * MS);
        for n in 0..3u8 {
            sender.push(vec![n], 0, 1, t0);
        }
        assert_eq!(sender.again(0, t0), None, "only just sent");
        assert_eq!(sender.again(0, t0 + 20 * MS).unwrap().payload, [1]);
        assert_eq!(sender.again(0, t0 + 25 * MS), None, "only just repeated");
        sender.acknowledge(1);
        assert_eq!(sender.again(0, t0 + 60 * MS), None);
        assert_eq!(sender.again(1, t0 + 60 * MS).unwrap().payload, [2]);
        assert_eq!(sender.next(), 2);
        sender.push(vec![3], 0, 4, t0 + KEPT);
        assert_eq!(sender.again(1, t0 + KEPT), None, "too old");
        assert!(sender.again(2, t0 + KEPT + 20 * MS).is_some());
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_is_harmless() {
        let mut sender = Sender::new(5, 120 * MS);
        sender.push(vec![1], 0, 1, Instant::now());
        sender.acknowledge(1000);
        assert_eq!(sender.next(), 6);
        sender.acknowledge(0x7000_0000);
        assert_eq!(sender.next(), 6);
    }
}
