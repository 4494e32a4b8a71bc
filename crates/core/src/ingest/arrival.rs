//! When a frame was captured, told by when it came.
//!
//! RTMP and SRT encoders say only how far apart frames are. The frame that came fastest so far ties
//! their timeline to our clock; slower ones were held up on the way. As clocks drift apart the tie
//! loosens slowly. It is never later than arrival.

use std::time::{Duration, Instant};

/// How far a publisher's clock may run behind ours: 500 ppm, five times what crystals do.
const DRIFT_PER_MILLION: u64 = 500;
/// A frame this much later than expected is on a timeline set anew.
const JUMP: Duration = Duration::from_secs(10);

/// A publisher's timeline on our clock; one for all its tracks, which keeps them in step.
#[derive(Debug, Default)]
pub struct ArrivalClock {
    /// A presentation time and the instant it is tied to.
    tie: Option<(i64, Instant)>,
    last: Option<Instant>,
}

impl ArrivalClock {
    /// When the frame presented at `pts_us` was captured, if it came at `arrival`.
    pub fn capture(&mut self, pts_us: i64, arrival: Instant) -> Instant {
        let expected = self
            .tie
            .and_then(|(pts, at)| shift(at, pts_us.saturating_sub(pts)));
        let since_last = self.last.map_or(Duration::ZERO, |last| {
            arrival.saturating_duration_since(last)
        });
        self.last = Some(arrival);
        let at = match expected {
            Some(at) if at <= arrival && arrival - at < JUMP => {
                let loosened = since_last.as_nanos() as u64 * DRIFT_PER_MILLION / 1_000_000;
                at + Duration::from_nanos(loosened).min(arrival - at)
            }
            // The fastest so far, the first one, or a timeline set anew.
            _ => arrival,
        };
        self.tie = Some((pts_us, at));
        at
    }
}

fn shift(at: Instant, micros: i64) -> Option<Instant> {
    let by = Duration::from_micros(micros.unsigned_abs());
    if micros >= 0 {
        at.checked_add(by)
    } else {
        at.checked_sub(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = 1000;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_frame_held_up_on_the_way_keeps_its_place() {
        let t0 = Instant::now();
        let mut clock = ArrivalClock::default();
        assert_eq!(clock.capture(0, t0), t0);
        let held_up = clock.capture(40 * MS, t0 + ms(340));
        assert!(held_up >= t0 + ms(40) && held_up < t0 + ms(41));
    }

    #[test]
    fn a_faster_frame_ties_the_clock_anew() {
        let t0 = Instant::now();
        let mut clock = ArrivalClock::default();
        clock.capture(0, t0 + ms(100));
        assert_eq!(clock.capture(40 * MS, t0 + ms(110)), t0 + ms(110));
        let next = clock.capture(80 * MS, t0 + ms(170));
        assert!(next >= t0 + ms(150) && next < t0 + ms(151));
    }

    #[test]
    fn a_slow_clock_is_followed() {
        let t0 = Instant::now();
        let mut clock = ArrivalClock::default();
        // The publisher loses 100 µs a second for an hour: 360 ms in all.
        let mut last = t0;
        for second in 0..3600i64 {
            let arrival = t0 + Duration::from_micros(second as u64 * 1_000_100);
            let capture = clock.capture(second * 1_000_000, arrival);
            assert!(arrival - capture < ms(1), "second {second}");
            assert!(capture >= last);
            last = capture;
        }
    }

    #[test]
    fn a_timeline_set_anew_starts_at_its_arrival() {
        let t0 = Instant::now();
        let mut clock = ArrivalClock::default();
        clock.capture(3_600_000 * MS, t0);
        assert_eq!(clock.capture(0, t0 + ms(40)), t0 + ms(40));
    }

    proptest! {
        #[test]
        fn capture_is_never_after_arrival(
            frames in prop::collection::vec((any::<i64>(), 0..100_000u64), 1..50),
        ) {
            let mut clock = ArrivalClock::default();
            let mut arrival = Instant::now();
            for (pts, later) in frames {
                arrival += Duration::from_micros(later);
                prop_assert!(clock.capture(pts, arrival) <= arrival);
            }
        }
    }
}
