//! Sources of this thread: who feeds them, who reads them, who is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use stagecast_core::Codec;
use stagecast_core::hub::{Track, Wants};
use stagecast_core::id::SourceKey;
use stagecast_core::session::Ended;

use super::{Entry, Shard};
use crate::engine::{LiveSource, lock};
use crate::events::{Event, TrackRef};
use crate::webrtc::feed::Feed;
use crate::webrtc::mailbox::Command;
use crate::webrtc::session::Session;

/// Bytes queued for viewers before they are sent.
const FLUSH_AT: usize = 128 << 10;

impl Shard {
    pub(super) fn feed_of(&mut self, key: SourceKey) -> usize {
        if let Some(&feed) = self.by_key.get(&key) {
            return feed;
        }
        let feed = self.feeds.insert(Feed::new(
            key.clone(),
            self.shared.limits,
            self.shared.burst_wait,
        ));
        let home = self.shared.home(&key);
        if home != self.index {
            let command = Command::Subscribe {
                key: key.clone(),
                thread: self.index,
            };
            self.shared.mailboxes[home].send(command);
        }
        self.by_key.insert(key, feed);
        feed
    }

    pub(super) fn drop_idle(&mut self, feed: usize) {
        if !self.feeds[feed].is_idle() {
            return;
        }
        // A publisher that has not sent yet holds its feed by its session.
        if self.sessions.iter().any(|(_, e)| e.feed == feed) {
            return;
        }
        let key = self.feeds.remove(feed).source.key;
        self.by_key.remove(&key);
        let home = self.shared.home(&key);
        if home != self.index {
            let command = Command::Unsubscribe {
                key,
                thread: self.index,
            };
            self.shared.mailboxes[home].send(command);
        }
    }

    pub(super) fn unsubscribe(&mut self, key: &SourceKey, thread: usize) {
        if let Some(&index) = self.by_key.get(key) {
            let feed = &mut self.feeds[index];
            feed.subscribers.retain(|&t| t != thread);
            feed.wanted_elsewhere.retain(|wanted| wanted.0 != thread);
            self.drop_idle(index);
        }
    }

    pub(super) fn subscribe(&mut self, key: &SourceKey, thread: usize) {
        let index = self.feed_of(key.clone());
        let feed = &mut self.feeds[index];
        if !feed.subscribers.contains(&thread) {
            feed.subscribers.push(thread);
        }
        if feed.publisher.is_some() {
            // The snapshot holds what the outbox still has for others.
            let waiting = std::mem::take(&mut feed.outbox);
            for &other in feed.subscribers.iter().filter(|&&t| t != thread) {
                let packets = waiting.clone();
                self.shared.mailboxes[other].send(Command::Packets {
                    key: key.clone(),
                    packets,
                });
            }
            let generation = feed.source.generation;
            let packets = feed.snapshot();
            let mailbox = &self.shared.mailboxes[thread];
            mailbox.send(Command::Begin {
                key: key.clone(),
                generation,
            });
            mailbox.send(Command::Packets {
                key: key.clone(),
                packets,
            });
            let feed = &self.feeds[index];
            let resting = |t: &&Track| t.layers.iter().any(|l| l.rest.is_some());
            for track in feed.source.tracks.iter().filter(resting) {
                self.send_rests(key, track, thread);
            }
        }
    }

    /// A publisher's first packet: it feeds the source from now on.
    pub(super) fn take_over(&mut self, feed: usize, slot: usize, now: Instant) {
        let generation = self.shared.generations.fetch_add(1, Ordering::Relaxed);
        let entry = &mut self.feeds[feed];
        let former = entry.publisher.replace(slot);
        entry.outbox.clear();
        entry.wanted_elsewhere.clear();
        entry.source.begin(generation);
        self.begin_frames(feed, generation);
        let entry = &mut self.feeds[feed];
        let key = entry.source.key.clone();
        for &thread in &entry.subscribers {
            self.shared.mailboxes[thread].send(Command::Begin {
                key: key.clone(),
                generation,
            });
        }
        if let Some(former) = former {
            self.close(former, Ended::Replaced, now);
        }
    }

    /// Tell everyone what the source has.
    pub(super) fn announce(&mut self, feed: usize) {
        let feed = &self.feeds[feed];
        let Some(entry) = feed.publisher.and_then(|slot| self.sessions.get(slot)) else {
            return;
        };
        let key = feed.source.key.clone();
        let live = LiveSource {
            formats: feed.formats(),
            session: entry.id,
        };
        lock(&self.shared.live).insert(key.clone(), live);
        let reference = |name: &Arc<str>, codec: Codec| TrackRef {
            track: name.to_string(),
            kind: codec.kind().name(),
            codec: codec.name(),
        };
        let track = |t: &Track| {
            let format = t.layers.iter().find_map(|l| l.ring.last())?.format;
            Some(reference(&t.name, format.codec))
        };
        let mut tracks: Vec<TrackRef> = feed.source.tracks.iter().filter_map(track).collect();
        tracks.extend(
            feed.frames
                .without_packets()
                .map(|(t, codec, _)| reference(&t.name, codec)),
        );
        self.shared.events.push(Event::SourceLive {
            stream: key.stream.to_string(),
            source: key.source.as_deref().map(str::to_owned),
            session: entry.id.to_string(),
            tracks,
        });
    }

    /// Give readers of sources that are due what is theirs.
    pub(super) fn deliver_due(&mut self, now: Instant) {
        let mut i = 0;
        while let Some(&feed) = self.awaited.get(i) {
            let due = self.feeds.get(feed).and_then(|f| f.due);
            if due.is_some_and(|due| due > now) {
                i += 1;
                continue;
            }
            self.awaited.swap_remove(i);
            if due.is_some() {
                self.feeds[feed].due = None;
                self.deliver_all(feed, now);
            }
        }
    }

    fn deliver_all(&mut self, feed: usize, now: Instant) {
        self.feeds[feed].source.even_out();
        // Readers may leave while they are served.
        let mut i = 0;
        while let Some(&slot) = self.feeds.get(feed).and_then(|f| f.readers.get(i)) {
            self.deliver(feed, slot, now);
            // Sealed bytes are sent while they are in the cache, and memory stays small.
            if self.outbox.arena().len() > FLUSH_AT {
                self.flush();
            }
            let stays = self.feeds.get(feed).and_then(|f| f.readers.get(i)) == Some(&slot);
            i += usize::from(stays);
        }
    }

    pub(super) fn deliver(&mut self, feed: usize, slot: usize, now: Instant) {
        let source = &self.feeds[feed].source;
        let Some(entry) = self.sessions.get_mut(slot) else {
            return;
        };
        let (session, outbox) = (&mut entry.session, &mut self.outbox);
        let by_library = matches!(session, Session::RtcViewer(_));
        match catch_unwind(AssertUnwindSafe(|| session.deliver(source, now, outbox))) {
            Ok(wants) => self.grant(feed, slot, &wants, now),
            Err(_) => self.after_panic(slot, now),
        }
        // The lean path has put its datagrams out; the library must be asked for its.
        if by_library {
            self.drive(slot, now);
        }
    }

    pub(super) fn grant(&mut self, feed: usize, slot: usize, wants: &Wants, now: Instant) {
        if let Some(entry) = self.sessions.get_mut(slot) {
            entry.reader_wake = wants.wake;
            if let Some(at) = wants.wake {
                self.timers.arm(slot, at);
            }
        }
        let Some((track, layer)) = wants.keyframe else {
            return;
        };
        let Some(track) = self.feeds[feed].source.tracks.get(track) else {
            return;
        };
        let Some(layer) = track.layers.get(layer) else {
            return;
        };
        let (track, rid) = (Arc::clone(&track.name), Arc::clone(&layer.rid));
        self.want_keyframe(feed, &track, &rid, now);
    }

    /// Ask for a keyframe, here or at the source's home, unless it just was.
    pub(super) fn want_keyframe(
        &mut self,
        feed: usize,
        track: &Arc<str>,
        rid: &Arc<str>,
        now: Instant,
    ) {
        let entry = &mut self.feeds[feed];
        let Some((index, found)) = entry
            .source
            .tracks
            .iter_mut()
            .enumerate()
            .find(|(_, t)| t.name == *track)
        else {
            return;
        };
        let Some(layer) = found.layers.iter_mut().position(|l| l.rid == *rid) else {
            return;
        };
        if found.layers[layer].keyframe_gate.request(now) {
            self.ask_keyframe(feed, index, layer, now);
        }
    }

    pub(super) fn ask_keyframe(&mut self, feed: usize, track: usize, layer: usize, now: Instant) {
        let entry = &self.feeds[feed];
        let track = &entry.source.tracks[track];
        let rid = Arc::clone(&track.layers[layer].rid);
        let name = Arc::clone(&track.name);
        let Some(slot) = entry.publisher else {
            let key = entry.source.key.clone();
            let home = self.shared.home(&key);
            if home != self.index {
                self.shared.mailboxes[home].send(Command::Keyframe {
                    key,
                    track: name,
                    rid,
                });
            }
            return;
        };
        let Some(Entry {
            session: Session::Publisher(publisher),
            ..
        }) = self.sessions.get_mut(slot)
        else {
            return;
        };
        if let Some(index) = publisher.tracks().iter().position(|t| t.name == name) {
            publisher.request_keyframe(index, &rid);
            // Never from inside this publisher's own turn: viewers ask.
            self.schedule(slot, now);
        }
    }

    /// Send the outboxes that are due to the threads that subscribed.
    pub(super) fn relay(&mut self, now: Instant) {
        let mut i = 0;
        while let Some(&index) = self.relaying.get(i) {
            let feed = self.feeds.get_mut(index);
            // A burst is one message to a thread, as it is to a viewer.
            if feed
                .as_ref()
                .is_some_and(|f| f.due.is_some_and(|due| due > now))
            {
                i += 1;
                continue;
            }
            self.relaying.swap_remove(i);
            let Some(feed) = feed else {
                continue;
            };
            let packets = std::mem::take(&mut feed.outbox);
            for &thread in &feed.subscribers {
                let key = feed.source.key.clone();
                let packets = packets.clone();
                self.shared.mailboxes[thread].send(Command::Packets { key, packets });
            }
        }
    }
}
