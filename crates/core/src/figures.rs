//! What is measured: counters that the hub and the sessions keep, and the
//! once-a-second snapshot of them that goes to the control plane.

use std::time::Instant;

use serde::Serialize;

use crate::packet::MAX_SPATIAL;

/// Counters of one layer; rates are of the last whole second.
#[derive(Debug, Default)]
pub struct LayerMeter {
    packets: u64,
    bytes: u64,
    frames: u64,
    /// Of the whole, and of each spatial layer.
    resolution: Option<(u16, u16)>,
    sizes: [Option<(u16, u16)>; MAX_SPATIAL],
    last_keyframe: Option<Instant>,
    keyframe_interval_ms: Option<u32>,
    window: Option<(Instant, u64, u64)>,
    bitrate_bps: u64,
    fps: f32,
}

impl LayerMeter {
    pub(crate) fn on_packet(
        &mut self,
        payload: usize,
        frame: bool,
        size: Option<(u16, u16)>,
        spatial: u8,
    ) {
        self.packets += 1;
        self.bytes += payload as u64;
        self.frames += u64::from(frame);
        if size.is_some() {
            self.resolution = size;
            if let Some(place) = self.sizes.get_mut(usize::from(spatial)) {
                *place = size;
            }
        }
    }

    /// It is so large, as long as nothing else is known.
    pub(crate) fn suppose(&mut self, size: (u16, u16)) {
        self.resolution.get_or_insert(size);
    }

    pub(crate) fn on_keyframe(&mut self, at: Instant) {
        if let Some(last) = self.last_keyframe.replace(at) {
            self.keyframe_interval_ms = Some((at - last).as_millis() as u32);
        }
    }

    /// Close the running second; call it about once a second.
    pub fn roll(&mut self, now: Instant) {
        if let Some((since, bytes, frames)) = self.window {
            let seconds = (now - since).as_secs_f64().max(0.001);
            self.bitrate_bps = ((self.bytes - bytes) as f64 * 8.0 / seconds) as u64;
            self.fps = ((self.frames - frames) as f64 / seconds) as f32;
        }
        self.window = Some((now, self.bytes, self.frames));
    }

    /// Payload bits a second.
    pub fn bitrate_bps(&self) -> u64 {
        self.bitrate_bps
    }

    /// Frames a second.
    pub fn fps(&self) -> f32 {
        self.fps
    }

    /// Packets since the publisher began.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Width and height in pixels of the last keyframe.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        self.resolution
    }

    /// Width and height of a spatial layer, or of the whole where there is none.
    pub fn resolution_of(&self, spatial: Option<u8>) -> Option<(u16, u16)> {
        match spatial {
            Some(spatial) => *self.sizes.get(usize::from(spatial))?,
            None => self.resolution,
        }
    }

    /// Time between the last two keyframes.
    pub fn keyframe_interval_ms(&self) -> Option<u32> {
        self.keyframe_interval_ms
    }
}

/// All figures of the engine at one time.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Unix time in seconds.
    pub at: f64,
    /// One per media thread.
    pub threads: Vec<ThreadFigures>,
    /// Live sources.
    pub sources: Vec<SourceFigures>,
    /// Every session.
    pub sessions: Vec<SessionFigures>,
    /// HLS players of every source that is segmented.
    pub hls: Vec<HlsFigures>,
}

/// HLS players of a source.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct HlsFigures {
    /// Stream key.
    pub stream: String,
    /// Source id; `None` is the main source.
    pub source: Option<String>,
    /// Players now.
    pub viewers: usize,
    /// Seconds watched by all players since the source is segmented.
    pub viewer_seconds: f64,
}

/// Totals of a media thread since it started.
#[derive(Debug, Default, Clone, Serialize)]
pub struct ThreadFigures {
    /// Its number.
    pub thread: usize,
    /// Sessions it serves now.
    pub sessions: usize,
    /// Datagrams received.
    pub packets_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Datagrams that belong to no session, are malformed, or that the kernel did not take.
    pub datagrams_dropped: u64,
}

/// A live source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceFigures {
    /// Stream key.
    pub stream: String,
    /// Source id; `None` is the main source.
    pub source: Option<String>,
    /// The publisher's session.
    pub session: String,
    /// Its tracks.
    pub tracks: Vec<TrackFigures>,
}

/// A track of a live source.
#[derive(Debug, Clone, Serialize)]
pub struct TrackFigures {
    /// Track name.
    pub track: String,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// Codec name.
    pub codec: &'static str,
    /// Its layers.
    pub layers: Vec<LayerFigures>,
}

/// A spatial and temporal layer of a layer that scales, with all below it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LevelFigures {
    /// Spatial layer; `None` when the layer has one only.
    pub spatial: Option<u8>,
    /// Temporal layer; `None` when the layer has one only.
    pub temporal: Option<u8>,
    /// Bits a second that a viewer of it is sent, headers included.
    pub bitrate_bps: u64,
    /// Pixels.
    pub width: Option<u16>,
    /// Pixels.
    pub height: Option<u16>,
}

/// A layer of a track.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LayerFigures {
    /// Restriction id, empty without simulcast.
    pub layer: String,
    /// Whether packets come now.
    pub active: bool,
    /// The publisher leaves it out because nobody reads it; it comes when somebody does.
    pub resting: bool,
    /// What of it can be read, worst first.
    pub levels: Vec<LevelFigures>,
    /// The publisher's SSRC.
    pub ssrc: u32,
    /// Payload bits a second.
    pub bitrate_bps: u64,
    /// Packets received.
    pub packets: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Frames a second.
    pub fps: f32,
    /// Pixels.
    pub width: Option<u16>,
    /// Pixels.
    pub height: Option<u16>,
    /// Between the last two keyframes.
    pub keyframe_interval_ms: Option<u32>,
    /// NACKs sent to the publisher.
    pub nacks: u64,
    /// Keyframe requests sent to the publisher.
    pub plis: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter_ms: f32,
    /// It has pictures that are shown before ones that came earlier, of which viewers get only those
    /// that others need.
    pub b_frames: bool,
}

/// A publisher's or viewer's session.
#[derive(Debug, Clone, Serialize)]
pub struct SessionFigures {
    /// Session id.
    pub session: String,
    /// `publisher` or `viewer`.
    pub kind: &'static str,
    /// Stream key.
    pub stream: String,
    /// Source id.
    pub source: Option<String>,
    /// Whether ICE and DTLS are through.
    pub connected: bool,
    /// The peer's address.
    pub remote: Option<String>,
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// Seconds since the session was made.
    pub seconds: f64,
    /// Round trip time.
    pub rtt_ms: Option<f32>,
    /// Fraction lost, 0 to 1, as the receiving side reports it.
    pub loss: Option<f32>,
    /// Interarrival jitter as the receiving side reports it.
    pub jitter_ms: Option<f32>,
    /// Media bits a second.
    pub bitrate_bps: u64,
    /// Media packets.
    pub packets: u64,
    /// Media bytes.
    pub bytes: u64,
    /// Packets lost for good.
    pub packets_lost: u64,
    /// NACKs of the receiving side.
    pub nacks: u64,
    /// Keyframe requests of the receiving side.
    pub plis: u64,
    /// Bandwidth estimate for the viewer, where there is one.
    pub estimate_bps: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rates_are_of_the_last_second() {
        let t0 = Instant::now();
        let mut meter = LayerMeter::default();
        meter.roll(t0);
        for _ in 0..30 {
            meter.on_packet(1000, true, Some((1280, 720)), 0);
        }
        meter.roll(t0 + Duration::from_secs(1));
        assert_eq!(meter.bitrate_bps(), 240_000);
        assert!((meter.fps() - 30.0).abs() < 0.01);
        meter.roll(t0 + Duration::from_secs(2));
        assert_eq!(meter.bitrate_bps(), 0);
        assert_eq!(meter.resolution(), Some((1280, 720)));
    }
}
