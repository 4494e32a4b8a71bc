//! Frames on a media thread: publishers and readers of them, and what transcoders make.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use stagecast_core::Kind;
use stagecast_core::frame::Frame;
use stagecast_core::id::{SessionId, SourceKey};

use super::{Entry, Shard};
use crate::events::Event;
use crate::frames::Outlet;
use crate::webrtc::feed::{Feed, News};
use crate::webrtc::frame_side::Transcoding;
use crate::webrtc::mailbox::{LadderNews, Rung};
use crate::webrtc::session::Session;

impl Shard {
    /// A frame of a publisher; a panic over it ends that publisher only.
    pub(super) fn on_frame(
        &mut self,
        session: SessionId,
        name: (&Arc<str>, &Arc<str>),
        frame: Frame,
        now: Instant,
    ) {
        let Some(&slot) = self.by_id.get(&session) else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| self.take_frame(slot, name, frame, now))).is_err() {
            self.after_panic(slot, now);
        }
    }

    fn take_frame(
        &mut self,
        slot: usize,
        (track, rid): (&Arc<str>, &Arc<str>),
        mut frame: Frame,
        now: Instant,
    ) {
        let feed = self.sessions[slot].feed;
        if self.feeds[feed].publisher != Some(slot) {
            self.take_over(feed, slot, now);
        }
        let Some(Entry {
            session: Session::Frames(session),
            ..
        }) = self.sessions.get_mut(slot)
        else {
            return;
        };
        session.taken(frame.data.len());
        let entry = &mut self.feeds[feed];
        let quiet = entry.outbox.is_empty();
        let mut news = News::default();
        let kind = frame.kind();
        let taken = session
            .publisher
            .take((track, rid), &mut frame, now, |inbound| {
                let more = entry.take_in(track, kind, false, rid, inbound);
                news.new_layer |= more.new_layer;
                news.awaited |= more.awaited;
            });
        if !taken {
            return;
        }
        news.new_layer |= entry.frames.push(track, rid, &frame, now);
        if quiet && !entry.outbox.is_empty() {
            self.relaying.push(feed);
        }
        self.act_on(feed, news);
    }

    /// A frame that was made from frames of the publisher `generation`.
    pub(super) fn on_companion(
        &mut self,
        key: &SourceKey,
        generation: u32,
        track: &Arc<str>,
        mut frame: Frame,
        now: Instant,
    ) {
        let Some(entry) = self.feed_of_generation(key, generation) else {
            return;
        };
        if !entry.frames.is_news(track, &frame) {
            return;
        }
        frame.capture = frame.capture.min(now);
        let rid: Arc<str> = Arc::from("");
        let quiet = entry.outbox.is_empty();
        let mut news = News::default();
        let kind = frame.kind();
        for inbound in entry.frames.packetize_companion(track, &frame, now) {
            let more = entry.take_in(track, kind, false, &rid, inbound);
            news.new_layer |= more.new_layer;
            news.awaited |= more.awaited;
        }
        // Opus is made for viewers. Readers of frames have the AAC that it is made of, and it stays.
        if !frame.config.codec.is_webrtc() {
            news.new_layer |= entry.frames.push(track, &rid, &frame, now);
        }
        if let Some(&feed) = self.by_key.get(key) {
            if quiet && !self.feeds[feed].outbox.is_empty() {
                self.relaying.push(feed);
            }
            self.act_on(feed, news);
        }
    }

    /// Of layers that are made from the publisher's picture.
    pub(super) fn on_ladder(&mut self, news: &LadderNews) {
        let track = &news.track;
        if let Some(entry) = self.feed_of_generation(&news.key, news.generation) {
            match &news.rung {
                Rung::Announced(layers) => entry.frames.announce_rungs(track, layers),
                Rung::Picture(layer, frame) => entry.frames.push_rung((track, layer), frame),
            }
        }
    }

    fn feed_of_generation(&mut self, key: &SourceKey, generation: u32) -> Option<&mut Feed> {
        let entry = &mut self.feeds[*self.by_key.get(key)?];
        let current = entry.publisher.is_some() && entry.source.generation == generation;
        current.then_some(entry)
    }

    fn act_on(&mut self, feed: usize, news: News) {
        if news.awaited {
            self.awaited.push(feed);
        }
        if news.new_layer {
            self.announce(feed);
        }
    }

    pub(super) fn read_frames(&mut self, key: SourceKey, outlet: Outlet, now: Instant) {
        let feed = self.feed_of(key);
        let entry = &mut self.feeds[feed];
        let live = entry.publisher.is_some();
        let packets = live && !self.publishes_frames(feed);
        let entry = &mut self.feeds[feed];
        let mut wanted = Vec::new();
        if packets {
            wanted = entry.frames.open_tap(&entry.source);
        }
        let generation = live.then_some(entry.source.generation);
        entry.frames.attach(outlet, generation);
        for (track, rid) in wanted {
            self.want_keyframe(feed, &track, &rid, now);
        }
    }

    /// Ask a WebRTC publisher for a keyframe of every layer; other publishers cannot be asked.
    pub(super) fn ask_keyframes(&mut self, key: &SourceKey, now: Instant) {
        let Some(&feed) = self.by_key.get(key) else {
            return;
        };
        if self.publishes_frames(feed) {
            return;
        }
        let tracks = self.feeds[feed].source.tracks.iter();
        let layers = tracks
            .filter(|track| track.kind == Kind::Video)
            .flat_map(|track| {
                let rids = track.layers.iter().map(|layer| Arc::clone(&layer.rid));
                rids.map(|rid| (Arc::clone(&track.name), rid))
            });
        for (track, rid) in layers.collect::<Vec<_>>() {
            self.want_keyframe(feed, &track, &rid, now);
        }
    }

    /// A publisher has taken over a source whose frames are read.
    pub(super) fn begin_frames(&mut self, feed: usize, generation: u32) {
        self.feeds[feed].frames.begin(generation);
        if self.feeds[feed].frames.has_readers() && !self.publishes_frames(feed) {
            let entry = &mut self.feeds[feed];
            entry.frames.open_tap(&entry.source);
        }
    }

    pub(super) fn leave_frames(&mut self, key: &SourceKey, reader: u64) {
        if let Some(&feed) = self.by_key.get(key) {
            let own = self.publishes_frames(feed);
            self.feeds[feed].frames.detach(reader, own);
            self.drop_idle(feed);
        }
    }

    fn publishes_frames(&self, feed: usize) -> bool {
        let publisher = self.feeds[feed].publisher;
        let session = publisher.and_then(|slot| self.sessions.get(slot));
        session.is_some_and(|entry| matches!(entry.session, Session::Frames(_)))
    }

    /// Tell the control plane where transcoders are needed.
    pub(super) fn watch_transcoding(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (index, feed) in &mut self.feeds {
            let viewers = !feed.readers.is_empty() || !feed.subscribers.is_empty();
            if feed.publisher.is_none() && !feed.frames.is_transcoding() {
                continue;
            }
            for change in feed.frames.transcoding(&feed.source, viewers, now) {
                let stream = feed.source.key.stream.to_string();
                let source = feed.source.key.source.as_deref().map(str::to_owned);
                self.shared.events.push(match change {
                    Transcoding::Wanted(from, to) => Event::TranscodeWanted {
                        stream,
                        source,
                        from: from.name(),
                        to: to.name(),
                    },
                    Transcoding::Unwanted(from, to) => {
                        over.push(index);
                        Event::TranscodeUnwanted {
                            stream,
                            source,
                            from: from.name(),
                            to: to.name(),
                        }
                    }
                });
            }
        }
        over.dedup();
        for feed in over {
            self.drop_idle(feed);
        }
    }
}
