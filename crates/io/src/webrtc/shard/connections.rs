//! ICE-TCP connections of this thread.

use std::time::Instant;

use mio::{Interest, Poll, Token};
use stagecast_proto::stun;

use super::{CONNECTIONS, Shard};
use crate::webrtc::mailbox::Command;
use crate::webrtc::tcp::{self, Connection};

impl Shard {
    pub(super) fn accept(&mut self, listener: usize) {
        // Edge-triggered: accept until there is nothing more.
        while let Ok((stream, source)) = self.listeners[listener].accept() {
            let strangers = self.connections.iter().filter(|(_, c)| !c.known).count();
            if strangers >= tcp::MAX_STRANGERS {
                continue;
            }
            // Small frames must not wait for each other.
            let _ = stream.set_nodelay(true);
            let connection = Connection::new(stream, source, Vec::new(), Instant::now());
            if let Some(slot) = self.register(connection) {
                self.serve(slot);
            }
        }
    }

    pub(super) fn register(&mut self, connection: Connection) -> Option<usize> {
        let source = connection.source;
        let slot = self.connections.insert(connection);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = self.connections[slot].stream_mut();
        let registry = self.inbox.poll.registry();
        if let Err(error) = registry.register(stream, Token(CONNECTIONS + slot), interest) {
            tracing::warn!(%error, "cannot watch a connection");
            self.connections.remove(slot);
            return None;
        }
        self.by_connection.insert(source, slot);
        Some(slot)
    }

    pub(super) fn unregister(&mut self, slot: usize) -> Option<Connection> {
        let mut connection = self.connections.try_remove(slot)?;
        self.by_connection.remove(&connection.source);
        let registry: &Poll = &self.inbox.poll;
        // The descriptor is closed next; a failure changes nothing.
        let _ = registry.registry().deregister(connection.stream_mut());
        Some(connection)
    }

    pub(super) fn serve(&mut self, slot: usize) {
        let now = Instant::now();
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let open = connection.fill();
        while let Some(connection) = self.connections.get_mut(slot) {
            let Some(frame) = connection.peek() else {
                break;
            };
            if !connection.known {
                let ufrag = stun::binding_username(frame).map(|(ours, _)| ours.to_owned());
                let here = ufrag.as_deref().and_then(|u| self.by_ufrag.get(u)).copied();
                let Some(session) = here else {
                    let thread = ufrag.as_deref().and_then(|u| self.thread_of(u));
                    if let (Some(connection), Some(thread)) = (self.unregister(slot), thread) {
                        let (stream, source, buffered) = connection.into_parts();
                        let command = Command::Connection {
                            stream,
                            source,
                            buffered,
                        };
                        self.shared.mailboxes[thread].send(command);
                    }
                    return;
                };
                let path = connection.path();
                let Some(mut frame) = connection.take() else {
                    break;
                };
                let taken = self.feed_session(session, path, &mut frame, now);
                let Some(connection) = self.connections.get_mut(slot).filter(|_| taken) else {
                    self.unregister(slot);
                    return;
                };
                connection.known = true;
                continue;
            }
            let path = connection.path();
            let Some(mut frame) = connection.take() else {
                break;
            };
            let Some(&session) = self.by_path.get(&(path.remote, true)) else {
                self.unregister(slot);
                return;
            };
            self.totals.packets_in += 1;
            self.totals.bytes_in += frame.len() as u64;
            self.feed_session(session, path, &mut frame, now);
        }
        if !open {
            self.unregister(slot);
        }
    }
}
