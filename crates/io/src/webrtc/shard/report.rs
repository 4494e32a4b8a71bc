//! Figures of a thread, once a second.

use std::time::Instant;

use stagecast_core::figures::{SessionFigures, SourceFigures, ThreadFigures, TrackFigures};

use super::{Entry, Shard};
use crate::engine::lock;
use crate::webrtc::session::Session;

/// Figures of one thread.
#[derive(Debug, Default)]
pub struct ShardReport {
    /// Totals.
    pub thread: ThreadFigures,
    /// Sources whose publishers live here.
    pub sources: Vec<SourceFigures>,
    /// Sessions.
    pub sessions: Vec<SessionFigures>,
}

impl Shard {
    pub(super) fn report(&mut self, now: Instant) {
        self.totals.sessions = self.sessions.len();
        let mut report = ShardReport {
            thread: self.totals.clone(),
            ..ShardReport::default()
        };
        for (_, feed) in &mut self.feeds {
            let Some(slot) = feed.publisher else { continue };
            let Some(Entry {
                session: Session::Publisher(publisher),
                id,
                ..
            }) = self.sessions.get(slot)
            else {
                continue;
            };
            let mut tracks = Vec::new();
            for track in &mut feed.source.tracks {
                let index = publisher.tracks().iter().position(|t| t.name == track.name);
                let Some(codec) = track
                    .layers
                    .iter()
                    .find_map(|l| l.ring.last())
                    .map(|p| p.format.codec)
                else {
                    continue;
                };
                let mut layers = Vec::new();
                for number in 0..track.layers.len() {
                    let (active, levels) =
                        (track.is_active(number, now), track.levels(number, now));
                    let layer = &mut track.layers[number];
                    layer.meter.roll(now);
                    let mut figures =
                        publisher.layer_figures(index.unwrap_or_default(), &layer.rid);
                    (figures.active, figures.levels) = (active, levels);
                    figures.bitrate_bps = layer.meter.bitrate_bps();
                    figures.fps = layer.meter.fps();
                    let size = layer.meter.resolution();
                    (figures.width, figures.height) = (size.map(|s| s.0), size.map(|s| s.1));
                    figures.keyframe_interval_ms = layer.meter.keyframe_interval_ms();
                    layers.push(figures);
                }
                tracks.push(TrackFigures {
                    track: track.name.to_string(),
                    kind: codec.kind().name(),
                    codec: codec.name(),
                    layers,
                });
            }
            report.sources.push(SourceFigures {
                stream: feed.source.key.stream.to_string(),
                source: feed.source.key.source.as_deref().map(str::to_owned),
                session: id.to_string(),
                tracks,
            });
        }
        for (_, entry) in &mut self.sessions {
            let key = &self.feeds[entry.feed].source.key;
            let mut figures = entry.session.figures(entry.id, key, now);
            figures.bitrate_bps = figures.bytes.saturating_sub(entry.reported_bytes) * 8;
            entry.reported_bytes = figures.bytes;
            report.sessions.push(figures);
        }
        *lock(&self.shared.reports[self.index]) = report;
    }
}
