//! A viewer on the WebRTC library: for peers that insist on being the DTLS
//! server, and the yardstick that the lean path is tested against.
//!
//! It owns the reader of its source and is, for that reader, the transport: a
//! packet's format is mapped to the viewer's payload type, and the connection
//! seals, sends and retransmits it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use stagecast_proto::codec::Kind;
use str0m::Event;
use str0m::media::{Mid, Pt};
use str0m::rtp::{AbsCaptureTime, ExtensionValues, RtpWrite, SeqNo};
use str0m::stats::{MediaEgressStats, PeerStats};

use super::offer::{self, Role};
use super::peer::Peer;
use super::publisher::format_of;
use super::{Counters, Feedback, Refusal, SessionConfig, ViewerSetup};
use crate::hub::{EgressTransport, LayerSet, LayerWish, Outgoing, Reader, Source, Wants};
use crate::packet::Format;
use crate::viewer::fit;

/// A viewer's session on the library.
pub struct RtcViewer {
    /// Its connection.
    pub peer: Peer,
    reader: Reader,
    lines: Vec<Line>,
    counters: Counters,
    peer_stats: Option<PeerStats>,
    /// Ties capture instants to the wall clock for abs-capture-time.
    epoch: (Instant, SystemTime),
}

/// A media line of the viewer.
#[derive(Debug)]
struct Line {
    kind: Kind,
    mid: Mid,
    /// Payload types that the viewer decodes, as formats.
    payloads: Vec<(Pt, Format)>,
    last: Option<(Format, Option<Pt>)>,
    stats: Option<MediaEgressStats>,
}

impl std::fmt::Debug for RtcViewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RtcViewer")
            .field("peer", &self.peer)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

impl RtcViewer {
    /// Answer a viewer's offer.
    pub fn answer(
        config: &SessionConfig,
        setup: ViewerSetup<'_>,
        offer_sdp: &str,
    ) -> Result<(Self, String), Refusal> {
        let ViewerSetup {
            credentials,
            addresses,
            formats,
            policy,
            random,
            now,
        } = setup;
        let offer = offer::parse(offer_sdp, Role::Viewer)?;
        offer::check_viewer(&offer, formats)?;
        let first_seq = u16::from_be_bytes([random[0], random[1]]);
        let stream_id = credentials.ufrag.clone();
        let sdp = (offer_sdp, &offer);
        let (mut peer, answer) =
            Peer::answer(config, credentials, addresses, sdp, now, |config| {
                offer::configure_extensions(offer::configure_codecs(config, None))
            })?;
        let answer = offer::finish_answer(&answer, &offer, Role::Viewer, &stream_id);
        let mut lines: Vec<Line> = Vec::new();
        for media in &offer.media {
            let Some(kind) = media.kind else { continue };
            let mid = Mid::from(media.mid.as_str());
            let payloads = payloads_of(&peer, mid);
            // A second line of a kind has nothing to carry.
            if payloads.is_empty() || lines.iter().any(|l| l.kind == kind) {
                continue;
            }
            if let Some(tx) = peer.rtc.direct_api().stream_tx_by_mid(mid, None) {
                tx.set_rtx_cache(config.rtx_packets, Duration::from_secs(1), None);
                lines.push(Line {
                    kind,
                    mid,
                    payloads,
                    last: None,
                    stats: None,
                });
            }
        }
        if lines.is_empty() {
            return Err(Refusal::NoCommonCodec(
                "No audio or video line of the offer has a codec that can be forwarded.".into(),
            ));
        }
        let kinds: Vec<Kind> = lines.iter().map(|l| l.kind).collect();
        let viewer = Self {
            peer,
            reader: Reader::new(&kinds, policy, first_seq),
            lines,
            counters: Counters::default(),
            peer_stats: None,
            epoch: (now, SystemTime::now()),
        };
        Ok((viewer, answer))
    }

    /// Send what its source has for it.
    pub fn deliver(&mut self, source: &Source, now: Instant) -> Wants {
        if !self.peer.is_connected() {
            return Wants::default();
        }
        let mut transport = RtcTransport {
            peer: &mut self.peer,
            lines: &mut self.lines,
            counters: &mut self.counters,
            epoch: self.epoch,
        };
        self.reader.deliver(source, now, &mut transport)
    }

    /// Take an event of the connection; whether the viewer asks for a keyframe.
    pub fn handle_event(&mut self, event: Event) -> bool {
        match event {
            Event::KeyframeRequest(_) => return true,
            Event::MediaEgressStats(stats) => {
                if let Some(line) = self.lines.iter_mut().find(|l| l.mid == stats.mid) {
                    line.stats = Some(stats);
                }
            }
            Event::PeerStats(stats) => self.peer_stats = Some(stats),
            _ => {}
        }
        false
    }

    /// Ask for a layer of the video, or for none above a limit.
    pub fn set_wish(&mut self, wish: LayerWish) {
        self.reader.set_wish(wish);
    }

    /// The layers of the video that it is given or is to be given, and the index of their track.
    pub fn wanted(&self, source: &Source, now: Instant) -> Option<(usize, LayerSet)> {
        self.reader.wanted(source, now)
    }

    /// What the viewer needs after losing the picture.
    pub fn on_keyframe_request(&mut self, source: &Source, now: Instant) -> Wants {
        self.reader.on_keyframe_request(source, now)
    }

    /// What was sent.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the viewer reported.
    pub fn feedback(&self) -> Feedback {
        let mut feedback = Feedback {
            rtt_ms: self
                .peer_stats
                .as_ref()
                .and_then(|s| s.rtt)
                .map(|r| r.as_secs_f32() * 1e3),
            ..Feedback::default()
        };
        for line in &self.lines {
            let Some(stats) = &line.stats else { continue };
            feedback.nacks += stats.nacks;
            feedback.plis += stats.plis;
            feedback.loss = match (feedback.loss, stats.loss) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            };
            let rtt = stats.rtt.map(|r| r.as_secs_f32() * 1e3);
            feedback.rtt_ms = feedback.rtt_ms.or(rtt);
            if let Some(remote) = &stats.remote {
                feedback.packets_lost += remote.packets_lost;
                let rate = if line.kind == Kind::Audio { 48.0 } else { 90.0 };
                if line.kind == Kind::Video || feedback.jitter_ms.is_none() {
                    feedback.jitter_ms = Some(remote.jitter as f32 / rate);
                }
            }
        }
        feedback
    }
}

/// The library's connection as the reader's transport.
struct RtcTransport<'a> {
    peer: &'a mut Peer,
    lines: &'a mut [Line],
    counters: &'a mut Counters,
    epoch: (Instant, SystemTime),
}

impl EgressTransport for RtcTransport<'_> {
    fn send(&mut self, now: Instant, out: &Outgoing<'_>) {
        let Some(line) = self.lines.iter_mut().find(|l| l.kind == out.kind) else {
            return;
        };
        let Some(pt) = line.payload_type(out.packet.format) else {
            self.counters.undecodable += 1;
            return;
        };
        let mut extensions = ExtensionValues::default();
        if let Some((level, voice)) = out.packet.audio_level {
            extensions.audio_level = Some(level);
            extensions.voice_activity = Some(voice);
        }
        if out.packet.frame_start {
            extensions.abs_capture_time = Some(AbsCaptureTime {
                capture_time: self.epoch.1 + out.capture.saturating_duration_since(self.epoch.0),
                clock_offset: Some(0),
            });
        }
        let payload: Arc<[u8]> = match out.patch {
            None => Arc::clone(&out.packet.payload),
            Some(patch) => {
                let mut copy = out.packet.payload.to_vec();
                patch.apply(&mut copy);
                copy.into()
            }
        };
        let bytes = payload.len() as u64;
        let rtp = RtpWrite::new(
            pt,
            SeqNo::from(out.seq),
            out.timestamp,
            out.capture.min(now),
            payload,
        )
        .marker(out.marker)
        .ext_vals(extensions)
        .nackable(out.kind == Kind::Video);
        if let Some(tx) = self.peer.rtc.direct_api().stream_tx_by_mid(line.mid, None) {
            self.counters.packets += 1;
            self.counters.bytes += bytes;
            tx.write_rtp(rtp);
        }
    }
}

impl Line {
    fn payload_type(&mut self, format: Format) -> Option<Pt> {
        if let Some((last, pt)) = self.last.filter(|(f, _)| *f == format) {
            debug_assert_eq!(last, format);
            return pt;
        }
        let best = self
            .payloads
            .iter()
            .filter_map(|(pt, offered)| Some((fit(*offered, format)?, *pt)))
            .max_by_key(|(score, _)| *score)
            .map(|(_, pt)| pt);
        self.last = Some((format, best));
        best
    }
}

fn payloads_of(peer: &Peer, mid: Mid) -> Vec<(Pt, Format)> {
    let Some(media) = peer.rtc.media(mid).filter(|m| !m.disabled()) else {
        return Vec::new();
    };
    let params = peer.rtc.codec_config().params();
    media
        .remote_pts()
        .iter()
        .filter_map(|pt| params.iter().find(|p| p.pt() == *pt))
        .filter_map(|p| Some((p.pt(), format_of(p)?)))
        .collect()
}
