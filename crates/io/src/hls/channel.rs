//! A rendition as players read it: its newest version, and a bell that rings with every new one.
//!
//! To wake a task of another thread is a system call, and every part wakes all players. So one task
//! of each thread that players are served on waits for the segmenter, and wakes those of its thread.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use stagecast_core::hls::View;
use tokio::sync::watch;

use super::version::Version;
use crate::engine::lock;

/// Versions as they come; it ends with the channel.
pub(super) type Versions = watch::Receiver<Arc<Version>>;

/// A rendition as players read it.
#[derive(Debug)]
pub(super) struct Channel {
    newest: watch::Sender<Arc<Version>>,
    /// What the players of each thread wait for.
    relays: Mutex<Vec<(ThreadId, Versions)>>,
    /// It is far behind the others: players should take another one.
    pub(super) stale: AtomicBool,
}

impl Channel {
    pub(super) fn new(epoch: u64, view: View) -> Self {
        Self {
            newest: watch::Sender::new(Arc::new(Version::new(epoch, 1, view))),
            relays: Mutex::default(),
            stale: AtomicBool::new(false),
        }
    }

    /// There is something new to be seen.
    pub(super) fn show(&self, view: View) {
        self.newest
            .send_modify(|version| *version = Arc::new(version.next(view)));
    }

    pub(super) fn newest(&self) -> Arc<Version> {
        Arc::clone(&self.newest.borrow())
    }

    /// Versions for a task of this thread to wait for; a moment behind [`Self::newest`].
    pub(super) fn versions(&self) -> Versions {
        let here = thread::current().id();
        let mut relays = lock(&self.relays);
        if let Some((_, relay)) = relays.iter().find(|(thread, _)| *thread == here) {
            return relay.clone();
        }
        let mut newest = self.newest.subscribe();
        let (tell, relay) = watch::channel(self.newest());
        tokio::spawn(async move {
            while newest.changed().await.is_ok() {
                let version = Arc::clone(&newest.borrow_and_update());
                tell.send_replace(version);
            }
        });
        relays.push((here, relay.clone()));
        relay
    }
}
