//! One thread of the load generator: sockets, timers, and the peers on them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use stagecast_core::outbox::Outbox;

use crate::figures::{Peers, Report};
use crate::publisher::Publisher;
use crate::socket::{Batch, Received, Socket, be_nice};
use crate::stamps::Delays;
use crate::threads::WAKE;
use crate::viewer::Viewer;

/// Batches read from one socket before others get their turn.
const READ_TURNS: usize = 2;

/// A peer of the run.
pub enum Peer {
    /// Receives.
    Viewer(Box<Viewer>),
    /// Sends.
    Publisher(Box<Publisher>),
}

/// What the run asks of a thread.
pub enum Command {
    /// Drive this peer from now on.
    Add(u64, Peer, Socket),
    /// Say goodbye and forget it; its figures stay.
    Close(u64),
    /// Tell everything.
    Report(SyncSender<Report>),
    /// Say goodbye to all and end.
    Stop,
}

struct Slot {
    id: u64,
    peer: Peer,
    socket: Socket,
    scheduled: Instant,
}

/// The thread's state.
pub struct Driver {
    poll: Poll,
    inbox: Receiver<Command>,
    slots: slab::Slab<Slot>,
    timers: BTreeSet<(Instant, usize)>,
    unfinished: Vec<usize>,
    batch: Batch,
    out: Outbox,
    delays: Delays,
    late: Duration,
    gone: Peers,
}

impl Driver {
    /// A driver that takes commands from `inbox` when woken.
    pub fn new(poll: Poll, inbox: Receiver<Command>, offload: bool) -> Self {
        Self {
            poll,
            inbox,
            slots: slab::Slab::new(),
            timers: BTreeSet::new(),
            unfinished: Vec::new(),
            batch: Batch::new(offload),
            out: Outbox::default(),
            delays: Delays::default(),
            late: Duration::ZERO,
            gone: Peers::default(),
        }
    }

    /// Run until told to stop.
    pub fn run(mut self, niceness: i32) {
        if niceness > 0 {
            be_nice(niceness);
        }
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
            for key in readable {
                self.read(key);
            }
            self.fire();
            if !self.obey() {
                return;
            }
        }
    }

    fn wait(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let (next, _) = self.timers.first()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn read(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let now = Instant::now();
        let (delays, out) = (&mut self.delays, &mut self.out);
        let mut more = true;
        for _ in 0..READ_TURNS {
            let take = |received: Received<'_>| match &mut slot.peer {
                Peer::Viewer(viewer) => viewer.receive(now, received, delays, out),
                Peer::Publisher(publisher) => publisher.receive(now, received, out),
            };
            more = self.batch.receive(&slot.socket, take);
            if !more {
                break;
            }
        }
        if more {
            self.unfinished.push(key);
        }
        self.settle(key);
    }

    fn fire(&mut self) {
        let now = Instant::now();
        while let Some((at, key)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, key));
            self.late = self.late.max(now - at);
            let slot = &mut self.slots[key];
            match &mut slot.peer {
                Peer::Viewer(viewer) => viewer.handle_timeout(now, &mut self.delays, &mut self.out),
                Peer::Publisher(publisher) => publisher.handle_timeout(now, &mut self.out),
            }
            // Not at once again, whatever it says: others wait.
            let wake = slot.peer.wake().max(now + Duration::from_micros(200));
            slot.scheduled = wake;
            self.timers.insert((wake, key));
            self.settle(key);
        }
    }

    /// After any work on a peer: send, forget it when it has ended, move its timer forward.
    fn settle(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        for run in self.out.runs() {
            for range in run.datagrams() {
                slot.socket.send(run.path.remote, &self.out.arena()[range]);
            }
        }
        self.out.clear();
        if slot.peer.has_ended() {
            self.forget(key);
            return;
        }
        // A later time is noticed when the earlier one fires: that is cheaper than moving it.
        let wake = slot.peer.wake();
        if wake < slot.scheduled {
            self.timers.remove(&(slot.scheduled, key));
            slot.scheduled = wake;
            self.timers.insert((wake, key));
        }
    }

    fn forget(&mut self, key: usize) {
        let slot = self.slots.remove(key);
        self.timers.remove(&(slot.scheduled, key));
        let _ = self
            .poll
            .registry()
            .deregister(&mut SourceFd(&slot.socket.as_raw_fd()));
        slot.peer.tell(slot.id, &mut self.gone);
    }

    /// Take all waiting commands; false on stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Add(id, peer, socket)) => self.add(id, peer, socket),
                Ok(Command::Close(id)) => {
                    let found = self
                        .slots
                        .iter()
                        .find(|(_, s)| s.id == id)
                        .map(|(key, _)| key);
                    if let Some(key) = found {
                        self.close(key);
                    }
                }
                Ok(Command::Report(reply)) => {
                    let _ = reply.try_send(self.report());
                }
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
                    for key in keys {
                        self.close(key);
                    }
                    return false;
                }
            }
        }
    }

    fn add(&mut self, id: u64, peer: Peer, socket: Socket) {
        let entry = self.slots.vacant_entry();
        let key = entry.key();
        let fd = socket.as_raw_fd();
        let registered =
            self.poll
                .registry()
                .register(&mut SourceFd(&fd), Token(key), Interest::READABLE);
        if registered.is_err() {
            return;
        }
        let scheduled = peer.wake();
        entry.insert(Slot {
            id,
            peer,
            socket,
            scheduled,
        });
        self.timers.insert((scheduled, key));
    }

    fn close(&mut self, key: usize) {
        match &mut self.slots[key].peer {
            Peer::Viewer(viewer) => viewer.close(&mut self.out),
            Peer::Publisher(publisher) => publisher.close(&mut self.out),
        }
        self.settle(key);
    }

    fn report(&mut self) -> Report {
        let mut peers = self.gone.clone();
        for (_, slot) in &self.slots {
            slot.peer.tell(slot.id, &mut peers);
        }
        Report {
            peers,
            samples: std::mem::take(&mut self.delays),
            late: std::mem::take(&mut self.late),
        }
    }
}

impl Peer {
    fn wake(&self) -> Instant {
        match self {
            Self::Viewer(viewer) => viewer.wake(),
            Self::Publisher(publisher) => publisher.wake(),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::Viewer(viewer) => viewer.ended().is_some(),
            Self::Publisher(publisher) => publisher.ended().is_some(),
        }
    }

    fn tell(&self, id: u64, peers: &mut Peers) {
        match self {
            Self::Viewer(viewer) => {
                let figures = viewer.figures(crate::clock::unix_nanos());
                peers.viewers.push((id, figures));
            }
            Self::Publisher(publisher) => peers.publishers.push(publisher.figures()),
        }
    }
}
