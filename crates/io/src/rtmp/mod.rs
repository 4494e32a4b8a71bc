//! RTMP and RTMPS: publishers from encoders, and players of tools that pull.
//!
//! [`server`] listens and counts, [`connection`] drives one client through the state machine of
//! `stagecast_core::rtmp`: it asks the control plane, gives a publisher's frames to the hub and a
//! player's messages to its socket.

mod connection;
mod player;
mod server;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

pub use server::{Ports, start};

/// Settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RtmpConfig {
    /// Addresses to bind.
    pub bind: Vec<IpAddr>,
    /// Port of RTMP; 0 takes any free one, none means off.
    pub port: Option<u16>,
    /// RTMPS; none means off.
    pub tls: Option<TlsConfig>,
    /// Connections at a time, of both.
    pub max_connections: usize,
    /// A client that has not asked to publish or play within this time is dropped.
    pub connect_timeout_ms: u64,
    /// A publisher that sends no media for this time is dropped, and a player that takes none.
    pub stall_timeout_ms: u64,
}

/// Settings of RTMPS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Port; 0 takes any free one.
    pub port: u16,
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            bind: vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])],
            port: Some(1935),
            tls: None,
            max_connections: 1000,
            connect_timeout_ms: 10_000,
            stall_timeout_ms: 10_000,
        }
    }
}
