//! Reading an offer before answering it, and finishing the answer.
//!
//! The negotiation itself is the WebRTC library's; here stand the rules of WHIP
//! and WHEP about directions and codecs (RFC 9725 §4.2, draft-ietf-wish-whep
//! §4.2), and what the library leaves out of an answer.

use std::sync::Arc;

use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::rtp::dependency;
use stagecast_proto::sdp::{Direction, Media, Session};
use str0m::RtcConfig;
use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

use super::{Refusal, codec_list};
use crate::bwe::MAX_LAYERS;
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

/// Header extensions that only publishers send us.
pub fn configure_publisher_extensions(config: RtcConfig) -> RtcConfig {
    let mut config = configure_extensions(config);
    let descriptor = Extension::with_serializer(dependency::URI, DependencyReader);
    config.extension_map().set(12, descriptor);
    config
}

/// The value of a packet's dependency descriptor, as it came.
#[derive(Debug, Clone)]
pub struct DependencyValue(pub Arc<[u8]>);

/// Keeps the dependency descriptor for the hub, which knows the structure it refers to.
#[derive(Debug)]
struct DependencyReader;

impl ExtensionSerializer for DependencyReader {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, value: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(DependencyValue(value.into()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, _: &ExtensionValues) -> bool {
        true
    }
}

/// Media SSRC of a layer, and that of its retransmissions.
pub type SsrcLayer = (u32, Option<u32>);

/// The simulcast layers that an offer announces by `a=ssrc-group:SIM`, as the Millicast SDK writes
/// it: for each media line its `mid` and, lowest layer first, media and retransmission SSRC.
///
/// Offers with restriction ids (RFC 8853) have none: there the packets name their layer.
pub fn ssrc_layers(offer: &Session) -> Vec<(&str, Vec<SsrcLayer>)> {
    let by_ssrc = |m: &&Media| m.kind == Some(Kind::Video) && m.simulcast.is_none();
    let layers = |m: &Media| {
        let group = |semantics: &str| {
            let semantics = semantics.to_owned();
            let groups = m.ssrc_groups.iter();
            groups.filter(move |(s, _)| s.eq_ignore_ascii_case(&semantics))
        };
        let (_, ssrcs) = group("SIM").next()?;
        let repair = |ssrc: u32| {
            let pairs = group("FID").filter_map(|(_, pair)| <[u32; 2]>::try_from(&pair[..]).ok());
            pairs.into_iter().find(|pair| pair[0] == ssrc).map(|p| p[1])
        };
        let layers = ssrcs.iter().take(MAX_LAYERS);
        Some(layers.map(|&ssrc| (ssrc, repair(ssrc))).collect())
    };
    let media = offer.media.iter().filter(by_ssrc);
    media
        .filter_map(|m| Some((m.mid.as_str(), layers(m)?)))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn video(attributes: &str) -> Session {
        let offer = format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:v\r\na=sendonly\r\n\
             a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n{attributes}"
        );
        Session::parse(&offer).expect("a valid offer")
    }

    #[test]
    fn ssrc_group_names_layers_from_the_lowest_with_their_retransmissions() {
        // As the Millicast SDK munges it.
        let offer = video(
            "a=ssrc-group:FID 11 12\r\na=ssrc-group:SIM 11 100 102\r\n\
             a=ssrc-group:FID 100 101\r\na=ssrc-group:FID 102 103\r\n",
        );
        let layers = vec![(11, Some(12)), (100, Some(101)), (102, Some(103))];
        assert_eq!(ssrc_layers(&offer), [("v", layers)]);
    }

    #[test]
    fn offers_without_a_simulcast_group_or_with_restriction_ids_have_no_ssrc_layers() {
        assert!(ssrc_layers(&video("a=ssrc-group:FID 11 12\r\n")).is_empty());
        let both = "a=rid:0 send\r\na=rid:1 send\r\na=simulcast:send 0;1\r\n\
                    a=ssrc-group:SIM 1 2\r\n";
        assert!(ssrc_layers(&video(both)).is_empty());
    }
}
