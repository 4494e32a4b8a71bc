//! The load generator behind `stagecast bench`: thousands of lean WebRTC viewers, and
//! publishers, against any WHIP and WHEP server.
//!
//! A viewer here is a socket, a key, some counters: what a browser would answer is
//! answered, what it would decode is only counted. Life of a packet: `driver` (a thread with
//! `epoll`) → `socket` (`recvmmsg`, kernel time) → `viewer` (clear header, figures) →
//! `stream` (loss, order, jitter) and `picture` (frames, freezes) → `figures` (percentiles).
//! Nothing of the server's engine is used but formats, SRTP and the outbox, so that each is
//! the other's check. LL-HLS players are in [`hls`]; they share `threads`, `ledger` and `stamps`.

mod arrivals;
pub mod clip;
mod clock;
mod driver;
mod figures;
pub mod hls;
mod impair;
mod ledger;
pub mod link;
mod load;
mod packetize;
mod picture;
mod publisher;
pub mod sdp;
mod socket;
mod stamps;
mod stream;
mod threads;
mod viewer;

pub use figures::{DelayMs, JoinMs, Polled, Publishers, Span, Sums};
pub use impair::Network;
pub use load::{Config, Load, MAX_PEERS, Wants};
pub use stagecast_proto::codec::{Codec, Kind};
pub use stamps::Spread;

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It asks for something impossible.
    #[error("{0}")]
    Config(String),
    /// The server's answer cannot be used.
    #[error("the answer cannot be used: {0}")]
    Answer(String),
    /// The operating system refused a socket or a thread.
    #[error("no socket or thread: {0}")]
    System(std::io::Error),
}

impl Error {
    /// Stable dotted name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "load.config",
            Self::Answer(_) => "load.answer",
            Self::System(_) => "load.socket",
        }
    }
}
