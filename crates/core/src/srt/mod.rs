//! SRT connections of a listener as state machines: datagrams and time in; datagrams and payloads out.
//!
//! A caller asks for a [`cookie`](Cookies), then concludes; [`Opening`] is what it then says of itself.
//! An admitted caller has a [`Connection`], which repairs what the network loses: [`receiver`] puts
//! packets in order and asks for missing ones until their time is up, [`sender`] keeps what it sent
//! for that long. draft-sharabayko-srt-01, live mode, version 5 handshake; no rendezvous, no bonding.
//!
//! Payloads are handed on as soon as they are in order, not after the whole latency: what reads them
//! has a buffer of its own, and the latency is only how long a hole is waited for.

mod connection;
mod crypto;
mod opening;
mod receiver;
mod request;
mod sender;

pub use connection::{Connection, Event};
pub use crypto::Keys;
pub use opening::{Cookies, Opening, Refusal, induction_answer, refusal};
pub use request::Request;

/// What we say we are: libsrt 1.5.0, whose behaviour this has.
const VERSION: u32 = 0x01_0500;
/// Packets under way at a time; also what a receiver holds.
const WINDOW: u32 = 8192;
