//! Presentation times of packets: RTP timestamps of all layers on the publisher's timeline.
//!
//! Within a layer time advances as the RTP timestamps do, so that frames keep their even distance.
//! Where it stands is told by the packets' media times, which sender reports make common to audio and
//! video; as more is known of these, a layer moves to where it belongs, too slowly to be noticed.

use std::time::Duration;

use stagecast_proto::codec::{Codec, Kind};

use crate::packet::Packet;

/// A layer this far off is put right at once: its timestamps have jumped, or it would be out of step
/// with the others for seconds.
const JUMP_US: i64 = 100_000;
/// What is learnt of packets that are kept moves them by less than this; more is another timeline.
const SETTLED_US: i64 = 5_000_000;

/// One layer's place on the timeline.
#[derive(Debug, Clone)]
pub struct Timeline {
    rate: i64,
    /// One part in this many of the time that passes may be added or left out while moving.
    slew: i64,
    /// Extended RTP timestamp and time of the last frame.
    last: Option<(i64, i64)>,
}

impl Timeline {
    /// For a layer of this codec.
    pub fn new(codec: Codec) -> Self {
        Self {
            rate: i64::from(codec.clock_rate()),
            // What is a tone higher to the ear is a picture some milliseconds sooner to the eye.
            slew: match codec.kind() {
                Kind::Audio => 50,
                Kind::Video => 10,
            },
            last: None,
        }
    }

    /// Presentation time, in microseconds, of a frame whose packets have this media time.
    pub fn place(&mut self, timestamp: u32, media_us: i64) -> i64 {
        let Some((last_ticks, last_us)) = self.last else {
            self.last = Some((i64::from(timestamp), media_us));
            return media_us;
        };
        let ticks = last_ticks + i64::from(timestamp.wrapping_sub(last_ticks as u32).cast_signed());
        let passed = (ticks - last_ticks) * 1_000_000 / self.rate;
        let even = last_us + passed;
        let off = media_us - even;
        let most = (passed.abs() / self.slew).max(1);
        let at = if off.abs() > JUMP_US {
            media_us
        } else {
            even + off.clamp(-most, most)
        };
        self.last = Some((ticks, at));
        at
    }
}

/// Place packets of one layer, in order, by what was known when the newest came: of a publisher that has
/// just begun, it is more than when the others did.
pub fn settle(packets: &mut [&mut Packet]) {
    let Some(newest) = packets.last() else { return };
    let (end, capture, media_us) = (newest.timestamp, newest.capture, newest.media_us);
    let rate = i64::from(newest.format.codec.clock_rate());
    for packet in packets {
        let ticks = i64::from(end.wrapping_sub(packet.timestamp).cast_signed());
        let before = ticks * 1_000_000 / rate;
        let off = media_us - before - packet.media_us;
        let Some(captured) = u64::try_from(before)
            .ok()
            .and_then(|us| capture.checked_sub(Duration::from_micros(us)))
            .filter(|_| off.abs() < SETTLED_US)
        else {
            continue;
        };
        packet.media_us += off;
        packet.capture = packet.capture.min(captured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Format, Scale};
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn frames_keep_their_distance_though_media_times_waver() {
        let mut timeline = Timeline::new(Codec::H264);
        let first = timeline.place(u32::MAX - 1000, 500_000);
        assert_eq!(first, 500_000);
        let mut last = first;
        for frame in 1..200_u32 {
            let waver = i64::from(frame % 7) * 1000;
            let media_us = 500_000 + 33_333 * i64::from(frame) + waver;
            let at = timeline.place((u32::MAX - 1000).wrapping_add(3000 * frame), media_us);
            assert!((29_999..=36_667).contains(&(at - last)), "{}", at - last);
            last = at;
        }
    }

    fn packet(timestamp: u32, media_us: i64, at: Instant) -> Packet {
        Packet {
            seq: u64::from(timestamp),
            timestamp,
            marker: true,
            keyframe: false,
            frame_start: true,
            format: Format::plain(Codec::H264),
            arrival: at,
            capture: at,
            media_us,
            resolution: None,
            scale: Scale::NONE,
            dependency: None,
            audio_level: None,
            padding: 0,
            payload: Arc::from([0u8; 4].as_slice()),
        }
    }

    #[test]
    fn what_is_kept_is_placed_by_the_newest() {
        let t0 = Instant::now();
        let frame = |n: u32| Duration::from_micros(33_333) * n;
        let mut packets: Vec<_> = (0..60_u32)
            .map(|n| {
                // The first fifteen came at once, and only then a report put them 70 ms earlier.
                let at = t0 + frame(n).max(Duration::from_millis(500));
                let moved = if n < 15 { 70_000 } else { 0 };
                packet(3000 * n, frame(n).as_micros() as i64 + moved, at)
            })
            .collect();
        settle(&mut packets.iter_mut().collect::<Vec<_>>());
        for (n, packet) in (0..).zip(&packets) {
            assert!((packet.media_us - frame(n).as_micros() as i64).abs() < 30);
            let even = t0 + frame(n);
            let off = packet.capture.saturating_duration_since(even);
            assert!(off < Duration::from_millis(1), "{n}: {off:?}");
        }
    }

    #[test]
    fn what_came_before_a_jump_is_not_placed_by_what_came_after() {
        let t0 = Instant::now();
        let mut packets = [packet(5, 1_000_000, t0), packet(0x7000_0000, 1_033_000, t0)];
        settle(&mut packets.iter_mut().collect::<Vec<_>>());
        assert_eq!(packets[0].media_us, 1_000_000);
    }

    #[test]
    fn layer_that_is_out_of_step_is_put_right_at_once() {
        let mut timeline = Timeline::new(Codec::Opus);
        timeline.place(0, 480_000);
        assert_eq!(timeline.place(960, 20_000), 20_000);
    }

    #[test]
    fn layer_moves_to_where_sender_reports_put_it() {
        for (codec, ticks, frames) in [(Codec::Opus, 960, 200), (Codec::H264, 1800, 40)] {
            let mut timeline = Timeline::new(codec);
            let mut at = timeline.place(0, 80_000);
            for n in 1..=300_u32 {
                let before =
                    std::mem::replace(&mut at, timeline.place(ticks * n, 20_000 * i64::from(n)));
                assert!(at > before);
                assert_eq!(at == 20_000 * i64::from(n), n >= frames, "{codec:?}: {n}");
            }
        }
    }

    #[test]
    fn jump_is_followed_at_once() {
        let mut timeline = Timeline::new(Codec::H264);
        timeline.place(0, 0);
        assert_eq!(timeline.place(0x7000_0000, 40_000), 40_000);
    }
}
