//! Where media and verdicts come from.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use stagecast_core::id::SourceKey;

use crate::admission::{Doorkeeper, Question, Verdict};
use crate::engine::{Engine, lock};
use crate::frames::{FrameEvent, FrameHub, FrameStream};

/// A future that a trait object returns.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who wants to play what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Playback id, percent-decoded.
    pub path: String,
    /// Parameters of the address.
    pub query: Vec<(String, String)>,
    /// The player.
    pub remote: IpAddr,
    /// The page it is in.
    pub origin: Option<String>,
}

/// Frames of a source.
pub trait Frames: Send {
    /// The next event; `None` when there will never be one again. Cancel-safe.
    fn next(&mut self) -> Boxed<'_, Option<FrameEvent>>;
    /// The next event if one waits.
    fn try_next(&mut self) -> Option<FrameEvent>;
    /// Let events gather for this long, unless something comes that should not wait.
    fn rest(&mut self, _limit: Duration) -> Boxed<'_, ()> {
        Box::pin(async {})
    }
    /// Ask the publisher for a keyframe of every layer, if it can be asked.
    fn ask_keyframes(&self) {}
}

impl Frames for FrameStream {
    fn next(&mut self) -> Boxed<'_, Option<FrameEvent>> {
        Box::pin(FrameStream::next(self))
    }

    fn try_next(&mut self) -> Option<FrameEvent> {
        FrameStream::try_next(self)
    }

    fn rest(&mut self, limit: Duration) -> Boxed<'_, ()> {
        Box::pin(FrameStream::rest(self, limit))
    }

    fn ask_keyframes(&self) {
        FrameStream::ask_keyframes(self);
    }
}

/// What the server needs of the rest of the engine.
pub trait Doors: Send + Sync + 'static {
    /// Whether media of a source arrives.
    fn is_live(&self, key: &SourceKey) -> bool;
    /// Sources whose media arrives.
    fn live(&self) -> Vec<SourceKey>;
    /// Frames of a source, from its last keyframe on.
    fn read(&self, key: SourceKey) -> Box<dyn Frames>;
    /// Ask who may play.
    fn ask(&self, ask: Ask) -> Boxed<'_, Verdict>;
}

/// The doors of an engine.
#[derive(Debug)]
pub struct EngineDoors {
    frames: FrameHub,
    doorkeeper: Doorkeeper,
}

impl EngineDoors {
    /// The doors of this engine.
    pub fn new(engine: &Engine) -> Self {
        Self {
            frames: engine.frames(),
            doorkeeper: engine.doorkeeper(),
        }
    }
}

impl Doors for EngineDoors {
    fn is_live(&self, key: &SourceKey) -> bool {
        lock(&self.frames.shared.live).contains_key(key)
    }

    fn live(&self) -> Vec<SourceKey> {
        lock(&self.frames.shared.live).keys().cloned().collect()
    }

    fn read(&self, key: SourceKey) -> Box<dyn Frames> {
        Box::new(self.frames.read_with_ladder(key))
    }

    fn ask(&self, ask: Ask) -> Boxed<'_, Verdict> {
        Box::pin(self.doorkeeper.ask(Question {
            question: 0,
            protocol: "hls",
            action: "play",
            path: ask.path,
            query: ask.query,
            remote: ask.remote,
            origin: ask.origin,
        }))
    }
}
