//! The load generator against our own engine on loopback: publishers and viewers on real
//! sockets, the engine answering their offers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use stagecast_bench::clip::Clip;
use stagecast_bench::{Codec, Config, Kind, Load, Network, Polled, Wants};
use stagecast_io::engine::{Engine, EngineConfig};
use stagecast_io::{SourceKey, publish_options};

const PATIENCE: Duration = Duration::from_secs(20);
const FRAME: u64 = 33_333;

fn engine() -> Engine {
    let config = EngineConfig {
        port: 0,
        tcp: false,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        threads: 1,
        ..EngineConfig::default()
    };
    Engine::start(config).expect("an engine")
}

fn key() -> SourceKey {
    SourceKey::new("account/load", None)
}

fn toward() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1).into()
}

fn load(config: Config) -> Load {
    Load::start(config).expect("a load run")
}

/// A second of frames that look like the codec's to a forwarder; a keyframe first.
fn clip(codec: Codec) -> Arc<Clip> {
    let mut clip = Clip::new(Some(codec), true);
    for n in 0..30_u64 {
        let key = n == 0;
        let mut frame = match codec {
            Codec::H264 if key => {
                let mut sets = vec![
                    0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8,
                ];
                sets.extend([0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65, 0x88]);
                sets
            }
            Codec::H264 => vec![0, 0, 0, 1, 0x41, 0x9a],
            Codec::Vp8 if key => vec![0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0],
            Codec::Vp8 => vec![0x11, 2, 0],
            Codec::Vp9 if key => vec![0x82, 0x49, 0x83, 0x42, 0, 0x0f, 0xf0, 0x0f, 0xf0],
            Codec::Vp9 => vec![0x86],
            Codec::Av1 if key => vec![0x12, 0, 0x0a, 4, 0, 0, 0, 2, 0x30],
            _ => vec![0x12, 0, 0x30],
        };
        let size = if key { 6000 } else { 2500 };
        frame.extend((0..size).map(|i: u64| (i * 7 + n * 31) as u8 | 1));
        clip.push(Kind::Video, n * FRAME, &frame).expect("a frame");
    }
    for n in 0..50_u64 {
        let mut frame = vec![0x78];
        frame.extend([n as u8; 60]);
        clip.push(Kind::Audio, n * 20_000, &frame).expect("a frame");
    }
    clip.finish(1_000_000).expect("a whole clip");
    Arc::new(clip)
}

fn publish(load: &Load, engine: &Engine, clip: &Arc<Clip>, obeys: bool) {
    let (id, offer) = load.publisher(toward(), clip, obeys).expect("an offer");
    load.posted(id);
    let options = publish_options(None, true, true);
    let answer = engine
        .publish(key(), &offer, options, true)
        .expect("an answer");
    load.answer(id, &answer.sdp).expect("an answer that fits");
    let end = Instant::now() + PATIENCE;
    while !engine.is_live(&key()) {
        assert!(Instant::now() < end, "not live: {:?}", load.poll());
        sleep(Duration::from_millis(10));
    }
}

fn join(load: &Load, engine: &Engine) -> u64 {
    let all = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1];
    let wants = Wants {
        video: &all,
        audio: true,
    };
    let (id, offer) = load.viewer(toward(), wants).expect("an offer");
    load.posted(id);
    let answer = engine.view(key(), &offer, true).expect("an answer");
    load.answer(id, &answer.sdp).expect("an answer that fits");
    id
}

fn until(load: &Load, what: &str, good: impl Fn(&Polled) -> bool) -> Polled {
    let end = Instant::now() + PATIENCE;
    loop {
        let polled = load.poll();
        if good(&polled) {
            return polled;
        }
        assert!(Instant::now() < end, "{what}: {polled:#?}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn viewers_get_every_packet_and_probes_measure_the_delay_of_every_codec() {
    for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
        let engine = engine();
        let load = load(Config::default());
        publish(&load, &engine, &clip(codec), true);
        for _ in 0..10 {
            join(&load, &engine);
        }
        until(&load, "all play", |p| p.playing == 10);
        load.mark();
        let seen = until(&load, "two seconds of media", |p| {
            p.window.sums.frames >= 600 && p.window.delay_ms.last_packet.count >= 250
        });
        assert_eq!(seen.window.active, 10, "{codec:?}");
        assert_eq!(
            (seen.window.sums.missed, seen.window.sums.lost),
            (0, 0),
            "{codec:?}"
        );
        assert_eq!(seen.window.sums.undecryptable, 0, "{codec:?}");
        assert_eq!(seen.join_ms.keyframe.count, 10, "{codec:?}");
        let delay = &seen.window.delay_ms;
        assert!(delay.first_packet.count >= 250, "{codec:?} {delay:?}");
        assert!(delay.capture.count > 0, "{codec:?} {delay:?}");
        assert!(delay.last_packet.p50 < 1000.0, "{codec:?} {delay:?}");
        assert_eq!(seen.publishers.live, 1);
        assert_eq!(
            seen.profiles.keys().collect::<Vec<_>>(),
            [&"AEAD_AES_256_GCM"]
        );
    }
}

#[test]
fn injected_loss_is_seen_asked_for_and_filled() {
    let engine = engine();
    let network = Network {
        loss: 0.05,
        delay_ms: 20,
        jitter_ms: 10,
    };
    let load = load(Config {
        network,
        seed: 42,
        ..Config::default()
    });
    publish(&load, &engine, &clip(Codec::H264), true);
    for _ in 0..4 {
        join(&load, &engine);
    }
    until(&load, "all play", |p| p.playing == 4);
    load.mark();
    let seen = until(&load, "four seconds of media", |p| {
        p.window.sums.expected > 2500
    });
    let sums = seen.window.sums;
    let raw = sums.missed as f64 / sums.expected as f64;
    assert!((0.02..0.10).contains(&raw), "{sums:?}");
    assert!(sums.nacks > 0 && sums.retransmissions > 0, "{sums:?}");
    assert!(
        sums.filled * 2 > sums.missed,
        "most are video and come again: {sums:?}"
    );
    assert!(sums.frames > 300, "the picture goes on: {sums:?}");
}

#[test]
fn publisher_obeys_a_keyframe_request_or_ignores_it() {
    // Both begin with a keyframe of a clip of one second; the engine asks when a viewer says PLI.
    for (obeys, range) in [(true, 3..100), (false, 1..100)] {
        let engine = engine();
        let load = load(Config::default());
        publish(&load, &engine, &clip(Codec::Vp8), obeys);
        join(&load, &engine);
        let seen = until(&load, "two keyframes", |p| p.publishers.keyframes >= 3);
        assert!(range.contains(&seen.publishers.keyframes));
        assert!(seen.publishers.longest_spread_ms < 1000.0);
        assert!(seen.publishers.frames >= 30 || obeys);
    }
}

#[test]
fn peers_that_leave_are_counted_with_their_reason() {
    let engine = engine();
    let load = load(Config {
        threads: 2,
        offload: true,
        ..Config::default()
    });
    publish(&load, &engine, &clip(Codec::H264), true);
    let ids: Vec<u64> = (0..6).map(|_| join(&load, &engine)).collect();
    until(&load, "all play", |p| p.playing == 6);
    load.close_peer(ids[0]);
    let seen = until(&load, "one has left", |p| p.ended.get("closed") == Some(&1));
    assert_eq!(seen.viewers, 6);
    engine.close();
    until(&load, "the server has left", |p| {
        p.ended.get("closed_by_server") == Some(&5)
    });
    load.close();
}

#[test]
fn answer_that_fits_nothing_is_refused() {
    let load = load(Config::default());
    let all = [Codec::H264];
    let wants = Wants {
        video: &all,
        audio: true,
    };
    let (id, _) = load.viewer(toward(), wants).expect("an offer");
    assert_eq!(
        load.answer(id, "v=0\r\n").expect_err("no answer").code(),
        "load.answer"
    );
    assert_eq!(
        load.answer(id, "v=0\r\n").expect_err("taken").code(),
        "load.answer"
    );
    let nothing = Wants {
        video: &[],
        audio: false,
    };
    assert_eq!(
        load.viewer(toward(), nothing).expect_err("nothing").code(),
        "load.config"
    );
    for config in [
        Config {
            threads: 0,
            ..Config::default()
        },
        Config {
            network: Network {
                loss: 2.0,
                ..Network::default()
            },
            ..Config::default()
        },
    ] {
        assert!(Load::start(config).is_err());
    }
}
