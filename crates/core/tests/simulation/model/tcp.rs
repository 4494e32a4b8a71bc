//! A competing flow like TCP Reno: slow start, one packet more each round trip, half on loss.

use std::collections::VecDeque;

use super::pop_due;

const BYTES: usize = 1500;

/// A packet of the flow, by number.
#[derive(Clone, Copy, Debug)]
pub struct Segment(u64);

/// The flow's sender; its receiver acknowledges each segment.
pub struct Tcp {
    from: u64,
    until: u64,
    rtt: u64,
    window: f64,
    threshold: f64,
    next: u64,
    in_flight: VecDeque<u64>,
    /// When which segment's acknowledgement comes back.
    acks: VecDeque<(u64, u64)>,
    recovered_at: u64,
}

impl Tcp {
    /// A flow that runs between two seconds.
    pub fn new(from_s: u32, until_s: u32, rtt_ms: u32) -> Self {
        Self {
            from: u64::from(from_s) * 1_000_000,
            until: u64::from(until_s) * 1_000_000,
            rtt: u64::from(rtt_ms) * 1000,
            window: 10.0,
            threshold: f64::INFINITY,
            next: 0,
            in_flight: VecDeque::new(),
            acks: VecDeque::new(),
            recovered_at: 0,
        }
    }

    /// A segment came to the receiver.
    pub fn on_arrival(&mut self, at: u64, segment: Segment) {
        self.acks.push_back((at + self.rtt / 2, segment.0));
    }

    /// Read acknowledgements and send what the window allows.
    pub fn run(&mut self, now: u64, mut send: impl FnMut(usize, Segment)) {
        while let Some((_, acked)) = pop_due(&mut self.acks, now) {
            let lost = self
                .in_flight
                .front()
                .is_some_and(|&first| first + 2 < acked);
            if lost && now >= self.recovered_at {
                self.threshold = (self.window / 2.0).max(2.0);
                self.window = self.threshold;
                self.recovered_at = now + self.rtt * 2;
            } else if self.window < self.threshold {
                self.window += 1.0;
            } else {
                self.window += 1.0 / self.window;
            }
            while self.in_flight.front().is_some_and(|&first| first <= acked) {
                self.in_flight.pop_front();
            }
        }
        if !(self.from..self.until).contains(&now) {
            return;
        }
        while (self.in_flight.len() as f64) < self.window {
            self.in_flight.push_back(self.next);
            send(BYTES, Segment(self.next));
            self.next += 1;
        }
    }
}
