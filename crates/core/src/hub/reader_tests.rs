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
            audio_level: None,
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
            audio_level: None,
            payload: Arc::from([1u8, 2].as_slice()),
        };
        let track = source.track_mut("1", Kind::Audio, false);
        track.layer_mut("").expect("first layer").ingest(inbound);
    }
    let (mut reader, mut out) = (viewer(), Recorder::default());
    reader.deliver(&source, t0, &mut out);
    assert_eq!(out.sent, [(Kind::Audio, 0, 9 * 960, t0)]);
}
