//! Sockets of their own for peers whose datagrams the kernel gives to another thread, and for publishers of a
//! thread that does not listen to the socket of all.
//!
//! The kernel spreads peers over the threads' sockets by a hash of their addresses, sessions are placed by
//! what they read: so at two threads every second session would have each of its datagrams handed over, which
//! wakes two threads. A socket that is connected to the peer (udp(7)) goes before those that are not. It only
//! receives; what is sent goes out by the thread's one socket, many peers in one call.
//!
//! How many there are is bounded, because kernels before 6.13 look through all connected sockets of an
//! address one by one. Beyond that, and where no socket can be had, datagrams are handed over.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use stagecast_core::outbox::Path;

use super::datagrams::Way;
use super::{DIRECT, Entry, Shard};
use crate::webrtc::udp::PeerSocket;

/// Sockets of a thread.
const MAX_DIRECT: usize = 256;

/// The socket of one peer.
#[derive(Debug)]
pub(super) struct Direct {
    /// The session whose peer it is; a session has one at most.
    slot: usize,
    peer: SocketAddr,
    local: SocketAddr,
    socket: PeerSocket,
}

impl Shard {
    /// Let the next datagrams of this session come to a socket of its own.
    pub(super) fn redirect(&mut self, slot: usize, path: Path) {
        let chosen =
            |entry: &Entry| entry.session.is_connected() && entry.session.path() == Some(path);
        let Some(ip) = path
            .local
            .filter(|_| self.sessions.get(slot).is_some_and(chosen))
        else {
            return;
        };
        let (local, peer) = (SocketAddr::new(ip, self.port), path.remote);
        if self.direct.len() >= MAX_DIRECT
            || self
                .direct
                .iter()
                .any(|(_, d)| (d.local, d.peer) == (local, peer))
        {
            return;
        }
        self.close_direct(slot);
        let socket = match PeerSocket::connect(local, peer) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%error, "no socket for a peer of its own");
                return;
            }
        };
        let index = self.direct.insert(Direct {
            slot,
            peer,
            local,
            socket,
        });
        let fd = self.direct[index].socket.as_raw_fd();
        let poll = if self.sessions[slot].session.is_viewer() {
            &self.quiet
        } else {
            &self.inbox.poll
        };
        let registry = poll.registry();
        let token = Token(DIRECT + index);
        if registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .is_err()
        {
            self.direct.remove(index);
        }
    }

    /// Whether datagrams of this session that come this way would better come by a socket of its own.
    pub(super) fn comes_late(&self, slot: usize, way: Way) -> bool {
        match way {
            Way::Direct => false,
            Way::Thread(_) => true,
            Way::Shared => {
                let entry = self.sessions.get(slot);
                self.looks && entry.is_some_and(|entry| !entry.session.is_viewer())
            }
        }
    }

    pub(super) fn receive_directly(&mut self, index: usize) -> bool {
        self.receive_from(Way::Direct, |shard| {
            shard.direct.get(index).map(|d| &d.socket)
        })
    }

    /// The session is over, or its peer has moved. Closing a socket also takes it out of the poll.
    pub(super) fn close_direct(&mut self, slot: usize) {
        self.direct.retain(|_, direct| direct.slot != slot);
    }
}
