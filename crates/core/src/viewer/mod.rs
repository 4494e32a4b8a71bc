//! A viewer's session: the lean path from the hub to the socket.
//!
//! Answerer, ICE-lite, DTLS server, sender of at most one audio and one video
//! stream. What it does for each packet is in [`egress`]; everything else runs
//! a few times a second. It keeps no payload: retransmissions come from the hub's
//! ring. Datagrams leave through an [`Outbox`], grouped for the kernel.
//!
//! Life of a packet: `hub::Reader` chooses it → `egress::Egress` writes header,
//! copies, seals → `Outbox` groups it → the driver sends the run.

pub mod answer;
mod clock;
pub mod connection;
mod egress;
mod feedback;
mod history;
mod numbers;
mod quality;

use std::time::{Duration, Instant, SystemTime};

use stagecast_proto::codec::Kind;
use stagecast_proto::rtcp::{Bye, Sdes, SenderReport};
use stagecast_proto::sdp::Session;
use stagecast_proto::sdp::fragment::Fragment;
use stagecast_proto::stun::{Datagram, classify};

use self::clock::WallClock;
use self::connection::{Connection, Identity, Progress};
use self::egress::{Egress, Stream};
use self::feedback::FeedbackState;
use self::quality::Quality;
use crate::bwe::Bitrate;
use crate::hub::{LayerSet, LayerWish, Reader, Source, Wants};
use crate::outbox::{Outbox, Path};
use crate::session::offer;
use crate::session::{
    Addresses, Counters, Credentials, Ended, Feedback, Refusal, SessionConfig, ViewerSetup,
    check_patch,
};
use crate::srtp::{Opener, Sealer};

pub use egress::fit;

/// Between sender reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Room of an outgoing compound packet with its tag.
const RTCP_ROOM: usize = 512;

/// A viewer's session.
pub struct Viewer {
    connection: Connection,
    addresses: Addresses,
    remote: Remote,
    restarts: u32,
    keys: Option<(Sealer, Opener)>,
    reader: Reader,
    streams: Vec<Stream>,
    feedback: FeedbackState,
    quality: Quality,
    transport_seq: u64,
    clock: WallClock,
    created: Instant,
    next_report: Instant,
    connect_timeout: Duration,
    consent_timeout: Duration,
    ended: Option<Ended>,
    rtcp: Vec<u8>,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("connection", &self.connection)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// What is kept of the peer's offer.
#[derive(Debug)]
struct Remote {
    ufrag: String,
    password: String,
    mids: Vec<String>,
}

/// What a datagram brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, each looked at once.
pub struct Handled {
    /// It belonged to this session.
    pub taken: bool,
    /// The session is connected now and was not before.
    pub connected: bool,
    /// The viewer needs a keyframe.
    pub keyframe: bool,
    /// The viewer asks for lost packets: call `resend`.
    pub lost: bool,
}

impl Viewer {
    /// Answer a viewer's offer.
    pub fn answer(
        config: &SessionConfig,
        setup: ViewerSetup<'_>,
        offer: &Session,
    ) -> Result<(Self, String), Refusal> {
        let ViewerSetup {
            credentials,
            addresses,
            formats,
            policy,
            random,
            now,
        } = setup;
        offer::check_viewer(offer, formats)?;
        // Neighbours of one random number: distinct, and none is zero.
        let base = u32::from_be_bytes([random[0], random[1], random[2], random[3]]) & !7;
        let ssrcs = [base + 1, base + 2, base + 3, base + 4];
        let identity = &config.identity;
        let (text, lines) = answer::write(
            offer,
            &credentials,
            identity.fingerprint(),
            &addresses,
            ssrcs,
        )?;
        let connection = connect(identity, credentials, offer, now)?;
        let (ufrag, password) = ice_credentials(offer);
        let remote = Remote {
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
            mids: offer.media.iter().map(|m| m.mid.clone()).collect(),
        };
        let kinds: Vec<Kind> = lines.iter().map(|l| l.kind).collect();
        let first = |i: usize| u16::from_be_bytes([random[i], random[i + 1]]);
        let viewer = Self {
            connection,
            addresses,
            remote,
            restarts: 0,
            keys: None,
            reader: Reader::new(&kinds, policy, first(4)),
            streams: lines
                .into_iter()
                .map(|l| Stream::new(l, first(6)))
                .collect(),
            feedback: FeedbackState::default(),
            quality: Quality::new(now),
            transport_seq: u64::from(first(8)),
            clock: WallClock::new(now, SystemTime::now()),
            created: now,
            next_report: now,
            connect_timeout: config.connect_timeout,
            consent_timeout: config.consent_timeout,
            ended: None,
            rtcp: Vec::with_capacity(RTCP_ROOM),
        };
        Ok((viewer, text))
    }

    /// The ICE user fragment by which the driver finds this session.
    pub fn ufrag(&self) -> &str {
        &self.connection.local().ufrag
    }

    /// The strong entity tag of the current ICE session.
    pub fn etag(&self) -> String {
        format!("\"{}-{}\"", self.ufrag(), self.restarts)
    }

    /// The way to the peer, once it has been heard.
    pub fn path(&self) -> Option<Path> {
        self.connection.path()
    }

    /// Whether ICE and DTLS are through.
    pub fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    /// When the session was made.
    pub fn created(&self) -> Instant {
        self.created
    }

    /// Why it is over, once it is.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// A datagram came in.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: Path,
        bytes: &mut [u8],
        out: &mut Outbox,
    ) -> Handled {
        let mut handled = Handled {
            taken: true,
            ..Handled::default()
        };
        match classify(bytes) {
            Datagram::Stun => {
                handled.taken = self.connection.handle_stun(now, from, bytes, out);
            }
            Datagram::Dtls => {
                let progress = self.connection.handle_dtls(now, bytes, out);
                handled.connected = self.progress(progress, now);
            }
            Datagram::Rtcp => self.on_rtcp(now, bytes, &mut handled),
            // A viewer sends no media.
            Datagram::Rtp | Datagram::Unknown => handled.taken = false,
        }
        handled
    }

    /// Time has passed: repeat, report, or end.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) -> bool {
        let mut connected = false;
        if self.connection.wake().is_some_and(|at| at <= now) {
            let progress = self.connection.handle_timeout(now, out);
            connected = self.progress(progress, now);
        }
        if self.keys.is_none() && now >= self.created + self.connect_timeout {
            self.ended.get_or_insert(Ended::ConnectTimeout);
        } else if self.keys.is_some() && now >= self.connection.consent() + self.consent_timeout {
            self.ended.get_or_insert(Ended::ConsentLost);
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.report(now, out);
        }
        connected
    }

    /// When `handle_timeout` is due.
    pub fn wake(&self) -> Instant {
        let alive = match self.keys {
            None => self.created + self.connect_timeout,
            Some(_) => self
                .next_report
                .min(self.connection.consent() + self.consent_timeout),
        };
        self.connection.wake().map_or(alive, |at| at.min(alive))
    }

    /// Send what the source has for this viewer.
    pub fn deliver(&mut self, source: &Source, now: Instant, out: &mut Outbox) -> Wants {
        if self.keys.is_none() {
            return Wants::default();
        }
        self.quality.choose(source, &mut self.reader, now);
        let Some((reader, _, mut egress)) = self.egress(out) else {
            return Wants::default();
        };
        let mut wants = reader.deliver(source, now, &mut egress);
        while let Some(probe) = egress.quality.poll_probe(now) {
            if !egress.probe(probe, source, now) {
                break;
            }
        }
        wants.wake = [wants.wake, egress.quality.wake(now)]
            .into_iter()
            .flatten()
            .min();
        wants
    }

    /// Send again what was asked for.
    pub fn resend(&mut self, source: &Source, now: Instant, out: &mut Outbox) {
        let Some((_, feedback, mut egress)) = self.egress(out) else {
            return;
        };
        let rtt = feedback.rtt();
        for (ssrc, seq) in feedback.lost.drain(..) {
            egress.resend(ssrc, seq, rtt, source, now);
        }
    }

    /// What seals and queues this viewer's packets, once it is connected, and who tells it what to send.
    fn egress<'a>(
        &'a mut self,
        out: &'a mut Outbox,
    ) -> Option<(&'a mut Reader, &'a mut FeedbackState, Egress<'a>)> {
        let (sealer, _) = self.keys.as_ref()?;
        let egress = Egress {
            streams: &mut self.streams,
            quality: &mut self.quality,
            sealer,
            transport_seq: &mut self.transport_seq,
            path: self.connection.path()?,
            clock: self.clock,
            out,
        };
        Some((&mut self.reader, &mut self.feedback, egress))
    }

    /// Ask for a layer of the video, or for none above a limit.
    pub fn set_wish(&mut self, wish: LayerWish) {
        self.reader.set_wish(wish);
    }

    /// The layers of the video that it is given or is to be given, and the index of their track.
    pub fn wanted(&self, source: &Source, now: Instant) -> Option<(usize, LayerSet)> {
        self.reader.wanted(source, now)
    }

    /// What the viewer needs after losing the picture.
    pub fn on_keyframe_request(&mut self, source: &Source, now: Instant) -> Wants {
        self.reader.on_keyframe_request(source, now)
    }

    /// Say goodbye: RTCP BYE, DTLS `close_notify`.
    pub fn close(&mut self, ended: Ended, out: &mut Outbox) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(ended);
        let ssrcs: Vec<u32> = self.streams.iter().map(Stream::ssrc).collect();
        self.rtcp.clear();
        // RFC 3550 §6.1: a compound packet begins with a report.
        stagecast_proto::rtcp::ReceiverReport::write(&mut self.rtcp, ssrcs[0], &[]);
        Bye::write(&mut self.rtcp, &ssrcs, "");
        self.send_rtcp(out);
        self.connection.close(out);
    }

    /// Apply a trickle or ICE restart fragment; the answer fragment after a restart.
    pub fn patch(
        &mut self,
        now: Instant,
        fragment: &str,
        if_match: Option<&str>,
        fresh: Credentials,
    ) -> Result<Option<String>, Refusal> {
        let remote = (&*self.remote.ufrag, &*self.remote.password);
        let Some((ufrag, pwd)) = check_patch(fragment, if_match, remote, &self.etag())? else {
            return Ok(None);
        };
        self.connection.restart(fresh, &ufrag, now);
        self.restarts += 1;
        (self.remote.ufrag, self.remote.password) = (ufrag, pwd);
        let local = self.connection.local();
        let answer = Fragment {
            ufrag: Some(local.ufrag.clone()),
            pwd: Some(local.password.clone()),
            candidates: answer::candidates(&self.addresses),
            end_of_candidates: true,
        };
        let mids: Vec<&str> = self.remote.mids.iter().map(String::as_str).collect();
        let kind = self.streams.first().map_or(Kind::Video, Stream::kind);
        Ok(Some(answer.to_sdp(kind, &mids)))
    }

    /// What was sent.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        for (packets, bytes, undecodable) in self.streams.iter().map(Stream::totals) {
            counters.packets += packets;
            counters.bytes += bytes;
            counters.undecodable += undecodable;
        }
        counters
    }

    /// What the viewer reported.
    pub fn feedback(&self, now: Instant) -> Feedback {
        let estimate = self.quality.estimate(now);
        Feedback {
            estimate_bps: estimate.map(Bitrate::as_bps),
            ..self.feedback.figures()
        }
    }

    /// Whether the session is connected now and was not before.
    fn progress(&mut self, progress: Progress, now: Instant) -> bool {
        match progress {
            Progress::Closed => drop(self.ended.get_or_insert(Ended::PeerClosed)),
            Progress::Failed(detail) => drop(self.ended.get_or_insert(Ended::Error(detail))),
            Progress::None | Progress::Secured => {}
        }
        if self.keys.is_some() {
            return false;
        }
        self.keys = self.connection.take_keys();
        self.next_report = now;
        self.keys.is_some()
    }

    fn on_rtcp(&mut self, now: Instant, bytes: &mut [u8], handled: &mut Handled) {
        let Some((_, opener)) = &mut self.keys else {
            handled.taken = false;
            return;
        };
        let Ok(compound) = opener.open_rtcp(bytes) else {
            handled.taken = false;
            return;
        };
        let of = |kind| {
            self.streams
                .iter()
                .find(|s| s.kind() == kind)
                .map_or(0, Stream::ssrc)
        };
        let ssrcs = [of(Kind::Video), of(Kind::Audio)];
        self.feedback
            .handle(compound, &ssrcs, now, self.clock, &mut self.quality);
        // Requests get lost, too; what the transport-wide feedback misses need not be asked for.
        for &number in self.quality.newly_lost() {
            let found = self.streams.iter_mut().find_map(|s| s.on_lost(number));
            self.feedback.lost.extend(found);
        }
        self.quality.forget_lost();
        handled.keyframe = std::mem::take(&mut self.feedback.keyframe);
        handled.lost = !self.feedback.lost.is_empty();
        if self.feedback.bye {
            self.ended.get_or_insert(Ended::PeerClosed);
        }
    }

    /// Sender reports of all streams that have sent, in one datagram.
    fn report(&mut self, now: Instant, out: &mut Outbox) {
        self.rtcp.clear();
        let clock = self.clock;
        for stream in &self.streams {
            let Some(info) = stream.sender_info(now, clock) else {
                continue;
            };
            SenderReport::write(&mut self.rtcp, stream.ssrc(), &info, &[]);
            Sdes::write(
                &mut self.rtcp,
                stream.ssrc(),
                &self.connection.local().ufrag,
            );
        }
        if !self.rtcp.is_empty() {
            self.send_rtcp(out);
        }
    }

    fn send_rtcp(&mut self, out: &mut Outbox) {
        let (Some((sealer, _)), Some(path)) = (&mut self.keys, self.connection.path()) else {
            return;
        };
        // The index runs out after 2^31 packets, 68 years of reports.
        if sealer.seal_rtcp(&mut self.rtcp).is_ok() {
            out.push(path, &self.rtcp);
        }
    }
}

fn connect(
    identity: &Identity,
    credentials: Credentials,
    offer: &Session,
    now: Instant,
) -> Result<Connection, Refusal> {
    let missing = |what: &str| Refusal::Invalid(format!("it has no {what}"));
    let (ufrag, _) = ice_credentials(offer);
    if ufrag.is_empty() {
        return Err(missing("a=ice-ufrag"));
    }
    let fingerprint = offer.media.iter().find_map(|m| m.fingerprint.as_deref());
    let fingerprint = fingerprint.ok_or_else(|| missing("a=fingerprint"))?;
    Connection::new(identity, credentials, ufrag, fingerprint, now)
}

fn ice_credentials(offer: &Session) -> (&str, &str) {
    let media = offer.media.iter().find(|m| m.ice_ufrag.is_some());
    media.map_or(("", ""), |m| {
        (
            m.ice_ufrag.as_deref().unwrap_or(""),
            m.ice_pwd.as_deref().unwrap_or(""),
        )
    })
}
