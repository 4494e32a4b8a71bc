//! A whole session: any offer is answered or refused, and whatever datagrams follow, the session
//! waits or ends.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use stagecast_core::Codec;
use stagecast_core::hub::ReaderPolicy;
use stagecast_core::outbox::{Outbox, Path};
use stagecast_core::packet::Format;
use stagecast_core::session::peer::Step;
use stagecast_core::session::{
    Addresses, Credentials, PublishOptions, Publisher, Refusal, SessionConfig, ViewerSetup, offer,
};
use stagecast_core::viewer::Viewer;

const OFFER: &str = include_str!("../corpus/sdp/chromium.sdp");
/// Turns a session may take to settle after one input.
const TURNS: usize = 10_000;
/// Bytes a session may send for one datagram of a stranger.
const MAX_REPLY: usize = 20_000;

/// The first byte's lowest bit chooses publisher (0) or viewer (1). With the next bit the rest is an
/// offer; else it is datagrams, each after its length in two bytes.
pub fn session(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    let viewer = choice & 1 == 1;
    if choice & 2 != 0 {
        let _ = open(viewer, &String::from_utf8_lossy(rest));
        return;
    }
    let offer = if viewer {
        OFFER.replace("a=sendonly", "a=recvonly")
    } else {
        OFFER.to_owned()
    };
    let mut session = open(viewer, &offer).expect("a browser's offer is good");
    let mut out = Outbox::default();
    let mut now = base();
    let mut rest = rest.to_vec();
    let mut rest = &mut rest[..];
    while let Some((len, after)) = rest.split_first_chunk_mut::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(after.len());
        let (datagram, after) = after.split_at_mut(len);
        rest = after;
        now += Duration::from_millis(10);
        session.take(now, datagram, &mut out);
        if session.settle(now, &mut out) {
            return;
        }
        assert!(
            out.arena().len() < MAX_REPLY,
            "an answer to a stranger is small"
        );
        out.clear();
    }
    // Nobody connected: some time later it is over.
    now += Duration::from_secs(60);
    session.tick(now, &mut out);
    assert!(
        session.settle(now, &mut out),
        "a session nobody connects to ends"
    );
}

enum Session {
    Publisher(Box<Publisher>),
    Viewer(Box<Viewer>),
}

impl Session {
    fn take(&mut self, now: Instant, datagram: &mut [u8], out: &mut Outbox) {
        let from = Path {
            remote: address(40_000),
            local: Some(address(8189).ip()),
            tcp: false,
        };
        match self {
            Self::Publisher(publisher) => {
                publisher.peer.handle_datagram(now, from, 8189, datagram);
            }
            Self::Viewer(viewer) => {
                viewer.handle_datagram(now, from, datagram, out);
            }
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Outbox) {
        match self {
            Self::Publisher(publisher) => publisher.peer.handle_timeout(now),
            Self::Viewer(viewer) => {
                viewer.handle_timeout(now, out);
            }
        }
    }

    /// Drives it until it waits; true when it has ended.
    fn settle(&mut self, now: Instant, out: &mut Outbox) -> bool {
        for _ in 0..TURNS {
            match self {
                Self::Publisher(publisher) => match publisher.peer.poll(now, out) {
                    Step::Wait(at) => {
                        assert!(at > now, "a session that waits does not spin");
                        return false;
                    }
                    Step::Ended(_) => return true,
                    Step::Media(event) => {
                        publisher.handle_event(*event);
                    }
                    Step::Connected => {}
                },
                Self::Viewer(viewer) if viewer.ended().is_some() => return true,
                Self::Viewer(viewer) if viewer.wake() > now => return false,
                Self::Viewer(viewer) => {
                    viewer.handle_timeout(now, out);
                }
            }
        }
        panic!("the session does not settle");
    }
}

fn open(viewer: bool, text: &str) -> Option<Session> {
    static CONFIG: OnceLock<SessionConfig> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let timeout = Duration::from_secs(15);
        SessionConfig::new(timeout, timeout).expect("a certificate can be made")
    });
    let credentials = Credentials {
        ufrag: "ours0000".into(),
        password: "ours0000ours0000ours0000".into(),
    };
    let addresses = Addresses {
        udp: vec![address(8189)],
        tcp: vec![address(8189)],
    };
    if viewer {
        let setup = ViewerSetup {
            credentials,
            addresses,
            formats: &[Format::plain(Codec::Opus), Format::plain(Codec::Vp8)],
            policy: ReaderPolicy::default(),
            random: [7; 10],
            now: base(),
        };
        let made = offer::parse(text, offer::Role::Viewer)
            .and_then(|offer| Viewer::answer(config, setup, &offer));
        return accepted(made).map(|v| Session::Viewer(Box::new(v)));
    }
    let options = PublishOptions {
        codec: None,
        audio: true,
        video: true,
    };
    let made = Publisher::answer(config, credentials, addresses, text, options, base());
    accepted(made).map(|p| Session::Publisher(Box::new(p)))
}

fn accepted<T>(made: Result<(T, String), Refusal>) -> Option<T> {
    match made {
        Ok((session, answer)) => {
            assert!(answer.starts_with("v=0\r\n") && answer.contains("a=ice-lite"));
            Some(session)
        }
        Err(refusal) => {
            assert!(refusal.code().starts_with("sdp."), "{refusal}");
            None
        }
    }
}

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
