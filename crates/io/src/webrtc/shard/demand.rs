//! Layers that nobody reads: what the readers of this thread want of a source goes to its home, what
//! its publisher is therefore asked for comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::Kind;
use stagecast_core::hub::{LayerSet, Track};
use stagecast_core::id::SourceKey;

use super::{Entry, Shard};
use crate::events::{AskedLayer, Event};
use crate::webrtc::mailbox::{Command, LayerNews, Layers};
use crate::webrtc::session::Session;

/// Between looks at what is read.
pub(super) const WEIGHING: Duration = Duration::from_millis(250);

impl Shard {
    /// Look at what is read of all sources, if publishers may be asked for less.
    pub(super) fn weigh_layers(&mut self, now: Instant) {
        if !self.shared.pause_unread || now < self.next_weighing {
            return;
        }
        self.next_weighing = now + WEIGHING;
        let feeds: Vec<usize> = self.feeds.iter().map(|(i, _)| i).collect();
        for feed in feeds {
            let Some((track, wanted)) = self.wanted_here(feed, now) else {
                continue;
            };
            match self.feeds[feed].publisher {
                Some(slot) => self.weigh(feed, slot, (track, wanted), now),
                None => self.tell_home(feed, track, wanted),
            }
        }
    }

    /// What the readers of this thread want of the video of a source that has several layers: its
    /// track, and the layers of that.
    fn wanted_here(&self, feed: usize, now: Instant) -> Option<(usize, LayerSet)> {
        let feed = &self.feeds[feed];
        let (index, track) = feed.source.first(Kind::Video)?;
        if track.layers.len() < 2 {
            return None;
        }
        if feed.frames.has_readers() {
            return Some((index, LayerSet::ALL));
        }
        let sessions = feed.readers.iter().filter_map(|&r| self.sessions.get(r));
        let mut wanted = LayerSet::default();
        for entry in sessions.filter(|entry| entry.session.is_connected()) {
            let of_one = entry.session.wanted(&feed.source, now);
            if let Some((_, layers)) = of_one.filter(|one| one.0 == index) {
                wanted = wanted.union(layers);
            }
        }
        Some((index, wanted))
    }

    fn tell_home(&mut self, feed: usize, track: usize, wanted: LayerSet) {
        let feed = &mut self.feeds[feed];
        let home = self.shared.home(&feed.source.key);
        let track = &feed.source.tracks[track];
        let rids = named(track, wanted);
        if home == self.index || feed.told.as_ref() == Some(&rids) {
            return;
        }
        feed.told = Some(rids.clone());
        self.shared.mailboxes[home].send(Command::Layers(LayerNews {
            key: feed.source.key.clone(),
            track: Arc::clone(&track.name),
            layers: Layers::Wanted(self.index, rids),
        }));
    }

    /// Readers of another thread want other layers, or the home of a source says which of them rest.
    pub(super) fn on_layers(&mut self, news: LayerNews) {
        let Some(&feed) = self.by_key.get(&news.key) else {
            return;
        };
        let feed = &mut self.feeds[feed];
        match news.layers {
            Layers::Wanted(thread, rids) => {
                feed.wanted_elsewhere.retain(|wanted| wanted.0 != thread);
                feed.wanted_elsewhere.push((thread, news.track, rids));
            }
            Layers::Resting(layers) => {
                let track = feed.source.tracks.iter_mut().find(|t| t.name == news.track);
                let Some(track) = track else { return };
                for (rid, rest) in layers {
                    if let Some(layer) = track.layer_mut(&rid) {
                        layer.set_rest(rest);
                    }
                }
            }
        }
    }

    fn weigh(
        &mut self,
        feed: usize,
        slot: usize,
        (index, mut wanted): (usize, LayerSet),
        now: Instant,
    ) {
        let Some(Entry {
            session: Session::Publisher(publisher),
            ..
        }) = self.sessions.get_mut(slot)
        else {
            return;
        };
        let entry = &mut self.feeds[feed];
        let track = &mut entry.source.tracks[index];
        for (_, name, rids) in &entry.wanted_elsewhere {
            let there = |i: &usize| *name == track.name && rids.contains(&track.layers[*i].rid);
            wanted = wanted.union((0..track.layers.len()).filter(there).collect());
        }
        let changed = track.weigh(wanted, now);
        let ceiling = entry.source.ceiling(index, now);
        if publisher.keep_to(ceiling, now) {
            self.schedule(slot, now);
        }
        if changed {
            self.ask_layers(feed, slot, index);
        }
    }

    /// Tell the publisher, by way of the control plane, which layers to send, and the other threads which
    /// of them rest.
    fn ask_layers(&self, feed: usize, slot: usize, index: usize) {
        let feed = &self.feeds[feed];
        let track = &feed.source.tracks[index];
        let key = &feed.source.key;
        let asked = track.asked();
        let layers = track
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| AskedLayer {
                layer: layer.rid.to_string(),
                wanted: asked.contains(i),
            });
        self.shared.events.push(Event::LayersAsked {
            stream: key.stream.to_string(),
            source: key.source.as_deref().map(str::to_owned),
            session: self.sessions[slot].id.to_string(),
            track: track.name.to_string(),
            layers: layers.collect(),
        });
        for &thread in &feed.subscribers {
            self.send_rests(key, track, thread);
        }
    }

    /// Tell another thread which layers of a track rest.
    pub(super) fn send_rests(&self, key: &SourceKey, track: &Track, thread: usize) {
        let resting = track.layers.iter();
        let resting = resting.map(|l| (Arc::clone(&l.rid), l.rest)).collect();
        self.shared.mailboxes[thread].send(Command::Layers(LayerNews {
            key: key.clone(),
            track: Arc::clone(&track.name),
            layers: Layers::Resting(resting),
        }));
    }
}

fn named(track: &Track, layers: LayerSet) -> Vec<Arc<str>> {
    let wanted = track.layers.iter().enumerate();
    let wanted = wanted.filter(|(i, _)| layers.contains(*i));
    wanted.map(|(_, layer)| Arc::clone(&layer.rid)).collect()
}
