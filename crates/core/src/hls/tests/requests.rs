//! What players ask a view for, and what the playlist promises them.

use super::*;

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
