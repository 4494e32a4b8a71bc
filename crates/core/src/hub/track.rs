//! Tracks and their layers: from a publisher's RTP packets to ring entries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_proto::codec::{self, Codec, Kind};

use super::demand::Rest;
use super::rates::Rates;
use super::ring::{Limits, Ring};
use super::scaling::Scaling;
use crate::bwe::{Bitrate, LayerOffer, MAX_LAYERS, MAX_TEMPORAL, Target};
use crate::figures::{LayerMeter, LevelFigures};
use crate::packet::{Format, Level, Packet};

/// At most one keyframe is asked of a publisher in this time: more would cost
/// every viewer quality and give none a picture sooner.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

/// A layer without packets for this time has no media; when others go on, the publisher has
/// switched it off, and this is enough to tell.
const QUIET: Duration = Duration::from_millis(1500);
const QUIET_AMONG_OTHERS: Duration = Duration::from_millis(750);

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
    /// What the publisher was told to keep to, for the sake of this layer and those above it.
    pub(super) ceiling: Option<(usize, Bitrate)>,
    limits: Limits,
}

impl Track {
    pub(super) fn new(name: &str, kind: Kind, can_ask_keyframe: bool, limits: Limits) -> Self {
        Self {
            name: name.into(),
            kind,
            can_ask_keyframe,
            layers: Vec::new(),
            ceiling: None,
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

    /// Where the layer of the best picture that has media now is read.
    pub fn best(&self, now: Instant) -> Option<Pick> {
        if let [only] = &self.layers[..] {
            let pick = Pick {
                layer: 0,
                level: Level::TOP,
            };
            return (only.ring.end() > 0).then_some(pick);
        }
        let rank = |i: usize| {
            let layer = &self.layers[i];
            let rate = layer.rates.rate(now, Level::TOP);
            (self.is_active(i, now), layer.pixels(), rate)
        };
        (0..self.layers.len())
            .filter(|&i| self.layers[i].ring.end() > 0)
            .max_by_key(|&i| rank(i))
            .map(|layer| Pick {
                layer,
                level: Level::TOP,
            })
    }

    /// Where a target is read; `None` when it has no media now.
    pub fn pick(&self, target: Target, now: Instant) -> Option<Pick> {
        let top = |level: u8, highest: u8, top: u8| if level < highest { level } else { top };
        let (layer, spatial) = match &self.layers[..] {
            [only] if only.rates.spatial() > 0 => {
                let wanted = u8::try_from(target.layer).unwrap_or(u8::MAX);
                (0, top(wanted, only.rates.spatial(), Level::TOP.spatial))
            }
            _ => (target.layer, Level::TOP.spatial),
        };
        let rates = &self.layers.get(layer)?.rates;
        if !self.is_active(layer, now) {
            return None;
        }
        let highest = rates.temporal(spatial.min(rates.spatial()));
        let temporal = top(target.temporal, highest, Level::TOP.temporal);
        let level = Level { spatial, temporal };
        Some(Pick { layer, level })
    }

    /// The number of the layer that is read at `pick`: as in targets and offers.
    pub fn number(&self, pick: Pick) -> usize {
        match &self.layers[..] {
            [only] if only.rates.spatial() > 0 => {
                usize::from(pick.level.spatial.min(only.rates.spatial()))
            }
            _ => pick.layer,
        }
    }

    /// The layers that have media now or would have it if they were read, worst picture first: what a
    /// viewer may be given.
    pub fn offers(&self, now: Instant) -> Offers {
        let mut offers = Offers::default();
        match &self.layers[..] {
            [only] if only.rates.spatial() > 0 => {
                for spatial in 0..=only.rates.spatial() {
                    offers.add(only.offer(usize::from(spatial), spatial, now));
                }
            }
            layers => {
                let available = (0..layers.len()).filter_map(|i| self.offer(i, now));
                available.for_each(|offer| offers.add(offer));
                let rank = |o: &LayerOffer| (layers[o.layer].pixels(), o.bitrate());
                offers.list[..offers.len].sort_unstable_by_key(rank);
            }
        }
        offers
    }

    /// What of a layer can be read.
    pub fn levels(&self, number: usize, now: Instant) -> Vec<LevelFigures> {
        let Some(layer) = self.layers.get(number) else {
            return Vec::new();
        };
        let highest = layer.rates.spatial();
        let rest = layer.rest.filter(|_| self.is_resting(number, now));
        let mut levels = Vec::new();
        for spatial in 0..=highest {
            let size = layer.meter.resolution_of((highest > 0).then_some(spatial));
            let last = layer.rates.temporal(spatial);
            for temporal in 0..=last {
                let level = Level { spatial, temporal };
                let former = rest.and_then(|r| r.rates().get(usize::from(temporal)).copied());
                let rate = former.unwrap_or_else(|| layer.rates.rate(now, level));
                levels.push(LevelFigures {
                    spatial: (highest > 0).then_some(spatial),
                    temporal: (last > 0).then_some(temporal),
                    bitrate_bps: rate.as_bps(),
                    width: size.map(|s| s.0),
                    height: size.map(|s| s.1),
                });
            }
        }
        levels
    }

    /// Whether packets of a layer still come.
    pub fn is_active(&self, layer: usize, now: Instant) -> bool {
        let silence = |l: &Layer| {
            let last = l.ring.last()?;
            Some(now.saturating_duration_since(last.arrival))
        };
        let Some(quiet) = self.layers.get(layer).and_then(silence) else {
            return false;
        };
        let others = || {
            let lively = |l: &Layer| silence(l).is_some_and(|s| s < QUIET_AMONG_OTHERS / 4);
            self.layers.iter().any(lively)
        };
        quiet < QUIET_AMONG_OTHERS || (quiet < QUIET && !others())
    }
}

/// Where in a track is read: an entry of its layers, and what of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Index in [`Track::layers`].
    pub layer: usize,
    /// The levels of a stream that scales.
    pub level: Level,
}

/// The layers of a track that may be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Offers {
    list: [LayerOffer; MAX_LAYERS],
    len: usize,
}

impl Default for Offers {
    fn default() -> Self {
        Self {
            list: [LayerOffer::new(0, Bitrate::ZERO); MAX_LAYERS],
            len: 0,
        }
    }
}

impl Offers {
    fn add(&mut self, offer: LayerOffer) {
        if let Some(place) = self.list.get_mut(self.len) {
            *place = offer;
            self.len += 1;
        }
    }
}

impl std::ops::Deref for Offers {
    type Target = [LayerOffer];

    fn deref(&self) -> &[LayerOffer] {
        &self.list[..self.len]
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
    /// What its levels take on the way to a viewer.
    pub rates: Rates,
    /// When to pass on requests for a keyframe.
    pub keyframe_gate: KeyframeGate,
    /// Nobody reads it, and the publisher need not send it.
    pub rest: Option<Rest>,
    pub(super) unread_since: Option<Instant>,
    kind: Kind,
    newest_timestamp: Option<u32>,
    keyframe_timestamp: Option<u32>,
    scaling: Scaling,
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
    /// The same on the publisher's timeline, in microseconds.
    pub media_us: i64,
    /// Audio level (RFC 6464).
    pub audio_level: Option<(i8, bool)>,
    /// Value of the dependency descriptor, where the publisher sends it.
    pub dependency: Option<Arc<[u8]>>,
    /// Payload.
    pub payload: Arc<[u8]>,
}

impl Layer {
    fn new(rid: &str, kind: Kind, limits: Limits) -> Self {
        Self {
            rid: rid.into(),
            ring: Ring::new(limits),
            meter: LayerMeter::default(),
            rates: Rates::default(),
            keyframe_gate: KeyframeGate::default(),
            rest: None,
            unread_since: None,
            kind,
            newest_timestamp: None,
            keyframe_timestamp: None,
            scaling: Scaling::default(),
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
        }
        let in_keyframe = self.keyframe_timestamp == Some(ts);
        let scale = match inbound.dependency.as_deref() {
            Some(value) => self.scaling.of_descriptor(value),
            None => self.scaling.of_payload(&info, in_keyframe),
        };
        let layer_size = self
            .scaling
            .size(&scale)
            .filter(|_| in_keyframe && scale.frame_begin);
        self.push(Packet {
            seq: inbound.seq,
            timestamp: ts,
            marker: inbound.marker,
            keyframe,
            frame_start,
            format: inbound.format,
            arrival: inbound.arrival,
            capture: inbound.capture,
            media_us: inbound.media_us,
            resolution: layer_size.or(info.resolution),
            scale,
            // Other codecs say in their payload what a receiver must know.
            dependency: inbound
                .dependency
                .filter(|_| inbound.format.codec == Codec::Av1),
            audio_level: inbound.audio_level,
            padding: 0,
            payload: inbound.payload,
        })
    }

    /// Count and keep a packet that this or another thread's hub has ingested.
    pub fn push(&mut self, packet: Packet) -> &Packet {
        if packet.keyframe && self.kind == Kind::Video {
            self.meter.on_keyframe(packet.arrival);
        }
        let bytes = packet.payload.len();
        let spatial = packet.scale.level.spatial;
        self.meter
            .on_packet(bytes, packet.frame_start, packet.resolution, spatial);
        self.rates.on_packet(packet.arrival, bytes, &packet.scale);
        self.ring.push(packet);
        self.ring
            .last()
            .expect("a packet younger than the limits was just pushed")
    }

    fn pixels(&self) -> u32 {
        let (width, height) = self.meter.resolution().unwrap_or((0, 0));
        u32::from(width) * u32::from(height)
    }

    /// What all of it takes.
    pub(super) fn rate(&self, now: Instant) -> Bitrate {
        self.rates.rate(now, Level::TOP)
    }

    pub(super) fn offer(&self, number: usize, spatial: u8, now: Instant) -> LayerOffer {
        let mut rates = [Bitrate::ZERO; MAX_TEMPORAL];
        let highest = self.rates.temporal(spatial);
        for temporal in 0..=highest {
            let level = Level { spatial, temporal };
            rates[usize::from(temporal)] = self.rates.rate(now, level);
        }
        LayerOffer::with_temporal(number, &rates[..=usize::from(highest)])
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
            media_us: 0,
            audio_level: None,
            dependency: None,
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
