//! A load publisher: sends a clip over and over, paced as an encoder sends.
//!
//! The packets of a frame leave over at most [`PACE`], not at once. A keyframe request makes
//! the clip jump to its next keyframe, as a live encoder would make one, unless it is told
//! to ignore them (ffmpeg, RTMP and SRT sources cannot be asked).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::outbox::Outbox;
use stagecast_core::srtp::{Opener, Sealer};
use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::ntp::Ntp;
use stagecast_proto::rtcp::{Bye, Compound, Packet, Sdes, SenderInfo, SenderReport};
use stagecast_proto::rtp::HeaderWriter;
use stagecast_proto::rtp::ext::{AbsCaptureTime, TransportSequence};
use stagecast_proto::stun::{Datagram, classify};

use crate::clip::Clip;
use crate::clock::unix_nanos;
use crate::link::{Link, Progress};
use crate::sdp::{AUDIO_PT, Ssrcs};
use crate::socket::Received;
use crate::stamps::{self, Departures};

/// A frame leaves over at most this; with the timer's millisecond it stays below 15.
const PACE: Duration = Duration::from_millis(12);
/// Widest gap between two packets of a frame.
const GAP: Duration = Duration::from_millis(1);
/// Shortest time between two keyframes that were asked for.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);
const REPORT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Sealed packets kept for retransmission.
const HISTORY: usize = 1024;
/// Header with extensions.
const HEADER_ROOM: usize = 64;
/// A frame this late is skipped over: the machine was asleep.
const LATE: Duration = Duration::from_secs(2);

/// Figures of one publisher.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// ICE and DTLS took this long after the POST.
    pub connected: Option<Duration>,
    /// RTP packets sent.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pictures sent.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Keyframe requests received.
    pub plis: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Longest time that the packets of one frame took.
    pub longest_spread: Duration,
    /// Why it ended.
    pub ended: Option<&'static str>,
}

/// What a publisher is made of.
pub struct Setup {
    /// Started connection.
    pub link: Link,
    /// What it sends.
    pub clip: Arc<Clip>,
    /// Payload type of its video.
    pub video_pt: u8,
    /// Ids of transport-wide sequence number, capture time and media id.
    pub extensions: [Option<u8>; 3],
    /// Its SSRCs.
    pub ssrcs: Ssrcs,
    /// Jump to a keyframe when asked.
    pub obeys: bool,
    /// Where departures are noted.
    pub departures: Arc<Departures>,
    /// When the POST was sent.
    pub posted: Instant,
}

/// One direction of RTP.
struct Line {
    kind: Kind,
    ssrc: u32,
    pt: u8,
    mid: &'static [u8],
    rate: u64,
    seq: u64,
    timestamp: u32,
    /// Next frame of the clip, and packet of it.
    frame: usize,
    packet: usize,
    /// When the frame is due, after the start.
    due: Duration,
    /// When its first packet left.
    left: Option<Instant>,
    packets: u32,
    octets: u32,
}

/// A load publisher.
pub struct Publisher {
    link: Link,
    keys: Option<(Sealer, Opener)>,
    clip: Arc<Clip>,
    extensions: [Option<u8>; 3],
    obeys: bool,
    departures: Arc<Departures>,
    posted: Instant,
    started: Option<Instant>,
    lines: Vec<Line>,
    transport_seq: u64,
    wants_keyframe: bool,
    last_keyframe: Option<Instant>,
    history: VecDeque<(u16, Vec<u8>)>,
    next_report: Instant,
    rtcp: Vec<u8>,
    figures: Figures,
}

impl Publisher {
    /// A publisher that has its answer.
    pub fn new(setup: Setup) -> Self {
        let clip = setup.clip;
        let audio = !clip.audio.is_empty();
        let mut lines = Vec::new();
        let line = |kind, ssrc: u32, pt, mid, rate| Line {
            kind,
            ssrc,
            pt,
            mid,
            rate,
            seq: u64::from(ssrc & 0x3fff),
            timestamp: ssrc.rotate_left(11),
            frame: 0,
            packet: 0,
            due: Duration::ZERO,
            left: None,
            packets: 0,
            octets: 0,
        };
        if audio {
            lines.push(line(Kind::Audio, setup.ssrcs.audio, AUDIO_PT, b"0", 48_000));
        }
        if !clip.video.is_empty() {
            let mid: &[u8] = if audio { b"1" } else { b"0" };
            let ssrc = setup.ssrcs.video;
            lines.push(line(Kind::Video, ssrc, setup.video_pt, mid, 90_000));
        }
        Self {
            link: setup.link,
            keys: None,
            clip,
            extensions: setup.extensions,
            obeys: setup.obeys,
            departures: setup.departures,
            posted: setup.posted,
            started: None,
            lines,
            transport_seq: 0,
            wants_keyframe: false,
            last_keyframe: None,
            history: VecDeque::new(),
            next_report: setup.posted,
            rtcp: Vec::with_capacity(512),
            figures: Figures::default(),
        }
    }

    /// Present figures.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Why it is over.
    pub fn ended(&self) -> Option<&'static str> {
        self.figures.ended
    }

    /// A datagram came.
    pub fn receive(&mut self, now: Instant, received: Received<'_>, out: &mut Outbox) {
        let Received { bytes, from, .. } = received;
        match classify(bytes) {
            Datagram::Stun => {
                let progress = self.link.handle_stun(now, from, bytes, out);
                self.progress(progress, now);
            }
            Datagram::Dtls => {
                let progress = self.link.handle_dtls(now, bytes, out);
                self.progress(progress, now);
            }
            Datagram::Rtcp => self.on_rtcp(bytes, out),
            Datagram::Rtp | Datagram::Unknown => {}
        }
    }

    /// Time has passed: send what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if self.link.wake() <= now {
            let progress = self.link.handle_timeout(now, out);
            self.progress(progress, now);
        }
        let Some(started) = self.started else {
            if now >= self.posted + CONNECT_TIMEOUT {
                self.figures.ended.get_or_insert("connect_timeout");
            }
            return;
        };
        for index in 0..self.lines.len() {
            while self.due(index, started) <= now {
                self.send_next(index, started, now, out);
            }
        }
        if now >= self.next_report {
            self.next_report = now + REPORT;
            self.report(started, now, out);
        }
    }

    /// When `handle_timeout` is due.
    pub fn wake(&self) -> Instant {
        let link = self.link.wake();
        let Some(started) = self.started else {
            return link.min(self.posted + CONNECT_TIMEOUT);
        };
        let lines = (0..self.lines.len()).map(|i| self.due(i, started)).min();
        lines.unwrap_or(link).min(link).min(self.next_report)
    }

    /// Say goodbye.
    pub fn close(&mut self, out: &mut Outbox) {
        self.rtcp.clear();
        let ssrcs: Vec<u32> = self.lines.iter().map(|l| l.ssrc).collect();
        stagecast_proto::rtcp::ReceiverReport::write(&mut self.rtcp, ssrcs[0], &[]);
        Bye::write(&mut self.rtcp, &ssrcs, "");
        self.send_rtcp(out);
        self.link.close(out);
        self.figures.ended.get_or_insert("closed");
    }

    fn progress(&mut self, progress: Progress, now: Instant) {
        if let Progress::Ended(reason) = progress {
            self.figures.ended.get_or_insert(reason);
        }
        if self.keys.is_none()
            && let Some(keys) = self.link.take_keys()
        {
            self.keys = Some(keys);
            self.figures.connected = Some(now - self.posted);
            self.started = Some(now);
            self.next_report = now;
        }
    }

    fn frames(&self, kind: Kind) -> &[crate::clip::Frame] {
        match kind {
            Kind::Video => &self.clip.video,
            Kind::Audio => &self.clip.audio,
        }
    }

    /// When the next packet of a line shall leave.
    fn due(&self, index: usize, started: Instant) -> Instant {
        let line = &self.lines[index];
        let packets = self.frames(line.kind)[line.frame].payloads.len() as u32;
        let gap = if packets > 1 {
            GAP.min(PACE / (packets - 1))
        } else {
            Duration::ZERO
        };
        started + line.due + gap * line.packet as u32
    }

    fn send_next(&mut self, index: usize, started: Instant, now: Instant, out: &mut Outbox) {
        let (kind, packet) = (self.lines[index].kind, self.lines[index].packet);
        if packet == 0 {
            self.begin_frame(index, started, now);
        }
        let clip = Arc::clone(&self.clip);
        let frames = match kind {
            Kind::Video => &clip.video,
            Kind::Audio => &clip.audio,
        };
        let frame = &frames[self.lines[index].frame];
        let last = packet + 1 == frame.payloads.len();
        let mut payload = frame.payloads[packet].clone();
        self.stamp(kind, &mut payload, (packet == 0, last));
        self.send(index, &payload, last, started, out);
        self.lines[index].packet += 1;
        if last {
            self.end_frame(index, now);
        }
    }

    fn begin_frame(&mut self, index: usize, started: Instant, now: Instant) {
        let duration = Duration::from_micros(self.clip.duration);
        let line = &mut self.lines[index];
        // After a pause of the machine, go on from now instead of sending the pause.
        let late = now.saturating_duration_since(started + line.due);
        if late > LATE {
            line.due += late.min(duration * 1000);
        }
        line.left = Some(now);
        if line.kind == Kind::Audio {
            return;
        }
        let pause = self.last_keyframe.map(|at| now - at);
        if self.wants_keyframe && self.obeys && pause.is_none_or(|p| p >= KEYFRAME_INTERVAL) {
            let count = self.clip.video.len();
            let ahead = (0..count).map(|n| (line.frame + n) % count);
            let next = ahead.into_iter().find(|n| self.clip.video[*n].keyframe);
            line.frame = next.unwrap_or(line.frame);
        }
        let line = &self.lines[index];
        self.figures.frames += 1;
        if self.clip.video[line.frame].keyframe {
            self.wants_keyframe = false;
            self.last_keyframe = Some(now);
            self.figures.keyframes += 1;
        }
    }

    fn end_frame(&mut self, index: usize, now: Instant) {
        let duration = self.clip.duration;
        let line = &self.lines[index];
        let frames = self.frames(line.kind);
        let next = (line.frame + 1) % frames.len();
        let end = if next == 0 {
            duration
        } else {
            frames[next].due
        };
        let step = Duration::from_micros(
            end - frames[line.frame].due + u64::from(next == 0) * frames[0].due,
        );
        let line = &mut self.lines[index];
        line.frame = next;
        line.packet = 0;
        // Never zero, or a clip of one moment would be sent for ever.
        line.due += step.max(Duration::from_micros(500));
        if let Some(left) = line.left.take() {
            self.figures.longest_spread = self.figures.longest_spread.max(now - left);
        }
    }

    /// Write the time into the payload, or note it; and count pictures on across loops.
    fn stamp(&self, kind: Kind, payload: &mut [u8], (first, last): (bool, bool)) {
        if kind == Kind::Audio {
            return;
        }
        let picture = ((self.figures.frames as u16) | 0x8000).to_be_bytes();
        match self.clip.codec {
            Some(Codec::H264) => {
                let now = unix_nanos();
                if first {
                    stamps::write(payload, stamps::HEAD, now);
                }
                if last {
                    stamps::write(payload, stamps::TAIL, now);
                }
                return;
            }
            Some(Codec::Vp8) if payload.len() > 4 => payload[2..4].copy_from_slice(&picture),
            Some(Codec::Vp9) if payload.len() > 3 => payload[1..3].copy_from_slice(&picture),
            _ => {}
        }
        if first || last {
            self.departures.sent(payload, unix_nanos());
        }
    }

    fn send(
        &mut self,
        index: usize,
        payload: &[u8],
        marker: bool,
        started: Instant,
        out: &mut Outbox,
    ) {
        let (Some((sealer, _)), Some(path)) = (&self.keys, self.link.path()) else {
            return;
        };
        let line = &mut self.lines[index];
        let transport = TransportSequence(self.transport_seq as u16).to_bytes();
        let ago = Instant::now().saturating_duration_since(started + line.due);
        let captured = (unix_nanos() / 1000 - ago.as_micros() as i64).max(0) as u64;
        let capture = AbsCaptureTime {
            capture: Ntp::from_unix_micros(captured),
            clock_offset: None,
        };
        let (capture, capture_len) = capture.to_bytes();
        let [cc, time, mid] = self.extensions;
        let values = [
            (cc, &transport[..]),
            (time, &capture[..capture_len]),
            (mid, line.mid),
        ];
        let mut list = [(0, &[][..]); 3];
        let mut count = 0;
        for (id, value) in values {
            if let Some(id) = id.filter(|id| (1..15).contains(id)) {
                list[count] = (id, value);
                count += 1;
            }
        }
        let media_time = line.due.as_micros() * u128::from(line.rate) / 1_000_000;
        let header = HeaderWriter {
            marker: marker && line.kind == Kind::Video,
            payload_type: line.pt,
            sequence: line.seq as u16,
            timestamp: line.timestamp.wrapping_add(media_time as u32),
            ssrc: line.ssrc,
            csrcs: &[],
            extensions: &list[..count],
        };
        let tag = sealer.profile().rtp_overhead();
        let mut packet = vec![0; HEADER_ROOM + payload.len() + tag];
        let Ok(header_len) = header.write(&mut packet) else {
            return;
        };
        packet.truncate(header_len + payload.len() + tag);
        packet[header_len..header_len + payload.len()].copy_from_slice(payload);
        sealer.seal_rtp(&mut packet, header_len, line.ssrc, line.seq);
        out.push(path, &packet);
        line.packets = line.packets.wrapping_add(1);
        line.octets = line.octets.wrapping_add(payload.len() as u32);
        self.figures.packets += 1;
        self.figures.bytes += packet.len() as u64;
        if line.kind == Kind::Video {
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back((line.seq as u16, packet));
        }
        line.seq += 1;
        self.transport_seq += 1;
    }

    fn on_rtcp(&mut self, bytes: &mut [u8], out: &mut Outbox) {
        let Some((_, opener)) = &mut self.keys else {
            return;
        };
        let Ok(compound) = opener.open_rtcp(bytes) else {
            return;
        };
        for packet in Compound::new(compound).flatten() {
            match packet {
                Packet::Pli(_) | Packet::Fir(_) => {
                    self.figures.plis += 1;
                    self.wants_keyframe = true;
                }
                Packet::Nack(nack) => {
                    let Some(path) = self.link.path() else {
                        return;
                    };
                    for lost in nack.lost().take(256) {
                        // The same sealed bytes: no index is sealed twice.
                        if let Some((_, packet)) = self.history.iter().find(|h| h.0 == lost) {
                            out.push(path, packet);
                            self.figures.resent += 1;
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

    fn report(&mut self, started: Instant, now: Instant, out: &mut Outbox) {
        self.rtcp.clear();
        let since = (now - started).as_micros();
        for line in &self.lines {
            let passed = since * u128::from(line.rate) / 1_000_000;
            let info = SenderInfo {
                ntp: Ntp::from_unix_micros((unix_nanos() / 1000) as u64),
                rtp_timestamp: line.timestamp.wrapping_add(passed as u32),
                packet_count: line.packets,
                octet_count: line.octets,
            };
            SenderReport::write(&mut self.rtcp, line.ssrc, &info, &[]);
            Sdes::write(&mut self.rtcp, line.ssrc, "bench");
        }
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
