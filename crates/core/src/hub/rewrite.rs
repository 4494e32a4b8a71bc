//! One unbroken RTP stream out of many: sequence numbers, timestamps and VP8
//! picture ids across joins, layer switches and new publishers.
//!
//! Packets come in segments: what one reader takes from one layer of one
//! publisher without a jump. Within a segment a gap on the way in stays a gap on
//! the way out, so that a late packet still fits, and what is left out (an upper
//! temporal layer) leaves none. Between segments sequence numbers go on by one, and
//! timestamps by the capture time that has passed (RFC 3550 §5.1).
//!
//! A segment may begin in the past (a cached keyframe). Its timestamps then run
//! at a fraction of real time while its packets are sent at that multiple of
//! real time, so a receiver sees frames arrive exactly when their timestamps
//! say, and plays live, not late, once the reader has caught up.

use std::time::{Duration, Instant};

use stagecast_proto::codec::{Codec, vp8};
use stagecast_proto::rtp::dependency::frame_number;

use crate::packet::Packet;

/// Mapping of the current segment and what is needed to continue in the next.
#[derive(Debug)]
pub(super) struct Continuity {
    clock_rate: u32,
    numbers: Gapless,
    next_out: u64,
    times: TimeMap,
    last: Option<(u32, Instant)>,
    vp8: Vp8Continuity,
    frames: FrameContinuity,
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
    /// What must be changed in the payload for this viewer.
    pub patch: Option<Patch>,
}

impl Continuity {
    /// `first_seq` should be below 2^15 so that a receiver that misses the first
    /// packets still guesses the rollover counter (RFC 3711 §3.3.1).
    pub fn new(clock_rate: u32, first_seq: u16) -> Self {
        Self {
            clock_rate,
            numbers: Gapless::default(),
            next_out: u64::from(first_seq & 0x7fff),
            times: TimeMap {
                from: 0,
                to: 0,
                speed: 1,
            },
            last: None,
            vp8: Vp8Continuity::default(),
            frames: FrameContinuity::default(),
        }
    }

    /// Begin a segment with `first`. `live` is the capture time that a viewer
    /// should be seeing now; `speed` above 1 means that the segment starts in
    /// the past and is sent at that multiple of real time.
    pub fn begin(&mut self, first: &Packet, live: Instant, speed: u32) {
        self.numbers.begin(first.seq, self.next_out);
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
        self.frames.begin(first);
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

    /// Capture time of the newest packet that has a place.
    pub fn newest(&self) -> Option<Instant> {
        self.last.map(|(_, capture)| capture)
    }

    /// Where `packet` goes; `None` if it is older than the segment, or so late that
    /// nobody knows.
    pub fn place(&mut self, packet: &Packet, capture: Instant) -> Option<Place> {
        let patch = match packet.format.codec {
            Codec::Vp8 => self.vp8.patch(&packet.payload).ok()?,
            _ => self.frames.patch(packet),
        };
        let seq = self.numbers.place(packet.seq)?;
        let timestamp = self.times.map(packet.timestamp);
        if seq >= self.next_out {
            self.next_out = seq + 1;
            self.last = Some((timestamp, capture));
        }
        Some(Place {
            seq,
            timestamp,
            patch,
        })
    }

    /// `packet` is left out: those after it close the gap.
    pub fn skip(&mut self, packet: &Packet) {
        self.numbers.skip(packet.seq);
        if packet.format.codec == Codec::Vp8 {
            self.vp8.skip(&packet.payload);
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

/// Growing numbers, some of which are left out, to numbers without holes.
///
/// A number that never came keeps its place, as nobody knows yet whether it would have been left
/// out. What was left out is remembered for the last 128 numbers, for those that come late.
#[derive(Debug, Default)]
struct Gapless {
    first_in: u64,
    first_out: u64,
    /// The number after the highest seen.
    next: u64,
    left_out: u64,
    /// Bit n: `next - 1 - n` was left out.
    recent: u128,
}

impl Gapless {
    fn begin(&mut self, first_in: u64, first_out: u64) {
        *self = Self {
            first_in,
            first_out,
            next: first_in,
            left_out: 0,
            recent: 0,
        };
    }

    fn place(&mut self, number: u64) -> Option<u64> {
        let offset = number.checked_sub(self.first_in)?;
        let before = if number >= self.next {
            self.advance(number);
            self.left_out
        } else if self.left_out == 0 {
            0
        } else {
            let behind = self.next - 1 - number;
            let newer = (behind < 128).then(|| self.recent & ((1 << behind) - 1))?;
            if self.recent >> behind & 1 != 0 {
                return None;
            }
            self.left_out - u64::from(newer.count_ones())
        };
        Some(self.first_out + offset - before)
    }

    fn skip(&mut self, number: u64) {
        if number >= self.next {
            self.advance(number);
            self.recent |= 1;
            self.left_out += 1;
        }
    }

    fn advance(&mut self, number: u64) {
        let shift = number + 1 - self.next;
        self.recent = u32::try_from(shift)
            .ok()
            .and_then(|shift| self.recent.checked_shl(shift))
            .unwrap_or(0);
        self.next = number + 1;
    }
}

/// VP8 picture id and TL0PICIDX (RFC 7741 §4.2) must not jump between segments, and pictures
/// that are left out must not be missed: receivers wait for the number that they did not get.
#[derive(Debug, Default)]
struct Vp8Continuity {
    pictures: Gapless,
    /// The newest picture id on the way in, unwrapped.
    newest: Option<u64>,
    next_picture: Option<u64>,
    tl0_offset: u8,
    last_tl0: Option<u8>,
}

impl Vp8Continuity {
    fn begin(&mut self, first: &Packet) {
        self.newest = None;
        if first.format.codec != Codec::Vp8 {
            return;
        }
        let Some(descriptor) = vp8::Descriptor::parse(&first.payload) else {
            return;
        };
        if let Some(picture) = self.unwrap(&descriptor) {
            let out = self.next_picture.unwrap_or(picture);
            self.pictures.begin(picture, out);
        }
        if let (Some(last), Some(tl0)) = (self.last_tl0, descriptor.tl0picidx) {
            self.tl0_offset = last.wrapping_add(1).wrapping_sub(tl0);
        }
    }

    /// `Err` when the picture has no place any more.
    fn patch(&mut self, payload: &[u8]) -> Result<Option<Patch>, ()> {
        let Some(descriptor) = vp8::Descriptor::parse(payload) else {
            return Ok(None);
        };
        let Some(picture_in) = self.unwrap(&descriptor) else {
            return Ok(None);
        };
        let out = self.pictures.place(picture_in).ok_or(())?;
        self.next_picture = self.next_picture.max(Some(out + 1));
        let picture_id = (out & mask(&descriptor)) as u16;
        let tl0 = descriptor
            .tl0picidx
            .map(|t| t.wrapping_add(self.tl0_offset));
        self.last_tl0 = tl0.or(self.last_tl0);
        let changed = descriptor.picture_id != Some(picture_id) || descriptor.tl0picidx != tl0;
        Ok(changed.then_some(Patch::Picture {
            picture_id,
            tl0picidx: tl0.unwrap_or(0),
        }))
    }

    fn skip(&mut self, payload: &[u8]) {
        if let Some(descriptor) = vp8::Descriptor::parse(payload)
            && let Some(picture) = self.unwrap(&descriptor)
        {
            self.pictures.skip(picture);
        }
    }

    /// The picture id counted on without wrapping, by the shorter way from the newest.
    fn unwrap(&mut self, descriptor: &vp8::Descriptor) -> Option<u64> {
        let picture = u64::from(descriptor.picture_id?);
        let mask = mask(descriptor);
        // Far from zero, so that one before the first has a number.
        let newest = self.newest.unwrap_or(picture + 2 * (mask + 1));
        let ahead = picture.wrapping_sub(newest) & mask;
        let unwrapped = if ahead <= mask / 2 {
            newest + ahead
        } else {
            (newest + ahead).saturating_sub(mask + 1)
        };
        self.newest = Some(unwrapped.max(newest));
        Some(unwrapped)
    }
}

fn mask(descriptor: &vp8::Descriptor) -> u64 {
    (1 << descriptor.picture_id_bits) - 1
}

/// Frame numbers of the dependency descriptor must not jump between segments.
#[derive(Debug, Default)]
struct FrameContinuity {
    offset: u16,
    newest: Option<u16>,
}

impl FrameContinuity {
    fn begin(&mut self, first: &Packet) {
        let number = first.dependency.as_deref().and_then(frame_number);
        if let (Some(number), Some(newest)) = (number, self.newest) {
            self.offset = newest.wrapping_add(1).wrapping_sub(number);
        }
    }

    fn patch(&mut self, packet: &Packet) -> Option<Patch> {
        let number = frame_number(packet.dependency.as_deref()?)?.wrapping_add(self.offset);
        let newer = |newest: u16| (number.wrapping_sub(newest) as i16) > 0;
        if self.newest.is_none_or(newer) {
            self.newest = Some(number);
        }
        Some(Patch::Frame(number))
    }
}

/// What of a packet is different for one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// New values for a VP8 payload descriptor (RFC 7741 §4.2).
    Picture {
        /// Picture id.
        picture_id: u16,
        /// Index of the base layer's frames.
        tl0picidx: u8,
    },
    /// Another frame number in the dependency descriptor.
    Frame(u16),
}

impl Patch {
    /// Change a copy of the payload in place.
    pub fn apply(self, payload: &mut [u8]) {
        let Self::Picture {
            picture_id,
            tl0picidx,
        } = self
        else {
            return;
        };
        if let Some(descriptor) = vp8::Descriptor::parse(payload) {
            descriptor.rewrite(payload, picture_id, tl0picidx);
        }
    }

    /// The frame number of a packet that has a dependency descriptor.
    pub fn frame_number(self) -> Option<u16> {
        match self {
            Self::Frame(number) => Some(number),
            Self::Picture { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Format, Scale};
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
            media_us: 0,
            resolution: None,
            scale: Scale::NONE,
            dependency: None,
            audio_level: None,
            padding: 0,
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
                timestamp: 777_000,
                patch: None,
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
                timestamp: 780_000 + 90_000,
                patch: None,
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
    fn what_is_left_out_leaves_no_gap_and_late_packets_still_fit() {
        let t0 = Instant::now();
        let mut out = Continuity::new(90_000, 0);
        out.begin(&packet(10, 0, t0), t0, 1);
        let mut at = |seq: u64, keep: bool| {
            let packet = packet(seq, 0, t0);
            if keep {
                out.place(&packet, t0).map(|p| p.seq)
            } else {
                out.skip(&packet);
                None
            }
        };
        assert_eq!(at(10, true), Some(0));
        assert_eq!(at(11, false), None);
        assert_eq!(at(12, true), Some(1));
        // 13 is missing.
        assert_eq!(at(14, false), None);
        assert_eq!(at(15, true), Some(3));
        assert_eq!(at(13, true), Some(2), "late");
        assert_eq!(at(14, true), None, "left out for good");
        assert_eq!(at(16, true), Some(4));
        assert_eq!(at(500, true), Some(488));
        assert_eq!(at(16, true), None, "too late to know");
    }

    #[test]
    fn vp8_pictures_that_are_left_out_are_not_missed() {
        let t0 = Instant::now();
        let mut out = Continuity::new(90_000, 0);
        let vp8 = |seq: u64, picture: u16, tl0: u8| {
            let [high, low] = picture.to_be_bytes();
            let payload = [0x90, 0xe0, high | 0x80, low, tl0, 0x40, 0x01];
            Packet {
                format: Format::plain(Codec::Vp8),
                payload: payload.into(),
                ..packet(seq, seq as u32 * 3000, t0)
            }
        };
        let id = |out: &mut Continuity, packet: &Packet| {
            let patch = out.place(packet, t0).expect("it has a place").patch;
            patch.map_or(packet.payload.to_vec(), |patch| {
                let mut copy = packet.payload.to_vec();
                patch.apply(&mut copy);
                copy
            })[2..5]
                .to_vec()
        };
        let first = vp8(0, 0x7ffe, 9);
        out.begin(&first, t0, 1);
        assert_eq!(id(&mut out, &first), [0xff, 0xfe, 9]);
        out.skip(&vp8(1, 0x7fff, 9));
        out.skip(&vp8(2, 0x7fff, 9));
        assert_eq!(
            id(&mut out, &vp8(3, 0, 10)),
            [0xff, 0xff, 10],
            "wrapped on the way in"
        );
        assert_eq!(
            id(&mut out, &vp8(4, 1, 10)),
            [0x80, 0, 10],
            "and on the way out"
        );
        let other = vp8(900, 77, 200);
        out.begin(&other, t0, 1);
        assert_eq!(id(&mut out, &other), [0x80, 1, 11], "goes on");
    }

    #[test]
    fn frame_numbers_go_on_between_segments() {
        let t0 = Instant::now();
        let mut out = Continuity::new(90_000, 0);
        let av1 = |seq: u64, number: u16| {
            let [high, low] = number.to_be_bytes();
            Packet {
                format: Format::plain(Codec::Av1),
                dependency: Some(Arc::from([0xc0, high, low].as_slice())),
                ..packet(seq, seq as u32 * 3000, t0)
            }
        };
        let number = |out: &mut Continuity, packet: &Packet| {
            let patch = out.place(packet, t0).expect("it has a place").patch;
            patch.and_then(Patch::frame_number)
        };
        let first = av1(0, u16::MAX);
        out.begin(&first, t0, 1);
        assert_eq!(number(&mut out, &first), Some(u16::MAX));
        assert_eq!(number(&mut out, &av1(1, 1)), Some(1), "a gap stays");
        let other = av1(70, 500);
        out.begin(&other, t0, 1);
        assert_eq!(number(&mut out, &other), Some(2));
        assert_eq!(number(&mut out, &av1(71, 501)), Some(3));
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
                timestamp: 10,
                patch: None,
            })
        );
    }
}
