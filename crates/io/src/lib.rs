//! Sockets, timers and threads: one folder a protocol.

pub mod webrtc;
