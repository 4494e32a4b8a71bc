//! Publishers into, readers out of: who gets which packet, and as what.
//!
//! A [`Source`] is fed by one publisher and holds [`Track`]s; a video track
//! holds one [`Layer`] per simulcast encoding, an audio track exactly one. Each
//! layer keeps its packets in a [`ring::Ring`]. A [`Reader`] holds a cursor into
//! one layer of the audio and one of the video track and rewrites sequence
//! number and timestamp so that the viewer sees one unbroken RTP stream,
//! whatever happens on the publisher's side.
//!
//! Invariants: a packet is parsed once and its payload is never copied; a
//! reader that is slow loses its own packets only; a layer is switched only at a
//! keyframe.

mod demand;
mod rates;
mod reader;
mod rewrite;
pub mod ring;
mod scaling;
mod selection;
mod source;
mod track;
mod wish;

pub use demand::{LayerSet, Rest};
pub use rates::{PACKET_OVERHEAD, Rates};
pub use reader::{EgressTransport, Origin, Outgoing, Reader, ReaderPolicy, Wants};
pub use rewrite::Patch;
pub use source::Source;
pub use track::{Inbound, KeyframeGate, Layer, Offers, Pick, Track};
pub use wish::LayerWish;
