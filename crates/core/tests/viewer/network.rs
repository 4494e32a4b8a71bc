//! What a viewer gets on a narrow way, and what it costs us.

use std::time::Duration;

use stagecast_core::hub::Inbound;
use stagecast_core::packet::Format;
use stagecast_core::{Codec, Kind};

use super::{FRAME, Scene};

const SECOND: Duration = Duration::from_secs(1);
/// Packets a frame of the two layers: 240 and 1,450 kbit/s.
const LAYERS: [(&str, u64); 2] = [("l", 1), ("h", 6)];
const PACKET: usize = 1000;

impl Scene {
    /// A frame of every layer; keyframes once a second.
    fn publish_layers(&mut self) {
        self.seq += 1;
        let timestamp = (self.seq * 3000) as u32;
        for (rid, parts) in LAYERS {
            for part in 0..parts {
                let keyframe = part == 0 && self.seq.is_multiple_of(30);
                let mut payload = vec![if keyframe { 0x65 } else { 0x41 }, 0x88];
                payload.resize(PACKET, 0);
                payload[2] = rid.as_bytes()[0];
                let inbound = Inbound {
                    seq: self.seq * parts + part,
                    timestamp,
                    marker: part + 1 == parts,
                    format: Format {
                        profile_level_id: 0x0042_e01f,
                        packetization_mode: 1,
                        ..Format::plain(Codec::H264)
                    },
                    arrival: self.now,
                    capture: self.now,
                    media_us: 0,
                    payload: payload.into(),
                    audio_level: None,
                    dependency: None,
                };
                let track = self.source.track_mut("0", Kind::Video, true);
                track.layer_mut(rid).expect("a layer").ingest(inbound);
            }
        }
        self.deliver();
    }

    fn stream_layers(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.publish_layers();
            self.run(FRAME);
        }
    }

    /// How many packets of a layer came since the last call, and forget them.
    fn count(&self, rid: &str) -> usize {
        let of = |got: &super::Got| got.0.get(2) == Some(&rid.as_bytes()[0]);
        self.got.iter().filter(|got| of(got)).count()
    }
}

#[test]
fn viewer_gets_the_layer_that_its_network_carries() {
    let mut scene = Scene::new(true);
    scene.run_until_connected();
    scene.stream_layers(5 * SECOND);
    scene.got.clear();
    scene.stream_layers(SECOND);
    assert!(
        scene.count("h") > 150 && scene.count("l") == 0,
        "a wide way carries the best"
    );

    scene.rate = Some(500_000);
    scene.stream_layers(3 * SECOND);
    scene.got.clear();
    scene.stream_layers(10 * SECOND);
    let (high, low) = (scene.count("h"), scene.count("l"));
    assert!(
        low > 270 && high == 0,
        "{high} packets of the high layer, {low} of the low one"
    );

    scene.rate = None;
    scene.stream_layers(10 * SECOND);
    scene.got.clear();
    scene.stream_layers(SECOND);
    assert!(scene.count("h") > 150 && scene.count("l") == 0, "and again");
}

/// How many of ninety packets are overtaken, some time after losses.
fn overtaken_after(mut scene: Scene, loses: fn(usize) -> bool) -> usize {
    scene.run_until_connected();
    scene.loses = loses;
    scene.stream(300);
    scene.loses = |_| false;
    scene.stream(60);
    scene.got.clear();
    let before = scene.sent;
    scene.stream(30);
    assert_eq!(scene.got.len(), 90, "everything arrives");
    assert!(scene.sent - before < 100, "and once");
    let overtaken = |pair: &&[super::Got]| pair[0].2 == pair[1].2 + 1;
    scene.got.windows(2).filter(overtaken).count()
}

#[test]
fn viewer_without_transport_feedback_is_made_to_say_what_it_lost_without_being_sent_more() {
    assert_eq!(
        overtaken_after(Scene::new(true), |n| n.is_multiple_of(10)),
        0
    );
    // So much that what is sent again does not hide it in the peer's reports.
    let vague = Scene::without_transport_feedback();
    assert_eq!(overtaken_after(vague, |n| !n.is_multiple_of(4)), 15);
}

#[test]
fn viewer_that_has_settled_allocates_nothing() {
    let mut scene = Scene::new(true);
    scene.run_until_connected();
    scene.loses = |n| n.is_multiple_of(50);
    scene.stream(600);
    scene.allocations = 0;
    scene.stream(600);
    assert_eq!(scene.allocations, 0, "with feedback and retransmissions");
}
