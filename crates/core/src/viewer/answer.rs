//! The session description that answers a viewer (RFC 8829, RFC 9429 §5.3.1).
//!
//! We accept what we can forward, under the payload types and extension ids of
//! the offer, and add nothing. One line of each kind is served, everything else
//! is refused by port zero, and all media share one transport.

use std::fmt::Write;
use std::net::SocketAddr;

use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::rtp::dependency;
use stagecast_proto::rtp::ext;
use stagecast_proto::sdp::{Direction, Media, Payload, Session};

use crate::packet::Format;
use crate::session::{Addresses, Credentials, Refusal};

/// Feedback that we understand (RFC 4585, RFC 5104, transport-wide congestion control).
const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"];

/// A media line that is served.
#[derive(Debug, Clone)]
pub struct Line {
    /// Audio or video.
    pub kind: Kind,
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC of retransmissions (RFC 4588), where the viewer wants them.
    pub rtx_ssrc: u32,
    /// What the viewer decodes.
    pub payloads: Vec<AcceptedPayload>,
    /// Ids of the header extensions that we write.
    pub extensions: ExtensionIds,
}

/// A payload type of the viewer.
#[derive(Debug, Clone, Copy)]
pub struct AcceptedPayload {
    /// Its number.
    pub pt: u8,
    /// Payload type of its retransmissions.
    pub rtx_pt: Option<u8>,
    /// What it decodes.
    pub format: Format,
}

/// Header extension ids; `None` where the viewer did not offer it (RFC 8285).
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtensionIds {
    /// Transport-wide sequence number.
    pub transport_cc: Option<u8>,
    /// Capture time.
    pub capture_time: Option<u8>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<u8>,
    /// Dependency descriptor: what AV1 with spatial layers is not decoded without.
    pub dependency: Option<u8>,
}

/// Answer an offer: the text, and the lines that are served.
///
/// `ssrcs` are the caller's randomness, two for each kind.
pub fn write(
    offer: &Session,
    credentials: &Credentials,
    fingerprint: &str,
    addresses: &Addresses,
    ssrcs: [u32; 4],
) -> Result<(String, Vec<Line>), Refusal> {
    let mut lines: Vec<Line> = Vec::new();
    let mut body = String::new();
    let mut bundled = Vec::new();
    for media in &offer.media {
        let accepted = accept(media, &lines, ssrcs);
        let written = match &accepted {
            None => write_refused(&mut body, media),
            Some(line) => {
                bundled.push(media.mid.as_str());
                let transport = (bundled.len() == 1).then_some(addresses);
                write_accepted(&mut body, media, line, credentials, fingerprint, transport)
            }
        };
        written.expect("a String takes any text");
        lines.extend(accepted);
    }
    if lines.is_empty() {
        return Err(Refusal::NoCommonCodec(
            "No audio or video line of the offer has a codec that can be forwarded.".into(),
        ));
    }
    let text = format!(
        "v=0\r\no=stagecast {} 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=msid-semantic: WMS *\r\na=ice-lite\r\na=extmap-allow-mixed\r\n{body}",
        u64::from(ssrcs[0]) << 16 | u64::from(ssrcs[1] & 0xffff),
        bundled.join(" "),
    );
    Ok((text, lines))
}

fn accept(media: &Media, lines: &[Line], ssrcs: [u32; 4]) -> Option<Line> {
    let kind = media.kind?;
    let wanted = !media.is_rejected() && media.direction.receives();
    if !wanted || lines.iter().any(|l| l.kind == kind) {
        return None;
    }
    let payloads: Vec<AcceptedPayload> = media
        .payloads
        .iter()
        .filter(|p| p.codec.is_some_and(|c| c.kind() == kind))
        .filter_map(|p| {
            Some(AcceptedPayload {
                pt: p.pt,
                rtx_pt: p.rtx_pt,
                format: format_of(p)?,
            })
        })
        .collect();
    let [ssrc, rtx_ssrc] = match kind {
        Kind::Video => [ssrcs[0], ssrcs[1]],
        Kind::Audio => [ssrcs[2], ssrcs[3]],
    };
    let one_byte = |uri: &str| media.extension(uri).filter(|id| (1..15).contains(id));
    let extensions = ExtensionIds {
        transport_cc: one_byte(ext::TransportSequence::URI),
        capture_time: one_byte(ext::AbsCaptureTime::URI),
        audio_level: one_byte(ext::AudioLevel::URI).filter(|_| kind == Kind::Audio),
        dependency: one_byte(dependency::URI).filter(|_| kind == Kind::Video),
    };
    (!payloads.is_empty()).then_some(Line {
        kind,
        ssrc,
        rtx_ssrc,
        payloads,
        extensions,
    })
}

/// What a payload type of an offer decodes.
pub fn format_of(payload: &Payload) -> Option<Format> {
    let codec = payload.codec?;
    let mut format = Format::plain(codec);
    match codec {
        Codec::H264 => {
            let hex = payload.fmtp_value("profile-level-id").unwrap_or("42000a");
            format.profile_level_id = u32::from_str_radix(hex, 16).ok()?;
            let mode = payload.fmtp_value("packetization-mode").unwrap_or("0");
            format.packetization_mode = mode.parse().ok()?;
        }
        Codec::Vp9 => {
            format.profile = payload
                .fmtp_value("profile-id")
                .unwrap_or("0")
                .parse()
                .ok()?;
        }
        _ => {}
    }
    Some(format)
}

fn write_refused(out: &mut String, media: &Media) -> std::fmt::Result {
    let kind = match media.kind {
        Some(kind) => kind.name(),
        None => "application",
    };
    let format = match media.payloads.first() {
        Some(payload) => payload.pt.to_string(),
        None if media.kind.is_some() => "0".into(),
        None => "webrtc-datachannel".into(),
    };
    write!(
        out,
        "m={kind} 0 {} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
        media.protocol, media.mid
    )
}

fn write_accepted(
    out: &mut String,
    media: &Media,
    line: &Line,
    credentials: &Credentials,
    fingerprint: &str,
    transport: Option<&Addresses>,
) -> std::fmt::Result {
    let accepted = |p: &&Payload| line.payloads.iter().any(|a| a.pt == p.pt);
    write!(out, "m={} 9 {}", line.kind.name(), media.protocol)?;
    for payload in &line.payloads {
        write!(out, " {}", payload.pt)?;
        if let Some(rtx) = payload.rtx_pt {
            write!(out, " {rtx}")?;
        }
    }
    write!(
        out,
        "\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{fingerprint}\r\na=setup:passive\r\n",
        media.mid, credentials.ufrag, credentials.password,
    )?;
    for (id, uri) in &media.extensions {
        let ids = line.extensions;
        let ours = [
            ids.transport_cc,
            ids.capture_time,
            ids.audio_level,
            ids.dependency,
        ];
        if ours.contains(&Some(*id)) {
            write!(out, "a=extmap:{id} {uri}\r\n")?;
        }
    }
    for payload in media.payloads.iter().filter(accepted) {
        write_payload(out, payload)?;
    }
    let cname = &credentials.ufrag;
    let has_rtx = line.payloads.iter().any(|p| p.rtx_pt.is_some());
    write!(out, "a=msid:{cname} {cname}-{}\r\n", line.kind.name())?;
    if has_rtx {
        write!(out, "a=ssrc-group:FID {} {}\r\n", line.ssrc, line.rtx_ssrc)?;
    }
    write!(out, "a=ssrc:{} cname:{cname}\r\n", line.ssrc)?;
    if has_rtx {
        write!(out, "a=ssrc:{} cname:{cname}\r\n", line.rtx_ssrc)?;
    }
    if let Some(addresses) = transport {
        for candidate in candidates(addresses) {
            write!(out, "a={candidate}\r\n")?;
        }
        write!(out, "a=end-of-candidates\r\n")?;
    }
    Ok(())
}

fn write_payload(out: &mut String, payload: &Payload) -> std::fmt::Result {
    let pt = payload.pt;
    write!(
        out,
        "a=rtpmap:{pt} {}/{}",
        payload.encoding, payload.clock_rate
    )?;
    if payload.channels > 1 {
        write!(out, "/{}", payload.channels)?;
    }
    write!(out, "\r\n")?;
    if !payload.fmtp.is_empty() {
        write!(out, "a=fmtp:{pt} {}\r\n", payload.fmtp)?;
    }
    for feedback in payload
        .feedback
        .iter()
        .filter(|f| FEEDBACK.contains(&f.as_str()))
    {
        write!(out, "a=rtcp-fb:{pt} {feedback}\r\n")?;
    }
    if let Some(rtx) = payload.rtx_pt {
        write!(
            out,
            "a=rtpmap:{rtx} rtx/{}\r\na=fmtp:{rtx} apt={pt}\r\n",
            payload.clock_rate
        )?;
    }
    Ok(())
}

/// Host candidates (RFC 8839 §5.1), best first; without `a=`.
pub fn candidates(addresses: &Addresses) -> Vec<String> {
    let line = |rank: usize, kind: &str, preference: u32, a: &SocketAddr, tail: &str| {
        // RFC 8445 §5.1.2.1: type preference 126 for host, component 1.
        let priority = (126 << 24) + ((preference - rank as u32) << 8) + 255;
        let foundation = rank + if kind == "udp" { 1 } else { 101 };
        format!(
            "candidate:{foundation} 1 {kind} {priority} {} {} typ host{tail}",
            a.ip(),
            a.port()
        )
    };
    let udp = addresses
        .udp
        .iter()
        .enumerate()
        .map(|(i, a)| line(i, "udp", 65_535, a, ""));
    let tcp = addresses.tcp.iter().enumerate();
    let tcp = tcp.map(|(i, a)| line(i, "tcp", 16_383, a, " tcptype passive"));
    udp.chain(tcp).collect()
}

/// Whether we may be the DTLS server towards this offer, as this path needs.
pub fn can_be_passive(offer: &Session) -> bool {
    use stagecast_proto::sdp::Setup;
    let mut setups = offer
        .media
        .iter()
        .filter(|m| !m.is_rejected())
        .filter_map(|m| m.setup);
    setups.all(|s| s != Setup::Passive)
        && !offer.ice_lite
        && offer
            .media
            .iter()
            .all(|m| m.direction != Direction::SendOnly || m.is_rejected())
}
