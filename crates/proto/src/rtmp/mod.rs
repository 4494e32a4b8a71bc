//! RTMP: messages in chunks (Adobe, "Real Time Messaging Protocol", 1.0).
//!
//! [`chunk`] takes messages out of the chunk stream and puts them in; [`control`] has the messages
//! that steer the connection. What a command means is the connection's matter
//! (`stagecast_core::rtmp`).

pub mod chunk;
pub mod control;

/// What a message is (§5.4, §6.2, §7.1).
pub mod kind {
    /// The sender's chunk size from now on.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// A partly sent message will not be finished.
    pub const ABORT: u8 = 2;
    /// Bytes received so far.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// Stream begin, ping and the like.
    pub const USER_CONTROL: u8 = 4;
    /// Bytes after which the sender wants an acknowledgement.
    pub const WINDOW_SIZE: u8 = 5;
    /// How much the receiver of this message may send unacknowledged.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// An FLV audio tag's body.
    pub const AUDIO: u8 = 8;
    /// An FLV video tag's body.
    pub const VIDEO: u8 = 9;
    /// Metadata in AMF 3.
    pub const DATA_AMF3: u8 = 15;
    /// A command in AMF 3.
    pub const COMMAND_AMF3: u8 = 17;
    /// Metadata in AMF 0.
    pub const DATA: u8 = 18;
    /// A command in AMF 0.
    pub const COMMAND: u8 = 20;
    /// Several FLV tags in one message.
    pub const AGGREGATE: u8 = 22;
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// See [`kind`].
    pub kind: u8,
    /// Message stream; 0 is the connection itself.
    pub stream: u32,
    /// Milliseconds; wraps at 2^32.
    pub timestamp: u32,
    /// The body.
    pub payload: Vec<u8>,
}
