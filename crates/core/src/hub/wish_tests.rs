use super::*;
use crate::hub::ring::Limits;
use crate::hub::{Inbound, Source};
use crate::id::SourceKey;
use crate::packet::Format;
use stagecast_proto::codec::{Codec, Kind};
use std::time::Duration;

/// Simulcast of VP8: "q" 320x180, "h" 640x360, "f" 1280x720, all alive at `now`.
fn simulcast(now: Instant) -> Source {
    let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
    source.begin(1);
    for (rid, width, bytes) in [("f", 1280_u16, 900), ("h", 640, 300), ("q", 320, 100)] {
        for n in 0..20_u64 {
            let [low, high] = width.to_le_bytes();
            let [low_height, high_height] = (width / 16 * 9).to_le_bytes();
            let inter = u8::from(n > 0);
            let mut payload = vec![0x10, inter, 0, 0, 0x9d, 0x01, 0x2a];
            payload.extend([low, high, low_height, high_height]);
            payload.resize(bytes, 0);
            let age = Duration::from_millis(33 * (19 - n));
            let at = now.checked_sub(age).expect("the machine is up longer");
            let track = source.track_mut("0", Kind::Video, true);
            track.layer_mut(rid).expect("three layers").ingest(Inbound {
                seq: n,
                timestamp: n as u32 * 3000,
                marker: true,
                format: Format::plain(Codec::Vp8),
                arrival: at,
                capture: at,
                media_us: 0,
                audio_level: None,
                dependency: None,
                payload: payload.into(),
            });
        }
    }
    source
}

fn wishes(json: &str) -> Wishes {
    let now = Instant::now();
    let wish: LayerWish = serde_json::from_str(json).expect("a wish");
    simulcast(now).tracks[0].wishes(&wish, now)
}

fn only(layer: usize) -> Wishes {
    let only = Some(layer);
    Wishes { only, max: None }
}

fn most(layer: usize) -> Wishes {
    let max = Some(layer);
    Wishes { only: None, max }
}

#[test]
fn encoding_is_named_by_its_restriction_id() {
    assert_eq!(wishes(r#"{"encodingId":"f"}"#), only(0));
    assert_eq!(wishes(r#"{"encodingId":"q"}"#), only(2));
    let whole = r#"{"encodingId":"h","simulcastIdx":1,"spatialLayerId":255,"temporalLayerId":255,
        "bitrate":1,"width":640,"height":360}"#;
    assert_eq!(wishes(whole), only(1), "an entry of the layers event");
}

#[test]
fn spatial_layer_alone_is_the_place_by_quality() {
    assert_eq!(wishes(r#"{"spatialLayerId":0}"#), only(2));
    assert_eq!(wishes(r#"{"spatialLayerId":2}"#), only(0));
}

#[test]
fn limits_take_the_best_layer_within_them_or_the_lowest() {
    assert_eq!(wishes(r#"{"maxHeight":400}"#), most(1));
    assert_eq!(wishes(r#"{"maxWidth":320,"maxHeight":0}"#), most(2));
    assert_eq!(wishes(r#"{"maxHeight":90}"#), most(2));
    assert_eq!(wishes(r#"{"maxSpatialLayerId":1}"#), most(1));
    assert_eq!(wishes(r#"{"maxBitrate":150000}"#), most(1));
}

#[test]
fn what_is_not_live_or_not_said_is_free() {
    assert_eq!(wishes("{}"), Wishes::default());
    assert_eq!(wishes(r#"{"encodingId":"x"}"#), Wishes::default());
    assert_eq!(wishes(r#"{"spatialLayerId":255}"#), Wishes::default());
    assert!(serde_json::from_str::<LayerWish>(r#"{"maxHeight":"a"}"#).is_err());
}

#[test]
fn temporal_layer_is_the_lowest_that_is_said() {
    let temporal = |json| {
        let wish: LayerWish = serde_json::from_str(json).expect("a wish");
        wish.temporal()
    };
    assert_eq!(temporal("{}"), None);
    assert_eq!(temporal(r#"{"temporalLayerId":255}"#), None);
    let both = r#"{"temporalLayerId":2,"maxTemporalLayerId":1}"#;
    assert_eq!(temporal(both), Some(1));
}
