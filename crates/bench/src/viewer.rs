//! A load viewer: receives one stream as a browser would, and keeps only figures.
//!
//! Sequence numbers, markers and extensions are read from the clear header. A packet is
//! decrypted only until the first keyframe is whole, after a loss that broke the picture,
//! when it is a retransmission, and by probes, which look at every packet. It answers as
//! a browser does: receiver reports every second, transport-wide feedback every 100 ms,
//! NACK 5 ms after a gap, PLI when there is no keyframe 200 ms after the first packet or
//! when a packet was given up, consent every 5 s.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::outbox::Outbox;
use stagecast_core::srtp::{Opener, Sealer};
use stagecast_proto::codec::{Codec, Kind, inspect};
use stagecast_proto::rtcp::{Bye, Compound, Nack, Packet, Pli, ReceiverReport};
use stagecast_proto::rtp::Header;
use stagecast_proto::rtp::ext::{AbsCaptureTime, TransportSequence};
use stagecast_proto::stun::{Datagram, classify};

use crate::arrivals::Arrivals;
use crate::impair::Impairment;
use crate::link::{Link, Progress};
use crate::picture::Picture;
use crate::sdp::Accepted;
use crate::socket::Received;
use crate::stamps::{self, Delays, Departures};
use crate::stream::{Counts, Place, Stream};

const FEEDBACK: Duration = Duration::from_millis(100);
const REPORT: Duration = Duration::from_secs(1);
/// PLI when no keyframe is whole this long after the first packet …
const FIRST_PLI: Duration = Duration::from_millis(200);
/// … and again.
const NEXT_PLI: Duration = Duration::from_secs(1);
/// No answer of any kind for this long is a failed join.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// SSRCs of one server; more is nonsense.
const MAX_STREAMS: usize = 16;
/// An opener must see a packet before 15 bits of sequence number have passed.
const KEEP_OPENER: i64 = 8192;

/// When a join got how far, after the POST.
#[derive(Debug, Clone, Copy, Default)]
pub struct Joined {
    /// The answer was there.
    pub answered: Option<Duration>,
    /// ICE and DTLS were through.
    pub connected: Option<Duration>,
    /// The first RTP packet came.
    pub first_packet: Option<Duration>,
    /// The first keyframe was whole.
    pub keyframe: Option<Duration>,
}

/// Figures of one viewer; counters only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Steps of joining.
    pub joined: Joined,
    /// RTP packets of any kind.
    pub packets: u64,
    /// Their bytes, with header and tag.
    pub bytes: u64,
    /// Retransmissions among them.
    pub retransmissions: u64,
    /// Sums over streams.
    pub counts: Counts,
    /// Packets that did not decrypt.
    pub undecryptable: u64,
    /// NACK packets sent.
    pub nacks: u64,
    /// PLI packets sent.
    pub plis: u64,
    /// Frames shown.
    pub frames: u64,
    /// Keyframes shown.
    pub keyframes: u64,
    /// Freezes.
    pub freezes: u64,
    /// Nanoseconds frozen.
    pub frozen_nanos: i64,
    /// Interarrival jitter of video and audio in milliseconds.
    pub jitter_ms: [Option<f64>; 2],
    /// Why it ended.
    pub ended: Option<&'static str>,
    /// SRTP profile.
    pub profile: Option<&'static str>,
}

/// A load viewer.
pub struct Viewer {
    link: Link,
    keys: Option<(Sealer, Opener)>,
    posted: Instant,
    payloads: Vec<Accepted>,
    transport_cc: Option<u8>,
    capture_time: Option<u8>,
    ssrc: u32,
    streams: Vec<(Stream, i64)>,
    picture: Picture,
    arrivals: Arrivals,
    impairment: Impairment,
    departures: Option<Arc<Departures>>,
    probe: bool,
    timestamp: Option<u32>,
    figures: Figures,
    next_feedback: Instant,
    next_report: Instant,
    next_pli: Option<Instant>,
    rtcp: Vec<u8>,
    lost: Vec<u16>,
}

/// What a viewer is made of.
pub struct Setup {
    /// Started connection.
    pub link: Link,
    /// What the answer accepted.
    pub payloads: Vec<Accepted>,
    /// Id of the transport-wide sequence number.
    pub transport_cc: Option<u8>,
    /// Id of the capture time.
    pub capture_time: Option<u8>,
    /// The network it sits behind.
    pub impairment: Impairment,
    /// Whether it looks into every packet.
    pub probe: bool,
    /// Where a publisher of this process notes departures.
    pub departures: Option<Arc<Departures>>,
    /// SSRC of its reports.
    pub ssrc: u32,
    /// When the POST was sent.
    pub posted: Instant,
    /// Now: the answer is there.
    pub now: Instant,
}

impl Viewer {
    /// A viewer that has its answer.
    pub fn new(setup: Setup) -> Self {
        let Setup { now, posted, .. } = setup;
        let mut figures = Figures::default();
        figures.joined.answered = Some(now - posted);
        // Spread over the interval, as viewers are.
        let phase = FEEDBACK * (setup.ssrc % 97) / 97;
        Self {
            link: setup.link,
            keys: None,
            posted,
            payloads: setup.payloads,
            transport_cc: setup.transport_cc,
            capture_time: setup.capture_time,
            ssrc: setup.ssrc,
            streams: Vec::new(),
            picture: Picture::default(),
            arrivals: Arrivals::default(),
            impairment: setup.impairment,
            departures: setup.departures,
            probe: setup.probe,
            timestamp: None,
            figures,
            next_feedback: now + phase,
            next_report: now + phase + REPORT,
            next_pli: None,
            rtcp: Vec::with_capacity(1500),
            lost: Vec::new(),
        }
    }

    /// Present figures, as of `at` Unix nanoseconds.
    pub fn figures(&self, at: i64) -> Figures {
        let mut figures = self.figures;
        for (stream, _) in &self.streams {
            let (sum, counts) = (&mut figures.counts, stream.counts);
            sum.packets += counts.packets;
            sum.expected += counts.expected;
            sum.missed += counts.missed;
            sum.filled += counts.filled;
            sum.lost += counts.lost;
            sum.stale += counts.stale;
            figures.jitter_ms[usize::from(stream.kind() == Kind::Audio)] = Some(stream.jitter_ms());
        }
        figures.frames = self.picture.shown.frames;
        figures.keyframes = self.picture.shown.keyframes;
        figures.freezes = self.picture.shown.freezes;
        figures.frozen_nanos = self.picture.frozen_nanos(at);
        figures
    }

    /// Why it is over.
    pub fn ended(&self) -> Option<&'static str> {
        self.figures.ended
    }

    /// It is over.
    pub fn end(&mut self, reason: &'static str) {
        self.figures.ended.get_or_insert(reason);
    }

    /// A datagram came to the socket.
    pub fn receive(
        &mut self,
        now: Instant,
        received: Received<'_>,
        delays: &mut Delays,
        out: &mut Outbox,
    ) {
        let Received { bytes, from, at } = received;
        if self.impairment.is_clean() {
            self.handle(now, from, bytes, (at, at), delays, out);
        } else {
            self.impairment.take(now, from, at, bytes);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, delays: &mut Delays, out: &mut Outbox) {
        while let Some(mut held) = self.impairment.release(now) {
            let seen = crate::clock::unix_nanos();
            self.handle(
                now,
                held.from,
                &mut held.bytes,
                (seen, held.at),
                delays,
                out,
            );
        }
        if self.link.wake() <= now {
            let progress = self.link.handle_timeout(now, out);
            self.progress(progress, now);
        }
        if self.keys.is_none() {
            if now >= self.posted + CONNECT_TIMEOUT {
                self.end("connect_timeout");
            }
            return;
        }
        self.mind_losses(now, out);
        if now >= self.next_feedback {
            self.next_feedback = now + FEEDBACK;
            self.feed_back(now, out);
        }
        if self.next_pli.is_some_and(|at| at <= now) {
            self.request_keyframe(now, out);
        }
    }

    /// When `handle_timeout` is due.
    pub fn wake(&self) -> Instant {
        let mut wake = self.link.wake();
        wake = wake.min(self.impairment.wake().unwrap_or(wake));
        if self.keys.is_none() {
            return wake.min(self.posted + CONNECT_TIMEOUT);
        }
        let losses = self.streams.iter().filter_map(|(s, _)| s.wake()).min();
        wake.min(self.next_feedback)
            .min(self.next_pli.unwrap_or(wake))
            .min(losses.unwrap_or(wake))
    }

    /// Say goodbye.
    pub fn close(&mut self, out: &mut Outbox) {
        self.rtcp.clear();
        ReceiverReport::write(&mut self.rtcp, self.ssrc, &[]);
        Bye::write(&mut self.rtcp, &[self.ssrc], "");
        self.send_rtcp(out);
        self.link.close(out);
        self.end("closed");
    }

    /// `at` is when it came as the viewer sees it, and when it came to the socket.
    fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &mut [u8],
        at: (i64, i64),
        delays: &mut Delays,
        out: &mut Outbox,
    ) {
        match classify(bytes) {
            Datagram::Rtp => self.on_rtp(now, bytes, at, delays),
            Datagram::Rtcp => self.on_rtcp(now, bytes),
            Datagram::Stun => {
                let progress = self.link.handle_stun(now, from, bytes, out);
                self.progress(progress, now);
            }
            Datagram::Dtls => {
                let progress = self.link.handle_dtls(now, bytes, out);
                self.progress(progress, now);
            }
            Datagram::Unknown => {}
        }
    }

    fn progress(&mut self, progress: Progress, now: Instant) {
        if let Progress::Ended(reason) = progress {
            self.end(reason);
        }
        if self.keys.is_none()
            && let Some(keys) = self.link.take_keys()
        {
            self.figures.profile = Some(match keys.0.profile() {
                stagecast_core::srtp::Profile::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
                stagecast_core::srtp::Profile::AeadAes128Gcm => "AEAD_AES_128_GCM",
                stagecast_core::srtp::Profile::AeadAes256Gcm => "AEAD_AES_256_GCM",
            });
            self.keys = Some(keys);
            self.figures.joined.connected = Some(now - self.posted);
        }
    }

    fn on_rtp(
        &mut self,
        now: Instant,
        bytes: &mut [u8],
        (at, socket_at): (i64, i64),
        delays: &mut Delays,
    ) {
        let Ok(header) = Header::parse(bytes) else {
            return;
        };
        self.figures.packets += 1;
        self.figures.bytes += bytes.len() as u64;
        if self.figures.joined.first_packet.is_none() {
            self.figures.joined.first_packet = Some(now - self.posted);
        }
        let value = |id: Option<u8>| id.and_then(|id| header.extension(id));
        if let Some(seq) = value(self.transport_cc).and_then(TransportSequence::parse) {
            self.arrivals.record(seq.0, at / 1000);
        }
        let pt = header.payload_type;
        if let Some(codec) = self.payloads.iter().find(|p| p.pt == pt).map(|p| p.codec) {
            if self.probe
                && let Some(time) = value(self.capture_time).and_then(AbsCaptureTime::parse)
            {
                let captured = time.capture.to_unix_micros() as i64 * 1000;
                stamps::push(&mut delays.capture, socket_at - captured);
            }
            let packet = Media {
                codec,
                seq: header.sequence,
                timestamp: header.timestamp,
                ssrc: header.ssrc,
                marker: header.marker,
                header_len: header.header_len(),
                padded: header.padding > 0,
                at,
                socket_at,
            };
            self.on_media(now, &packet, bytes, delays);
        } else if self.payloads.iter().any(|p| p.rtx_pt == Some(pt)) {
            let header_len = header.header_len();
            self.figures.retransmissions += 1;
            self.on_retransmission(bytes, header_len, at);
        }
    }

    fn on_media(&mut self, now: Instant, packet: &Media, bytes: &mut [u8], delays: &mut Delays) {
        let Some(index) = self.stream(packet) else {
            return;
        };
        let video = packet.codec.kind() == Kind::Video;
        if video && self.next_pli.is_none() && self.picture.is_broken() {
            self.next_pli = Some(now + FIRST_PLI);
        }
        let (stream, opened) = &mut self.streams[index];
        let place = stream.receive(packet.seq, packet.timestamp, packet.at, now);
        let (Place::New(seq) | Place::Filled(seq)) = place else {
            return;
        };
        let contiguous = stream.contiguous();
        let look =
            self.probe || (video && self.picture.is_broken()) || seq - *opened >= KEEP_OPENER;
        if look {
            *opened = seq;
            self.look(packet, seq, bytes, delays);
        }
        if video {
            if packet.marker {
                self.picture.on_marker(seq);
            }
            self.advance(contiguous, packet.at, now);
        }
    }

    /// The stream of this packet; `None` for one SSRC too many.
    fn stream(&mut self, packet: &Media) -> Option<usize> {
        let known = self.streams.iter().position(|(s, _)| s.ssrc == packet.ssrc);
        if known.is_some() {
            return known;
        }
        if self.streams.len() == MAX_STREAMS {
            return None;
        }
        let stream = Stream::new(packet.ssrc, packet.codec, packet.seq);
        let before = stream.newest;
        self.streams.push((stream, before));
        Some(self.streams.len() - 1)
    }

    /// Decrypt, and see what the payload says.
    fn look(&mut self, packet: &Media, seq: i64, bytes: &mut [u8], delays: &mut Delays) {
        let Some((_, opener)) = &mut self.keys else {
            return;
        };
        let Ok(opened) = opener.open_rtp(bytes, packet.header_len) else {
            self.figures.undecryptable += 1;
            return;
        };
        let mut payload = &bytes[opened.payload];
        if packet.padded {
            let padding = payload.last().copied().unwrap_or(0);
            payload = &payload[..payload.len().saturating_sub(padding.into())];
        }
        if packet.codec.kind() != Kind::Video {
            return;
        }
        if inspect(packet.codec, payload).keyframe {
            self.picture.on_keyframe(seq);
        }
        if self.probe {
            self.measure(packet, payload, delays);
        }
    }

    fn measure(&mut self, packet: &Media, payload: &[u8], delays: &mut Delays) {
        let first = self.timestamp.replace(packet.timestamp) != Some(packet.timestamp);
        if packet.codec == Codec::H264 {
            let (head, tail) = (
                stamps::read(payload, stamps::HEAD),
                stamps::read(payload, stamps::TAIL),
            );
            if let Some(sent) = head {
                stamps::push(&mut delays.first, packet.socket_at - sent);
            }
            if let Some(sent) = tail {
                stamps::push(&mut delays.last, packet.socket_at - sent);
            }
            return;
        }
        if !first && !packet.marker {
            return;
        }
        let Some(sent) = self.departures.as_ref().and_then(|d| d.find(payload)) else {
            return;
        };
        if first {
            stamps::push(&mut delays.first, packet.socket_at - sent);
        }
        if packet.marker {
            stamps::push(&mut delays.last, packet.socket_at - sent);
        }
    }

    fn on_retransmission(&mut self, bytes: &mut [u8], header_len: usize, at: i64) {
        let Some((_, opener)) = &mut self.keys else {
            return;
        };
        let Ok(opened) = opener.open_rtp(bytes, header_len) else {
            self.figures.undecryptable += 1;
            return;
        };
        let payload = &bytes[opened.payload];
        // RFC 4588 §4: the original sequence number comes first. Padding has none.
        let (Some(original), marker) = (payload.first_chunk::<2>(), bytes[1] & 0x80 != 0) else {
            return;
        };
        let original = u16::from_be_bytes(*original);
        let video = self
            .streams
            .iter_mut()
            .find(|(s, _)| s.kind() == Kind::Video);
        let Some((stream, _)) = video else { return };
        let Some(seq) = stream.recover(original) else {
            return;
        };
        let (codec, contiguous) = (stream.codec, stream.contiguous());
        if self.picture.is_broken() && inspect(codec, payload.get(2..).unwrap_or(&[])).keyframe {
            self.picture.on_keyframe(seq);
        }
        if marker {
            self.picture.on_marker(seq);
        }
        self.advance(contiguous, at, Instant::now());
    }

    fn advance(&mut self, contiguous: i64, at: i64, now: Instant) {
        if self.picture.advance(contiguous, at) {
            self.next_pli = None;
            let since = now - self.posted;
            self.figures.joined.keyframe.get_or_insert(since);
        }
    }

    fn on_rtcp(&mut self, now: Instant, bytes: &mut [u8]) {
        let Some((_, opener)) = &mut self.keys else {
            return;
        };
        let Ok(compound) = opener.open_rtcp(bytes) else {
            self.figures.undecryptable += 1;
            return;
        };
        for packet in Compound::new(compound).flatten() {
            match packet {
                Packet::SenderReport(report) => {
                    for (stream, _) in &mut self.streams {
                        if stream.ssrc == report.ssrc {
                            stream.on_sender_report(report.info.ntp.middle(), now);
                        }
                    }
                }
                Packet::Bye(_) => {
                    self.figures.ended.get_or_insert("closed_by_server");
                }
                _ => {}
            }
        }
    }

    /// Ask for what is missing, give up what is too old.
    fn mind_losses(&mut self, now: Instant, out: &mut Outbox) {
        let mut lost = std::mem::take(&mut self.lost);
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index].0;
            if stream.wake().is_none_or(|at| at > now) {
                continue;
            }
            lost.clear();
            stream.take_due(now, &mut lost);
            let (ssrc, video) = (stream.ssrc, stream.kind() == Kind::Video);
            let given_up = stream.give_up(now);
            let contiguous = stream.contiguous();
            if !lost.is_empty() && video {
                self.rtcp.clear();
                Nack::write(&mut self.rtcp, self.ssrc, ssrc, lost.iter().copied());
                self.figures.nacks += 1;
                self.send_rtcp(out);
            }
            if let Some(seq) = given_up.filter(|_| video) {
                self.picture.on_loss(seq);
                self.advance(contiguous, crate::clock::unix_nanos(), now);
                self.next_pli.get_or_insert(now);
            }
        }
        self.lost = lost;
    }

    fn feed_back(&mut self, now: Instant, out: &mut Outbox) {
        self.rtcp.clear();
        if now >= self.next_report {
            self.next_report = now + REPORT;
            let blocks: Vec<_> = self
                .streams
                .iter_mut()
                .map(|(s, _)| s.report(now))
                .collect();
            ReceiverReport::write(&mut self.rtcp, self.ssrc, &blocks);
        }
        let media = self.streams.first().map_or(0, |(s, _)| s.ssrc);
        self.arrivals.write(&mut self.rtcp, self.ssrc, media);
        if !self.rtcp.is_empty() {
            self.send_rtcp(out);
        }
    }

    fn request_keyframe(&mut self, now: Instant, out: &mut Outbox) {
        self.next_pli = Some(now + NEXT_PLI);
        let video = self.streams.iter().find(|(s, _)| s.kind() == Kind::Video);
        let Some((stream, _)) = video else {
            return;
        };
        self.rtcp.clear();
        Pli::write(&mut self.rtcp, self.ssrc, stream.ssrc);
        self.figures.plis += 1;
        self.send_rtcp(out);
    }

    fn send_rtcp(&mut self, out: &mut Outbox) {
        let (Some((sealer, _)), Some(path)) = (&mut self.keys, self.link.path()) else {
            return;
        };
        if sealer.seal_rtcp(&mut self.rtcp).is_ok() {
            out.push(path, &self.rtcp);
        }
    }
}

/// The clear part of a media packet.
struct Media {
    codec: Codec,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    marker: bool,
    header_len: usize,
    padded: bool,
    at: i64,
    socket_at: i64,
}
