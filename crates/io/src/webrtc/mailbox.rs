//! How the engine and the media threads talk to a media thread.
//!
//! A mailbox never blocks its sender. Packets between threads go as one message
//! per source and burst; everything else is per session or rarer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};

use mio::net::TcpStream;
use mio::{Poll, Token, Waker};
use stagecast_core::Kind;
use stagecast_core::frame::Frame;
use stagecast_core::hub::{LayerWish, Rest};
use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::packet::Packet;
use stagecast_core::session::{Credentials, Ended, Refusal};

use super::bell::Bell;
use super::session::Session;
use crate::engine::Patched;
use crate::frames::Outlet;

/// The poll token of every thread's waker.
pub const WAKER: Token = Token(usize::MAX);

/// Answer to a patch: `None` when the session is gone.
pub type PatchReply = Option<Result<Patched, Refusal>>;

/// A packet on its way to another thread's copy of a source.
#[derive(Debug, Clone)]
pub struct Relayed {
    /// Track name.
    pub track: Arc<str>,
    /// Audio or video.
    pub kind: Kind,
    /// Whether the publisher takes keyframe requests.
    pub can_ask_keyframe: bool,
    /// Restriction id of the layer.
    pub rid: Arc<str>,
    /// The packet; its payload is shared.
    pub packet: Packet,
}

/// Of the layers of a track of a subscribed source.
#[derive(Debug)]
pub struct LayerNews {
    /// Which source.
    pub key: SourceKey,
    /// Track name.
    pub track: Arc<str>,
    /// What there is of them.
    pub layers: Layers,
}

/// See [`LayerNews`].
#[derive(Debug)]
pub enum Layers {
    /// Viewers of this thread want these, and no others.
    Wanted(usize, Vec<Arc<str>>),
    /// All there are, and which of them rest.
    Resting(Vec<(Arc<str>, Option<Rest>)>),
}

/// Of a layer that is made from the first video track of a source.
#[derive(Debug)]
pub struct LadderNews {
    /// Which source.
    pub key: SourceKey,
    /// The publisher of what it is made from.
    pub generation: u32,
    /// Track name.
    pub track: Arc<str>,
    /// What there is of it.
    pub rung: Rung,
}

/// See [`LadderNews`].
#[derive(Debug)]
pub enum Rung {
    /// These layers will come.
    Announced(Vec<Arc<str>>),
    /// A picture of a layer.
    Picture(Arc<str>, Frame),
}

/// A message to a media thread.
#[derive(Debug)]
pub enum Command {
    /// Serve a new session.
    Add {
        /// Its id.
        id: SessionId,
        /// What it publishes or views.
        key: SourceKey,
        /// Its state.
        session: Session,
    },
    /// End a session.
    End {
        /// Which.
        session: SessionId,
        /// Why.
        ended: Ended,
    },
    /// Apply a fragment and reply.
    Patch {
        /// Which session.
        session: SessionId,
        /// The fragment.
        fragment: String,
        /// Precondition of the request.
        if_match: Option<String>,
        /// Credentials for a restart.
        fresh: Credentials,
        /// Where to reply.
        reply: mpsc::SyncSender<PatchReply>,
    },
    /// A viewer asks for a layer.
    Layer {
        /// Which session.
        session: SessionId,
        /// What it asks for.
        wish: LayerWish,
    },
    /// A datagram that came in on another thread's socket.
    Datagram {
        /// The thread it came in on.
        from: usize,
        /// The peer.
        source: SocketAddr,
        /// Our address.
        local: Option<IpAddr>,
        /// The bytes.
        bytes: Box<[u8]>,
    },
    /// No session of that thread awaits datagrams from this address, or none does any longer.
    Forget {
        /// The peer.
        source: SocketAddr,
        /// The thread.
        thread: usize,
    },
    /// A TCP connection whose first frames name a session of this thread.
    Connection {
        /// The connection.
        stream: TcpStream,
        /// The peer.
        source: SocketAddr,
        /// What was read of it so far.
        buffered: Vec<u8>,
    },
    /// A thread has viewers for a source that lives here.
    Subscribe {
        /// Which source.
        key: SourceKey,
        /// The thread.
        thread: usize,
    },
    /// It has none any more.
    Unsubscribe {
        /// Which source.
        key: SourceKey,
        /// The thread.
        thread: usize,
    },
    /// A subscribed source has a new publisher.
    Begin {
        /// Which source.
        key: SourceKey,
        /// The publisher's number.
        generation: u32,
    },
    /// Packets of a subscribed source.
    Packets {
        /// Which source.
        key: SourceKey,
        /// In order of arrival.
        packets: Vec<Relayed>,
    },
    /// A subscribed source lost its publisher.
    Finish {
        /// Which source.
        key: SourceKey,
    },
    /// Of the layers of a subscribed source.
    Layers(LayerNews),
    /// Viewers of another thread need a keyframe.
    Keyframe {
        /// Which source.
        key: SourceKey,
        /// Track name.
        track: Arc<str>,
        /// Layer.
        rid: Arc<str>,
    },
    /// A frame of a publisher of frames.
    Frame {
        /// The publisher's session.
        session: SessionId,
        /// Track name.
        track: Arc<str>,
        /// Layer.
        layer: Arc<str>,
        /// The frame.
        frame: Frame,
    },
    /// A frame of a track that was made from another of the source.
    Companion {
        /// Which source.
        key: SourceKey,
        /// The publisher of what it was made from.
        generation: u32,
        /// Track name.
        track: Arc<str>,
        /// The frame.
        frame: Frame,
    },
    /// Of layers that are made from the first video track of a source.
    Ladder(LadderNews),
    /// A reader of frames of a source that lives here.
    ReadFrames {
        /// Which source.
        key: SourceKey,
        /// Where they go.
        outlet: Outlet,
    },
    /// A reader of frames asks for keyframes.
    AskKeyframes {
        /// Of which source.
        key: SourceKey,
    },
    /// A reader of frames leaves.
    LeaveFrames {
        /// Which source.
        key: SourceKey,
        /// The reader.
        reader: u64,
    },
    /// End all sessions and stop.
    Close,
}

/// The sending side.
#[derive(Debug)]
pub struct Mailbox {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    bell: Arc<Bell>,
}

/// The receiving side, with the poll that its waker rings.
#[derive(Debug)]
pub struct Inbox {
    /// The thread's poll.
    pub poll: Poll,
    commands: mpsc::Receiver<Command>,
    bell: Arc<Bell>,
}

impl Mailbox {
    /// A mailbox and its inbox.
    pub fn new() -> io::Result<(Self, Inbox)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (sender, receiver) = mpsc::channel();
        let bell = Arc::new(Bell::new());
        let inbox = Inbox {
            poll,
            commands: receiver,
            bell: Arc::clone(&bell),
        };
        Ok((
            Self {
                commands: sender,
                waker,
                bell,
            },
            inbox,
        ))
    }

    /// Send; wakes the thread unless it already has been.
    pub fn send(&self, command: Command) {
        // A thread that has stopped takes nothing any more: shutdown.
        if self.commands.send(command).is_ok()
            && self.bell.ring()
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake a media thread");
        }
    }
}

impl Inbox {
    /// The next message, if there is one.
    pub fn next(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// To be called before looking for messages after a wake-up.
    pub fn answer_bell(&self) {
        self.bell.answer();
    }
}
