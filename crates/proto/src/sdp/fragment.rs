//! Trickle fragments: `application/trickle-ice-sdpfrag` (RFC 8840 §9), as WHIP and WHEP carry them
//! in PATCH (RFC 9725 §4.3).
//!
//! All media share one transport, so a fragment is one ICE generation and its candidates: those of
//! every section are read into one list, and written under the first media id of the bundle.

use super::lines::lines;
use super::parse::ice_text;
use super::{MAX_CANDIDATES, SdpError};
use crate::codec::Kind;
use std::fmt::{self, Write};

/// The media type of a fragment.
pub const CONTENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// Candidates of one ICE generation, or the credentials of a new one (an ICE restart).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fragment {
    /// User name fragment of the generation.
    pub ufrag: Option<String>,
    /// Its password.
    pub pwd: Option<String>,
    /// Candidates as `candidate:…`, in order, each once.
    pub candidates: Vec<String>,
    /// No more will follow.
    pub end_of_candidates: bool,
}

impl Fragment {
    /// Reads a fragment. Credentials may stand before or inside a section, the first ones count:
    /// in a bundle all are the same. An empty text is an empty fragment.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        let mut fragment = Self::default();
        for line in lines(text)? {
            let line = line?;
            if line.kind != b'a' {
                continue;
            }
            let (name, value) = line.attribute();
            match name {
                "ice-ufrag" if fragment.ufrag.is_none() => {
                    fragment.ufrag = Some(ice_text(&line, value)?);
                }
                "ice-pwd" if fragment.pwd.is_none() => {
                    fragment.pwd = Some(ice_text(&line, value)?);
                }
                "candidate" if !fragment.candidates.iter().any(|known| known == line.value) => {
                    if fragment.candidates.len() == MAX_CANDIDATES {
                        return Err(SdpError::TooMany {
                            what: "candidates",
                            max: MAX_CANDIDATES,
                        });
                    }
                    fragment.candidates.push(line.value.to_owned());
                }
                "end-of-candidates" => fragment.end_of_candidates = true,
                _ => {}
            }
        }
        Ok(fragment)
    }

    /// Writes the fragment for a bundle of these media ids, the transport's own first; `kind` is
    /// that first one's. With more than one id the bundle is named (RFC 9725 §4.3.1).
    pub fn to_sdp(&self, kind: Kind, mids: &[&str]) -> String {
        let mut text = String::new();
        self.write(&mut text, kind, mids)
            .expect("a String takes any text");
        text
    }

    fn write(&self, out: &mut impl Write, kind: Kind, mids: &[&str]) -> fmt::Result {
        if self.pwd.is_some() {
            out.write_str("a=ice-options:trickle ice2\r\n")?;
        }
        if mids.len() > 1 {
            write!(out, "a=group:BUNDLE {}\r\n", mids.join(" "))?;
        }
        // RFC 8840 §9: a pseudo m= line, of which a reader heeds nothing but the place.
        write!(out, "m={} 9 UDP/TLS/RTP/SAVPF 0\r\n", kind.name())?;
        write!(out, "a=mid:{}\r\n", mids.first().unwrap_or(&"0"))?;
        if let Some(ufrag) = &self.ufrag {
            write!(out, "a=ice-ufrag:{ufrag}\r\n")?;
        }
        if let Some(pwd) = &self.pwd {
            write!(out, "a=ice-pwd:{pwd}\r\n")?;
        }
        for candidate in &self.candidates {
            write!(out, "a={candidate}\r\n")?;
        }
        if self.end_of_candidates {
            out.write_str("a=end-of-candidates\r\n")?;
        }
        Ok(())
    }
}

/// The fragment of a transport whose only media id is `0`.
impl fmt::Display for Fragment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(out, Kind::Audio, &["0"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// In the form of the examples in RFC 9725 §4.3.
    const TRICKLE: &str = "a=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=mid:0\r\n\
        a=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
        a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0\r\n\
        a=end-of-candidates\r\n";

    #[test]
    fn trickle_fragment_is_read() {
        let fragment = Fragment::parse(TRICKLE).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.pwd.as_deref(), Some("P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!(fragment.candidates.len(), 2);
        assert!(fragment.candidates[1].starts_with("candidate:3471623853 1 udp"));
        assert!(fragment.end_of_candidates);
    }

    #[test]
    fn credentials_before_the_media_count_and_the_first_stay() {
        let text = "a=ice-pwd:first\na=ice-ufrag:one\nm=audio 9 RTP/AVP 0\na=mid:a\n\
            a=ice-ufrag:two\na=candidate:1\nm=video 9 RTP/AVP 0\na=mid:b\na=candidate:1\n";
        let fragment = Fragment::parse(text).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("one"));
        assert_eq!(fragment.pwd.as_deref(), Some("first"));
        assert_eq!(fragment.candidates, ["candidate:1"]);
        assert!(!fragment.end_of_candidates);
    }

    #[test]
    fn written_fragment_is_read_back() {
        let fragment = Fragment::parse(TRICKLE).unwrap();
        let text = fragment.to_sdp(Kind::Video, &["v", "a"]);
        assert_eq!(Fragment::parse(&text).unwrap(), fragment);
        assert!(text.starts_with(
            "a=ice-options:trickle ice2\r\na=group:BUNDLE v a\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:v\r\na=ice-ufrag:EsAw\r\n"
        ));
        assert_eq!(Fragment::parse(&fragment.to_string()).unwrap(), fragment);
        let empty = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
        assert_eq!(Fragment::default().to_string(), empty);
    }

    #[test]
    fn malformed_or_endless_fragment_is_refused() {
        assert!(Fragment::parse("nonsense").is_err());
        assert!(Fragment::parse("a=ice-ufrag:\r\n").is_err());
        assert!(Fragment::parse(&format!("a=ice-pwd:{}\n", "x".repeat(257))).is_err());
        let candidates: Vec<String> = (0..=MAX_CANDIDATES)
            .map(|index| format!("a=candidate:{index}"))
            .collect();
        let refused = Fragment::parse(&candidates.join("\n"));
        assert!(matches!(
            refused,
            Err(SdpError::TooMany {
                what: "candidates",
                ..
            })
        ));
    }

    #[test]
    fn truncated_fragment_never_panics() {
        for len in 0..TRICKLE.len() {
            let _ = Fragment::parse(&TRICKLE[..len]);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,100}") {
            let _ = Fragment::parse(&text);
        }
    }
}
