//! The frame face of a source on its home thread: what is kept for late readers, who reads, and, for
//! a publisher of packets, what puts frames together while somebody does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::frame::Frame;
use stagecast_core::frames::{Assembler, Face, FaceLayer, FaceTrack, FramePublisher, Unit, settle};
use stagecast_core::hub::ring::Limits;
use stagecast_core::hub::{Inbound, Source, Track};
use stagecast_core::packet::Packet;
use stagecast_core::{Codec, Kind};

use crate::frames::{FrameEvent, Needs, Outlet};

/// How long a transcoder goes on after the last reader who needed it.
const LINGER: Duration = Duration::from_secs(10);

/// Half the shortest frame that a transcoder makes.
const HALF_FRAME_US: i64 = 10_000;

/// A layer that must have a keyframe before it has frames again.
pub type WantsKeyframe = (Arc<str>, Arc<str>);

/// Frames of a source.
#[derive(Debug)]
pub struct FrameSide {
    /// What there is, and what late readers get.
    pub face: Face,
    outlets: Vec<Outlet>,
    tap: Option<Tap>,
    companions: FramePublisher,
    /// Up to which time each companion track has frames.
    companion_times: Vec<(Arc<str>, i64)>,
    rungs: Vec<RungState>,
    /// Which transcoding was asked for: from, to, and when somebody needed it last.
    transcoding: Vec<(Codec, Codec, Instant)>,
}

/// A layer that a transcoder makes.
#[derive(Debug)]
struct RungState {
    track: Arc<str>,
    layer: Arc<str>,
    newest_us: i64,
    /// What follows cannot be decoded with what went before.
    awaits_keyframe: bool,
}

/// Packets into frames, for all layers of a source.
#[derive(Debug)]
struct Tap {
    layers: Vec<(Arc<str>, Arc<str>, Assembler)>,
}

/// What the control plane is to be told about transcoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transcoding {
    /// A companion track of the second codec is needed.
    Wanted(Codec, Codec),
    /// It is no longer.
    Unwanted(Codec, Codec),
}

impl FrameSide {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            face: Face::new(limits),
            outlets: Vec::new(),
            tap: None,
            companions: FramePublisher::default(),
            companion_times: Vec::new(),
            rungs: Vec::new(),
            transcoding: Vec::new(),
        }
    }

    /// Whether anybody reads frames.
    pub fn has_readers(&self) -> bool {
        !self.outlets.is_empty()
    }

    /// A publisher begins; the frames of the former are forgotten.
    pub fn begin(&mut self, generation: u32) {
        self.face.clear();
        self.tap = None;
        self.companions = FramePublisher::default();
        self.companion_times.clear();
        self.rungs.clear();
        for outlet in &mut self.outlets {
            outlet.tell(FrameEvent::Begin { generation });
        }
    }

    /// The publisher is gone.
    pub fn end(&mut self) {
        self.face.clear();
        self.tap = None;
        for outlet in &mut self.outlets {
            outlet.tell(FrameEvent::End);
        }
    }

    /// Give a frame to everybody; whether it is the first of its track or layer.
    pub fn push(&mut self, track: &Arc<str>, rid: &Arc<str>, frame: &Frame, now: Instant) -> bool {
        let new = self.face.push(track, rid, frame, now);
        for outlet in &mut self.outlets {
            outlet.push(track, rid, frame);
        }
        new
    }

    /// Let a reader in; a live source begins for it at once, where it last can.
    pub fn attach(&mut self, mut outlet: Outlet, generation: Option<u32>) {
        self.outlets.retain(|o| o.id() != outlet.id());
        if let Some(generation) = generation {
            outlet.tell(FrameEvent::Begin { generation });
            for (track, rid, frame) in self.face.since_keyframe() {
                outlet.push(track, rid, frame);
            }
        }
        self.outlets.push(outlet);
    }

    /// A reader leaves; the last one takes the tap along.
    pub fn detach(&mut self, id: u64, publishes_frames: bool) {
        self.outlets.retain(|outlet| outlet.id() != id);
        if self.outlets.is_empty() && !publishes_frames {
            self.tap = None;
            self.face.clear();
        }
    }

    /// Whether a frame of a companion track is newer than what it has: a worker that was started
    /// again begins at the last keyframe, like every reader, and makes some of it twice.
    pub fn is_news(&mut self, track: &Arc<str>, frame: &Frame) -> bool {
        let known = self.companion_times.iter_mut().find(|(t, _)| t == track);
        let Some((_, newest)) = known else {
            self.companion_times.push((Arc::clone(track), frame.pts_us));
            return true;
        };
        // Half a frame, for the place of its first sample is rounded.
        let news = frame.pts_us > *newest + HALF_FRAME_US;
        if news {
            *newest = frame.pts_us;
        }
        news
    }

    /// Give a picture that was made from one of the first video track to those who want it. A worker
    /// that was started again makes some twice, by an encoder that knows nothing of the former.
    pub fn push_rung(&mut self, (track, layer): (&Arc<str>, &Arc<str>), frame: &Frame) {
        let known = self
            .rungs
            .iter()
            .position(|r| r.track == *track && r.layer == *layer);
        let index = known.unwrap_or_else(|| {
            self.rungs.push(RungState {
                track: Arc::clone(track),
                layer: Arc::clone(layer),
                newest_us: i64::MIN,
                awaits_keyframe: true,
            });
            self.rungs.len() - 1
        });
        let rung = &mut self.rungs[index];
        let old = frame.pts_us <= rung.newest_us;
        rung.awaits_keyframe = old || (rung.awaits_keyframe && !frame.keyframe);
        if rung.awaits_keyframe {
            return;
        }
        rung.newest_us = frame.pts_us;
        for outlet in self.outlets_of_ladder() {
            outlet.push(track, layer, frame);
        }
    }

    /// Say which such layers will come.
    pub fn announce_rungs(&mut self, track: &Arc<str>, layers: &[Arc<str>]) {
        for outlet in self.outlets_of_ladder() {
            outlet.announce(track, layers);
        }
    }

    fn outlets_of_ladder(&mut self) -> impl Iterator<Item = &mut Outlet> {
        let outlets = self.outlets.iter_mut();
        outlets.filter(|outlet| outlet.needs() == Needs::Ladder)
    }

    /// The packets of a companion track's frame; none for a codec that WebRTC does not carry.
    pub fn packetize_companion(
        &mut self,
        track: &Arc<str>,
        frame: &Frame,
        now: Instant,
    ) -> Vec<Inbound> {
        let mut packets = Vec::new();
        let name = (track, &Arc::from(""));
        self.companions
            .take_as_captured(name, frame, now, |inbound| packets.push(inbound));
        packets
    }

    /// Tracks that no viewer can be sent: their names, codecs and figures.
    pub fn without_packets(&self) -> impl Iterator<Item = (&FaceTrack, Codec, &FaceLayer)> {
        let only = |t: &'_ FaceTrack| -> Option<Codec> {
            let codec = t.layers.first()?.config.codec;
            (!codec.is_webrtc()).then_some(codec)
        };
        let tracks = self.face.tracks().iter();
        tracks.filter_map(move |t| Some((t, only(t)?, t.layers.first()?)))
    }

    /// Whether a transcoder was asked for.
    pub fn is_transcoding(&self) -> bool {
        !self.transcoding.is_empty()
    }

    /// Begin to put frames together from packets, with those that late readers start from. Gives
    /// the layers that need a keyframe for it.
    pub fn open_tap(&mut self, source: &Source) -> Vec<WantsKeyframe> {
        if self.tap.is_some() {
            return Vec::new();
        }
        // What transcoders made of an earlier tap is forgotten with its frames.
        self.companion_times.clear();
        self.rungs.clear();
        self.tap = Some(Tap { layers: Vec::new() });
        let mut cached = Vec::new();
        let mut wanted = Vec::new();
        for track in &source.tracks {
            for layer in &track.layers {
                if track.kind == Kind::Video && layer.ring.keyframe().is_none() {
                    wanted.push((Arc::clone(&track.name), Arc::clone(&layer.rid)));
                }
                // What it has is of the time before its rest.
                if layer.rest.is_some_and(|rest| rest.is_on()) {
                    continue;
                }
                let packets = layer.ring.from_keyframe();
                // Of audio every packet is a start; what came with the video is in the ring, too.
                let all = (layer.ring.start()..layer.ring.end()).filter_map(|i| layer.ring.get(i));
                let place =
                    |p: &Packet| (Arc::clone(&track.name), Arc::clone(&layer.rid), p.clone());
                let from = cached.len();
                match track.kind {
                    Kind::Video => cached.extend(packets.map(place)),
                    Kind::Audio => cached.extend(all.map(place)),
                }
                let mut own: Vec<_> = cached[from..].iter_mut().map(|(_, _, p)| p).collect();
                settle(&mut own);
            }
        }
        cached.sort_by_key(|(_, _, packet)| packet.arrival);
        for (track, rid, packet) in cached {
            self.tap(&track, &rid, packet);
        }
        wanted
    }

    /// A packet of the publisher, for the tap if it is open; whether a keyframe is needed.
    pub fn tap(&mut self, track: &Arc<str>, rid: &Arc<str>, packet: Packet) -> bool {
        let Some(tap) = &mut self.tap else {
            return false;
        };
        let known = tap
            .layers
            .iter()
            .position(|(t, r, _)| t == track && r == rid);
        let index = known.unwrap_or_else(|| {
            let assembler = Assembler::new(packet.format.codec.kind());
            tap.layers
                .push((Arc::clone(track), Arc::clone(rid), assembler));
            tap.layers.len() - 1
        });
        let now = packet.arrival;
        let mut unit = Unit::default();
        tap.layers[index].2.push(packet, &mut unit);
        for frame in &unit.frames {
            self.push(track, rid, frame, now);
        }
        unit.wants_keyframe
    }

    /// Whether the tap is open.
    pub fn is_tapped(&self) -> bool {
        self.tap.is_some()
    }

    /// What has changed about the need for transcoders since the last call.
    pub fn transcoding(
        &mut self,
        source: &Source,
        viewers: bool,
        now: Instant,
    ) -> Vec<Transcoding> {
        let needed = [
            self.sound_needed(source, viewers),
            self.ladder_needed(source),
        ];
        let needed = needed.into_iter().flatten().collect::<Vec<_>>();
        let mut changes = Vec::new();
        self.transcoding.retain_mut(|(from, to, since)| {
            if needed.contains(&(*from, *to)) {
                *since = now;
                return true;
            }
            let replaced = needed.iter().any(|(other, _)| other.kind() == from.kind());
            let over = replaced || now.saturating_duration_since(*since) > LINGER;
            if over {
                changes.push(Transcoding::Unwanted(*from, *to));
            }
            !over
        });
        for (from, to) in needed {
            if !self.transcoding.iter().any(|t| (t.0, t.1) == (from, to)) {
                self.transcoding.push((from, to, now));
                changes.push(Transcoding::Wanted(from, to));
            }
        }
        changes
    }

    /// AAC for viewers, who can only take Opus; Opus for readers of frames, many of whose players
    /// can only take AAC.
    fn sound_needed(&self, source: &Source, viewers: bool) -> Option<(Codec, Codec)> {
        let has_aac = self.publishes(Codec::Aac);
        let has_opus = self.publishes(Codec::Opus) || packets_have_opus(source);
        let reads = |outlet: &Outlet| !matches!(outlet.needs(), Needs::Only(_));
        let readers = self.outlets.iter().any(reads);
        match (has_aac, has_opus) {
            (true, false) if viewers => Some((Codec::Aac, Codec::Opus)),
            (false, true) if readers => Some((Codec::Opus, Codec::Aac)),
            _ => None,
        }
    }

    /// Smaller pictures of a picture that is sent in one size; whether they are made is the control
    /// plane's choice.
    fn ladder_needed(&self, source: &Source) -> Option<(Codec, Codec)> {
        // Layers that rest are on their way to who needs a ladder.
        let rests = |t: &Track| t.layers.iter().any(|l| l.rest.is_some());
        let needed = self.outlets.iter().any(|o| o.needs() == Needs::Ladder);
        if !needed || source.tracks.iter().any(rests) {
            return None;
        }
        let layers = self.face.tracks().iter().map(|track| &track.layers);
        let mut layers =
            layers.filter(|layers| layers.iter().any(|l| l.config.codec.kind() == Kind::Video));
        match layers.next()?.as_slice() {
            [only] => Some((only.config.codec, Codec::H264)),
            _ => None,
        }
    }

    fn publishes(&self, codec: Codec) -> bool {
        let own = |t: &&FaceTrack| !is_companion(&t.name);
        let mut tracks = self.face.tracks().iter().filter(own);
        tracks.any(|t| t.layers.iter().any(|l| l.config.codec == codec))
    }
}

/// Whether a track is made by a transcoder from another of its source.
pub fn is_companion(track: &str) -> bool {
    matches!(track, "audio-opus" | "audio-aac")
}

fn packets_have_opus(source: &Source) -> bool {
    let opus = |p: &Packet| p.format.codec == Codec::Opus;
    let own = source.tracks.iter().filter(|t| !is_companion(&t.name));
    own.flat_map(|t| &t.layers)
        .any(|l| l.ring.last().is_some_and(opus))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagecast_core::frame::Config;
    use stagecast_core::id::SourceKey;

    fn sound(pts_us: i64) -> Frame {
        Frame {
            config: Arc::new(Config {
                codec: Codec::Aac,
                record: Arc::from([0x11, 0x90]),
                resolution: (0, 0),
                sample_rate: 48_000,
                channels: 2,
            }),
            pts_us,
            dts_us: pts_us,
            keyframe: true,
            capture: Instant::now(),
            data: Arc::from([0; 4]),
        }
    }

    #[test]
    fn transcoded_sound_is_news_again_when_frames_are_put_together_anew() {
        let limits = Limits::default();
        let mut side = FrameSide::new(limits);
        let source = Source::new(SourceKey::new("a/s", None), limits);
        let track = Arc::from("audio-aac");
        side.open_tap(&source);
        assert!(side.is_news(&track, &sound(300_000_000)));
        assert!(!side.is_news(&track, &sound(10_000_000)));
        side.detach(1, false);
        side.open_tap(&source);
        assert!(side.is_news(&track, &sound(10_000_000)));
    }
}
