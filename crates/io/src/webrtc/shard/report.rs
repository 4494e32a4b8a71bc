//! Figures of a thread, once a second.

use std::time::Instant;

use stagecast_core::Codec;
use stagecast_core::figures::{
    LayerFigures, LayerMeter, SessionFigures, SourceFigures, ThreadFigures, TrackFigures,
};
use stagecast_core::frames::{Face, FramePublisher};
use stagecast_core::hub::Source;
use stagecast_core::session::Publisher;

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
            let Some(Entry { session, id, .. }) = self.sessions.get(slot) else {
                continue;
            };
            let tracks = match session {
                Session::Publisher(publisher) => packet_figures(publisher, &mut feed.source, now),
                Session::Frames(frames) => {
                    let face = &mut feed.frames.face;
                    frame_figures(&frames.publisher, face, &feed.source, now)
                }
                Session::Viewer(_) | Session::RtcViewer(_) => continue,
            };
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

/// Of a publisher of packets.
fn packet_figures(publisher: &Publisher, source: &mut Source, now: Instant) -> Vec<TrackFigures> {
    let mut tracks = Vec::new();
    for track in &mut source.tracks {
        let index = publisher.tracks().iter().position(|t| t.name == track.name);
        let last = track.layers.iter().find_map(|l| l.ring.last());
        let Some(codec) = last.map(|p| p.format.codec) else {
            continue;
        };
        let mut layers = Vec::new();
        for number in 0..track.layers.len() {
            let (active, levels) = (track.is_active(number, now), track.levels(number, now));
            let resting = track.is_resting(number, now);
            let layer = &mut track.layers[number];
            let mut figures = publisher.layer_figures(index.unwrap_or_default(), &layer.rid);
            (figures.active, figures.levels) = (active, levels);
            figures.resting = resting;
            measure(&mut figures, &mut layer.meter, now);
            layers.push(figures);
        }
        tracks.push(track_figures(&track.name, codec, layers));
    }
    tracks
}

/// Of a publisher of frames: what came in, which is more than what viewers get of B-frames.
fn frame_figures(
    publisher: &FramePublisher,
    face: &mut Face,
    source: &Source,
    now: Instant,
) -> Vec<TrackFigures> {
    let mut tracks = Vec::new();
    for track in face.tracks_mut() {
        let Some(codec) = track.layers.first().map(|l| l.config.codec) else {
            continue;
        };
        let mut layers = Vec::new();
        for layer in &mut track.layers {
            let mut figures = LayerFigures {
                layer: layer.rid.to_string(),
                packets: layer.meter.packets(),
                b_frames: publisher.has_b_frames(&track.name, &layer.rid),
                ..LayerFigures::default()
            };
            measure(&mut figures, &mut layer.meter, now);
            figures.active = figures.fps > 0.0;
            let packets = source.tracks.iter().find(|t| t.name == track.name);
            if let Some(packets) = packets
                && let Some(number) = packets.layers.iter().position(|l| l.rid == layer.rid)
            {
                figures.active = packets.is_active(number, now);
                figures.levels = packets.levels(number, now);
            }
            layers.push(figures);
        }
        tracks.push(track_figures(&track.name, codec, layers));
    }
    tracks
}

fn measure(figures: &mut LayerFigures, meter: &mut LayerMeter, now: Instant) {
    meter.roll(now);
    figures.bitrate_bps = meter.bitrate_bps();
    figures.fps = meter.fps();
    let size = meter.resolution();
    (figures.width, figures.height) = (size.map(|s| s.0), size.map(|s| s.1));
    figures.keyframe_interval_ms = meter.keyframe_interval_ms();
}

fn track_figures(name: &str, codec: Codec, layers: Vec<LayerFigures>) -> TrackFigures {
    TrackFigures {
        track: name.to_owned(),
        kind: codec.kind().name(),
        codec: codec.name(),
        layers,
    }
}
