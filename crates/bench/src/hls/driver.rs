//! One thread: players, their connections, and the clock.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::ages::Ages;
use super::figures::{Players, Report};
use super::http::{self, Answer, Reader};
use super::player::{MAX_TRACKS, Manners, Player, Request, Want};
use crate::clock::unix_nanos;
use crate::socket::be_nice;
use crate::threads::WAKE;

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(100);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// A blocked request is answered long before.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is read from a socket at once: most parts.
const BUFFER: usize = 256 << 10;
const LANES: usize = 2 * MAX_TRACKS;

/// What the run asks of a thread.
#[derive(Debug)]
pub(super) enum Command {
    /// One more player.
    Join(u64),
    /// Tell everything.
    Report(SyncSender<Report>),
    /// End.
    Stop,
}

/// A kept connection, or one that waits to be made again.
#[derive(Debug)]
struct Lane {
    stream: Option<TcpStream>,
    reader: Reader,
    asked: Option<Request>,
    /// Whether this player looks into the part.
    looks: bool,
    out: Vec<u8>,
    sent: usize,
    since: Instant,
    /// After a failure: when to go on.
    pause: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    id: u64,
    player: Player,
    lanes: [Option<Box<Lane>>; LANES],
}

/// The thread's state.
pub(super) struct Driver {
    poll: Poll,
    inbox: Receiver<Command>,
    server: SocketAddr,
    path: String,
    manners: Manners,
    slots: Vec<Slot>,
    ages: Ages,
    buffer: Vec<u8>,
    tick: Instant,
    late: Duration,
}

impl Driver {
    /// A driver that takes commands from `inbox` when woken.
    pub(super) fn new(
        poll: Poll,
        inbox: Receiver<Command>,
        server: SocketAddr,
        path: String,
        manners: Manners,
    ) -> Self {
        Self {
            poll,
            inbox,
            server,
            path,
            manners,
            slots: Vec::new(),
            ages: Ages::default(),
            buffer: vec![0; BUFFER],
            tick: Instant::now() + TICK,
            late: Duration::ZERO,
        }
    }

    /// Run until told to stop.
    pub(super) fn run(mut self, niceness: i32) {
        if niceness > 0 {
            be_nice(niceness);
        }
        let mut events = Events::with_capacity(4096);
        loop {
            let wait = self.tick.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                if event.token() != WAKE {
                    let (slot, lane) = (event.token().0 / LANES, event.token().0 % LANES);
                    self.drive(slot, lane);
                }
            }
            let now = Instant::now();
            if now >= self.tick {
                self.late = self.late.max(now - self.tick);
                self.tick = now + TICK;
                self.look_at_time(now);
            }
            if !self.obey() {
                return;
            }
        }
    }

    /// Take all waiting commands; false on stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Join(id)) => {
                    let mut out = Vec::new();
                    let player = Player::join(self.path.clone(), Instant::now(), &mut out);
                    self.slots.push(Slot {
                        id,
                        player,
                        lanes: Default::default(),
                    });
                    self.ask_all(self.slots.len() - 1, out);
                }
                Ok(Command::Report(reply)) => {
                    let tell = |slot: &Slot| (slot.id, slot.player.figures.clone());
                    let report = Report {
                        peers: Players(self.slots.iter().map(tell).collect()),
                        samples: std::mem::take(&mut self.ages.micros),
                        late: std::mem::take(&mut self.late),
                    };
                    let _ = reply.try_send(report);
                }
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Pauses that are over, and requests that nobody answers.
    fn look_at_time(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            for lane in 0..LANES {
                let Some(state) = self.slots[slot].lanes[lane].as_mut() else {
                    continue;
                };
                if state.pause.is_some_and(|until| until <= now) {
                    state.pause = None;
                    if let Some(asked) = state.asked.take() {
                        let mut out = Vec::new();
                        let player = &mut self.slots[slot].player;
                        player.again(&asked, &self.manners, &mut out);
                        self.ask_all(slot, out);
                    }
                } else if state.pause.is_none()
                    && state.asked.is_some()
                    && now.saturating_duration_since(state.since) > PATIENCE
                {
                    self.fail(slot, lane, "no answer in time");
                }
            }
        }
    }

    fn ask_all(&mut self, slot: usize, requests: Vec<Request>) {
        for request in requests {
            self.ask(slot, request);
        }
    }

    fn ask(&mut self, slot: usize, request: Request) {
        let number = request.lane;
        let lane = self.slots[slot].lanes[number].get_or_insert_with(|| Box::new(Lane::new()));
        // Of sound nothing tells when it left.
        lane.looks = request.want == Want::Part && number == 1 && self.ages.asked(&request.path);
        let keep = lane.looks || matches!(request.want, Want::Multivariant | Want::Playlist);
        lane.reader = Reader::new(keep);
        lane.out.clear();
        lane.sent = 0;
        let host = &self.manners.host;
        http::request(&mut lane.out, &request.path, host, "stagecast-bench");
        lane.asked = Some(request);
        lane.since = Instant::now();
        if lane.stream.is_none() {
            let token = Token(slot * LANES + number);
            let made = TcpStream::connect(self.server).and_then(|mut stream| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll
                    .registry()
                    .register(&mut stream, token, interest)?;
                let _ = stream.set_nodelay(true);
                Ok(stream)
            });
            match made {
                // It is written to once it is connected.
                Ok(stream) => lane.stream = Some(stream),
                Err(error) => self.fail(slot, number, &error.to_string()),
            }
            return;
        }
        self.write(slot, number);
    }

    /// A socket may be read or written.
    fn drive(&mut self, slot: usize, lane: usize) {
        self.write(slot, lane);
        self.read(slot, lane);
    }

    fn write(&mut self, slot: usize, number: usize) {
        let Some(lane) = self.slots[slot].lanes[number].as_mut() else {
            return;
        };
        let Some(stream) = &mut lane.stream else {
            return;
        };
        while lane.sent < lane.out.len() {
            match stream.write(&lane.out[lane.sent..]) {
                Ok(written) => lane.sent += written,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_too_early(&e) => return,
                Err(error) => return self.fail(slot, number, &error.to_string()),
            }
        }
    }

    fn read(&mut self, slot: usize, number: usize) {
        loop {
            let Some(lane) = self.slots[slot].lanes[number].as_mut() else {
                return;
            };
            let Some(stream) = &mut lane.stream else {
                return;
            };
            match stream.read(&mut self.buffer) {
                Ok(0) => {
                    return match lane.reader.closed() {
                        Some(answer) => self.take(slot, number, &answer, true),
                        // A server may close what is not used.
                        None if lane.asked.is_none() => lane.stream = None,
                        None => self.fail(slot, number, "the connection was closed"),
                    };
                }
                Ok(len) => match lane.reader.push(&self.buffer[..len]) {
                    Ok(None) => {}
                    Ok(Some(answer)) => {
                        let close = answer.close;
                        return self.take(slot, number, &answer, close);
                    }
                    Err(http::Bad) => return self.fail(slot, number, "not HTTP"),
                },
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_too_early(&e) => return,
                Err(error) => return self.fail(slot, number, &error.to_string()),
            }
        }
    }

    /// An answer is whole.
    fn take(&mut self, slot: usize, number: usize, answer: &Answer, close: bool) {
        let Some(lane) = self.slots[slot].lanes[number].as_mut() else {
            return;
        };
        if close {
            lane.stream = None;
        }
        let Some(asked) = lane.asked.take() else {
            return;
        };
        if asked.want == Want::Part && number == 1 && answer.status == 200 {
            let body = lane.looks.then_some(answer.body.as_slice());
            self.ages.arrived(&asked.path, body, unix_nanos());
        }
        let mut out = Vec::new();
        let player = &mut self.slots[slot].player;
        let good = player.on_answer(&asked, answer, &self.manners, Instant::now(), &mut out);
        self.go_on(slot, asked, good, out);
    }

    fn fail(&mut self, slot: usize, number: usize, why: &str) {
        let Some(lane) = self.slots[slot].lanes[number].as_mut() else {
            return;
        };
        lane.stream = None;
        if let Some(asked) = lane.asked.take() {
            let mut out = Vec::new();
            let good = self.slots[slot].player.on_failure(&asked, why, &mut out);
            self.go_on(slot, asked, good, out);
        }
    }

    /// Ask what is to be asked now, or pause on the lane that failed.
    fn go_on(&mut self, slot: usize, asked: Request, good: bool, out: Vec<Request>) {
        if !good && let Some(lane) = self.slots[slot].lanes[asked.lane].as_mut() {
            lane.asked = Some(asked);
            lane.pause = Some(Instant::now() + PAUSE);
        }
        self.ask_all(slot, out);
    }
}

/// The socket is not connected yet, or the server takes nothing, or has said nothing.
fn is_too_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

impl Lane {
    fn new() -> Self {
        Self {
            stream: None,
            reader: Reader::new(false),
            asked: None,
            looks: false,
            out: Vec::new(),
            sent: 0,
            since: Instant::now(),
            pause: None,
        }
    }
}
