//! Lines to [`Session`]: one pass, then the joins that need the whole section.
//!
//! `a=fmtp`, `a=rtcp-fb` and retransmission point at payload types by number; the payload list of
//! the `m=` line stands first, so each attribute finds its payload as it comes.

use super::lines::{Line, lines};
use super::{
    Direction, MAX_CANDIDATES, MAX_FEEDBACK, MAX_GROUP, MAX_ICE_LEN, MAX_MEDIA, Media, Payload,
    SdpError, Session, Setup,
};
use crate::codec::{Codec, Kind};

/// What a section takes from the session when it has none of its own.
#[derive(Default)]
struct Inherited {
    direction: Option<Direction>,
    ice_ufrag: Option<String>,
    ice_pwd: Option<String>,
    fingerprint: Option<String>,
    setup: Option<Setup>,
}

/// A section while its lines come in.
struct Section {
    media: Media,
    own: Inherited,
    /// Feedback for every payload type, `a=rtcp-fb:*`.
    wildcard_feedback: Vec<String>,
}

pub(super) fn session(text: &str) -> Result<Session, SdpError> {
    let mut session = Session::default();
    let mut shared = Inherited::default();
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = lines(text)?;
    match lines.next().transpose()? {
        Some(Line {
            kind: b'v',
            value: "0",
            ..
        }) => {}
        _ => return Err(SdpError::NoVersion),
    }
    for line in lines {
        let line = line?;
        match line.kind {
            b'm' if sections.len() == MAX_MEDIA => {
                return Err(SdpError::TooMany {
                    what: "media descriptions",
                    max: MAX_MEDIA,
                });
            }
            b'm' => sections.push(Section::open(&line)?),
            b'a' => match sections.last_mut() {
                Some(section) => section.attribute(&line)?,
                None => session_attribute(&mut session, &mut shared, &line)?,
            },
            _ => {}
        }
    }
    session.media = sections
        .into_iter()
        .map(|section| section.close(&shared))
        .collect();
    Ok(session)
}

fn session_attribute(
    session: &mut Session,
    shared: &mut Inherited,
    line: &Line,
) -> Result<(), SdpError> {
    let (name, value) = line.attribute();
    match name {
        "group" => {
            let mut words = value.split_ascii_whitespace();
            if words.next() == Some("BUNDLE") {
                if session.bundle_groups.len() == MAX_MEDIA {
                    return Err(SdpError::TooMany {
                        what: "groups",
                        max: MAX_MEDIA,
                    });
                }
                let members: Vec<String> =
                    words.by_ref().take(MAX_MEDIA).map(String::from).collect();
                if words.next().is_some() {
                    return Err(SdpError::TooMany {
                        what: "media in a group",
                        max: MAX_MEDIA,
                    });
                }
                session.bundle_groups.push(members);
            }
        }
        "ice-lite" => session.ice_lite = true,
        _ => {
            shared.attribute(line)?;
        }
    }
    Ok(())
}

impl Inherited {
    /// Takes an attribute that may stand at either level; says whether it was one.
    fn attribute(&mut self, line: &Line) -> Result<bool, SdpError> {
        let (name, value) = line.attribute();
        match name {
            "sendrecv" => self.direction = Some(Direction::SendRecv),
            "sendonly" => self.direction = Some(Direction::SendOnly),
            "recvonly" => self.direction = Some(Direction::RecvOnly),
            "inactive" => self.direction = Some(Direction::Inactive),
            "ice-ufrag" => self.ice_ufrag = Some(ice_text(line, value)?),
            "ice-pwd" => self.ice_pwd = Some(ice_text(line, value)?),
            "fingerprint" => {
                // With several hash functions offered, the first is the writer's choice for us.
                if self.fingerprint.is_none() {
                    self.fingerprint = Some(fingerprint(line, value)?);
                }
            }
            "setup" => {
                self.setup = Some(match value {
                    "active" => Setup::Active,
                    "passive" => Setup::Passive,
                    "actpass" => Setup::ActPass,
                    "holdconn" => Setup::HoldConn,
                    _ => return Err(line.error("unknown role in a=setup")),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// An `ice-ufrag` or `ice-pwd`: not empty, not longer than the RFC allows, in one word.
pub(super) fn ice_text(line: &Line, value: &str) -> Result<String, SdpError> {
    if value.is_empty() || value.len() > MAX_ICE_LEN || !value.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(line.error("ICE user or password is empty, too long or not one word"));
    }
    Ok(value.to_owned())
}

/// Hash function and digest; SHA-512, the longest registered, makes 64 pairs of digits.
fn fingerprint(line: &Line, value: &str) -> Result<String, SdpError> {
    const MAX_DIGEST_LEN: usize = 64 * 3 - 1;
    let well_formed = value.split_once(' ').is_some_and(|(hash, digest)| {
        !hash.is_empty()
            && digest.len() <= MAX_DIGEST_LEN
            && digest
                .split(':')
                .all(|pair| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
    });
    if well_formed {
        Ok(value.to_owned())
    } else {
        Err(line.error("malformed a=fingerprint"))
    }
}

impl Section {
    /// Reads `m=<media> <port>[/<number>] <proto> <fmt> …` (RFC 8866 §5.14).
    fn open(line: &Line) -> Result<Self, SdpError> {
        let malformed = || line.error("malformed m= line");
        let mut words = line.value.split_ascii_whitespace();
        let kind = words.next().ok_or_else(malformed)?;
        let port = words.next().ok_or_else(malformed)?;
        let port = port.split_once('/').map_or(port, |(port, _)| port);
        let mut media = Media {
            kind: match kind {
                "audio" => Some(Kind::Audio),
                "video" => Some(Kind::Video),
                _ => None,
            },
            port: port.parse().map_err(|_| malformed())?,
            protocol: words.next().ok_or_else(malformed)?.to_owned(),
            ..Media::default()
        };
        if media.kind.is_some() {
            for pt in words
                .filter_map(|word| word.parse().ok())
                .filter(|pt| *pt < 128)
            {
                // So at most 128 payloads a section.
                if !media.payloads.iter().any(|payload| payload.pt == pt) {
                    media.payloads.push(Payload {
                        pt,
                        channels: 1,
                        ..Payload::default()
                    });
                }
            }
        }
        Ok(Self {
            media,
            own: Inherited::default(),
            wildcard_feedback: Vec::new(),
        })
    }

    fn attribute(&mut self, line: &Line) -> Result<(), SdpError> {
        let (name, value) = line.attribute();
        let media = &mut self.media;
        match name {
            "mid" => value.clone_into(&mut media.mid),
            "rtpmap" => self.rtpmap(line, value)?,
            "fmtp" => self.fmtp(value),
            "rtcp-fb" => self.feedback(value)?,
            "extmap" => self.extension(line, value)?,
            "rid" => {
                let mut words = value.split_ascii_whitespace();
                if let (Some(rid), Some("send")) = (words.next(), words.next()) {
                    media.rids.push(rid.to_owned());
                }
            }
            "simulcast" => media.simulcast = simulcast_send(value).map(str::to_owned),
            "ssrc-group" => media.ssrc_groups.push(ssrc_group(line, value)?),
            "ssrc" => self.ssrc(line, value)?,
            "msid" => media.msid = Some(value.to_owned()),
            "candidate" => {
                if media.candidates.len() == MAX_CANDIDATES {
                    return Err(SdpError::TooMany {
                        what: "candidates",
                        max: MAX_CANDIDATES,
                    });
                }
                media.candidates.push(line.value.to_owned());
            }
            "end-of-candidates" => media.end_of_candidates = true,
            "rtcp-mux" => media.rtcp_mux = true,
            "rtcp-rsize" => media.rtcp_rsize = true,
            "bundle-only" => media.bundle_only = true,
            _ => {
                self.own.attribute(line)?;
            }
        }
        Ok(())
    }

    fn payload(&mut self, pt: &str) -> Option<&mut Payload> {
        let pt: u8 = pt.parse().ok()?;
        self.media
            .payloads
            .iter_mut()
            .find(|payload| payload.pt == pt)
    }

    /// `<pt> <encoding>/<clock rate>[/<channels>]` (RFC 8866 §6.6).
    fn rtpmap(&mut self, line: &Line, value: &str) -> Result<(), SdpError> {
        let malformed = || line.error("malformed a=rtpmap");
        let (pt, mapping) = value.split_once(' ').ok_or_else(malformed)?;
        let Some(payload) = self.payload(pt) else {
            return Ok(());
        };
        let mut parts = mapping.trim().split('/');
        let encoding = parts
            .next()
            .filter(|name| !name.is_empty())
            .ok_or_else(malformed)?;
        let clock_rate = parts
            .next()
            .and_then(|rate| rate.parse().ok())
            .ok_or_else(malformed)?;
        if let Some(channels) = parts.next() {
            payload.channels = channels.parse().map_err(|_| malformed())?;
        }
        encoding.clone_into(&mut payload.encoding);
        payload.clock_rate = clock_rate;
        payload.codec = Codec::from_name(encoding).filter(|codec| codec.is_webrtc());
        Ok(())
    }

    fn fmtp(&mut self, value: &str) {
        if let Some((pt, parameters)) = value.split_once(' ')
            && let Some(payload) = self.payload(pt)
        {
            parameters.trim().clone_into(&mut payload.fmtp);
        }
    }

    fn feedback(&mut self, value: &str) -> Result<(), SdpError> {
        let Some((pt, message)) = value.split_once(' ') else {
            return Ok(());
        };
        let list = if pt == "*" {
            &mut self.wildcard_feedback
        } else if let Some(payload) = self.payload(pt) {
            &mut payload.feedback
        } else {
            return Ok(());
        };
        push_feedback(list, message.trim())
    }

    /// `<id>[/<direction>] <uri> …` (RFC 8285 §8).
    fn extension(&mut self, line: &Line, value: &str) -> Result<(), SdpError> {
        let malformed = || line.error("malformed a=extmap");
        let mut words = value.split_ascii_whitespace();
        let id = words.next().ok_or_else(malformed)?;
        let uri = words.next().ok_or_else(malformed)?;
        let id: u16 = id
            .split('/')
            .next()
            .unwrap_or(id)
            .parse()
            .map_err(|_| malformed())?;
        // 0 is padding; 4096 and up ask the answerer to choose.
        if let Ok(id @ 1..) = u8::try_from(id)
            && !self.media.extensions.iter().any(|&(known, _)| known == id)
        {
            self.media.extensions.push((id, uri.to_owned()));
        }
        Ok(())
    }

    /// `<ssrc> <attribute>[:<value>]` (RFC 5576 §4.1).
    fn ssrc(&mut self, line: &Line, value: &str) -> Result<(), SdpError> {
        let (ssrc, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let ssrc = ssrc.parse().map_err(|_| line.error("malformed a=ssrc"))?;
        let media = &mut self.media;
        if !media.ssrcs.contains(&ssrc) {
            if media.ssrcs.len() == MAX_GROUP {
                return Err(SdpError::TooMany {
                    what: "SSRCs",
                    max: MAX_GROUP,
                });
            }
            media.ssrcs.push(ssrc);
        }
        match attribute.split_once(':') {
            Some(("cname", cname)) if media.cname.is_none() => media.cname = Some(cname.to_owned()),
            Some(("msid", msid)) if media.msid.is_none() => media.msid = Some(msid.to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Joins what points across the section, and fills in from the session.
    fn close(self, shared: &Inherited) -> Media {
        let Self {
            mut media,
            own,
            wildcard_feedback,
        } = self;
        for payload in &mut media.payloads {
            for message in &wildcard_feedback {
                // A payload that is full of its own keeps those.
                let _ = push_feedback(&mut payload.feedback, message);
            }
        }
        for index in 0..media.payloads.len() {
            let rtx = &media.payloads[index];
            if rtx.encoding.eq_ignore_ascii_case("rtx")
                && let Some(apt) = rtx.fmtp_value("apt").and_then(|apt| apt.parse::<u8>().ok())
            {
                let rtx_pt = rtx.pt;
                if let Some(payload) = media.payloads.iter_mut().find(|payload| payload.pt == apt) {
                    payload.rtx_pt.get_or_insert(rtx_pt);
                }
            }
        }
        media.direction = own.direction.or(shared.direction).unwrap_or_default();
        media.ice_ufrag = own.ice_ufrag.or_else(|| shared.ice_ufrag.clone());
        media.ice_pwd = own.ice_pwd.or_else(|| shared.ice_pwd.clone());
        media.fingerprint = own.fingerprint.or_else(|| shared.fingerprint.clone());
        media.setup = own.setup.or(shared.setup);
        media
    }
}

fn push_feedback(list: &mut Vec<String>, message: &str) -> Result<(), SdpError> {
    if list.iter().any(|known| known == message) {
        return Ok(());
    }
    if list.len() == MAX_FEEDBACK {
        return Err(SdpError::TooMany {
            what: "feedback messages",
            max: MAX_FEEDBACK,
        });
    }
    list.push(message.to_owned());
    Ok(())
}

/// The list after `send` in `send <list> [recv <list>]` (RFC 8853 §5.1), in either order.
fn simulcast_send(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction == "send" {
            return Some(list);
        }
    }
    None
}

/// `<semantics> <ssrc> …` (RFC 5576 §4.2).
fn ssrc_group(line: &Line, value: &str) -> Result<(String, Vec<u32>), SdpError> {
    let mut words = value.split_ascii_whitespace();
    let semantics = words
        .next()
        .ok_or_else(|| line.error("malformed a=ssrc-group"))?
        .to_owned();
    let mut members = Vec::new();
    for word in words {
        if members.len() == MAX_GROUP {
            return Err(SdpError::TooMany {
                what: "SSRCs in a group",
                max: MAX_GROUP,
            });
        }
        members.push(
            word.parse()
                .map_err(|_| line.error("malformed a=ssrc-group"))?,
        );
    }
    Ok((semantics, members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A browser's WHIP offer: Opus, and VP8 or H.264 in simulcast layers.
    const OFFER: &str = "v=0\r\n\
        o=- 5228595038118931041 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
        a=fingerprint:sha-1 12:34:56:78:9A:BC:DE:F0:12:34:56:78:9A:BC:DE:F0:12:34:56:78\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=ice-options:trickle\r\n\
        a=setup:actpass\r\na=mid:0\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
        a=sendonly\r\na=msid:stream track-a\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
        a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
        a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
        a=ssrc:4004 cname:abcdef\r\na=ssrc:4004 msid:stream track-a\r\n\
        a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96 97 102 103 49\r\n\
        a=ice-ufrag:other\r\na=ice-pwd:otherotherotherotherother\r\na=setup:active\r\na=mid:1\r\n\
        a=bundle-only\r\na=extmap:2/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:4097 urn:example:unassigned\r\na=recvonly\r\na=rtcp-mux\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
        a=rtcp-fb:* goog-remb\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n\
        a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
        a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=rtpmap:49 AV1X/90000\r\n\
        a=rid:h send\r\na=rid:m send pt=96\r\na=rid:l recv\r\na=simulcast:recv x send h;m,~l\r\n\
        a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:abc\r\na=end-of-candidates\r\n";

    fn offer(line: &str) -> String {
        format!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n{line}\r\n")
    }

    #[test]
    fn audio_of_a_browser_offer_is_read() {
        let session = Session::parse(OFFER).unwrap();
        assert_eq!(session.bundle_groups, [["0", "1"]]);
        let audio = &session.media[0];
        assert_eq!(audio.kind, Some(Kind::Audio));
        assert_eq!((audio.mid.as_str(), audio.port), ("0", 9));
        assert_eq!(audio.direction, Direction::SendOnly);
        assert_eq!(audio.setup, Some(Setup::ActPass));
        assert_eq!(audio.ice_ufrag.as_deref(), Some("EsAw"));
        assert_eq!(audio.ice_pwd.as_deref(), Some("P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!(audio.msid.as_deref(), Some("stream track-a"));
        assert_eq!(audio.cname.as_deref(), Some("abcdef"));
        assert_eq!(audio.ssrcs, [4004]);
        assert_eq!(
            audio.extension("urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
            Some(1)
        );
        let candidate = "candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host";
        assert_eq!(audio.candidates, [candidate]);
        assert!(audio.rtcp_mux && audio.rtcp_rsize && !audio.end_of_candidates);
        let opus = &audio.payloads[0];
        assert_eq!((opus.pt, opus.codec), (111, Some(Codec::Opus)));
        assert_eq!((opus.clock_rate, opus.channels), (48_000, 2));
        assert_eq!(opus.fmtp_value("UseInbandFEC"), Some("1"));
        assert_eq!(opus.fmtp_value("stereo"), None);
        let unmapped = Payload {
            channels: 1,
            ..Payload::default()
        };
        assert_eq!(audio.payloads[2], unmapped);
        assert_eq!(session.codecs(Kind::Audio), [Codec::Opus]);
    }

    #[test]
    fn simulcast_video_of_a_browser_offer_is_read() {
        let session = Session::parse(OFFER).unwrap();
        let video = &session.media[1];
        assert_eq!(video.kind, Some(Kind::Video));
        assert_eq!((video.port, video.bundle_only), (0, true));
        assert!(!video.is_rejected(), "bundle-only is no refusal");
        assert_eq!(video.direction, Direction::RecvOnly);
        assert_eq!(video.rids, ["h", "m"]);
        assert_eq!(video.simulcast.as_deref(), Some("h;m,~l"));
        assert_eq!(video.ssrc_groups, [("FID".to_owned(), vec![11, 12])]);
        assert_eq!(
            video.extensions,
            [(2, "urn:ietf:params:rtp-hdrext:sdes:mid".to_owned())]
        );
        assert!(video.end_of_candidates);
        let [vp8, rtx, h264, _, av1] = &video.payloads[..] else {
            panic!("five payloads")
        };
        assert_eq!(vp8.feedback, ["nack", "nack pli", "goog-remb"]);
        assert_eq!(
            (vp8.rtx_pt, h264.rtx_pt, rtx.rtx_pt),
            (Some(97), Some(103), None)
        );
        assert_eq!(h264.fmtp_value("profile-level-id"), Some("42001f"));
        assert_eq!(
            (av1.encoding.as_str(), av1.codec),
            ("AV1X", Some(Codec::Av1))
        );
        assert_eq!(
            session.codecs(Kind::Video),
            [Codec::Vp8, Codec::H264, Codec::Av1]
        );
    }

    #[test]
    fn session_level_is_inherited_unless_overridden() {
        let text = "v=0\na=ice-ufrag:abcd\na=ice-pwd:secret\na=setup:passive\na=ice-lite\n\
            a=recvonly\na=fingerprint:sha-1 AA:bb\n\
            m=audio 9 RTP/AVP 0\nm=video 9 RTP/AVP 96\na=ice-ufrag:mine\na=sendonly\n";
        let session = Session::parse(text).unwrap();
        assert!(session.ice_lite);
        let [audio, video] = &session.media[..] else {
            panic!("two media")
        };
        assert_eq!(audio.ice_ufrag.as_deref(), Some("abcd"));
        assert_eq!(audio.direction, Direction::RecvOnly);
        assert_eq!(video.ice_ufrag.as_deref(), Some("mine"));
        assert_eq!(video.ice_pwd.as_deref(), Some("secret"));
        assert_eq!(video.fingerprint.as_deref(), Some("sha-1 AA:bb"));
        assert_eq!(video.setup, Some(Setup::Passive));
        assert_eq!(video.direction, Direction::SendOnly);
    }

    #[test]
    fn data_channel_has_no_kind_and_no_payloads() {
        let text = "v=0\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\n";
        let session = Session::parse(text).unwrap();
        assert_eq!(session.media[0].kind, None);
        assert!(session.media[0].payloads.is_empty());
    }

    #[test]
    fn port_zero_alone_is_a_rejected_section() {
        let session = Session::parse("v=0\nm=audio 0 UDP/TLS/RTP/SAVPF 0\n").unwrap();
        assert!(session.media[0].is_rejected());
    }

    #[test]
    fn text_that_is_no_description_is_refused() {
        for text in ["", "hello", "o=- 1 1 IN IP4 0.0.0.0\n", "v=1\n"] {
            let error = Session::parse(text).unwrap_err();
            assert!(
                matches!(error, SdpError::NoVersion | SdpError::Line { .. }),
                "{text:?}"
            );
            assert_eq!(error.code(), "sdp.invalid");
        }
        let error = Session::parse("v=0\ns=-\nrubbish\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: not of the form type=value");
    }

    #[test]
    fn malformed_attribute_is_refused_with_its_line() {
        for line in [
            "m=video",
            "m=video x RTP/AVP 96",
            "m=video 70000 RTP/AVP 96",
            "m=video 9",
            "a=rtpmap:96",
            "a=rtpmap:96 VP8",
            "a=rtpmap:96 VP8/fast",
            "a=rtpmap:96 VP8/90000/many",
            "a=extmap:x urn:a",
            "a=extmap:1",
            "a=ssrc:x cname:a",
            "a=ssrc-group:",
            "a=ssrc-group:SIM 1 x",
            "a=ice-ufrag:",
            "a=ice-pwd:two words",
            "a=fingerprint:sha-256",
            "a=fingerprint:sha-256 1:2",
            "a=setup:maybe",
        ] {
            let error = Session::parse(&offer(line)).unwrap_err();
            assert!(
                matches!(error, SdpError::Line { line: 3, .. }),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn attribute_of_an_unlisted_payload_is_skipped() {
        for line in [
            "a=rtpmap:97 x",
            "a=fmtp:97 a=b",
            "a=rtcp-fb:97 nack",
            "a=fmtp:x y",
        ] {
            let session = Session::parse(&offer(line)).unwrap();
            assert_eq!(session.media[0].payloads.len(), 1, "{line}");
        }
    }

    #[test]
    fn every_count_has_a_limit() {
        type Repeated = (&'static str, usize, fn(usize) -> String);
        let too_long = offer(&format!("a=x:{}", "y".repeat(crate::sdp::MAX_LEN)));
        assert!(matches!(
            Session::parse(&too_long),
            Err(SdpError::TooLong { .. })
        ));
        let cases: [Repeated; 6] = [
            ("lines", crate::sdp::MAX_LINES, |_| "a=x".into()),
            ("media descriptions", MAX_MEDIA, |_| {
                "m=audio 9 RTP/AVP 0".into()
            }),
            ("candidates", MAX_CANDIDATES + 1, |index| {
                format!("a=candidate:{index}")
            }),
            ("feedback messages", MAX_FEEDBACK + 1, |index| {
                format!("a=rtcp-fb:96 x{index}")
            }),
            ("SSRCs", MAX_GROUP + 1, |index| {
                format!("a=ssrc:{index} cname:x")
            }),
            ("SSRCs in a group", 1, |_| {
                format!("a=ssrc-group:SIM{}", " 1".repeat(65))
            }),
        ];
        for (noun, count, line) in cases {
            let lines: Vec<String> = (0..count).map(line).collect();
            let error = Session::parse(&offer(&lines.join("\r\n"))).unwrap_err();
            assert!(
                matches!(error, SdpError::TooMany { what, .. } if what == noun),
                "{error}"
            );
        }
        let group = format!("v=0\na=group:BUNDLE{}\n", " 0".repeat(MAX_MEDIA + 1));
        assert!(matches!(
            Session::parse(&group),
            Err(SdpError::TooMany { .. })
        ));
    }

    #[test]
    fn truncated_offer_never_panics() {
        for len in 0..OFFER.len() {
            let _ = Session::parse(&OFFER[..len]);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
            let _ = Session::parse(&text);
        }

        #[test]
        fn arbitrary_attributes_never_panic(
            name in prop::sample::select(vec![
                "group", "rtpmap", "fmtp", "rtcp-fb", "extmap", "rid", "simulcast", "ssrc-group",
                "ssrc", "msid", "candidate", "fingerprint", "ice-ufrag", "setup",
            ]),
            value in "[ -~]{0,40}",
        ) {
            let _ = Session::parse(&offer(&format!("a={name}:{value}")));
            let _ = Session::parse(&format!("v=0\na={name}:{value}\n"));
        }
    }
}
