//! What stays listed, what players that are late still find, and DVR.

use super::*;

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
