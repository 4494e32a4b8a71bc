//! Where segments and parts begin and end.

use super::*;

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
fn only_a_keyframe_completes_a_part_while_the_muxer_may_rest() {
    let video = config(Codec::H264, AVC);
    let audio = config(Codec::Aac, &[0x11, 0x90]);
    let sounds = (0..470).map(|i| (i * 1024 * 1000 / 48 + 5_000, false));
    let pictures = (0..300).map(|i| (i * 1_000_000 / 30, true));
    for tracks in [vec![false], vec![false, true]] {
        let mut frames: Vec<(i64, bool)> = sounds.clone().chain(pictures.clone()).collect();
        frames.retain(|(_, picture)| tracks.contains(picture));
        frames.sort_unstable();
        let mut house = House::new(Settings::default());
        let parts = |house: &House| -> u64 { house.views.iter().map(|(_, v)| v.next_part).sum() };
        let (mut rest_until, mut gathered) = (0, 0);
        for &(at_us, picture) in &frames {
            let before = parts(&house);
            let begins = picture && at_us % 2_000_000 == 0;
            let (track, config, size) = if picture {
                ("video", &video, 5000)
            } else {
                ("audio", &audio, 300)
            };
            house.frame(track, config, at_us, begins || !picture, &vec![7; size]);
            if at_us < rest_until {
                gathered += 1;
                assert!(begins || parts(&house) == before, "a part at {at_us}");
            }
            let rest = at_us + house.muxer.rest().as_micros() as i64;
            // A rest ends with a keyframe.
            rest_until = if begins { rest } else { rest_until.max(rest) };
        }
        assert!(
            gathered * 2 > frames.len(),
            "{gathered} of {}",
            frames.len()
        );
    }
}
