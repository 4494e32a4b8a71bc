//! A whole session: any offer is answered or refused, and whatever datagrams follow, the session
//! waits or ends.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use stagecast_core::packet::Format;
use stagecast_core::session::peer::Step;
use stagecast_core::session::{
    Addresses, Credentials, PublishOptions, Publisher, SessionConfig, Viewer,
};
use stagecast_core::{Codec, hub::ReaderPolicy};
use str0m::net::Protocol;

const OFFER: &str = include_str!("../corpus/sdp/chromium.sdp");
/// Turns a session may take to settle after one input.
const TURNS: usize = 10_000;

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
    let mut now = base();
    let mut rest = rest;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(after.len());
        let (datagram, after) = after.split_at(len);
        rest = after;
        now += Duration::from_millis(10);
        session.take(now, datagram);
        if session.settle(now) {
            return;
        }
    }
    // Nobody connected: some time later it is over.
    now += Duration::from_secs(60);
    session.tick(now);
    assert!(session.settle(now), "a session nobody connects to ends");
}

enum Session {
    Publisher(Box<Publisher>),
    Viewer(Box<Viewer>),
}

impl Session {
    fn take(&mut self, now: Instant, datagram: &[u8]) {
        let peer = match self {
            Self::Publisher(publisher) => &mut publisher.peer,
            Self::Viewer(viewer) => &mut viewer.peer,
        };
        peer.handle_datagram(now, Protocol::Udp, address(40_000), address(8189), datagram);
    }

    fn tick(&mut self, now: Instant) {
        match self {
            Self::Publisher(publisher) => publisher.peer.handle_timeout(now),
            Self::Viewer(viewer) => viewer.peer.handle_timeout(now),
        }
    }

    /// Polls until the session waits; true when it has ended.
    fn settle(&mut self, now: Instant) -> bool {
        for _ in 0..TURNS {
            let step = match self {
                Self::Publisher(publisher) => publisher.peer.poll(now),
                Self::Viewer(viewer) => viewer.peer.poll(now),
            };
            match (step, &mut *self) {
                (Step::Wait(at), _) => {
                    assert!(at > now, "a session that waits does not spin");
                    return false;
                }
                (Step::Ended(_), _) => return true,
                (Step::Media(event), Self::Publisher(publisher)) => {
                    publisher.handle_event(*event, now);
                }
                (Step::Media(event), Self::Viewer(viewer)) => {
                    viewer.handle_event(*event);
                }
                (Step::Transmit(_) | Step::Connected, _) => {}
            }
        }
        panic!("the session does not settle");
    }
}

fn open(viewer: bool, offer: &str) -> Option<Session> {
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
        let stream = [Format::plain(Codec::Opus), Format::plain(Codec::Vp8)];
        let policy = ReaderPolicy::default();
        let made = Viewer::answer(
            config,
            credentials,
            addresses,
            offer,
            &stream,
            policy,
            1,
            base(),
        );
        return accepted(made).map(|v| Session::Viewer(Box::new(v)));
    }
    let options = PublishOptions {
        codec: None,
        audio: true,
        video: true,
    };
    let made = Publisher::answer(config, credentials, addresses, offer, options, base());
    accepted(made).map(|p| Session::Publisher(Box::new(p)))
}

fn accepted<T>(made: Result<(T, String), stagecast_core::session::Refusal>) -> Option<T> {
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
