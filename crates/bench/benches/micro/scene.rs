//! Connected pairs in memory: viewers of the server's core, and the load generator's side of
//! ICE, DTLS and SRTP as their peers. Time is virtual.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stagecast_bench::link::{Credentials, Identity, Link, Progress};
use stagecast_bench::sdp::{Offer, Remote};
use stagecast_core::hub::ring::Limits;
use stagecast_core::hub::{Inbound, ReaderPolicy, Source};
use stagecast_core::id::SourceKey;
use stagecast_core::outbox::{Outbox, Path};
use stagecast_core::packet::Format;
use stagecast_core::session::offer::{self, Role};
use stagecast_core::session::{self, Addresses, SessionConfig, ViewerSetup};
use stagecast_core::srtp::Sealer;
use stagecast_core::viewer::Viewer;
use stagecast_core::{Codec, Kind};
use stagecast_proto::rtcp::Nack;
use stagecast_proto::rtp::Header;
use stagecast_proto::stun::{Datagram, classify};

use super::counter::{Cost, Counter};
use super::{FRAME, PAYLOAD};

const TICK: Duration = Duration::from_millis(33);

fn format() -> Format {
    Format {
        profile_level_id: 0x0042_e01f,
        packetization_mode: 1,
        ..Format::plain(Codec::H264)
    }
}

fn address(n: usize) -> SocketAddr {
    ([10, 1, (n >> 8) as u8, n as u8], 5000).into()
}

fn server() -> SocketAddr {
    ([10, 0, 0, 1], 8189).into()
}

fn path(n: usize) -> Path {
    Path {
        remote: address(n),
        local: Some(server().ip()),
        tcp: false,
    }
}

/// A viewer of the core and what its peer needs to send RTCP.
pub struct Pair {
    pub viewer: Viewer,
    sealer: Sealer,
    /// SSRC of the video, and the newest sequence number that reached it.
    newest: (u32, u16),
}

/// One source and its viewers.
pub struct Scene {
    pub viewers: Vec<Pair>,
    pub out: Outbox,
    source: Source,
    now: Instant,
    seq: u64,
}

impl Scene {
    /// Viewers that are connected and live.
    pub fn new(viewers: usize) -> Self {
        let now = Instant::now();
        let mut counter = Counter::unused();
        let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
        source.begin(1);
        let mut hands = Hands::new();
        let pairs = (0..viewers)
            .map(|n| hands.shake(&mut counter, n, now).0)
            .collect();
        let mut scene = Self {
            viewers: pairs,
            out: Outbox::default(),
            source,
            now,
            seq: 1000,
        };
        // A keyframe, and time to be live.
        for _ in 0..4 {
            scene.ingest_frame();
            let mut out = Outbox::default();
            scene.deliver(&mut out);
        }
        scene
    }

    /// The next frame of the publisher; the first is a keyframe.
    pub fn ingest_frame(&mut self) {
        self.now += TICK;
        let first = self.seq == 1000;
        for part in 0..FRAME {
            self.seq += 1;
            let head: u8 = if first { 0x65 } else { 0x41 };
            let mut payload = vec![part as u8; PAYLOAD];
            payload[0] = head;
            payload[1] = if part == 0 { 0x88 } else { 0 };
            let inbound = Inbound {
                seq: self.seq,
                timestamp: (self.seq / FRAME as u64 * 3000) as u32,
                marker: part + 1 == FRAME,
                format: format(),
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
    }

    /// What is new goes to every viewer.
    pub fn deliver(&mut self, out: &mut Outbox) {
        for pair in &mut self.viewers {
            pair.viewer.deliver(&self.source, self.now, out);
        }
    }

    /// A sealed NACK of each viewer for every fourth of the last packets.
    pub fn nacks(&mut self) -> Vec<Vec<u8>> {
        self.note_newest();
        self.now += TICK;
        let mut all = Vec::new();
        for pair in &mut self.viewers {
            let (ssrc, newest) = pair.newest;
            let mut nack = Vec::new();
            let lost = (0..12_u16).rev().map(|n| newest.wrapping_sub(n * 4));
            Nack::write(&mut nack, 77, ssrc, lost);
            pair.sealer.seal_rtcp(&mut nack).expect("an index is left");
            all.push(nack);
        }
        all
    }

    /// Handle those NACKs and send again.
    pub fn resend(&mut self, nacks: &mut [Vec<u8>], out: &mut Outbox) {
        for (n, (pair, nack)) in self.viewers.iter_mut().zip(nacks).enumerate() {
            let handled = pair.viewer.handle_datagram(self.now, path(n), nack, out);
            if handled.lost {
                pair.viewer.resend(&self.source, self.now, out);
            }
        }
    }

    fn note_newest(&mut self) {
        let out = &self.out;
        for run in out.runs() {
            for range in run.datagrams() {
                let bytes = &out.arena()[range];
                if classify(bytes) != Datagram::Rtp {
                    continue;
                }
                let header = Header::parse(bytes).expect("a packet of our own");
                let SocketAddr::V4(to) = run.path.remote else {
                    continue;
                };
                let [_, _, high, low] = to.ip().octets();
                let pair = &mut self.viewers[usize::from(high) << 8 | usize::from(low)];
                pair.newest = (header.ssrc, header.sequence);
            }
        }
    }
}

/// Makes connected pairs.
struct Hands {
    config: SessionConfig,
    identity: Identity,
}

impl Hands {
    fn new() -> Self {
        let timeout = Duration::from_secs(3600);
        Self {
            config: SessionConfig::new(timeout, timeout).expect("a certificate"),
            identity: Identity::new().expect("a certificate"),
        }
    }

    /// Offer, answer, ICE and DTLS; the cost is the server's part only.
    fn shake(&mut self, counter: &mut Counter, n: usize, now: Instant) -> (Pair, Cost) {
        let credentials = Credentials::new([n as u8; 20]);
        let offer = Offer {
            credentials: &credentials,
            fingerprint: &self.identity.fingerprint,
            local: address(n),
            sends: None,
            video: &[Codec::H264],
            audio: true,
        };
        let text = offer.to_sdp();
        let mut made = None;
        let mut cost = counter.measure(|| made = Some(self.answer(n, &text, now)));
        let (mut viewer, answer) = made.expect("it was made");
        let remote = Remote::parse(&answer).expect("an answer of our own");
        let mut link = Link::new(&self.identity, credentials, remote, now).expect("a candidate");
        let mut theirs = Outbox::default();
        link.handle_timeout(now, &mut theirs);
        for _ in 0..40 {
            let mut ours = Outbox::default();
            for bytes in datagrams(&theirs) {
                let mut bytes = bytes;
                cost += counter.measure(|| {
                    viewer.handle_datagram(now, path(n), &mut bytes, &mut ours);
                });
            }
            theirs.clear();
            for bytes in datagrams(&ours) {
                let progress = match classify(&bytes) {
                    Datagram::Stun => link.handle_stun(now, server(), &bytes, &mut theirs),
                    _ => link.handle_dtls(now, &bytes, &mut theirs),
                };
                assert!(!matches!(progress, Progress::Ended(_)), "{progress:?}");
            }
            if viewer.is_connected()
                && let Some((sealer, _)) = link.take_keys()
            {
                let newest = (0, 0);
                let pair = Pair {
                    viewer,
                    sealer,
                    newest,
                };
                return (pair, cost);
            }
        }
        panic!("viewer {n} did not connect");
    }

    fn answer(&self, n: usize, text: &str, now: Instant) -> (Viewer, String) {
        let setup = ViewerSetup {
            credentials: session::Credentials {
                ufrag: format!("00{n:06}"),
                password: format!("{n:0>32}"),
            },
            addresses: Addresses {
                udp: vec![server()],
                tcp: Vec::new(),
            },
            formats: &[format()],
            policy: ReaderPolicy::default(),
            random: [(n as u8).wrapping_mul(8) | 8; 10],
            now,
        };
        let parsed = offer::parse(text, Role::Viewer).expect("our own offer");
        Viewer::answer(&self.config, setup, &parsed).expect("an answer")
    }
}

fn datagrams(out: &Outbox) -> Vec<Vec<u8>> {
    let runs = out.runs().iter();
    runs.flat_map(|run| run.datagrams().map(|range| out.arena()[range].to_vec()))
        .collect()
}

/// The server's part of one join.
pub fn join(counter: &mut Counter, n: usize) -> Cost {
    thread_local! {
        static HANDS: std::cell::RefCell<Hands> = std::cell::RefCell::new(Hands::new());
    }
    HANDS.with_borrow_mut(|hands| hands.shake(counter, n, Instant::now()).1)
}
