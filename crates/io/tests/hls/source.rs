//! A server with one live source, `x`, whose frames are made by the test.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use stagecast_core::figures::HlsFigures;
use stagecast_core::frame::{Config, Frame};
use stagecast_core::id::SourceKey;
use stagecast_core::{Codec, Kind};
use stagecast_io::admission::Verdict;
use stagecast_io::frames::FrameEvent;
use stagecast_io::hls::{Ask, Boxed, Doors, Frames, HlsConfig, Server};
use stagecast_io::runtime::Runtime;
use tokio::sync::mpsc;

use super::player::Player;

pub struct House {
    runtime: Runtime,
    server: Server,
    doors: Arc<Hands>,
}

/// What the test has in its hands: frames go to whoever reads, and to whoever reads later.
#[derive(Default)]
struct Hands {
    readers: Mutex<Vec<Reader>>,
    played: Mutex<Vec<FrameEvent>>,
    asked: Mutex<Vec<Ask>>,
}

struct Reader {
    sender: mpsc::UnboundedSender<FrameEvent>,
    sent: u64,
    /// How much was taken when there was nothing more to take: then all of it is shown.
    digested: Arc<AtomicU64>,
}

impl Reader {
    fn send(&mut self, event: FrameEvent) -> bool {
        self.sent += 1;
        self.sender.send(event).is_ok()
    }
}

struct Reading {
    events: mpsc::UnboundedReceiver<FrameEvent>,
    taken: u64,
    digested: Arc<AtomicU64>,
}

impl Frames for Reading {
    fn next(&mut self) -> Boxed<'_, Option<FrameEvent>> {
        Box::pin(poll_fn(|context| {
            let polled = self.events.poll_recv(context);
            match polled {
                Poll::Ready(_) => self.taken += 1,
                Poll::Pending => self.digested.store(self.taken, Ordering::SeqCst),
            }
            polled
        }))
    }

    fn try_next(&mut self) -> Option<FrameEvent> {
        let event = self.events.try_recv().ok();
        self.taken += u64::from(event.is_some());
        event
    }
}

impl Doors for Hands {
    fn is_live(&self, key: &SourceKey) -> bool {
        &*key.stream == "a/x"
    }

    fn live(&self) -> Vec<SourceKey> {
        vec![SourceKey::new("a/x", None)]
    }

    fn read(&self, _: SourceKey) -> Box<dyn Frames> {
        let (sender, events) = mpsc::unbounded_channel();
        let digested = Arc::new(AtomicU64::new(0));
        let mut reader = Reader {
            sender,
            sent: 0,
            digested: Arc::clone(&digested),
        };
        let mut readers = self.readers.lock().unwrap();
        reader.send(FrameEvent::Begin { generation: 1 });
        for event in self.played.lock().unwrap().iter() {
            reader.send(event.clone());
        }
        readers.push(reader);
        Box::new(Reading {
            events,
            taken: 0,
            digested,
        })
    }

    fn ask(&self, ask: Ask) -> Boxed<'_, Verdict> {
        self.asked.lock().unwrap().push(ask.clone());
        let verdict = match ask.path.strip_prefix("no-") {
            Some(code) => Verdict::Refuse {
                code: code.into(),
                message: "No.".into(),
            },
            None => Verdict::Admit {
                stream: format!("a/{}", ask.path),
                source: None,
                ladder: false,
            },
        };
        Box::pin(async move { verdict })
    }
}

fn config(codec: Codec, record: &[u8]) -> Arc<Config> {
    let video = codec.kind() == Kind::Video;
    Arc::new(Config {
        codec,
        record: record.into(),
        resolution: if video { (1280, 720) } else { (0, 0) },
        sample_rate: if video { 0 } else { 48_000 },
        channels: if video { 0 } else { 2 },
    })
}

impl House {
    pub fn live() -> Self {
        let runtime = Runtime::start().expect("a runtime");
        let doors = Arc::new(Hands::default());
        let config = HlsConfig {
            bind: vec![IpAddr::from([127, 0, 0, 1])],
            port: 0,
            ..HlsConfig::default()
        };
        let shared = Arc::clone(&doors) as Arc<dyn Doors>;
        let server = Server::start(&config, shared, runtime.handle()).expect("a server");
        Self {
            runtime,
            server,
            doors,
        }
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn figures(&self) -> Vec<HlsFigures> {
        self.server.figures()
    }

    pub fn asked(&self) -> Vec<Ask> {
        self.doors.asked.lock().unwrap().clone()
    }

    /// Picture (30 fps, a keyframe every two seconds) and sound between two times.
    pub fn play(&self, from_ms: i64, to_ms: i64) {
        self.play_keys(from_ms, to_ms, |index| index % 60 == 0);
    }

    /// The same with a keyframe at its first picture too, which ends a segment that is long enough.
    pub fn cut(&self, from_ms: i64, to_ms: i64) {
        let first = from_ms * 30 / 1000;
        self.play_keys(from_ms, to_ms, |index| index == first || index % 60 == 0);
    }

    fn play_keys(&self, from_ms: i64, to_ms: i64, is_key: impl Fn(i64) -> bool) {
        let video = config(Codec::H264, &[1, 0x64, 0, 0x1f, 0xff, 0xe1]);
        let audio = config(Codec::Aac, &[0x11, 0x90]);
        let within = |at_us: i64| at_us >= from_ms * 1000 && at_us < to_ms * 1000;
        let mut frames = Vec::new();
        for index in 0..to_ms {
            let (picture, sound) = (index * 1_000_000 / 30, index * 1024 * 1000 / 48);
            if within(picture) {
                frames.push((
                    picture,
                    "video",
                    &video,
                    is_key(index),
                    5000 + index as usize,
                ));
            }
            if within(sound) {
                frames.push((sound, "audio", &audio, true, 300));
            }
        }
        frames.sort_by_key(|frame| frame.0);
        let mut readers = self.doors.readers.lock().unwrap();
        for (at_us, track, config, keyframe, len) in frames {
            let frame = Frame {
                config: Arc::clone(config),
                pts_us: at_us,
                dts_us: at_us,
                keyframe,
                capture: Instant::now(),
                data: vec![7; len].into(),
            };
            let event = FrameEvent::Frame {
                track: track.into(),
                layer: "".into(),
                frame,
            };
            self.doors.played.lock().unwrap().push(event.clone());
            readers.retain_mut(|reader| reader.send(event.clone()));
        }
        drop(readers);
        self.settle();
    }

    /// Wait until all that was played is shown.
    pub fn settle(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let readers = self.doors.readers.lock().unwrap();
        for reader in readers.iter() {
            while reader.digested.load(Ordering::SeqCst) < reader.sent {
                assert!(Instant::now() < deadline, "frames are not taken");
                std::thread::yield_now();
            }
        }
    }

    /// A house that has played from the start to some time, and a player that has begun to watch.
    pub fn playing(to_ms: i64) -> (Self, Player) {
        let house = Self::live();
        house.play(0, to_ms);
        let mut player = Player::new(&house);
        assert_eq!(player.get("/x/manifest/video.m3u8").status, 200);
        house.settle();
        (house, player)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.runtime.close();
    }
}
