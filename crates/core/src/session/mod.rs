//! One WebRTC peer as a state machine: datagrams and time in, datagrams and
//! events out.
//!
//! [`Publisher`] sends us media, on the WebRTC library; viewers have a path of
//! their own in [`crate::viewer`], with [`RtcViewer`] as its yardstick. All are
//! answerers, ICE-lite, on one shared certificate. What publisher and yardstick
//! have in common is [`peer::Peer`]. After every call that may change something the driver
//! drains `poll` until it yields a timeout.

mod mint;
pub mod offer;
pub mod peer;
mod publisher;
mod rtc_viewer;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_proto::codec::Codec;
use stagecast_proto::sdp::fragment::Fragment;
use str0m::config::{CryptoProvider, DtlsCert};

use crate::hub::ReaderPolicy;
use crate::packet::Format;
use crate::viewer::connection::Identity;

pub use mint::Mint;
pub use publisher::{PublishOptions, Publisher, PublisherEvent};
pub use rtc_viewer::RtcViewer;

/// What all sessions of the process share.
#[derive(Clone)]
pub struct SessionConfig {
    /// Crypto of the process.
    pub crypto: Arc<CryptoProvider>,
    /// Certificate of the process: one key pair serves every session.
    pub certificate: DtlsCert,
    /// The same certificate, for viewers.
    pub identity: Identity,
    /// No connection within this time ends the session.
    pub connect_timeout: Duration,
    /// Nothing heard for this time ends the session (RFC 7675).
    pub consent_timeout: Duration,
    /// A viewer's retransmission history, in packets.
    pub rtx_packets: usize,
}

impl std::fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionConfig")
            .field("connect_timeout", &self.connect_timeout)
            .field("consent_timeout", &self.consent_timeout)
            .finish_non_exhaustive()
    }
}

impl SessionConfig {
    /// A configuration with a fresh certificate.
    pub fn new(connect_timeout: Duration, consent_timeout: Duration) -> Result<Self, Refusal> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| Refusal::Internal("no DTLS certificate could be made".into()))?;
        let identity = Identity::new(
            certificate.certificate.clone(),
            certificate.private_key.clone(),
        )?;
        let rtx_packets = 512;
        Ok(Self {
            crypto,
            certificate,
            identity,
            connect_timeout,
            consent_timeout,
            rtx_packets,
        })
    }
}

/// Which addresses a session offers to its peer.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// UDP candidates, best first.
    pub udp: Vec<SocketAddr>,
    /// TCP candidates (passive, RFC 6544).
    pub tcp: Vec<SocketAddr>,
}

/// Name and secrets of a session, drawn by the caller.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// ICE user fragment; the driver finds the session by it.
    pub ufrag: String,
    /// ICE password, at least 22 characters (RFC 8445 §5.3).
    pub password: String,
}

/// What a viewer's session is made from, besides the offer.
#[derive(Debug, Clone)]
pub struct ViewerSetup<'a> {
    /// Its name and secrets.
    pub credentials: Credentials,
    /// What is offered to the peer.
    pub addresses: Addresses,
    /// Formats of the source.
    pub formats: &'a [Format],
    /// Rules for joining late.
    pub policy: ReaderPolicy,
    /// The caller's randomness, for SSRCs and first sequence numbers.
    pub random: [u8; 10],
    /// When.
    pub now: Instant,
}

/// Why an offer or a fragment was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The session description cannot be understood.
    #[error("The offer is not a usable SDP session description: {0}.")]
    Invalid(String),
    /// A media line points the wrong way.
    #[error("{0}")]
    Direction(String),
    /// Nothing that both sides can encode and decode.
    #[error("{0}")]
    NoCommonCodec(String),
    /// The trickle or ICE restart fragment cannot be understood.
    #[error("The ICE fragment is not usable: {0}.")]
    Fragment(String),
    /// `If-Match` names an ICE session that is not the current one.
    #[error("The session's entity tag is {current}; If-Match does not name it.")]
    PreconditionFailed {
        /// The tag in force.
        current: String,
    },
    /// An ICE restart needs `If-Match: "*"` or the current tag.
    #[error("An ICE restart needs an If-Match header with \"*\".")]
    PreconditionRequired,
    /// Our fault.
    #[error("The session could not be made: {0}.")]
    Internal(String),
}

impl Refusal {
    /// Stable name for the control plane.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "sdp.invalid",
            Self::Direction(_) => "sdp.direction",
            Self::NoCommonCodec(_) => "sdp.no_common_codec",
            Self::Fragment(_) => "ice.fragment_invalid",
            Self::PreconditionFailed { .. } => "ice.precondition_failed",
            Self::PreconditionRequired => "ice.precondition_required",
            Self::Internal(_) => "session.internal",
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// ICE or DTLS was not through in time.
    ConnectTimeout,
    /// The peer fell silent.
    ConsentLost,
    /// The peer said goodbye.
    PeerClosed,
    /// A newer publisher took its place.
    Replaced,
    /// The engine shuts down.
    Shutdown,
    /// The control plane ended it, for this reason.
    Requested(String),
    /// It failed; the text says how.
    Error(String),
}

impl Ended {
    /// Stable name for the control plane.
    pub fn reason(&self) -> &str {
        match self {
            Self::ConnectTimeout => "connect_timeout",
            Self::ConsentLost => "consent_lost",
            Self::PeerClosed => "peer_closed",
            Self::Replaced => "replaced",
            Self::Shutdown => "shutdown",
            Self::Requested(reason) => reason,
            Self::Error(_) => "error",
        }
    }

    /// More for a person, where there is more.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }
}

/// Codec names joined for a person: "h264, opus".
pub fn codec_list<'a>(codecs: impl IntoIterator<Item = &'a Codec>) -> String {
    let names: Vec<_> = codecs.into_iter().map(|c| c.name()).collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

/// Whether a candidate address is one that browsers accept in an answer.
pub fn is_candidate_address(ip: &IpAddr) -> bool {
    let link_local_v6 = matches!(ip, IpAddr::V6(v6) if (v6.segments()[0] & 0xffc0) == 0xfe80);
    !ip.is_unspecified() && !ip.is_multicast() && !link_local_v6
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
    /// The viewer's own estimate of its bandwidth (REMB).
    pub estimate_bps: Option<u64>,
}

/// Read a trickle or ICE restart fragment (RFC 9725 §4.3, RFC 8840): the peer's new
/// credentials if it is a restart. `remote` and `etag` are those in force.
///
/// Candidates are not kept: we are ICE-lite, and the peer's checks tell us its addresses.
pub fn check_patch(
    fragment: &str,
    if_match: Option<&str>,
    remote: (&str, &str),
    etag: &str,
) -> Result<Option<(String, String)>, Refusal> {
    let parsed = Fragment::parse(fragment).map_err(|e| Refusal::Fragment(e.to_string()))?;
    let restart = match (parsed.ufrag, parsed.pwd) {
        (Some(ufrag), Some(pwd)) => Some((ufrag, pwd)).filter(|(u, p)| remote != (u, p)),
        (Some(ufrag), None) if ufrag == remote.0 => None,
        (None, None) => None,
        _ => {
            return Err(Refusal::Fragment(
                "ice-ufrag and ice-pwd must come together".into(),
            ));
        }
    };
    let matches = |tag: &str| tag.trim() == etag || matches!(tag.trim(), "*" | "\"*\"");
    match (if_match, &restart) {
        (Some(tag), _) if !matches(tag) => Err(Refusal::PreconditionFailed {
            current: etag.to_owned(),
        }),
        (None, Some(_)) => Err(Refusal::PreconditionRequired),
        _ => Ok(restart),
    }
}
