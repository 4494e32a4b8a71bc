//! A session of a media thread, whatever its role and path.

use std::time::Instant;

use stagecast_core::figures::SessionFigures;
use stagecast_core::hub::{LayerSet, LayerWish, Source, Wants};
use stagecast_core::id::{SessionId, SourceKey};
use stagecast_core::outbox::{Outbox, Path};
use stagecast_core::session::peer::Peer;
use stagecast_core::session::{Credentials, Ended, Publisher, Refusal, RtcViewer};
use stagecast_core::viewer::{Handled, Viewer};

use super::frame_session::FrameSession;

/// A publisher's or viewer's session.
#[derive(Debug)]
pub enum Session {
    /// Sends us media.
    Publisher(Box<Publisher>),
    /// Is sent media.
    Viewer(Box<Viewer>),
    /// Is sent media by the WebRTC library.
    RtcViewer(Box<RtcViewer>),
    /// Sends us frames; it has no connection here.
    Frames(Box<FrameSession>),
}

/// Where a session's connection is.
enum Connection<'a> {
    Library(&'a Peer),
    Lean(&'a Viewer),
    None(&'a FrameSession),
}

impl Session {
    /// As figures and events name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Publisher(_) | Self::Frames(_) => "publisher",
            Self::Viewer(_) | Self::RtcViewer(_) => "viewer",
        }
    }

    /// Whether it reads.
    pub fn is_viewer(&self) -> bool {
        !matches!(self, Self::Publisher(_) | Self::Frames(_))
    }

    /// The library's connection, where there is one.
    pub fn peer_mut(&mut self) -> Option<&mut Peer> {
        match self {
            Self::Publisher(publisher) => Some(&mut publisher.peer),
            Self::RtcViewer(viewer) => Some(&mut viewer.peer),
            Self::Viewer(_) | Self::Frames(_) => None,
        }
    }

    fn connection(&self) -> Connection<'_> {
        match self {
            Self::Publisher(publisher) => Connection::Library(&publisher.peer),
            Self::RtcViewer(viewer) => Connection::Library(&viewer.peer),
            Self::Viewer(viewer) => Connection::Lean(viewer),
            Self::Frames(frames) => Connection::None(frames),
        }
    }

    /// The ICE user fragment by which it is found.
    pub fn ufrag(&self) -> &str {
        match self.connection() {
            Connection::Library(peer) => peer.ufrag(),
            Connection::Lean(viewer) => viewer.ufrag(),
            Connection::None(frames) => &frames.name,
        }
    }

    /// The entity tag in force.
    pub fn etag(&self) -> String {
        match self.connection() {
            Connection::Library(peer) => peer.etag(),
            Connection::Lean(viewer) => viewer.etag(),
            Connection::None(_) => String::new(),
        }
    }

    /// The way to the peer.
    pub fn path(&self) -> Option<Path> {
        match self.connection() {
            Connection::Library(peer) => peer.path(),
            Connection::Lean(viewer) => viewer.path(),
            Connection::None(_) => None,
        }
    }

    /// The peer's address, once known, and the protocol that it speaks.
    pub fn remote(&self) -> (Option<String>, &'static str) {
        if let Self::Frames(frames) = self {
            return (Some(frames.remote.to_string()), frames.protocol);
        }
        let path = self.path();
        (path.map(|p| p.remote.to_string()), protocol_name(path))
    }

    /// Whether ICE and DTLS are through.
    pub fn is_connected(&self) -> bool {
        match self.connection() {
            Connection::Library(peer) => peer.is_connected(),
            Connection::Lean(viewer) => viewer.is_connected(),
            Connection::None(_) => true,
        }
    }

    /// When it was made.
    pub fn created(&self) -> Instant {
        match self.connection() {
            Connection::Library(peer) => peer.created(),
            Connection::Lean(viewer) => viewer.created(),
            Connection::None(frames) => frames.created,
        }
    }

    /// A datagram came in to our port `port`.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: Path,
        port: u16,
        bytes: &mut [u8],
        out: &mut Outbox,
    ) -> Handled {
        if let Self::Viewer(viewer) = self {
            return viewer.handle_datagram(now, from, bytes, out);
        }
        let taken = self
            .peer_mut()
            .is_some_and(|peer| peer.handle_datagram(now, from, port, bytes));
        Handled {
            taken,
            ..Handled::default()
        }
    }

    /// Time has passed; whether the session has just connected.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) -> bool {
        if let Self::Viewer(viewer) = self {
            return viewer.handle_timeout(now, out);
        }
        if let Some(peer) = self.peer_mut() {
            peer.handle_timeout(now);
        }
        false
    }

    /// Say goodbye.
    pub fn close(&mut self, ended: Ended, out: &mut Outbox) {
        match self {
            Self::Viewer(viewer) => viewer.close(ended, out),
            Self::Publisher(publisher) => publisher.peer.close(ended),
            Self::RtcViewer(viewer) => viewer.peer.close(ended),
            Self::Frames(frames) => frames.ended = Some(ended),
        }
    }

    /// Apply a fragment.
    pub fn patch(
        &mut self,
        now: Instant,
        fragment: &str,
        if_match: Option<&str>,
        fresh: Credentials,
    ) -> Result<Option<String>, Refusal> {
        match self {
            Self::Viewer(viewer) => viewer.patch(now, fragment, if_match, fresh),
            Self::Publisher(publisher) => publisher.peer.patch(now, fragment, if_match, fresh),
            Self::RtcViewer(viewer) => viewer.peer.patch(now, fragment, if_match, fresh),
            Self::Frames(_) => Err(Refusal::Fragment(
                "the session is not a WebRTC session".into(),
            )),
        }
    }

    /// A viewer asks for a layer.
    pub fn set_wish(&mut self, wish: LayerWish) {
        match self {
            Self::Viewer(viewer) => viewer.set_wish(wish),
            Self::RtcViewer(viewer) => viewer.set_wish(wish),
            _ => {}
        }
    }

    /// The layers of the video that a viewer is given or is to be given, and the index of their track.
    pub fn wanted(&self, source: &Source, now: Instant) -> Option<(usize, LayerSet)> {
        match self {
            Self::Viewer(viewer) => viewer.wanted(source, now),
            Self::RtcViewer(viewer) => viewer.wanted(source, now),
            Self::Publisher(_) | Self::Frames(_) => None,
        }
    }

    /// Give a viewer what its source has for it.
    pub fn deliver(&mut self, source: &Source, now: Instant, out: &mut Outbox) -> Wants {
        match self {
            Self::Viewer(viewer) => viewer.deliver(source, now, out),
            Self::RtcViewer(viewer) => viewer.deliver(source, now),
            Self::Publisher(_) | Self::Frames(_) => Wants::default(),
        }
    }

    /// A viewer lost the picture.
    pub fn on_keyframe_request(&mut self, source: &Source, now: Instant) -> Wants {
        match self {
            Self::Viewer(viewer) => viewer.on_keyframe_request(source, now),
            Self::RtcViewer(viewer) => viewer.on_keyframe_request(source, now),
            Self::Publisher(_) | Self::Frames(_) => Wants::default(),
        }
    }

    /// What is known of it.
    pub fn figures(&self, id: SessionId, key: &SourceKey, now: Instant) -> SessionFigures {
        let (remote, protocol) = self.remote();
        let mut figures = SessionFigures {
            session: id.to_string(),
            kind: self.kind(),
            stream: key.stream.to_string(),
            source: key.source.as_deref().map(str::to_owned),
            connected: self.is_connected(),
            remote,
            protocol,
            seconds: (now - self.created()).as_secs_f64(),
            rtt_ms: None,
            loss: None,
            jitter_ms: None,
            bitrate_bps: 0,
            packets: 0,
            bytes: 0,
            packets_lost: 0,
            nacks: 0,
            plis: 0,
            estimate_bps: None,
        };
        let (counters, feedback) = match self {
            Self::Viewer(viewer) => (viewer.counters(), viewer.feedback(now)),
            Self::RtcViewer(viewer) => (viewer.counters(), viewer.feedback()),
            Self::Frames(frames) => {
                (figures.packets, figures.bytes) = frames.publisher.totals();
                return figures;
            }
            Self::Publisher(publisher) => {
                let (packets, bytes, lost, rtt) = publisher.totals();
                (figures.packets, figures.bytes, figures.packets_lost) = (packets, bytes, lost);
                figures.rtt_ms = rtt;
                let (jitter, nacks, plis) = publisher.feedback();
                (figures.jitter_ms, figures.nacks, figures.plis) = (jitter, nacks, plis);
                let expected = packets + lost;
                figures.loss = (expected > 0).then(|| lost as f32 / expected as f32);
                return figures;
            }
        };
        (figures.packets, figures.bytes) = (counters.packets, counters.bytes);
        figures.rtt_ms = feedback.rtt_ms;
        figures.loss = feedback.loss;
        figures.jitter_ms = feedback.jitter_ms;
        figures.packets_lost = feedback.packets_lost;
        figures.nacks = feedback.nacks;
        figures.plis = feedback.plis;
        figures.estimate_bps = feedback.estimate_bps;
        figures
    }
}

/// `udp` or `tcp`.
pub fn protocol_name(path: Option<Path>) -> &'static str {
    if path.is_some_and(|p| p.tcp) {
        "tcp"
    } else {
        "udp"
    }
}
