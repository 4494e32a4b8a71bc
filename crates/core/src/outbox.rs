//! Datagrams of one turn, on their way to the sockets.
//!
//! They are written once, into one arena, and grouped into runs: datagrams of one
//! size to one peer, of which only the last may be shorter. That is what the kernel
//! sends as one message (Linux `UDP_SEGMENT`), so a frame for a viewer costs one trip
//! through the network stack, not one a packet.
//!
//! Order holds within a [`Lane`] only: audio and video of a viewer are numbered apart, so
//! an audio packet may ride as the short last datagram of a run of video.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// The kernel's limit on datagrams of a message.
const MAX_SEGMENTS: usize = 64;
/// The kernel's limit on bytes of a message, less headers.
const MAX_RUN_BYTES: usize = 65_000;
/// A peer's latest runs that a datagram may still join.
const LOOK_BACK: usize = 3;

/// The way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer.
    pub remote: SocketAddr,
    /// Our address that it talks to; `None` leaves the choice to the system.
    pub local: Option<IpAddr>,
    /// Over TCP (RFC 6544) instead of UDP.
    pub tcp: bool,
}

/// What a datagram must not overtake: those of its own lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Handshakes, reports, and whatever else is rare.
    Control,
    /// RTP of the audio stream.
    Audio,
    /// RTP of the video stream.
    Video,
}

/// Datagrams to one peer that go out as one message.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where to.
    pub path: Path,
    /// Datagrams of one size, in the arena.
    pub bytes: Range<usize>,
    /// Size of each.
    pub segment: usize,
    /// A last datagram that is not larger, elsewhere in the arena.
    pub tail: Option<Range<usize>>,
    lane: Lane,
    tail_lane: Lane,
}

/// The arena and its runs.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Grows to what the largest turn needed and stays so: clearing it for every
    /// datagram would cost as much as copying one.
    arena: Vec<u8>,
    used: usize,
    runs: Vec<Run>,
}

impl Outbox {
    /// Queue a datagram.
    pub fn push(&mut self, path: Path, bytes: &[u8]) {
        self.push_with(path, Lane::Control, bytes.len(), |room| {
            room.copy_from_slice(bytes);
            Some(bytes.len())
        });
    }

    /// Queue a datagram that `write` makes in place, in at most `room` bytes; it
    /// returns the length, or `None` to send nothing. What is there before is
    /// left from earlier turns. The length of what was queued.
    pub fn push_with(
        &mut self,
        path: Path,
        lane: Lane,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let start = self.used;
        if self.arena.len() < start + room {
            self.arena.resize((start + room).next_power_of_two(), 0);
        }
        let written = write(&mut self.arena[start..start + room])?.min(room);
        self.used = start + written;
        self.group(path, lane, start);
        Some(written)
    }

    /// Have the last two datagrams of a lane to a peer leave in the other order; whether they could, which they
    /// can while they are of one run and nothing came after them.
    pub fn swap_last(&mut self, path: Path, lane: Lane) -> bool {
        let of = |run: &&mut Run| run.path == path && run.lane == lane && run.tail_lane == lane;
        let Some(run) = self.runs.last_mut().filter(of) else {
            return false;
        };
        let (size, end) = (run.segment, run.bytes.end);
        match run.tail.take_if(|tail| tail.end == self.used) {
            Some(tail) => {
                // A run of its own, as it is not smaller than what now goes before it.
                let overtaken = end - size..end;
                run.bytes.end = overtaken.start;
                if run.bytes.is_empty() {
                    (run.segment, run.bytes) = (tail.len(), tail);
                } else {
                    run.tail = Some(tail);
                }
                self.runs.push(Run {
                    path,
                    bytes: overtaken,
                    segment: size,
                    tail: None,
                    lane,
                    tail_lane: lane,
                });
                true
            }
            None if run.bytes.len() >= 2 * size && end == self.used => {
                let (before, last) = self.arena[end - 2 * size..end].split_at_mut(size);
                before.swap_with_slice(last);
                true
            }
            None => false,
        }
    }

    /// What is queued, in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The bytes that runs refer to.
    pub fn arena(&self) -> &[u8] {
        &self.arena[..self.used]
    }

    /// How many bytes are queued.
    pub fn queued(&self) -> usize {
        self.used
    }

    /// Forget everything, keep the memory.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.used = 0;
    }

    /// Into one of the peer's last runs, or a run of its own.
    fn group(&mut self, path: Path, lane: Lane, start: usize) {
        let datagram = start..self.used;
        let first = self.runs.len().saturating_sub(LOOK_BACK);
        let mut from = self.runs.len();
        for (i, run) in self.runs[first..].iter().enumerate().rev() {
            if run.path != path || path.tcp {
                break;
            }
            from = first + i;
            if run.has(lane) {
                break;
            }
        }
        for run in &mut self.runs[from..] {
            if run.take(&datagram, lane) {
                return;
            }
        }
        self.runs.push(Run {
            path,
            segment: datagram.len(),
            bytes: datagram,
            tail: None,
            lane,
            tail_lane: lane,
        });
    }
}

impl Run {
    /// How many datagrams it holds.
    pub fn count(&self) -> usize {
        self.bytes.len().checked_div(self.segment).unwrap_or(1) + usize::from(self.tail.is_some())
    }

    /// Bytes of all its datagrams.
    pub fn total(&self) -> usize {
        self.bytes.len() + self.tail.as_ref().map_or(0, ExactSizeIterator::len)
    }

    /// The byte ranges of its datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let whole = self.count() - usize::from(self.tail.is_some());
        let start = self.bytes.start;
        (0..whole)
            .map(move |i| start + i * self.segment..start + (i + 1) * self.segment)
            .chain(self.tail.clone())
    }

    fn has(&self, lane: Lane) -> bool {
        self.lane == lane || (self.tail.is_some() && self.tail_lane == lane)
    }

    /// Add a datagram if the kernel allows and its lane stays in order.
    fn take(&mut self, datagram: &Range<usize>, lane: Lane) -> bool {
        let len = datagram.len();
        if len == 0 || self.count() >= MAX_SEGMENTS || self.total() + len > MAX_RUN_BYTES {
            return false;
        }
        let follows = datagram.start == self.bytes.end && self.lane == lane;
        let overtakes = self.tail.is_some() && self.tail_lane == lane;
        if len == self.segment && follows && !overtakes {
            self.bytes.end = datagram.end;
            return true;
        }
        if self.tail.is_some() {
            return false;
        }
        if len <= self.segment {
            self.tail = Some(datagram.clone());
            self.tail_lane = lane;
            return true;
        }
        // One small datagram of another lane can follow a larger one as well as go before it.
        if self.bytes.len() == self.segment && self.lane != lane {
            self.tail = Some(std::mem::replace(&mut self.bytes, datagram.clone()));
            self.tail_lane = std::mem::replace(&mut self.lane, lane);
            self.segment = len;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn path(port: u16) -> Path {
        Path {
            remote: (Ipv4Addr::LOCALHOST, port).into(),
            local: None,
            tcp: false,
        }
    }

    fn runs(outbox: &Outbox) -> Vec<Vec<usize>> {
        let lens = |run: &Run| run.datagrams().map(|d| d.len()).collect();
        outbox.runs().iter().map(lens).collect()
    }

    fn queue(outbox: &mut Outbox, lane: Lane, size: usize) {
        outbox.push_with(path(1), lane, size, |_| Some(size));
    }

    #[test]
    fn equal_sizes_to_one_peer_make_a_run_and_a_shorter_one_ends_it() {
        let mut outbox = Outbox::default();
        for (port, size) in [(1, 100), (1, 100), (1, 60), (1, 60), (2, 60), (2, 100)] {
            outbox.push(path(port), &vec![0; size]);
        }
        assert_eq!(
            runs(&outbox),
            [vec![100, 100, 60], vec![60], vec![60], vec![100]]
        );
    }

    #[test]
    fn audio_rides_with_video_of_the_same_turn() {
        use Lane::{Audio, Video};
        for (queued, expected) in [
            (
                vec![(Audio, 240), (Video, 70), (Video, 1200), (Video, 1200)],
                vec![vec![240, 70], vec![1200, 1200]],
            ),
            (
                vec![(Audio, 240), (Video, 1200), (Video, 1200)],
                vec![vec![1200, 1200, 240]],
            ),
            (
                vec![(Video, 1200), (Video, 600), (Video, 70), (Audio, 240)],
                vec![vec![1200, 600], vec![240, 70]],
            ),
            (
                vec![(Video, 70), (Video, 1200), (Audio, 240), (Audio, 240)],
                vec![vec![240, 240, 70], vec![1200]],
            ),
        ] {
            let mut outbox = Outbox::default();
            for (lane, size) in queued {
                queue(&mut outbox, lane, size);
            }
            assert_eq!(runs(&outbox), expected);
        }
    }

    #[test]
    fn a_lane_is_never_put_out_of_order() {
        let sizes = [70, 240, 240, 600, 1200, 1200];
        let mut seed = 1u64;
        for _ in 0..2000 {
            let mut outbox = Outbox::default();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let lane = [Lane::Audio, Lane::Video][(seed >> 33) as usize % 2];
                let size = sizes[(seed >> 40) as usize % sizes.len()];
                outbox.push_with(path(1), lane, size, |room| {
                    room[0] = lane as u8;
                    Some(size)
                });
            }
            let mut last = [0; 3];
            for run in outbox.runs() {
                let first = run.datagrams().next().expect("a run holds something").len();
                for (i, datagram) in run.datagrams().enumerate() {
                    assert!(datagram.len() == first || i + 1 == run.count());
                    let lane = usize::from(outbox.arena()[datagram.start]);
                    assert!(
                        last[lane] <= datagram.start,
                        "in the arena the order is that of writing"
                    );
                    last[lane] = datagram.start;
                }
            }
            assert_eq!(outbox.runs().iter().map(Run::count).sum::<usize>(), 12);
        }
    }

    #[test]
    fn last_two_of_a_run_can_change_places() {
        use Lane::{Audio, Video};
        for (queued, swapped, sent) in [
            (&[(1, Video, 2)][..], false, &[1][..]),
            (&[(1, Video, 2), (1, Video, 2)], true, &[2, 1]),
            (&[(1, Video, 2), (1, Video, 1)], true, &[2, 1]),
            (
                &[(1, Video, 2), (1, Video, 2), (1, Video, 1)],
                true,
                &[1, 3, 2],
            ),
            (&[(1, Video, 1), (1, Video, 2)], false, &[1, 2]),
            (&[(1, Video, 2), (1, Audio, 2)], false, &[1, 2]),
            (
                &[(1, Video, 2), (1, Video, 2), (2, Video, 2)],
                false,
                &[1, 2, 3],
            ),
        ] {
            let mut outbox = Outbox::default();
            for (&(to, lane, size), byte) in queued.iter().zip(1..) {
                outbox.push_with(path(to), lane, size, |room| {
                    room.fill(byte);
                    Some(size)
                });
            }
            assert_eq!(outbox.swap_last(path(1), Video), swapped, "{queued:?}");
            // What follows keeps behind.
            queue(&mut outbox, Video, 1);
            let datagrams = outbox.runs().iter().flat_map(Run::datagrams);
            let mut order: Vec<u8> = datagrams.map(|d| outbox.arena()[d.start]).collect();
            assert_eq!(order.pop(), Some(0), "{queued:?}");
            assert_eq!(order, sent, "{queued:?}");
        }
    }

    #[test]
    fn run_ends_at_the_limits_of_the_kernel() {
        let mut outbox = Outbox::default();
        for _ in 0..130 {
            outbox.push(path(1), &[0; 1200]);
        }
        assert!(
            outbox
                .runs()
                .iter()
                .all(|r| r.count() <= 64 && r.total() <= 65_000)
        );
        assert_eq!(outbox.runs().iter().map(Run::count).sum::<usize>(), 130);
    }

    #[test]
    fn datagram_that_was_not_written_leaves_no_trace() {
        let mut outbox = Outbox::default();
        let nothing = outbox.push_with(path(1), Lane::Video, 50, |_| None);
        assert_eq!(nothing, None);
        let written = outbox.push_with(path(1), Lane::Video, 50, |room| {
            room[..2].copy_from_slice(b"hi");
            Some(2)
        });
        assert_eq!(written, Some(2));
        assert_eq!((outbox.arena(), outbox.runs().len()), (&b"hi"[..], 1));
    }
}
