//! Serving sessions: what they send, what they report, how they end.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

use stagecast_core::session::peer::Step;
use stagecast_core::session::{Ended, PublisherEvent};

use super::{Entry, Shard};
use crate::engine::lock;
use crate::events::{Event, SessionRef};
use crate::webrtc::mailbox::Command;
use crate::webrtc::session::Session;

impl Shard {
    /// Let a session do what it has to; a panic ends it.
    pub(super) fn drive(&mut self, slot: usize, now: Instant) {
        if catch_unwind(AssertUnwindSafe(|| self.drive_inner(slot, now))).is_err() {
            self.after_panic(slot, now);
        }
    }

    fn drive_inner(&mut self, slot: usize, now: Instant) {
        loop {
            let Some(entry) = self.sessions.get_mut(slot) else {
                return;
            };
            if let Session::Viewer(viewer) = &entry.session {
                let (ended, wake) = (viewer.ended().cloned(), viewer.wake());
                match ended {
                    Some(ended) => self.remove(slot, &ended, now),
                    None => self.schedule(slot, wake),
                }
                return;
            }
            if let Session::Frames(frames) = &entry.session {
                if let Some(ended) = frames.ended.clone() {
                    self.remove(slot, &ended, now);
                }
                return;
            }
            let Some(peer) = entry.session.peer_mut() else {
                return;
            };
            match peer.poll(now, &mut self.outbox) {
                Step::Connected => self.on_connected(slot, now),
                Step::Media(event) => self.on_media(slot, *event, now),
                Step::Wait(at) => {
                    self.schedule(slot, at);
                    return;
                }
                Step::Ended(ended) => {
                    self.remove(slot, &ended, now);
                    return;
                }
            }
        }
    }

    pub(super) fn on_connected(&mut self, slot: usize, now: Instant) {
        let reference = self.reference(slot);
        self.shared.events.push(Event::SessionConnected(reference));
        let entry = &self.sessions[slot];
        if entry.session.is_viewer() {
            self.deliver(entry.feed, slot, now);
        }
    }

    fn on_media(&mut self, slot: usize, event: str0m::Event, now: Instant) {
        let entry = &mut self.sessions[slot];
        let feed = entry.feed;
        match &mut entry.session {
            Session::Publisher(publisher) => {
                let PublisherEvent::Packet {
                    track,
                    rid,
                    inbound,
                } = publisher.handle_event(event)
                else {
                    return;
                };
                if self.feeds[feed].publisher != Some(slot) {
                    self.take_over(feed, slot, now);
                }
                let Some(Entry {
                    session: Session::Publisher(publisher),
                    ..
                }) = self.sessions.get(slot)
                else {
                    return;
                };
                let entry = &mut self.feeds[feed];
                let quiet = entry.outbox.is_empty();
                let news = entry.ingest(publisher, track, &rid, inbound);
                if quiet && !entry.outbox.is_empty() {
                    self.relaying.push(feed);
                }
                if news.awaited {
                    self.awaited.push(feed);
                }
                if news.new_layer {
                    self.announce(feed);
                }
                if news.wants_keyframe
                    && let Some(Entry {
                        session: Session::Publisher(publisher),
                        ..
                    }) = self.sessions.get(slot)
                    && let Some(name) = publisher.tracks().get(track).map(|t| t.name.clone())
                {
                    self.want_keyframe(feed, &name, &rid, now);
                }
            }
            Session::Viewer(_) | Session::Frames(_) => {}
            Session::RtcViewer(viewer) => {
                if viewer.handle_event(event) {
                    let wants = viewer.on_keyframe_request(&self.feeds[feed].source, now);
                    self.grant(feed, slot, &wants, now);
                }
            }
        }
    }

    pub(super) fn close(&mut self, slot: usize, ended: Ended, now: Instant) {
        self.sessions[slot].session.close(ended, &mut self.outbox);
        self.drive(slot, now);
    }

    pub(super) fn after_panic(&mut self, slot: usize, now: Instant) {
        tracing::error!(thread = self.index, "a session panicked and was ended");
        if self.sessions.contains(slot) {
            self.remove(slot, &Ended::Error("internal fault".into()), now);
        }
    }

    pub(super) fn remove(&mut self, slot: usize, ended: &Ended, now: Instant) {
        let reference = self.reference(slot);
        let entry = self.sessions.remove(slot);
        self.timers.forget(slot);
        self.close_direct(slot);
        self.by_id.remove(&entry.id);
        self.by_ufrag.remove(entry.session.ufrag());
        for path in &entry.paths {
            self.forget_path(slot, *path);
            if !path.1 {
                self.forget_route(path.0);
            } else if let Some(&connection) = self.by_connection.get(&path.0) {
                // It closes once the goodbye is out.
                self.connections[connection].finish();
            }
        }
        lock(&self.shared.placed).remove(&entry.id);
        self.shared.loads[self.index].fetch_sub(1, Ordering::Relaxed);
        // Whoever hears of the end must not find the source alive, or its publisher unaware.
        if let Session::Frames(frames) = &entry.session {
            frames.tell(ended);
        }
        let key = self.feeds[entry.feed].source.key.clone();
        if self.feeds[entry.feed].publisher == Some(slot) {
            lock(&self.shared.live).remove(&key);
        }
        let seconds = (now - entry.session.created()).as_secs_f64();
        self.shared.events.push(Event::SessionEnded {
            session: reference,
            reason: ended.reason().to_owned(),
            detail: ended.detail().map(str::to_owned),
            seconds,
        });
        let feed = &mut self.feeds[entry.feed];
        feed.readers.retain(|&r| r != slot);
        if feed.publisher == Some(slot) {
            feed.publisher = None;
            feed.source.end();
            feed.frames.end();
            for &thread in &feed.subscribers {
                self.shared.mailboxes[thread].send(Command::Finish { key: key.clone() });
            }
            self.shared.events.push(Event::SourceEnded {
                stream: key.stream.to_string(),
                source: key.source.as_deref().map(str::to_owned),
                session: entry.id.to_string(),
            });
        }
        self.drop_idle(entry.feed);
    }

    /// Others need not hand over what comes from here.
    pub(super) fn forget_route(&self, source: SocketAddr) {
        for (other, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if other != self.index {
                let thread = self.index;
                mailbox.send(Command::Forget { source, thread });
            }
        }
    }

    pub(super) fn reference(&self, slot: usize) -> SessionRef {
        let entry = &self.sessions[slot];
        let key = &self.feeds[entry.feed].source.key;
        let (remote, protocol) = entry.session.remote();
        SessionRef {
            session: entry.id.to_string(),
            kind: entry.session.kind(),
            stream: key.stream.to_string(),
            source: key.source.as_deref().map(str::to_owned),
            remote,
            protocol,
        }
    }
}
