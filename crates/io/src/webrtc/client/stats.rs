//! Counters of one client and the report made from them.
//!
//! Loss is what stayed missing after retransmission: gaps in the sequence
//! numbers of packets (or of the frames they made), which is what a person sees.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use str0m::net::Protocol;
use str0m::stats::{MediaEgressStats, MediaIngressStats, PeerStats};

use super::{Config, Kind, Role, State};

/// Figures of one client; durations in milliseconds, rates per second over the last second.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// `connecting`, `connected`, `interrupted` or `closed`.
    pub state: &'static str,
    /// Why it is closed.
    pub closed: Option<String>,
    /// ICE state (`new`, `checking`, `connected`, `completed`, `disconnected`).
    pub ice: &'static str,
    /// DTLS state (`new`, `connected`, `closed`).
    pub dtls: &'static str,
    /// `udp` or `tcp`, once a path is chosen.
    pub protocol: Option<&'static str>,
    /// Our end of the path.
    pub local: Option<String>,
    /// The server's end of the path.
    pub remote: Option<String>,
    /// Round trip of the latest ICE check.
    pub rtt_ms: Option<f64>,
    /// Answer taken to DTLS connected.
    pub connect_ms: Option<f64>,
    /// Keyframe requests the server sent us.
    pub keyframe_requests: u64,
    /// Audio and video, those with traffic.
    pub tracks: Vec<TrackStats>,
}

/// Figures of one track.
#[derive(Debug, Clone, Serialize)]
pub struct TrackStats {
    /// `audio` or `video`.
    pub kind: &'static str,
    /// Codec of the last packet; `None` for a publisher.
    pub codec: Option<&'static str>,
    /// Media packets (retransmissions that filled a gap included).
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Packets that never came; for a publisher what the server reported.
    pub packets_lost: u64,
    /// Frames received or sent.
    pub frames: u64,
    /// Frames thrown away because the reader of this client is too slow.
    pub frames_dropped: u64,
    /// Keyframes among them (frame depth only).
    pub keyframes: u64,
    /// Frames in the last second.
    pub fps: f64,
    /// Payload bits in the last second.
    pub bitrate_bps: f64,
    /// Interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter_ms: Option<f64>,
    /// Generic NACKs sent (watch) or received (publish).
    pub nacks: u64,
    /// Picture loss indications sent or received.
    pub plis: u64,
    /// Answer taken to the first media packet or frame.
    pub first_media_ms: Option<f64>,
    /// Answer taken to the first keyframe.
    pub first_keyframe_ms: Option<f64>,
}

pub(super) struct Counters {
    pub arrived: SystemTime,
    pub departed: SystemTime,
    pub connect: Option<Duration>,
    pub ice: &'static str,
    pub keyframe_requests: u64,
    peer: Option<PeerStats>,
    audio: Track,
    video: Track,
}

#[derive(Default)]
struct Track {
    codec: Option<&'static str>,
    packets: u64,
    bytes: u64,
    first_seq: Option<u64>,
    last_seq: u64,
    reported_lost: u64,
    frames: u64,
    frames_dropped: u64,
    keyframes: u64,
    fps: f64,
    bitrate_bps: f64,
    jitter_ms: Option<f64>,
    nacks: u64,
    plis: u64,
    first_media: Option<Duration>,
    first_keyframe: Option<Duration>,
    window: Option<(Instant, u64, u64)>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            arrived: SystemTime::UNIX_EPOCH,
            departed: SystemTime::UNIX_EPOCH,
            connect: None,
            ice: "new",
            keyframe_requests: 0,
            peer: None,
            audio: Track::default(),
            video: Track::default(),
        }
    }
}

impl Counters {
    fn track(&mut self, kind: Kind) -> &mut Track {
        match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        }
    }

    pub fn sent(&mut self, kind: Kind, bytes: usize) {
        let track = self.track(kind);
        track.frames += 1;
        track.bytes += bytes as u64;
    }

    pub fn dropped(&mut self, kind: Kind) {
        self.track(kind).frames_dropped += 1;
    }

    pub fn frame(
        &mut self,
        kind: Kind,
        codec: &'static str,
        seq: RangeInclusive<u64>,
        bytes: usize,
        keyframe: bool,
        started: Instant,
    ) {
        let track = self.track(kind);
        track.codec = Some(codec);
        track.first_seq.get_or_insert(*seq.start());
        track.last_seq = track.last_seq.max(*seq.end());
        track.packets += seq.end() - seq.start() + 1;
        track.bytes += bytes as u64;
        track.frames += 1;
        track.keyframes += u64::from(keyframe);
        track.first_media.get_or_insert_with(|| started.elapsed());
        if keyframe {
            track
                .first_keyframe
                .get_or_insert_with(|| started.elapsed());
        }
    }

    /// Counts a packet; true when a keyframe was seen before it.
    pub fn packet(
        &mut self,
        kind: Kind,
        codec: &'static str,
        seq: u64,
        bytes: usize,
        marker: bool,
        started: Instant,
    ) -> bool {
        let track = self.track(kind);
        track.codec = Some(codec);
        let first = track.first_seq.get_or_insert(seq);
        *first = (*first).min(seq);
        track.last_seq = track.last_seq.max(seq);
        track.packets += 1;
        track.bytes += bytes as u64;
        track.frames += u64::from(marker || kind == Kind::Audio);
        track.first_media.get_or_insert_with(|| started.elapsed());
        track.first_keyframe.is_some()
    }

    pub fn first_keyframe(&mut self, started: Instant) {
        self.video
            .first_keyframe
            .get_or_insert_with(|| started.elapsed());
    }

    pub fn on_peer(&mut self, stats: &PeerStats) {
        self.peer = Some(stats.clone());
        for track in [&mut self.audio, &mut self.video] {
            track.roll(stats.timestamp);
        }
    }

    pub fn on_ingress(&mut self, kind: Kind, stats: &MediaIngressStats) {
        let track = self.track(kind);
        track.nacks = stats.nacks;
        track.plis = stats.plis;
        track.jitter_ms = Some(f64::from(stats.jitter) * 1e3 / f64::from(kind.clock_rate()));
    }

    pub fn on_egress(&mut self, kind: Kind, stats: &MediaEgressStats) {
        let track = self.track(kind);
        track.nacks = stats.nacks;
        track.plis = stats.plis;
        track.packets = stats.packets;
        if let Some(remote) = &stats.remote {
            track.reported_lost = remote.packets_lost;
            track.jitter_ms = Some(f64::from(remote.jitter) * 1e3 / f64::from(kind.clock_rate()));
        }
    }

    pub fn report(&self, config: &Config, state: &State) -> Stats {
        let pair = self
            .peer
            .as_ref()
            .and_then(|p| p.selected_candidate_pair.as_ref());
        let rtt = pair
            .and_then(|p| p.current_round_trip_time)
            .or_else(|| self.peer.as_ref().and_then(|p| p.rtt));
        let tracks = [
            (Kind::Audio, config.audio, &self.audio),
            (Kind::Video, config.video, &self.video),
        ];
        Stats {
            state: state.name(),
            closed: state.closed.clone(),
            ice: self.ice,
            dtls: match (self.connect, &state.closed) {
                (_, Some(_)) => "closed",
                (Some(_), None) => "connected",
                (None, None) => "new",
            },
            protocol: pair.map(|p| {
                if p.protocol == Protocol::Udp {
                    "udp"
                } else {
                    "tcp"
                }
            }),
            local: pair.map(|p| p.local.addr.to_string()),
            remote: pair.map(|p| p.remote.addr.to_string()),
            rtt_ms: rtt.map(millis),
            connect_ms: self.connect.map(millis),
            keyframe_requests: self.keyframe_requests,
            tracks: tracks
                .into_iter()
                .filter(|(_, wanted, track)| *wanted && (track.packets > 0 || track.frames > 0))
                .map(|(kind, _, track)| track.report(kind, config.role))
                .collect(),
        }
    }
}

impl Track {
    fn roll(&mut self, now: Instant) {
        if let Some((since, frames, bytes)) = self.window {
            let seconds = (now - since).as_secs_f64().max(1e-3);
            self.fps = (self.frames - frames) as f64 / seconds;
            self.bitrate_bps = (self.bytes - bytes) as f64 * 8.0 / seconds;
        }
        self.window = Some((now, self.frames, self.bytes));
    }

    fn report(&self, kind: Kind, role: Role) -> TrackStats {
        let expected = self.first_seq.map_or(0, |first| self.last_seq - first + 1);
        TrackStats {
            kind: kind.name(),
            codec: self.codec,
            packets: self.packets,
            bytes: self.bytes,
            packets_lost: match role {
                Role::Publish => self.reported_lost,
                Role::Watch => expected.saturating_sub(self.packets),
            },
            frames: self.frames,
            frames_dropped: self.frames_dropped,
            keyframes: self.keyframes,
            fps: self.fps,
            bitrate_bps: self.bitrate_bps,
            jitter_ms: self.jitter_ms,
            nacks: self.nacks,
            plis: self.plis,
            first_media_ms: self.first_media.map(millis),
            first_keyframe_ms: self.first_keyframe.map(millis),
        }
    }
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}
