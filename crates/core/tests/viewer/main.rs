//! A viewer's session against a WebRTC peer, in memory and in virtual time.
//!
//! The same scenarios run on both of our paths: the lean one and the WebRTC
//! library's, which is its yardstick. What the peer receives must be the same.

#[path = "../counting/mod.rs"]
mod counting;
mod network;
mod strangers;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use stagecast_core::hub::ring::Limits;
use stagecast_core::hub::{Inbound, ReaderPolicy, Source};
use stagecast_core::id::SourceKey;
use stagecast_core::outbox::{Outbox, Path, Run};
use stagecast_core::packet::Format;
use stagecast_core::session::offer::{self, Role};
use stagecast_core::session::peer::Step;
use stagecast_core::session::{Addresses, Credentials, RtcViewer, SessionConfig, ViewerSetup};
use stagecast_core::viewer::Viewer;
use stagecast_core::{Codec, Kind};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use counting::allocations;

const TICK: Duration = Duration::from_millis(5);
const FRAME: Duration = Duration::from_millis(33);

fn server() -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, 1), 8189).into()
}

fn peer_address() -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, 2), 5000).into()
}

fn credentials(name: &str) -> Credentials {
    Credentials {
        ufrag: format!("00{name}"),
        password: format!("{name:0>32}"),
    }
}

/// Our side, on either path.
enum Ours {
    Lean(Box<Viewer>),
    Library(Box<RtcViewer>),
}

/// A received packet: payload, marker, sequence number and timestamp less the first.
type Got = (Vec<u8>, bool, u64, u32);

/// Both sides and the network between them.
struct Scene {
    now: Instant,
    ours: Ours,
    peer: Rtc,
    source: Source,
    out: Outbox,
    spare: Outbox,
    /// When our side wants to deliver without new media.
    wake: Option<Instant>,
    answer: String,
    connected: bool,
    seq: u64,
    got: Vec<Got>,
    /// Which datagrams to the peer are lost, by their number.
    loses: fn(usize) -> bool,
    sent: usize,
    /// Bits a second of the way to the peer, if it is narrow, and what waits there until when.
    rate: Option<u64>,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    /// How often our side asked for memory while it served media and feedback.
    allocations: u64,
}

/// `reports`: whether the peer knows transport-wide feedback.
fn make_offer(now: Instant, reports: bool) -> (Rtc, String, SdpPendingOffer) {
    let mut config = Rtc::builder()
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_h264(true);
    if !reports {
        config = config.clear_extension_map();
    }
    let mut peer = config.build(now);
    peer.add_local_candidate(Candidate::host(peer_address(), "udp").expect("a host candidate"));
    let mut api = peer.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().expect("the offer has changes");
    (peer, offer.to_sdp_string(), pending)
}

impl Scene {
    fn new(lean: bool) -> Self {
        Self::between(lean, true)
    }

    /// On the lean path, with a peer that tells by receiver reports only what it lost.
    fn without_transport_feedback() -> Self {
        Self::between(true, false)
    }

    fn between(lean: bool, reports: bool) -> Self {
        let now = Instant::now();
        let timeout = Duration::from_secs(30);
        let config = SessionConfig::new(timeout, timeout).expect("a certificate");
        let (mut peer, offer_sdp, pending) = make_offer(now, reports);
        let h264 = Format {
            profile_level_id: 0x0042_e01f,
            packetization_mode: 1,
            ..Format::plain(Codec::H264)
        };
        let setup = ViewerSetup {
            credentials: credentials("first"),
            addresses: Addresses {
                udp: vec![server()],
                tcp: Vec::new(),
            },
            formats: &[h264],
            policy: ReaderPolicy::default(),
            random: [7; 10],
            now,
        };
        let (ours, answer) = if lean {
            let parsed = offer::parse(&offer_sdp, Role::Viewer).expect("our own offer");
            let (viewer, answer) = Viewer::answer(&config, setup, &parsed).expect("an answer");
            (Ours::Lean(Box::new(viewer)), answer)
        } else {
            let (viewer, answer) =
                RtcViewer::answer(&config, setup, &offer_sdp).expect("an answer");
            (Ours::Library(Box::new(viewer)), answer)
        };
        let parsed = SdpAnswer::from_sdp_string(&answer).expect("an answer that parses");
        peer.sdp_api()
            .accept_answer(pending, parsed)
            .expect("an answer that fits");
        let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
        source.begin(1);
        Self {
            now,
            ours,
            peer,
            source,
            out: Outbox::default(),
            spare: Outbox::default(),
            wake: None,
            answer,
            connected: false,
            seq: 1000,
            got: Vec::new(),
            loses: |_| false,
            sent: 0,
            rate: None,
            waiting: VecDeque::new(),
            allocations: 0,
        }
    }

    /// A frame of three packets, of almost one length, from the publisher.
    fn publish(&mut self, keyframe: bool) {
        let timestamp = (self.seq * 1000) as u32;
        for part in 0..3u8 {
            self.seq += 1;
            let head: &[u8] = if keyframe && part == 0 {
                &[0x65, 0x88]
            } else {
                &[0x41, 0x9a]
            };
            let mut payload = head.to_vec();
            payload.extend(self.seq.to_be_bytes());
            payload.resize([880, 899, 900][usize::from(part)], part);
            let inbound = Inbound {
                seq: self.seq,
                timestamp,
                marker: part == 2,
                format: Format {
                    profile_level_id: 0x0042_e01f,
                    packetization_mode: 1,
                    ..Format::plain(Codec::H264)
                },
                arrival: self.now,
                capture: self.now,
                media_us: 0,
                audio_level: None,
                dependency: None,
                payload: payload.into(),
            };
            let track = self.source.track_mut("0", Kind::Video, true);
            track.layer_mut("").expect("a first layer").ingest(inbound);
        }
        self.source.even_out();
        self.deliver();
    }

    fn deliver(&mut self) {
        match &mut self.ours {
            Ours::Lean(viewer) => {
                let (source, out) = (&self.source, &mut self.out);
                self.allocations += allocations(|| {
                    self.wake = viewer.deliver(source, self.now, out).wake;
                });
            }
            Ours::Library(viewer) => drop(viewer.deliver(&self.source, self.now)),
        }
    }

    /// Let time pass on both sides.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            self.turn_ours();
            self.turn_peer();
        }
    }

    fn run_until_connected(&mut self) {
        for _ in 0..200 {
            self.run(TICK);
            if self.connected && self.peer.is_connected() {
                return;
            }
        }
        panic!("not connected within a second");
    }

    fn turn_ours(&mut self) {
        if self.wake.is_some_and(|at| at <= self.now) {
            self.deliver();
        }
        match &mut self.ours {
            Ours::Lean(viewer) => {
                if viewer.wake() <= self.now {
                    self.connected |= viewer.handle_timeout(self.now, &mut self.out);
                }
                assert_eq!(viewer.ended(), None);
            }
            Ours::Library(viewer) => {
                viewer.peer.handle_timeout(self.now);
                loop {
                    match viewer.peer.poll(self.now, &mut self.out) {
                        Step::Connected => self.connected = true,
                        Step::Media(event) => drop(viewer.handle_event(*event)),
                        Step::Wait(_) => break,
                        Step::Ended(ended) => panic!("ended: {ended:?}"),
                    }
                }
            }
        }
        let spare = std::mem::take(&mut self.spare);
        let out = std::mem::replace(&mut self.out, spare);
        for run in out.runs() {
            for range in run.datagrams() {
                self.sent += 1;
                if !(self.loses)(self.sent) {
                    self.travel(&out.arena()[range]);
                }
            }
        }
        // Two take turns, so that neither has to grow anew.
        self.spare = out;
        self.spare.clear();
        while self.waiting.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, bytes) = self.waiting.pop_front().expect("there is a front");
            self.reach_peer(&bytes);
        }
    }

    /// Through a queue of up to 300 ms where the way is narrow.
    fn travel(&mut self, bytes: &[u8]) {
        let Some(rate) = self.rate else {
            return self.reach_peer(bytes);
        };
        let free = self.waiting.back().map_or(self.now, |(at, _)| *at);
        let takes = Duration::from_nanos((bytes.len() as u64 + 28) * 8_000_000_000 / rate);
        if free < self.now + Duration::from_millis(300) {
            self.waiting.push_back((free + takes, bytes.to_vec()));
        }
    }

    fn reach_peer(&mut self, bytes: &[u8]) {
        let receive = Receive::new(Protocol::Udp, server(), peer_address(), bytes);
        let input = Input::Receive(self.now, receive.expect("a datagram of a known kind"));
        self.peer
            .handle_input(input)
            .expect("a datagram that the peer accepts");
        self.drain_peer();
    }

    fn turn_peer(&mut self) {
        self.peer
            .handle_input(Input::Timeout(self.now))
            .expect("time may pass");
        self.drain_peer();
    }

    fn drain_peer(&mut self) {
        for _ in 0..1000 {
            match self.peer.poll_output().expect("a healthy peer") {
                Output::Timeout(at) if at > self.now => return,
                Output::Timeout(_) => {
                    self.peer
                        .handle_input(Input::Timeout(self.now))
                        .expect("time may pass");
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    let (seq, timestamp) = (*packet.seq_no, packet.header.timestamp);
                    let marker = packet.header.marker;
                    self.got
                        .push((packet.payload.to_vec(), marker, seq, timestamp));
                }
                Output::Event(_) => {}
                Output::Transmit(transmit) => {
                    let mut bytes: Vec<u8> = transmit.contents.into();
                    self.reach_ours(&mut bytes);
                }
            }
        }
    }

    fn reach_ours(&mut self, bytes: &mut [u8]) {
        let local = Some(server().ip());
        let from = Path {
            remote: peer_address(),
            local,
            tcp: false,
        };
        match &mut self.ours {
            Ours::Lean(viewer) => {
                let out = &mut self.out;
                self.allocations += allocations(|| {
                    let handled = viewer.handle_datagram(self.now, from, bytes, out);
                    self.connected |= handled.connected;
                    if handled.lost {
                        viewer.resend(&self.source, self.now, out);
                    }
                });
            }
            Ours::Library(viewer) => {
                viewer
                    .peer
                    .handle_datagram(self.now, from, server().port(), bytes);
            }
        }
    }

    /// What the peer got, in order, with numbers counted from the first.
    fn received(&self) -> Vec<Got> {
        let mut got = self.got.clone();
        got.sort_by_key(|g| g.2);
        let Some((_, _, first, start)) = got.first().cloned() else {
            return got;
        };
        for packet in &mut got {
            packet.2 -= first;
            packet.3 = packet.3.wrapping_sub(start);
        }
        got
    }

    fn stream(&mut self, frames: usize) {
        for n in 0..frames {
            self.publish(n % 30 == 0);
            self.run(FRAME);
        }
    }
}

fn watch(lean: bool, loses: fn(usize) -> bool) -> Vec<Got> {
    let mut scene = Scene::new(lean);
    scene.run_until_connected();
    scene.loses = loses;
    scene.stream(60);
    scene.loses = |_| false;
    scene.run(Duration::from_secs(1));
    scene.received()
}

#[test]
fn both_paths_give_the_peer_the_same_media() {
    let lean = watch(true, |_| false);
    assert_eq!(lean.len(), 180);
    assert!(
        lean.iter().enumerate().all(|(i, g)| g.2 == i as u64),
        "no gap"
    );
    assert_eq!(lean, watch(false, |_| false));
}

#[test]
fn packets_of_almost_one_length_share_a_message_and_arrive_as_they_were() {
    let mut scene = Scene::new(true);
    scene.run_until_connected();
    scene.stream(5);
    scene.publish(false);
    let lens = |run: &Run| run.datagrams().map(|d| d.len()).collect::<Vec<_>>();
    let messages: Vec<_> = scene.out.runs().iter().map(lens).collect();
    assert_eq!((messages.len(), messages[0].len()), (1, 3), "{messages:?}");
    scene.run(FRAME);
    let got = scene.received();
    let last: Vec<usize> = got[15..].iter().map(|g| g.0.len()).collect();
    assert_eq!(last, [880, 899, 900]);
}

#[test]
fn lost_packets_are_sent_again_on_both_paths() {
    // Every seventh datagram, handshake excepted; the last ones are not asked for.
    let every_seventh = |n: usize| n.is_multiple_of(7);
    for lean in [true, false] {
        let got = watch(lean, every_seventh);
        let contiguous = got
            .iter()
            .enumerate()
            .take_while(|(i, g)| g.2 == *i as u64)
            .count();
        assert!(
            contiguous > 170,
            "lean {lean}: {contiguous} of 180 packets without a gap"
        );
    }
}

#[test]
fn media_goes_on_after_an_ice_restart() {
    let mut scene = Scene::new(true);
    scene.run_until_connected();
    scene.stream(5);
    let before = scene.got.len();
    assert_eq!(before, 15);

    let mut api = scene.peer.sdp_api();
    let creds = api.ice_restart(true);
    let (_, pending) = api.apply().expect("a restart is a change");
    let fragment = format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
        creds.ufrag, creds.pass
    );
    let Ours::Lean(viewer) = &mut scene.ours else {
        unreachable!("a lean scene")
    };
    let old_etag = viewer.etag();
    let fresh = credentials("second");
    let refused = viewer.patch(scene.now, &fragment, None, fresh.clone());
    assert_eq!(
        refused.expect_err("no If-Match").code(),
        "ice.precondition_required"
    );
    let refused = viewer.patch(scene.now, &fragment, Some("\"other\""), fresh.clone());
    assert_eq!(
        refused.expect_err("another tag").code(),
        "ice.precondition_failed"
    );
    let answer = viewer.patch(scene.now, &fragment, Some("\"*\""), fresh.clone());
    let answer = answer.expect("a restart").expect("its answer");
    assert!(answer.contains(&fresh.ufrag) && answer.contains(&fresh.password));
    assert_ne!(viewer.etag(), old_etag);

    let first = credentials("first");
    let sdp = scene.answer.replace(&first.ufrag, &fresh.ufrag);
    let sdp = sdp.replace(&first.password, &fresh.password);
    let parsed = SdpAnswer::from_sdp_string(&sdp).expect("an answer that parses");
    scene
        .peer
        .sdp_api()
        .accept_answer(pending, parsed)
        .expect("an answer that fits");
    scene.run(Duration::from_millis(500));
    scene.stream(5);
    assert_eq!(scene.got.len(), before + 15);
}

#[test]
fn silent_peer_loses_consent_and_goodbye_ends_the_session() {
    let mut scene = Scene::new(true);
    scene.run_until_connected();
    let Ours::Lean(viewer) = &mut scene.ours else {
        unreachable!("a lean scene")
    };
    let later = scene.now + Duration::from_secs(31);
    viewer.handle_timeout(later, &mut scene.out);
    assert_eq!(
        viewer.ended().map(|e| e.reason().to_owned()).as_deref(),
        Some("consent_lost")
    );

    let mut scene = Scene::new(true);
    scene.run_until_connected();
    scene.peer.close().expect("a peer that can close");
    scene.drain_peer();
    let Ours::Lean(viewer) = &scene.ours else {
        unreachable!("a lean scene")
    };
    assert_eq!(
        viewer.ended().map(|e| e.reason().to_owned()).as_deref(),
        Some("peer_closed")
    );
}
