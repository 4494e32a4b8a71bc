//! Frames into the hub and out of it: the door for RTMP, SRT, HLS, recorders and workers.
//!
//! [`FrameHub::publish`] makes a publisher like any other: the newest wins, viewers go on, events and
//! figures name it. [`FrameHub::read`] gives what a source has as frames, whoever publishes it and
//! however often that changes. Both sides only send messages to the source's media thread, and both
//! are bounded: a publisher that outruns the thread, or a reader that does not keep up, loses whole
//! groups of pictures of its own and costs nobody else anything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use stagecast_core::Kind;
use stagecast_core::frame::Frame;
use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::session::Ended;
use tokio::sync::{Notify, mpsc};

use crate::engine::{Engine, EngineError, Shared, random};
use crate::webrtc::frame_session::FrameSession;
use crate::webrtc::mailbox::{Command, LadderNews, Rung};
use crate::webrtc::session::Session;

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
    ///
    /// The first frame makes it the source's publisher, in the place of any other.
    pub fn publish(
        &self,
        key: SourceKey,
        protocol: &'static str,
        remote: SocketAddr,
    ) -> Result<FrameSink, EngineError> {
        self.shared.check_room()?;
        let home = self.shared.home(&key);
        let session = SessionId::from_random(random());
        let link = Arc::new(SinkLink::default());
        let name = format!("frames {:032x}", u128::from_be_bytes(random()));
        let state = FrameSession::new(protocol, remote, name, Arc::clone(&link));
        self.shared
            .place(home, session, key, Session::Frames(Box::new(state)))?;
        Ok(FrameSink {
            shared: Arc::clone(&self.shared),
            home,
            session,
            link,
            skipping: AtomicBool::new(false),
            ended: None,
        })
    }

    /// Everything the source has as frames, from the last keyframe on, now or once it is live.
    pub fn read(&self, key: SourceKey) -> FrameStream {
        self.attach(key, Needs::Sound)
    }

    /// The same with the rungs of a ladder, which are layers of the first video track.
    pub(crate) fn read_with_ladder(&self, key: SourceKey) -> FrameStream {
        self.attach(key, Needs::Ladder)
    }

    /// Its sound or its pictures, for a transcoder, which needs no transcoder itself.
    pub(crate) fn read_for_transcoding(&self, key: SourceKey, kind: Kind) -> FrameStream {
        self.attach(key, Needs::Only(kind))
    }

    /// Layers made from the first video track of a source; see [`LadderSink`].
    pub(crate) fn ladder(&self, key: SourceKey) -> LadderSink {
        LadderSink {
            home: self.shared.home(&key),
            shared: Arc::clone(&self.shared),
            key,
        }
    }

    /// A track made from another of the same source; see [`CompanionSink`].
    pub(crate) fn accompany(&self, key: SourceKey, track: &str) -> CompanionSink {
        CompanionSink {
            home: self.shared.home(&key),
            shared: Arc::clone(&self.shared),
            key,
            track: track.into(),
        }
    }

    fn attach(&self, key: SourceKey, needs: Needs) -> FrameStream {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        let outlet = Outlet {
            id,
            needs,
            events: sender,
            backlog: Arc::clone(&backlog),
            skipping: Vec::new(),
        };
        let home = self.shared.home(&key);
        self.shared.mailboxes[home].send(Command::ReadFrames {
            key: key.clone(),
            outlet,
        });
        FrameStream {
            shared: Arc::clone(&self.shared),
            home,
            id,
            key,
            events,
            backlog,
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
    untaken: AtomicUsize,
    ended: OnceLock<Ended>,
}

impl SinkLink {
    /// The media thread has taken this much.
    pub(crate) fn taken(&self, bytes: usize) {
        self.untaken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The media thread has ended the session.
    pub(crate) fn end(&self, ended: Ended) {
        // Only the first reason counts.
        let _ = self.ended.set(ended);
    }
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
        self.shared.mailboxes[self.home].send(Command::Frame {
            session: self.session,
            track: track.into(),
            layer: layer.into(),
            frame,
        });
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

/// One more track of a source whose publisher is another: what a transcoder makes. It is no session,
/// and what it sends of a generation that is over is dropped.
#[derive(Debug)]
pub(crate) struct CompanionSink {
    shared: Arc<Shared>,
    home: usize,
    key: SourceKey,
    track: Arc<str>,
}

impl CompanionSink {
    /// Publish a frame made from frames of this generation.
    pub(crate) fn push(&self, generation: u32, frame: Frame) {
        self.shared.mailboxes[self.home].send(Command::Companion {
            key: self.key.clone(),
            generation,
            track: Arc::clone(&self.track),
            frame,
        });
    }
}

/// Smaller pictures of a source whose publisher is another: the rungs of a ladder. Only readers that
/// ask for it get them.
#[derive(Debug)]
pub(crate) struct LadderSink {
    shared: Arc<Shared>,
    home: usize,
    key: SourceKey,
}

impl LadderSink {
    /// Which layers will come of a track of this generation; none when it is too small.
    pub(crate) fn announce(&self, generation: u32, track: Arc<str>, layers: Vec<Arc<str>>) {
        self.send(generation, track, Rung::Announced(layers));
    }

    /// Publish a picture made from one of this generation.
    pub(crate) fn push(&self, generation: u32, track: Arc<str>, layer: Arc<str>, frame: Frame) {
        self.send(generation, track, Rung::Picture(layer, frame));
    }

    fn send(&self, generation: u32, track: Arc<str>, rung: Rung) {
        self.shared.mailboxes[self.home].send(Command::Ladder(LadderNews {
            key: self.key.clone(),
            generation,
            track,
            rung,
        }));
    }
}

/// What a reader of frames is served with beside what the publisher sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing, and it takes frames of one kind only: it is a transcoder.
    Only(Kind),
    /// AAC.
    Sound,
    /// AAC and the rungs of a ladder.
    Ladder,
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
    /// A transcoder makes these layers of a track; their keyframes are at the times of the original's.
    Rungs {
        /// Track name.
        track: Arc<str>,
        /// Names of the layers.
        layers: Vec<Arc<str>>,
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
    home: usize,
    id: u64,
    key: SourceKey,
    events: mpsc::UnboundedReceiver<FrameEvent>,
    backlog: Arc<Backlog>,
}

/// What waits for a reader.
#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    events: AtomicUsize,
    /// Something came that should not wait.
    pressing: Notify,
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

    /// Let events gather for this long, but for the start of a picture that others follow from, or of
    /// another publisher: to be woken for each frame costs more than the frame.
    pub async fn rest(&self, limit: Duration) {
        // Either way it is over.
        let _ = tokio::time::timeout(limit, self.backlog.pressing.notified()).await;
    }

    /// What it reads.
    pub fn key(&self) -> &SourceKey {
        &self.key
    }

    /// Ask the publisher for a keyframe of every layer, if it can be asked.
    pub fn ask_keyframes(&self) {
        self.shared.mailboxes[self.home].send(Command::AskKeyframes {
            key: self.key.clone(),
        });
    }

    fn taken(&self, event: Option<FrameEvent>) -> Option<FrameEvent> {
        if let Some(FrameEvent::Frame { frame, .. }) = &event {
            self.backlog
                .bytes
                .fetch_sub(frame.data.len(), Ordering::Relaxed);
            self.backlog.events.fetch_sub(1, Ordering::Relaxed);
        }
        event
    }
}

impl Drop for FrameStream {
    fn drop(&mut self) {
        self.shared.mailboxes[self.home].send(Command::LeaveFrames {
            key: self.key.clone(),
            reader: self.id,
        });
    }
}

/// The media thread's end of a [`FrameStream`].
#[derive(Debug)]
pub struct Outlet {
    id: u64,
    needs: Needs,
    events: mpsc::UnboundedSender<FrameEvent>,
    backlog: Arc<Backlog>,
    /// Layers of video that lost frames and wait for a keyframe.
    skipping: Vec<(Arc<str>, Arc<str>)>,
}

impl Outlet {
    /// Its number among all readers.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it is served with beside what is published.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Tell what is no frame; these are few and never dropped.
    pub fn tell(&mut self, event: FrameEvent) {
        self.skipping.clear();
        // Before it can be taken, so that what was taken ends no rest that begins later.
        self.backlog.pressing.notify_one();
        // A reader that has gone is about to say so.
        let _ = self.events.send(event);
    }

    /// Tell which layers a transcoder makes.
    pub fn announce(&self, track: &Arc<str>, layers: &[Arc<str>]) {
        let _ = self.events.send(FrameEvent::Rungs {
            track: Arc::clone(track),
            layers: layers.to_vec(),
        });
    }

    /// Give a frame, unless the reader has not kept up.
    pub fn push(&mut self, track: &Arc<str>, layer: &Arc<str>, frame: &Frame) {
        if let Needs::Only(kind) = self.needs
            && kind != frame.kind()
        {
            return;
        }
        let size = frame.data.len();
        let room = self.backlog.bytes.load(Ordering::Relaxed) + size <= MAX_WAITING_BYTES
            && self.backlog.events.load(Ordering::Relaxed) < MAX_WAITING;
        let skipped = self
            .skipping
            .iter()
            .position(|(t, l)| t == track && l == layer);
        if !room || (skipped.is_some() && !frame.keyframe) {
            if skipped.is_none() {
                self.skipping.push((Arc::clone(track), Arc::clone(layer)));
            }
            return;
        }
        if let Some(skipped) = skipped {
            self.skipping.swap_remove(skipped);
            let _ = self.events.send(FrameEvent::Lost);
        }
        self.backlog.bytes.fetch_add(size, Ordering::Relaxed);
        self.backlog.events.fetch_add(1, Ordering::Relaxed);
        if frame.keyframe && frame.kind() == Kind::Video {
            self.backlog.pressing.notify_one();
        }
        let _ = self.events.send(FrameEvent::Frame {
            track: Arc::clone(track),
            layer: Arc::clone(layer),
            frame: frame.clone(),
        });
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
