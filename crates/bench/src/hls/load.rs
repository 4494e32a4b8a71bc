//! A load run of players: threads, and what the players on them saw.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use super::driver::{Command, Driver};
use super::figures::{Ledger, Players, Polled};
use super::player::Manners;
use crate::threads::{Threads, lock};
use crate::{Error, MAX_PEERS};

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

/// A load run. All calls may come from any thread.
pub struct Load {
    threads: Threads<Command, Players>,
    next: AtomicU64,
    ledger: Mutex<Ledger>,
}

impl Load {
    /// Start the threads.
    pub fn start(config: &Config) -> Result<Self, Error> {
        if !config.path.starts_with('/') {
            return Err(Error::Config("a path begins with a slash".into()));
        }
        let (server, path, niceness) = (config.server, config.path.clone(), config.niceness);
        let manners = Manners {
            host: config.host.clone(),
            audio: config.audio,
            hints: config.hints,
            deltas: config.deltas,
        };
        let threads = Threads::start(config.threads, "hls", move |poll, inbox| {
            Driver::new(poll, inbox, server, path, manners).run(niceness);
        })?;
        Ok(Self {
            threads,
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
        self.threads.send(thread, Command::Join(id));
        Ok(())
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

    /// Hang up and stop the threads; idempotent.
    pub fn close(&self) {
        self.threads.stop(|| Command::Stop);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.close();
    }
}
