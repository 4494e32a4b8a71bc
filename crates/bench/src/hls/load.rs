//! A load run of players: threads, and what the players on them saw.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Waker};
use serde::Deserialize;

use super::driver::{Command, Driver, WAKE};
use super::figures::{Ledger, Polled, Report};
use super::player::Manners;
use crate::{Error, MAX_PEERS};

const MAX_THREADS: usize = 64;
/// How long a thread may take to tell; on a machine that is too busy it takes seconds.
const REPLY: Duration = Duration::from_secs(10);

/// How a run is set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server.
    pub server: SocketAddr,
    /// What its requests call it: name and port.
    pub host: String,
    /// Path and query of the multivariant playlist.
    pub path: String,
    /// Threads that drive players.
    #[serde(default = "one")]
    pub threads: usize,
    /// How much those threads yield to others, 0 to 19: real players use no core of the server's.
    #[serde(default)]
    pub niceness: i32,
    /// Also take the audio rendition.
    #[serde(default = "yes")]
    pub audio: bool,
    /// Ask for the part that a playlist hints at before it is there.
    #[serde(default = "yes")]
    pub hints: bool,
    /// Ask for delta updates of playlists.
    #[serde(default = "yes")]
    pub deltas: bool,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

struct Thread {
    commands: Mutex<Sender<Command>>,
    waker: Waker,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    fn start(name: String, config: &Config) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::System)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(Error::System)?;
        let (commands, inbox) = channel();
        let manners = Manners {
            host: config.host.clone(),
            audio: config.audio,
            hints: config.hints,
            deltas: config.deltas,
        };
        let driver = Driver::new(poll, inbox, config.server, config.path.clone(), manners);
        let niceness = config.niceness;
        let handle = thread::Builder::new()
            .name(name)
            .spawn(move || driver.run(niceness))
            .map_err(Error::System)?;
        Ok(Self {
            commands: Mutex::new(commands),
            waker,
            handle: Mutex::new(Some(handle)),
        })
    }

    fn send(&self, command: Command) {
        if lock(&self.commands).send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A load run. All calls may come from any thread.
pub struct Load {
    threads: Vec<Thread>,
    next: AtomicU64,
    ledger: Mutex<Ledger>,
}

impl Load {
    /// Start the threads.
    pub fn start(config: &Config) -> Result<Self, Error> {
        if !(1..=MAX_THREADS).contains(&config.threads) {
            return Err(Error::Config(format!("1 to {MAX_THREADS} threads, please")));
        }
        if !config.path.starts_with('/') {
            return Err(Error::Config("a path begins with a slash".into()));
        }
        let start = |number| Thread::start(format!("hls-{number}"), config);
        Ok(Self {
            threads: (0..config.threads).map(start).collect::<Result<_, _>>()?,
            next: AtomicU64::new(0),
            ledger: Mutex::default(),
        })
    }

    /// One more player.
    pub fn join(&self) -> Result<(), Error> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if id >= MAX_PEERS as u64 {
            let most = format!("a run has at most {MAX_PEERS} players");
            return Err(Error::Config(most));
        }
        let thread = (id % self.threads.len() as u64) as usize;
        self.threads[thread].send(Command::Join(id));
        Ok(())
    }

    /// The measured window begins now.
    pub fn mark(&self) {
        let report = self.collect();
        lock(&self.ledger).mark(&report);
    }

    /// Everything so far, since the last call, and since [`Load::mark`].
    pub fn poll(&self) -> Polled {
        let report = self.collect();
        lock(&self.ledger).poll(&report)
    }

    /// Hang up and stop the threads; idempotent.
    pub fn close(&self) {
        for thread in &self.threads {
            thread.send(Command::Stop);
        }
        for thread in &self.threads {
            if let Some(handle) = lock(&thread.handle).take() {
                let _ = handle.join();
            }
        }
    }

    fn collect(&self) -> Report {
        let mut replies = Vec::new();
        for thread in &self.threads {
            let (reply, answer) = sync_channel(1);
            thread.send(Command::Report(reply));
            replies.push(answer);
        }
        let mut all = Report::default();
        for answer in replies {
            if let Ok(report) = answer.recv_timeout(REPLY) {
                all.players.extend(report.players);
                all.ages.extend(report.ages);
                all.late = all.late.max(report.late);
            } else {
                all.late = all.late.max(REPLY);
            }
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.close();
    }
}
