use super::*;
use crate::hub::Inbound;
use crate::hub::ring::Limits;
use crate::id::SourceKey;
use crate::packet::Format;
use stagecast_proto::codec::Codec;
use std::sync::Arc;

const FRAME: Duration = Duration::from_millis(33);

/// Records what a viewer would be sent.
#[derive(Default)]
struct Recorder {
    sent: Vec<(Kind, u64, u32, Instant)>,
}

impl EgressTransport for Recorder {
    fn send(&mut self, now: Instant, out: &Outgoing<'_>) {
        self.sent.push((out.kind, out.seq, out.timestamp, now));
    }
}

impl Recorder {
    fn seqs(&self) -> Vec<u64> {
        self.sent.iter().map(|s| s.1).collect()
    }
}

/// A publisher of one-packet H.264 frames.
struct Feed {
    source: Source,
    seq: u64,
    can_ask: bool,
}

impl Feed {
    fn new(can_ask: bool) -> Self {
        let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
        source.begin(1);
        Self {
            source,
            seq: 10,
            can_ask,
        }
    }

    fn frame(&mut self, keyframe: bool, at: Instant) {
        self.seq += 1;
        let payload: &[u8] = if keyframe {
            &[0x65, 0x88]
        } else {
            &[0x41, 0x9a]
        };
        let inbound = Inbound {
            seq: self.seq,
            timestamp: (self.seq * 2970) as u32,
            marker: true,
            format: Format::plain(Codec::H264),
            arrival: at,
            capture: at,
            media_us: 0,
            audio_level: None,
            dependency: None,
            payload: payload.into(),
        };
        let track = self.source.track_mut("0", Kind::Video, self.can_ask);
        track.layer_mut("").expect("first layer").ingest(inbound);
    }
}

fn viewer() -> Reader {
    Reader::new(&[Kind::Audio, Kind::Video], ReaderPolicy::default(), 0)
}

#[test]
fn late_reader_starts_at_the_cached_keyframe_and_catches_up_in_order() {
    let t0 = Instant::now();
    let mut feed = Feed::new(true);
    for n in 0..31 {
        feed.frame(n == 0, t0 + FRAME * n);
    }
    let (mut reader, mut out) = (viewer(), Recorder::default());
    let mut now = t0 + FRAME * 30;
    let mut wants = reader.deliver(&feed.source, now, &mut out);
    assert_eq!(out.seqs(), [0], "the keyframe goes out at once");
    while let Some(wake) = wants.wake {
        now = wake;
        wants = reader.deliver(&feed.source, now, &mut out);
    }
    assert_eq!(out.seqs(), (0..31).collect::<Vec<_>>());
    let took = now - (t0 + FRAME * 30);
    assert!(
        took <= FRAME * 30 / 5 + Duration::from_millis(1),
        "took {took:?}"
    );
    assert_eq!(wants.keyframe, None, "no new keyframe is asked for");
    let (first, last) = (out.sent[0], out.sent[30]);
    assert_eq!(last.2 - first.2, 30 * 2970 / 5, "timestamps ran at a fifth");
}

#[test]
fn old_keyframe_is_not_replayed_when_the_publisher_can_make_a_new_one() {
    let t0 = Instant::now();
    let mut feed = Feed::new(true);
    for n in 0..100 {
        feed.frame(n == 0, t0 + FRAME * n);
    }
    let (mut reader, mut out) = (viewer(), Recorder::default());
    let now = t0 + FRAME * 100;
    assert_eq!(
        reader.deliver(&feed.source, now, &mut out).keyframe,
        Some((0, 0))
    );
    feed.frame(false, now);
    reader.deliver(&feed.source, now, &mut out);
    assert!(out.sent.is_empty());
    feed.frame(true, now + FRAME);
    reader.deliver(&feed.source, now + FRAME, &mut out);
    assert_eq!(out.seqs(), [0]);
}

#[test]
fn old_keyframe_is_replayed_when_the_publisher_cannot_be_asked() {
    let t0 = Instant::now();
    let mut feed = Feed::new(false);
    for n in 0..100 {
        feed.frame(n == 0, t0 + FRAME * n);
    }
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.deliver(&feed.source, t0 + FRAME * 100, &mut out);
    assert_eq!(out.seqs(), [0]);
}

#[test]
fn keyframe_request_restarts_from_the_cache_when_the_publisher_cannot_be_asked() {
    let t0 = Instant::now();
    let mut feed = Feed::new(false);
    feed.frame(true, t0);
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.deliver(&feed.source, t0, &mut out);
    for n in 1..60 {
        feed.frame(false, t0 + FRAME * n);
        reader.deliver(&feed.source, t0 + FRAME * n, &mut out);
    }
    assert_eq!(out.sent.len(), 60);
    let now = t0 + FRAME * 60;
    assert_eq!(
        reader.on_keyframe_request(&feed.source, now).wake,
        Some(now)
    );
    reader.deliver(&feed.source, now, &mut out);
    assert_eq!(
        out.sent.last().map(|s| s.1),
        Some(60),
        "the keyframe again, as a new packet"
    );
    let again = reader.on_keyframe_request(&feed.source, now + FRAME);
    assert_eq!(
        again,
        Wants::default(),
        "a start under way is not started anew"
    );
}

#[test]
fn new_publisher_is_followed_without_a_jump() {
    let t0 = Instant::now();
    let mut feed = Feed::new(true);
    feed.frame(true, t0);
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.deliver(&feed.source, t0, &mut out);
    feed.source.end();
    reader.deliver(&feed.source, t0 + FRAME, &mut out);

    feed.source.begin(2);
    feed.seq = 40_000;
    let now = t0 + FRAME * 30;
    feed.frame(false, now);
    assert_eq!(
        reader.deliver(&feed.source, now, &mut out).keyframe,
        Some((0, 0))
    );
    feed.frame(true, now + FRAME);
    reader.deliver(&feed.source, now + FRAME, &mut out);
    assert_eq!(out.seqs(), [0, 1]);
    let passed = out.sent[1].2.wrapping_sub(out.sent[0].2);
    assert_eq!(passed, 31 * 2970, "the time that has passed");
}

#[test]
fn audio_starts_with_the_newest_packet() {
    let t0 = Instant::now();
    let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
    source.begin(1);
    for n in 0..10u32 {
        let inbound = Inbound {
            seq: u64::from(n),
            timestamp: n * 960,
            marker: false,
            format: Format::plain(Codec::Opus),
            arrival: t0,
            capture: t0,
            media_us: 0,
            audio_level: None,
            dependency: None,
            payload: Arc::from([1u8, 2].as_slice()),
        };
        let track = source.track_mut("1", Kind::Audio, false);
        track.layer_mut("").expect("first layer").ingest(inbound);
    }
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.deliver(&source, t0, &mut out);
    assert_eq!(out.sent, [(Kind::Audio, 0, 9 * 960, t0)]);
}

/// A publisher of two simulcast layers of two-packet H.264 frames.
struct Simulcast {
    source: Source,
    frames: u64,
}

impl Simulcast {
    fn new() -> Self {
        let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
        source.begin(1);
        Self { source, frames: 0 }
    }

    /// Packets `part` of the next frame of a layer.
    fn packets(&mut self, rid: &str, keyframe: bool, part: std::ops::Range<u64>, at: Instant) {
        let offset = if rid == "h" { 5_000_000 } else { 0 };
        for n in part {
            let payload: &[u8] = if keyframe && n == 0 {
                &[0x65, 0x88]
            } else {
                &[0x41, 0x9a]
            };
            let inbound = Inbound {
                seq: offset + self.frames * 2 + n,
                timestamp: (offset + self.frames * 2970) as u32,
                marker: n == 1,
                format: Format::plain(Codec::H264),
                arrival: at,
                capture: at,
                media_us: 0,
                audio_level: None,
                dependency: None,
                payload: payload.into(),
            };
            let track = self.source.track_mut("0", Kind::Video, true);
            track.layer_mut(rid).expect("second layer").ingest(inbound);
        }
    }

    fn frame(&mut self, keyframes: &str, at: Instant) {
        for rid in ["l", "h"] {
            self.packets(rid, keyframes.contains(rid), 0..2, at);
        }
        self.frames += 1;
    }
}

fn target(layer: usize) -> Target {
    Target { layer, temporal: 0 }
}

#[test]
fn target_is_followed_from_its_next_keyframe_on() {
    let t0 = Instant::now();
    let mut feed = Simulcast::new();
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.set_target(Some(target(0)));
    for n in 0..10 {
        feed.frame(if n == 0 { "l h" } else { "" }, t0 + FRAME * n);
        reader.deliver(&feed.source, t0 + FRAME * n, &mut out);
    }
    assert_eq!(reader.video_layer(), Some(0));
    reader.set_target(Some(target(1)));
    for n in 10..15 {
        feed.frame("", t0 + FRAME * n);
        let wants = reader.deliver(&feed.source, t0 + FRAME * n, &mut out);
        assert_eq!(wants.keyframe, Some((0, 1)));
        assert_eq!(reader.video_layer(), Some(0), "the old one goes on");
    }
    assert_eq!(out.sent.len(), 30);
    feed.frame("h", t0 + FRAME * 15);
    let wants = reader.deliver(&feed.source, t0 + FRAME * 15, &mut out);
    assert_eq!(wants, Wants::default());
    assert_eq!(reader.video_layer(), Some(1));
    assert_eq!(out.seqs(), (0..32).collect::<Vec<_>>());
    let first = out.sent[0].2;
    for (n, packet) in out.sent.iter().enumerate() {
        assert_eq!(
            packet.2.wrapping_sub(first),
            n as u32 / 2 * 2970,
            "packet {n}"
        );
    }
}

#[test]
fn frame_under_way_is_finished_before_a_switch() {
    let t0 = Instant::now();
    let mut feed = Simulcast::new();
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.set_target(Some(target(0)));
    feed.frame("l h", t0);
    reader.deliver(&feed.source, t0, &mut out);
    reader.set_target(Some(target(1)));
    reader.deliver(&feed.source, t0, &mut out);
    let now = t0 + FRAME;
    feed.packets("l", false, 0..1, now);
    reader.deliver(&feed.source, now, &mut out);
    feed.packets("h", true, 0..1, now);
    let wants = reader.deliver(&feed.source, now, &mut out);
    assert_eq!(out.sent.len(), 3, "the frame of the old layer is under way");
    assert_eq!(wants.wake, Some(now + FRAME_PATIENCE));
    feed.packets("l", false, 1..2, now);
    feed.packets("h", true, 1..2, now);
    reader.deliver(&feed.source, now + Duration::from_millis(5), &mut out);
    assert_eq!(out.seqs(), [0, 1, 2, 3, 4, 5]);
    let times: Vec<u32> = out.sent.iter().map(|s| s.2).collect();
    assert_eq!(times, [0, 0, 2970, 2970, 2971, 2971], "and not cut off");
    assert_eq!(reader.video_layer(), Some(1));
}

#[test]
fn layer_that_has_no_keyframe_stalls_nobody() {
    let t0 = Instant::now();
    let mut feed = Simulcast::new();
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.set_target(Some(target(0)));
    feed.frame("l", t0);
    reader.deliver(&feed.source, t0, &mut out);
    reader.set_target(Some(target(1)));
    for n in 1..300 {
        feed.frame("", t0 + FRAME * n);
        reader.deliver(&feed.source, t0 + FRAME * n, &mut out);
    }
    assert_eq!(out.sent.len(), 600);
}

#[test]
fn layer_that_is_switched_off_is_left_for_one_that_lives() {
    let t0 = Instant::now();
    let mut feed = Simulcast::new();
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.set_target(Some(target(1)));
    feed.frame("l h", t0);
    reader.deliver(&feed.source, t0, &mut out);
    for n in 1..40 {
        feed.packets("l", n % 10 == 0, 0..2, t0 + FRAME * n);
        feed.frames += 1;
        reader.deliver(&feed.source, t0 + FRAME * n, &mut out);
    }
    assert_eq!(reader.video_layer(), Some(0));
    let offers = feed.source.tracks[0].offers(t0 + FRAME * 40);
    assert_eq!(offers.iter().map(|o| o.layer).collect::<Vec<_>>(), [0]);
}

#[test]
fn pause_stops_video_and_resumes_at_a_new_keyframe() {
    let t0 = Instant::now();
    let mut feed = Simulcast::new();
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.set_target(Some(target(0)));
    feed.frame("l h", t0);
    reader.deliver(&feed.source, t0, &mut out);
    reader.set_paused(true);
    feed.frame("l", t0 + FRAME);
    reader.deliver(&feed.source, t0 + FRAME, &mut out);
    assert_eq!((out.sent.len(), reader.video_layer()), (2, None));
    reader.set_paused(false);
    for n in 6..9 {
        feed.frame("", t0 + FRAME * n);
        let wants = reader.deliver(&feed.source, t0 + FRAME * n, &mut out);
        assert_eq!(wants.keyframe, Some((0, 0)));
    }
    assert_eq!(out.sent.len(), 2, "the past is not shown");
    feed.frame("l", t0 + FRAME * 9);
    reader.deliver(&feed.source, t0 + FRAME * 9, &mut out);
    assert_eq!(out.seqs(), [0, 1, 2, 3]);
    assert_eq!(out.sent[2].2 - out.sent[0].2, 9 * 2970);
}

#[test]
fn held_reader_sends_nothing_until_the_target_has_a_keyframe() {
    let t0 = Instant::now();
    let mut feed = Simulcast::new();
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.set_target(Some(target(1)));
    feed.frame("l h", t0);
    reader.deliver(&feed.source, t0, &mut out);
    reader.set_target(Some(target(0)));
    reader.set_hold(true);
    for n in 5..10 {
        feed.frame("", t0 + FRAME * n);
        reader.deliver(&feed.source, t0 + FRAME * n, &mut out);
    }
    assert_eq!((out.sent.len(), reader.video_layer()), (2, None));
    feed.frame("l", t0 + FRAME * 10);
    reader.deliver(&feed.source, t0 + FRAME * 10, &mut out);
    assert_eq!((out.sent.len(), reader.video_layer()), (4, Some(0)));
}

/// One-packet VP8 frames of the usual three temporal layers: 0 2 1 2.
fn vp8_frame(source: &mut Source, n: u64, at: Instant) {
    let temporal = [0, 2, 1, 2][n as usize % 4];
    let sync = temporal > 0 && n % 8 < 4;
    let payload = [
        0x90,
        0xe0,
        0x80,
        n as u8,
        (n / 4) as u8,
        temporal << 6 | u8::from(sync) << 5,
        u8::from(n > 0),
    ];
    let inbound = Inbound {
        seq: n,
        timestamp: (n * 2970) as u32,
        marker: true,
        format: Format::plain(Codec::Vp8),
        arrival: at,
        capture: at,
        media_us: 0,
        audio_level: None,
        dependency: None,
        payload: payload.into(),
    };
    let track = source.track_mut("0", Kind::Video, true);
    track.layer_mut("").expect("first layer").ingest(inbound);
}

#[test]
fn temporal_layers_are_left_out_at_once_and_come_back_where_they_decode() {
    let t0 = Instant::now();
    let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
    source.begin(1);
    let (mut reader, mut out) = (viewer(), Recorder::default());
    let temporal = |temporal| Some(Target { layer: 0, temporal });
    let mut sent = Vec::new();
    for n in 0..24 {
        match n {
            8 => reader.set_target(temporal(0)),
            13 => reader.set_target(temporal(2)),
            _ => {}
        }
        vp8_frame(&mut source, n, t0 + FRAME * n as u32);
        let before = out.sent.len();
        reader.deliver(&source, t0 + FRAME * n as u32, &mut out);
        if out.sent.len() > before {
            sent.push(n);
        }
    }
    let expected: Vec<u64> = (0..9).chain([12, 16]).chain(18..24).collect();
    assert_eq!(
        sent, expected,
        "up at 18 and 19, the first sync points in turn"
    );
    assert_eq!(out.seqs(), (0..expected.len() as u64).collect::<Vec<_>>());
    let offers = source.tracks[0].offers(t0 + FRAME * 24);
    assert_eq!(offers.len(), 1);
}
