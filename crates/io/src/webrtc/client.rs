//! A WebRTC client: the offering side of WHIP and WHEP, for the command line,
//! the tests and the load generator.
//!
//! A client publishes encoded frames or receives them; it neither encodes nor
//! decodes and does no signalling: the caller carries its offer to the server
//! and the answer back. It is a full ICE agent. Many clients share the thread
//! of one [`Pool`]. What a caller does not fetch is bounded: the oldest frames
//! make room for new ones, and a publisher that runs ahead of the thread is
//! told so. Nothing of the server's code is used here, so that each is the
//! other's check.

mod link;
mod pool;
mod probe;
mod session;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use str0m::change::SdpPendingOffer;

pub use pool::Pool;
pub use probe::{Percentiles, Probe, Report};
pub use stagecast_core::Kind;
pub use stats::{Stats, TrackStats};

use pool::Command;
use session::Session;

/// Frames handed to the thread and not yet sent.
const MAX_UNSENT: usize = 256;

/// Why a client could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration asks for something impossible.
    #[error("{0}")]
    Config(String),
    /// The server's answer cannot be used.
    #[error("the answer cannot be used: {0}")]
    Answer(String),
    /// The operating system refused a socket or a thread.
    #[error("no socket or thread: {0}")]
    Socket(std::io::Error),
    /// The session has ended.
    #[error("the session has ended: {0}")]
    Closed(String),
}

impl Error {
    /// Stable dotted name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "client.config",
            Self::Answer(_) => "client.answer",
            Self::Socket(_) => "client.socket",
            Self::Closed(_) => "client.closed",
        }
    }
}

/// Which way media flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send to the server.
    Publish,
    /// Receive from the server.
    Watch,
}

/// How far received media is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Whole frames, for decoding.
    #[default]
    Frames,
    /// Packets are counted and dropped: cheap, for load.
    Packets,
}

/// Which server candidates are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// UDP only.
    #[default]
    Udp,
    /// ICE-TCP only.
    Tcp,
    /// Both; ICE chooses.
    Any,
}

/// A video codec to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 (a publisher offers constrained baseline, packetization mode 1).
    H264,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
    /// H.265.
    H265,
}

impl VideoCodec {
    const ALL: [Self; 5] = [Self::H264, Self::Vp8, Self::Vp9, Self::Av1, Self::H265];
}

/// What a client shall be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Publish or watch.
    pub role: Role,
    /// Whether audio is offered.
    #[serde(default = "yes")]
    pub audio: bool,
    /// Whether video is offered.
    #[serde(default = "yes")]
    pub video: bool,
    /// Video codecs offered, best first; empty offers all.
    #[serde(default)]
    pub codecs: Vec<VideoCodec>,
    /// How far received media is taken apart.
    #[serde(default)]
    pub depth: Depth,
    /// Which server candidates are used.
    #[serde(default)]
    pub transport: Transport,
    /// Server addresses known before the answer: the local address towards each is put into the
    /// offer, which a server that does not learn peers by itself needs.
    #[serde(default)]
    pub toward: Vec<IpAddr>,
    /// Received frames kept until fetched.
    #[serde(default = "default_queue")]
    pub queue: usize,
}

fn yes() -> bool {
    true
}

fn default_queue() -> usize {
    600
}

/// One received frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Audio or video.
    pub kind: Kind,
    /// `h264`, `h265`, `vp8`, `vp9`, `av1` or `opus`.
    pub codec: &'static str,
    /// RTP timestamp, extended beyond 32 bits.
    pub rtp_time: u64,
    /// Ticks of `rtp_time` a second.
    pub clock: u32,
    /// H264 and H265 as Annex B, AV1 as a temporal unit, else as the codec defines a frame.
    pub data: Arc<[u8]>,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// False when frames before this one were lost.
    pub contiguous: bool,
    /// Arrival of its first packet, Unix seconds.
    pub arrived: f64,
    /// The publisher's absolute capture time, Unix seconds, when it sends such.
    pub captured: Option<f64>,
}

/// What thread and handle share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame>,
    unsent: usize,
    connected: bool,
    interrupted: bool,
    keyframe_wanted: bool,
    closed: Option<String>,
    last_stats: Option<Stats>,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self {
                closed: Some(_), ..
            } => "closed",
            Self {
                connected: false, ..
            } => "connecting",
            Self {
                interrupted: true, ..
            } => "interrupted",
            _ => "connected",
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// False when an older frame had to make room.
    fn push(&self, frame: Frame, limit: usize) -> bool {
        let mut state = self.state();
        let full = state.frames.len() >= limit.max(1);
        if full {
            state.frames.pop_front();
        }
        state.frames.push_back(frame);
        drop(state);
        self.changed.notify_all();
        !full
    }

    fn taken(&self) {
        self.state().unsent -= 1;
    }

    /// Waits until `ready` gives a value, the session ends (`None` from `ready` then stays) or time is up.
    fn wait<T>(
        &self,
        timeout: Duration,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            if let Some(value) = ready(&mut state) {
                return Ok(Some(value));
            }
            if let Some(reason) = &state.closed {
                return Err(Error::Closed(reason.clone()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// A handle to one client; dropping it says goodbye.
pub struct Client {
    id: u64,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    offer: String,
    pending: Mutex<Option<(Box<Session>, SdpPendingOffer)>>,
}

impl Client {
    /// Prepares a session on `pool` and its offer; nothing is sent yet.
    ///
    /// With a `probe` a publisher stamps its video packets and a viewer of depth
    /// [`Depth::Packets`] measures their delay.
    pub fn new(config: Config, pool: Arc<Pool>, probe: Option<Arc<Probe>>) -> Result<Self, Error> {
        if config.role == Role::Publish && config.depth == Depth::Packets {
            return Err(Error::Config(
                "a publisher has frames, not packets, to give".into(),
            ));
        }
        let id = pool.next_id();
        let shared = Arc::new(Shared::default());
        let certificate = pool.certificate();
        let (session, offer, pending) =
            Session::offer(id, config, shared.clone(), probe, certificate)?;
        let pending = Mutex::new(Some((Box::new(session), pending)));
        Ok(Self {
            id,
            pool,
            shared,
            offer,
            pending,
        })
    }

    /// The SDP offer.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the server's answer and starts connecting.
    pub fn accept_answer(&self, sdp: &str) -> Result<(), Error> {
        let taken = self
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((mut session, pending)) = taken else {
            return Err(Error::Answer("one was accepted before".into()));
        };
        session.accept(pending, sdp)?;
        if self.pool.send(Command::Add(session)) {
            Ok(())
        } else {
            Err(Error::Closed("the pool is closed".into()))
        }
    }

    /// Waits for ICE and DTLS; false when time is up.
    pub fn wait_connected(&self, timeout: Duration) -> Result<bool, Error> {
        let connected = self.shared.wait(timeout, |s| s.connected.then_some(()))?;
        Ok(connected.is_some())
    }

    /// Sends one encoded frame; false when the thread is too far behind to take it.
    ///
    /// `pts` counts in the track's clock (90 kHz video, 48 kHz audio).
    pub fn send_frame(&self, kind: Kind, data: Vec<u8>, pts: u64) -> Result<bool, Error> {
        let mut state = self.shared.state();
        if let Some(reason) = &state.closed {
            return Err(Error::Closed(reason.clone()));
        }
        if !state.connected || state.unsent >= MAX_UNSENT {
            return Ok(false);
        }
        state.unsent += 1;
        drop(state);
        Ok(self.pool.send(Command::Frame {
            id: self.id,
            kind,
            data,
            pts,
        }))
    }

    /// The oldest received frame, waiting for one; `None` when time is up.
    pub fn next_frame(&self, timeout: Duration) -> Result<Option<Frame>, Error> {
        self.shared.wait(timeout, |s| s.frames.pop_front())
    }

    /// Whether the server asked for a keyframe since the last call.
    pub fn take_keyframe_request(&self) -> bool {
        std::mem::take(&mut self.shared.state().keyframe_wanted)
    }

    /// Asks the server for a keyframe, at most twice a second.
    pub fn request_keyframe(&self) {
        self.pool.send(Command::RequestKeyframe(self.id));
    }

    /// Present figures, or after the end the last ones; `None` when there never were any.
    pub fn stats(&self) -> Option<Stats> {
        let (reply, answer) = sync_channel(1);
        let asked = self.pool.send(Command::Stats(self.id, reply));
        let present = asked
            .then(|| answer.recv_timeout(Duration::from_secs(5)).ok())
            .flatten();
        present.or_else(|| self.shared.state().last_stats.clone())
    }

    /// `connecting`, `connected`, `interrupted` (ICE gets no answers) or `closed`.
    pub fn state(&self) -> &'static str {
        self.shared.state().name()
    }

    /// Ends the session; without `goodbye` it just falls silent, as a crashed peer would.
    pub fn close(&self, goodbye: bool) {
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.pool.send(Command::Close {
            id: self.id,
            goodbye,
        });
        self.shared.update(|s| {
            s.closed.get_or_insert_with(|| "closed".into());
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close(true);
    }
}
