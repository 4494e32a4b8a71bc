//! WebRTC: the media port, its sessions, and a client of the same protocols.

pub mod client;
