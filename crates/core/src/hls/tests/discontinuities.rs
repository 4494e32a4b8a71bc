//! Publishers, codecs and timelines that change.

use super::*;

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
fn timestamps_that_step_are_another_timeline() {
    let mut house = House::new(Settings::default());
    house.play(0, 4_000_000, 30, 60);
    house.play(5_000_000_000, 5_004_000_000, 30, 60);
    let playlist = house.playlist("video");
    check(&playlist);
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn another_publisher_with_another_picture_is_one_discontinuity() {
    let mut house = House::new(Settings::default());
    house.play(0, 5_000_000, 30, 60);
    house.muxer.pause();
    house.muxer.begin();
    let audio = config(Codec::Aac, &[0x12, 0x10]);
    let video = config(Codec::H264, &[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1]);
    for frame in 0..90_i64 {
        house.frame(
            "video",
            &video,
            frame * 1_000_000 / 30,
            frame % 30 == 0,
            &[1],
        );
        house.frame("audio", &audio, frame * 1_000_000 / 30, true, &[2]);
    }
    for name in ["video", "audio"] {
        let playlist = house.playlist(name);
        check(&playlist);
        assert_eq!(
            playlist.matches("#EXT-X-DISCONTINUITY\n").count(),
            1,
            "{playlist}"
        );
        assert_eq!(playlist.matches("#EXT-X-MAP").count(), 2);
    }
}

#[test]
fn date_is_put_right_when_a_publisher_has_made_up_for_its_late_start() {
    for (track, codec) in [("video", Codec::H264), ("audio", Codec::Opus)] {
        let mut house = House::new(Settings::default());
        let config = config(codec, AVC);
        for n in 0..500_i64 {
            let pts_us = n * 20_000;
            // It comes at twice the speed for a while, and only then is it known when it was captured.
            let late_us = (900_000 - pts_us / 2).max(0);
            let captured = (pts_us + late_us).cast_unsigned();
            let frame = Frame {
                config: Arc::clone(&config),
                pts_us,
                dts_us: pts_us,
                keyframe: n % 50 == 0,
                capture: house.began + Duration::from_micros(captured),
                data: [7; 200].as_slice().into(),
            };
            house.muxer.push(track, "", &frame);
            house.look();
        }
        let segments = &house.view(track).segments;
        let last = segments.last().expect("segments");
        let before = segments[..segments.len() - 1].iter();
        let at_us: i64 = before.map(|segment| segment.duration_us).sum();
        let off = last.head.captured_us - UNIX_US - at_us;
        assert!(off.abs() <= 100_000, "{track}: {off}");
    }
}
