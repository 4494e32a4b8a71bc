//! A media thread: its sockets, its sessions, its copy of the hub.
//!
//! One turn of the loop: take messages and datagrams, let the sessions digest
//! them, deliver what sources have to their readers, send everything in one go.
//! Nothing here parses; nothing here waits for another thread.
//!
//! A panic while serving a session ends that session and no other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use stagecast_core::figures::{SessionFigures, SourceFigures, ThreadFigures, TrackFigures};
use stagecast_core::hub::Wants;
use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::session::peer::{Peer, Step};
use stagecast_core::session::{Credentials, Ended, PublisherEvent};
use stagecast_proto::stun;
use std::os::fd::AsRawFd;
use str0m::net::{Protocol, Transmit};

use super::feed::Feed;
use super::mailbox::{Command, Inbox, PatchReply, Sessions};
use super::tcp::{self, Connection};
use super::udp::{Receiver, Sender, UdpSocket};
use crate::engine::{EngineConfig, LiveSource, Patched, Shared, lock};
use crate::events::{Event, SessionRef, TrackRef};

/// Media threads; the two hexadecimal digits of a user fragment name one.
pub const MAX_SHARDS: usize = 64;
/// Receive calls a socket gets before others have their turn.
const RECEIVE_TURNS: usize = 8;
/// Peer addresses remembered for a session: paths change, but not that often.
const MAX_PATHS: usize = 8;
/// Addresses remembered for other threads.
const MAX_ROUTES: usize = 100_000;
const TICK: Duration = Duration::from_millis(100);
const REPORT: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_millis(500);

const LISTENER: usize = 1_000;
const CONNECTIONS: usize = 10_000;

/// Sockets of one thread.
#[derive(Debug, Default)]
pub struct Sockets {
    udp: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
}

/// Figures of one thread.
#[derive(Debug, Default)]
pub struct ShardReport {
    /// Totals.
    pub thread: ThreadFigures,
    /// Sources whose publishers live here.
    pub sources: Vec<SourceFigures>,
    /// Sessions.
    pub sessions: Vec<SessionFigures>,
}

/// Bind the media port for `count` threads: UDP on each, TCP on the first.
pub fn bind(config: &EngineConfig, count: usize) -> io::Result<(u16, Vec<Sockets>)> {
    // With "any port", TCP may find UDP's choice taken: try another.
    let attempts = if config.port == 0 { 16 } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for _ in 0..attempts {
        match bind_all(config, count) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_all(config: &EngineConfig, count: usize) -> io::Result<(u16, Vec<Sockets>)> {
    let mut port = config.port;
    if config.udp && port != 0 {
        refuse_taken_port(config)?;
    }
    let mut all: Vec<Sockets> = (0..count).map(|_| Sockets::default()).collect();
    for sockets in &mut all {
        for &ip in config.bind.iter().filter(|_| config.udp) {
            match UdpSocket::bind(SocketAddr::new(ip, port)) {
                Ok(socket) => {
                    port = socket.local_addr()?.port();
                    sockets.udp.push(socket);
                }
                // A machine without IPv6 serves IPv4.
                Err(_) if ip.is_ipv6() && !sockets.udp.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
    }
    for &ip in config.bind.iter().filter(|_| config.tcp) {
        match TcpListener::bind(SocketAddr::new(ip, port)) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                all[0].listeners.push(listener);
            }
            // The IPv6 wildcard may already cover IPv4, or IPv6 be missing.
            Err(_) if !all[0].listeners.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok((port, all))
}

/// `SO_REUSEPORT` would let two servers share a port and lose half the packets each.
fn refuse_taken_port(config: &EngineConfig) -> io::Result<()> {
    for &ip in &config.bind {
        match std::net::UdpSocket::bind(SocketAddr::new(ip, config.port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && ip.is_ipv4() => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

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
        let wait = shard.next_wake().saturating_duration_since(Instant::now());
        if let Err(error) = shard.inbox.poll.poll(&mut events, Some(wait))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, thread = index, "poll failed");
            return;
        }
        shard.turn(&events);
    }
}

/// A session of this thread.
struct Entry {
    id: SessionId,
    feed: usize,
    session: Sessions,
    /// Addresses the peer has been heard from.
    paths: Vec<(SocketAddr, Protocol)>,
    /// Our address that the peer talks to.
    local: Option<IpAddr>,
    wake: Option<Instant>,
    reader_wake: Option<Instant>,
    reported_bytes: u64,
}

impl Entry {
    fn peer(&self) -> &Peer {
        match &self.session {
            Sessions::Publisher(p) => &p.peer,
            Sessions::Viewer(v) => &v.peer,
        }
    }

    fn peer_mut(&mut self) -> &mut Peer {
        match &mut self.session {
            Sessions::Publisher(p) => &mut p.peer,
            Sessions::Viewer(v) => &mut v.peer,
        }
    }

    fn kind(&self) -> &'static str {
        match &self.session {
            Sessions::Publisher(_) => "publisher",
            Sessions::Viewer(_) => "viewer",
        }
    }
}

struct Shard {
    index: usize,
    shared: Arc<Shared>,
    inbox: Inbox,
    udp: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
    receiver: Receiver,
    sender: Sender,
    sessions: Slab<Entry>,
    by_id: HashMap<SessionId, usize>,
    by_ufrag: HashMap<String, usize>,
    by_path: HashMap<(SocketAddr, Protocol), usize>,
    /// Peers of other threads whose datagrams the kernel gives to this one.
    routes: HashMap<SocketAddr, usize>,
    feeds: Slab<Feed>,
    by_key: HashMap<SourceKey, usize>,
    connections: Slab<Connection>,
    by_connection: HashMap<SocketAddr, usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    next_tick: Instant,
    next_report: Instant,
    totals: ThreadFigures,
    closing: Option<Instant>,
    closed: bool,
}

impl Shard {
    fn new(index: usize, shared: Arc<Shared>, inbox: Inbox, sockets: Sockets) -> io::Result<Self> {
        let Sockets { udp, mut listeners } = sockets;
        for (i, socket) in udp.iter().enumerate() {
            let fd = socket.as_raw_fd();
            let registry = inbox.poll.registry();
            registry.register(&mut SourceFd(&fd), Token(i), Interest::READABLE)?;
        }
        for (i, listener) in listeners.iter_mut().enumerate() {
            let registry = inbox.poll.registry();
            registry.register(listener, Token(LISTENER + i), Interest::READABLE)?;
        }
        let now = Instant::now();
        Ok(Self {
            index,
            shared,
            inbox,
            udp,
            listeners,
            receiver: Receiver::default(),
            sender: Sender::default(),
            sessions: Slab::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_path: HashMap::new(),
            routes: HashMap::new(),
            feeds: Slab::new(),
            by_key: HashMap::new(),
            connections: Slab::new(),
            by_connection: HashMap::new(),
            timers: BinaryHeap::new(),
            next_tick: now + TICK,
            next_report: now + REPORT,
            totals: ThreadFigures {
                thread: index,
                ..ThreadFigures::default()
            },
            closing: None,
            closed: false,
        })
    }

    fn next_wake(&self) -> Instant {
        let timer = self
            .timers
            .peek()
            .map_or(self.next_tick, |Reverse((at, _))| *at);
        timer.min(self.next_tick)
    }

    fn turn(&mut self, events: &Events) {
        self.inbox.answer_bell();
        self.take_messages();
        for event in events {
            match event.token().0 {
                i if i < self.udp.len() => self.receive(i),
                i if (LISTENER..LISTENER + self.listeners.len()).contains(&i) => {
                    self.accept(i - LISTENER);
                }
                i if (CONNECTIONS..usize::MAX).contains(&i) => self.serve(i - CONNECTIONS),
                _ => {}
            }
        }
        let now = Instant::now();
        self.run_timers(now);
        self.deliver_all(now);
        self.relay();
        self.flush();
        if now >= self.next_tick {
            self.tick(now);
        }
    }

    // --- messages ---------------------------------------------------------

    fn take_messages(&mut self) {
        while let Some(command) = self.inbox.next() {
            let now = Instant::now();
            match command {
                Command::Add { id, key, session } => self.add(id, key, session, now),
                Command::End { session, ended } => {
                    if let Some(&slot) = self.by_id.get(&session) {
                        self.close(slot, ended, now);
                    }
                }
                Command::Patch {
                    session,
                    fragment,
                    if_match,
                    fresh,
                    reply,
                } => {
                    let result = self.patch(session, &fragment, if_match.as_deref(), fresh, now);
                    // The caller may have given up; then nobody needs the answer.
                    let _ = reply.send(result);
                }
                Command::Datagram {
                    from,
                    source,
                    local,
                    bytes,
                } => {
                    self.on_datagram(source, local, &bytes, Some(from), now);
                }
                Command::Route { source, thread } => {
                    match thread.filter(|_| self.routes.len() < MAX_ROUTES) {
                        Some(thread) => drop(self.routes.insert(source, thread)),
                        None => drop(self.routes.remove(&source)),
                    }
                }
                Command::Connection {
                    stream,
                    source,
                    buffered,
                } => {
                    let connection = Connection::new(stream, source, buffered, now);
                    if let Some(slot) = self.register(connection) {
                        self.serve(slot);
                    }
                }
                Command::Subscribe { key, thread } => self.subscribe(key, thread),
                Command::Unsubscribe { key, thread } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.feeds[feed].subscribers.retain(|&t| t != thread);
                        self.drop_idle(feed);
                    }
                }
                Command::Begin { key, generation } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.feeds[feed].source.begin(generation);
                    }
                }
                Command::Packets { key, packets } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.feeds[feed].take(packets);
                    }
                }
                Command::Finish { key } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.feeds[feed].source.end();
                    }
                }
                Command::Keyframe { key, track, rid } => {
                    if let Some(&feed) = self.by_key.get(&key) {
                        self.want_keyframe(feed, &track, &rid, now);
                    }
                }
                Command::Close => self.begin_close(now),
            }
        }
    }

    fn add(&mut self, id: SessionId, key: SourceKey, session: Sessions, now: Instant) {
        let feed = self.feed_of(key);
        let entry = Entry {
            id,
            feed,
            session,
            paths: Vec::new(),
            local: None,
            wake: None,
            reader_wake: None,
            reported_bytes: 0,
        };
        let ufrag = entry.peer().ufrag().to_owned();
        let is_viewer = matches!(entry.session, Sessions::Viewer(_));
        let slot = self.sessions.insert(entry);
        self.by_id.insert(id, slot);
        self.by_ufrag.insert(ufrag, slot);
        if is_viewer {
            self.feeds[feed].readers.push(slot);
        }
        if self.closing.is_some() {
            self.close(slot, Ended::Shutdown, now);
        } else {
            self.drive(slot, now);
        }
    }

    fn patch(
        &mut self,
        session: SessionId,
        fragment: &str,
        if_match: Option<&str>,
        fresh: Credentials,
        now: Instant,
    ) -> PatchReply {
        let slot = *self.by_id.get(&session)?;
        let entry = &mut self.sessions[slot];
        let before = entry.peer().ufrag().to_owned();
        let result = entry.peer_mut().patch(now, fragment, if_match, fresh);
        let after = entry.peer().ufrag().to_owned();
        let etag = entry.peer().etag();
        if before != after {
            self.by_ufrag.remove(&before);
            self.by_ufrag.insert(after, slot);
        }
        self.drive(slot, now);
        Some(result.map(|fragment| Patched { fragment, etag }))
    }

    // --- datagrams --------------------------------------------------------

    fn receive(&mut self, socket: usize) {
        let mut receiver = std::mem::take(&mut self.receiver);
        for _ in 0..RECEIVE_TURNS {
            let count = match receiver.receive(&self.udp[socket]) {
                Ok(count) => count,
                Err(error) => {
                    tracing::warn!(%error, "receive failed");
                    break;
                }
            };
            let now = Instant::now();
            for i in 0..count {
                let (source, local, bytes) = receiver.datagram(i);
                self.totals.packets_in += 1;
                self.totals.bytes_in += bytes.len() as u64;
                self.on_datagram(source, local, bytes, None, now);
            }
            if count < 64 {
                break;
            }
        }
        self.receiver = receiver;
    }

    /// A datagram, from our socket or (`from`) from another thread's.
    fn on_datagram(
        &mut self,
        source: SocketAddr,
        local: Option<IpAddr>,
        bytes: &[u8],
        from: Option<usize>,
        now: Instant,
    ) {
        if let Some(&slot) = self.by_path.get(&(source, Protocol::Udp)) {
            let reused = stun::binding_username(bytes)
                .is_some_and(|(ours, _)| self.sessions[slot].peer().ufrag() != ours);
            if !reused {
                self.feed_session(slot, source, local, Protocol::Udp, bytes, now);
                return;
            }
        } else if let Some(&thread) = self.routes.get(&source) {
            if from.is_none() && stun::binding_username(bytes).is_none() {
                self.hand_over(thread, source, local, bytes);
                return;
            }
        }
        let Some((ours, _)) = stun::binding_username(bytes) else {
            self.totals.datagrams_dropped += 1;
            return;
        };
        if let Some(&slot) = self.by_ufrag.get(ours) {
            let taken = self.feed_session(slot, source, local, Protocol::Udp, bytes, now);
            if let Some(from) = from.filter(|_| taken) {
                let command = Command::Route {
                    source,
                    thread: Some(self.index),
                };
                self.shared.mailboxes[from].send(command);
            }
            return;
        }
        match self.thread_of(ours).filter(|_| from.is_none()) {
            Some(thread) => self.hand_over(thread, source, local, bytes),
            None => self.totals.datagrams_dropped += 1,
        }
    }

    fn hand_over(&self, thread: usize, source: SocketAddr, local: Option<IpAddr>, bytes: &[u8]) {
        let command = Command::Datagram {
            from: self.index,
            source,
            local,
            bytes: bytes.into(),
        };
        self.shared.mailboxes[thread].send(command);
    }

    /// The other thread that a user fragment names.
    fn thread_of(&self, ufrag: &str) -> Option<usize> {
        let thread = usize::from_str_radix(ufrag.get(..2)?, 16).ok()?;
        (thread != self.index && thread < self.shared.mailboxes.len()).then_some(thread)
    }

    /// Give a datagram to its session; whether the session took it.
    fn feed_session(
        &mut self,
        slot: usize,
        source: SocketAddr,
        local: Option<IpAddr>,
        protocol: Protocol,
        bytes: &[u8],
        now: Instant,
    ) -> bool {
        let port = match protocol {
            Protocol::Udp => self.udp.first().and_then(|s| s.local_addr().ok()),
            _ => self.listeners.first().and_then(|l| l.local_addr().ok()),
        }
        .map_or_else(|| source.port(), |a| a.port());
        let local_ip = local.unwrap_or_else(|| IpAddr::from([0, 0, 0, 0]));
        let address = SocketAddr::new(local_ip, port);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let entry = &mut self.sessions[slot];
            let peer = entry.peer_mut();
            peer.handle_datagram(now, protocol, source, address, bytes)
        }));
        let taken = match result {
            Ok(taken) => taken,
            Err(_) => {
                self.after_panic(slot, now);
                return false;
            }
        };
        if !taken {
            self.totals.datagrams_dropped += 1;
            return false;
        }
        let entry = &mut self.sessions[slot];
        entry.local = local;
        let path = (source, protocol);
        if !entry.paths.contains(&path) {
            if entry.paths.len() >= MAX_PATHS {
                let oldest = entry.paths.remove(0);
                self.by_path.remove(&oldest);
            }
            entry.paths.push(path);
            self.by_path.insert(path, slot);
        }
        self.drive(slot, now);
        true
    }

    // --- sessions ---------------------------------------------------------

    /// Let a session do what it has to; a panic ends it.
    fn drive(&mut self, slot: usize, now: Instant) {
        if catch_unwind(AssertUnwindSafe(|| self.drive_inner(slot, now))).is_err() {
            self.after_panic(slot, now);
        }
    }

    fn drive_inner(&mut self, slot: usize, now: Instant) {
        loop {
            let Some(entry) = self.sessions.get_mut(slot) else {
                return;
            };
            match entry.peer_mut().poll(now) {
                Step::Transmit(transmit) => self.transmit(slot, &transmit),
                Step::Connected => {
                    let reference = self.reference(slot);
                    self.shared.events.push(Event::SessionConnected(reference));
                    let feed = self.sessions[slot].feed;
                    if matches!(self.sessions[slot].session, Sessions::Viewer(_)) {
                        self.deliver(feed, slot, now);
                    }
                }
                Step::Media(event) => self.on_media(slot, *event, now),
                Step::Wait(at) => {
                    self.schedule(slot, at);
                    return;
                }
                Step::Ended(ended) => {
                    self.remove(slot, &ended, now);
                    return;
                }
            }
        }
    }

    fn on_media(&mut self, slot: usize, event: str0m::Event, now: Instant) {
        let entry = &mut self.sessions[slot];
        let feed = entry.feed;
        match &mut entry.session {
            Sessions::Publisher(publisher) => {
                let PublisherEvent::Packet {
                    track,
                    rid,
                    inbound,
                } = publisher.handle_event(event, now)
                else {
                    return;
                };
                if self.feeds[feed].publisher != Some(slot) {
                    self.take_over(feed, slot, now);
                }
                let Some(Entry {
                    session: Sessions::Publisher(publisher),
                    ..
                }) = self.sessions.get(slot)
                else {
                    return;
                };
                if self.feeds[feed].ingest(publisher, track, &rid, inbound) {
                    self.announce(feed);
                }
            }
            Sessions::Viewer(viewer) => {
                if viewer.handle_event(event) {
                    let wants = viewer.on_keyframe_request(&self.feeds[feed].source, now);
                    self.grant(feed, slot, wants, now);
                }
            }
        }
    }

    fn transmit(&mut self, slot: usize, transmit: &Transmit) {
        if transmit.proto == Protocol::Udp {
            let local = self.sessions[slot].local;
            self.sender
                .push(transmit.destination, local, &transmit.contents);
            return;
        }
        let connection = self.by_connection.get(&transmit.destination).copied();
        let queued = connection.is_some_and(|c| self.connections[c].push(&transmit.contents));
        if queued {
            self.totals.packets_out += 1;
            self.totals.bytes_out += transmit.contents.len() as u64;
        } else {
            self.totals.datagrams_dropped += 1;
        }
    }

    fn close(&mut self, slot: usize, ended: Ended, now: Instant) {
        self.sessions[slot].peer_mut().close(ended);
        self.drive(slot, now);
    }

    fn after_panic(&mut self, slot: usize, now: Instant) {
        tracing::error!(thread = self.index, "a session panicked and was ended");
        if self.sessions.contains(slot) {
            self.remove(slot, &Ended::Error("internal fault".into()), now);
        }
    }

    fn remove(&mut self, slot: usize, ended: &Ended, now: Instant) {
        let reference = self.reference(slot);
        let entry = self.sessions.remove(slot);
        self.by_id.remove(&entry.id);
        self.by_ufrag.remove(entry.peer().ufrag());
        for path in &entry.paths {
            self.by_path.remove(path);
            if path.1 == Protocol::Udp && self.shared.mailboxes.len() > 1 {
                self.forget_route(path.0);
            } else if let Some(connection) = self.by_connection.remove(&path.0) {
                // Goodbye may still be on its way out.
                self.connections[connection].flush();
                self.unregister(connection);
            }
        }
        lock(&self.shared.placed).remove(&entry.id);
        let seconds = (now - entry.peer().created()).as_secs_f64();
        self.shared.events.push(Event::SessionEnded {
            session: reference,
            reason: ended.reason().to_owned(),
            detail: ended.detail().map(str::to_owned),
            seconds,
        });
        let feed = &mut self.feeds[entry.feed];
        feed.readers.retain(|&r| r != slot);
        if feed.publisher == Some(slot) {
            feed.publisher = None;
            feed.source.end();
            let key = feed.source.key.clone();
            lock(&self.shared.live).remove(&key);
            for &thread in &feed.subscribers {
                self.shared.mailboxes[thread].send(Command::Finish { key: key.clone() });
            }
            self.shared.events.push(Event::SourceEnded {
                stream: key.stream.to_string(),
                source: key.source.as_deref().map(str::to_owned),
                session: entry.id.to_string(),
            });
        }
        self.drop_idle(entry.feed);
    }

    fn forget_route(&self, source: SocketAddr) {
        for (thread, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if thread != self.index {
                mailbox.send(Command::Route {
                    source,
                    thread: None,
                });
            }
        }
    }

    fn reference(&self, slot: usize) -> SessionRef {
        let entry = &self.sessions[slot];
        let key = &self.feeds[entry.feed].source.key;
        let remote = entry.peer().remote();
        SessionRef {
            session: entry.id.to_string(),
            kind: entry.kind(),
            stream: key.stream.to_string(),
            source: key.source.as_deref().map(str::to_owned),
            remote: remote.map(|(address, _)| address.to_string()),
            protocol: protocol_name(remote.map(|r| r.1)),
        }
    }

    // --- sources ----------------------------------------------------------

    fn feed_of(&mut self, key: SourceKey) -> usize {
        if let Some(&feed) = self.by_key.get(&key) {
            return feed;
        }
        let feed = self
            .feeds
            .insert(Feed::new(key.clone(), self.shared.limits));
        let home = self.shared.home(&key);
        if home != self.index {
            let command = Command::Subscribe {
                key: key.clone(),
                thread: self.index,
            };
            self.shared.mailboxes[home].send(command);
        }
        self.by_key.insert(key, feed);
        feed
    }

    fn drop_idle(&mut self, feed: usize) {
        if !self.feeds[feed].is_idle() {
            return;
        }
        // A publisher that has not sent yet holds its feed by its session.
        if self.sessions.iter().any(|(_, e)| e.feed == feed) {
            return;
        }
        let key = self.feeds.remove(feed).source.key;
        self.by_key.remove(&key);
        let home = self.shared.home(&key);
        if home != self.index {
            let command = Command::Unsubscribe {
                key,
                thread: self.index,
            };
            self.shared.mailboxes[home].send(command);
        }
    }

    fn subscribe(&mut self, key: SourceKey, thread: usize) {
        let feed = self.feed_of(key.clone());
        let feed = &mut self.feeds[feed];
        if !feed.subscribers.contains(&thread) {
            feed.subscribers.push(thread);
        }
        if feed.publisher.is_some() {
            // The snapshot holds what the outbox still has for others.
            let waiting = std::mem::take(&mut feed.outbox);
            for &other in feed.subscribers.iter().filter(|&&t| t != thread) {
                let packets = waiting.clone();
                self.shared.mailboxes[other].send(Command::Packets {
                    key: key.clone(),
                    packets,
                });
            }
            let generation = feed.source.generation;
            let packets = feed.snapshot();
            let mailbox = &self.shared.mailboxes[thread];
            mailbox.send(Command::Begin {
                key: key.clone(),
                generation,
            });
            mailbox.send(Command::Packets { key, packets });
        }
    }

    /// A publisher's first packet: it feeds the source from now on.
    fn take_over(&mut self, feed: usize, slot: usize, now: Instant) {
        let generation = self.shared.generations.fetch_add(1, Ordering::Relaxed);
        let entry = &mut self.feeds[feed];
        let former = entry.publisher.replace(slot);
        entry.outbox.clear();
        entry.source.begin(generation);
        let key = entry.source.key.clone();
        for &thread in &entry.subscribers {
            self.shared.mailboxes[thread].send(Command::Begin {
                key: key.clone(),
                generation,
            });
        }
        if let Some(former) = former {
            self.close(former, Ended::Replaced, now);
        }
    }

    /// Tell everyone what the source has.
    fn announce(&mut self, feed: usize) {
        let feed = &self.feeds[feed];
        let Some(entry) = feed.publisher.and_then(|slot| self.sessions.get(slot)) else {
            return;
        };
        let key = feed.source.key.clone();
        let live = LiveSource {
            formats: feed.formats(),
            session: entry.id,
        };
        lock(&self.shared.live).insert(key.clone(), live);
        let track = |t: &stagecast_core::hub::Track| {
            let format = t.layers.iter().find_map(|l| l.ring.last())?.format;
            Some(TrackRef {
                track: t.name.to_string(),
                kind: format.codec.kind().name(),
                codec: format.codec.name(),
            })
        };
        self.shared.events.push(Event::SourceLive {
            stream: key.stream.to_string(),
            source: key.source.as_deref().map(str::to_owned),
            session: entry.id.to_string(),
            tracks: feed.source.tracks.iter().filter_map(track).collect(),
        });
    }

    /// Give readers of all sources with news what is theirs.
    fn deliver_all(&mut self, now: Instant) {
        let dirty: Vec<usize> = self
            .feeds
            .iter()
            .filter(|(_, f)| f.dirty)
            .map(|(i, _)| i)
            .collect();
        for feed in dirty {
            self.feeds[feed].dirty = false;
            // Readers may leave while they are served.
            let mut i = 0;
            while let Some(&slot) = self.feeds.get(feed).and_then(|f| f.readers.get(i)) {
                self.deliver(feed, slot, now);
                self.drive(slot, now);
                let stays = self.feeds.get(feed).and_then(|f| f.readers.get(i)) == Some(&slot);
                i += usize::from(stays);
            }
        }
    }

    fn deliver(&mut self, feed: usize, slot: usize, now: Instant) {
        let source = &self.feeds[feed].source;
        let Some(Entry {
            session: Sessions::Viewer(viewer),
            ..
        }) = self.sessions.get_mut(slot)
        else {
            return;
        };
        let result = catch_unwind(AssertUnwindSafe(|| viewer.deliver(source, now)));
        match result {
            Ok(wants) => self.grant(feed, slot, wants, now),
            Err(_) => self.after_panic(slot, now),
        }
    }

    fn grant(&mut self, feed: usize, slot: usize, wants: Wants, now: Instant) {
        if let Some(entry) = self.sessions.get_mut(slot) {
            entry.reader_wake = wants.wake;
            if let Some(at) = wants.wake {
                self.timers.push(Reverse((at, slot)));
            }
        }
        let Some((track, layer)) = wants.keyframe else {
            return;
        };
        let Some(track) = self.feeds[feed].source.tracks.get(track) else {
            return;
        };
        let Some(layer) = track.layers.get(layer) else {
            return;
        };
        let (track, rid) = (Arc::clone(&track.name), Arc::clone(&layer.rid));
        self.want_keyframe(feed, &track, &rid, now);
    }

    /// Ask for a keyframe, here or at the source's home, unless it just was.
    fn want_keyframe(&mut self, feed: usize, track: &Arc<str>, rid: &Arc<str>, now: Instant) {
        let entry = &mut self.feeds[feed];
        let Some((index, found)) = entry
            .source
            .tracks
            .iter_mut()
            .enumerate()
            .find(|(_, t)| t.name == *track)
        else {
            return;
        };
        let Some(layer) = found.layers.iter_mut().position(|l| l.rid == *rid) else {
            return;
        };
        if found.layers[layer].keyframe_gate.request(now) {
            self.ask_keyframe(feed, index, layer, now);
        }
    }

    fn ask_keyframe(&mut self, feed: usize, track: usize, layer: usize, now: Instant) {
        let entry = &self.feeds[feed];
        let track = &entry.source.tracks[track];
        let rid = Arc::clone(&track.layers[layer].rid);
        let name = Arc::clone(&track.name);
        match entry.publisher {
            Some(slot) => {
                let Some(Entry {
                    session: Sessions::Publisher(publisher),
                    ..
                }) = self.sessions.get_mut(slot)
                else {
                    return;
                };
                let index = publisher.tracks().iter().position(|t| t.name == name);
                if let Some(index) = index {
                    publisher.request_keyframe(index, &rid);
                    // Never from inside this publisher's own turn: viewers ask.
                    self.schedule(slot, now);
                }
            }
            None => {
                let key = entry.source.key.clone();
                let home = self.shared.home(&key);
                if home != self.index {
                    let command = Command::Keyframe {
                        key,
                        track: name,
                        rid,
                    };
                    self.shared.mailboxes[home].send(command);
                }
            }
        }
    }

    /// Send the outboxes to the threads that subscribed.
    fn relay(&mut self) {
        for (_, feed) in &mut self.feeds {
            if feed.outbox.is_empty() {
                continue;
            }
            let packets = std::mem::take(&mut feed.outbox);
            for &thread in &feed.subscribers {
                let key = feed.source.key.clone();
                let packets = packets.clone();
                self.shared.mailboxes[thread].send(Command::Packets { key, packets });
            }
        }
    }

    // --- time -------------------------------------------------------------

    fn schedule(&mut self, slot: usize, at: Instant) {
        let Some(entry) = self.sessions.get_mut(slot) else {
            return;
        };
        // An earlier timer that is already set will look again.
        if entry.wake.is_none_or(|wake| at < wake) {
            entry.wake = Some(at);
            self.timers.push(Reverse((at, slot)));
        }
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(&Reverse((at, slot))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(entry) = self.sessions.get_mut(slot) else {
                continue;
            };
            if entry.reader_wake.is_some_and(|wake| wake <= now) {
                entry.reader_wake = None;
                let feed = entry.feed;
                self.deliver(feed, slot, now);
            }
            let Some(entry) = self.sessions.get_mut(slot) else {
                continue;
            };
            if entry.wake.is_some_and(|wake| wake <= now) {
                entry.wake = None;
                entry.peer_mut().handle_timeout(now);
            }
            self.drive(slot, now);
        }
    }

    fn tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        let feeds: Vec<usize> = self.feeds.iter().map(|(i, _)| i).collect();
        for feed in feeds {
            for (track, layer) in self.feeds[feed].source.due_keyframe_requests(now) {
                self.ask_keyframe(feed, track, layer, now);
            }
        }
        let late: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, c)| !c.known && now > c.accepted + tcp::STRANGER_TIMEOUT)
            .map(|(i, _)| i)
            .collect();
        for connection in late {
            self.unregister(connection);
        }
        if now >= self.next_report {
            self.next_report = now + REPORT;
            self.report(now);
        }
        if self
            .closing
            .is_some_and(|by| self.sessions.is_empty() || now >= by)
        {
            self.flush();
            self.closed = true;
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

    fn flush(&mut self) {
        let sent = self.sender.flush(&self.udp);
        self.totals.packets_out += sent.datagrams;
        self.totals.bytes_out += sent.bytes;
        self.totals.datagrams_dropped += sent.dropped;
        let open: Vec<usize> = self.connections.iter().map(|(i, _)| i).collect();
        for connection in open {
            if !self.connections[connection].flush() {
                self.unregister(connection);
            }
        }
    }

    // --- TCP --------------------------------------------------------------

    fn accept(&mut self, listener: usize) {
        // Edge-triggered: accept until there is nothing more.
        while let Ok((stream, source)) = self.listeners[listener].accept() {
            let strangers = self.connections.iter().filter(|(_, c)| !c.known).count();
            if strangers >= tcp::MAX_STRANGERS {
                continue;
            }
            // Small frames must not wait for each other.
            let _ = stream.set_nodelay(true);
            let connection = Connection::new(stream, source, Vec::new(), Instant::now());
            if let Some(slot) = self.register(connection) {
                self.serve(slot);
            }
        }
    }

    fn register(&mut self, connection: Connection) -> Option<usize> {
        let source = connection.source;
        let slot = self.connections.insert(connection);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = self.connections[slot].stream_mut();
        let registry = self.inbox.poll.registry();
        if let Err(error) = registry.register(stream, Token(CONNECTIONS + slot), interest) {
            tracing::warn!(%error, "cannot watch a connection");
            self.connections.remove(slot);
            return None;
        }
        self.by_connection.insert(source, slot);
        Some(slot)
    }

    fn unregister(&mut self, slot: usize) -> Option<Connection> {
        let mut connection = self.connections.try_remove(slot)?;
        self.by_connection.remove(&connection.source);
        let registry: &Poll = &self.inbox.poll;
        // The descriptor is closed next; a failure changes nothing.
        let _ = registry.registry().deregister(connection.stream_mut());
        Some(connection)
    }

    fn serve(&mut self, slot: usize) {
        let now = Instant::now();
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let open = connection.fill();
        while let Some(connection) = self.connections.get_mut(slot) {
            let Some(frame) = connection.peek() else {
                break;
            };
            let source = connection.source;
            if !connection.known {
                let ufrag = stun::binding_username(frame).map(|(ours, _)| ours.to_owned());
                let here = ufrag.as_deref().and_then(|u| self.by_ufrag.get(u)).copied();
                let Some(session) = here else {
                    let thread = ufrag.as_deref().and_then(|u| self.thread_of(u));
                    if let (Some(connection), Some(thread)) = (self.unregister(slot), thread) {
                        let (stream, source, buffered) = connection.into_parts();
                        let command = Command::Connection {
                            stream,
                            source,
                            buffered,
                        };
                        self.shared.mailboxes[thread].send(command);
                    }
                    return;
                };
                let local = connection.local().ok().map(|a| a.ip());
                let Some(frame) = connection.take() else {
                    break;
                };
                let taken = self.feed_session(session, source, local, Protocol::Tcp, &frame, now);
                match self.connections.get_mut(slot).filter(|_| taken) {
                    Some(connection) => connection.known = true,
                    None => {
                        self.unregister(slot);
                        return;
                    }
                }
                continue;
            }
            let local = connection.local().ok().map(|a| a.ip());
            let Some(frame) = connection.take() else {
                break;
            };
            let Some(&session) = self.by_path.get(&(source, Protocol::Tcp)) else {
                self.unregister(slot);
                return;
            };
            self.totals.packets_in += 1;
            self.totals.bytes_in += frame.len() as u64;
            self.feed_session(session, source, local, Protocol::Tcp, &frame, now);
        }
        if !open {
            self.unregister(slot);
        }
    }

    // --- figures ----------------------------------------------------------

    fn report(&mut self, now: Instant) {
        self.totals.sessions = self.sessions.len();
        let mut report = ShardReport {
            thread: self.totals.clone(),
            ..ShardReport::default()
        };
        for (_, feed) in &mut self.feeds {
            let Some(slot) = feed.publisher else { continue };
            let Some(Entry {
                session: Sessions::Publisher(publisher),
                id,
                ..
            }) = self.sessions.get(slot)
            else {
                continue;
            };
            let mut tracks = Vec::new();
            for track in &mut feed.source.tracks {
                let index = publisher.tracks().iter().position(|t| t.name == track.name);
                let Some(codec) = track
                    .layers
                    .iter()
                    .find_map(|l| l.ring.last())
                    .map(|p| p.format.codec)
                else {
                    continue;
                };
                let mut layers = Vec::new();
                for layer in &mut track.layers {
                    layer.meter.roll(now);
                    let mut figures =
                        publisher.layer_figures(index.unwrap_or_default(), &layer.rid);
                    figures.bitrate_bps = layer.meter.bitrate_bps();
                    figures.fps = layer.meter.fps();
                    let size = layer.meter.resolution();
                    (figures.width, figures.height) = (size.map(|s| s.0), size.map(|s| s.1));
                    figures.keyframe_interval_ms = layer.meter.keyframe_interval_ms();
                    layers.push(figures);
                }
                tracks.push(TrackFigures {
                    track: track.name.to_string(),
                    kind: codec.kind().name(),
                    codec: codec.name(),
                    layers,
                });
            }
            report.sources.push(SourceFigures {
                stream: feed.source.key.stream.to_string(),
                source: feed.source.key.source.as_deref().map(str::to_owned),
                session: id.to_string(),
                tracks,
            });
        }
        for (_, entry) in &mut self.sessions {
            let key = &self.feeds[entry.feed].source.key;
            report.sessions.push(session_figures(entry, key, now));
        }
        *lock(&self.shared.reports[self.index]) = report;
    }
}

fn session_figures(entry: &mut Entry, key: &SourceKey, now: Instant) -> SessionFigures {
    let peer = entry.peer();
    let remote = peer.remote();
    let mut figures = SessionFigures {
        session: entry.id.to_string(),
        kind: entry.kind(),
        stream: key.stream.to_string(),
        source: key.source.as_deref().map(str::to_owned),
        connected: peer.is_connected(),
        remote: remote.map(|(address, _)| address.to_string()),
        protocol: protocol_name(remote.map(|r| r.1)),
        seconds: (now - peer.created()).as_secs_f64(),
        rtt_ms: None,
        loss: None,
        jitter_ms: None,
        bitrate_bps: 0,
        packets: 0,
        bytes: 0,
        packets_lost: 0,
        nacks: 0,
        plis: 0,
        estimate_bps: None,
    };
    match &entry.session {
        Sessions::Publisher(publisher) => {
            let (packets, bytes, lost, rtt) = publisher.totals();
            (figures.packets, figures.bytes, figures.packets_lost) = (packets, bytes, lost);
            figures.rtt_ms = rtt;
            let (jitter, nacks, plis) = publisher.feedback();
            (figures.jitter_ms, figures.nacks, figures.plis) = (jitter, nacks, plis);
            let expected = packets + lost;
            figures.loss = (expected > 0).then(|| lost as f32 / expected as f32);
        }
        Sessions::Viewer(viewer) => {
            let counters = viewer.counters();
            (figures.packets, figures.bytes) = (counters.packets, counters.bytes);
            let feedback = viewer.feedback();
            figures.rtt_ms = feedback.rtt_ms;
            figures.loss = feedback.loss;
            figures.jitter_ms = feedback.jitter_ms;
            figures.packets_lost = feedback.packets_lost;
            figures.nacks = feedback.nacks;
            figures.plis = feedback.plis;
        }
    }
    figures.bitrate_bps = figures.bytes.saturating_sub(entry.reported_bytes) * 8;
    entry.reported_bytes = figures.bytes;
    figures
}

fn protocol_name(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        Some(Protocol::Udp) | None => "udp",
        Some(_) => "tcp",
    }
}
