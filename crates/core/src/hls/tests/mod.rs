//! Sources in virtual time, and what players would see of them.

mod cuts;
mod discontinuities;
mod renditions;
mod requests;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::frame::{Config, Frame};
use stagecast_proto::codec::Codec;
use stagecast_proto::hls::with_query;

/// A muxer, its source's clock, and the newest view of every rendition.
struct House {
    muxer: Muxer,
    began: Instant,
    views: Vec<(Arc<str>, View)>,
    kept: Vec<u64>,
    forgotten: Option<u64>,
}

const AVC: &[u8] = &[1, 0x64, 0, 0x1f, 0xff, 0xe1];
const UNIX_US: i64 = 1_795_264_305_000_000;

fn config(codec: Codec, record: &[u8]) -> Arc<Config> {
    let audio = codec.kind() == stagecast_proto::codec::Kind::Audio;
    Arc::new(Config {
        codec,
        record: record.into(),
        resolution: if audio { (0, 0) } else { (1280, 720) },
        sample_rate: if audio { 48_000 } else { 0 },
        channels: u8::from(audio) * 2,
    })
}

impl House {
    fn new(settings: Settings) -> Self {
        let began = Instant::now();
        let wall = Wall {
            instant: began,
            unix_us: UNIX_US,
        };
        let mut muxer = Muxer::new(settings, wall);
        muxer.begin();
        Self {
            muxer,
            began,
            views: Vec::new(),
            kept: Vec::new(),
            forgotten: None,
        }
    }

    fn frame(
        &mut self,
        track: &str,
        config: &Arc<Config>,
        at_us: i64,
        keyframe: bool,
        data: &[u8],
    ) {
        self.frame_with_delay(track, config, (at_us, at_us), keyframe, data);
    }

    fn frame_with_delay(
        &mut self,
        track: &str,
        config: &Arc<Config>,
        (dts_us, pts_us): (i64, i64),
        keyframe: bool,
        data: &[u8],
    ) {
        let frame = Frame {
            config: Arc::clone(config),
            pts_us,
            dts_us,
            keyframe,
            capture: self.began + Duration::from_micros(pts_us.max(0).cast_unsigned()),
            data: data.into(),
        };
        self.muxer.push(track, "", &frame);
        self.look();
    }

    fn layer(
        &mut self,
        track: &str,
        layer: &str,
        config: &Arc<Config>,
        at_us: i64,
        keyframe: bool,
        data: &[u8],
    ) {
        let frame = Frame {
            config: Arc::clone(config),
            pts_us: at_us,
            dts_us: at_us,
            keyframe,
            capture: self.began + Duration::from_micros(at_us.max(0).cast_unsigned()),
            data: data.into(),
        };
        self.muxer.push(track, layer, &frame);
        self.look();
    }

    fn rungs(&mut self, layers: &[&str]) {
        let layers: Vec<Arc<str>> = layers.iter().map(|&layer| layer.into()).collect();
        self.muxer.expect_rungs(&"video".into(), &layers);
    }

    fn look(&mut self) {
        for change in self.muxer.changes() {
            match change {
                Change::View { name, view } => {
                    match self.views.iter_mut().find(|(n, _)| *n == name) {
                        Some((_, old)) => *old = view,
                        None => self.views.push((name, view)),
                    }
                }
                Change::Keep { segment, .. } => self.kept.push(segment.number),
                Change::Forget { before, .. } => self.forgotten = Some(before),
            }
        }
    }

    fn view(&self, name: &str) -> &View {
        let found = self.views.iter().find(|(known, _)| &**known == name);
        &found.expect("a rendition with that name").1
    }

    fn playlist(&self, name: &str) -> String {
        with_query(&self.view(name).playlist(false), "")
    }

    /// Picture and sound from one time to another, a keyframe every `gop` frames.
    fn play(&mut self, from_us: i64, to_us: i64, fps: i64, gop: i64) {
        let video = config(Codec::H264, AVC);
        let audio = config(Codec::Aac, &[0x11, 0x90]);
        let mut picture = from_us * fps / 1_000_000;
        let mut sound = from_us * 48 / 1024 / 1000;
        loop {
            let picture_at = picture * 1_000_000 / fps;
            let sound_at = sound * 1024 * 1000 / 48;
            if picture_at.min(sound_at) >= to_us {
                return;
            }
            if picture_at <= sound_at {
                let first = picture * 1_000_000 / fps <= from_us;
                self.frame(
                    "video",
                    &video,
                    picture_at,
                    first || picture % gop == 0,
                    &[7; 5000],
                );
                picture += 1;
            } else {
                self.frame("audio", &audio, sound_at, true, &[9; 300]);
                sound += 1;
            }
        }
    }
}

fn values<'a>(playlist: &'a str, tag: &str) -> Vec<&'a str> {
    playlist
        .lines()
        .filter_map(|line| line.strip_prefix(tag))
        .collect()
}

fn number(playlist: &str, tag: &str) -> f64 {
    let text = values(playlist, tag)[0];
    text.split([',', ';']).next().unwrap().parse().unwrap()
}

/// Every rule of time that a playlist must keep, whatever was played.
fn check(playlist: &str) {
    let target = number(playlist, "#EXT-X-TARGETDURATION:");
    let part_target = number(playlist, "#EXT-X-PART-INF:PART-TARGET=");
    for duration in values(playlist, "#EXTINF:") {
        let duration: f64 = duration.trim_end_matches(',').parse().unwrap();
        assert!(
            duration.round() <= target,
            "{duration} > {target}\n{playlist}"
        );
    }
    for part in values(playlist, "#EXT-X-PART:DURATION=") {
        let duration: f64 = part.split(',').next().unwrap().parse().unwrap();
        assert!(
            duration <= part_target,
            "{duration} > {part_target}\n{playlist}"
        );
    }
}
