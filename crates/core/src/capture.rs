//! When was it captured: RTP timestamps of a publisher → the engine's clock.
//!
//! Until sender reports arrive, a track's clock is tied to the earliest arrival
//! seen (least queueing). Once a track has a report (RFC 3550 §6.4.1), its
//! timestamps go through the publisher's NTP clock, which audio and video of a
//! publisher share: that is what keeps them in sync at the viewer. A packet that
//! comes before it was captured moves that clock, and so all tracks: encoders that
//! begin with a burst stay ahead of their reports.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reports and arrival do not contradict each other by so much.
const IMPLAUSIBLE: Duration = Duration::from_secs(5);

/// The publisher's NTP clock against ours; one for all tracks of a session.
#[derive(Debug, Default, Clone, Copy)]
pub struct PeerClock {
    /// Smallest seen (arrival of a report on our clock − peer's NTP), in nanoseconds from `epoch`.
    offset: Option<i128>,
    /// By how much packets came before their reports have it, in nanoseconds.
    early: i128,
    epoch: Option<Instant>,
}

impl PeerClock {
    fn nanos(&self, at: Instant) -> i128 {
        let epoch = self.epoch.unwrap_or(at);
        match at.checked_duration_since(epoch) {
            Some(after) => after.as_nanos() as i128,
            None => -(epoch.duration_since(at).as_nanos() as i128),
        }
    }

    fn observe(&mut self, ntp: SystemTime, arrival: Instant) {
        self.epoch.get_or_insert(arrival);
        let offset = self.nanos(arrival) - unix_nanos(ntp);
        self.offset = Some(match self.offset {
            // A jump of seconds is a clock set anew, not less queueing.
            Some(old) if (old - offset).abs() < 2_000_000_000 => old.min(offset),
            _ => offset,
        });
    }

    /// The peer's NTP time on our clock.
    pub fn local(&self, ntp_nanos: i128) -> Option<Instant> {
        let nanos = ntp_nanos + self.offset? - self.early;
        let epoch = self.epoch?;
        if nanos >= 0 {
            epoch.checked_add(Duration::from_nanos(nanos as u64))
        } else {
            epoch.checked_sub(Duration::from_nanos((-nanos) as u64))
        }
    }
}

fn unix_nanos(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// One layer's RTP clock.
#[derive(Debug, Clone, Copy)]
pub struct LayerClock {
    rate: u32,
    /// A timestamp and the instant it is tied to while there is no report.
    anchor: Option<(u32, Instant)>,
    report: Option<(u32, i128)>,
}

impl LayerClock {
    /// A clock of `rate` ticks per second.
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            anchor: None,
            report: None,
        }
    }

    /// A sender report came: `timestamp` was captured at `ntp` of the peer.
    pub fn on_report(
        &mut self,
        peer: &mut PeerClock,
        timestamp: u32,
        ntp: SystemTime,
        now: Instant,
    ) {
        peer.observe(ntp, now);
        self.report = Some((timestamp, unix_nanos(ntp)));
    }

    /// Capture time of `timestamp`, at most `arrival`.
    pub fn capture(&mut self, peer: &mut PeerClock, timestamp: u32, arrival: Instant) -> Instant {
        if let Some((reported, ntp)) = self.report {
            let ticks = i128::from(timestamp.wrapping_sub(reported) as i32);
            let nanos = ntp + ticks * 1_000_000_000 / i128::from(self.rate);
            if let Some(at) = peer.local(nanos) {
                // A report that contradicts arrival by seconds is not believed.
                let late = arrival.saturating_duration_since(at);
                let early = at.saturating_duration_since(arrival);
                if late.max(early) < IMPLAUSIBLE {
                    peer.early += early.as_nanos() as i128;
                    return at.min(arrival);
                }
            }
        }
        self.by_arrival(timestamp, arrival)
    }

    fn by_arrival(&mut self, timestamp: u32, arrival: Instant) -> Instant {
        let (anchor_ts, anchor_at) = *self.anchor.get_or_insert((timestamp, arrival));
        let ticks = i64::from(timestamp.wrapping_sub(anchor_ts) as i32);
        let offset =
            Duration::from_nanos(ticks.unsigned_abs() * 1_000_000_000 / u64::from(self.rate));
        let at = if ticks >= 0 {
            anchor_at.checked_add(offset)
        } else {
            anchor_at.checked_sub(offset)
        };
        match at {
            Some(at) if at <= arrival && arrival - at < Duration::from_secs(2) => at,
            // Earlier than ever (less queueing), or the timestamps jumped: tie anew.
            _ => {
                self.anchor = Some((timestamp, arrival));
                arrival
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_reports_capture_follows_the_earliest_arrival() {
        let t0 = Instant::now();
        let ms = Duration::from_millis;
        let mut clock = LayerClock::new(90_000);
        let mut peer = PeerClock::default();
        assert_eq!(clock.capture(&mut peer, 0, t0), t0);
        // 20 ms of queueing on the way: captured 33 ms after the first.
        assert_eq!(
            clock.capture(&mut peer, 3000, t0 + ms(53)),
            t0 + Duration::from_nanos(33_333_333)
        );
        // Faster than any before: the clock is tied to it.
        assert_eq!(clock.capture(&mut peer, 6000, t0 + ms(60)), t0 + ms(60));
    }

    #[test]
    fn reports_put_audio_and_video_on_one_clock() {
        let t0 = Instant::now();
        let ms = Duration::from_millis;
        let ntp = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut peer = PeerClock::default();
        let mut audio = LayerClock::new(48_000);
        let mut video = LayerClock::new(90_000);
        audio.on_report(&mut peer, 500_000, ntp, t0 + ms(10));
        video.on_report(&mut peer, 77, ntp, t0 + ms(40));
        // Both captured one second after the report, though video's report was slower.
        let arrival = t0 + ms(1_200);
        let a = audio.capture(&mut peer, 548_000, arrival);
        let v = video.capture(&mut peer, 90_077, arrival);
        assert_eq!(a, v);
        assert_eq!(a, t0 + ms(1_010));
    }

    #[test]
    fn packets_that_come_before_their_report_has_them_move_all_tracks() {
        let t0 = Instant::now();
        let ms = Duration::from_millis;
        let ntp = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut peer = PeerClock::default();
        let mut audio = LayerClock::new(48_000);
        let mut video = LayerClock::new(90_000);
        let begun = t0 + ms(500);
        audio.on_report(&mut peer, 0, ntp, begun);
        video.on_report(&mut peer, 0, ntp, begun);
        // Half a second of pictures at once, and after it everything in time.
        for frame in 0..=15 {
            video.capture(&mut peer, 3000 * frame, begun);
        }
        for frame in 16..100_u32 {
            let arrival = t0 + Duration::from_secs(1) * frame / 30;
            let jitter = ms(u64::from(frame % 5));
            let v = video.capture(&mut peer, frame * 3000, arrival + jitter);
            let a = audio.capture(&mut peer, frame * 1600, arrival + ms(40));
            assert!(
                arrival.duration_since(v) < Duration::from_micros(5),
                "{frame}"
            );
            assert!(a.max(v).duration_since(a.min(v)) < Duration::from_micros(5));
        }
        // Reports are late by that much from now on, and change nothing.
        let later = ms(10_000);
        audio.on_report(&mut peer, 480_000, ntp + later, begun + later);
        let a = audio.capture(&mut peer, 480_000, begun + later);
        assert!((t0 + later).duration_since(a) < Duration::from_micros(5));
    }

    #[test]
    fn capture_is_never_after_arrival() {
        let t0 = Instant::now();
        let mut peer = PeerClock::default();
        let mut clock = LayerClock::new(90_000);
        clock.on_report(&mut peer, 0, UNIX_EPOCH, t0);
        assert_eq!(clock.capture(&mut peer, 900_000, t0), t0);
    }
}
