//! Which renditions players are told of, and smaller sizes next to the original.

use super::*;
use stagecast_proto::hls::multivariant;

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
fn players_wait_for_aac_that_follows_other_sound_but_not_for_ever() {
    let settings = Settings {
        aac_follows: true,
        ..Settings::default()
    };
    let opus = config(
        Codec::Opus,
        &stagecast_proto::codec::config::opus::Head::plain(2).to_dops(),
    );
    let aac = config(Codec::Aac, &[0x11, 0x90]);
    for (has_worker, sure) in [(true, 3), (false, 9)] {
        let mut house = House::new(settings);
        let video = config(Codec::H264, AVC);
        let mut listed = None;
        for frame in 0..sure * 50 {
            let at_us = i64::from(frame) * 20_000;
            house.frame("video", &video, at_us, frame % 50 == 0, &[1; 50]);
            house.frame("audio", &opus, at_us, true, &[2; 50]);
            if has_worker && frame >= 75 {
                house.frame("audio-aac", &aac, at_us - 1_500_000, true, &[3; 50]);
            }
            let listing = house.muxer.listing();
            listed = listed.or(listing.map(|listing| (frame, listing)));
        }
        let (frame, listing) = listed.expect("something is listed");
        let names: Vec<_> = listing.iter().map(|r| r.name.as_str()).collect();
        if has_worker {
            assert_eq!(names, ["audio-aac", "video", "audio"]);
        } else {
            assert_eq!(names, ["video", "audio"]);
            assert!((250..350).contains(&frame), "{frame}");
        }
    }
}

#[test]
fn layers_of_one_picture_have_one_frame_rate() {
    let mut house = House::new(Settings::default());
    let config = config(Codec::H264, AVC);
    // A screen that changes 31.4 times a second or so, and of which a layer lost a picture, and one at half of it.
    for frame in 0..300_i64 {
        let at_us = frame * 31_800;
        let keyframe = frame % 60 == 0;
        house.layer("video", "h", &config, at_us, keyframe, &[1; 900]);
        if frame != 17 {
            house.layer("video", "l", &config, at_us, keyframe, &[2; 300]);
        }
        if frame % 2 == 0 {
            house.layer("video", "q", &config, at_us, keyframe, &[3; 100]);
        }
    }
    let rates: Vec<_> = house.muxer.listing().expect("all are there");
    let rates = rates.iter().map(|rendition| match rendition.media {
        multivariant::Media::Video { milli_fps, .. } => (rendition.name.clone(), milli_fps),
        multivariant::Media::Audio { .. } => panic!("there is no sound"),
    });
    let rates: std::collections::HashMap<_, _> = rates.collect();
    assert_eq!(rates["video-h"], rates["video-l"], "{rates:?}");
    assert!((31_400..31_500).contains(&rates["video-h"]), "{rates:?}");
    assert!((15_650..15_800).contains(&rates["video-q"]), "{rates:?}");
}

#[test]
fn players_wait_for_all_layers_that_have_begun_but_not_for_ever() {
    let mut house = House::new(Settings::default());
    let config = config(Codec::H264, AVC);
    let mut listed = Vec::new();
    for frame in 0..240_i64 {
        let at_us = frame * 1_000_000 / 30;
        house.layer("video", "h", &config, at_us, frame % 30 == 0, &[1; 900]);
        if frame >= 15 {
            house.layer("video", "l", &config, at_us, frame % 30 == 15, &[2; 300]);
        }
        if frame == 20 {
            // A keyframe, and then nothing that could follow it.
            house.layer("video", "q", &config, at_us, true, &[3; 100]);
        }
        let names = house.muxer.listing().unwrap_or_default();
        let names: Vec<_> = names.into_iter().map(|rendition| rendition.name).collect();
        if !names.is_empty() && listed.last().is_none_or(|(_, last)| *last != names) {
            listed.push((frame, names));
        }
    }
    let [(frame, names)] = &listed[..] else {
        panic!("it is listed once: {listed:?}");
    };
    assert_eq!(names, &["video-h", "video-l"]);
    assert!((175..200).contains(frame), "{frame}");
}
