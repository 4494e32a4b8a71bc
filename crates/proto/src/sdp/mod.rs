//! Session descriptions: what an offer or answer says, read once into owned values.
//!
//! A view, not a document: it keeps what a media server decides on (codecs, layers, ICE and DTLS
//! identity) and drops the rest, so it cannot be written back. Follows RFC 8866 for the lines, RFC
//! 8839 for ICE, RFC 8842 for DTLS, RFC 8853 and RFC 8851 for simulcast, RFC 9143 for BUNDLE.
//! Trickle fragments, which are no whole description, are in [`fragment`].
//!
//! - `lines.rs`: text to `type=value` lines, with the limits on both.
//! - `parse.rs`: lines to [`Session`].

pub mod fragment;
mod lines;
mod parse;

use crate::codec::{Codec, Kind};

/// Longest text in bytes. A browser's simulcast offer is some 10 KiB; one that receives many
/// tracks grows with them.
pub const MAX_LEN: usize = 64 * 1024;
/// Most lines: what [`MAX_LEN`] holds at a usual length of 32 bytes.
pub const MAX_LINES: usize = 2048;
/// Most media descriptions: a multi-source viewer has a pair for each source.
pub const MAX_MEDIA: usize = 64;
/// Most candidates of one media description; a host with many addresses and relays has some tens.
pub const MAX_CANDIDATES: usize = 128;
/// Most feedback messages of one payload type; browsers offer six.
pub const MAX_FEEDBACK: usize = 16;
/// Most members in one group of media or of SSRCs.
pub const MAX_GROUP: usize = 64;
/// RFC 8839 §5.4: `ice-ufrag` and `ice-pwd` are at most 256 characters.
pub const MAX_ICE_LEN: usize = 256;

/// Why a text is no session description or fragment. Always the sender's fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    /// More than [`MAX_LEN`] bytes.
    #[error("{len} bytes of SDP, at most {MAX_LEN} are read")]
    TooLong {
        /// Length in bytes.
        len: usize,
    },
    /// More of something than its limit.
    #[error("more than {max} {what}")]
    TooMany {
        /// The noun, in the plural.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Not a session description: it does not begin with `v=0`.
    #[error("SDP must begin with v=0")]
    NoVersion,
    /// A line that is not of the form its type or attribute has.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from one.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl SdpError {
    /// The stable code of every refusal here: the text itself is wrong.
    pub fn code(&self) -> &'static str {
        "sdp.invalid"
    }
}

/// Which way media may flow, seen from the one who wrote the description (RFC 8866 §6.7).
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub enum Direction {
    /// Both ways; also what an unmarked description means.
    #[default]
    SendRecv,
    /// The writer sends.
    SendOnly,
    /// The writer receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Whether the writer of the description may send.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer of the description may receive.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// DTLS role (`a=setup`, RFC 8842 §5.1).
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Setup {
    /// Will send the `ClientHello`.
    Active,
    /// Waits for it.
    Passive,
    /// Leaves the choice to the answerer.
    ActPass,
    /// No connection for now.
    HoldConn,
}

/// An offer or answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session {
    /// Media descriptions in order.
    pub media: Vec<Media>,
    /// The media ids of each `a=group:BUNDLE`, in order.
    pub bundle_groups: Vec<Vec<String>>,
    /// The writer is an ICE lite agent.
    pub ice_lite: bool,
}

/// One `m=` section, with the session's ICE, DTLS and direction where it has none of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property attribute of SDP"
)]
pub struct Media {
    /// Audio or video; `None` for anything else, such as a data channel.
    pub kind: Option<Kind>,
    /// `a=mid`; empty when there is none.
    pub mid: String,
    /// Which way media may flow.
    pub direction: Direction,
    /// Transport port. Zero is a rejected section, unless [`bundle_only`](Self::bundle_only).
    pub port: u16,
    /// The transport of the `m=` line, such as `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// Formats in order of preference; those that are no RTP payload type are left out.
    pub payloads: Vec<Payload>,
    /// Header extensions as (id, URI); ids that no RTP packet can carry are left out.
    pub extensions: Vec<(u8, String)>,
    /// Restriction ids that the writer sends (`a=rid:… send`), in order.
    pub rids: Vec<String>,
    /// The send list of `a=simulcast`, as written: `hi;mid,~low`.
    pub simulcast: Option<String>,
    /// Semantics and members of each `a=ssrc-group`.
    pub ssrc_groups: Vec<(String, Vec<u32>)>,
    /// The SSRCs named by `a=ssrc`, in order, once each.
    pub ssrcs: Vec<u32>,
    /// Stream and track id as written in `a=msid`, or in the first `a=ssrc:… msid`.
    pub msid: Option<String>,
    /// The first `a=ssrc:… cname`.
    pub cname: Option<String>,
    /// ICE user name fragment.
    pub ice_ufrag: Option<String>,
    /// ICE password.
    pub ice_pwd: Option<String>,
    /// Hash function and digest of the DTLS certificate, as written.
    pub fingerprint: Option<String>,
    /// DTLS role.
    pub setup: Option<Setup>,
    /// Candidates as `candidate:…`, the form that JavaScript has too.
    pub candidates: Vec<String>,
    /// No more candidates will follow.
    pub end_of_candidates: bool,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// Reduced-size RTCP is welcome (RFC 5506).
    pub rtcp_rsize: bool,
    /// Used only inside its BUNDLE group (RFC 9143 §6).
    pub bundle_only: bool,
}

/// One RTP payload type of a media description.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payload {
    /// Payload type, 0 to 127.
    pub pt: u8,
    /// Encoding name as written; empty for a static type without `a=rtpmap`.
    pub encoding: String,
    /// The codec, if it is one of ours.
    pub codec: Option<Codec>,
    /// RTP timestamp units a second; 0 for a static type without `a=rtpmap`.
    pub clock_rate: u32,
    /// Audio channels; 1 when the mapping does not say.
    pub channels: u8,
    /// Format parameters as written; empty when there are none.
    pub fmtp: String,
    /// Feedback messages as written, such as `nack pli`; those for `*` included.
    pub feedback: Vec<String>,
    /// The payload type that retransmits this one (RFC 4588 §8).
    pub rtx_pt: Option<u8>,
}

impl Session {
    /// Reads an offer or answer. Attributes this view does not keep are skipped unread.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        parse::session(text)
    }

    /// Our codecs of one kind, in the order of the description, each once.
    pub fn codecs(&self, kind: Kind) -> Vec<Codec> {
        let mut codecs = Vec::new();
        let media = self.media.iter().filter(|media| media.kind == Some(kind));
        for codec in media
            .flat_map(|media| &media.payloads)
            .filter_map(|payload| payload.codec)
        {
            if codec.kind() == kind && !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        codecs
    }
}

impl Media {
    /// Whether the section is declined: port zero (RFC 3264 §6), but not for being bundle-only,
    /// as all sections after the first are in an offer of a `max-bundle` browser.
    pub const fn is_rejected(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    /// The id of a header extension.
    pub fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions
            .iter()
            .find(|(_, known)| known == uri)
            .map(|&(id, _)| id)
    }
}

impl Payload {
    /// A format parameter by name, in any case: `fmtp_value("profile-level-id")`.
    pub fn fmtp_value(&self, name: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then_some(value.trim())
        })
    }
}
