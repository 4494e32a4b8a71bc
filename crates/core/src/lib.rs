//! The media engine without sockets, threads or clocks.
//!
//! This crate owns what is forwarded to whom: the [`hub`] takes packets of
//! publishers and gives them to readers, [`session`] is the state machine of a
//! publisher, [`viewer`] that of a viewer. Time, randomness and datagrams are arguments, so every
//! rule here can be tested with virtual time and a seeded network. It never
//! blocks and never calls out; `stagecast-io` drives it.

pub mod bwe;
pub mod capture;
pub mod figures;
pub mod frame;
pub mod frames;
pub mod hls;
pub mod hub;
pub mod id;
pub mod ingest;
pub mod outbox;
pub mod packet;
pub mod rtmp;
pub mod session;
pub mod srt;
pub mod srtp;
pub mod viewer;

pub use stagecast_proto::codec::{Codec, Kind};
