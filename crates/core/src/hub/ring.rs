//! The packets of one layer that are still of use: for readers that are a
//! burst behind, for retransmission, and from the last keyframe on for readers
//! that join late.
//!
//! Packets are numbered by arrival, not by sequence number; a reader holds such
//! an index as its cursor. The ring is bounded by bytes and by age: when a group
//! of pictures outgrows it, its keyframe is given up and late readers wait for
//! the next one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::packet::Packet;

/// How much a ring may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payload bytes.
    pub max_bytes: usize,
    /// Age of the oldest packet since the last keyframe.
    pub max_age: Duration,
    /// Age up to which packets before the last keyframe are kept, for retransmission.
    pub history: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            max_age: Duration::from_secs(6),
            history: Duration::from_secs(1),
        }
    }
}

/// Padding of a packet at most: what a viewer's network carries in vain must stay little.
const MAX_PADDING: usize = 32;

/// Packets of a layer, oldest first.
#[derive(Debug)]
pub struct Ring {
    packets: VecDeque<Packet>,
    /// Index of `packets[0]`.
    base: u64,
    bytes: usize,
    keyframe: Option<u64>,
    /// Index of the first packet that [`Ring::even_out`] has not seen.
    uneven: u64,
    limits: Limits,
}

impl Ring {
    /// An empty ring.
    pub fn new(limits: Limits) -> Self {
        Self {
            packets: VecDeque::new(),
            base: 0,
            bytes: 0,
            keyframe: None,
            uneven: 0,
            limits,
        }
    }

    /// Append a packet and drop what is no longer of use.
    pub fn push(&mut self, packet: Packet) {
        let now = packet.arrival;
        if packet.keyframe {
            self.keyframe = Some(self.end());
        }
        self.bytes += packet.payload.len();
        self.packets.push_back(packet);
        self.trim(now);
    }

    /// Have packets padded that came since the last call and are a little shorter than one that follows in
    /// their frame.
    ///
    /// `libwebrtc` splits a frame into parts of which the last are a byte longer, and the first is shorter by its
    /// header extensions, but datagrams share a message only while they are of one size.
    pub fn even_out(&mut self) {
        let fresh = self.uneven.saturating_sub(self.base) as usize;
        self.uneven = self.end();
        let (mut frame, mut longest) = (None, 0);
        for packet in self.packets.range_mut(fresh..).rev() {
            if frame.replace(packet.timestamp) != Some(packet.timestamp) {
                longest = 0;
            }
            let len = packet.payload.len();
            longest = longest.max(len);
            if longest - len <= MAX_PADDING {
                packet.padding = (longest - len) as u8;
            }
        }
    }

    /// Index after the newest packet.
    pub fn end(&self) -> u64 {
        self.base + self.packets.len() as u64
    }

    /// Index of the oldest packet.
    pub fn start(&self) -> u64 {
        self.base
    }

    /// The packet at `index`, unless it is gone or not there yet.
    pub fn get(&self, index: u64) -> Option<&Packet> {
        self.packets.get(index.checked_sub(self.base)? as usize)
    }

    /// Index and first packet of the newest frame that a decoder can start from.
    pub fn keyframe(&self) -> Option<(u64, &Packet)> {
        let index = self.keyframe?;
        Some((index, self.get(index)?))
    }

    /// The newest packet.
    pub fn last(&self) -> Option<&Packet> {
        self.packets.back()
    }

    /// The packets that a copy of this ring needs: from the last keyframe on.
    pub fn from_keyframe(&self) -> impl Iterator<Item = &Packet> {
        let skip = self
            .keyframe
            .map_or(self.packets.len(), |k| (k - self.base) as usize);
        self.packets.iter().skip(skip)
    }

    /// Payload bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn trim(&mut self, now: Instant) {
        while let Some(front) = self.packets.front() {
            let age = now.saturating_duration_since(front.arrival);
            let needed = self.keyframe.is_some_and(|k| self.base >= k);
            let limit = if needed {
                self.limits.max_age
            } else {
                self.limits.history
            };
            if age <= limit && self.bytes <= self.limits.max_bytes {
                break;
            }
            self.bytes -= front.payload.len();
            self.packets.pop_front();
            if self.keyframe == Some(self.base) {
                self.keyframe = None;
            }
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Format, Scale};
    use stagecast_proto::codec::Codec;

    fn packet(at: Instant, keyframe: bool, size: usize) -> Packet {
        Packet {
            seq: 0,
            timestamp: 0,
            marker: true,
            keyframe,
            frame_start: true,
            format: Format::plain(Codec::Vp8),
            arrival: at,
            capture: at,
            media_us: 0,
            resolution: None,
            scale: Scale::NONE,
            dependency: None,
            audio_level: None,
            padding: 0,
            payload: vec![0; size].into(),
        }
    }

    #[test]
    fn keyframe_and_what_follows_stay_while_older_packets_leave() {
        let t0 = Instant::now();
        let mut ring = Ring::new(Limits::default());
        ring.push(packet(t0, true, 10));
        ring.push(packet(t0 + Duration::from_millis(500), true, 10));
        for ms in (600..3000).step_by(100) {
            ring.push(packet(t0 + Duration::from_millis(ms), false, 10));
        }
        let (index, first) = ring.keyframe().expect("a keyframe was pushed");
        assert_eq!(
            (index, ring.start()),
            (1, 1),
            "only the older group was dropped"
        );
        assert_eq!(first.arrival, t0 + Duration::from_millis(500));
        assert_eq!(ring.from_keyframe().count(), 25);
    }

    #[test]
    fn group_of_pictures_larger_than_the_ring_gives_up_its_keyframe() {
        let t0 = Instant::now();
        let mut ring = Ring::new(Limits {
            max_bytes: 1000,
            ..Limits::default()
        });
        ring.push(packet(t0, true, 400));
        ring.push(packet(t0, false, 400));
        assert!(ring.keyframe().is_some());
        ring.push(packet(t0, false, 400));
        assert!(ring.keyframe().is_none());
        assert!(ring.bytes() <= 1000);
    }

    #[test]
    fn packets_a_little_shorter_than_a_later_one_of_their_frame_are_padded() {
        let t0 = Instant::now();
        let mut ring = Ring::new(Limits::default());
        let push = |ring: &mut Ring, timestamp: u32, size| {
            ring.push(Packet {
                timestamp,
                ..packet(t0, false, size)
            });
        };
        for (timestamp, size) in [
            (1, 70),
            (1, 1091),
            (1, 1111),
            (1, 1112),
            (1, 1100),
            (2, 90),
            (2, 80),
        ] {
            push(&mut ring, timestamp, size);
        }
        ring.even_out();
        push(&mut ring, 2, 100);
        ring.even_out();
        let padding: Vec<u8> = (0..ring.end())
            .map(|i| ring.get(i).unwrap().padding)
            .collect();
        assert_eq!(
            padding,
            [0, 21, 1, 0, 0, 0, 0, 0],
            "what was delivered stays as it was"
        );
    }

    #[test]
    fn cursor_of_a_dropped_packet_finds_nothing() {
        let t0 = Instant::now();
        let mut ring = Ring::new(Limits {
            max_bytes: 10,
            ..Limits::default()
        });
        ring.push(packet(t0, false, 8));
        ring.push(packet(t0, false, 8));
        assert!(ring.get(0).is_none());
        assert!(ring.get(1).is_some());
        assert!(ring.get(2).is_none());
    }
}
