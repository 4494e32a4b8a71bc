//! The engine: what the control plane holds. It answers offers on the caller's
//! thread, gives the sessions to media threads, and collects what they report.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use stagecast_core::figures::Figures;
use stagecast_core::hub::ReaderPolicy;
use stagecast_core::hub::ring::Limits;
use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::packet::Format;
use stagecast_core::session::offer::{self, Role};
use stagecast_core::session::{
    Addresses, Credentials, Ended, Mint, PublishOptions, Publisher, Refusal, RtcViewer,
    SessionConfig, ViewerSetup, is_candidate_address,
};
use stagecast_core::viewer::Viewer;
use stagecast_core::viewer::answer::can_be_passive;
use tokio::sync::oneshot;

use crate::admission::{Admissions, Verdict};
use crate::events::{Event, EventQueue};
use crate::frames::FrameHub;
use crate::hls::{self, EngineDoors, HlsConfig};
use crate::rtmp::{self, RtmpConfig};
use crate::runtime::Runtime;
use crate::srt::{self, SrtConfig};
use crate::webrtc::feed::BurstWait;
use crate::webrtc::mailbox::{Command, Mailbox};
use crate::webrtc::session::Session;
use crate::webrtc::shard::{self, ShardReport};
use crate::workers;

/// How long a media thread may take to answer a call.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sessions that a media thread serves without effort.
const EASY_LOAD: usize = 250;

/// Settings; every one has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // Independent switches of a person.
pub struct EngineConfig {
    /// Media port, UDP and TCP; 0 takes any free one.
    pub port: u16,
    /// Serve UDP.
    pub udp: bool,
    /// Serve ICE-TCP.
    pub tcp: bool,
    /// Addresses to bind.
    pub bind: Vec<IpAddr>,
    /// Addresses put into candidates; empty means those of all interfaces.
    pub advertise: Vec<IpAddr>,
    /// Media threads; 0 means one per core.
    pub threads: usize,
    /// No connection within this time ends a session.
    pub connect_timeout_ms: u64,
    /// Silence of this time ends a session.
    pub consent_timeout_ms: u64,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Bytes kept per layer for late joiners.
    pub ring_max_bytes: usize,
    /// Milliseconds kept per layer for late joiners.
    pub ring_max_ms: u64,
    /// Longest wait for the rest of a frame, so that it is one message to each of
    /// many viewers; few viewers wait less.
    pub burst_wait_us: u64,
    /// Ask publishers not to send layers that nobody reads.
    pub pause_unread_layers: bool,
    /// RTMP and RTMPS; absent means off.
    pub rtmp: Option<RtmpConfig>,
    /// HLS; none means off.
    pub hls: Option<HlsConfig>,
    /// Let transcode workers in.
    pub workers: bool,
    /// SRT; absent means off.
    pub srt: Option<SrtConfig>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            port: 8189,
            udp: true,
            tcp: true,
            bind: vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])],
            advertise: Vec::new(),
            threads: 0,
            connect_timeout_ms: 15_000,
            consent_timeout_ms: 30_000,
            max_sessions: 10_000,
            ring_max_bytes: 8 << 20,
            ring_max_ms: 6_000,
            burst_wait_us: 5_000,
            pause_unread_layers: false,
            rtmp: None,
            hls: None,
            workers: false,
            srt: None,
        }
    }
}

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The settings cannot be used.
    #[error("{0}")]
    Config(String),
    /// An offer or a fragment was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No media of this source arrives.
    #[error("Stream not found")]
    NotLive,
    /// There is no such session, or no longer.
    #[error("There is no session {0}; it may have ended.")]
    NoSession(String),
    /// A wish for a layer cannot be read.
    #[error("The layer is not valid: {0}.")]
    Layer(String),
    /// As many sessions as the settings allow.
    #[error("The server is full: {0} sessions.")]
    Full(usize),
    /// The control plane's answer to a question cannot be read.
    #[error("The verdict cannot be read: {0}")]
    Verdict(String),
    /// The engine has been closed.
    #[error("The media engine is closed.")]
    Closed,
}

impl EngineError {
    /// Stable name for the control plane.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config.invalid",
            Self::Refused(refusal) => refusal.code(),
            Self::NotLive => "stream.not_live",
            Self::NoSession(_) => "session.not_found",
            Self::Layer(_) => "layer.invalid",
            Self::Full(_) => "limit.sessions",
            Self::Verdict(_) => "admission.invalid",
            Self::Closed => "engine.closed",
        }
    }
}

/// Answer to an offer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Session id.
    pub session: SessionId,
    /// SDP.
    pub sdp: String,
    /// Entity tag of the ICE session.
    pub etag: String,
}

/// Answer to a fragment.
#[derive(Debug, Clone)]
pub struct Patched {
    /// New ICE credentials, after a restart.
    pub fragment: Option<String>,
    /// Entity tag in force.
    pub etag: String,
}

/// A live source, as all threads and the control plane know it.
#[derive(Debug, Clone)]
pub struct LiveSource {
    /// Formats of its tracks.
    pub formats: Vec<Format>,
    /// The publisher's session.
    pub session: SessionId,
}

/// What the engine and its threads share. Locks are held for look-ups only, and
/// never on the path of a packet.
#[derive(Debug)]
pub struct Shared {
    /// Settings of sessions.
    pub sessions: SessionConfig,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Limits of rings.
    pub limits: Limits,
    /// Rules of readers.
    pub policy: ReaderPolicy,
    /// Longest wait for the rest of a frame.
    pub burst_wait: BurstWait,
    /// Ask publishers not to send layers that nobody reads.
    pub pause_unread: bool,
    /// Events to the control plane.
    pub events: EventQueue,
    /// Questions to the control plane that wait for their answers.
    pub admissions: Admissions<oneshot::Sender<Verdict>>,
    /// One mailbox per media thread.
    pub mailboxes: Vec<Mailbox>,
    /// Live sources.
    pub live: Mutex<HashMap<SourceKey, LiveSource>>,
    /// Where each session lives.
    pub placed: Mutex<HashMap<SessionId, usize>>,
    /// How many sessions each thread has.
    pub loads: Vec<AtomicUsize>,
    /// Latest figures of each thread.
    pub reports: Vec<Mutex<ShardReport>>,
    /// Counts publishers, so that readers notice a new one.
    pub generations: AtomicU32,
    /// Set once, when the engine closes.
    pub closing: AtomicBool,
    /// Names and secrets of sessions.
    pub mint: Mint,
}

/// A lock whose holder panicked is still good: what it guards is replaced whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn credentials(&self, thread: usize) -> Credentials {
        self.mint.issue(thread, random())
    }

    /// The thread on which all publishers of a stream live.
    pub fn home(&self, key: &SourceKey) -> usize {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        (hasher.hash_one(&key.stream) % self.mailboxes.len() as u64) as usize
    }

    /// The thread for a viewer: that of the publisher while it has little to do, because packets
    /// that stay on their thread cost less; then the one that has the least.
    fn place_viewer(&self, key: &SourceKey) -> usize {
        let load = |thread: usize| self.loads[thread].load(Ordering::Relaxed);
        let home = self.home(key);
        if load(home) < EASY_LOAD {
            return home;
        }
        (0..self.loads.len())
            .min_by_key(|&thread| load(thread))
            .unwrap_or(home)
    }

    /// Whether one more session may come.
    pub(crate) fn check_room(&self) -> Result<(), EngineError> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(EngineError::Closed);
        }
        if lock(&self.placed).len() >= self.max_sessions {
            return Err(EngineError::Full(self.max_sessions));
        }
        Ok(())
    }

    /// Give a session to its media thread.
    pub(crate) fn place(
        &self,
        thread: usize,
        id: SessionId,
        key: SourceKey,
        session: Session,
    ) -> Result<(), EngineError> {
        lock(&self.placed).insert(id, thread);
        self.loads[thread].fetch_add(1, Ordering::Relaxed);
        self.mailboxes[thread].send(Command::Add { id, key, session });
        if self.closing.load(Ordering::SeqCst) {
            return Err(EngineError::Closed);
        }
        Ok(())
    }
}

/// Sockets, media threads and the hub of one process.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    runtime: Runtime,
    config: EngineConfig,
    port: u16,
    rtmp: rtmp::Ports,
    hls: Option<hls::Server>,
    workers: Option<workers::Door>,
    srt: Option<u16>,
}

impl Engine {
    /// Bind the media port and start the media threads.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let invalid =
            |what: &str, e: &dyn std::fmt::Display| EngineError::Config(format!("{what}: {e}"));
        if !config.udp && !config.tcp {
            return Err(EngineError::Config(
                "media.udp and media.tcp are both off".into(),
            ));
        }
        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
        .min(shard::MAX_SHARDS);
        let (port, sockets) = shard::bind(&config, count)
            .map_err(|e| invalid(&format!("cannot bind media port {}", config.port), &e))?;
        let sessions = SessionConfig::new(
            Duration::from_millis(config.connect_timeout_ms),
            Duration::from_millis(config.consent_timeout_ms),
        )?;
        let mut mailboxes = Vec::new();
        let mut inboxes = Vec::new();
        for _ in 0..count {
            let (mailbox, inbox) =
                Mailbox::new().map_err(|e| invalid("cannot start a media thread", &e))?;
            mailboxes.push(mailbox);
            inboxes.push(inbox);
        }
        let shared = Arc::new(Shared {
            sessions,
            max_sessions: config.max_sessions,
            limits: Limits {
                max_bytes: config.ring_max_bytes,
                max_age: Duration::from_millis(config.ring_max_ms),
                ..Limits::default()
            },
            policy: ReaderPolicy::default(),
            burst_wait: BurstWait::new(Duration::from_micros(config.burst_wait_us)),
            pause_unread: config.pause_unread_layers,
            events: EventQueue::new().map_err(|e| invalid("no eventfd", &e))?,
            admissions: Admissions::default(),
            mailboxes,
            live: Mutex::default(),
            placed: Mutex::default(),
            loads: (0..count).map(|_| AtomicUsize::default()).collect(),
            reports: (0..count).map(|_| Mutex::default()).collect(),
            generations: AtomicU32::new(1),
            closing: AtomicBool::new(false),
            mint: Mint::new(&random()),
        });
        let runtime = Runtime::start().map_err(|e| invalid("cannot start network threads", &e))?;
        let mut threads = Vec::new();
        for (index, (inbox, sockets)) in inboxes.into_iter().zip(sockets).enumerate() {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("media-{index}"))
                .spawn(move || shard::run(index, shared, inbox, sockets))
                .map_err(|e| invalid("cannot start a media thread", &e))?;
            threads.push(thread);
        }
        let mut engine = Self {
            shared,
            threads: Mutex::new(threads),
            runtime,
            config,
            port,
            rtmp: rtmp::Ports::default(),
            hls: None,
            workers: None,
            srt: None,
        };
        if engine.config.workers {
            let door = workers::Door::open(&engine.runtime, engine.frames());
            engine.workers = Some(door.map_err(|e| invalid("no socket for workers", &e))?);
        }
        if let Some(config) = &engine.config.rtmp {
            engine.rtmp = rtmp::start(config, &engine)?;
        }
        if let Some(config) = &engine.config.hls {
            let doors = Arc::new(EngineDoors::new(&engine));
            let server = hls::Server::start(config, doors, engine.runtime.handle());
            let server = server
                .map_err(|e| invalid(&format!("cannot serve HLS on port {}", config.port), &e))?;
            engine.hls = Some(server);
        }
        if let Some(config) = &engine.config.srt {
            engine.srt = Some(srt::start(config, &engine)?);
        }
        Ok(engine)
    }

    /// The bound media port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bound ports of RTMP and RTMPS.
    pub fn rtmp_ports(&self) -> rtmp::Ports {
        self.rtmp
    }

    /// The bound port of HLS.
    pub fn hls_port(&self) -> Option<u16> {
        self.hls.as_ref().map(hls::Server::port)
    }

    /// The bound port of SRT.
    pub fn srt_port(&self) -> Option<u16> {
        self.srt
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Where transcode workers connect, if they may.
    pub fn worker_socket(&self) -> Option<PathBuf> {
        self.workers.as_ref().map(workers::Door::path)
    }

    /// The threads of protocols other than WebRTC.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The door for publishers and readers of frames.
    pub fn frames(&self) -> FrameHub {
        FrameHub {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Readable while events wait.
    pub fn event_fd(&self) -> i32 {
        self.shared.events.fd()
    }

    /// All waiting events.
    pub fn drain_events(&self) -> Vec<Event> {
        self.shared.events.drain()
    }

    /// The latest figures of all threads.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures {
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |d| d.as_secs_f64()),
            ..Figures::default()
        };
        for report in &self.shared.reports {
            let report = lock(report);
            figures.threads.push(report.thread.clone());
            figures.sources.extend(report.sources.iter().cloned());
            figures.sessions.extend(report.sessions.iter().cloned());
        }
        figures.hls = self
            .hls
            .as_ref()
            .map(hls::Server::figures)
            .unwrap_or_default();
        figures
    }

    /// Answer a publisher's offer.
    pub fn publish(
        &self,
        key: SourceKey,
        offer: &str,
        options: PublishOptions,
        local: bool,
    ) -> Result<Answer, EngineError> {
        self.check_room()?;
        let home = self.shared.home(&key);
        let id = SessionId::from_random(random());
        let (publisher, sdp) = Publisher::answer(
            &self.shared.sessions,
            self.shared.credentials(home),
            self.addresses(local),
            offer,
            options,
            Instant::now(),
        )?;
        let etag = publisher.peer.etag();
        self.place(home, id, key, Session::Publisher(Box::new(publisher)))?;
        Ok(Answer {
            session: id,
            sdp,
            etag,
        })
    }

    /// Answer a viewer's offer.
    pub fn view(&self, key: SourceKey, offer: &str, local: bool) -> Result<Answer, EngineError> {
        self.check_room()?;
        let live = lock(&self.shared.live)
            .get(&key)
            .cloned()
            .ok_or(EngineError::NotLive)?;
        let thread = self.shared.place_viewer(&key);
        let id = SessionId::from_random(random());
        let parsed = offer::parse(offer, Role::Viewer)?;
        let setup = ViewerSetup {
            credentials: self.shared.credentials(thread),
            addresses: self.addresses(local),
            formats: &live.formats,
            policy: self.shared.policy,
            random: random(),
            now: Instant::now(),
        };
        let config = &self.shared.sessions;
        let (session, sdp) = if can_be_passive(&parsed) {
            let (viewer, sdp) = Viewer::answer(config, setup, &parsed)?;
            (Session::Viewer(Box::new(viewer)), sdp)
        } else {
            let (viewer, sdp) = RtcViewer::answer(config, setup, offer)?;
            (Session::RtcViewer(Box::new(viewer)), sdp)
        };
        let etag = session.etag();
        self.place(thread, id, key, session)?;
        Ok(Answer {
            session: id,
            sdp,
            etag,
        })
    }

    /// Apply a trickle or ICE restart fragment.
    pub fn patch(
        &self,
        session: &str,
        fragment: &str,
        if_match: Option<&str>,
    ) -> Result<Patched, EngineError> {
        let (id, thread) = self.find(session)?;
        let (reply, answer) = mpsc::sync_channel(1);
        let command = Command::Patch {
            session: id,
            fragment: fragment.to_owned(),
            if_match: if_match.map(str::to_owned),
            fresh: self.shared.credentials(thread),
            reply,
        };
        self.shared.mailboxes[thread].send(command);
        match answer.recv_timeout(REPLY_TIMEOUT) {
            Ok(Some(result)) => Ok(result?),
            Ok(None) => Err(EngineError::NoSession(session.to_owned())),
            Err(_) => Err(EngineError::Closed),
        }
    }

    /// Tell which layer a viewer asks for; `wish` is JSON, `{}` is automatic.
    pub fn select_layer(&self, session: &str, wish: &str) -> Result<(), EngineError> {
        let (id, thread) = self.find(session)?;
        let wish = serde_json::from_str(wish).map_err(|e| EngineError::Layer(e.to_string()))?;
        self.shared.mailboxes[thread].send(Command::Layer { session: id, wish });
        Ok(())
    }

    /// End a session; whether there was one.
    pub fn end_session(&self, session: &str, reason: &str) -> bool {
        let Ok((id, thread)) = self.find(session) else {
            return false;
        };
        let ended = Ended::Requested(reason.to_owned());
        self.shared.mailboxes[thread].send(Command::End { session: id, ended });
        true
    }

    /// Whether media of this source arrives.
    pub fn is_live(&self, key: &SourceKey) -> bool {
        lock(&self.shared.live).contains_key(key)
    }

    /// Say goodbye to every peer and stop the threads.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.runtime.close();
        for mailbox in &self.shared.mailboxes {
            mailbox.send(Command::Close);
        }
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a media thread had panicked");
            }
        }
    }

    fn check_room(&self) -> Result<(), EngineError> {
        self.shared.check_room()
    }

    fn place(
        &self,
        thread: usize,
        id: SessionId,
        key: SourceKey,
        session: Session,
    ) -> Result<(), EngineError> {
        self.shared.place(thread, id, key, session)
    }

    fn find(&self, session: &str) -> Result<(SessionId, usize), EngineError> {
        let missing = || EngineError::NoSession(session.to_owned());
        let id = SessionId::parse(session).ok_or_else(missing)?;
        let thread = lock(&self.shared.placed)
            .get(&id)
            .copied()
            .ok_or_else(missing)?;
        Ok((id, thread))
    }

    /// Candidates: advertised ones, or those of the interfaces as they are now.
    fn addresses(&self, local: bool) -> Addresses {
        let mut ips = self.config.advertise.clone();
        if ips.is_empty() {
            let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
            ips = interfaces.iter().map(if_addrs::Interface::ip).collect();
            ips.retain(|ip| is_candidate_address(ip) && !ip.is_loopback());
            // IPv4 first: it is what most peers can use.
            ips.sort_by_key(IpAddr::is_ipv6);
        }
        if local || ips.is_empty() {
            ips.insert(0, IpAddr::from([127, 0, 0, 1]));
        }
        let family = |ip: &IpAddr| self.config.bind.iter().any(|b| b.is_ipv4() == ip.is_ipv4());
        ips.retain(family);
        ips.dedup();
        ips.truncate(16);
        let list = |on: bool| -> Vec<SocketAddr> {
            let port = self.port;
            if on {
                ips.iter().map(|&ip| SocketAddr::new(ip, port)).collect()
            } else {
                Vec::new()
            }
        };
        Addresses {
            udp: list(self.config.udp),
            tcp: list(self.config.tcp),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    bytes
}
