//! Tracks and their layers: from a publisher's RTP packets to ring entries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_proto::codec::{self, Kind};

use super::ring::{Limits, Ring};
use crate::figures::LayerMeter;
use crate::packet::{Format, Packet};

/// At most one keyframe is asked of a publisher in this time: more would cost
/// every viewer quality and give none a picture sooner.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Layers of a track; simulcast has three, OBS allows four.
const MAX_LAYERS: usize = 8;

/// One audio or video track of a source.
#[derive(Debug)]
pub struct Track {
    /// The publisher's name for it: the `mid` of its session description.
    pub name: Arc<str>,
    /// Audio or video.
    pub kind: Kind,
    /// Whether the publisher answers picture loss indications (ffmpeg does not).
    pub can_ask_keyframe: bool,
    /// Simulcast encodings, in order of appearance; one for audio.
    pub layers: Vec<Layer>,
    limits: Limits,
}

impl Track {
    pub(super) fn new(name: &str, kind: Kind, can_ask_keyframe: bool, limits: Limits) -> Self {
        Self {
            name: name.into(),
            kind,
            can_ask_keyframe,
            layers: Vec::new(),
            limits,
        }
    }

    /// The layer with this restriction id (empty without simulcast), made if new.
    ///
    /// `None` when the publisher already has as many layers as are allowed.
    pub fn layer_mut(&mut self, rid: &str) -> Option<&mut Layer> {
        let index = match self.layers.iter().position(|l| &*l.rid == rid) {
            Some(index) => index,
            None if self.layers.len() >= MAX_LAYERS => return None,
            None => {
                self.layers.push(Layer::new(rid, self.kind, self.limits));
                self.layers.len() - 1
            }
        };
        Some(&mut self.layers[index])
    }

    /// The layer of the best picture that has media now.
    pub fn best_layer(&self, now: Instant) -> Option<usize> {
        let rank = |l: &Layer| {
            let (w, h) = l.meter.resolution().unwrap_or((0, 0));
            (
                l.is_active(now),
                u32::from(w) * u32::from(h),
                l.meter.bitrate_bps(),
            )
        };
        (0..self.layers.len())
            .filter(|&i| self.layers[i].ring.end() > 0)
            .max_by_key(|&i| rank(&self.layers[i]))
    }
}

/// One encoding of a track.
#[derive(Debug)]
pub struct Layer {
    /// Restriction id (RFC 8851); empty without simulcast.
    pub rid: Arc<str>,
    /// Its packets.
    pub ring: Ring,
    /// Its figures.
    pub meter: LayerMeter,
    /// When to pass on requests for a keyframe.
    pub keyframe_gate: KeyframeGate,
    kind: Kind,
    newest_timestamp: Option<u32>,
    keyframe_timestamp: Option<u32>,
}

/// A packet as it leaves a publisher's session.
#[derive(Debug)]
pub struct Inbound {
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// How to decode it.
    pub format: Format,
    /// When it came in.
    pub arrival: Instant,
    /// When it was captured.
    pub capture: Instant,
    /// Audio level (RFC 6464).
    pub audio_level: Option<(i8, bool)>,
    /// Payload.
    pub payload: Arc<[u8]>,
}

impl Layer {
    fn new(rid: &str, kind: Kind, limits: Limits) -> Self {
        Self {
            rid: rid.into(),
            ring: Ring::new(limits),
            meter: LayerMeter::default(),
            keyframe_gate: KeyframeGate::default(),
            kind,
            newest_timestamp: None,
            keyframe_timestamp: None,
        }
    }

    /// Take a packet of the publisher: find frame boundaries and keyframes, count, keep.
    pub fn ingest(&mut self, inbound: Inbound) -> &Packet {
        let info = codec::inspect(inbound.format.codec, &inbound.payload);
        let ts = inbound.timestamp;
        let newer = |old: u32| (ts.wrapping_sub(old) as i32) > 0;
        let frame_start = self.newest_timestamp.is_none_or(newer);
        if frame_start {
            self.newest_timestamp = Some(ts);
        }
        let keyframe = match self.kind {
            Kind::Audio => true,
            Kind::Video => info.keyframe && self.keyframe_timestamp != Some(ts),
        };
        if keyframe && self.kind == Kind::Video {
            self.keyframe_timestamp = Some(ts);
            self.keyframe_gate.satisfied();
            self.meter.on_keyframe(inbound.arrival);
        }
        self.meter
            .on_packet(inbound.payload.len(), frame_start, info.resolution);
        self.push(Packet {
            seq: inbound.seq,
            timestamp: ts,
            marker: inbound.marker,
            keyframe,
            frame_start,
            format: inbound.format,
            arrival: inbound.arrival,
            capture: inbound.capture,
            audio_level: inbound.audio_level,
            payload: inbound.payload,
        })
    }

    /// Keep a packet that another thread's hub has ingested.
    pub fn push(&mut self, packet: Packet) -> &Packet {
        self.ring.push(packet);
        self.ring
            .last()
            .expect("a packet younger than the limits was just pushed")
    }

    /// Whether packets still come.
    pub fn is_active(&self, now: Instant) -> bool {
        let quiet = Duration::from_millis(1500);
        self.ring
            .last()
            .is_some_and(|p| now.saturating_duration_since(p.arrival) < quiet)
    }
}

/// Coalesces keyframe requests of all readers of a layer.
#[derive(Debug, Default)]
pub struct KeyframeGate {
    asked: Option<Instant>,
    held_back: bool,
}

impl KeyframeGate {
    /// A reader needs a keyframe: whether to ask the publisher now.
    pub fn request(&mut self, now: Instant) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < KEYFRAME_INTERVAL;
        if self.asked.is_some_and(recent) {
            self.held_back = true;
            return false;
        }
        self.asked = Some(now);
        self.held_back = false;
        true
    }

    /// Whether a request that was held back is to be sent now.
    pub fn due(&mut self, now: Instant) -> bool {
        self.held_back && self.request(now)
    }

    fn satisfied(&mut self) {
        self.held_back = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagecast_proto::codec::Codec;

    fn inbound(seq: u64, timestamp: u32, payload: &[u8], at: Instant) -> Inbound {
        Inbound {
            seq,
            timestamp,
            marker: false,
            format: Format::plain(Codec::H264),
            arrival: at,
            capture: at,
            audio_level: None,
            payload: payload.into(),
        }
    }

    #[test]
    fn keyframe_begins_at_the_parameter_sets_and_is_marked_once() {
        let now = Instant::now();
        let mut layer = Layer::new("", Kind::Video, Limits::default());
        let sps = [0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40];
        let idr = [0x65, 0x88, 0x80];
        let slice = [0x41, 0x9a, 0x02];
        assert!(layer.ingest(inbound(1, 1000, &sps, now)).keyframe);
        assert!(!layer.ingest(inbound(2, 1000, &idr, now)).keyframe);
        assert!(!layer.ingest(inbound(3, 4000, &slice, now)).keyframe);
        assert!(layer.ingest(inbound(4, 7000, &sps, now)).keyframe);
    }

    #[test]
    fn late_packet_does_not_start_a_frame() {
        let now = Instant::now();
        let mut layer = Layer::new("", Kind::Video, Limits::default());
        assert!(layer.ingest(inbound(10, 5000, &[0x41], now)).frame_start);
        assert!(!layer.ingest(inbound(9, 2000, &[0x41], now)).frame_start);
        assert!(layer.ingest(inbound(11, 8000, &[0x41], now)).frame_start);
    }

    #[test]
    fn keyframe_requests_of_many_readers_reach_the_publisher_once() {
        let t0 = Instant::now();
        let mut gate = KeyframeGate::default();
        assert!(gate.request(t0));
        for ms in 1..100 {
            assert!(!gate.request(t0 + Duration::from_millis(ms)));
        }
        assert!(!gate.due(t0 + Duration::from_millis(400)));
        assert!(
            gate.due(t0 + Duration::from_millis(600)),
            "held back, not forgotten"
        );
        assert!(!gate.due(t0 + Duration::from_millis(1200)));
    }

    #[test]
    fn keyframe_that_came_meanwhile_cancels_what_was_held_back() {
        let t0 = Instant::now();
        let mut gate = KeyframeGate::default();
        assert!(gate.request(t0));
        assert!(!gate.request(t0 + Duration::from_millis(10)));
        gate.satisfied();
        assert!(!gate.due(t0 + Duration::from_millis(600)));
    }
}
