//! WebRTC: the media port and its threads, and a client of the same protocols.
//!
//! Read in this order: [`mailbox`] (what a media thread is told), [`shard`] (its
//! loop), [`session`] (whom it serves), [`feed`] (a source on a thread), [`udp`] and [`tcp`] (the wire).

pub mod alarm;
mod bell;
pub mod client;
pub mod feed;
pub mod frame_session;
pub mod frame_side;
pub mod mailbox;
pub mod session;
pub mod shard;
pub mod tcp;
pub mod udp;
pub mod wheel;

/// What [`bell`] is made of.
mod atomic {
    pub use std::sync::atomic::{AtomicBool, Ordering};
}
