//! A source on one media thread: its packets, who feeds it here, who reads it
//! here, and which other threads want a copy.
//!
//! All publishers of a stream live on its home thread. Another thread that has
//! viewers subscribes there and gets every packet once, with a shared payload.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::Kind;
use stagecast_core::hub::ring::Limits;
use stagecast_core::hub::{Inbound, Source};
use stagecast_core::id::SourceKey;
use stagecast_core::packet::{Format, Packet};
use stagecast_core::session::Publisher;

use super::frame_side::FrameSide;
use super::mailbox::Relayed;

/// A source with its publisher and readers of this thread.
#[derive(Debug)]
pub struct Feed {
    /// The packets.
    pub source: Source,
    /// The publisher's session, on the home thread.
    pub publisher: Option<usize>,
    /// The viewers' sessions on this thread.
    pub readers: Vec<usize>,
    /// Other threads that have viewers.
    pub subscribers: Vec<usize>,
    /// The layers that those want, by thread and track.
    pub wanted_elsewhere: Vec<(usize, Arc<str>, Vec<Arc<str>>)>,
    /// The layers that the home thread was told to be wanted here.
    pub told: Option<Vec<Arc<str>>>,
    /// Packets for them since the last flush.
    pub outbox: Vec<Relayed>,
    /// When new packets go to the readers; `None` while there are none.
    pub due: Option<Instant>,
    /// Its frames, on the home thread.
    pub frames: FrameSide,
    wait: BurstWait,
}

/// What a thread that has subscribed counts for: it has readers, but does not tell how many.
const READERS_ELSEWHERE: usize = 50;

/// How long packets wait for the rest of their frame.
///
/// A message to a viewer costs the kernel about as much as a few more packets in
/// it, so a wait pays with many readers only; few have their packets at once.
#[derive(Debug, Clone, Copy)]
pub struct BurstWait {
    /// However many readers there are.
    pub longest: Duration,
    /// For each reader on this thread.
    pub per_reader: Duration,
}

impl BurstWait {
    /// For the setting of the longest wait, within which also the last reader should have what waited.
    pub fn new(longest: Duration) -> Self {
        Self {
            longest: longest * 9 / 10,
            per_reader: Duration::from_micros(100),
        }
    }
}

/// What new packets mean to the thread.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// The source has a layer more.
    pub new_layer: bool,
    /// The feed is due now or soon and was not before.
    pub awaited: bool,
    /// Readers of frames need a keyframe of this layer.
    pub wants_keyframe: bool,
}

impl Feed {
    /// A feed without publisher and readers.
    pub fn new(key: SourceKey, limits: Limits, wait: BurstWait) -> Self {
        Self {
            source: Source::new(key, limits),
            publisher: None,
            readers: Vec::new(),
            subscribers: Vec::new(),
            wanted_elsewhere: Vec::new(),
            told: None,
            outbox: Vec::new(),
            due: None,
            frames: FrameSide::new(limits),
            wait,
        }
    }

    /// Whether nobody needs it.
    pub fn is_idle(&self) -> bool {
        self.publisher.is_none()
            && self.readers.is_empty()
            && self.subscribers.is_empty()
            && !self.frames.has_readers()
            && !self.frames.is_transcoding()
    }

    /// New packets came; whether readers were not waiting for some already.
    ///
    /// The end of a frame goes out at once, what comes before it waits for it, for
    /// a bounded time, so that a frame is one message to each viewer.
    fn expect(&mut self, frame_end: bool, now: Instant) -> bool {
        let readers = self.readers.len() + self.subscribers.len() * READERS_ELSEWHERE;
        let wait = if frame_end {
            Duration::ZERO
        } else {
            self.wait.longest.min(self.wait.per_reader * readers as u32)
        };
        let due = now + wait;
        let first = self.due.is_none();
        self.due = Some(self.due.map_or(due, |d| d.min(due)));
        first
    }

    /// Take a packet of the local publisher.
    pub fn ingest(
        &mut self,
        publisher: &Publisher,
        track: usize,
        rid: &Arc<str>,
        inbound: Inbound,
    ) -> News {
        let Some(published) = publisher.tracks().get(track) else {
            return News::default();
        };
        let (name, kind) = (&published.name, published.kind);
        let mut news = self.take_in(name, kind, published.can_ask_keyframe, rid, inbound);
        if self.frames.is_tapped() {
            let track = self
                .source
                .track_mut(name, kind, published.can_ask_keyframe);
            let packet = track.layer_mut(rid).and_then(|l| l.ring.last().cloned());
            news.wants_keyframe = packet.is_some_and(|p| self.frames.tap(name, rid, p));
        }
        news
    }

    /// Take a packet into its ring and the outboxes.
    pub fn take_in(
        &mut self,
        name: &Arc<str>,
        kind: Kind,
        can_ask_keyframe: bool,
        rid: &Arc<str>,
        inbound: Inbound,
    ) -> News {
        let track = self.source.track_mut(name, kind, can_ask_keyframe);
        let Some(layer) = track.layer_mut(rid) else {
            return News::default();
        };
        let new_layer = layer.ring.end() == 0;
        let packet = layer.ingest(inbound);
        let frame_end = packet.marker && kind == Kind::Video;
        let now = packet.arrival;
        if !self.subscribers.is_empty() {
            self.outbox.push(Relayed {
                track: Arc::clone(name),
                kind,
                can_ask_keyframe,
                rid: Arc::clone(rid),
                packet: packet.clone(),
            });
        }
        News {
            new_layer,
            awaited: self.expect(frame_end, now),
            wants_keyframe: false,
        }
    }

    /// Take packets that another thread has ingested.
    pub fn take(&mut self, packets: Vec<Relayed>, now: Instant) -> News {
        for relayed in packets {
            let track =
                self.source
                    .track_mut(&relayed.track, relayed.kind, relayed.can_ask_keyframe);
            if let Some(layer) = track.layer_mut(&relayed.rid) {
                layer.push(relayed.packet);
            }
        }
        // They have waited for the rest of their frame already.
        News {
            new_layer: false,
            awaited: self.expect(true, now),
            wants_keyframe: false,
        }
    }

    /// What a new subscriber needs: every layer from its last keyframe on.
    pub fn snapshot(&self) -> Vec<Relayed> {
        let mut packets = Vec::new();
        for track in &self.source.tracks {
            for layer in &track.layers {
                packets.extend(layer.ring.from_keyframe().map(|packet: &Packet| Relayed {
                    track: Arc::clone(&track.name),
                    kind: track.kind,
                    can_ask_keyframe: track.can_ask_keyframe,
                    rid: Arc::clone(&layer.rid),
                    packet: packet.clone(),
                }));
            }
        }
        packets
    }

    /// Formats of the tracks that have media.
    pub fn formats(&self) -> Vec<Format> {
        let format = |t: &stagecast_core::hub::Track| {
            t.layers
                .iter()
                .find_map(|l| l.ring.last())
                .map(|p| p.format)
        };
        self.source.tracks.iter().filter_map(format).collect()
    }
}
