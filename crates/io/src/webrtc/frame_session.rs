//! A publisher of frames among the sessions of a media thread: it has no connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use stagecast_core::frames::FramePublisher;
use stagecast_core::session::Ended;

use crate::frames::SinkLink;

/// What the media thread keeps of a publisher of frames.
#[derive(Debug)]
pub struct FrameSession {
    /// Frames into packets.
    pub publisher: FramePublisher,
    /// `rtmp`, `srt` and so on.
    pub protocol: &'static str,
    /// The peer.
    pub remote: SocketAddr,
    /// When it was made.
    pub created: Instant,
    /// Why it is to be removed.
    pub ended: Option<Ended>,
    /// A name among ICE user fragments that no peer knows.
    pub name: String,
    link: Arc<SinkLink>,
}

impl FrameSession {
    /// A session for the sink that holds the other end of `link`.
    pub fn new(
        protocol: &'static str,
        remote: SocketAddr,
        name: String,
        link: Arc<SinkLink>,
    ) -> Self {
        Self {
            publisher: FramePublisher::default(),
            protocol,
            remote,
            created: Instant::now(),
            ended: None,
            name,
            link,
        }
    }

    /// A frame of this size has been taken from the mailbox.
    pub fn taken(&self, bytes: usize) {
        self.link.taken(bytes);
    }

    /// Tell the sink.
    pub fn tell(&self, ended: &Ended) {
        self.link.end(ended.clone());
    }
}
