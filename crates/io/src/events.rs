//! Lifecycle events on their way up to the control plane.
//!
//! Media threads push, the control plane drains; an `eventfd` wakes it. Events
//! are few (a handful per session) and none is ever dropped. Figures do not go
//! through here: they are a snapshot that is overwritten every second.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use serde::Serialize;

use crate::admission::Question;

/// What happened.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// ICE and DTLS of a session are through.
    SessionConnected(SessionRef),
    /// A session is over.
    SessionEnded {
        /// Which.
        #[serde(flatten)]
        session: SessionRef,
        /// Stable reason.
        reason: String,
        /// More, for a person.
        detail: Option<String>,
        /// How long it lasted.
        seconds: f64,
    },
    /// Media of a source arrives, or it has one track more.
    SourceLive {
        /// Stream key.
        stream: String,
        /// Source id; `None` is the main source.
        source: Option<String>,
        /// The publisher's session.
        session: String,
        /// All tracks that have media.
        tracks: Vec<TrackRef>,
    },
    /// A source has readers who can only take another codec: a transcoder is to make a companion
    /// track.
    TranscodeWanted {
        /// Stream key.
        stream: String,
        /// Source id.
        source: Option<String>,
        /// Codec that the source has.
        from: &'static str,
        /// Codec that is needed.
        to: &'static str,
    },
    /// The transcoder is needed no longer.
    TranscodeUnwanted {
        /// Stream key.
        stream: String,
        /// Source id.
        source: Option<String>,
        /// Codec that it takes.
        from: &'static str,
        /// Codec that it makes.
        to: &'static str,
    },
    /// Which layers a publisher is to send from now on: nobody reads the others.
    LayersAsked {
        /// Stream key.
        stream: String,
        /// Source id.
        source: Option<String>,
        /// The publisher's session.
        session: String,
        /// The track.
        track: String,
        /// All its layers.
        layers: Vec<AskedLayer>,
    },
    /// A source lost its publisher and has no new one.
    SourceEnded {
        /// Stream key.
        stream: String,
        /// Source id.
        source: Option<String>,
        /// The publisher's session.
        session: String,
    },
    /// A peer wants to publish or play; [`decide`](crate::Engine::decide) answers.
    AdmissionAsked(Question),
}

/// A session, as events name it.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct SessionRef {
    /// Session id.
    pub session: String,
    /// `publisher` or `viewer`.
    pub kind: &'static str,
    /// Stream key.
    pub stream: String,
    /// Source id.
    pub source: Option<String>,
    /// The peer's address, once known.
    pub remote: Option<String>,
    /// `udp` or `tcp`.
    pub protocol: &'static str,
}

/// A track, as events name it.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct TrackRef {
    /// Track name.
    pub track: String,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// Codec name.
    pub codec: &'static str,
}

/// A layer that a publisher is to send, or not.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct AskedLayer {
    /// Restriction id.
    pub layer: String,
    /// Whether somebody reads it.
    pub wanted: bool,
}

/// The queue.
#[derive(Debug)]
pub struct EventQueue {
    waiting: Mutex<VecDeque<Event>>,
    fd: OwnedFd,
}

impl EventQueue {
    /// An empty queue.
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain system call; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            waiting: Mutex::new(VecDeque::new()),
            fd,
        })
    }

    /// Add an event and wake the reader.
    pub fn push(&self, event: Event) {
        self.lock().push_back(event);
        let one = 1u64;
        // SAFETY: writes the eight bytes of `one`. A full counter is still readable.
        let _ = unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Take all events, oldest first.
    pub fn drain(&self) -> Vec<Event> {
        let mut counter = 0u64;
        // SAFETY: reads eight bytes into `counter`; nothing to read is fine.
        let _ = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut counter).cast(), 8) };
        self.lock().drain(..).collect()
    }

    /// Readable while events wait.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Event>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drained_events_are_in_order_and_the_descriptor_is_quiet_after() {
        let queue = EventQueue::new().unwrap();
        for n in 0..3 {
            queue.push(Event::SourceEnded {
                stream: format!("a/{n}"),
                source: None,
                session: String::new(),
            });
        }
        let streams: Vec<_> = queue.drain().iter().map(|e| format!("{e:?}")).collect();
        assert_eq!(streams.len(), 3);
        assert!(streams[0].contains("a/0") && streams[2].contains("a/2"));
        let mut poll = libc::pollfd {
            fd: queue.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live `pollfd`.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 0) }, 0);
    }
}
