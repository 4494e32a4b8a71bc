//! Session descriptions of a load peer: the offer it makes, and what it takes from
//! the answer (RFC 8829; the codecs and extensions of a browser's offer).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest;
use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::rtp::ext;
use stagecast_proto::sdp::{Session, Setup};

use crate::Error;
use crate::link::Credentials;

/// Ids of the header extensions that are offered.
pub const TRANSPORT_CC: u8 = 3;
/// Media id, which a publisher writes into each packet.
pub const MID: u8 = 4;
/// Absolute capture time.
pub const CAPTURE_TIME: u8 = 5;

/// Payload types offered: number, its retransmissions', codec, `a=fmtp`.
const VIDEO: [(u8, u8, Codec, &str); 6] = [
    (
        102,
        103,
        Codec::H264,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (
        104,
        105,
        Codec::H264,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    ),
    (
        106,
        107,
        Codec::H264,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
    ),
    (96, 97, Codec::Vp8, ""),
    (98, 99, Codec::Vp9, "profile-id=0"),
    (108, 109, Codec::Av1, "level-idx=5;profile=0;tier=0"),
];
/// Opus.
pub const AUDIO_PT: u8 = 111;
const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

/// SSRCs that a publisher announces.
#[derive(Debug, Clone, Copy)]
pub struct Ssrcs {
    /// Video.
    pub video: u32,
    /// Audio.
    pub audio: u32,
}

/// What an offer says besides the codecs.
#[derive(Debug)]
pub struct Offer<'a> {
    /// Our ICE credentials.
    pub credentials: &'a Credentials,
    /// Our certificate's.
    pub fingerprint: &'a str,
    /// Where we receive.
    pub local: SocketAddr,
    /// Set by a publisher; a viewer sends nothing.
    pub sends: Option<Ssrcs>,
    /// Video codecs, best first; empty offers no video.
    pub video: &'a [Codec],
    /// Whether Opus is offered.
    pub audio: bool,
}

impl Offer<'_> {
    /// The text.
    pub fn to_sdp(&self) -> String {
        let mut mids = Vec::new();
        let mut body = String::new();
        for (kind, wanted) in [
            (Kind::Audio, self.audio),
            (Kind::Video, !self.video.is_empty()),
        ] {
            if wanted {
                self.media(&mut body, kind, mids.len())
                    .expect("a String takes any text");
                mids.push(mids.len().to_string());
            }
        }
        format!(
            "v=0\r\no=- {} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
             a=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\n{body}",
            u32::from_str_radix(&self.credentials.ufrag, 16).unwrap_or(1),
            mids.join(" "),
        )
    }

    /// The payload type, retransmissions' payload type and codec of each video format.
    fn formats(&self) -> Vec<(u8, u8, Codec, &'static str)> {
        let mut formats = Vec::new();
        for codec in self.video {
            // A publisher sends one profile.
            let limit = if self.sends.is_some() { 1 } else { VIDEO.len() };
            formats.extend(VIDEO.iter().filter(|f| f.2 == *codec).take(limit).copied());
        }
        formats
    }

    fn media(&self, out: &mut String, kind: Kind, mid: usize) -> std::fmt::Result {
        let formats = self.formats();
        let numbers: Vec<String> = match kind {
            Kind::Audio => vec![AUDIO_PT.to_string()],
            Kind::Video => formats
                .iter()
                .flat_map(|f| [f.0, f.1])
                .map(|n| n.to_string())
                .collect(),
        };
        let address = self.local.ip();
        let family = if address.is_ipv6() { "IP6" } else { "IP4" };
        write!(
            out,
            "m={} {} UDP/TLS/RTP/SAVPF {}\r\nc=IN {family} {address}\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=candidate:1 1 udp 2130706431 {address} {} typ host generation 0\r\na=end-of-candidates\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
             a={}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            kind.name(),
            self.local.port(),
            numbers.join(" "),
            self.local.port(),
            self.credentials.ufrag,
            self.credentials.pwd,
            self.fingerprint,
            if self.sends.is_some() {
                "sendonly"
            } else {
                "recvonly"
            },
        )?;
        for (id, uri) in [
            (TRANSPORT_CC, ext::TransportSequence::URI),
            (MID, ext::MID_URI),
            (CAPTURE_TIME, ext::AbsCaptureTime::URI),
        ] {
            write!(out, "a=extmap:{id} {uri}\r\n")?;
        }
        match kind {
            Kind::Audio => write!(
                out,
                "a=rtpmap:{AUDIO_PT} opus/48000/2\r\na=fmtp:{AUDIO_PT} minptime=10;useinbandfec=1\r\n\
                 a=rtcp-fb:{AUDIO_PT} transport-cc\r\n"
            )?,
            Kind::Video => write_formats(out, &formats)?,
        }
        let Some(ssrcs) = self.sends else {
            return Ok(());
        };
        let ssrc = match kind {
            Kind::Audio => ssrcs.audio,
            Kind::Video => ssrcs.video,
        };
        write!(
            out,
            "a=msid:bench {kind}\r\na=ssrc:{ssrc} cname:bench\r\na=ssrc:{ssrc} msid:bench {kind}\r\n",
            kind = kind.name()
        )
    }
}

fn write_formats(out: &mut String, formats: &[(u8, u8, Codec, &str)]) -> std::fmt::Result {
    for (pt, rtx, codec, fmtp) in formats {
        let name = codec.name().to_uppercase();
        write!(out, "a=rtpmap:{pt} {name}/90000\r\n")?;
        if !fmtp.is_empty() {
            write!(out, "a=fmtp:{pt} {fmtp}\r\n")?;
        }
        for feedback in FEEDBACK {
            write!(out, "a=rtcp-fb:{pt} {feedback}\r\n")?;
        }
        write!(out, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n")?;
    }
    Ok(())
}

/// A certificate's hash (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: String,
    value: Vec<u8>,
}

impl Fingerprint {
    fn parse(text: &str) -> Option<Self> {
        let (hash, value) = text.trim().split_once(' ')?;
        let value: Option<Vec<u8>> = value
            .trim()
            .split(':')
            .map(|b| u8::from_str_radix(b, 16).ok())
            .collect();
        Some(Self {
            hash: hash.to_ascii_lowercase(),
            value: value?,
        })
    }

    /// Whether it is this certificate's.
    pub fn matches(&self, der: &[u8]) -> bool {
        let algorithm = match self.hash.as_str() {
            "sha-1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "sha-256" => &digest::SHA256,
            "sha-384" => &digest::SHA384,
            "sha-512" => &digest::SHA512,
            _ => return false,
        };
        digest::digest(algorithm, der).as_ref() == self.value
    }
}

/// A payload type of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its number.
    pub pt: u8,
    /// What it carries.
    pub codec: Codec,
    /// The payload type of its retransmissions.
    pub rtx_pt: Option<u8>,
}

/// What is taken from an answer.
#[derive(Debug, Clone)]
pub struct Remote {
    /// ICE user fragment.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// The server's certificate.
    pub fingerprint: Fingerprint,
    /// The server is the DTLS client.
    pub active: bool,
    /// UDP addresses, best first.
    pub candidates: Vec<SocketAddr>,
    /// Payload types, best first.
    pub payloads: Vec<Accepted>,
    /// Id of the transport-wide sequence number, where the server writes it.
    pub transport_cc: Option<u8>,
    /// Id of the capture time.
    pub capture_time: Option<u8>,
    /// Id of the media id extension.
    pub mid: Option<u8>,
}

impl Remote {
    /// Read an answer.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let session = Session::parse(text).map_err(|e| Error::Answer(e.to_string()))?;
        let media: Vec<_> = session.media.iter().filter(|m| !m.is_rejected()).collect();
        let missing = |what: &str| Error::Answer(format!("it has no {what}"));
        let find = |get: fn(&stagecast_proto::sdp::Media) -> Option<&String>| {
            media.iter().find_map(|m| get(m)).cloned()
        };
        let fingerprint = find(|m| m.fingerprint.as_ref()).ok_or_else(|| missing("fingerprint"))?;
        let payloads: Vec<Accepted> = media
            .iter()
            .flat_map(|m| &m.payloads)
            .filter_map(|p| {
                Some(Accepted {
                    pt: p.pt,
                    codec: p.codec?,
                    rtx_pt: p.rtx_pt,
                })
            })
            .collect();
        if payloads.is_empty() {
            return Err(missing("codec of ours"));
        }
        let extension = |uri: &str| media.iter().find_map(|m| m.extension(uri));
        Ok(Self {
            ufrag: find(|m| m.ice_ufrag.as_ref()).ok_or_else(|| missing("ice-ufrag"))?,
            pwd: find(|m| m.ice_pwd.as_ref()).ok_or_else(|| missing("ice-pwd"))?,
            fingerprint: Fingerprint::parse(&fingerprint)
                .ok_or_else(|| Error::Answer(format!("unusable fingerprint {fingerprint:?}")))?,
            active: media.iter().any(|m| m.setup == Some(Setup::Active)),
            candidates: candidates(media.iter().flat_map(|m| &m.candidates)),
            payloads,
            transport_cc: extension(ext::TransportSequence::URI),
            capture_time: extension(ext::AbsCaptureTime::URI),
            mid: extension(ext::MID_URI),
        })
    }

    /// Keep the addresses that `local` can reach: loopback from loopback only, and one family.
    pub fn reachable_from(&mut self, local: IpAddr) {
        self.candidates.retain(|c| {
            c.ip().is_ipv4() == local.is_ipv4() && (!c.ip().is_loopback() || local.is_loopback())
        });
        // From loopback the machine's other addresses are reached too; loopback is the shortest way.
        self.candidates
            .sort_by_key(|c| c.ip().is_loopback() != local.is_loopback());
    }
}

fn candidates<'a>(lines: impl Iterator<Item = &'a String>) -> Vec<SocketAddr> {
    let mut found: Vec<(u32, SocketAddr)> = Vec::new();
    for line in lines {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let &[_, component, protocol, priority, ip, port, ..] = parts.as_slice() else {
            continue;
        };
        let (Ok(priority), Ok(ip), Ok(port)) =
            (priority.parse(), ip.parse::<IpAddr>(), port.parse::<u16>())
        else {
            continue;
        };
        let address = SocketAddr::new(ip, port);
        let usable = component == "1" && protocol.eq_ignore_ascii_case("udp") && port != 0;
        if usable && !found.iter().any(|f| f.1 == address) {
            found.push((priority, address));
        }
    }
    found.sort_by_key(|f| std::cmp::Reverse(f.0));
    found.into_iter().map(|f| f.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(sends: Option<Ssrcs>, video: &[Codec]) -> String {
        let credentials = Credentials::new([7; 20]);
        let offer = Offer {
            credentials: &credentials,
            fingerprint: "sha-256 AA:BB",
            local: "127.0.0.1:5000".parse().unwrap(),
            sends,
            video,
            audio: true,
        };
        offer.to_sdp()
    }

    #[test]
    fn offer_is_read_back_by_our_own_parser() {
        let text = offer(None, &[Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1]);
        let session = Session::parse(&text).unwrap();
        assert_eq!(session.bundle_groups, [["0", "1"]]);
        let video = &session.media[1];
        assert_eq!(
            video.payloads.iter().filter(|p| p.rtx_pt.is_some()).count(),
            6
        );
        assert_eq!(
            video.extension(ext::TransportSequence::URI),
            Some(TRANSPORT_CC)
        );
        assert!(
            session
                .media
                .iter()
                .all(|m| m.direction.receives() && !m.direction.sends())
        );
    }

    #[test]
    fn publisher_offers_one_profile_and_names_its_ssrcs() {
        let ssrcs = Ssrcs { video: 5, audio: 6 };
        let session = Session::parse(&offer(Some(ssrcs), &[Codec::H264])).unwrap();
        assert_eq!(session.media[1].ssrcs, [5]);
        assert_eq!(session.media[0].ssrcs, [6]);
        let codecs = session.media[1]
            .payloads
            .iter()
            .filter(|p| p.codec.is_some());
        assert_eq!(codecs.count(), 1);
    }

    #[test]
    fn answer_gives_addresses_by_priority_and_family() {
        let text = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
            a=fingerprint:sha-256 AA:BB\r\na=setup:passive\r\na=rtpmap:111 opus/48000/2\r\n\
            a=candidate:1 1 udp 100 10.0.0.1 4000 typ host\r\n\
            a=candidate:2 1 udp 200 127.0.0.1 4000 typ host\r\n\
            a=candidate:3 1 tcp 300 10.0.0.1 4000 typ host tcptype passive\r\n\
            a=candidate:4 1 udp 400 ::1 4000 typ host\r\n";
        let mut remote = Remote::parse(text).unwrap();
        assert_eq!(remote.candidates.len(), 3);
        remote.reachable_from("10.0.0.2".parse().unwrap());
        assert_eq!(remote.candidates, ["10.0.0.1:4000".parse().unwrap()]);
        let mut remote = Remote::parse(text).unwrap();
        remote.reachable_from("127.0.0.1".parse().unwrap());
        assert_eq!(remote.candidates[0], "127.0.0.1:4000".parse().unwrap());
        assert!(!remote.active && remote.transport_cc.is_none());
    }

    #[test]
    fn answer_without_a_codec_or_certificate_is_refused() {
        for text in [
            "",
            "v=0\r\ns=-\r\n",
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
        ] {
            assert!(Remote::parse(text).is_err(), "{text:?}");
        }
    }
}
