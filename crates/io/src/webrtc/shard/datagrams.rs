//! From a datagram to its session, on this thread or another.
//!
//! The kernel spreads peers over the threads' sockets without knowing sessions.
//! The user fragment of a binding request names the thread; once that request has
//! proved genuine, the thread that got it remembers the way. Before that nothing
//! is kept of a stranger.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use stagecast_proto::stun;
use str0m::net::Protocol;

use super::{MAX_PATHS, RECEIVE_TURNS, Shard};
use crate::webrtc::mailbox::Command;

impl Shard {
    pub(super) fn receive(&mut self, socket: usize) {
        let mut receiver = std::mem::take(&mut self.receiver);
        for _ in 0..RECEIVE_TURNS {
            let count = match receiver.receive(&self.udp[socket]) {
                Ok(count) => count,
                Err(error) => {
                    tracing::warn!(%error, "receive failed");
                    break;
                }
            };
            let now = Instant::now();
            for i in 0..count {
                let (source, local, bytes) = receiver.datagram(i);
                self.totals.packets_in += 1;
                self.totals.bytes_in += bytes.len() as u64;
                self.on_datagram(source, local, bytes, None, now);
            }
            if count < 64 {
                break;
            }
        }
        self.receiver = receiver;
    }

    /// A datagram, from our socket or (`from`) from another thread's.
    pub(super) fn on_datagram(
        &mut self,
        source: SocketAddr,
        local: Option<IpAddr>,
        bytes: &[u8],
        from: Option<usize>,
        now: Instant,
    ) {
        if let Some(&slot) = self.by_path.get(&(source, Protocol::Udp)) {
            let reused = stun::binding_username(bytes)
                .is_some_and(|(ours, _)| self.sessions[slot].peer().ufrag() != ours);
            if !reused {
                self.feed_session(slot, source, local, Protocol::Udp, bytes, now);
                return;
            }
        } else if let Some(&thread) = self.routes.get(&source)
            && from.is_none()
            && stun::binding_username(bytes).is_none()
        {
            self.hand_over(thread, source, local, bytes);
            return;
        }
        let Some((ours, _)) = stun::binding_username(bytes) else {
            self.totals.datagrams_dropped += 1;
            return;
        };
        if let Some(&slot) = self.by_ufrag.get(ours) {
            let taken = self.feed_session(slot, source, local, Protocol::Udp, bytes, now);
            if let Some(from) = from.filter(|_| taken) {
                let command = Command::Route {
                    source,
                    thread: Some(self.index),
                };
                self.shared.mailboxes[from].send(command);
            }
            return;
        }
        match self.thread_of(ours).filter(|_| from.is_none()) {
            Some(thread) => self.hand_over(thread, source, local, bytes),
            None => self.totals.datagrams_dropped += 1,
        }
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
        source: SocketAddr,
        local: Option<IpAddr>,
        protocol: Protocol,
        bytes: &[u8],
        now: Instant,
    ) -> bool {
        let port = match protocol {
            Protocol::Udp => self.udp.first().and_then(|s| s.local_addr().ok()),
            _ => self.listeners.first().and_then(|l| l.local_addr().ok()),
        }
        .map_or_else(|| source.port(), |a| a.port());
        let local_ip = local.unwrap_or_else(|| IpAddr::from([0, 0, 0, 0]));
        let address = SocketAddr::new(local_ip, port);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let entry = &mut self.sessions[slot];
            let peer = entry.peer_mut();
            peer.handle_datagram(now, protocol, source, address, bytes)
        }));
        let Ok(taken) = result else {
            self.after_panic(slot, now);
            return false;
        };
        if !taken {
            self.totals.datagrams_dropped += 1;
            return false;
        }
        let entry = &mut self.sessions[slot];
        entry.local = local;
        let path = (source, protocol);
        if !entry.paths.contains(&path) {
            if entry.paths.len() >= MAX_PATHS {
                let oldest = entry.paths.remove(0);
                self.by_path.remove(&oldest);
            }
            entry.paths.push(path);
            self.by_path.insert(path, slot);
        }
        self.drive(slot, now);
        true
    }
}
