//! Figures of a thread, once a second.

use std::time::Instant;

use stagecast_core::figures::{SessionFigures, SourceFigures, ThreadFigures, TrackFigures};
use stagecast_core::id::SourceKey;
use str0m::net::Protocol;

use super::{Entry, Shard};
use crate::engine::lock;
use crate::webrtc::mailbox::Sessions;

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
                session: Sessions::Publisher(publisher),
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
                for layer in &mut track.layers {
                    layer.meter.roll(now);
                    let mut figures =
                        publisher.layer_figures(index.unwrap_or_default(), &layer.rid);
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
            report.sessions.push(session_figures(entry, key, now));
        }
        *lock(&self.shared.reports[self.index]) = report;
    }
}

fn session_figures(entry: &mut Entry, key: &SourceKey, now: Instant) -> SessionFigures {
    let peer = entry.peer();
    let remote = peer.remote();
    let mut figures = SessionFigures {
        session: entry.id.to_string(),
        kind: entry.kind(),
        stream: key.stream.to_string(),
        source: key.source.as_deref().map(str::to_owned),
        connected: peer.is_connected(),
        remote: remote.map(|(address, _)| address.to_string()),
        protocol: protocol_name(remote.map(|r| r.1)),
        seconds: (now - peer.created()).as_secs_f64(),
        rtt_ms: None,
        loss: None,
        jitter_ms: None,
        bitrate_bps: 0,
        packets: 0,
        bytes: 0,
        packets_lost: 0,
        nacks: 0,
        plis: 0,
        estimate_bps: None,
    };
    match &entry.session {
        Sessions::Publisher(publisher) => {
            let (packets, bytes, lost, rtt) = publisher.totals();
            (figures.packets, figures.bytes, figures.packets_lost) = (packets, bytes, lost);
            figures.rtt_ms = rtt;
            let (jitter, nacks, plis) = publisher.feedback();
            (figures.jitter_ms, figures.nacks, figures.plis) = (jitter, nacks, plis);
            let expected = packets + lost;
            figures.loss = (expected > 0).then(|| lost as f32 / expected as f32);
        }
        Sessions::Viewer(viewer) => {
            let counters = viewer.counters();
            (figures.packets, figures.bytes) = (counters.packets, counters.bytes);
            let feedback = viewer.feedback();
            figures.rtt_ms = feedback.rtt_ms;
            figures.loss = feedback.loss;
            figures.jitter_ms = feedback.jitter_ms;
            figures.packets_lost = feedback.packets_lost;
            figures.nacks = feedback.nacks;
            figures.plis = feedback.plis;
        }
    }
    figures.bitrate_bps = figures.bytes.saturating_sub(entry.reported_bytes) * 8;
    entry.reported_bytes = figures.bytes;
    figures
}

pub(super) fn protocol_name(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        Some(Protocol::Udp) | None => "udp",
        Some(_) => "tcp",
    }
}
