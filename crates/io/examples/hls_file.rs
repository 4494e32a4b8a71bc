//! Plays an elementary stream in a loop and serves it as LL-HLS, without an engine around it: for
//! measurements of the HLS server alone, and for looking at what it writes.
//!
//! `hls_file VIDEO.h264 AUDIO.aac FPS PORT`: H.264 as a byte stream with access unit delimiters
//! (`ffmpeg -x264-params aud=1 -bf 0 -f h264`), AAC as ADTS. The stream is called `x`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stagecast_core::frame::{Config, Frame};
use stagecast_core::{Codec, id::SourceKey};
use stagecast_io::admission::Verdict;
use stagecast_io::frames::FrameEvent;
use stagecast_io::hls::{Ask, Boxed, Doors, Frames, HlsConfig, Server};
use stagecast_io::runtime::Runtime;
use stagecast_proto::codec::config::aac::Adts;
use stagecast_proto::codec::config::{annex_b, avc};
use tokio::sync::mpsc;

/// A frame of the file, in microseconds from its start.
#[derive(Clone)]
struct Unit {
    track: &'static str,
    at_us: i64,
    keyframe: bool,
    config: Arc<Config>,
    data: Arc<[u8]>,
}

fn video(path: &str, fps: f64) -> Vec<Unit> {
    let bytes = std::fs::read(path).expect("a video file");
    let (mut sps, mut pps) = (Vec::new(), Vec::new());
    let mut units: Vec<(bool, Vec<u8>)> = Vec::new();
    for nal in annex_b(&bytes) {
        match nal[0] & 31 {
            9 => units.push((false, Vec::new())),
            7 => sps = nal.to_vec(),
            8 => pps = nal.to_vec(),
            kind => {
                let unit = units.last_mut().expect("a delimiter first");
                unit.0 |= kind == 5;
                unit.1.extend((nal.len() as u32).to_be_bytes());
                unit.1.extend(nal);
            }
        }
    }
    let record = avc::record(&[&sps], &[&pps]).expect("parameter sets");
    let resolution = avc::Record::parse(&record).and_then(|record| record.resolution());
    let config = Arc::new(Config {
        codec: Codec::H264,
        record: record.into(),
        resolution: resolution.unwrap_or_default(),
        sample_rate: 0,
        channels: 0,
    });
    let unit = |(index, (keyframe, data)): (usize, (bool, Vec<u8>))| Unit {
        track: "video",
        at_us: (index as f64 * 1e6 / fps) as i64,
        keyframe,
        config: Arc::clone(&config),
        data: data.into(),
    };
    units.into_iter().enumerate().map(unit).collect()
}

fn audio(path: &str) -> Vec<Unit> {
    let bytes = std::fs::read(path).expect("an audio file");
    let mut rest = &bytes[..];
    let mut units = Vec::new();
    while let Some(header) = Adts::parse(rest) {
        let Some((frame, after)) = rest.split_at_checked(header.frame_len) else {
            break;
        };
        let rate = header.config.sample_rate;
        units.push(Unit {
            track: "audio",
            at_us: units.len() as i64 * 1_024_000_000 / i64::from(rate),
            keyframe: true,
            config: Arc::new(Config {
                codec: Codec::Aac,
                record: header.config.write().into(),
                resolution: (0, 0),
                sample_rate: rate,
                channels: header.config.channel_configuration,
            }),
            data: frame[header.header_len..].into(),
        });
        rest = after;
    }
    units
}

/// Pictures carry the time at which they were sent, as the load clients of the measurements read it.
fn stamped(unit: &Unit) -> Arc<[u8]> {
    if unit.track != "video" {
        return Arc::clone(&unit.data);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.as_nanos());
    let mut data = vec![0, 0, 0, 36, 6, 5, 32];
    data.extend_from_slice(format!("STEERSTAMPHEAD01{nanos:016x}").as_bytes());
    data.push(0x80);
    data.extend_from_slice(&unit.data);
    data.into()
}

struct File(Vec<Unit>, i64);

struct Playing(mpsc::Receiver<FrameEvent>);

impl Frames for Playing {
    fn next(&mut self) -> Boxed<'_, Option<FrameEvent>> {
        Box::pin(self.0.recv())
    }

    fn try_next(&mut self) -> Option<FrameEvent> {
        self.0.try_recv().ok()
    }
}

impl Doors for File {
    fn is_live(&self, _: &SourceKey) -> bool {
        true
    }

    fn live(&self) -> Vec<SourceKey> {
        vec![SourceKey::new("a/x", None)]
    }

    fn read(&self, _: SourceKey) -> Box<dyn Frames> {
        let (send, receive) = mpsc::channel(1000);
        let (units, length) = (self.0.clone(), self.1);
        tokio::spawn(async move {
            let begin = tokio::time::Instant::now();
            let _ = send.send(FrameEvent::Begin { generation: 1 }).await;
            for round in 0.. {
                for unit in &units {
                    let at = unit.at_us + round * length;
                    tokio::time::sleep_until(begin + Duration::from_micros(at.cast_unsigned()))
                        .await;
                    let frame = Frame {
                        config: Arc::clone(&unit.config),
                        pts_us: at,
                        dts_us: at,
                        keyframe: unit.keyframe,
                        capture: Instant::now(),
                        data: stamped(unit),
                    };
                    let event = FrameEvent::Frame {
                        track: unit.track.into(),
                        layer: "".into(),
                        frame,
                    };
                    if send.send(event).await.is_err() {
                        return;
                    }
                }
            }
        });
        Box::new(Playing(receive))
    }

    fn ask(&self, ask: Ask) -> Boxed<'_, Verdict> {
        let stream = format!("a/{}", ask.path);
        Box::pin(async move {
            Verdict::Admit {
                stream,
                source: None,
                ladder: false,
            }
        })
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, video_path, audio_path, fps, port] = &arguments[..] else {
        eprintln!("hls_file VIDEO.h264 AUDIO.aac FPS PORT");
        return;
    };
    let fps: f64 = fps.parse().expect("frames a second");
    let mut units = video(video_path, fps);
    let length = (units.len() as f64 * 1e6 / fps) as i64;
    units.extend(
        audio(audio_path)
            .into_iter()
            .filter(|unit| unit.at_us < length),
    );
    units.sort_by_key(|unit| unit.at_us);
    let runtime = Runtime::start().expect("a runtime");
    let config = HlsConfig {
        bind: vec![[127, 0, 0, 1].into()],
        port: port.parse().expect("a port"),
        dvr_seconds: std::env::var("DVR").map_or(0, |s| s.parse().expect("seconds")),
        dvr_dir: std::env::var("DVR_DIR").ok().map(Into::into),
        ..HlsConfig::default()
    };
    let server = Server::start(&config, Arc::new(File(units, length)), runtime.handle());
    let server = server.expect("a server");
    println!("http://127.0.0.1:{}/x/manifest/video.m3u8", server.port());
    loop {
        std::thread::sleep(Duration::from_secs(10));
        println!("{:?}", server.figures());
    }
}
