//! LL-HLS out: an HTTP server over the segmenter of `stagecast_core::hls`.
//!
//! - [`server`] accepts connections and speaks HTTP; [`http1`] is written by hand, as a thousand
//!   players asking ten times a second are its whole work, HTTP/2 is hyper's ([`http2`]).
//! - [`threads`] are where that happens; they are few, and naps make them cheap.
//! - [`service`] says what a request gets: playlists, parts, segments, or a refusal.
//! - [`streams`] starts a segmenter when somebody asks and stops it when nobody does; [`stream`] is
//!   one of them, [`channel`] one of its renditions, [`version`] one state of a playlist, made into
//!   bytes once for all players.
//! - [`gate`] asks the control plane who may play, and remembers what it said for some seconds;
//!   [`visit`] is what a connection remembers by itself.
//! - [`viewers`] counts players, [`disk`] keeps what players may seek back to.
//!
//! Where media and verdicts come from is behind [`Doors`], so that tests bring their own.

mod channel;
mod disk;
mod doors;
mod gate;
mod http1;
mod http2;
mod patience;
mod prefixed;
mod server;
mod service;
mod stream;
mod streams;
mod threads;
mod version;
mod viewers;
mod visit;
mod wire;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use doors::{Ask, Boxed, Doors, EngineDoors, Frames};
use serde::Deserialize;
pub use server::Server;
use stagecast_core::hls::Settings;

/// Settings; every one has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HlsConfig {
    /// Addresses to bind.
    pub bind: Vec<IpAddr>,
    /// TCP port; 0 takes any free one.
    pub port: u16,
    /// Duration of a part.
    pub part_ms: u32,
    /// Duration of a segment, where keyframes allow.
    pub segment_ms: u32,
    /// Segments in a playlist.
    pub window: usize,
    /// How far back players may seek; 0 is not at all, `u64::MAX` to the start.
    pub dvr_seconds: u64,
    /// Where segments go that players may seek back to; needed with DVR.
    pub dvr_dir: Option<PathBuf>,
    /// Segment every live source, not only those that somebody watches.
    pub always: bool,
    /// A source that nobody watches is no longer segmented after this time.
    pub idle_ms: u64,
    /// Sound that not every player knows is transcoded to AAC: the first players wait for it.
    pub aac_follows: bool,
    /// Connections at a time.
    pub max_connections: usize,
    /// Certificate chain and key as PEM files; without them the server speaks plain HTTP.
    pub certificate: Option<PathBuf>,
    /// See `certificate`.
    pub key: Option<PathBuf>,
}

impl Default for HlsConfig {
    fn default() -> Self {
        Self {
            bind: vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])],
            port: 8081,
            part_ms: 200,
            segment_ms: 2000,
            window: 6,
            dvr_seconds: 0,
            dvr_dir: None,
            always: false,
            idle_ms: 30_000,
            aac_follows: false,
            max_connections: 10_000,
            certificate: None,
            key: None,
        }
    }
}

impl HlsConfig {
    fn segmenter(&self) -> Settings {
        let us = |ms: u32| i64::from(ms) * 1000;
        let dvr = i64::try_from(self.dvr_seconds).unwrap_or(i64::MAX);
        Settings {
            part_us: us(self.part_ms.clamp(50, 5000)),
            segment_us: us(self.segment_ms.clamp(500, 30_000)),
            window: self.window.clamp(3, 100),
            dvr_us: (dvr > 0 && self.dvr_dir.is_some()).then(|| dvr.saturating_mul(1_000_000)),
            aac_follows: self.aac_follows,
        }
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms.max(1000))
    }
}

/// What a request says, whatever HTTP it came by.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    method: Method,
    /// Path and query.
    target: &'a str,
    user_agent: &'a str,
    origin: Option<&'a str>,
    if_none_match: Option<&'a str>,
    gzip: bool,
    remote: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Options,
    Other,
}

impl Method {
    fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }
}

/// What a request gets, whatever HTTP it goes by.
#[derive(Debug, Clone)]
struct Response {
    kind: Kind,
    etag: Option<Arc<str>>,
    body: bytes::Bytes,
}

/// What an answer has in common with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    status: u16,
    content_type: &'static str,
    cache: &'static str,
    /// The body is compressed.
    gzip: bool,
    /// The body depends on `Accept-Encoding`.
    varies: bool,
}

/// Headers of every response: any page may play, and may read what hls.js reads.
const CORS: [(&str, &str); 2] = [
    ("access-control-allow-origin", "*"),
    (
        "access-control-expose-headers",
        "Age, Content-Length, Date, ETag",
    ),
];
/// More headers of an answer to `OPTIONS`.
const PREFLIGHT: [(&str, &str); 4] = [
    ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
    (
        "access-control-allow-headers",
        "Authorization, Content-Type, If-None-Match, Range, X-Requested-With",
    ),
    ("access-control-max-age", "86400"),
    ("allow", "GET, HEAD, OPTIONS"),
];

/// Words of the status codes that are used.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
