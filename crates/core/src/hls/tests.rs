//! Sources in virtual time, and what players would see of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::frame::{Config, Frame};
use stagecast_proto::codec::Codec;
use stagecast_proto::hls::{multivariant, with_query};

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

#[test]
#[allow(clippy::float_cmp)] // what is written in decimal is read as the same number
fn segments_are_cut_at_keyframes_and_parts_are_whole_frames() {
    let mut house = House::new(Settings::default());
    house.play(0, 9_000_000, 30, 60);
    let playlist = house.playlist("video");
    check(&playlist);
    assert_eq!(number(&playlist, "#EXT-X-TARGETDURATION:"), 2.0);
    assert_eq!(number(&playlist, "#EXT-X-PART-INF:PART-TARGET="), 0.2);
    assert_eq!(values(&playlist, "#EXTINF:"), ["2.0,"; 4]);
    let parts = values(&playlist, "#EXT-X-PART:");
    let independent = parts
        .iter()
        .filter(|part| part.ends_with("INDEPENDENT=YES"));
    assert_eq!(
        independent.count(),
        4,
        "three listed segments and the open one"
    );
    assert!(parts.iter().all(|part| part.starts_with("DURATION=0.2,")));
    assert!(playlist.contains("#EXT-X-INDEPENDENT-SEGMENTS"));
}

#[test]
fn part_is_there_with_its_last_frame_not_with_the_next_one() {
    let mut house = House::new(Settings::default());
    house.play(0, 4_000_000, 30, 60);
    let video = config(Codec::H264, AVC);
    for frame in 0..6 {
        let at_us = 4_000_000 + frame * 1_000_000 / 30;
        house.frame("video", &video, at_us, frame == 0, &[7; 5000]);
        let parts = house.view("video").open_parts();
        assert_eq!(parts, u32::from(frame == 5), "after frame {frame}");
    }
}

#[test]
fn sound_is_cut_where_video_was() {
    let mut house = House::new(Settings::default());
    house.play(0, 9_000_000, 30, 60);
    let playlist = house.playlist("audio");
    check(&playlist);
    let video = values(&house.playlist("video"), "#EXT-X-PROGRAM-DATE-TIME:").len();
    assert_eq!(values(&playlist, "#EXT-X-PROGRAM-DATE-TIME:").len(), video);
    let (audio, video) = (house.view("audio"), house.view("video"));
    assert_eq!(audio.open, video.open);
    for (audio, video) in audio.segments.iter().zip(&video.segments) {
        let apart = audio.head.captured_us - video.head.captured_us;
        assert!((0..30_000).contains(&apart), "{apart} µs");
    }
}

#[test]
fn window_slides_and_late_players_still_find_what_it_left() {
    let mut house = House::new(Settings::default());
    house.play(0, 61_000_000, 30, 60);
    let view = house.view("video");
    let playlist = house.playlist("video");
    assert_eq!(values(&playlist, "#EXTINF:").len(), 6);
    let first = number(&playlist, "#EXT-X-MEDIA-SEQUENCE:") as u64;
    assert_eq!(first + 6, view.open);
    assert!(matches!(view.segment(first - 6), Found::Bytes(_)));
    assert!(matches!(view.segment(first - 7), Found::No));
    let Found::Bytes(segment) = view.segment(first) else {
        panic!("a listed segment is there");
    };
    // The open segment has five parts, and six with ten each are listed before it.
    let first_part = view.next_part - 5 - 60;
    let parts: Vec<u8> = (0..10)
        .flat_map(|part| match view.part(first_part + part) {
            Found::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(parts, segment, "a segment is its parts");
    assert!(matches!(view.part(first_part - 60), Found::Bytes(_)));
    assert!(matches!(view.part(first_part - 61), Found::No));
}

#[test]
fn blocking_reload_knows_what_is_there_and_what_is_absurd() {
    let mut house = House::new(Settings::default());
    house.play(0, 8_500_000, 30, 60);
    let view = house.view("video");
    let open = view.open;
    assert_eq!(view.open_parts(), 2);
    assert!(view.has(open - 1, None) && view.has(open, Some(1)) && view.has(open - 1, Some(9)));
    assert!(!view.has(open, None) && !view.has(open, Some(2)));
    assert!(
        view.has(open - 1, Some(10)),
        "stands for the first part of the next segment"
    );
    assert!(matches!(view.part(view.next_part), Found::Later));
    assert!(matches!(view.part(view.next_part + 1), Found::No));
    assert!(!view.is_absurd(open + 1, None) && !view.is_absurd(open, Some(5)));
    assert!(view.is_absurd(open + 2, None) && view.is_absurd(open, Some(100)));
}

/// What the hint names is what the playlist then has as its next part, whichever segment that is in:
/// segments of whole parts, and segments that end within one.
#[test]
fn hint_names_the_next_part_across_segment_ends() {
    let uri = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let last = |playlist: &str| {
        values(playlist, "#EXT-X-PART:")
            .last()
            .map(|part| uri(part))
    };
    let hint = |playlist: &str| uri(values(playlist, "#EXT-X-PRELOAD-HINT:")[0]);
    let configs = [
        ("video", config(Codec::H264, AVC)),
        ("audio", config(Codec::Aac, &[0x11, 0x90])),
    ];
    for gop in [54, 51] {
        let mut house = House::new(Settings::default());
        house.play(0, 4_000_000, 30, 60);
        let pictures = (0..300).map(|n| ((120 + n) * 1_000_000 / 30, 0, n % gop == 0));
        let sounds = (188..657).map(|index| (index * 1024 * 1000 / 48, 1, true));
        let mut frames: Vec<_> = pictures.chain(sounds).collect();
        frames.sort_unstable();
        let (mut hints, mut kept_over_an_end) = (0, 0);
        for (at_us, track, keyframe) in frames {
            let (name, config) = &configs[track];
            let (before, open) = (house.playlist(name), house.view(name).open);
            house.frame(name, config, at_us, keyframe, &[7; 500]);
            let (after, view) = (house.playlist(name), house.view(name));
            if last(&after) == last(&before) {
                assert_eq!(hint(&after), hint(&before), "it does not change");
                kept_over_an_end += u32::from(view.open > open);
                continue;
            }
            assert_eq!(
                last(&after),
                Some(hint(&before)),
                "{name}\n{before}\n{after}"
            );
            hints += 1;
        }
        assert!(hints >= 100, "{hints}");
        assert!(gop == 51 || kept_over_an_end >= 4, "{kept_over_an_end}");
    }
}

#[test]
fn hint_of_a_stream_that_ended_names_nothing() {
    let mut house = House::new(Settings::default());
    house.play(0, 4_100_000, 30, 60);
    let before = house.view("video").next_part;
    house.muxer.end();
    house.look();
    let view = house.view("video");
    assert!(
        matches!(view.part(before), Found::Bytes(_)),
        "the frames that waited"
    );
    assert!(matches!(view.part(before + 1), Found::No));
    assert!(!house.playlist("video").contains("PRELOAD-HINT"));
}

#[test]
fn parts_of_a_later_muxer_have_higher_numbers() {
    let mut house = House::new(Settings::default());
    house.play(0, 20_000_000, 30, 60);
    let wall = Wall {
        instant: house.began,
        unix_us: UNIX_US + 20_000_000,
    };
    let reached = house
        .view("audio")
        .next_part
        .max(house.view("video").next_part);
    house.muxer = Muxer::new(Settings::default(), wall);
    house.muxer.begin();
    house.play(0, 4_000_000, 30, 60);
    for name in ["video", "audio"] {
        assert!(house.view(name).segments[0].parts[0].number > reached);
    }
}

#[test]
#[allow(clippy::float_cmp)]
fn keyframes_far_apart_make_a_longer_target() {
    let mut house = House::new(Settings::default());
    house.play(0, 21_000_000, 25, 125);
    let playlist = house.playlist("video");
    check(&playlist);
    assert_eq!(number(&playlist, "#EXT-X-TARGETDURATION:"), 5.0);
    assert_eq!(values(&playlist, "#EXTINF:"), ["5.0,"; 4]);
    check(&house.playlist("audio"));
}

#[test]
fn missing_keyframes_make_segments_that_are_not_independent() {
    let mut house = House::new(Settings::default());
    house.play(0, 8_000_000, 30, 60);
    let video = config(Codec::H264, AVC);
    for frame in 240..480 {
        house.frame("video", &video, frame * 1_000_000 / 30, false, &[7; 500]);
    }
    let playlist = house.playlist("video");
    check(&playlist);
    assert!(!playlist.contains("#EXT-X-INDEPENDENT-SEGMENTS"));
}

#[test]
fn keyframe_is_wanted_when_a_segment_is_long_enough() {
    let mut house = House::new(Settings::default());
    house.play(0, 3_900_000, 30, 60);
    assert!(!house.muxer.wants_keyframe());
    let video = config(Codec::H264, AVC);
    for frame in 117..130 {
        house.frame("video", &video, frame * 1_000_000 / 30, false, &[7; 500]);
    }
    assert!(house.muxer.wants_keyframe());
    house.frame("video", &video, 130 * 1_000_000 / 30, true, &[7; 500]);
    assert!(!house.muxer.wants_keyframe());
}

/// Pictures of 30 a second with a keyframe each second, and the same in a smaller size, which comes later.
fn play_with_rung(house: &mut House, seconds: i64, late: i64) {
    let video = config(Codec::H264, AVC);
    let small = config(Codec::H264, &[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1]);
    for frame in 0..seconds * 30 {
        house.frame(
            "video",
            &video,
            frame * 1_000_000 / 30,
            frame % 30 == 0,
            &[7; 500],
        );
        let old = frame - late;
        if old >= 0 {
            let at_us = old * 1_000_000 / 30;
            house.layer("video", "480p", &small, at_us, old % 30 == 0, &[7; 200]);
        }
    }
}

#[test]
fn rungs_are_cut_where_the_original_is_and_numbered_as_it_is() {
    for late in [1, 20, 75] {
        let mut house = House::new(Settings::default());
        house.muxer.expect_ladder();
        house.rungs(&["480p"]);
        play_with_rung(&mut house, 20, late);
        let (original, rung) = (house.view("video"), house.view("video-480p"));
        check(&house.playlist("video-480p"));
        let starts = |view: &View| -> Vec<_> {
            let all = view.segments.iter();
            all.map(|s| (s.number, s.head.captured_us, s.duration_us))
                .collect()
        };
        let (original, rung) = (starts(original), starts(rung));
        assert!(rung.len() >= 5, "{late}: {rung:?}");
        let first = rung[0].0;
        let same: Vec<_> = original.iter().filter(|s| s.0 >= first).copied().collect();
        assert_eq!(same[..rung.len()], rung[..], "{late}");
    }
}

#[test]
fn players_wait_for_rungs_that_were_promised_but_not_for_ever() {
    let mut house = House::new(Settings::default());
    house.muxer.expect_ladder();
    house.play(0, 3_000_000, 30, 30);
    assert_eq!(house.muxer.listing(), None);
    house.play(3_000_000, 9_000_000, 30, 30);
    assert!(house.muxer.listing().is_some(), "no worker ever came");

    let mut house = House::new(Settings::default());
    house.muxer.expect_ladder();
    house.rungs(&[]);
    house.play(0, 3_000_000, 30, 30);
    assert!(
        house.muxer.listing().is_some(),
        "the picture is small already"
    );

    let mut house = House::new(Settings::default());
    house.muxer.expect_ladder();
    house.rungs(&["480p"]);
    play_with_rung(&mut house, 5, 10);
    let listing = house.muxer.listing().expect("both are there");
    let names: Vec<_> = listing.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["video", "video-480p"]);
}

#[test]
fn discontinuity_numbers_are_small_and_grow_when_a_segmenter_starts_anew() {
    let numbers = [0, 30].map(|later| {
        let wall = Wall {
            instant: Instant::now(),
            unix_us: UNIX_US + later * 1_000_000,
        };
        let mut house = House::new(Settings::default());
        house.muxer = Muxer::new(Settings::default(), wall);
        house.play(0, 5_000_000, 30, 30);
        number(&house.playlist("video"), "#EXT-X-DISCONTINUITY-SEQUENCE:")
    });
    assert!(numbers[0] < numbers[1], "{numbers:?}");
    assert!(numbers[1] < 5000.0, "hls.js walks from zero: {numbers:?}");
}

#[test]
fn another_publisher_is_a_discontinuity_in_all_renditions() {
    let mut house = House::new(Settings::default());
    house.play(0, 5_000_000, 30, 60);
    house.muxer.pause();
    house.muxer.begin();
    house.play(0, 3_100_000, 30, 60);
    for name in ["video", "audio"] {
        let playlist = house.playlist(name);
        check(&playlist);
        assert_eq!(
            values(&playlist, "#EXT-X-DISCONTINUITY").len(),
            2,
            "the tag and the sequence"
        );
        let view = house.view(name);
        assert_eq!(
            view.head.discontinuity,
            house.view("video").head.discontinuity
        );
    }
    house.play(3_100_000, 30_000_000, 30, 60);
    let playlist = house.playlist("video");
    assert!(
        !playlist.contains("#EXT-X-DISCONTINUITY\n"),
        "it has left the window"
    );
    let before = house.view("video").head.discontinuity;
    assert_eq!(
        number(&playlist, "#EXT-X-DISCONTINUITY-SEQUENCE:") as u64,
        before
    );
}

#[test]
fn another_codec_is_a_discontinuity_with_another_map() {
    let mut house = House::new(Settings::default());
    house.play(0, 4_000_000, 30, 60);
    let smaller = config(Codec::H264, &[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1]);
    for frame in 120..240 {
        let at_us = frame * 1_000_000 / 30;
        house.frame("video", &smaller, at_us, frame % 60 == 0, &[7; 500]);
    }
    let playlist = house.playlist("video");
    check(&playlist);
    assert_eq!(values(&playlist, "#EXT-X-MAP:").len(), 2);
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    let map = values(&playlist, "#EXT-X-MAP:URI=\"init-")[1];
    let number = map.trim_end_matches(".mp4\"").parse().unwrap();
    let Found::Bytes(init) = house.view("video").init(number) else {
        panic!("the map is there");
    };
    assert!(init.windows(4).any(|bytes| bytes == [1, 0x42, 0xc0, 0x1e]));
}

#[test]
fn end_completes_the_last_segment() {
    let mut house = House::new(Settings::default());
    house.play(0, 5_050_000, 30, 60);
    house.muxer.end();
    house.look();
    let playlist = house.playlist("video");
    check(&playlist);
    assert!(playlist.ends_with("#EXT-X-ENDLIST\n"));
    assert!(!playlist.contains("PRELOAD-HINT"));
    let view = house.view("video");
    let all: i64 = view
        .segments
        .iter()
        .map(|segment| segment.duration_us)
        .sum();
    assert!((all - 5_066_667).abs() < 40_000, "{all}");
    assert!(view.has(view.open + 100, None), "nobody waits for more");
}

#[test]
fn presentation_times_of_reordered_frames_are_kept() {
    let mut house = House::new(Settings::default());
    let video = config(Codec::H264, AVC);
    for frame in 0..180_i64 {
        let dts = frame * 40_000;
        let pts = dts + [80_000, 160_000, 40_000, 40_000][(frame % 4) as usize];
        house.frame_with_delay("video", &video, (dts, pts), frame % 50 == 0, &[7; 100]);
    }
    check(&house.playlist("video"));
    let view = house.view("video");
    let Found::Bytes(segment) = view.segment(view.open - 1) else {
        panic!("the last segment is there");
    };
    let trun = segment.windows(4).position(|name| name == b"trun").unwrap();
    let offset = |sample: usize| {
        let at = trun + 16 + 16 * sample + 12;
        i32::from_be_bytes(segment[at..at + 4].try_into().unwrap())
    };
    let expected = [80, 160, 40, 40].map(|ms| ms * 90);
    let at =
        usize::try_from((view.open - 1 - house.view("video").segments[0].number) * 50 % 4).unwrap();
    for sample in 0..5 {
        assert_eq!(
            offset(sample),
            expected[(sample + at) % 4],
            "sample {sample}"
        );
    }
}

#[test]
fn jitter_and_freezes_keep_every_rule() {
    let mut house = House::new(Settings::default());
    let (video, audio) = (config(Codec::H264, AVC), config(Codec::Opus, &[0; 11]));
    let mut seed = 42_u64;
    let mut chance = |below: i64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.cast_unsigned()).cast_signed()
    };
    let mut freeze = 0;
    for frame in 0..3000_i64 {
        if chance(200) == 0 {
            freeze += chance(1_500_000);
        }
        let at_us = frame * 1_000_000 / 30 + freeze + chance(12_000);
        house.frame("video", &video, at_us, frame % 45 == 0, &[7; 100]);
        for sound in 0..=(frame % 2) {
            let at_us = frame * 1_000_000 / 30 + freeze + sound * 20_000 + chance(3_000);
            house.frame("audio", &audio, at_us, true, &[9; 50]);
        }
        for (name, view) in &house.views {
            let playlist = with_query(&view.playlist(false), "");
            if frame % 100 == 0 {
                check(&playlist);
            }
            let decode_times = view.parts.iter().map(|part| part.duration_us);
            assert!(decode_times.clone().all(|us| us > 0), "{name}");
        }
    }
}

#[test]
fn dvr_lists_all_and_delta_updates_skip_what_is_old() {
    let settings = Settings {
        dvr_us: Some(i64::MAX),
        ..Settings::default()
    };
    let mut house = House::new(settings);
    house.play(0, 401_000_000, 10, 20);
    let view = house.view("video");
    let playlist = house.playlist("video");
    check(&playlist);
    assert_eq!(values(&playlist, "#EXTINF:").len(), 200);
    assert!(playlist.contains("#EXT-X-PLAYLIST-TYPE:EVENT"));
    let delta = with_query(&view.playlist(true), "");
    let skipped = number(&delta, "#EXT-X-SKIP:SKIPPED-SEGMENTS=") as usize;
    let left = values(&delta, "#EXTINF:").len();
    assert_eq!(skipped + left, 200);
    assert!(
        (6..=8).contains(&left),
        "{left} segments are nearer than six target durations"
    );
    assert!(delta.len() * 4 < playlist.len());
    let first = number(&playlist, "#EXT-X-MEDIA-SEQUENCE:") as u64;
    assert!(matches!(view.segment(first), Found::Old));
    assert!(house.kept.contains(&first), "it went to disk");
    assert!(house.forgotten.is_none());
}

#[test]
fn dvr_of_some_time_forgets_what_is_older() {
    let settings = Settings {
        dvr_us: Some(120_000_000),
        ..Settings::default()
    };
    let mut house = House::new(settings);
    house.play(0, 600_000_000, 10, 20);
    let playlist = house.playlist("video");
    check(&playlist);
    let listed = values(&playlist, "#EXTINF:").len();
    assert!((60..60 + 64 + 8).contains(&listed), "{listed}");
    let first = number(&playlist, "#EXT-X-MEDIA-SEQUENCE:") as u64;
    assert_eq!(house.forgotten, Some(first));
}

#[test]
fn listing_waits_for_all_and_tells_measured_rates() {
    let mut house = House::new(Settings::default());
    house.play(0, 1_900_000, 30, 60);
    assert_eq!(house.muxer.listing(), None);
    house.play(1_900_000, 8_000_000, 30, 60);
    let listing = house.muxer.listing().expect("segments are complete");
    let video = listing
        .iter()
        .find(|rendition| rendition.name == "video")
        .unwrap();
    assert!(
        (1_150_000..1_350_000).contains(&video.average_bps),
        "{video:?}"
    );
    assert_eq!(video.codec, "avc1.64001f");
    let multivariant::Media::Video {
        milli_fps,
        resolution,
    } = video.media
    else {
        panic!("video is video");
    };
    assert_eq!((milli_fps, resolution), (30_000, (1280, 720)));
}

#[test]
fn timestamps_that_step_are_another_timeline() {
    let mut house = House::new(Settings::default());
    house.play(0, 4_000_000, 30, 60);
    house.play(5_000_000_000, 5_004_000_000, 30, 60);
    let playlist = house.playlist("video");
    check(&playlist);
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}
