//! What a connection keeps from one question to the next.
//!
//! A player asks some times a second for more of the same. For a moment it gets it without another
//! look at who may play and what is segmented, which are maps that all players share.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Request;
use super::patience::Patience;
use super::stream::Stream;

/// How long what was found holds; little beside the seconds that a verdict does.
const HOLDS: Duration = Duration::from_secs(1);

/// A connection of a player.
pub(super) struct Visit {
    pub(super) patience: Patience,
    /// The last answer had to wait for media.
    pub(super) waited: bool,
    pass: Option<Pass>,
}

/// What was asked for, and found.
struct Pass {
    playback: String,
    rest: String,
    origin: Option<String>,
    stream: Arc<Stream>,
    until: Instant,
}

impl Visit {
    /// Call it in a runtime.
    pub(super) fn new() -> Self {
        Self {
            patience: Patience::new(),
            waited: false,
            pass: None,
        }
    }

    /// What was found for the same question a moment ago, if it still goes on.
    pub(super) fn look(
        &self,
        request: &Request<'_>,
        playback: &str,
        rest: &str,
        now: Instant,
    ) -> Option<Arc<Stream>> {
        let pass = self.pass.as_ref()?;
        let same = pass.playback == playback
            && pass.rest == rest
            && pass.origin.as_deref() == request.origin;
        let stream = &pass.stream;
        let over = stream.ended.load(Ordering::Relaxed) || stream.stopped.load(Ordering::Relaxed);
        if !same || over || now >= pass.until {
            return None;
        }
        stream.touch();
        Some(Arc::clone(stream))
    }

    /// The player may have this.
    pub(super) fn keep(
        &mut self,
        request: &Request<'_>,
        playback: &str,
        rest: &str,
        now: Instant,
        stream: &Arc<Stream>,
    ) {
        self.pass = Some(Pass {
            playback: playback.to_owned(),
            rest: rest.to_owned(),
            origin: request.origin.map(str::to_owned),
            stream: Arc::clone(stream),
            until: now + HOLDS,
        });
    }
}
