//! A load run: threads, the peers on them, and what they saw.
//!
//! Signalling is the caller's: it posts each offer and brings the answer back. Viewers are
//! spread over the threads; publishers have one of their own, which does not yield to
//! others, because their pace must hold.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Deserialize;
use stagecast_proto::codec::Codec;

use crate::Error;
use crate::clip::Clip;
use crate::driver::{Command, Driver, Peer};
use crate::figures::{Ledger, Peers, Polled};
use crate::impair::{Impairment, Network};
use crate::link::{Credentials, Identity, Link};
use crate::publisher::{self, Publisher};
use crate::sdp::{Offer, Remote, Ssrcs};
use crate::socket::{Socket, route};
use crate::stamps::Departures;
use crate::threads::{Threads, lock};
use crate::viewer::{self, Viewer};

/// Peers of one run.
pub const MAX_PEERS: usize = 20_000;

/// How a run is set.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that drive viewers.
    pub threads: usize,
    /// How much those threads yield to others, 0 to 19: real viewers use no core of the server's.
    pub niceness: i32,
    /// Viewers that look into every packet; the first ones.
    pub probes: usize,
    /// Let the kernel hand over runs of datagrams as one (`UDP_GRO`).
    pub offload: bool,
    /// What lies between the sockets and the viewers.
    pub network: Network,
    /// Makes losses repeatable.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 1,
            niceness: 10,
            probes: 5,
            offload: false,
            network: Network::default(),
            seed: 1,
        }
    }
}

/// What a viewer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants<'a> {
    /// Video codecs, best first.
    pub video: &'a [Codec],
    /// Whether Opus is wanted.
    pub audio: bool,
}

/// A peer whose answer is awaited.
struct Pending {
    socket: Socket,
    credentials: Credentials,
    posted: Instant,
    role: Role,
}

enum Role {
    Viewer,
    Publisher {
        clip: Arc<Clip>,
        obeys: bool,
        ssrcs: Ssrcs,
    },
}

/// A load run. All calls may come from any thread.
pub struct Load {
    config: Config,
    identity: Identity,
    /// The last one is the publishers'.
    threads: Threads<Command, Peers>,
    pending: Mutex<HashMap<u64, Pending>>,
    next: AtomicU64,
    viewers: AtomicUsize,
    placed: Mutex<HashMap<u64, usize>>,
    departures: Arc<Departures>,
    ledger: Mutex<Ledger>,
}

impl Load {
    /// Start the threads.
    pub fn start(config: Config) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&config.network.loss) {
            return Err(Error::Config("loss is a share of 0 to 1".into()));
        }
        if config.network.delay_ms > 10_000 || config.network.jitter_ms > 10_000 {
            return Err(Error::Config("delay and jitter are at most 10 s".into()));
        }
        let (niceness, offload) = (config.niceness, config.offload);
        let mut threads = Threads::start(config.threads, "load", move |poll, inbox| {
            Driver::new(poll, inbox, offload).run(niceness);
        })?;
        threads.add("load-publish".into(), |poll, inbox| {
            Driver::new(poll, inbox, false).run(0);
        })?;
        Ok(Self {
            identity: Identity::new()?,
            config,
            threads,
            pending: Mutex::default(),
            next: AtomicU64::new(1),
            viewers: AtomicUsize::new(0),
            placed: Mutex::default(),
            departures: Arc::default(),
            ledger: Mutex::default(),
        })
    }

    /// A viewer's id and its offer to a server at `toward`.
    pub fn viewer(&self, toward: SocketAddr, wants: Wants<'_>) -> Result<(u64, String), Error> {
        self.offer(toward, wants, Role::Viewer)
    }

    /// A publisher's id and its offer; without `obeys` it ignores keyframe requests.
    pub fn publisher(
        &self,
        toward: SocketAddr,
        clip: &Arc<Clip>,
        obeys: bool,
    ) -> Result<(u64, String), Error> {
        let mut random = [[0; 4]; 2];
        fill(random.as_flattened_mut())?;
        let ssrcs = Ssrcs {
            video: u32::from_be_bytes(random[0]) | 1,
            audio: u32::from_be_bytes(random[1]) & !1,
        };
        let codecs: Vec<Codec> = clip
            .codec
            .filter(|_| !clip.video.is_empty())
            .into_iter()
            .collect();
        let wants = Wants {
            video: &codecs,
            audio: !clip.audio.is_empty(),
        };
        let role = Role::Publisher {
            clip: Arc::clone(clip),
            obeys,
            ssrcs,
        };
        self.offer(toward, wants, role)
    }

    fn offer(
        &self,
        toward: SocketAddr,
        wants: Wants<'_>,
        role: Role,
    ) -> Result<(u64, String), Error> {
        if wants.video.is_empty() && !wants.audio {
            return Err(Error::Config("neither video nor audio is wanted".into()));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if id > MAX_PEERS as u64 {
            return Err(Error::Config(format!(
                "a run has at most {MAX_PEERS} peers"
            )));
        }
        let socket = Socket::bind(route(toward).map_err(Error::System)?, self.config.offload)
            .map_err(Error::System)?;
        let mut random = [0; 20];
        fill(&mut random)?;
        let credentials = Credentials::new(random);
        let offer = Offer {
            credentials: &credentials,
            fingerprint: &self.identity.fingerprint,
            local: socket.local_addr().map_err(Error::System)?,
            sends: match &role {
                Role::Viewer => None,
                Role::Publisher { ssrcs, .. } => Some(*ssrcs),
            },
            video: wants.video,
            audio: wants.audio,
        };
        let text = offer.to_sdp();
        let pending = Pending {
            socket,
            credentials,
            posted: Instant::now(),
            role,
        };
        lock(&self.pending).insert(id, pending);
        Ok((id, text))
    }

    /// The POST leaves now: joining is measured from here.
    pub fn posted(&self, id: u64) {
        if let Some(pending) = lock(&self.pending).get_mut(&id) {
            pending.posted = Instant::now();
        }
    }

    /// The answer came: connect.
    pub fn answer(&self, id: u64, sdp: &str) -> Result<(), Error> {
        let now = Instant::now();
        let pending = lock(&self.pending).remove(&id);
        let pending = pending.ok_or_else(|| Error::Answer("nobody waits for it".into()))?;
        let mut remote = Remote::parse(sdp)?;
        remote.reachable_from(pending.socket.local_addr().map_err(Error::System)?.ip());
        let (thread, peer) = self.peer(id, &pending, remote, now)?;
        lock(&self.placed).insert(id, thread);
        self.threads
            .send(thread, Command::Add(id, peer, pending.socket));
        Ok(())
    }

    fn peer(
        &self,
        id: u64,
        pending: &Pending,
        remote: Remote,
        now: Instant,
    ) -> Result<(usize, Peer), Error> {
        let link = Link::new(
            &self.identity,
            pending.credentials.clone(),
            remote.clone(),
            now,
        )?;
        let posted = pending.posted;
        match &pending.role {
            Role::Viewer => {
                let number = self.viewers.fetch_add(1, Ordering::Relaxed);
                let setup = viewer::Setup {
                    link,
                    payloads: remote.payloads,
                    transport_cc: remote.transport_cc,
                    capture_time: remote.capture_time,
                    impairment: Impairment::new(self.config.network, self.config.seed + id),
                    probe: number < self.config.probes,
                    departures: Some(Arc::clone(&self.departures)),
                    ssrc: (id as u32).wrapping_mul(0x9e37_79b1) | 1,
                    posted,
                    now,
                };
                let thread = number % (self.threads.len() - 1);
                Ok((thread, Peer::Viewer(Box::new(Viewer::new(setup)))))
            }
            Role::Publisher { clip, obeys, ssrcs } => {
                let accepted = remote.payloads.iter().find(|p| Some(p.codec) == clip.codec);
                if clip.codec.is_some() && accepted.is_none() {
                    return Err(Error::Answer(
                        "the server does not take the clip's codec".into(),
                    ));
                }
                let setup = publisher::Setup {
                    link,
                    clip: Arc::clone(clip),
                    video_pt: accepted.map_or(0, |p| p.pt),
                    extensions: [remote.transport_cc, remote.capture_time, remote.mid],
                    ssrcs: *ssrcs,
                    obeys: *obeys,
                    departures: Arc::clone(&self.departures),
                    posted,
                };
                let thread = self.threads.len() - 1;
                Ok((thread, Peer::Publisher(Box::new(Publisher::new(setup)))))
            }
        }
    }

    /// No answer came.
    pub fn abandon(&self, id: u64) {
        lock(&self.pending).remove(&id);
    }

    /// Say goodbye for one peer; its figures stay.
    pub fn close_peer(&self, id: u64) {
        lock(&self.pending).remove(&id);
        if let Some(thread) = lock(&self.placed).remove(&id) {
            self.threads.send(thread, Command::Close(id));
        }
    }

    /// The measured window begins now.
    pub fn mark(&self) {
        let report = self.threads.collect(Command::Report);
        lock(&self.ledger).mark(&report);
    }

    /// Everything so far, since the last call, and since [`Load::mark`].
    pub fn poll(&self) -> Polled {
        let report = self.threads.collect(Command::Report);
        Polled::of(&report, &mut lock(&self.ledger))
    }

    /// Say goodbye to all and stop the threads; idempotent.
    pub fn close(&self) {
        self.threads.stop(|| Command::Stop);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.close();
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|e| Error::Config(e.to_string()))
}
