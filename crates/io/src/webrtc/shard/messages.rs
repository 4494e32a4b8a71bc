//! What other threads tell this one: each command, and what it changes here.

use std::time::Instant;

use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::session::{Credentials, Ended};

use super::datagrams::Way;
use super::{Entry, Shard};
use crate::engine::Patched;
use crate::webrtc::mailbox::{Command, PatchReply};
use crate::webrtc::session::Session;
use crate::webrtc::tcp::Connection;

impl Shard {
    /// Obey all that waits.
    pub(super) fn take_messages(&mut self) {
        while let Some(command) = self.inbox.next() {
            let now = Instant::now();
            match command {
                Command::Add { id, key, session } => self.add(id, key, session, now),
                Command::End { session, ended } => {
                    if let Some(&slot) = self.by_id.get(&session) {
                        self.close(slot, ended, now);
                    }
                }
                Command::Layer { session, wish } => {
                    if let Some(&slot) = self.by_id.get(&session) {
                        self.sessions[slot].session.set_wish(wish);
                    }
                }
                Command::Patch {
                    session,
                    fragment,
                    if_match,
                    fresh,
                    reply,
                } => {
                    let result = self.patch(session, &fragment, if_match.as_deref(), fresh, now);
                    // The caller may have given up; then nobody needs the answer.
                    let _ = reply.send(result);
                }
                Command::Datagram {
                    from,
                    source,
                    local,
                    bytes,
                } => {
                    let mut bytes = bytes;
                    self.on_datagram(source, local, &mut bytes, Way::Thread(from), now);
                }
                Command::Forget { source, thread } => {
                    if self.routes.get(&source) == Some(&thread) {
                        self.routes.remove(&source);
                    }
                }
                Command::Connection {
                    stream,
                    source,
                    buffered,
                } => {
                    let connection = Connection::new(stream, source, buffered, now);
                    if let Some(slot) = self.register(connection) {
                        self.serve(slot);
                    }
                }
                Command::Subscribe { key, thread } => {
                    self.leisurely = false;
                    self.subscribe(&key, thread);
                }
                Command::Unsubscribe { key, thread } => self.unsubscribe(&key, thread),
                Command::Begin { key, generation } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.feeds[feed].source.begin(generation);
                        self.feeds[feed].told = None;
                    }
                }
                Command::Packets { key, packets } => {
                    if let Some(&feed) = self.by_key.get(&key)
                        && self.feeds[feed].take(packets, now).awaited
                    {
                        self.awaited.push(feed);
                    }
                }
                Command::Finish { key } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.feeds[feed].source.end();
                    }
                }
                Command::Layers(news) => self.on_layers(news),
                Command::Keyframe { key, track, rid } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.want_keyframe(feed, &track, &rid, now);
                    }
                }
                Command::Frame {
                    session,
                    track,
                    layer,
                    frame,
                } => self.on_frame(session, (&track, &layer), frame, now),
                Command::Companion {
                    key,
                    generation,
                    track,
                    frame,
                } => self.on_companion(&key, generation, &track, frame, now),
                Command::Ladder(news) => self.on_ladder(&news),
                Command::ReadFrames { key, outlet } => self.read_frames(key, outlet, now),
                Command::AskKeyframes { key } => self.ask_keyframes(&key, now),
                Command::LeaveFrames { key, reader } => self.leave_frames(&key, reader),
                Command::Close => self.begin_close(now),
            }
        }
    }

    fn add(&mut self, id: SessionId, key: SourceKey, session: Session, now: Instant) {
        self.leisurely = false;
        let feed = self.feed_of(key);
        let entry = Entry {
            id,
            feed,
            session,
            paths: Vec::new(),
            wake: None,
            reader_wake: None,
            reported_bytes: 0,
        };
        let ufrag = entry.session.ufrag().to_owned();
        let is_viewer = entry.session.is_viewer();
        let slot = self.sessions.insert(entry);
        self.by_id.insert(id, slot);
        self.by_ufrag.insert(ufrag, slot);
        if is_viewer {
            self.feeds[feed].readers.push(slot);
        }
        if self.closing.is_some() {
            self.close(slot, Ended::Shutdown, now);
        } else if matches!(self.sessions[slot].session, Session::Frames(_)) {
            self.on_connected(slot, now);
        } else {
            self.drive(slot, now);
        }
    }

    fn patch(
        &mut self,
        session: SessionId,
        fragment: &str,
        if_match: Option<&str>,
        fresh: Credentials,
        now: Instant,
    ) -> PatchReply {
        let slot = *self.by_id.get(&session)?;
        let entry = &mut self.sessions[slot];
        let before = entry.session.ufrag().to_owned();
        let result = entry.session.patch(now, fragment, if_match, fresh);
        let after = entry.session.ufrag().to_owned();
        let etag = entry.session.etag();
        if before != after {
            self.by_ufrag.remove(&before);
            self.by_ufrag.insert(after, slot);
        }
        self.drive(slot, now);
        Some(result.map(|fragment| Patched { fragment, etag }))
    }
}
