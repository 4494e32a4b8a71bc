//! A peer that we send media to.
//!
//! It owns the reader of its source and is, for that reader, the transport: a
//! packet's format is mapped to the viewer's payload type, and the connection
//! seals, sends and retransmits it.

use std::time::{Duration, Instant, SystemTime};

use stagecast_proto::codec::{Codec, Kind};
use str0m::Event;
use str0m::media::{Mid, Pt};
use str0m::rtp::{AbsCaptureTime, ExtensionValues, RtpWrite, SeqNo};
use str0m::stats::{MediaEgressStats, PeerStats};

use super::offer::{self, Role};
use super::peer::Peer;
use super::publisher::format_of;
use super::{Addresses, Credentials, Refusal, SessionConfig};
use crate::hub::{EgressTransport, Outgoing, Reader, ReaderPolicy, Source, Wants};
use crate::packet::Format;

/// A viewer's session.
pub struct Viewer {
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

/// What went to the viewer, without retransmissions.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counters {
    /// Media packets.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Packets in a format that the viewer did not offer.
    pub undecodable: u64,
}

/// What the viewer reported.
#[derive(Debug, Default, Clone, Copy)]
pub struct Feedback {
    /// Round trip time.
    pub rtt_ms: Option<f32>,
    /// Fraction lost, 0 to 1.
    pub loss: Option<f32>,
    /// Jitter of the video, else the audio.
    pub jitter_ms: Option<f32>,
    /// Packets lost in total.
    pub packets_lost: u64,
    /// NACKs received.
    pub nacks: u64,
    /// Keyframe requests received.
    pub plis: u64,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("peer", &self.peer)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

impl Viewer {
    /// Answer a viewer's offer for a stream that has these formats.
    #[allow(clippy::too_many_arguments)] // Each is another side's: process, caller, peer, stream.
    pub fn answer(
        config: &SessionConfig,
        credentials: Credentials,
        addresses: Addresses,
        offer_sdp: &str,
        stream: &[Format],
        policy: ReaderPolicy,
        first_seq: u16,
        now: Instant,
    ) -> Result<(Self, String), Refusal> {
        let offer = offer::parse(offer_sdp, Role::Viewer)?;
        offer::check_viewer(&offer, stream)?;
        let stream_id = credentials.ufrag.clone();
        let (mut peer, answer) =
            Peer::answer(config, credentials, addresses, offer_sdp, now, |config| {
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
        let rtp = RtpWrite::new(
            pt,
            SeqNo::from(out.seq),
            out.timestamp,
            out.capture.min(now),
            out.payload.clone(),
        )
        .marker(out.packet.marker)
        .ext_vals(extensions)
        .nackable(out.kind == Kind::Video);
        if let Some(tx) = self.peer.rtc.direct_api().stream_tx_by_mid(line.mid, None) {
            self.counters.packets += 1;
            self.counters.bytes += out.payload.len() as u64;
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

/// How well a payload type fits a stream's format; `None` if it does not.
fn fit(offered: Format, stream: Format) -> Option<u32> {
    if offered.codec != stream.codec {
        return None;
    }
    Some(match stream.codec {
        Codec::H264 => {
            // Every decoder of a profile takes lower levels in practice; the profile
            // decides, then the packetization mode, which matters to few decoders.
            let profile = |f: Format| f.profile_level_id >> 16;
            let constrained = |f: Format| (f.profile_level_id >> 14) & 1;
            let mut score = 1;
            score += 8 * u32::from(profile(offered) == profile(stream));
            score += 4 * u32::from(offered.packetization_mode == stream.packetization_mode);
            score += 2 * u32::from(constrained(offered) == constrained(stream));
            score
        }
        _ => 1 + u32::from(offered.profile == stream.profile),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(profile_level_id: u32, packetization_mode: u8) -> Format {
        Format {
            profile_level_id,
            packetization_mode,
            ..Format::plain(Codec::H264)
        }
    }

    #[test]
    fn stream_is_sent_as_the_payload_type_of_its_profile() {
        let offered = [
            h264(0x0042_001f, 1),
            h264(0x0042_e01f, 1),
            h264(0x0064_001f, 1),
        ];
        let best = |stream| offered.iter().max_by_key(|o| fit(**o, stream)).copied();
        assert_eq!(best(h264(0x0042_c029, 1)), Some(offered[1]));
        assert_eq!(best(h264(0x0064_0028, 1)), Some(offered[2]));
        assert_eq!(best(h264(0x0042_0028, 1)), Some(offered[0]));
    }

    #[test]
    fn other_codec_does_not_fit() {
        assert_eq!(
            fit(Format::plain(Codec::Vp8), Format::plain(Codec::Vp9)),
            None
        );
    }
}
