//! A media thread: its sockets, its sessions, its copy of the hub.
//!
//! One turn of the loop: take messages and datagrams, let the sessions digest
//! them, deliver what sources have to their readers, send everything in one go.
//! Nothing here parses; nothing here waits for another thread.
//!
//! A panic while serving a session ends that session and no other.

mod bind;
mod connections;
mod datagrams;
mod demand;
mod direct;
mod frames;
mod handshakes;
mod messages;
mod report;
mod sessions;
mod sources;
mod timers;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use stagecast_core::figures::ThreadFigures;
use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::outbox::Outbox;
use stagecast_core::session::Ended;

pub use bind::{Sockets, bind};
pub use report::ShardReport;

use self::direct::Direct;
use self::handshakes::Handshakes;
use super::alarm::Alarm;
use super::feed::Feed;
use super::mailbox::Inbox;
use super::session::Session;
use super::tcp::Connection;
use super::udp::{self, Receiver, UdpSocket};
use super::wheel::Wheel;
use crate::engine::Shared;

/// Media threads; the two hexadecimal digits of a user fragment name one.
pub const MAX_SHARDS: usize = 64;
/// Receive calls a socket gets before others have their turn.
const RECEIVE_TURNS: usize = 8;
/// Peer addresses remembered for a session: paths change, but not that often.
const MAX_PATHS: usize = 8;
/// Addresses remembered for other threads.
const MAX_ROUTES: usize = 100_000;
const TICK: Duration = Duration::from_millis(100);
/// With so many sessions their reports come one by one from all sides, and each would wake the thread. From then
/// on its sockets are looked at so often; only publishers, who then have sockets of their own, are
/// heard at once.
const MANY_SESSIONS: usize = 32;
const LOOK: Duration = Duration::from_millis(3);
/// While nobody watches by WebRTC, packets gather for so long: to be woken for each costs more than to
/// serve it, and who reads frames does not notice.
const GATHER: Duration = Duration::from_millis(10);
const REPORT: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_millis(500);

const LISTENER: usize = 1_000;
const CONNECTIONS: usize = 10_000;
const DIRECT: usize = 1 << 40;
const ALARM: Token = Token(usize::MAX - 1);
const QUIET: Token = Token(usize::MAX - 2);

/// Run a media thread until the engine closes.
pub fn run(index: usize, shared: Arc<Shared>, inbox: Inbox, sockets: Sockets) {
    let mut shard = match Shard::new(index, shared, inbox, sockets) {
        Ok(shard) => shard,
        Err(error) => {
            tracing::error!(%error, thread = index, "a media thread cannot start");
            return;
        }
    };
    let mut events = Events::with_capacity(1024);
    while !shard.closed {
        let now = Instant::now();
        let wake = shard.next_wake();
        let at_once = wake <= now || !shard.unread.is_empty();
        let wait = at_once.then_some(Duration::ZERO);
        if wait.is_none()
            && let Err(error) = shard.alarm.set(wake, now)
        {
            tracing::error!(%error, thread = index, "cannot set an alarm");
            return;
        }
        if let Err(error) = shard.inbox.poll.poll(&mut events, wait)
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, thread = index, "poll failed");
            return;
        }
        if shard.leisurely && wait.is_none() && !events.is_empty() {
            thread::sleep(GATHER);
        }
        shard.turn(&events);
    }
}

/// A session of this thread.
struct Entry {
    id: SessionId,
    feed: usize,
    session: Session,
    /// Ways the peer has been heard on: address, and whether over TCP.
    paths: Vec<(SocketAddr, bool)>,
    wake: Option<Instant>,
    reader_wake: Option<Instant>,
    reported_bytes: u64,
}

struct Shard {
    index: usize,
    shared: Arc<Shared>,
    inbox: Inbox,
    udp: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
    /// Lent to whoever receives.
    receiver: Option<Receiver>,
    outbox: Outbox,
    port: u16,
    sessions: Slab<Entry>,
    by_id: HashMap<SessionId, usize>,
    by_ufrag: HashMap<String, usize>,
    by_path: HashMap<(SocketAddr, bool), usize>,
    /// Peers of other threads whose datagrams the kernel gives to this one.
    routes: HashMap<SocketAddr, usize>,
    /// Sockets of peers whose datagrams the kernel would give to another thread.
    direct: Slab<Direct>,
    feeds: Slab<Feed>,
    handshakes: Handshakes,
    /// Feeds that have something for their readers.
    awaited: Vec<usize>,
    /// Feeds that have something for other threads.
    relaying: Vec<usize>,
    by_key: HashMap<SourceKey, usize>,
    connections: Slab<Connection>,
    by_connection: HashMap<SocketAddr, usize>,
    timers: Wheel,
    alarm: Alarm,
    /// What can wait a little: the thread's sockets, and those of viewers. It is itself in the inbox's poll, but
    /// for when there are many sessions.
    quiet: Poll,
    quiet_events: Events,
    looks: bool,
    next_look: Instant,
    /// Tokens of sockets that were not read to the end.
    unread: Vec<usize>,
    /// Nobody waits for packets of this thread.
    leisurely: bool,
    next_tick: Instant,
    next_weighing: Instant,
    next_report: Instant,
    totals: ThreadFigures,
    closing: Option<Instant>,
    closed: bool,
}

impl Shard {
    fn new(index: usize, shared: Arc<Shared>, inbox: Inbox, sockets: Sockets) -> io::Result<Self> {
        let Sockets { udp, mut listeners } = sockets;
        let quiet = Poll::new()?;
        for (i, socket) in udp.iter().enumerate() {
            let fd = socket.as_raw_fd();
            let registry = quiet.registry();
            registry.register(&mut SourceFd(&fd), Token(i), Interest::READABLE)?;
        }
        let registry = inbox.poll.registry();
        registry.register(&mut SourceFd(&quiet.as_raw_fd()), QUIET, Interest::READABLE)?;
        for (i, listener) in listeners.iter_mut().enumerate() {
            let registry = inbox.poll.registry();
            registry.register(listener, Token(LISTENER + i), Interest::READABLE)?;
        }
        let alarm = Alarm::new(&inbox.poll, ALARM)?;
        let address = udp.first().map(UdpSocket::local_addr);
        let address = address.or_else(|| listeners.first().map(TcpListener::local_addr));
        let port = address.transpose()?.map_or(0, |a| a.port());
        let now = Instant::now();
        Ok(Self {
            index,
            shared,
            inbox,
            udp,
            listeners,
            receiver: Some(Receiver::default()),
            outbox: Outbox::default(),
            port,
            sessions: Slab::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_path: HashMap::new(),
            routes: HashMap::new(),
            direct: Slab::new(),
            feeds: Slab::new(),
            handshakes: Handshakes::new(now),
            awaited: Vec::new(),
            relaying: Vec::new(),
            by_key: HashMap::new(),
            connections: Slab::new(),
            by_connection: HashMap::new(),
            timers: Wheel::new(now),
            alarm,
            quiet,
            quiet_events: Events::with_capacity(1024),
            looks: false,
            next_look: now,
            unread: Vec::new(),
            leisurely: false,
            next_tick: now + TICK,
            next_weighing: now + demand::WEIGHING,
            next_report: now + REPORT,
            totals: ThreadFigures {
                thread: index,
                ..ThreadFigures::default()
            },
            closing: None,
            closed: false,
        })
    }

    fn turn(&mut self, events: &Events) {
        self.inbox.answer_bell();
        self.take_messages();
        for event in events {
            match event.token().0 {
                i if (LISTENER..LISTENER + self.listeners.len()).contains(&i) => {
                    self.accept(i - LISTENER);
                }
                i if (CONNECTIONS..DIRECT).contains(&i) => self.serve(i - CONNECTIONS),
                i if (DIRECT..QUIET.0).contains(&i) => self.listen(i),
                _ => {}
            }
        }
        for token in std::mem::take(&mut self.unread) {
            self.listen(token);
        }
        if events.iter().any(|event| event.token() == QUIET)
            || (self.looks && Instant::now() >= self.next_look)
        {
            self.look();
        }
        let now = Instant::now();
        self.run_timers(now);
        // First the others, so that all threads work at the same time.
        self.relay(now);
        self.deliver_due(now);
        self.flush();
        if now >= self.next_tick {
            self.tick(now);
        }
    }

    /// With many sessions look at the sockets from time to time, else be woken by each datagram.
    fn look_or_listen(&mut self) {
        let looks = self.sessions.len() >= MANY_SESSIONS;
        if looks == self.looks {
            return;
        }
        self.looks = looks;
        let registry = self.inbox.poll.registry();
        let fd = self.quiet.as_raw_fd();
        let result = if looks {
            registry.deregister(&mut SourceFd(&fd))
        } else {
            registry.register(&mut SourceFd(&fd), QUIET, Interest::READABLE)
        };
        if let Err(error) = result {
            tracing::error!(%error, thread = self.index, "cannot watch the sockets");
        }
    }

    /// Receive from the sockets that can wait.
    fn look(&mut self) {
        let mut events = std::mem::replace(&mut self.quiet_events, Events::with_capacity(0));
        if let Err(error) = self.quiet.poll(&mut events, Some(Duration::ZERO))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, thread = self.index, "poll failed");
        }
        for event in &events {
            self.listen(event.token().0);
        }
        self.quiet_events = events;
        self.next_look = Instant::now() + LOOK;
    }

    /// Receive from the socket of a token.
    fn listen(&mut self, token: usize) {
        let more = if token < DIRECT {
            self.receive(token)
        } else {
            self.receive_directly(token - DIRECT)
        };
        // The poll tells only once.
        if more {
            self.unread.push(token);
        }
    }

    fn begin_close(&mut self, now: Instant) {
        self.closing = Some(now + GOODBYE);
        let slots: Vec<usize> = self.sessions.iter().map(|(i, _)| i).collect();
        for slot in slots {
            if self.sessions.contains(slot) {
                self.close(slot, Ended::Shutdown, now);
            }
        }
    }

    /// Send everything that is queued.
    fn flush(&mut self) {
        let sent = udp::send(&self.outbox, &self.udp);
        self.totals.packets_out += sent.datagrams;
        self.totals.bytes_out += sent.bytes;
        self.totals.datagrams_dropped += sent.dropped;
        for run in self.outbox.runs().iter().filter(|r| r.path.tcp) {
            let connection = self.by_connection.get(&run.path.remote).copied();
            let frame = &self.outbox.arena()[run.bytes.clone()];
            if connection.is_some_and(|c| self.connections[c].push(frame)) {
                self.totals.packets_out += 1;
                self.totals.bytes_out += frame.len() as u64;
            } else {
                self.totals.datagrams_dropped += 1;
            }
        }
        self.outbox.clear();
        let failed: Vec<usize> = self
            .connections
            .iter_mut()
            .filter_map(|(i, c)| (!c.flush()).then_some(i))
            .collect();
        for connection in failed {
            self.unregister(connection);
        }
    }
}
