//! One thread that drives any number of clients: mio for sockets, an ordered
//! set for timers, a channel for what the handles ask.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use str0m::config::DtlsCert;
use str0m::crypto::from_feature_flags;

use super::link::TOKENS;
use super::session::Session;
use super::stats::Stats;
use super::{Error, Kind};

const WAKE: Token = Token(usize::MAX);
const DATAGRAM: usize = 65_536;

/// What a handle asks of the thread.
pub(super) enum Command {
    Add(Box<Session>),
    Frame {
        id: u64,
        kind: Kind,
        data: Vec<u8>,
        pts: u64,
    },
    RequestKeyframe(u64),
    Stats(u64, SyncSender<Stats>),
    Close {
        id: u64,
        goodbye: bool,
    },
    Stop,
}

/// The thread; it ends when the last handle and the pool itself are dropped.
pub struct Pool {
    commands: Mutex<Sender<Command>>,
    waker: Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
    next: AtomicU64,
    certificate: DtlsCert,
}

impl Pool {
    /// Starts the thread. One DTLS certificate serves all its clients.
    pub fn new() -> Result<Arc<Self>, Error> {
        let poll = Poll::new().map_err(Error::Socket)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(Error::Socket)?;
        let (commands, inbox) = channel();
        let certificate = from_feature_flags()
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| Error::Config("no DTLS certificate could be made".into()))?;
        let thread = thread::Builder::new()
            .name("client".into())
            .spawn(move || Driver::new(poll, inbox).run())
            .map_err(Error::Socket)?;
        Ok(Arc::new(Self {
            commands: Mutex::new(commands),
            waker,
            thread: Mutex::new(Some(thread)),
            next: AtomicU64::new(1),
            certificate,
        }))
    }

    pub(super) fn certificate(&self) -> &DtlsCert {
        &self.certificate
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a command to the thread; false when it has stopped.
    pub(super) fn send(&self, command: Command) -> bool {
        let sender = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.send(command).is_ok();
        drop(sender);
        sent && self.waker.wake().is_ok()
    }

    /// Closes every client, saying goodbye, and waits for the thread; idempotent.
    pub fn close(&self) {
        self.send(Command::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

struct Driver {
    poll: Poll,
    inbox: Receiver<Command>,
    sessions: slab::Slab<Box<Session>>,
    keys: HashMap<u64, usize>,
    timers: BTreeSet<(Instant, usize)>,
    /// Sockets that were left with data to read.
    unfinished: Vec<usize>,
    buffer: Vec<u8>,
}

impl Driver {
    fn new(poll: Poll, inbox: Receiver<Command>) -> Self {
        Self {
            poll,
            inbox,
            sessions: slab::Slab::new(),
            keys: HashMap::new(),
            timers: BTreeSet::new(),
            unfinished: Vec::new(),
            buffer: vec![0; DATAGRAM],
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let wait = self.wait();
            match self.poll.poll(&mut events, wait) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            let mut readable = std::mem::take(&mut self.unfinished);
            readable.extend(
                events
                    .iter()
                    .map(mio::event::Event::token)
                    .filter(|t| *t != WAKE)
                    .map(|t| t.0),
            );
            for token in readable {
                self.read(token);
            }
            if !self.obey() {
                return;
            }
            self.fire(Instant::now());
        }
    }

    fn wait(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let (next, _) = self.timers.first()?;
        // str0m works in milliseconds; epoll rounds up, so a due timer is never polled in a loop.
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn read(&mut self, token: usize) {
        let (key, index) = (token / TOKENS, token % TOKENS);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let before = session.deadline;
        if session.read(index, &mut self.buffer) {
            self.unfinished.push(token);
        }
        self.settle(key, before);
    }

    fn fire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, key));
            let session = &mut self.sessions[key];
            session.tick(now);
            if session.deadline <= now {
                session.deadline = now + Duration::from_millis(1);
            }
            self.settle(key, at);
        }
    }

    /// After any work on a session: moves its timer, or forgets it when it has ended.
    fn settle(&mut self, key: usize, before: Instant) {
        let session = &mut self.sessions[key];
        self.timers.remove(&(before, key));
        if session.ended() {
            session.leave_figures();
            session.deregister(self.poll.registry());
            self.keys.remove(&session.id);
            self.sessions.remove(key);
        } else {
            self.timers.insert((session.deadline, key));
        }
    }

    fn with(&mut self, id: u64, work: impl FnOnce(&mut Session)) {
        let Some(&key) = self.keys.get(&id) else {
            return;
        };
        let session = &mut self.sessions[key];
        let before = session.deadline;
        work(session);
        self.settle(key, before);
    }

    /// Takes all waiting commands; false on stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Add(session)) => self.add(session),
                Ok(Command::Frame {
                    id,
                    kind,
                    data,
                    pts,
                }) => self.with(id, |s| {
                    s.write(kind, data, pts);
                    s.shared.taken();
                }),
                Ok(Command::RequestKeyframe(id)) => self.with(id, Session::request_keyframe),
                Ok(Command::Stats(id, reply)) => {
                    if let Some(&key) = self.keys.get(&id) {
                        let _ = reply.try_send(self.sessions[key].stats());
                    }
                }
                Ok(Command::Close { id, goodbye }) => self.with(id, |s| s.close(goodbye)),
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    for (_, session) in &mut self.sessions {
                        session.close(true);
                    }
                    return false;
                }
            }
        }
    }

    fn add(&mut self, mut session: Box<Session>) {
        let entry = self.sessions.vacant_entry();
        let key = entry.key();
        if session
            .register(self.poll.registry(), key * TOKENS)
            .is_err()
        {
            session.close(false);
            return;
        }
        self.keys.insert(session.id, key);
        self.timers.insert((session.deadline, key));
        entry.insert(session);
    }
}
