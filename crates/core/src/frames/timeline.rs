//! Presentation times of packets: RTP timestamps of all layers on one timeline in microseconds.
//!
//! Within a layer time advances as the RTP timestamps do, so that frames keep their even distance.
//! How layers stand to each other is told by capture times, which sender reports make common to audio
//! and video. One layer leads; the others, as capture times settle, move to where they belong beside it,
//! too slowly to be noticed. When all capture times move, nothing does: an encoder that sends faster than
//! real time, as it begins or after a stall, has not made its pictures any shorter.

use std::time::{Duration, Instant};

use stagecast_proto::codec::Kind;

use crate::packet::Packet;

/// A layer this far off is put right at once: its timestamps have jumped, or it would be out of step
/// with the others for seconds.
const JUMP_US: i64 = 100_000;
/// How much of the time that passes may be added or left out while moving: 2 %.
const SLEW: i64 = 50;

/// A leader that has been silent for so long leads no more.
const SILENT_US: i64 = 1_000_000;

/// What all layers of a publisher have in common.
#[derive(Debug)]
pub struct Pace {
    epoch: Instant,
    /// How far capture times have moved from the timeline, by the layer that leads.
    moved_us: i64,
    leader: Option<Leader>,
    layers: u32,
}

#[derive(Debug, Clone, Copy)]
struct Leader {
    layer: u32,
    kind: Kind,
    /// Its newest capture time.
    at_us: i64,
}

impl Pace {
    /// Time zero is `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            moved_us: 0,
            leader: None,
            layers: 0,
        }
    }

    fn since_epoch(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.epoch) {
            Some(after) => micros(after),
            None => -micros(self.epoch - at),
        }
    }

    /// Whether a layer leads: sound before pictures, as it is what cannot be stretched.
    fn is_led_by(&mut self, layer: u32, kind: Kind, at_us: i64) -> bool {
        let leads = self.leader.is_none_or(|leader| {
            leader.layer == layer
                || (leader.kind != kind && kind == Kind::Audio)
                || (at_us - leader.at_us > SILENT_US)
        });
        if leads {
            self.leader = Some(Leader { layer, kind, at_us });
        }
        leads
    }
}

/// One layer's place on the timeline.
#[derive(Debug, Clone)]
pub struct Timeline {
    layer: u32,
    kind: Kind,
    rate: i64,
    /// Extended RTP timestamp and time of the last frame.
    last: Option<(i64, i64)>,
}

impl Timeline {
    /// A layer among those of `pace`, with `rate` ticks a second.
    pub fn new(pace: &mut Pace, kind: Kind, rate: u32) -> Self {
        pace.layers += 1;
        Self {
            layer: pace.layers,
            kind,
            rate: i64::from(rate),
            last: None,
        }
    }

    /// Presentation time of a frame that was captured at `capture`.
    pub fn place(&mut self, pace: &mut Pace, timestamp: u32, capture: Instant) -> i64 {
        let capture_us = pace.since_epoch(capture);
        let leads = pace.is_led_by(self.layer, self.kind, capture_us);
        let captured = capture_us - pace.moved_us;
        let Some((last_ticks, last_us)) = self.last else {
            self.last = Some((i64::from(timestamp), captured));
            return captured;
        };
        let ticks = last_ticks + i64::from(timestamp.wrapping_sub(last_ticks as u32) as i32);
        let passed = (ticks - last_ticks) * 1_000_000 / self.rate;
        let even = last_us + passed;
        let off = captured - even;
        let most = (passed.abs() / SLEW).max(1);
        let at = if off.abs() > JUMP_US {
            captured
        } else if leads {
            pace.moved_us += off;
            even
        } else {
            even + off.clamp(-most, most)
        };
        self.last = Some((ticks, at));
        at
    }
}

/// Correct the capture times of packets of one layer, in order, by all of them together: a publisher that
/// begins with a burst sends its first packets late, and alone they seem to be captured when they came.
pub fn settle(packets: &mut [&mut Packet]) {
    let Some(first) = packets.first() else { return };
    let (begin, rate) = (first.timestamp, first.format.codec.clock_rate());
    let after = |packet: &Packet| {
        let ticks = packet.timestamp.wrapping_sub(begin).cast_signed().max(0);
        Duration::from_micros(u64::from(ticks.cast_unsigned()) * 1_000_000 / u64::from(rate))
    };
    let starts = packets
        .iter()
        .filter_map(|p| p.capture.checked_sub(after(p)));
    let Some(start) = starts.min() else { return };
    for packet in packets {
        packet.capture = packet.capture.min(start + after(packet));
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Format, Scale};
    use stagecast_proto::codec::Codec;
    use std::sync::Arc;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn frames_keep_their_distance_though_capture_times_waver() {
        let t0 = Instant::now();
        let mut pace = Pace::new(t0);
        let mut sound = Timeline::new(&mut pace, Kind::Audio, 48_000);
        sound.place(&mut pace, 0, t0 + MS(500));
        let mut timeline = Timeline::new(&mut pace, Kind::Video, 90_000);
        let first = timeline.place(&mut pace, u32::MAX - 1000, t0 + MS(500));
        assert_eq!(first, 500_000);
        let mut last = first;
        for frame in 1..200_u32 {
            let waver = Duration::from_millis(u64::from(frame % 7));
            let capture = t0 + MS(500) + Duration::from_micros(33_333) * frame;
            let timestamp = (u32::MAX - 1000).wrapping_add(3000 * frame);
            sound.place(&mut pace, 1600 * frame, capture);
            let at = timeline.place(&mut pace, timestamp, capture + waver);
            assert!((32_600..=34_000).contains(&(at - last)), "{}", at - last);
            last = at;
        }
    }

    fn packet(timestamp: u32, at: Instant) -> Packet {
        Packet {
            seq: u64::from(timestamp),
            timestamp,
            marker: true,
            keyframe: false,
            frame_start: true,
            format: Format::plain(Codec::H264),
            arrival: at,
            capture: at,
            resolution: None,
            scale: Scale::NONE,
            dependency: None,
            audio_level: None,
            padding: 0,
            payload: Arc::from([0u8; 4].as_slice()),
        }
    }

    #[test]
    fn burst_at_the_beginning_is_captured_evenly() {
        let t0 = Instant::now();
        let mut packets: Vec<_> = (0..60_u32)
            .map(|frame| {
                let even = t0 + Duration::from_micros(33_333) * frame;
                // The first fifteen came at once.
                packet(3000 * frame, even.max(t0 + MS(500)))
            })
            .collect();
        settle(&mut packets.iter_mut().collect::<Vec<_>>());
        for (frame, packet) in (0..).zip(&packets) {
            let even = t0 + Duration::from_micros(33_333) * frame;
            assert!(
                packet.capture.saturating_duration_since(even) < MS(20),
                "{frame}"
            );
        }
    }

    /// Sound that leads, and a layer of `kind` beside it.
    fn led(t0: Instant, kind: Kind, rate: u32) -> (Pace, Timeline, Timeline) {
        let mut pace = Pace::new(t0);
        let sound = Timeline::new(&mut pace, Kind::Audio, 48_000);
        let beside = Timeline::new(&mut pace, kind, rate);
        (pace, sound, beside)
    }

    #[test]
    fn layer_that_is_out_of_step_is_put_right_at_once() {
        let t0 = Instant::now();
        let (mut pace, mut sound, mut beside) = led(t0, Kind::Audio, 48_000);
        sound.place(&mut pace, 0, t0);
        beside.place(&mut pace, 0, t0 + MS(480));
        assert_eq!(beside.place(&mut pace, 960, t0 + MS(20)), 20_000);
    }

    #[test]
    fn layer_moves_to_where_sender_reports_put_it() {
        let t0 = Instant::now();
        let (mut pace, mut sound, mut beside) = led(t0, Kind::Audio, 48_000);
        sound.place(&mut pace, 0, t0);
        beside.place(&mut pace, 0, t0 + MS(80));
        let mut at = 0;
        for packet in 1..=300_u32 {
            sound.place(&mut pace, 960 * packet, t0 + MS(20) * packet);
            at = beside.place(&mut pace, 960 * packet, t0 + MS(20) * packet);
        }
        assert_eq!(at, 6_000_000, "80 ms off at first");
    }

    #[test]
    fn publisher_that_is_faster_than_real_time_keeps_its_pace() {
        let t0 = Instant::now();
        let (mut pace, mut sound, mut pictures) = led(t0, Kind::Video, 90_000);
        pictures.place(&mut pace, 0, t0);
        sound.place(&mut pace, 0, t0);
        // A minute of media in 57 seconds.
        for packet in 1..=3000_u32 {
            let capture = t0 + MS(19) * packet;
            let heard = sound.place(&mut pace, 960 * packet, capture);
            let seen = pictures.place(&mut pace, 1800 * packet, capture);
            assert_eq!((heard, seen), (20_000 * i64::from(packet), heard));
        }
    }

    #[test]
    fn silent_leader_is_followed_by_another() {
        let t0 = Instant::now();
        let (mut pace, mut sound, mut pictures) = led(t0, Kind::Video, 90_000);
        sound.place(&mut pace, 0, t0);
        pictures.place(&mut pace, 0, t0);
        let mut last = 0;
        for frame in 1..=300_u32 {
            let capture = t0 + MS(38) * frame;
            let at = pictures.place(&mut pace, 3600 * frame, capture);
            if frame > 30 {
                assert_eq!(at - last, 40_000, "{frame}");
            }
            last = at;
        }
    }

    #[test]
    fn jump_is_followed_at_once() {
        let t0 = Instant::now();
        let mut pace = Pace::new(t0);
        let mut timeline = Timeline::new(&mut pace, Kind::Video, 90_000);
        timeline.place(&mut pace, 0, t0);
        assert_eq!(timeline.place(&mut pace, 0x7000_0000, t0 + MS(40)), 40_000);
    }
}
