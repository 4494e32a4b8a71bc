//! The same scenarios with str0m's estimator: two str0m peers with the link between them.
//!
//! The publisher, the allocator, the link and what is measured are the same. str0m sends through its
//! pacer, which spreads bursts that we forward as they come; it probes when it likes, up to the rate
//! that the allocator wants; and it says an estimate and nothing else, so congestion is read
//! off an estimate that fell, and a probe's success off one that leapt.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use stagecast_core::bwe::{Bitrate, Congestion, Network};
use str0m::bwe::BweKind;
use str0m::format::Codec;
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::model::link::Link;
use crate::model::media::{OVERHEAD, Publisher, VideoPacket};
use crate::model::outcome::{Outcome, Recorder};
use crate::model::pop_due;
use crate::model::random::Random;
use crate::model::run::{ALLOCATE_US, Crossing, Scenario, TICK_US};
use crate::model::selection::Selection;
use crate::model::viewer::{Content, Report, Viewer, Wire};

const SENDER: &str = "192.0.2.1:1000";
const RECEIVER: &str = "192.0.2.2:2000";
const VIDEO_SSRC: u32 = 42;
const VIDEO_RTX_SSRC: u32 = 43;
const AUDIO_SSRC: u32 = 44;
/// Virtual time for ICE and DTLS, before the link is put between the peers.
const HANDSHAKE: Duration = Duration::from_secs(3);
const UDP_AND_IP: usize = 28;
const INITIAL_KBPS: u64 = 1000;
const FELL: f64 = 0.97;
const LEAPT: f64 = 1.05;
const CONGESTED_FOR: Duration = Duration::from_millis(300);

/// Run a scenario.
pub fn run(scenario: &Scenario, seed: u64) -> Outcome {
    let mut seeds = Random::new(seed);
    let mut pair = Pair::connect();
    let start = pair.now;
    let mut link = Link::new(scenario.link.clone(), seeds.next());
    let mut publisher = scenario.publisher(seeds.next());
    let mut viewer = Viewer::new(scenario.link.rtt_ms, seeds.next());
    let mut tcp = scenario.tcp();
    let mut selection = Selection::new();
    let mut known = Known::new();
    let mut keyframe_at: VecDeque<(u64, ())> = VecDeque::new();
    let mut back: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
    let back_us = u64::from(scenario.link.rtt_ms) * 500;
    let mut recorder = Recorder::default();
    let mut allocate_at = 0;
    let mut sent_bytes = 0;

    for us in (0..scenario.end_us()).step_by(TICK_US as usize) {
        let now = start + Duration::from_micros(us);
        while let Some((_, datagram)) = pop_due(&mut back, us) {
            pair.sender.receive(now, RECEIVER, SENDER, &datagram);
        }
        while pop_due(&mut keyframe_at, us).is_some() {
            selection.refresh(us, &mut publisher);
        }
        pair.sender.poll(now);
        let news = known.take(now, &mut pair.sender.estimates);
        if us >= allocate_at || news {
            allocate_at = us + ALLOCATE_US;
            pair.allocate(us, now, scenario, &known, &mut selection, &mut publisher);
        }
        let (mut video, mut audio) = (Vec::new(), 0);
        publisher.run(us, |packet| video.push(packet), |_| audio += 1);
        for _ in 0..audio {
            pair.write_audio(now);
        }
        for packet in video {
            if let Some(frame) = selection.take(us, &packet) {
                pair.write_video(now, frame, &packet);
            }
        }
        pair.sender.poll(now);
        for datagram in pair.sender.out.drain(..) {
            let bytes = datagram.len() + UDP_AND_IP;
            sent_bytes += bytes as u64;
            link.push(us, bytes, Crossing::Ours(datagram));
        }
        tcp.run(us, |bytes, segment| {
            link.push(us, bytes, Crossing::Other(segment));
        });
        while let Some(delivered) = link.pop(us) {
            match delivered.packet {
                Crossing::Ours(datagram) => {
                    recorder.waited(delivered.waited);
                    let at = start + Duration::from_micros(delivered.at);
                    pair.receiver.receive(at, SENDER, RECEIVER, &datagram);
                    for wire in pair.receiver.received.drain(..) {
                        viewer.on_arrival(delivered.at, &wire);
                    }
                }
                Crossing::Other(segment) => tcp.on_arrival(delivered.at, segment),
            }
        }
        pair.receiver.poll(now);
        let reports = pair.receiver.out.drain(..);
        back.extend(reports.map(|report| (us + back_us, report)));
        // str0m reports and repairs; when a picture is lost is for its user to see.
        let lost = |report: &Report| matches!(report, Report::Pli);
        let asks = viewer.reports(us).iter().any(lost);
        keyframe_at.extend(asks.then_some((us + back_us, ())));
        if (us + TICK_US).is_multiple_of(1_000_000) {
            let chosen = selection.kbps(&publisher);
            recorder.second(scenario.link.rate_at(us), known.estimate, chosen, &viewer);
        }
    }
    viewer.finish(scenario.end_us());
    recorder.finish(
        scenario,
        seed,
        &viewer,
        selection.changes,
        (sent_bytes, 0, 0),
    )
}

/// What str0m has said.
struct Known {
    estimate: Bitrate,
    fell: Option<Instant>,
    leapt: Option<(Instant, Bitrate)>,
}

impl Known {
    fn new() -> Self {
        Self {
            estimate: Bitrate::from_kbps(INITIAL_KBPS),
            fell: None,
            leapt: None,
        }
    }

    fn take(&mut self, now: Instant, estimates: &mut Vec<u64>) -> bool {
        let news = !estimates.is_empty();
        for estimate in estimates.drain(..).map(Bitrate::from_bps) {
            if estimate < self.estimate * FELL {
                self.fell = Some(now);
            } else if estimate > self.estimate * LEAPT {
                self.leapt = Some((now, estimate));
            }
            self.estimate = estimate;
        }
        news
    }

    fn network(&self, now: Instant) -> Network {
        let lately = |at: Instant| now.saturating_duration_since(at) < CONGESTED_FOR;
        Network {
            estimate: self.estimate,
            loss: 0.0,
            queue: Duration::ZERO,
            congestion: self
                .fell
                .filter(|&at| lately(at))
                .map(|_| Congestion::Delay),
            proven: self.leapt,
            probing: false,
        }
    }
}

/// A str0m peer and what it has done.
struct Peer {
    rtc: Rtc,
    out: Vec<Vec<u8>>,
    estimates: Vec<u64>,
    received: Vec<Wire>,
}

impl Peer {
    fn new(now: Instant, initial: Option<u64>) -> Self {
        let builder = Rtc::builder()
            .set_rtp_mode(true)
            .enable_bwe(initial.map(str0m::bwe::Bitrate::kbps));
        Self {
            rtc: builder.build(now),
            out: Vec::new(),
            estimates: Vec::new(),
            received: Vec::new(),
        }
    }

    fn poll(&mut self, now: Instant) {
        // A packet leaves the pacer for each timeout that is handled.
        for _ in 0..1000 {
            match self.rtc.poll_output().expect("the peers are well") {
                Output::Transmit(transmit) => self.out.push(transmit.contents.to_vec()),
                Output::Event(Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. })) => {
                    self.estimates.push(estimate.as_u64());
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    let bytes = packet.payload.len() + OVERHEAD;
                    self.received.extend(read(&packet.payload, bytes));
                }
                Output::Event(_) => {}
                Output::Timeout(at) if at <= now => {
                    let input = Input::Timeout(now);
                    self.rtc.handle_input(input).expect("time passes");
                }
                Output::Timeout(_) => return,
            }
        }
    }

    fn receive(&mut self, now: Instant, source: &str, destination: &str, datagram: &[u8]) {
        let address = |text: &str| text.parse().expect("an address of ours");
        let (source, destination) = (address(source), address(destination));
        let receive = Receive::new(Protocol::Udp, source, destination, datagram);
        let input = Input::Receive(now, receive.expect("a datagram of str0m's own"));
        self.rtc.handle_input(input).expect("a datagram is taken");
        self.poll(now);
    }
}

struct Pair {
    now: Instant,
    sender: Peer,
    receiver: Peer,
    video_type: u8,
    audio_type: u8,
    video_seq: u64,
    audio_seq: u64,
}

impl Pair {
    fn connect() -> Self {
        let now = Instant::now();
        let mut sender = Peer::new(now, Some(INITIAL_KBPS));
        let mut receiver = Peer::new(now, None);
        introduce(&mut sender.rtc, &mut receiver.rtc);
        let payload_type = |codec| {
            let found = sender.rtc.codec_config().find(|p| p.spec().codec == codec);
            *found.expect("str0m has the codec by default").pt()
        };
        let mut pair = Self {
            now,
            video_type: payload_type(Codec::Vp8),
            audio_type: payload_type(Codec::Opus),
            sender,
            receiver,
            video_seq: 0,
            audio_seq: 0,
        };
        let end = now + HANDSHAKE;
        while pair.now < end {
            pair.now += Duration::from_millis(5);
            pair.sender.poll(pair.now);
            for datagram in std::mem::take(&mut pair.sender.out) {
                pair.receiver.receive(pair.now, SENDER, RECEIVER, &datagram);
            }
            pair.receiver.poll(pair.now);
            for datagram in std::mem::take(&mut pair.receiver.out) {
                pair.sender.receive(pair.now, RECEIVER, SENDER, &datagram);
            }
        }
        assert!(pair.sender.rtc.is_connected() && pair.receiver.rtc.is_connected());
        pair.sender.estimates.clear();
        pair
    }

    fn allocate(
        &mut self,
        us: u64,
        now: Instant,
        scenario: &Scenario,
        known: &Known,
        selection: &mut Selection,
        publisher: &mut Publisher,
    ) {
        let desired = if scenario.layers.is_empty() {
            let kbps = known.estimate.as_bps() / 1000;
            publisher.set_rate(0, kbps.saturating_sub(56).clamp(30, 12_000) as f64);
            selection.pin(us, publisher);
            12_000_000
        } else {
            let decision = selection.choose(us, now, publisher, &known.network(now));
            let wanted = decision.probe.map_or(decision.allocated, |probe| probe.top);
            wanted.as_bps()
        };
        let (none, desired) = (str0m::bwe::Bitrate::ZERO, str0m::bwe::Bitrate::bps(desired));
        self.sender.rtc.bwe().set_bitrate(none, desired);
    }

    fn write_audio(&mut self, now: Instant) {
        let time = (self.audio_seq * 960) as u32;
        self.audio_seq += 1;
        let payload = [&[0][..], &[0; 79]].concat();
        self.write(
            now,
            AUDIO_SSRC,
            self.audio_type,
            self.audio_seq,
            time,
            payload,
        );
    }

    fn write_video(&mut self, now: Instant, frame: u32, packet: &VideoPacket) {
        self.video_seq += 1;
        let mut payload = vec![1, u8::from(packet.keyframe)];
        payload.extend((self.video_seq as u32).to_be_bytes());
        payload.extend(frame.to_be_bytes());
        payload.extend(packet.count.to_be_bytes());
        payload.resize(packet.bytes - OVERHEAD, 0);
        let (kind, seq) = (self.video_type, self.video_seq);
        self.write(
            now,
            VIDEO_SSRC,
            kind,
            seq,
            frame.wrapping_mul(3000),
            payload,
        );
    }

    fn write(&mut self, now: Instant, ssrc: u32, kind: u8, seq: u64, time: u32, payload: Vec<u8>) {
        let write =
            RtpWrite::new(kind.into(), seq.into(), time, now, payload).nackable(ssrc == VIDEO_SSRC);
        let mut direct = self.sender.rtc.direct_api();
        let stream = direct.stream_tx(&ssrc.into()).expect("it was declared");
        stream.write_rtp(write);
        self.sender.poll(now);
    }
}

/// What `write_video` and `write_audio` have put into a payload.
fn read(payload: &[u8], bytes: usize) -> Option<Wire> {
    let number = |at: usize| {
        Some(u32::from_be_bytes(
            payload.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let content = match payload.first()? {
        1 => Content::Video {
            seq: number(2)?,
            frame: number(6)?,
            count: u16::from_be_bytes(payload.get(10..12)?.try_into().ok()?),
            keyframe: payload[1] == 1,
        },
        _ => Content::Audio,
    };
    Some(Wire {
        seq: 0,
        bytes,
        content,
    })
}

/// Candidates, fingerprints, credentials and streams, without any description.
fn introduce(sender: &mut Rtc, receiver: &mut Rtc) {
    let candidate = |address: &str| {
        let address = address.parse().expect("an address of ours");
        Candidate::host(address, "udp").expect("a host candidate")
    };
    for (rtc, own, other) in [
        (&mut *sender, SENDER, RECEIVER),
        (&mut *receiver, RECEIVER, SENDER),
    ] {
        rtc.add_local_candidate(candidate(own));
        rtc.add_remote_candidate(candidate(other));
    }
    let identity = |rtc: &mut Rtc| {
        let direct = rtc.direct_api();
        let fingerprint = direct.local_dtls_fingerprint().clone();
        (fingerprint, direct.local_ice_credentials())
    };
    let of_sender = identity(sender);
    let of_receiver = identity(receiver);
    let start = |rtc: &mut Rtc, (fingerprint, credentials), controlling| {
        let mut direct = rtc.direct_api();
        direct.set_remote_fingerprint(fingerprint);
        direct.set_remote_ice_credentials(credentials);
        direct.set_ice_controlling(controlling);
        direct.start_dtls(controlling).expect("DTLS starts once");
        direct.declare_media("v".into(), MediaKind::Video);
        direct.declare_media("a".into(), MediaKind::Audio);
    };
    start(sender, of_receiver, true);
    start(receiver, of_sender, false);
    let mut tx = sender.direct_api();
    tx.declare_stream_tx(
        VIDEO_SSRC.into(),
        Some(VIDEO_RTX_SSRC.into()),
        "v".into(),
        None,
    );
    tx.declare_stream_tx(AUDIO_SSRC.into(), None, "a".into(), None);
    let mut rx = receiver.direct_api();
    rx.expect_stream_rx(
        VIDEO_SSRC.into(),
        Some(VIDEO_RTX_SSRC.into()),
        "v".into(),
        None,
    );
    rx.expect_stream_rx(AUDIO_SSRC.into(), None, "a".into(), None);
    rx.enable_twcc_feedback();
}
