//! When was it captured: RTP timestamps of a publisher → its timeline → the engine's clock.
//!
//! How a publisher's layers stand to each other and how late they all come are two questions. Layers
//! are placed on one timeline by their sender reports (RFC 3550 §6.4.1). Until a layer has one, it is
//! taken to come as late at its fastest as the leading layer does, which is sound where there is any:
//! that one never moves, for a picture may be shown a little sooner or later, and sound may not.
//!
//! The timeline is tied to the engine's clock by the least delay of all packets. To learn of a smaller
//! one moves the whole timeline: a publisher that begins with a burst is late at first with all it sends.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The timeline begins here, so that what was captured a little before its first packet is above zero.
const ORIGIN: i128 = 10_000_000_000;
/// Timestamps this far from where they should be have jumped, and so has a clock that reports tell of.
const FAR: i128 = 5_000_000_000;
/// A least delay grows by one part in this many of the time that passes, because clocks drift apart.
const RISE: i128 = 5_000;
/// A report may have been made a little after its timestamp was current: the least late of some counts,
const REPORTS: usize = 8;
/// but none of those that are older than this.
const REPORT_AGE: i128 = 10_000_000_000;

/// What is known of a packet's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its time on the publisher's timeline, in microseconds.
    pub media_us: i64,
    /// The same on the engine's clock; never after its arrival.
    pub capture: Instant,
}

/// Least delay seen, in nanoseconds, and when.
#[derive(Debug, Default, Clone, Copy)]
struct Least(Option<(i128, i128)>);

impl Least {
    fn observe(&mut self, delay: i128, now: i128) {
        let least = self.0.map_or(delay, |(least, since)| {
            delay.min(least + (now - since).max(0) / RISE)
        });
        self.0 = Some((least, now));
    }

    fn get(self) -> i128 {
        self.0.map_or(0, |(least, _)| least)
    }
}

/// The timeline of a publisher; one for all tracks of a session.
#[derive(Debug, Default, Clone, Copy)]
pub struct PeerClock {
    /// When the timeline began.
    epoch: Option<Instant>,
    /// Added to the publisher's NTP time gives what reports tell.
    ntp: Option<i128>,
    /// Added to what reports tell gives the timeline: it was there before the leading layer's report.
    lead: Option<i128>,
    /// How much later than its time a packet comes.
    delay: Least,
    /// The same of the leading layer alone.
    led: Least,
}

impl PeerClock {
    fn nanos(&mut self, at: Instant) -> i128 {
        let epoch = *self.epoch.get_or_insert(at);
        match at.checked_duration_since(epoch) {
            Some(after) => ORIGIN + after.as_nanos() as i128,
            None => ORIGIN - (epoch - at).as_nanos() as i128,
        }
    }

    fn instant(&self, nanos: i128) -> Option<Instant> {
        let after = nanos - ORIGIN;
        let apart = Duration::from_nanos(u64::try_from(after.unsigned_abs()).ok()?);
        if after >= 0 {
            self.epoch?.checked_add(apart)
        } else {
            self.epoch?.checked_sub(apart)
        }
    }

    fn lead(&self) -> i128 {
        self.lead.unwrap_or(0)
    }
}

fn unix_nanos(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// One layer's RTP clock.
#[derive(Debug, Clone)]
pub struct LayerClock {
    rate: u32,
    leads: bool,
    /// A timestamp and its time: as reports tell it, once there are any.
    tie: Option<(u32, i128)>,
    /// When the last reports came, and by how much they were later than the tie.
    reports: VecDeque<(i128, i128)>,
    /// Without reports: how late its packets come by the tie.
    delay: Least,
}

impl LayerClock {
    /// A clock of `rate` ticks per second. One layer of a publisher leads.
    pub fn new(rate: u32, leads: bool) -> Self {
        Self {
            rate,
            leads,
            tie: None,
            reports: VecDeque::with_capacity(REPORTS),
            delay: Least::default(),
        }
    }

    /// Whether the others follow this one until they have reports.
    pub fn leads(&self) -> bool {
        self.leads
    }

    fn by_tie(&self, timestamp: u32) -> Option<i128> {
        let (tied, at) = self.tie?;
        let ticks = i128::from(timestamp.wrapping_sub(tied).cast_signed());
        Some(at + ticks * 1_000_000_000 / i128::from(self.rate))
    }

    /// The time of `timestamp`.
    fn media(&self, peer: &PeerClock, timestamp: u32) -> Option<i128> {
        let at = self.by_tie(timestamp)?;
        Some(if !self.reports.is_empty() {
            at + peer.lead()
        } else if self.leads {
            at
        } else {
            at + self.delay.get() - peer.led.get()
        })
    }

    /// A sender report came: `timestamp` was current at `ntp` of the peer.
    pub fn on_report(
        &mut self,
        peer: &mut PeerClock,
        timestamp: u32,
        ntp: SystemTime,
        arrival: Instant,
    ) {
        let now = peer.nanos(arrival);
        let here = self
            .media(peer, timestamp)
            .unwrap_or(now - peer.delay.get());
        let ntp = unix_nanos(ntp);
        let plausible = |told: &i128| (told + peer.lead() - here).abs() <= FAR;
        let told = peer
            .ntp
            .map(|offset| ntp + offset)
            .filter(plausible)
            .unwrap_or(here - peer.lead());
        peer.ntp = Some(told - ntp);
        if self.leads && peer.lead.is_none() {
            peer.lead = Some(here - told);
        }
        let expected = match self.by_tie(timestamp) {
            Some(expected) if !self.reports.is_empty() => expected,
            _ => told,
        };
        self.reports.truncate(REPORTS - 1);
        self.reports.retain(|(came, _)| now - came <= REPORT_AGE);
        self.reports.push_front((now, told - expected));
        let least = self.reports.iter().map(|(_, late)| *late).min();
        let least = least.unwrap_or(0);
        self.reports.iter_mut().for_each(|(_, late)| *late -= least);
        self.tie = Some((timestamp, expected + least));
        peer.delay.observe(now - told - peer.lead(), now);
    }

    /// Where a packet with `timestamp` belongs.
    pub fn place(&mut self, peer: &mut PeerClock, timestamp: u32, arrival: Instant) -> Place {
        let now = peer.nanos(arrival);
        let off_time = |media: i128| (now - media - peer.delay.get()).abs() > FAR;
        if self.media(peer, timestamp).is_none_or(off_time) {
            // The first one, or the timestamps jumped.
            self.tie = Some((timestamp, now - peer.delay.get()));
            self.reports.clear();
            self.delay = Least::default();
        }
        if let Some(at) = self.by_tie(timestamp) {
            self.delay.observe(now - at, now);
        }
        let media = self.media(peer, timestamp).unwrap_or(now);
        if self.leads {
            peer.led.observe(now - media, now);
        }
        if self.leads || !self.reports.is_empty() {
            peer.delay.observe(now - media, now);
        }
        let capture = peer.instant(media + peer.delay.get());
        Place {
            media_us: i64::try_from(media / 1000).unwrap_or(i64::MAX),
            capture: capture.unwrap_or(arrival).min(arrival),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const NTP: fn(u64) -> SystemTime = |ms| UNIX_EPOCH + MS(1_000_000_000 + ms);

    fn sound_and_picture() -> (PeerClock, LayerClock, LayerClock) {
        let (sound, picture) = (
            LayerClock::new(48_000, true),
            LayerClock::new(90_000, false),
        );
        (PeerClock::default(), sound, picture)
    }

    #[test]
    fn without_reports_capture_follows_the_earliest_arrival() {
        let t0 = Instant::now();
        let mut peer = PeerClock::default();
        for leads in [true, false] {
            let mut clock = LayerClock::new(90_000, leads);
            assert_eq!(clock.place(&mut peer, 0, t0).capture, t0);
            // 20 ms of queueing on the way: captured 33 ms after the first.
            let second = clock.place(&mut peer, 3000, t0 + MS(53));
            assert!(second.capture - t0 < MS(34), "{second:?}");
            // Faster than any before: the clock is tied to it.
            let third = clock.place(&mut peer, 6000, t0 + MS(60));
            assert_eq!(third.capture, t0 + MS(60));
        }
    }

    #[test]
    fn reports_put_audio_and_video_on_one_clock() {
        let t0 = Instant::now();
        let (mut peer, mut audio, mut video) = sound_and_picture();
        audio.on_report(&mut peer, 500_000, NTP(0), t0 + MS(10));
        video.on_report(&mut peer, 77, NTP(0), t0 + MS(40));
        // Both captured one second after the report, though video's report was slower.
        let arrival = t0 + MS(1_200);
        let a = audio.place(&mut peer, 548_000, arrival);
        let v = video.place(&mut peer, 90_077, arrival);
        assert_eq!(a, v);
        assert!(a.capture - t0 < MS(1_011), "{:?}", a.capture - t0);
        assert!(a.capture >= t0 + MS(1_010));
    }

    #[test]
    fn capture_is_never_after_arrival() {
        let t0 = Instant::now();
        let (mut peer, mut clock, _) = sound_and_picture();
        clock.on_report(&mut peer, 0, UNIX_EPOCH, t0);
        for timestamp in [900_000, 24_000, 48_000] {
            assert!(clock.place(&mut peer, timestamp, t0).capture <= t0);
        }
    }

    #[test]
    fn packets_that_come_before_their_report_has_them_move_all_tracks() {
        let t0 = Instant::now();
        let (mut peer, mut audio, mut video) = sound_and_picture();
        let begun = t0 + MS(500);
        audio.on_report(&mut peer, 0, NTP(0), begun);
        video.on_report(&mut peer, 0, NTP(0), begun);
        // Half a second of pictures at once, and after it everything in time.
        for frame in 0..=15 {
            video.place(&mut peer, 3000 * frame, begun);
        }
        for frame in 16..100_u32 {
            let arrival = t0 + Duration::from_secs(1) * frame / 30;
            let jitter = MS(u64::from(frame % 5));
            let v = video.place(&mut peer, frame * 3000, arrival + jitter);
            let a = audio.place(&mut peer, frame * 1600, arrival + MS(40));
            assert!(arrival - v.capture < Duration::from_micros(50), "{frame}");
            assert_eq!(a.media_us, v.media_us);
        }
        // Reports are late by that much from now on, and change nothing.
        audio.on_report(&mut peer, 480_000, NTP(10_000), begun + MS(10_000));
        let a = audio.place(&mut peer, 480_000, begun + MS(10_000));
        assert!(t0 + MS(10_000) - a.capture < MS(2));
    }

    #[test]
    fn publisher_that_is_faster_than_real_time_keeps_its_pace() {
        let t0 = Instant::now();
        for reports in [true, false] {
            let (mut peer, mut audio, mut video) = sound_and_picture();
            if reports {
                audio.on_report(&mut peer, 0, NTP(0), t0);
                video.on_report(&mut peer, 0, NTP(0), t0);
            }
            // A minute of media in 57 seconds.
            for n in 1..=3000_u32 {
                let arrival = t0 + MS(19) * n;
                let a = audio.place(&mut peer, 960 * n, arrival);
                let v = video.place(&mut peer, 1800 * n, arrival);
                let first = 10_000_000 + if reports { 0 } else { -20_000 };
                assert_eq!(a.media_us - first, 20_000 * i64::from(n));
                assert_eq!((a.media_us, a.capture), (v.media_us, v.capture));
            }
        }
    }

    /// As ffmpeg: what was encoded during the handshake comes at once, and half a second is sent ahead.
    fn burst(reports: bool) {
        let t0 = Instant::now();
        let (mut peer, mut audio, mut video) = sound_and_picture();
        if reports {
            audio.on_report(&mut peer, 7000, NTP(0), t0);
            video.on_report(&mut peer, 90, NTP(0), t0);
        }
        let mut late = Duration::MAX;
        for ms in 0..4000_u32 {
            let at = MS(u64::from(ms));
            let arrival = t0 + at.saturating_sub(MS(900)) + at / 100;
            let place = if ms % 20 == 0 {
                audio.place(&mut peer, 7000 + 48 * ms, arrival)
            } else if ms % 33 == 0 {
                video.place(&mut peer, 90 + 90 * ms, arrival)
            } else {
                continue;
            };
            let off = place.media_us - 10_000_000 - at.as_micros() as i64;
            assert!(off.abs() <= 33_000, "{ms}: off by {off}");
            assert!(!reports || off.abs() < 10, "{ms}: off by {off}");
            late = arrival - place.capture;
        }
        assert!(late < MS(40), "the engine's clock was not found: {late:?}");
    }

    #[test]
    fn burst_moves_no_track_against_another() {
        burst(true);
    }

    #[test]
    fn burst_without_reports_moves_no_track_against_another() {
        burst(false);
    }

    #[test]
    fn late_reports_move_the_picture_and_not_the_sound() {
        let t0 = Instant::now();
        for sound_first in [true, false] {
            let (mut peer, mut audio, mut video) = sound_and_picture();
            // The picture was captured 30 ms before the sound that came with it.
            let mut places = Vec::new();
            for n in 0..100_u32 {
                let arrival = t0 + MS(40) * n;
                let a = audio.place(&mut peer, 1920 * n, arrival);
                let v = video.place(&mut peer, 3600 * n, arrival);
                places.push((a.media_us, v.media_us));
                if n == if sound_first { 20 } else { 40 } {
                    audio.on_report(&mut peer, 1920 * n, NTP(u64::from(n) * 40), arrival);
                }
                if n == if sound_first { 40 } else { 20 } {
                    video.on_report(&mut peer, 3600 * n, NTP(u64::from(n) * 40 - 30), arrival);
                }
            }
            assert_eq!(places[0].0, places[0].1);
            for (n, place) in (0..).zip(&places) {
                assert_eq!(place.0 - places[0].0, 40_000 * n, "the sound moved");
            }
            let (a, v) = places[99];
            assert_eq!(a - v, 30_000, "in step as reported");
        }
    }

    #[test]
    fn reports_made_when_they_are_sent_do_not_shake_the_picture() {
        let t0 = Instant::now();
        let (mut peer, mut audio, mut video) = sound_and_picture();
        for n in 0..300_u32 {
            let at = MS(40) * n;
            if n % 25 == 0 {
                audio.on_report(&mut peer, 1920 * n, NTP(at.as_millis() as u64), t0 + at);
                let late = u64::from(n / 25 % 4) * 10;
                let sent = NTP(at.as_millis() as u64 + late);
                video.on_report(&mut peer, 3600 * n, sent, t0 + at + MS(late));
            }
            let a = audio.place(&mut peer, 1920 * n, t0 + at + MS(30));
            let v = video.place(&mut peer, 3600 * n, t0 + at + MS(30));
            assert_eq!(a.media_us, v.media_us, "{n}");
        }
    }

    #[test]
    fn sound_that_was_lost_on_the_way_to_its_encoder_comes_back_in_step() {
        let t0 = Instant::now();
        let (mut peer, mut audio, mut video) = sound_and_picture();
        let mut off = 0;
        for n in 0..1000_u32 {
            let at = MS(40) * n;
            // Samples are counted on, without the 200 ms that nobody recorded.
            let lost = if n > 300 { 200 } else { 0 };
            let counted = 48 * (40 * n - lost);
            if n % 125 == 0 {
                audio.on_report(&mut peer, counted, NTP(at.as_millis() as u64), t0 + at);
                video.on_report(&mut peer, 3600 * n, NTP(at.as_millis() as u64), t0 + at);
            }
            let a = audio.place(&mut peer, counted, t0 + at);
            let v = video.place(&mut peer, 3600 * n, t0 + at);
            off = a.media_us - v.media_us;
            assert!(n > 300 || off == 0);
        }
        assert_eq!(off, 0);
    }

    #[test]
    fn clock_that_is_set_anew_moves_nothing() {
        let t0 = Instant::now();
        let (mut peer, mut audio, mut video) = sound_and_picture();
        for n in 0..400_u32 {
            let at = MS(40) * n;
            let anew = if n > 150 { 3_600_000 } else { 0 };
            let ntp = NTP(at.as_millis() as u64 + anew);
            match n % 50 {
                0 => audio.on_report(&mut peer, 1920 * n, ntp, t0 + at),
                25 => video.on_report(&mut peer, 3600 * n, ntp, t0 + at),
                _ => {}
            }
            let a = audio.place(&mut peer, 1920 * n, t0 + at);
            let v = video.place(&mut peer, 3600 * n, t0 + at);
            assert_eq!(a.media_us, 10_000_000 + i64::from(n) * 40_000);
            assert_eq!(a.media_us, v.media_us, "{n}");
            assert!(t0 + at - a.capture < MS(2));
        }
    }

    #[test]
    fn timestamps_that_jump_go_on_where_they_came() {
        let t0 = Instant::now();
        let (mut peer, mut audio, mut video) = sound_and_picture();
        audio.place(&mut peer, 0, t0);
        video.place(&mut peer, 0, t0);
        let a = audio.place(&mut peer, 0x7000_0000, t0 + MS(40));
        let v = video.place(&mut peer, 3600, t0 + MS(40));
        assert_eq!((a.media_us, a.capture), (10_040_000, t0 + MS(40)));
        assert_eq!(a, v);
    }

    #[test]
    fn slow_clock_of_a_publisher_is_followed() {
        let t0 = Instant::now();
        let (mut peer, mut audio, _) = sound_and_picture();
        // 50 ppm slow, for an hour.
        for second in 0..3600_u32 {
            let at = t0 + Duration::from_micros(1_000_050) * second;
            let place = audio.place(&mut peer, second.wrapping_mul(48_000), at);
            assert!(at - place.capture < MS(1), "{second}");
        }
    }
}
