//! Reading an offer before answering it, and finishing the answer.
//!
//! The negotiation itself is the WebRTC library's; here stand the rules of WHIP
//! and WHEP about directions and codecs (RFC 9725 §4.2, draft-ietf-wish-whep
//! §4.2), and what the library leaves out of an answer.

use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::sdp::{Direction, Media, Session};
use str0m::RtcConfig;
use str0m::rtp::{Extension, ExtensionMap};

use super::{Refusal, codec_list};
use crate::packet::Format;

/// Which side the peer is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It sends.
    Publisher,
    /// It receives.
    Viewer,
}

/// Parse an offer and check that its media lines fit the role.
pub fn parse(offer: &str, role: Role) -> Result<Session, Refusal> {
    let session = Session::parse(offer).map_err(|e| Refusal::Invalid(e.to_string()))?;
    let media = || {
        session
            .media
            .iter()
            .filter(|m| m.kind.is_some() && !m.is_rejected())
    };
    if media().next().is_none() {
        return Err(Refusal::Invalid(
            "it has no audio or video media line".into(),
        ));
    }
    let fits = |m: &Media| match role {
        Role::Publisher => matches!(m.direction, Direction::SendOnly | Direction::SendRecv),
        Role::Viewer => matches!(m.direction, Direction::RecvOnly | Direction::SendRecv),
    };
    if media().all(|m| !fits(m) || m.direction == Direction::Inactive) {
        let (verb, want) = match role {
            Role::Publisher => ("send", "a=sendonly"),
            Role::Viewer => ("receive", "a=recvonly"),
        };
        return Err(Refusal::Direction(format!(
            "The offer does not {verb} any media: its audio and video lines need {want}."
        )));
    }
    Ok(session)
}

/// Refuse a publisher none of whose codecs can be forwarded.
pub fn check_publisher(offer: &Session, only: Option<Codec>) -> Result<(), Refusal> {
    let video = offer.codecs(Kind::Video);
    let audio = offer.codecs(Kind::Audio);
    let has_video = offer
        .media
        .iter()
        .any(|m| m.kind == Some(Kind::Video) && !m.is_rejected());
    if let Some(codec) = only.filter(|c| has_video && !video.contains(c)) {
        return Err(Refusal::NoCommonCodec(format!(
            "The offer has no {} video; it has {}.",
            codec.name(),
            codec_list(&video)
        )));
    }
    if video.is_empty() && audio.is_empty() {
        return Err(Refusal::NoCommonCodec(
            "None of the offered codecs can be forwarded; use h264, h265, vp8, vp9 or av1 with \
             opus."
                .into(),
        ));
    }
    Ok(())
}

/// Refuse a viewer that cannot decode what the stream has.
pub fn check_viewer(offer: &Session, stream: &[Format]) -> Result<(), Refusal> {
    for kind in [Kind::Video, Kind::Audio] {
        let wanted: Vec<Codec> = stream
            .iter()
            .map(|f| f.codec)
            .filter(|c| c.kind() == kind)
            .collect();
        let asks = offer
            .media
            .iter()
            .any(|m| m.kind == Some(kind) && !m.is_rejected());
        let offered = offer.codecs(kind);
        if asks && !wanted.is_empty() && !wanted.iter().any(|c| offered.contains(c)) {
            return Err(Refusal::NoCommonCodec(format!(
                "The stream has {}; the offer can decode {}.",
                codec_list(&wanted),
                codec_list(&offered)
            )));
        }
    }
    Ok(())
}

/// Codecs we forward; `only` restricts video to one.
pub fn configure_codecs(config: RtcConfig, only: Option<Codec>) -> RtcConfig {
    let on = |codec| only.is_none_or(|c| c == codec);
    let mut config = config
        .clear_codecs()
        .enable_opus(true, false)
        .enable_h264(on(Codec::H264))
        .enable_vp8(on(Codec::Vp8))
        .enable_vp9(on(Codec::Vp9))
        .enable_av1(on(Codec::Av1))
        .enable_h265(on(Codec::H265));
    if on(Codec::H264) {
        // Encoders other than browsers use High and Constrained High, too.
        let codecs = config.codec_config();
        codecs.add_h264(41.into(), Some(42.into()), false, 0x0064_001f);
        codecs.add_h264(43.into(), Some(44.into()), true, 0x0064_0c1f);
    }
    config
}

/// Header extensions we read (publisher) or write (viewer).
pub fn configure_extensions(config: RtcConfig) -> RtcConfig {
    let mut map = ExtensionMap::empty();
    map.set(1, Extension::AudioLevel);
    map.set(2, Extension::AbsoluteSendTime);
    map.set(3, Extension::TransportSequenceNumber);
    map.set(4, Extension::RtpMid);
    map.set(5, Extension::AbsoluteCaptureTime);
    map.set(10, Extension::RtpStreamId);
    map.set(11, Extension::RepairedRtpStreamId);
    map.set(13, Extension::VideoOrientation);
    config.set_extension_map(map)
}

/// Finish the library's answer.
///
/// Opus parameters that the peer asked for and that cost us nothing (stereo, DTX)
/// are agreed to, tracks of one publisher belong to one media stream so that
/// receivers keep them in sync, and a viewer's lines only send.
pub fn finish_answer(answer: &str, offer: &Session, role: Role, stream_id: &str) -> String {
    let opus = offer
        .media
        .iter()
        .flat_map(|m| &m.payloads)
        .find(|p| p.codec == Some(Codec::Opus))
        .map(|p| (p.pt, opus_extras(&p.fmtp)));
    let mut out = String::with_capacity(answer.len() + 128);
    for line in answer.lines() {
        match (role, line) {
            (Role::Viewer, "a=sendrecv") => out.push_str("a=sendonly"),
            (Role::Publisher, "a=sendrecv") => out.push_str("a=recvonly"),
            (Role::Viewer, _) if line.starts_with("a=msid:") => {
                let track = line.rsplit(' ').next().unwrap_or("track");
                out.extend(["a=msid:", stream_id, " ", track]);
            }
            _ => out.push_str(line),
        }
        if let Some((pt, extras)) = &opus {
            let prefix = format!("a=fmtp:{pt} ");
            if let Some(present) = line.strip_prefix(&prefix) {
                for extra in extras.iter().filter(|e| !present.contains(e.as_str())) {
                    out.push(';');
                    out.push_str(extra);
                }
            }
        }
        out.push_str("\r\n");
    }
    out
}

/// Parameters of RFC 7587 §6.1 that we echo because forwarding keeps them.
fn opus_extras(fmtp: &str) -> Vec<String> {
    let keep = [
        "stereo",
        "sprop-stereo",
        "usedtx",
        "maxaveragebitrate",
        "maxplaybackrate",
    ];
    fmtp.split(';')
        .filter_map(|p| {
            let (name, value) = p.trim().split_once('=')?;
            keep.contains(&name).then(|| format!("{name}={value}"))
        })
        .collect()
}
