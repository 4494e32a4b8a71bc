//! One client's state machine: str0m, its sockets and its counters, driven by
//! the pool's thread. The handle reads what is put into [`Shared`] and never
//! touches str0m again once the session runs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::Registry;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::format::{
    Codec, detect_av1_keyframe, detect_h264_keyframe, detect_h265_keyframe, detect_vp8_keyframe,
    detect_vp9_keyframe,
};
use str0m::media::{
    Direction, Frequency, KeyframeRequestKind, MediaData, MediaKind, MediaTime, Mid,
};
use str0m::net::{Receive, TcpType};
use str0m::rtp::{AbsCaptureTime, Extension, RawPacket, RtpPacket};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::link::Links;
use super::probe::Probe;
use super::stats::{Counters, Stats};
use super::{Config, Depth, Error, Frame, Kind, Role, Shared, Transport, VideoCodec};

/// Shortest time between two keyframe requests of a viewer that lost a frame.
const REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// Datagrams read from one socket before others get their turn.
const READ_BURST: usize = 128;
/// Packets held back for reordering: the largest keyframe must fit.
const REORDER: usize = 600;
/// Seconds that a capture time holds for what follows (abs-capture-time, "Capture timestamp interpolation").
const CAPTURE_VALID: f64 = 5.0;

pub(super) struct Session {
    pub id: u64,
    pub shared: Arc<Shared>,
    pub deadline: Instant,
    rtc: Rtc,
    links: Links,
    config: Config,
    audio: Option<Mid>,
    video: Option<Mid>,
    counters: Counters,
    probe: Option<Arc<Probe>>,
    started: Instant,
    last_request: Option<Instant>,
    /// The latest capture time of audio and of video: RTP time, Unix seconds.
    stamps: [Option<(u64, f64)>; 2],
    ended: bool,
}

impl Session {
    /// Builds the session and its offer.
    pub fn offer(
        id: u64,
        config: Config,
        shared: Arc<Shared>,
        probe: Option<Arc<Probe>>,
        certificate: &DtlsCert,
    ) -> Result<(Self, String, SdpPendingOffer), Error> {
        let now = Instant::now();
        let mut rtc = build(&config, probe.is_some(), certificate, now);
        let mut links = Links::default();
        if config.transport != Transport::Tcp {
            for address in &config.toward {
                add_udp(&mut rtc, &mut links, *address)?;
            }
        }
        let direction = match config.role {
            Role::Publish => Direction::SendOnly,
            Role::Watch => Direction::RecvOnly,
        };
        let mut api = rtc.sdp_api();
        let mut add = |kind, wanted: bool| {
            wanted.then(|| api.add_media(kind, direction, Some("stagecast".into()), None, None))
        };
        let audio = add(MediaKind::Audio, config.audio);
        let video = add(MediaKind::Video, config.video);
        let (offer, pending) = api
            .apply()
            .ok_or_else(|| Error::Config("neither audio nor video is wanted".into()))?;
        let session = Self {
            id,
            shared,
            deadline: now,
            rtc,
            links,
            config,
            audio,
            video,
            counters: Counters::default(),
            probe,
            started: now,
            last_request: None,
            stamps: [None; 2],
            ended: false,
        };
        Ok((session, offer.to_sdp_string(), pending))
    }

    /// Takes the answer and opens a way to every address it names.
    pub fn accept(&mut self, pending: SdpPendingOffer, sdp: &str) -> Result<(), Error> {
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|e| Error::Answer(e.to_string()))?;
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .map_err(|e| Error::Answer(e.to_string()))?;
        self.started = Instant::now();
        let mut ways = 0;
        for candidate in remote_candidates(sdp) {
            let tcp = candidate.tcptype() == Some(TcpType::Passive);
            let address = candidate.addr();
            match (tcp, self.config.transport) {
                (false, Transport::Udp | Transport::Any) => {
                    add_udp(&mut self.rtc, &mut self.links, address.ip())?;
                    ways += 1;
                }
                (true, Transport::Tcp | Transport::Any) => {
                    ways += usize::from(self.add_tcp(address));
                }
                _ => {}
            }
        }
        if ways == 0 {
            let wanted = self.config.transport;
            return Err(Error::Answer(format!(
                "it has no candidate reachable by {wanted:?}"
            )));
        }
        self.drain();
        Ok(())
    }

    fn add_tcp(&mut self, remote: std::net::SocketAddr) -> bool {
        let Ok(Some(local)) = self.links.open_tcp(remote) else {
            return false;
        };
        let built = Candidate::builder()
            .tcp()
            .host(local)
            .tcptype(TcpType::Active)
            .build();
        built.is_ok_and(|c| self.rtc.add_local_candidate(c).is_some())
    }

    pub fn register(&mut self, registry: &Registry, base: usize) -> std::io::Result<()> {
        self.links.register(registry, base)
    }

    pub fn deregister(&mut self, registry: &Registry) {
        self.links.deregister(registry);
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Reads socket `index`; true when it may have more.
    pub fn read(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        for _ in 0..READ_BURST {
            let Some(got) = self.links.receive(index, buffer) else {
                if self.links.all_dead() && !self.ended {
                    self.end("the connection was refused or closed");
                }
                return false;
            };
            let contents = &buffer[..got.len];
            let Ok(input) = Receive::new(got.protocol, got.source, got.local, contents) else {
                continue;
            };
            self.counters.arrived = got.arrived;
            let result = self.rtc.handle_input(Input::Receive(Instant::now(), input));
            self.after(result.map_err(|e| e.to_string()));
            if self.ended {
                return false;
            }
        }
        true
    }

    pub fn tick(&mut self, now: Instant) {
        let result = self.rtc.handle_input(Input::Timeout(now));
        self.after(result.map_err(|e| e.to_string()));
    }

    /// Packetizes and sends one encoded frame.
    pub fn write(&mut self, kind: Kind, data: Vec<u8>, pts: u64) {
        let (mid, clock) = match kind {
            Kind::Audio => (self.audio, Frequency::FORTY_EIGHT_KHZ),
            Kind::Video => (self.video, Frequency::NINETY_KHZ),
        };
        let Some(writer) = mid.and_then(|mid| self.rtc.writer(mid)) else {
            return;
        };
        // Payload types stand in the order of the answer; a mode-0 H264 one cannot carry our units.
        let pt = writer
            .payload_params()
            .find(|p| p.spec().format.packetization_mode != Some(0))
            .map(str0m::format::PayloadParams::pt);
        let Some(pt) = pt else { return };
        let now = Instant::now();
        let capture = AbsCaptureTime {
            capture_time: SystemTime::now(),
            clock_offset: None,
        };
        let bytes = data.len();
        let written = writer
            .abs_capture_time(capture)
            .write(pt, now, MediaTime::new(pts, clock), data)
            .map_err(|e| e.to_string());
        if written.is_ok() {
            self.counters.sent(kind, bytes);
        }
        self.after(written);
        self.tick(now);
    }

    pub fn request_keyframe(&mut self) {
        let Some(mid) = self.video else { return };
        let now = Instant::now();
        if self
            .last_request
            .is_some_and(|at| now - at < REQUEST_INTERVAL)
        {
            return;
        }
        self.last_request = Some(now);
        if self.config.depth == Depth::Packets {
            if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, None) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        } else if let Some(mut writer) = self.rtc.writer(mid) {
            let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
        }
        self.tick(now);
    }

    pub fn stats(&self) -> Stats {
        let state = self.shared.state();
        self.counters.report(&self.config, &state)
    }

    /// Leaves the last figures where the handle finds them after the end.
    pub fn leave_figures(&self) {
        let last = self.stats();
        self.shared.update(|s| s.last_stats = Some(last));
    }

    /// Ends the session; with `goodbye` the peer is told by RTCP BYE and DTLS `close_notify`.
    pub fn close(&mut self, goodbye: bool) {
        if goodbye && !self.ended {
            let _ = self.rtc.close();
            self.drain();
        }
        self.rtc.disconnect();
        self.end("closed");
    }

    fn end(&mut self, reason: &str) {
        self.ended = true;
        self.shared.update(|s| {
            s.connected = false;
            s.closed.get_or_insert_with(|| reason.to_owned());
        });
    }

    fn after(&mut self, result: Result<(), String>) {
        if let Err(error) = result {
            return self.end(&error);
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.deadline = at;
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    self.counters.departed = SystemTime::now();
                    self.links.send(&transmit);
                }
                Ok(Output::Event(event)) => self.on_event(event),
                Err(error) => return self.end(&error.to_string()),
            }
        }
        if !self.rtc.is_alive() {
            self.end("the server closed the session");
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => {
                let took = self.started.elapsed();
                self.counters.connect = Some(took);
                self.shared.update(|s| s.connected = true);
            }
            Event::IceConnectionStateChange(state) => {
                self.counters.ice = ice_name(state);
                let lost = state == IceConnectionState::Disconnected;
                self.shared.update(|s| s.interrupted = lost);
            }
            Event::Closed => self.shared.update(|s| {
                s.closed
                    .get_or_insert_with(|| "the server closed the session".into());
            }),
            Event::KeyframeRequest(_) => {
                self.counters.keyframe_requests += 1;
                self.shared.update(|s| s.keyframe_wanted = true);
            }
            Event::MediaData(data) => self.on_frame(data),
            Event::RtpPacket(packet) => self.on_packet(&packet),
            Event::RawPacket(raw) => self.on_raw(&raw),
            Event::PeerStats(stats) => self.counters.on_peer(&stats),
            Event::MediaIngressStats(stats) => {
                let kind = self.kind_of(stats.mid);
                self.counters.on_ingress(kind, &stats);
            }
            Event::MediaEgressStats(stats) => {
                let kind = self.kind_of(stats.mid);
                self.counters.on_egress(kind, &stats);
            }
            _ => {}
        }
    }

    fn kind_of(&self, mid: Mid) -> Kind {
        if self.video == Some(mid) {
            Kind::Video
        } else {
            Kind::Audio
        }
    }

    fn on_frame(&mut self, data: MediaData) {
        let kind = self.kind_of(data.mid);
        let codec = codec_name(data.params.spec().codec);
        let (first, last) = (**data.seq_range.start(), **data.seq_range.end());
        let keyframe = kind == Kind::Audio || data.is_keyframe();
        self.counters.frame(
            kind,
            codec,
            first..=last,
            data.data.len(),
            keyframe,
            self.started,
        );
        let arrived = unix_seconds(
            SystemTime::now()
                .checked_sub(data.network_time.elapsed())
                .unwrap_or(SystemTime::now()),
        );
        let captured = self.captured(&data);
        let contiguous = data.contiguous;
        let frame = Frame {
            kind,
            codec,
            rtp_time: data.time.numer(),
            clock: data.time.denom(),
            data: data.data,
            keyframe,
            contiguous,
            arrived,
            captured,
        };
        if !self.shared.push(frame, self.config.queue) {
            self.counters.dropped(kind);
        }
        if kind == Kind::Video && !contiguous && !keyframe {
            self.request_keyframe_later();
        }
    }

    /// Capture time of a frame: as it says, or counted from the latest that did, as browsers do.
    fn captured(&mut self, data: &MediaData) -> Option<f64> {
        let kind = self.kind_of(data.mid);
        let stamp = &mut self.stamps[usize::from(kind == Kind::Video)];
        let time = data.time.numer();
        if let Some(at) = data.ext_vals.abs_capture_time {
            *stamp = Some((time, unix_seconds(at.capture_time)));
        }
        let (from, captured) = (*stamp)?;
        let passed = (time as f64 - from as f64) / f64::from(data.time.denom());
        (passed.abs() < CAPTURE_VALID).then_some(captured + passed)
    }

    /// Inside a drain str0m takes no further input, so the request leaves with the next tick.
    fn request_keyframe_later(&mut self) {
        let Some(mid) = self.video else { return };
        let now = Instant::now();
        if self
            .last_request
            .is_some_and(|at| now - at < REQUEST_INTERVAL)
        {
            return;
        }
        self.last_request = Some(now);
        if let Some(mut writer) = self.rtc.writer(mid) {
            let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
        }
    }

    fn on_packet(&mut self, packet: &RtpPacket) {
        let params = self.rtc.codec_config();
        let codec = params
            .params()
            .iter()
            .find(|p| p.pt() == packet.header.payload_type)
            .map(|p| p.spec().codec);
        let Some(codec) = codec else { return };
        let kind = if codec.is_video() {
            Kind::Video
        } else {
            Kind::Audio
        };
        let marker = packet.header.marker;
        let seen = self.counters.packet(
            kind,
            codec_name(codec),
            *packet.seq_no,
            packet.payload.len(),
            marker,
            self.started,
        );
        if kind == Kind::Video {
            if !seen && is_keyframe(codec, &packet.payload) {
                self.counters.first_keyframe(self.started);
            }
            if let Some(probe) = &self.probe {
                probe.arrived(&packet.payload, marker, self.counters.arrived);
            }
        }
    }

    fn on_raw(&self, raw: &RawPacket) {
        let (Some(probe), RawPacket::RtpTx(header, payload)) = (&self.probe, raw) else {
            return;
        };
        let params = self.rtc.codec_config().params();
        let video = params
            .iter()
            .any(|p| p.pt() == header.payload_type && p.spec().codec.is_video());
        if video {
            probe.sent(payload, self.counters.departed);
        }
    }
}

fn build(config: &Config, probed: bool, certificate: &DtlsCert, now: Instant) -> Rtc {
    let publishes = config.role == Role::Publish;
    let mut builder = Rtc::builder()
        .clear_codecs()
        .enable_opus(config.audio, false)
        .set_extension(7, Extension::AbsoluteCaptureTime)
        .set_rtp_mode(config.depth == Depth::Packets)
        .enable_raw_packets(probed && publishes)
        .set_stats_interval(Some(Duration::from_secs(1)))
        .set_reordering_size_video(REORDER)
        .set_dtls_cert(certificate.clone());
    let all = VideoCodec::ALL;
    let wanted = if config.codecs.is_empty() {
        &all[..]
    } else {
        &config.codecs[..]
    };
    for codec in wanted {
        builder = match codec {
            VideoCodec::H264 if publishes => {
                // Constrained baseline, what libx264's baseline profile makes and every browser decodes.
                builder
                    .codec_config()
                    .add_h264(108.into(), Some(109.into()), true, 0x42_e0_1f);
                builder
            }
            VideoCodec::H264 => builder.enable_h264(true),
            VideoCodec::Vp8 => builder.enable_vp8(true),
            VideoCodec::Vp9 => builder.enable_vp9(true),
            VideoCodec::Av1 => builder.enable_av1(true),
            VideoCodec::H265 => builder.enable_h265(true),
        };
    }
    builder.build(now)
}

fn add_udp(rtc: &mut Rtc, links: &mut Links, remote: std::net::IpAddr) -> Result<(), Error> {
    if let Some(local) = links.open_udp(remote).map_err(Error::Socket)?
        && let Ok(candidate) = Candidate::host(local, "udp")
    {
        rtc.add_local_candidate(candidate);
    }
    Ok(())
}

fn remote_candidates(sdp: &str) -> impl Iterator<Item = Candidate> {
    let mut seen: Vec<String> = Vec::new();
    sdp.lines()
        .filter_map(|line| line.trim().strip_prefix("a=candidate:"))
        .filter(move |line| {
            let new = !seen.iter().any(|s| s == line);
            if new {
                seen.push((*line).to_owned());
            }
            new
        })
        .filter_map(|line| Candidate::from_sdp_string(&format!("candidate:{line}")).ok())
}

fn is_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => detect_h264_keyframe(payload),
        Codec::H265 => detect_h265_keyframe(payload),
        Codec::Vp8 => detect_vp8_keyframe(payload),
        Codec::Vp9 => detect_vp9_keyframe(payload),
        Codec::Av1 => detect_av1_keyframe(payload),
        _ => false,
    }
}

fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "h264",
        Codec::H265 => "h265",
        Codec::Vp8 => "vp8",
        Codec::Vp9 => "vp9",
        Codec::Av1 => "av1",
        Codec::Opus => "opus",
        _ => "unknown",
    }
}

fn ice_name(state: IceConnectionState) -> &'static str {
    match state {
        IceConnectionState::New => "new",
        IceConnectionState::Checking => "checking",
        IceConnectionState::Connected => "connected",
        IceConnectionState::Completed => "completed",
        IceConnectionState::Disconnected => "disconnected",
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}
