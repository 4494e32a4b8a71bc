//! A source on one media thread: its packets, who feeds it here, who reads it
//! here, and which other threads want a copy.
//!
//! All publishers of a stream live on its home thread. Another thread that has
//! viewers subscribes there and gets every packet once, with a shared payload.

use std::sync::Arc;

use stagecast_core::hub::ring::Limits;
use stagecast_core::hub::{Inbound, Source};
use stagecast_core::id::SourceKey;
use stagecast_core::packet::{Format, Packet};
use stagecast_core::session::Publisher;

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
    /// Packets for them since the last flush.
    pub outbox: Vec<Relayed>,
    /// New packets since the last delivery.
    pub dirty: bool,
}

impl Feed {
    /// A feed without publisher and readers.
    pub fn new(key: SourceKey, limits: Limits) -> Self {
        Self {
            source: Source::new(key, limits),
            publisher: None,
            readers: Vec::new(),
            subscribers: Vec::new(),
            outbox: Vec::new(),
            dirty: false,
        }
    }

    /// Whether nobody needs it.
    pub fn is_idle(&self) -> bool {
        self.publisher.is_none() && self.readers.is_empty() && self.subscribers.is_empty()
    }

    /// Take a packet of the local publisher; whether it is the first of its layer.
    pub fn ingest(
        &mut self,
        publisher: &Publisher,
        track: usize,
        rid: &Arc<str>,
        inbound: Inbound,
    ) -> bool {
        let Some(published) = publisher.tracks().get(track) else {
            return false;
        };
        let track =
            self.source
                .track_mut(&published.name, published.kind, published.can_ask_keyframe);
        let Some(layer) = track.layer_mut(rid) else {
            return false;
        };
        let first = layer.ring.end() == 0;
        let packet = layer.ingest(inbound);
        if !self.subscribers.is_empty() {
            self.outbox.push(Relayed {
                track: Arc::clone(&published.name),
                kind: published.kind,
                can_ask_keyframe: published.can_ask_keyframe,
                rid: Arc::clone(rid),
                packet: packet.clone(),
            });
        }
        self.dirty = true;
        first
    }

    /// Take packets that another thread has ingested.
    pub fn take(&mut self, packets: Vec<Relayed>) {
        for relayed in packets {
            let track =
                self.source
                    .track_mut(&relayed.track, relayed.kind, relayed.can_ask_keyframe);
            if let Some(layer) = track.layer_mut(&relayed.rid) {
                layer.push(relayed.packet);
            }
        }
        self.dirty = true;
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
