//! SRT: publishers and players of transport streams, on one UDP port.
//!
//! [`listener`] reads the port, opens connections and hands each its datagrams; [`connection`] drives
//! one of them through the state machine of `stagecast_core::srt`, as publisher or player.

mod connection;
mod listener;

use std::net::IpAddr;

use serde::Deserialize;

pub use listener::start;

/// Settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SrtConfig {
    /// Addresses to bind.
    pub bind: Vec<IpAddr>,
    /// UDP port; 0 takes any free one.
    pub port: u16,
    /// How long a lost packet is waited for, at least; callers may want more.
    pub latency_ms: u16,
    /// Encrypts all connections; absent means that none is.
    pub passphrase: Option<String>,
    /// Connections at a time.
    pub max_connections: usize,
    /// A publisher that sends no media for this time is dropped.
    pub stall_timeout_ms: u64,
}

impl Default for SrtConfig {
    fn default() -> Self {
        Self {
            bind: vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])],
            port: 8890,
            latency_ms: 120,
            passphrase: None,
            max_connections: 1000,
            stall_timeout_ms: 10_000,
        }
    }
}
