use super::*;
use crate::hub::ring::Limits;
use crate::hub::{EgressTransport, Inbound, LayerWish, Outgoing, Reader, ReaderPolicy};
use crate::id::SourceKey;
use crate::packet::Format;
use stagecast_proto::codec::{Codec, Kind};

const FRAME: Duration = Duration::from_millis(40);
/// Name, width, and bytes of a frame: 1 kbit/s for 5 bytes.
const LAYERS: [(&str, u16, usize); 3] = [("q", 320, 500), ("h", 640, 1500), ("f", 1280, 6000)];
const Q: usize = 0;
const H: usize = 1;
const F: usize = 2;

/// A publisher of simulcast, its readers, and time.
struct Scene {
    source: Source,
    now: Instant,
    frame: u64,
    /// What the publisher sends of late, and whether each layer begins with a keyframe next.
    sends: [bool; 3],
    begins: [bool; 3],
    obeys: bool,
    readers: Vec<Reader>,
    /// Bytes that each reader was sent.
    sent: Vec<usize>,
    /// What the publisher was asked for, and when.
    asked: Vec<(Duration, LayerSet)>,
    began: Instant,
}

struct Count<'a>(&'a mut usize);

impl EgressTransport for Count<'_> {
    fn send(&mut self, _: Instant, out: &Outgoing<'_>) {
        *self.0 += out.packet.payload.len();
    }
}

impl Scene {
    fn new(can_ask_keyframe: bool) -> Self {
        let now = Instant::now();
        let mut source = Source::new(SourceKey::new("a/s", None), Limits::default());
        source.begin(1);
        source.track_mut("0", Kind::Video, can_ask_keyframe);
        Self {
            source,
            now,
            frame: 0,
            sends: [true; 3],
            begins: [true; 3],
            obeys: true,
            readers: Vec::new(),
            sent: Vec::new(),
            asked: Vec::new(),
            began: now,
        }
    }

    fn join(&mut self, wish: &str) {
        let mut reader = Reader::new(&[Kind::Video], ReaderPolicy::default(), 0);
        reader.set_wish(wish_of(wish));
        self.readers.push(reader);
        self.sent.push(0);
    }

    fn track(&mut self) -> &mut Track {
        &mut self.source.tracks[0]
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += FRAME;
            self.frame += 1;
            let sends = self.sends;
            for layer in (0..3).filter(|&l| sends[l]) {
                let keyframe = std::mem::take(&mut self.begins[layer]);
                self.send(layer, keyframe);
            }
            for (reader, sent) in self.readers.iter_mut().zip(&mut self.sent) {
                let wants = reader.deliver(&self.source, self.now, &mut Count(sent));
                if let Some((_, layer)) = wants.keyframe {
                    self.begins[layer] = true;
                }
            }
            if self.frame.is_multiple_of(6) {
                self.weigh();
            }
        }
    }

    fn weigh(&mut self) {
        let wanted = self.readers.iter();
        let wanted = wanted.filter_map(|r| r.wanted(&self.source, self.now));
        let wanted = wanted.fold(LayerSet::default(), |all, (_, one)| all.union(one));
        let now = self.now;
        if self.track().weigh(wanted, now) {
            let asked = self.track().asked();
            self.asked.push((now - self.began, asked));
            if self.obeys {
                self.obey(asked);
            }
        }
    }

    fn obey(&mut self, asked: LayerSet) {
        for layer in 0..3 {
            self.begins[layer] |= !self.sends[layer];
            self.sends[layer] = asked.contains(layer);
        }
    }

    fn send(&mut self, layer: usize, keyframe: bool) {
        let (rid, width, bytes) = LAYERS[layer];
        let [low, high] = width.to_le_bytes();
        let [low_height, high_height] = (width / 16 * 9).to_le_bytes();
        let mut payload = vec![0x10, u8::from(!keyframe), 0, 0, 0x9d, 0x01, 0x2a];
        payload.extend([low, high, low_height, high_height]);
        payload.resize(bytes, 0);
        let inbound = Inbound {
            seq: self.frame,
            timestamp: self.frame as u32 * 3600,
            marker: true,
            format: Format::plain(Codec::Vp8),
            arrival: self.now,
            capture: self.now,
            media_us: 0,
            audio_level: None,
            dependency: None,
            payload: payload.into(),
        };
        let layer = self.source.tracks[0].layer_mut(rid);
        layer.expect("three layers").ingest(inbound);
    }

    /// The layer that a reader is sent.
    fn read(&self, reader: usize) -> Option<usize> {
        self.readers[reader].video_layer()
    }
}

fn wish_of(json: &str) -> LayerWish {
    serde_json::from_str(json).expect("a wish")
}

fn set(layers: &[usize]) -> LayerSet {
    layers.iter().copied().collect()
}

const LOW: &str = r#"{"encodingId":"q"}"#;
const S: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn layers_that_nobody_reads_rest_after_a_while_and_the_lowest_never() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    scene.run(S(9));
    assert!(scene.asked.is_empty(), "too soon: {:?}", scene.asked);
    scene.run(S(3));
    assert_eq!(scene.asked.len(), 1, "{:?}", scene.asked);
    let (at, asked) = scene.asked[0];
    assert!(at >= UNREAD && at < UNREAD + S(1), "{at:?}");
    assert_eq!(asked, set(&[Q]));
    assert_eq!(scene.sends, [true, false, false]);
    scene.readers.clear();
    scene.run(S(60));
    assert_eq!(scene.sends, [true, false, false], "nobody is there");
    assert_eq!(scene.asked.len(), 1, "and nothing more to say");
}

#[test]
fn layer_that_is_chosen_comes_back_at_once_and_is_switched_to_at_its_keyframe() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    scene.run(S(60));
    assert_eq!(scene.sends, [true, false, false]);
    assert_eq!(scene.read(0), Some(Q));
    let before = scene.now;
    scene.readers[0].set_wish(wish_of(r#"{"encodingId":"f"}"#));
    while scene.read(0) != Some(F) {
        scene.run(FRAME);
        assert!(scene.now < before + S(1), "the switch takes too long");
    }
    assert_eq!(scene.sends, [true, false, true], "only what was chosen");
    scene.run(S(60));
    assert_eq!(scene.read(0), Some(F));
    assert_eq!(scene.asked.len(), 2, "{:?}", scene.asked);
}

#[test]
fn who_joins_without_a_wish_has_a_picture_at_once_and_then_the_best_one() {
    let mut scene = Scene::new(true);
    scene.run(S(30));
    assert_eq!(scene.sends, [true, false, false]);
    scene.join("{}");
    // The keyframe that late joiners start from is an old one here.
    scene.run(FRAME * 2);
    assert!(
        scene.sent[0] > 0,
        "a picture before the better layer is there"
    );
    assert_eq!(scene.read(0), Some(Q));
    scene.run(S(1));
    assert_eq!(scene.read(0), Some(F));
}

#[test]
fn layer_between_two_that_are_read_rests() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    scene.join(r#"{"encodingId":"f"}"#);
    scene.run(S(15));
    assert_eq!(scene.sends, [true, false, true]);
    assert_eq!((scene.read(0), scene.read(1)), (Some(Q), Some(F)));
}

#[test]
fn reading_now_and_then_keeps_a_layer_going() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    for _ in 0..5 {
        scene.run(S(8));
        scene.readers[0].set_wish(wish_of("{}"));
        scene.run(S(2));
        scene.readers[0].set_wish(wish_of(LOW));
    }
    assert!(scene.sends[F]);
    assert!(
        !scene.asked.iter().any(|a| !a.1.contains(F)),
        "{:?}",
        scene.asked
    );
}

#[test]
fn layer_that_rests_keeps_its_place_and_rate_among_the_offers() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    scene.run(S(5));
    let now = scene.now;
    let before = scene.track().offers(now);
    scene.run(S(120));
    let now = scene.now;
    let offers = scene.track().offers(now);
    assert_eq!(offers.len(), 3);
    for (offer, before) in offers.iter().zip(before.iter()) {
        assert_eq!(offer.layer, before.layer);
        let (rate, was) = (offer.bitrate().as_bps(), before.bitrate().as_bps());
        assert!(rate.abs_diff(was) < was / 20, "{rate} and {was}");
    }
    assert!(scene.track().is_resting(F, now) && !scene.track().is_active(F, now));
    let levels = scene.track().levels(F, now);
    assert_eq!(levels[0].bitrate_bps, offers[2].bitrate().as_bps());
    assert!(!scene.track().is_resting(Q, now));
}

#[test]
fn layer_that_does_not_come_back_is_offered_no_longer() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    scene.run(S(20));
    scene.obeys = false;
    scene.readers[0].set_wish(wish_of("{}"));
    scene.run(S(4));
    let now = scene.now;
    assert_eq!(scene.track().offers(now).len(), 3);
    scene.run(S(2));
    let now = scene.now;
    let offers = scene.track().offers(now);
    assert_eq!(offers.iter().map(|o| o.layer).collect::<Vec<_>>(), [Q, H]);
    assert_eq!(scene.track().asked(), set(&[Q, H, F]));
}

#[test]
fn layer_that_has_just_come_back_counts_with_its_former_rate() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    scene.run(S(60));
    let now = scene.now;
    let before = scene.track().offers(now)[2].bitrate();
    scene.readers[0].set_wish(wish_of(r#"{"encodingId":"f"}"#));
    for _ in 0..100 {
        scene.run(FRAME);
        let now = scene.now;
        let rate = scene.track().offers(now)[2].bitrate();
        assert!(rate >= before, "{rate} after {before}");
    }
}

#[test]
fn publisher_that_takes_no_keyframe_request_is_not_asked() {
    let mut scene = Scene::new(false);
    scene.join(LOW);
    scene.run(S(60));
    assert!(scene.asked.is_empty());
    assert_eq!(scene.sends, [true; 3]);
}

#[test]
fn everything_is_wanted_while_frames_are_read() {
    let mut scene = Scene::new(true);
    scene.run(S(30));
    assert_eq!(scene.sends, [true, false, false]);
    let now = scene.now;
    assert!(scene.track().weigh(LayerSet::ALL, now));
    assert_eq!(scene.track().asked(), set(&[Q, H, F]));
}

/// Kilobits a second that a publisher is told who goes on sending, if any.
fn ceiling(scene: &mut Scene) -> Option<u64> {
    let now = scene.now;
    let ceiling = scene.source.ceiling(0, now);
    ceiling.map(|rate| rate.as_bps() / 1000)
}

#[test]
fn publisher_that_does_not_listen_is_told_a_ceiling_without_room_for_what_rests() {
    let mut scene = Scene::new(true);
    scene.obeys = false;
    scene.join(r#"{"encodingId":"h"}"#);
    scene.run(UNREAD + S(1));
    assert_eq!(scene.asked.len(), 1);
    assert_eq!(ceiling(&mut scene), None, "it has some time to obey");
    scene.run(PATIENCE);
    // 100 and 300 and 1200 kbit/s, and 13 of headers each.
    let told = ceiling(&mut scene).expect("a ceiling");
    assert!(
        told > 430 * 6 / 5,
        "{told}: the others are not pressed down"
    );
    assert!(told < 430 + 1200 / 4, "{told}: no room for the layer");
    scene.sends[F] = false;
    scene.run(S(60));
    let still = ceiling(&mut scene).expect("as long as it rests");
    assert!(still >= told && still < told + 20, "{still} after {told}");
    scene.readers[0].set_wish(wish_of("{}"));
    scene.run(S(1));
    assert_eq!(ceiling(&mut scene), None, "wanted again");
}

#[test]
fn ceiling_takes_layers_from_the_top_only_and_makes_room_for_each_anew() {
    let mut scene = Scene::new(true);
    scene.obeys = false;
    scene.join(r#"{"encodingId":"f"}"#);
    scene.run(UNREAD + PATIENCE + S(1));
    assert_eq!(scene.track().asked(), set(&[Q, F]));
    assert_eq!(ceiling(&mut scene), None, "what is read is above");
    scene.readers[0].set_wish(wish_of(LOW));
    scene.run(UNREAD + PATIENCE + S(1));
    let one = ceiling(&mut scene).expect("a ceiling");
    assert!(one > 113 * 6 / 5 && one < 113 + 300 / 4, "{one}");
    scene.readers[0].set_wish(wish_of(r#"{"encodingId":"h"}"#));
    scene.run(S(1));
    let two = ceiling(&mut scene).expect("another ceiling");
    assert!(two > 430 * 6 / 5, "{two}");
}

#[test]
fn publisher_that_obeys_is_told_no_ceiling() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    for _ in 0..30 {
        scene.run(S(1));
        assert_eq!(ceiling(&mut scene), None);
    }
}

#[test]
fn thread_that_has_never_seen_a_layer_knows_its_place_and_rate() {
    let mut scene = Scene::new(true);
    scene.join(LOW);
    scene.run(S(60));
    let mut copy = Scene::new(true);
    copy.now = scene.now;
    copy.sends = [true, false, false];
    copy.run(S(2));
    for (rid, ..) in LAYERS {
        let rest = scene.track().layer_mut(rid).and_then(|layer| layer.rest);
        let layer = copy.track().layer_mut(rid).expect("room for it");
        layer.set_rest(rest);
    }
    let now = copy.now;
    let here = scene.source.tracks[0].offers(scene.now);
    let there = copy.track().offers(now);
    assert_eq!(there.iter().map(|o| o.layer).collect::<Vec<_>>(), [Q, H, F]);
    assert_eq!(there[F].bitrate(), here[F].bitrate());
    let wishes = copy.track().wishes(&wish_of(r#"{"maxHeight":400}"#), now);
    assert_eq!(wishes.max, Some(H));
}

#[test]
fn set_of_layers_holds_what_was_put_in() {
    let two = set(&[1, 7]);
    assert!(two.contains(1) && two.contains(7) && !two.contains(0) && !two.contains(8));
    assert_eq!(two.union(set(&[0])), set(&[0, 1, 7]));
    assert!((0..8).all(|layer| LayerSet::ALL.contains(layer)));
}
