//! Wire formats of live media: pure functions from bytes to meaning and back.
//!
//! This crate owns no clock, socket or thread and keeps no state between calls: time and packets
//! are arguments, results are values. Everything it reads comes from the network, so every parser
//! is total (no input makes it panic), bounded (sizes and counts are constants that say why), and
//! reads in time linear in its input.
//!
//! One folder or file a protocol:
//! - [`amf`]: values in RTMP commands and metadata.
//! - [`codec`]: what one RTP payload says about its frame, for each codec we carry.
//! - [`flv`]: tag bodies of RTMP, classic and enhanced.
//! - [`fmp4`]: initialization segments and fragments of MP4 files.
//! - [`hls`]: playlists, and what a player's request asks for.
//! - [`ntp`]: the time that RTCP carries.
//! - [`rtcp`]: reports and feedback.
//! - [`rtp`]: packet headers and their extensions.
//! - [`rtmp`]: the chunk stream and its control messages.
//! - [`sdp`]: session descriptions and trickle fragments.
//! - [`srt`]: packets and handshakes.
//! - [`stun`]: which protocol a datagram is, and which session a Binding request is for.
//! - [`ts`]: MPEG transport streams, both ways.

#![forbid(unsafe_code)]

pub mod amf;
pub mod codec;
pub mod flv;
pub mod fmp4;
pub mod hls;
pub mod ntp;
pub mod rtcp;
pub mod rtmp;
pub mod rtp;
pub mod sdp;
pub mod srt;
pub mod stun;
pub mod ts;
#[cfg(test)]
mod vectors;
