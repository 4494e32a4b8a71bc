//! One unbroken RTP stream out of many: sequence numbers, timestamps and VP8
//! picture ids across joins, layer switches and new publishers.
//!
//! Packets come in segments: what one reader takes from one layer of one
//! publisher without a jump. Within a segment the sequence offset is constant,
//! so that a gap on the way in stays a gap on the way out and a late packet
//! still fits. Between segments sequence numbers go on by one, and timestamps
//! by the capture time that has passed (RFC 3550 §5.1).
//!
//! A segment may begin in the past (a cached keyframe). Its timestamps then run
//! at a fraction of real time while its packets are sent at that multiple of
//! real time, so a receiver sees frames arrive exactly when their timestamps
//! say, and plays live, not late, once the reader has caught up.

use std::time::{Duration, Instant};

use stagecast_proto::codec::{Codec, vp8};

use crate::packet::Packet;

/// Mapping of the current segment and what is needed to continue in the next.
#[derive(Debug)]
pub(super) struct Continuity {
    clock_rate: u32,
    first_in: u64,
    first_out: u64,
    next_out: u64,
    times: TimeMap,
    last: Option<(u32, Instant)>,
    vp8: Vp8Continuity,
}

#[derive(Debug, Clone, Copy)]
struct TimeMap {
    from: u32,
    to: u32,
    speed: u32,
}

/// A packet's place in the outgoing stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub seq: u64,
    pub timestamp: u32,
}

impl Continuity {
    /// `first_seq` should be below 2^15 so that a receiver that misses the first
    /// packets still guesses the rollover counter (RFC 3711 §3.3.1).
    pub fn new(clock_rate: u32, first_seq: u16) -> Self {
        Self {
            clock_rate,
            first_in: 0,
            first_out: 0,
            next_out: u64::from(first_seq & 0x7fff),
            times: TimeMap {
                from: 0,
                to: 0,
                speed: 1,
            },
            last: None,
            vp8: Vp8Continuity::default(),
        }
    }

    /// Begin a segment with `first`. `live` is the capture time that a viewer
    /// should be seeing now; `speed` above 1 means that the segment starts in
    /// the past and is sent at that multiple of real time.
    pub fn begin(&mut self, first: &Packet, live: Instant, speed: u32) {
        self.first_in = first.seq;
        self.first_out = self.next_out;
        let to = match self.last {
            None => first.timestamp,
            Some((timestamp, capture)) => {
                let passed = live.saturating_duration_since(capture);
                timestamp.wrapping_add(self.ticks(passed).max(1))
            }
        };
        self.times = TimeMap {
            from: first.timestamp,
            to,
            speed: speed.max(1),
        };
        self.vp8.begin(first);
    }

    /// The past has been caught up with at `packet`: from here on in real time.
    pub fn caught_up(&mut self, packet: &Packet) {
        let to = self.times.map(packet.timestamp);
        self.times = TimeMap {
            from: packet.timestamp,
            to,
            speed: 1,
        };
    }

    /// Media time since the segment's first packet.
    pub fn elapsed(&self, packet: &Packet) -> Duration {
        let ticks = packet.timestamp.wrapping_sub(self.times.from) as i32;
        Duration::from_nanos(
            u64::from(ticks.max(0) as u32) * 1_000_000_000 / u64::from(self.clock_rate),
        )
    }

    /// Where `packet` goes; `None` if it is older than the segment.
    pub fn place(&mut self, packet: &Packet, capture: Instant) -> Option<Place> {
        let offset = packet.seq.checked_sub(self.first_in)?;
        let seq = self.first_out + offset;
        let timestamp = self.times.map(packet.timestamp);
        if seq >= self.next_out {
            self.next_out = seq + 1;
            self.last = Some((timestamp, capture));
        }
        Some(Place { seq, timestamp })
    }

    /// What must be changed in the payload for this viewer.
    pub fn patch(&mut self, packet: &Packet) -> Option<Patch> {
        match packet.format.codec {
            Codec::Vp8 => self.vp8.patch(&packet.payload),
            _ => None,
        }
    }

    fn ticks(&self, time: Duration) -> u32 {
        (time.as_nanos() * u128::from(self.clock_rate) / 1_000_000_000) as u32
    }
}

impl TimeMap {
    fn map(&self, timestamp: u32) -> u32 {
        let ticks = timestamp.wrapping_sub(self.from) as i32;
        self.to.wrapping_add((ticks / self.speed as i32) as u32)
    }
}

/// VP8 picture id and TL0PICIDX (RFC 7741 §4.2) must not jump between segments.
#[derive(Debug, Default)]
struct Vp8Continuity {
    picture_offset: u16,
    tl0_offset: u8,
    last_picture: Option<u16>,
    last_tl0: Option<u8>,
}

impl Vp8Continuity {
    fn begin(&mut self, first: &Packet) {
        if first.format.codec != Codec::Vp8 {
            return;
        }
        let Some(descriptor) = vp8::Descriptor::parse(&first.payload) else {
            return;
        };
        if let (Some(last), Some(picture)) = (self.last_picture, descriptor.picture_id) {
            self.picture_offset = last.wrapping_add(1).wrapping_sub(picture);
        }
        if let (Some(last), Some(tl0)) = (self.last_tl0, descriptor.tl0picidx) {
            self.tl0_offset = last.wrapping_add(1).wrapping_sub(tl0);
        }
    }

    fn patch(&mut self, payload: &[u8]) -> Option<Patch> {
        let descriptor = vp8::Descriptor::parse(payload)?;
        let picture = descriptor.picture_id?;
        let mask = if descriptor.picture_id_bits == 7 {
            0x7f
        } else {
            0x7fff
        };
        let picture = picture.wrapping_add(self.picture_offset) & mask;
        let tl0 = descriptor
            .tl0picidx
            .map(|t| t.wrapping_add(self.tl0_offset));
        self.last_picture = Some(picture);
        self.last_tl0 = tl0.or(self.last_tl0);
        let changed = self.picture_offset != 0 || self.tl0_offset != 0;
        changed.then_some(Patch {
            picture_id: picture,
            tl0picidx: tl0.unwrap_or(0),
        })
    }
}

/// New values for a VP8 payload descriptor (RFC 7741 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    picture_id: u16,
    tl0picidx: u8,
}

impl Patch {
    /// Change a copy of the payload in place.
    pub fn apply(self, payload: &mut [u8]) {
        if let Some(descriptor) = vp8::Descriptor::parse(payload) {
            descriptor.rewrite(payload, self.picture_id, self.tl0picidx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Format;
    use std::sync::Arc;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn packet(seq: u64, timestamp: u32, at: Instant) -> Packet {
        Packet {
            seq,
            timestamp,
            marker: true,
            keyframe: false,
            frame_start: true,
            format: Format::plain(Codec::H264),
            arrival: at,
            capture: at,
            audio_level: None,
            payload: Arc::from([0u8; 4].as_slice()),
        }
    }

    #[test]
    fn new_publisher_continues_sequence_and_time() {
        let t0 = Instant::now();
        let mut out = Continuity::new(90_000, 100);
        let first = packet(5000, 777_000, t0);
        out.begin(&first, t0, 1);
        assert_eq!(
            out.place(&first, t0),
            Some(Place {
                seq: 100,
                timestamp: 777_000
            })
        );
        let second = packet(5001, 780_000, t0 + MS(33));
        assert_eq!(out.place(&second, second.capture).map(|p| p.seq), Some(101));

        let other = packet(7, 42, t0 + MS(1033));
        out.begin(&other, other.capture, 1);
        let place = out.place(&other, other.capture);
        assert_eq!(
            place,
            Some(Place {
                seq: 102,
                timestamp: 780_000 + 90_000
            })
        );
    }

    #[test]
    fn gap_on_the_way_in_stays_a_gap_and_late_packets_fill_it() {
        let t0 = Instant::now();
        let mut out = Continuity::new(90_000, 0);
        out.begin(&packet(10, 0, t0), t0, 1);
        let seqs: Vec<_> = [10, 12, 11, 13]
            .into_iter()
            .filter_map(|s| out.place(&packet(s, 0, t0), t0))
            .map(|p| p.seq)
            .collect();
        assert_eq!(seqs, [0, 2, 1, 3]);
        assert_eq!(
            out.place(&packet(9, 0, t0), t0),
            None,
            "older than the segment"
        );
    }

    #[test]
    fn timestamps_run_slow_while_catching_up_then_in_real_time() {
        let t0 = Instant::now();
        let mut out = Continuity::new(90_000, 0);
        out.begin(&packet(0, 1000, t0), t0, 5);
        let at =
            |out: &mut Continuity, seq, ts| out.place(&packet(seq, ts, t0), t0).unwrap().timestamp;
        assert_eq!(at(&mut out, 0, 1000), 1000);
        assert_eq!(at(&mut out, 1, 4000), 1600);
        let last = packet(2, 7000, t0);
        assert_eq!(at(&mut out, 2, 7000), 2200);
        out.caught_up(&last);
        assert_eq!(at(&mut out, 3, 10_000), 5200);
    }

    #[test]
    fn timestamp_never_stands_still_between_segments() {
        let t0 = Instant::now();
        let mut out = Continuity::new(48_000, 0);
        let a = packet(0, 9, t0);
        out.begin(&a, t0, 1);
        out.place(&a, t0);
        let b = packet(900, 5, t0);
        out.begin(&b, t0, 1);
        assert_eq!(
            out.place(&b, t0),
            Some(Place {
                seq: 1,
                timestamp: 10
            })
        );
    }
}
