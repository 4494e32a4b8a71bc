//! Sockets, timers and threads around the sans-IO core: one folder a protocol.
//!
//! [`Engine`] is the whole door to the outside. Nothing here parses media; that
//! is `stagecast-proto`'s and `stagecast-core`'s work.

pub mod admission;
pub mod engine;
pub mod events;
pub mod frames;
pub mod hls;
pub mod memory;
pub mod rtmp;
pub mod runtime;
pub mod srt;
mod tcp;
pub mod webrtc;
pub mod workers;

pub use engine::{Answer, Engine, EngineConfig, EngineError, Patched};
pub use stagecast_core::id::SourceKey;
use stagecast_core::session::PublishOptions;
use stagecast_core::{Codec, Kind};

/// A video codec by its name in lower case.
pub fn codec_by_name(name: &str) -> Option<Codec> {
    Codec::from_name(name).filter(|c| c.kind() == Kind::Video)
}

/// What a publisher may send.
pub fn publish_options(codec: Option<Codec>, audio: bool, video: bool) -> PublishOptions {
    PublishOptions {
        codec,
        audio,
        video,
    }
}
