//! Presentation times of packets: RTP timestamps of all layers on one timeline in microseconds.
//!
//! Within a layer time advances as the RTP timestamps do, so that frames keep their even distance.
//! Where it stands on the timeline is told by capture times, which sender reports make common to
//! audio and video; as these settle, each layer moves towards them, too slowly to be noticed.

use std::time::{Duration, Instant};

use crate::packet::Packet;

/// A layer this far off is put right at once: its timestamps have jumped, or it would be out of step
/// with the others for seconds.
const JUMP_US: i64 = 100_000;
/// How much of the time that passes may be added or left out while moving: 2 %.
const SLEW: i64 = 50;

/// One layer's place on the timeline.
#[derive(Debug, Clone)]
pub struct Timeline {
    rate: i64,
    epoch: Instant,
    /// Extended RTP timestamp and time of the last frame.
    last: Option<(i64, i64)>,
}

impl Timeline {
    /// Time zero is `epoch`, common to all layers; `rate` ticks a second.
    pub fn new(epoch: Instant, rate: u32) -> Self {
        Self {
            rate: i64::from(rate),
            epoch,
            last: None,
        }
    }

    fn since_epoch(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.epoch) {
            Some(after) => micros(after),
            None => -micros(self.epoch - at),
        }
    }

    /// Presentation time of a frame that was captured at `capture`.
    pub fn place(&mut self, timestamp: u32, capture: Instant) -> i64 {
        let captured = self.since_epoch(capture);
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
        let mut timeline = Timeline::new(t0, 90_000);
        let first = timeline.place(u32::MAX - 1000, t0 + MS(500));
        assert_eq!(first, 500_000);
        let mut last = first;
        for frame in 1..200_u32 {
            let waver = Duration::from_millis(u64::from(frame % 7));
            let capture = t0 + MS(500) + Duration::from_micros(33_333) * frame + waver;
            let at = timeline.place((u32::MAX - 1000).wrapping_add(3000 * frame), capture);
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

    #[test]
    fn layer_that_is_out_of_step_is_put_right_at_once() {
        let t0 = Instant::now();
        let mut timeline = Timeline::new(t0, 48_000);
        timeline.place(0, t0 + MS(480));
        assert_eq!(timeline.place(960, t0 + MS(20)), 20_000);
    }

    #[test]
    fn layer_moves_to_where_sender_reports_put_it() {
        let t0 = Instant::now();
        let mut timeline = Timeline::new(t0, 48_000);
        timeline.place(0, t0 + MS(80));
        let mut at = 0;
        for packet in 1..=300_u32 {
            at = timeline.place(960 * packet, t0 + MS(20) * packet);
        }
        assert_eq!(at, 6_000_000, "80 ms off at first");
    }

    #[test]
    fn jump_is_followed_at_once() {
        let t0 = Instant::now();
        let mut timeline = Timeline::new(t0, 90_000);
        timeline.place(0, t0);
        assert_eq!(timeline.place(0x7000_0000, t0 + MS(40)), 40_000);
    }
}
