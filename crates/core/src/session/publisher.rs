//! A peer that sends us media: RTP in, keyframe requests out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::sdp::Session;
use str0m::Event;
use str0m::bwe::Bitrate as RtcBitrate;
use str0m::format::{Codec as RtcCodec, PayloadParams};
use str0m::media::{KeyframeRequestKind, Mid, Pt, Rid};
use str0m::rtp::{RtpPacket, Ssrc};
use str0m::stats::{MediaIngressStats, PeerStats};

use super::offer::{self, DependencyValue, Role};
use super::peer::Peer;
use super::{Addresses, Credentials, Refusal, SessionConfig};
use crate::bwe::Bitrate;
use crate::capture::{LayerClock, PeerClock};
use crate::figures::LayerFigures;
use crate::hub::Inbound;
use crate::packet::Format;

/// How often a publisher is told its ceiling, for the message may be lost.
const CEILING_INTERVAL: Duration = Duration::from_secs(1);
/// More than any publisher sends.
const UNLIMITED: u64 = 1_000_000_000;
/// How often it is told that there is none any more.
const FAREWELLS: u32 = 5;

/// What the control plane allows a publisher.
#[derive(Debug, Clone, Copy)]
pub struct PublishOptions {
    /// Restrict video to this codec.
    pub codec: Option<Codec>,
    /// Take audio.
    pub audio: bool,
    /// Take video.
    pub video: bool,
}

/// What a publisher's session yields.
#[derive(Debug)]
pub enum PublisherEvent {
    /// A packet for a layer of a track.
    Packet {
        /// Index of the track.
        track: usize,
        /// Restriction id; empty without simulcast.
        rid: Arc<str>,
        /// The packet.
        inbound: Inbound,
    },
    /// Nothing for the hub.
    Nothing,
}

/// A publisher's track: an accepted media line of its offer.
#[derive(Debug, Clone)]
pub struct PublishedTrack {
    /// The `mid`, which is also the track's name.
    pub name: Arc<str>,
    /// Audio or video.
    pub kind: Kind,
    /// Whether it takes picture loss indications.
    pub can_ask_keyframe: bool,
    mid: Mid,
}

/// One RTP stream: a layer of a track.
struct Stream {
    ssrc: Ssrc,
    track: usize,
    rid: Option<Rid>,
    name: Arc<str>,
    clock: LayerClock,
    format: Option<(Pt, Format)>,
    first_seq: Option<u64>,
    highest_seq: u64,
    received: u64,
    stats: Option<MediaIngressStats>,
}

impl Ceiling {
    /// Take note of the ceiling; whether to tell it now.
    fn is_due(&mut self, bitrate: Option<Bitrate>, now: Instant) -> bool {
        let changed = self.bitrate != bitrate;
        if changed {
            self.farewells = if bitrate.is_none() { FAREWELLS } else { 0 };
            self.bitrate = bitrate;
        }
        let recently = |told: Instant| now.saturating_duration_since(told) < CEILING_INTERVAL;
        let silent = bitrate.is_none() && self.farewells == 0;
        if silent || (!changed && self.told.is_some_and(recently)) {
            return false;
        }
        self.farewells = self.farewells.saturating_sub(1);
        self.told = Some(now);
        true
    }
}

/// A publisher's session.
pub struct Publisher {
    /// Its connection.
    pub peer: Peer,
    tracks: Vec<PublishedTrack>,
    streams: Vec<Stream>,
    clock: PeerClock,
    stats: Option<PeerStats>,
    bytes: u64,
    packets: u64,
    ceiling: Ceiling,
}

/// The bitrate that a publisher was told to keep to.
#[derive(Debug, Default)]
struct Ceiling {
    bitrate: Option<Bitrate>,
    /// How often it is still told that there is none.
    farewells: u32,
    told: Option<Instant>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("peer", &self.peer)
            .field("tracks", &self.tracks)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Answer a publisher's offer: the session and the SDP answer.
    pub fn answer(
        config: &SessionConfig,
        credentials: Credentials,
        addresses: Addresses,
        offer_sdp: &str,
        options: PublishOptions,
        now: Instant,
    ) -> Result<(Self, String), Refusal> {
        let offer = offer::parse(offer_sdp, Role::Publisher)?;
        offer::check_publisher(&offer, options.codec)?;
        let stream_id = credentials.ufrag.clone();
        let sdp = (offer_sdp, &offer);
        let (mut peer, answer) =
            Peer::answer(config, credentials, addresses, sdp, now, |config| {
                let config = offer::configure_codecs(config, options.codec);
                offer::configure_publisher_extensions(config)
            })?;
        name_layers(&mut peer, &offer);
        let tracks = accepted_tracks(&peer, &offer, options);
        if tracks.is_empty() {
            return Err(Refusal::NoCommonCodec(
                "No audio or video line of the offer has a codec that can be forwarded.".into(),
            ));
        }
        let answer = offer::finish_answer(&answer, &offer, Role::Publisher, &stream_id);
        let publisher = Self {
            peer,
            tracks,
            streams: Vec::new(),
            clock: PeerClock::default(),
            stats: None,
            bytes: 0,
            packets: 0,
            ceiling: Ceiling::default(),
        };
        Ok((publisher, answer))
    }

    /// The accepted tracks; their order is the index in events.
    pub fn tracks(&self) -> &[PublishedTrack] {
        &self.tracks
    }

    /// Take an event of the connection.
    pub fn handle_event(&mut self, event: Event) -> PublisherEvent {
        match event {
            Event::RtpPacket(packet) => return self.on_packet(packet),
            Event::SenderFeedback(feedback) => {
                let info = feedback.sender_info;
                let tracks = &self.tracks;
                let same =
                    |s: &Stream| tracks[s.track].mid == feedback.mid && s.rid == feedback.rid;
                // A report may come before a layer's first packet, and then tells of it.
                let index = match self.streams.iter().position(same) {
                    Some(index) => Some(index).filter(|i| self.streams[*i].ssrc == info.ssrc),
                    None => self.stream_of(info.ssrc),
                };
                if let Some(index) = index {
                    let timestamp = info.rtp_time.numer() as u32;
                    self.streams[index].clock.on_report(
                        &mut self.clock,
                        timestamp,
                        info.ntp_time,
                        feedback.received_at,
                    );
                }
            }
            Event::MediaIngressStats(stats) => {
                let tracks = &self.tracks;
                let of = |s: &&mut Stream| tracks[s.track].mid == stats.mid && s.rid == stats.rid;
                if let Some(stream) = self.streams.iter_mut().find(of) {
                    stream.stats = Some(stats);
                }
            }
            Event::PeerStats(stats) => self.stats = Some(stats),
            _ => {}
        }
        PublisherEvent::Nothing
    }

    /// Ask for a keyframe of a layer (RFC 4585 §6.3.1).
    pub fn request_keyframe(&mut self, track: usize, rid: &str) {
        let Some(track) = self.tracks.get(track).filter(|t| t.can_ask_keyframe) else {
            return;
        };
        let rid = (!rid.is_empty()).then(|| Rid::from(rid));
        if let Some(stream) = self.peer.rtc.direct_api().stream_rx_by_mid(track.mid, rid) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }

    /// Tell it to send no more than this in all, or whatever it can; whether there is something to send.
    ///
    /// By REMB, which browsers heed besides transport-wide feedback: the lower of both is what they send.
    /// They remember it until they are told another.
    pub fn keep_to(&mut self, ceiling: Option<Bitrate>, now: Instant) -> bool {
        let video = |s: &&Stream| self.tracks[s.track].kind == Kind::Video;
        let Some(ssrc) = self.streams.iter().find(video).map(|s| s.ssrc) else {
            return false;
        };
        if !self.ceiling.is_due(ceiling, now) {
            return false;
        }
        let bits = ceiling.map_or(UNLIMITED, Bitrate::as_bps);
        let mut api = self.peer.rtc.direct_api();
        let Some(stream) = api.stream_rx(&ssrc) else {
            return false;
        };
        stream.request_remb(RtcBitrate::from(bits));
        true
    }

    /// What the connection knows of a layer: loss, NACKs, jitter.
    pub fn layer_figures(&self, track: usize, rid: &str) -> LayerFigures {
        let mut figures = LayerFigures {
            layer: rid.to_owned(),
            ..LayerFigures::default()
        };
        let Some(stream) = self
            .streams
            .iter()
            .find(|s| s.track == track && &*s.name == rid)
        else {
            return figures;
        };
        figures.ssrc = *stream.ssrc;
        figures.packets = stream.received;
        figures.packets_lost = stream.lost();
        if let Some(stats) = &stream.stats {
            figures.nacks = stats.nacks;
            figures.plis = stats.plis;
            let rate = if self.tracks[track].kind == Kind::Audio {
                48.0
            } else {
                90.0
            };
            figures.jitter_ms = stats.jitter as f32 / rate;
        }
        figures
    }

    /// Media packets and bytes received, packets lost for good, and round trip time in ms.
    pub fn totals(&self) -> (u64, u64, u64, Option<f32>) {
        let lost = self.streams.iter().map(Stream::lost).sum();
        let rtt = self
            .stats
            .as_ref()
            .and_then(|s| s.rtt)
            .map(|r| r.as_secs_f32() * 1e3);
        (self.packets, self.bytes, lost, rtt)
    }

    /// Largest jitter, and NACKs and keyframe requests sent, over all layers.
    pub fn feedback(&self) -> (Option<f32>, u64, u64) {
        let mut jitter: Option<f32> = None;
        let (mut nacks, mut plis) = (0, 0);
        for stream in &self.streams {
            let figures = self.layer_figures(stream.track, &stream.name);
            jitter = Some(jitter.unwrap_or(0.0).max(figures.jitter_ms));
            nacks += figures.nacks;
            plis += figures.plis;
        }
        (jitter, nacks, plis)
    }

    fn on_packet(&mut self, packet: RtpPacket) -> PublisherEvent {
        let Some(index) = self.stream_of(packet.header.ssrc) else {
            return PublisherEvent::Nothing;
        };
        let pt = packet.header.payload_type;
        let known = self.streams[index]
            .format
            .filter(|(p, _)| *p == pt)
            .map(|(_, f)| f);
        let Some(format) = known.or_else(|| self.format_of(pt)) else {
            return PublisherEvent::Nothing;
        };
        if packet.payload.is_empty() {
            return PublisherEvent::Nothing;
        }
        self.packets += 1;
        self.bytes += packet.payload.len() as u64;
        let seq = *packet.seq_no;
        let stream = &mut self.streams[index];
        stream.format = Some((pt, format));
        stream.count(seq);
        let timestamp = packet.header.timestamp;
        let arrival = packet.timestamp;
        let values = &packet.header.ext_vals;
        let level = values.audio_level;
        let dependency = values.user_values.get_arc::<DependencyValue>();
        let place = stream.clock.place(&mut self.clock, timestamp, arrival);
        let inbound = Inbound {
            seq,
            timestamp,
            marker: packet.header.marker,
            format,
            arrival,
            capture: place.capture,
            media_us: place.media_us,
            audio_level: level.map(|l| (l, values.voice_activity.unwrap_or(false))),
            dependency: dependency.map(|d| Arc::clone(&d.0)),
            payload: packet.payload,
        };
        PublisherEvent::Packet {
            track: stream.track,
            rid: Arc::clone(&stream.name),
            inbound,
        }
    }

    /// The stream with this SSRC, made when it is first heard.
    fn stream_of(&mut self, ssrc: Ssrc) -> Option<usize> {
        if let Some(index) = self.streams.iter().position(|s| s.ssrc == ssrc) {
            return Some(index);
        }
        let (mid, rid) = {
            let mut api = self.peer.rtc.direct_api();
            let stream = api.stream_rx(&ssrc)?;
            (stream.mid(), stream.rid())
        };
        let track = self.tracks.iter().position(|t| t.mid == mid)?;
        let rate = self.tracks[track].kind.clock_rate();
        // The same layer under a new SSRC replaces the old one.
        self.streams.retain(|s| !(s.track == track && s.rid == rid));
        let leads = self.leads(track);
        let stream = Stream {
            ssrc,
            track,
            rid,
            name: rid.map_or_else(|| Arc::from(""), |r| Arc::from(&*r)),
            clock: LayerClock::new(rate, leads),
            format: None,
            first_seq: None,
            highest_seq: 0,
            received: 0,
            stats: None,
        };
        self.streams.push(stream);
        Some(self.streams.len() - 1)
    }

    /// Whether a new stream of a track is the one that others are placed by: sound, where there is any.
    fn leads(&self, track: usize) -> bool {
        let is_sound = |track: &PublishedTrack| track.kind == Kind::Audio;
        !self.streams.iter().any(|s| s.clock.leads())
            && (is_sound(&self.tracks[track]) || !self.tracks.iter().any(is_sound))
    }

    fn format_of(&self, pt: Pt) -> Option<Format> {
        format_of(
            self.peer
                .rtc
                .codec_config()
                .params()
                .iter()
                .find(|p| p.pt() == pt)?,
        )
    }
}

impl Stream {
    fn count(&mut self, seq: u64) {
        self.received += 1;
        let first = self.first_seq.get_or_insert(seq);
        *first = seq.min(*first);
        self.highest_seq = self.highest_seq.max(seq);
    }

    fn lost(&self) -> u64 {
        let expected = self
            .first_seq
            .map_or(0, |first| self.highest_seq - first + 1);
        expected.saturating_sub(self.received)
    }
}

/// Give the streams of an SSRC group the layer names "0", "1", … that restriction ids would give.
fn name_layers(peer: &mut Peer, offer: &Session) {
    for (mid, layers) in offer::ssrc_layers(offer) {
        let mid = Mid::from(mid);
        if peer.rtc.media(mid).is_none() {
            continue;
        }
        let mut api = peer.rtc.direct_api();
        for (number, (ssrc, repair)) in layers.into_iter().enumerate() {
            let ssrc = Ssrc::from(ssrc);
            // The library has taken them all for one stream.
            api.remove_stream_rx(ssrc);
            let rid = Rid::from(&*number.to_string());
            api.expect_stream_rx(ssrc, repair.map(Ssrc::from), mid, Some(rid));
        }
    }
}

/// Our name for a negotiated payload type.
pub(super) fn format_of(params: &PayloadParams) -> Option<Format> {
    let spec = params.spec();
    let codec = match spec.codec {
        RtcCodec::H264 => Codec::H264,
        RtcCodec::H265 => Codec::H265,
        RtcCodec::Vp8 => Codec::Vp8,
        RtcCodec::Vp9 => Codec::Vp9,
        RtcCodec::Av1 => Codec::Av1,
        RtcCodec::Opus => Codec::Opus,
        _ => return None,
    };
    let mut format = Format::plain(codec);
    if codec == Codec::H264 {
        // Absent means Baseline, level 1 and single NAL mode (RFC 6184 §8.1).
        format.profile_level_id = spec.format.profile_level_id.unwrap_or(0x0042_000a);
        format.packetization_mode = spec.format.packetization_mode.unwrap_or(0);
    }
    if codec == Codec::Vp9 {
        format.profile = spec.format.profile_id.unwrap_or(0) as u8;
    }
    Some(format)
}

fn accepted_tracks(peer: &Peer, offer: &Session, options: PublishOptions) -> Vec<PublishedTrack> {
    let mut tracks = Vec::new();
    for media in &offer.media {
        let Some(kind) = media.kind else { continue };
        let allowed = match kind {
            Kind::Audio => options.audio,
            Kind::Video => options.video,
        };
        let mid = Mid::from(media.mid.as_str());
        let Some(accepted) = peer.rtc.media(mid).filter(|m| allowed && !m.disabled()) else {
            continue;
        };
        if accepted.remote_pts().is_empty() {
            continue;
        }
        let pli = |f: &String| f == "nack pli";
        let can_ask = media.payloads.iter().any(|p| p.feedback.iter().any(pli));
        tracks.push(PublishedTrack {
            name: media.mid.as_str().into(),
            kind,
            can_ask_keyframe: kind == Kind::Video && can_ask,
            mid,
        });
    }
    tracks
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;
