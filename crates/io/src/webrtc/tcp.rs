//! ICE-TCP (RFC 6544): passive connections with RFC 4571 framing.
//!
//! A connection belongs to nobody until its first frame is a binding request
//! for a session that is known; until then it may hold few bytes and little
//! time, and only so many may wait. After that its output is bounded: a frame
//! that does not fit is dropped whole, as a full link would drop a datagram.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use stagecast_core::outbox::Path;

/// Bytes that may wait to be written.
const MAX_PENDING: usize = 1 << 20;
/// Bytes read at once.
const READ_SIZE: usize = 16 << 10;
/// Connections that have not named a session.
pub const MAX_STRANGERS: usize = 256;
/// Time for a stranger to name its session.
pub const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The peer.
    pub source: SocketAddr,
    /// When it was accepted.
    pub accepted: Instant,
    /// Whether it has named its session.
    pub known: bool,
    finished: bool,
    input: Vec<u8>,
    output: VecDeque<u8>,
}

impl Connection {
    /// A connection from `source`; `input` is what was read of it so far.
    pub fn new(stream: TcpStream, source: SocketAddr, input: Vec<u8>, now: Instant) -> Self {
        Self {
            stream,
            source,
            accepted: now,
            known: false,
            finished: false,
            input,
            output: VecDeque::new(),
        }
    }

    /// The stream, for registration.
    pub fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The way to the peer.
    pub fn path(&self) -> Path {
        let local = self.stream.local_addr().ok().map(|a| a.ip());
        Path {
            remote: self.source,
            local,
            tcp: true,
        }
    }

    /// The stream and the unread input, to move to another thread.
    pub fn into_parts(self) -> (TcpStream, SocketAddr, Vec<u8>) {
        (self.stream, self.source, self.input)
    }

    /// Read what waits; whether the connection is still open.
    pub fn fill(&mut self) -> bool {
        let mut buffer = [0; READ_SIZE];
        // A turn is bounded; the poll is level-like because we read until dry below.
        for _ in 0..64 {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if !self.known && self.input.len() > READ_SIZE {
                return false;
            }
        }
        true
    }

    /// The next whole frame (RFC 4571 §2), without taking it.
    pub fn peek(&self) -> Option<&[u8]> {
        let (length, rest) = self.input.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// Take the next whole frame.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let frame = self.peek()?.to_vec();
        self.input.drain(..frame.len() + 2);
        Some(frame)
    }

    /// Queue a frame; `false` if it had to be dropped.
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let Ok(length) = u16::try_from(frame.len()) else {
            return false;
        };
        if self.output.len() + frame.len() + 2 > MAX_PENDING {
            return false;
        }
        self.output.extend(length.to_be_bytes());
        self.output.extend(frame);
        true
    }

    /// Close once everything is written.
    pub fn finish(&mut self) {
        self.finished = true;
        // A peer that does not read is dropped when a stranger would be.
        self.known = false;
    }

    /// Write what the peer takes; whether the connection is to stay open.
    pub fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            let (head, _) = self.output.as_slices();
            match self.stream.write(head) {
                Ok(0) => return false,
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        !self.finished
    }
}
