//! RTMP connections as state machines: bytes and time in; bytes, questions and frames out.
//!
//! A connection begins with a [`handshake`], then speaks commands in a chunk stream
//! ([`Connection`]). It ends up publishing, and [`media`] makes frames of what it sends, or playing,
//! and [`play`] makes messages of frames. Adobe, "Real Time Messaging Protocol", 1.0; Veovera,
//! "Enhanced RTMP" v1 and v2.

mod commands;
mod connection;
pub mod handshake;
pub mod media;
pub mod play;
mod request;
#[cfg(test)]
mod tests;

pub use connection::{Action, Connection, Event};
pub use request::Request;
pub(crate) use request::percent_decode;

use stagecast_proto::amf::AmfError;
use stagecast_proto::flv::FlvError;
use stagecast_proto::rtmp::chunk::ChunkError;

/// Why a connection was given up. All are the peer's doing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RtmpError {
    /// It does not begin as RTMP does.
    #[error("not an RTMP handshake: version {0}")]
    Version(u8),
    /// The chunk stream is broken or too large.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command is broken or too large.
    #[error(transparent)]
    Amf(#[from] AmfError),
    /// An FLV tag is broken.
    #[error(transparent)]
    Flv(#[from] FlvError),
    /// Media that Stagecast does not carry.
    #[error("{0}")]
    Unsupported(String),
    /// A command where it does not belong.
    #[error("command {0:?} is out of order")]
    Order(String),
}

impl RtmpError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version(_) => "rtmp.bad_handshake",
            Self::Chunk(_) => "rtmp.bad_chunk",
            Self::Amf(_) => "rtmp.bad_command",
            Self::Flv(_) => "rtmp.bad_media",
            Self::Unsupported(_) => "rtmp.unsupported_media",
            Self::Order(_) => "rtmp.out_of_order",
        }
    }
}
