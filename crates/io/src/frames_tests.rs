//! Publishers and readers of frames on a real engine.

use super::*;
use crate::engine::EngineConfig;
use crate::events::Event;
use stagecast_core::Codec;
use stagecast_core::frame::Config;
use std::time::{Duration, Instant};

fn frame(codec: Codec, keyframe: bool, size: usize) -> Frame {
    let config = Config {
        codec,
        record: Arc::from([]),
        resolution: (0, 0),
        sample_rate: 0,
        channels: 0,
    };
    Frame {
        config: Arc::new(config),
        pts_us: 0,
        dts_us: 0,
        keyframe,
        capture: Instant::now(),
        data: vec![0; size].into(),
    }
}

#[test]
fn slow_reader_loses_groups_of_pictures_and_is_told() {
    let (events, mut read) = mpsc::unbounded_channel();
    let mut outlet = Outlet {
        id: 1,
        needs: Needs::Sound,
        events,
        backlog: Arc::default(),
        skipping: Vec::new(),
    };
    let (video, none): (Arc<str>, Arc<str>) = ("video".into(), "".into());
    let half = MAX_WAITING_BYTES / 2;
    for (keyframe, size) in [(true, half), (false, half), (false, 9), (false, 9)] {
        outlet.push(&video, &none, &frame(Codec::Vp8, keyframe, size));
    }
    outlet.backlog.bytes.store(0, Ordering::Relaxed);
    outlet.push(&video, &none, &frame(Codec::Vp8, false, 9));
    outlet.push(&video, &none, &frame(Codec::Vp8, true, 9));
    let mut got = String::new();
    while let Ok(event) = read.try_recv() {
        got.push(match event {
            FrameEvent::Frame { frame, .. } if frame.keyframe => 'K',
            FrameEvent::Frame { .. } => 'p',
            FrameEvent::Lost => 'L',
            _ => '?',
        });
    }
    assert_eq!(got, "KpLK");
}

#[test]
fn transcoder_of_sound_is_not_woken_by_pictures() {
    let (events, mut read) = mpsc::unbounded_channel();
    let mut outlet = Outlet {
        id: 1,
        needs: Needs::Only(Kind::Audio),
        events,
        backlog: Arc::default(),
        skipping: Vec::new(),
    };
    let none: Arc<str> = "".into();
    outlet.push(&"video".into(), &none, &frame(Codec::Vp8, true, 9));
    outlet.push(&"audio".into(), &none, &frame(Codec::Aac, true, 9));
    let Ok(FrameEvent::Frame { track, .. }) = read.try_recv() else {
        panic!("no frame");
    };
    assert_eq!(&*track, "audio");
    assert!(read.try_recv().is_err());
}

fn engine() -> Engine {
    let config = EngineConfig {
        port: 0,
        bind: vec!["127.0.0.1".parse().expect("an address")],
        threads: 2,
        ..EngineConfig::default()
    };
    Engine::start(config).expect("a free port")
}

fn publish(engine: &Engine) -> FrameSink {
    let remote = "192.0.2.1:5000".parse().expect("an address");
    engine
        .publish_frames(SourceKey::new("a/s", None), "rtmp", remote)
        .expect("there is room")
}

fn aac_frame(pts_us: i64) -> Frame {
    Frame {
        pts_us,
        dts_us: pts_us,
        ..frame(Codec::Aac, true, 9)
    }
}

fn opus_frame(pts_us: i64) -> Frame {
    Frame {
        pts_us,
        dts_us: pts_us,
        ..frame(Codec::Opus, true, 9)
    }
}

fn vp8_frame(pts_us: i64, keyframe: bool) -> Frame {
    Frame {
        pts_us,
        dts_us: pts_us,
        data: vec![
            u8::from(!keyframe),
            0,
            0,
            0x9d,
            1,
            0x2a,
            0x80,
            2,
            0x68,
            1,
            0,
        ]
        .into(),
        ..frame(Codec::Vp8, keyframe, 0)
    }
}

/// The next event within a time in which it surely comes.
fn next(engine: &Engine, stream: &mut FrameStream) -> Option<FrameEvent> {
    let wait = async { tokio::time::timeout(Duration::from_secs(10), stream.next()).await };
    engine
        .runtime()
        .handle()
        .block_on(wait)
        .expect("an event in time")
}

fn described(engine: &Engine, stream: &mut FrameStream, count: usize) -> Vec<String> {
    let name = |event| match event {
        Some(FrameEvent::Begin { .. }) => "begin".to_owned(),
        Some(FrameEvent::Frame { track, frame, .. }) => format!("{track} {}", frame.pts_us),
        Some(FrameEvent::Rungs { track, layers }) => format!("{track} {layers:?}"),
        Some(FrameEvent::Lost) => "lost".to_owned(),
        Some(FrameEvent::End) => "end".to_owned(),
        None => "closed".to_owned(),
    };
    (0..count).map(|_| name(next(engine, stream))).collect()
}

/// Waits until the engine has told an event that `is` picks.
fn event(engine: &Engine, is: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(event) = engine.drain_events().into_iter().find(&is) {
            return event;
        }
        std::thread::yield_now();
    }
    panic!("no such event in time");
}

#[test]
fn late_reader_starts_at_the_last_keyframe_and_goes_on_with_the_next_publisher() {
    let engine = engine();
    let sink = publish(&engine);
    sink.push("video", vp8_frame(0, true));
    sink.push("video", vp8_frame(40_000, false));
    sink.push("video", vp8_frame(80_000, true));
    sink.push("audio", aac_frame(90_000));
    sink.push("video", vp8_frame(120_000, false));
    let mut stream = engine.read_frames(SourceKey::new("a/s", None));
    assert_eq!(
        described(&engine, &mut stream, 4),
        ["begin", "video 80000", "audio 90000", "video 120000"]
    );
    let second = publish(&engine);
    second.push("video", vp8_frame(7, true));
    assert_eq!(described(&engine, &mut stream, 2), ["begin", "video 7"]);
    assert_eq!(sink.is_ended(), Some(Ended::Replaced));
    assert_eq!(second.is_ended(), None);
    drop(second);
    assert_eq!(described(&engine, &mut stream, 1), ["end"]);
    engine.close();
    assert_eq!(described(&engine, &mut stream, 1), ["closed"]);
}

#[test]
fn reader_rests_until_a_picture_begins_whatever_else_comes() {
    const LONG: Duration = Duration::from_secs(60);
    let engine = engine();
    let sink = publish(&engine);
    let mut stream = engine.read_frames(SourceKey::new("a/s", None));
    sink.push("video", vp8_frame(0, true));
    assert_eq!(described(&engine, &mut stream, 2), ["begin", "video 0"]);
    let rest = |limit| engine.runtime().handle().block_on(stream.rest(limit));
    // What was taken already ends a rest at once.
    rest(LONG);
    let began = Instant::now();
    let short = Duration::from_millis(50);
    sink.push("video", vp8_frame(40_000, false));
    sink.push("audio", aac_frame(50_000));
    rest(short);
    assert!(began.elapsed() >= short);
    sink.push("video", vp8_frame(80_000, true));
    rest(LONG);
    assert!(began.elapsed() < LONG);
    assert_eq!(
        described(&engine, &mut stream, 3),
        ["video 40000", "audio 50000", "video 80000"]
    );
}

#[test]
fn publisher_of_frames_is_told_of_in_events_and_can_be_ended() {
    let engine = engine();
    let sink = publish(&engine);
    sink.push("video", vp8_frame(0, true));
    sink.push("audio", aac_frame(0));
    let live = event(
        &engine,
        |e| matches!(e, Event::SourceLive { tracks, .. } if tracks.len() == 2),
    );
    let Event::SourceLive {
        session, tracks, ..
    } = live
    else {
        panic!("no source");
    };
    assert_eq!(session, sink.session().to_string());
    let codecs: Vec<_> = tracks.iter().map(|t| (t.track.as_str(), t.codec)).collect();
    assert_eq!(codecs, [("video", "vp8"), ("audio", "aac")]);
    assert!(engine.is_live(&SourceKey::new("a/s", None)));
    assert!(engine.end_session(&session, "disabled"));
    let ended = event(&engine, |e| matches!(e, Event::SessionEnded { .. }));
    let Event::SessionEnded {
        session, reason, ..
    } = ended
    else {
        panic!("no session");
    };
    assert_eq!((session.protocol, reason.as_str()), ("rtmp", "disabled"));
    assert_eq!(session.remote.as_deref(), Some("192.0.2.1:5000"));
    assert_eq!(sink.is_ended(), Some(Ended::Requested("disabled".into())));
}

#[test]
fn companion_track_joins_the_source_and_is_no_publisher() {
    let engine = engine();
    let key = SourceKey::new("a/s", None);
    let sink = publish(&engine);
    sink.push("audio", opus_frame(0));
    let mut stream = engine.read_frames(key.clone());
    let Some(FrameEvent::Begin { generation }) = next(&engine, &mut stream) else {
        panic!("the source is live");
    };
    let companion = engine.frames().accompany(key, "audio-aac");
    companion.push(generation.wrapping_sub(1), aac_frame(0));
    companion.push(generation, aac_frame(0));
    sink.push("audio", opus_frame(20_000));
    assert_eq!(
        described(&engine, &mut stream, 2),
        ["audio-aac 0", "audio 20000"]
    );
    assert_eq!(sink.is_ended(), None);
}

#[test]
fn rungs_of_a_ladder_go_to_who_asks_and_go_on_with_a_keyframe() {
    let engine = engine();
    let key = SourceKey::new("a/s", None);
    let sink = publish(&engine);
    sink.push("video", vp8_frame(0, true));
    let mut plain = engine.read_frames(key.clone());
    let mut stream = engine.frames().read_with_ladder(key.clone());
    let Some(FrameEvent::Begin { generation }) = next(&engine, &mut stream) else {
        panic!("the source is live");
    };
    let ladder = engine.frames().ladder(key);
    let (video, rung): (Arc<str>, Arc<str>) = ("video".into(), "480p".into());
    ladder.announce(generation, Arc::clone(&video), vec![Arc::clone(&rung)]);
    // A worker that was started again makes the last group of pictures again: none of it is news,
    // and what follows it cannot be decoded with what went before.
    for (at, keyframe) in [
        (0, true),
        (1, false),
        (0, true),
        (1, false),
        (2, false),
        (3, true),
        (4, false),
    ] {
        let (track, layer) = (Arc::clone(&video), Arc::clone(&rung));
        ladder.push(generation, track, layer, vp8_frame(at, keyframe));
    }
    sink.push("video", vp8_frame(9, false));
    assert_eq!(
        described(&engine, &mut stream, 7),
        [
            "video 0",
            "video [\"480p\"]",
            "video 0",
            "video 1",
            "video 3",
            "video 4",
            "video 9"
        ]
    );
    assert_eq!(
        described(&engine, &mut plain, 3),
        ["begin", "video 0", "video 9"]
    );
}

#[test]
fn ladder_is_wanted_for_readers_who_ask_for_it_of_a_picture_of_one_size() {
    let engine = engine();
    let sink = publish(&engine);
    sink.push_layer("video", "", vp8_frame(0, true));
    let _stream = engine
        .frames()
        .read_with_ladder(SourceKey::new("a/s", None));
    let wanted = event(&engine, |e| matches!(e, Event::TranscodeWanted { .. }));
    let Event::TranscodeWanted { from, to, .. } = wanted else {
        panic!("no transcoder");
    };
    assert_eq!((from, to), ("vp8", "h264"));
}

#[test]
fn transcoder_is_wanted_for_readers_of_frames_of_a_source_without_aac() {
    let engine = engine();
    let sink = publish(&engine);
    sink.push("audio", frame(Codec::Opus, true, 9));
    let _stream = engine.read_frames(SourceKey::new("a/s", None));
    let wanted = event(&engine, |e| matches!(e, Event::TranscodeWanted { .. }));
    let Event::TranscodeWanted { from, to, .. } = wanted else {
        panic!("no transcoder");
    };
    assert_eq!((from, to), ("opus", "aac"));
}
