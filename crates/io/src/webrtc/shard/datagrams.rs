//! From a datagram to its session, on this thread or another.
//!
//! The kernel spreads peers over the threads' sockets without knowing sessions.
//! The user fragment of a binding request names the thread; once that request has
//! proved genuine, the thread that got it remembers the way. Before that nothing
//! is kept of a stranger.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use stagecast_core::outbox::Path;
use stagecast_core::viewer::Handled;
use stagecast_proto::stun;

use super::{MAX_PATHS, MAX_ROUTES, RECEIVE_TURNS, Shard};
use crate::webrtc::mailbox::Command;
use crate::webrtc::session::Session;
use crate::webrtc::udp::RECEIVE_BATCH;

/// How a datagram came to this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the thread's socket for everybody.
    Shared,
    /// By the peer's own socket.
    Direct,
    /// Handed over by this thread.
    Thread(usize),
}

impl Way {
    fn thread(self) -> Option<usize> {
        match self {
            Self::Thread(thread) => Some(thread),
            Self::Shared | Self::Direct => None,
        }
    }
}

impl Shard {
    /// Take what waits at a socket of everybody; whether more may wait.
    pub(super) fn receive(&mut self, socket: usize) -> bool {
        self.receive_from(Way::Shared, |shard| shard.udp.get(socket))
    }

    /// Take what waits at a socket, which may be gone once a datagram was served; whether more may wait.
    pub(super) fn receive_from<S: AsRawFd>(
        &mut self,
        way: Way,
        socket: impl Fn(&Self) -> Option<&S>,
    ) -> bool {
        let Some(mut receiver) = self.receiver.take() else {
            return false;
        };
        let mut more = true;
        for _ in 0..RECEIVE_TURNS {
            let count = match socket(self).map_or(Ok(0), |socket| receiver.receive(socket)) {
                Ok(count) => count,
                // A connected socket hears first that the peer's port is closed; its goodbye waits behind that.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => {
                    tracing::warn!(%error, "receive failed");
                    0
                }
            };
            let now = Instant::now();
            for i in 0..count {
                let (source, local, bytes) = receiver.datagram(i);
                self.totals.packets_in += 1;
                self.totals.bytes_in += bytes.len() as u64;
                self.on_datagram(source, local, bytes, way, now);
            }
            more = count == RECEIVE_BATCH;
            if !more {
                break;
            }
        }
        self.receiver = Some(receiver);
        more
    }

    /// A datagram came in.
    pub(super) fn on_datagram(
        &mut self,
        source: SocketAddr,
        local: Option<IpAddr>,
        bytes: &mut [u8],
        way: Way,
        now: Instant,
    ) {
        let path = Path {
            remote: source,
            local,
            tcp: false,
        };
        if let Some(&slot) = self.by_path.get(&(source, false)) {
            let reused = stun::binding_username(bytes)
                .is_some_and(|(ours, _)| self.sessions[slot].session.ufrag() != ours);
            if !reused {
                if self.feed_session(slot, path, bytes, now) && self.comes_late(slot, way) {
                    self.redirect(slot, path);
                }
                return;
            }
        } else if let Some(&thread) = self.routes.get(&source)
            && way.thread().is_none()
            && stun::binding_username(bytes).is_none()
        {
            self.hand_over(thread, source, local, bytes);
            return;
        }
        let Some((ours, _)) = stun::binding_username(bytes) else {
            self.totals.datagrams_dropped += 1;
            return;
        };
        let here = self.by_ufrag.get(ours).copied();
        let elsewhere = self.thread_of(ours).filter(|_| way.thread().is_none());
        // Nothing is done, and nobody troubled, for a name alone.
        let named = here.is_some() || elsewhere.is_some();
        let genuine = named && self.shared.mint.is_genuine(ours, bytes);
        if let Some(slot) = here.filter(|_| genuine) {
            let taken = self.feed_session(slot, path, bytes, now);
            match way.thread() {
                Some(_) if taken => self.redirect(slot, path),
                Some(from) => self.disown(from, source),
                None => {}
            }
        } else if let Some(thread) = elsewhere.filter(|_| genuine) {
            // The answer goes out on that thread, and what follows it may be here before any word from there.
            self.route(source, thread);
            self.hand_over(thread, source, local, bytes);
        } else {
            self.totals.datagrams_dropped += 1;
            if let Some(from) = way.thread() {
                self.disown(from, source);
            }
        }
    }

    /// What comes from here belongs to that thread from now on.
    fn route(&mut self, source: SocketAddr, thread: usize) {
        self.by_path.remove(&(source, false));
        if self.routes.len() < MAX_ROUTES {
            self.routes.insert(source, thread);
        }
    }

    /// Nobody here is expected from this address; the thread that handed its request over must forget it.
    fn disown(&self, from: usize, source: SocketAddr) {
        let thread = self.index;
        self.shared.mailboxes[from].send(Command::Forget { source, thread });
    }

    pub(super) fn hand_over(
        &self,
        thread: usize,
        source: SocketAddr,
        local: Option<IpAddr>,
        bytes: &[u8],
    ) {
        let command = Command::Datagram {
            from: self.index,
            source,
            local,
            bytes: bytes.into(),
        };
        self.shared.mailboxes[thread].send(command);
    }

    /// The other thread that a user fragment names.
    pub(super) fn thread_of(&self, ufrag: &str) -> Option<usize> {
        let thread = usize::from_str_radix(ufrag.get(..2)?, 16).ok()?;
        (thread != self.index && thread < self.shared.mailboxes.len()).then_some(thread)
    }

    /// Give a datagram to its session; whether the session took it.
    pub(super) fn feed_session(
        &mut self,
        slot: usize,
        from: Path,
        bytes: &mut [u8],
        now: Instant,
    ) -> bool {
        if !self.handshakes.admit(from.remote.ip(), bytes, now) {
            self.totals.datagrams_dropped += 1;
            return false;
        }
        let (session, outbox) = (&mut self.sessions[slot].session, &mut self.outbox);
        let port = self.port;
        let result = catch_unwind(AssertUnwindSafe(|| {
            session.handle_datagram(now, from, port, bytes, outbox)
        }));
        let Ok(handled) = result else {
            self.after_panic(slot, now);
            return false;
        };
        if !handled.taken {
            self.totals.datagrams_dropped += 1;
            return false;
        }
        self.remember_path(slot, (from.remote, from.tcp));
        if handled.connected {
            self.on_connected(slot, now);
        }
        self.answer_feedback(slot, handled, now);
        self.drive(slot, now);
        true
    }

    fn remember_path(&mut self, slot: usize, path: (SocketAddr, bool)) {
        // An address may have belonged to an earlier session of the same peer.
        if self.by_path.insert(path, slot) == Some(slot) {
            return;
        }
        let entry = &mut self.sessions[slot];
        if entry.paths.contains(&path) {
            return;
        }
        entry.paths.push(path);
        if entry.paths.len() > MAX_PATHS {
            let oldest = entry.paths.remove(0);
            self.forget_path(slot, oldest);
            self.forget_route(oldest.0);
        }
    }

    /// The session no longer uses this address; another may.
    pub(super) fn forget_path(&mut self, slot: usize, path: (SocketAddr, bool)) {
        if self.by_path.get(&path) == Some(&slot) {
            self.by_path.remove(&path);
        }
    }

    /// Send again what was lost, and ask for a keyframe if the picture is gone.
    fn answer_feedback(&mut self, slot: usize, handled: Handled, now: Instant) {
        let Some(entry) = self.sessions.get_mut(slot) else {
            return;
        };
        let feed = entry.feed;
        let source = &self.feeds[feed].source;
        if handled.lost
            && let Session::Viewer(viewer) = &mut entry.session
        {
            viewer.resend(source, now, &mut self.outbox);
        }
        if handled.keyframe {
            let wants = entry.session.on_keyframe_request(source, now);
            self.grant(feed, slot, &wants, now);
        }
    }
}
