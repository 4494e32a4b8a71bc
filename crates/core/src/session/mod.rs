//! One WebRTC peer as a state machine: datagrams and time in, datagrams and
//! events out.
//!
//! [`Publisher`] sends us media, [`Viewer`] is sent media; both are answerers,
//! ICE-lite, DTLS passive, on one shared certificate. What they have in common
//! is [`peer::Peer`]. After every call that may change something the driver
//! drains `poll` until it yields a timeout.

pub mod offer;
pub mod peer;
mod publisher;
mod viewer;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use stagecast_proto::codec::Codec;
use str0m::config::{CryptoProvider, DtlsCert};

pub use publisher::{PublishOptions, Publisher, PublisherEvent};
pub use viewer::Viewer;

/// What all sessions of the process share.
#[derive(Clone)]
pub struct SessionConfig {
    /// Crypto of the process.
    pub crypto: Arc<CryptoProvider>,
    /// Certificate of the process: one key pair serves every session.
    pub certificate: DtlsCert,
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
        Ok(Self {
            crypto,
            certificate,
            connect_timeout,
            consent_timeout,
            rtx_packets: 512,
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
