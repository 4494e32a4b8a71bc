//! Datagrams of one turn, on their way to the sockets.
//!
//! They are written once, into one arena, and grouped into runs: consecutive
//! datagrams of one size to one peer, of which only the last may be shorter.
//! That is what the kernel sends as one message (Linux `UDP_SEGMENT`), so a
//! frame for a viewer costs one trip through the network stack, not one a packet.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// The kernel's limit on datagrams of a message.
const MAX_SEGMENTS: usize = 64;
/// The kernel's limit on bytes of a message, less headers.
const MAX_RUN_BYTES: usize = 65_000;

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

/// Consecutive datagrams to one peer.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where to.
    pub path: Path,
    /// Their bytes in the arena.
    pub bytes: Range<usize>,
    /// Size of each; the last may be shorter.
    pub segment: usize,
    /// How many.
    pub count: usize,
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
        self.push_with(path, bytes.len(), |room| {
            room.copy_from_slice(bytes);
            Some(bytes.len())
        });
    }

    /// Queue a datagram that `write` makes in place, in at most `room` bytes; it
    /// returns the length, or `None` to send nothing. What is there before is
    /// left from earlier turns.
    pub fn push_with(
        &mut self,
        path: Path,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let start = self.used;
        if self.arena.len() < start + room {
            self.arena.resize((start + room).next_power_of_two(), 0);
        }
        let Some(written) = write(&mut self.arena[start..start + room]) else {
            return false;
        };
        self.used = start + written.min(room);
        self.group(path, start);
        true
    }

    /// What is queued, in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The bytes that runs refer to.
    pub fn arena(&self) -> &[u8] {
        &self.arena[..self.used]
    }

    /// Forget everything, keep the memory.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.used = 0;
    }

    fn group(&mut self, path: Path, start: usize) {
        let end = self.used;
        let len = end - start;
        if let Some(run) = self.runs.last_mut() {
            let whole = run.bytes.len() == run.segment * run.count;
            let fits = whole
                && run.path == path
                && !path.tcp
                && len > 0
                && len <= run.segment
                && run.count < MAX_SEGMENTS
                && run.bytes.len() + len <= MAX_RUN_BYTES;
            if fits {
                run.bytes.end = end;
                run.count += 1;
                return;
            }
        }
        self.runs.push(Run {
            path,
            bytes: start..end,
            segment: len,
            count: 1,
        });
    }
}

impl Run {
    /// The byte ranges of its datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let end = self.bytes.end;
        (0..self.count).map(move |i| {
            let start = self.bytes.start + i * self.segment;
            start..(start + self.segment).min(end)
        })
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

    #[test]
    fn equal_sizes_to_one_peer_make_a_run_and_a_shorter_one_ends_it() {
        let mut outbox = Outbox::default();
        for (port, size) in [(1, 100), (1, 100), (1, 60), (1, 60), (2, 60), (2, 100)] {
            outbox.push(path(port), &vec![0; size]);
        }
        let counts: Vec<_> = outbox
            .runs()
            .iter()
            .map(|r| (r.count, r.bytes.len()))
            .collect();
        assert_eq!(counts, [(3, 260), (1, 60), (1, 60), (1, 100)]);
        let sizes: Vec<_> = outbox.runs()[0].datagrams().map(|d| d.len()).collect();
        assert_eq!(sizes, [100, 100, 60]);
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
                .all(|r| r.count <= 64 && r.bytes.len() <= 65_000)
        );
        assert_eq!(outbox.runs().iter().map(|r| r.count).sum::<usize>(), 130);
    }

    #[test]
    fn datagram_that_was_not_written_leaves_no_trace() {
        let mut outbox = Outbox::default();
        assert!(!outbox.push_with(path(1), 50, |_| None));
        assert!(outbox.push_with(path(1), 50, |room| {
            room[..2].copy_from_slice(b"hi");
            Some(2)
        }));
        assert_eq!((outbox.arena(), outbox.runs().len()), (&b"hi"[..], 1));
    }
}
