//! How many bits a second each level of a layer takes on its way to a viewer, averaged over seconds
//! so that a keyframe is not taken for the rate of its layer.

use std::time::{Duration, Instant};

use crate::bwe::{Bitrate, MAX_TEMPORAL};
use crate::packet::{Level, Levels, MAX_LEVELS, Scale};

/// What a viewer's packet has besides its payload: IP and UDP 28, RTP 12, header extensions
/// about 8, authentication tag 16.
pub const PACKET_OVERHEAD: u32 = 64;

const BUCKET: Duration = Duration::from_millis(250);
const BUCKETS: usize = 12;
/// The rate of something shorter is not known yet; a keyframe alone would make it huge.
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Bytes that readers of each level need.
    levels: [u32; MAX_LEVELS],
    /// Bytes that all need.
    all: u32,
    /// Which levels sent something of their own.
    seen: Levels,
}

/// A window of some seconds over the packets of a layer. Fixed in size; the rates are sums that are
/// kept up to date.
#[derive(Debug)]
pub struct Rates {
    buckets: [Bucket; BUCKETS],
    now: usize,
    sum: [u64; MAX_LEVELS],
    sum_all: u64,
    seen: Levels,
    began: Option<Instant>,
    bucket_began: Option<Instant>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            buckets: [Bucket::default(); BUCKETS],
            now: 0,
            sum: [0; MAX_LEVELS],
            sum_all: 0,
            seen: Levels::default(),
            began: None,
            bucket_began: None,
        }
    }
}

impl Rates {
    /// Count a packet.
    pub fn on_packet(&mut self, at: Instant, payload: usize, scale: &Scale) {
        self.roll(at);
        let bytes = payload as u32 + PACKET_OVERHEAD;
        let bucket = &mut self.buckets[self.now];
        if scale.needed == Levels::ALL {
            bucket.all = bucket.all.saturating_add(bytes);
            self.sum_all += u64::from(bytes);
        } else {
            for place in scale.needed.places() {
                bucket.levels[place] = bucket.levels[place].saturating_add(bytes);
                self.sum[place] += u64::from(bytes);
            }
        }
        bucket.seen = bucket.seen.with(scale.level);
        self.seen = self.seen.with(scale.level);
    }

    /// What a reader of `level` takes.
    pub fn rate(&self, now: Instant, level: Level) -> Bitrate {
        let (Some(began), Some(bucket)) = (self.began, self.bucket_began) else {
            return Bitrate::ZERO;
        };
        let window = BUCKET * (BUCKETS as u32 - 1) + now.saturating_duration_since(bucket);
        let covered = now
            .saturating_duration_since(began)
            .min(window)
            .max(SHORTEST);
        Bitrate::of(self.sum[level.place()] + self.sum_all, covered)
    }

    /// Highest spatial layer of the last seconds.
    pub fn spatial(&self) -> u8 {
        let place = self.seen.places().last().unwrap_or(0);
        (place / MAX_TEMPORAL) as u8
    }

    /// Highest temporal layer of the last seconds in a spatial layer.
    pub fn temporal(&self, spatial: u8) -> u8 {
        let of = |place: &usize| place / MAX_TEMPORAL == usize::from(spatial);
        let place = self.seen.places().filter(of).last().unwrap_or(0);
        (place % MAX_TEMPORAL) as u8
    }

    fn roll(&mut self, at: Instant) {
        self.began.get_or_insert(at);
        let mut began = *self.bucket_began.get_or_insert(at);
        let mut turns = 0;
        while at.saturating_duration_since(began) >= BUCKET {
            began += BUCKET;
            turns += 1;
            if turns > BUCKETS {
                // Silence longer than the window: as if it had only begun.
                *self = Self {
                    began: Some(at),
                    bucket_began: Some(at),
                    ..Self::default()
                };
                return;
            }
            self.advance();
        }
        self.bucket_began = Some(began);
    }

    fn advance(&mut self) {
        self.now = (self.now + 1) % BUCKETS;
        let old = std::mem::take(&mut self.buckets[self.now]);
        self.sum_all -= u64::from(old.all);
        for (sum, bytes) in self.sum.iter_mut().zip(old.levels) {
            *sum -= u64::from(bytes);
        }
        let join = |seen: Levels, bucket: &Bucket| seen.union(bucket.seen);
        self.seen = self.buckets.iter().fold(Levels::default(), join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn temporal(temporal: u8) -> Scale {
        let level = Level {
            spatial: 0,
            temporal,
        };
        Scale {
            level,
            needed: Levels::range(0..=3, temporal),
            ..Scale::NONE
        }
    }

    fn kbps(rate: Bitrate) -> u64 {
        rate.as_bps() / 1000
    }

    #[test]
    fn keyframe_is_spread_over_the_window() {
        let t0 = Instant::now();
        let mut rates = Rates::default();
        for n in 0..300 {
            let size = if n == 0 { 50_000 } else { 1186 };
            rates.on_packet(t0 + MS(20 * n), size, &Scale::NONE);
        }
        let now = t0 + MS(6000);
        let rate = kbps(rates.rate(now, Level::TOP));
        assert!((480..=520).contains(&rate), "{rate} kbit/s");
        assert_eq!((rates.spatial(), rates.temporal(0)), (0, 0));
    }

    #[test]
    fn temporal_layers_add_up() {
        let t0 = Instant::now();
        let mut rates = Rates::default();
        for n in 0..200 {
            rates.on_packet(t0 + MS(20 * n), 1186, &temporal((n % 2) as u8));
        }
        let at = |temporal| {
            let level = Level {
                spatial: 0,
                temporal,
            };
            kbps(rates.rate(t0 + MS(4000), level))
        };
        assert!((240..=260).contains(&at(0)), "{}", at(0));
        assert!((480..=520).contains(&at(1)), "{}", at(1));
        assert_eq!(at(1), at(3));
        assert_eq!(rates.temporal(0), 1);
    }

    #[test]
    fn what_stopped_long_ago_is_forgotten() {
        let t0 = Instant::now();
        let mut rates = Rates::default();
        rates.on_packet(t0, 100_000, &temporal(2));
        rates.on_packet(t0 + MS(60_000), 1000, &Scale::NONE);
        assert!(kbps(rates.rate(t0 + MS(60_000), Level::TOP)) < 10);
        assert_eq!(rates.temporal(0), 0);
    }
}
