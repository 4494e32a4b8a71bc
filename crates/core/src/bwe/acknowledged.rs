//! The rate at which packets reach the receiver: a Bayesian mean of 150 ms windows of its clock.
//!
//! As libwebrtc's `BitrateEstimator`: a window that differs much from the mean is trusted less,
//! and one with few bytes that is lower still less, so that a pause of the sender does not look like
//! a loss of bandwidth.

use super::units::{Bitrate, Stamp};

const FIRST_WINDOW_US: i64 = 500_000;
const WINDOW_US: i64 = 150_000;
/// Uncertainty of a window in percent of how far it is from the mean.
const UNCERTAINTY: f64 = 10.0;
const UNCERTAINTY_OF_SMALL: f64 = 25.0;
const SMALL_BYTES: u64 = 2000;
const DRIFT_OF_VARIANCE: f64 = 5.0;
const EXPECTED_CHANGE: f64 = 200.0;
const FLOOR_KBPS: f64 = 20.0;

/// Rate of what arrives.
#[derive(Debug)]
pub(super) struct Acknowledged {
    /// Mean in kbit/s and its variance.
    mean: Option<f64>,
    variance: f64,
    bytes: u64,
    window_us: i64,
    last: Option<Stamp>,
}

impl Acknowledged {
    pub fn new() -> Self {
        Self {
            mean: None,
            variance: 50.0,
            bytes: 0,
            window_us: 0,
            last: None,
        }
    }

    /// A packet arrived; in order of arrival.
    pub fn on_arrival(&mut self, at: Stamp, bytes: u16) {
        if let Some(sample) = self.close_window(at) {
            self.take(sample);
        }
        self.bytes += u64::from(bytes);
    }

    /// The sender changes its rate: what arrives now tells more than what arrived before.
    pub fn expect_change(&mut self) {
        self.variance += EXPECTED_CHANGE;
    }

    pub fn bitrate(&self) -> Option<Bitrate> {
        self.mean.map(|kbps| Bitrate::from_bps((kbps * 1e3) as u64))
    }

    /// Rate in kbit/s of the window that ends at `at`, and whether it had few bytes.
    fn close_window(&mut self, at: Stamp) -> Option<(f64, bool)> {
        let length = match self.mean {
            None => FIRST_WINDOW_US,
            Some(_) => WINDOW_US,
        };
        let passed = at.micros_since(self.last.replace(at)?);
        if passed < 0 {
            self.bytes = 0;
            self.window_us = 0;
            return None;
        }
        self.window_us += passed;
        if passed >= length {
            // Nothing came for a whole window: that says nothing about the link.
            self.bytes = 0;
            self.window_us %= length;
            return None;
        }
        if self.window_us < length {
            return None;
        }
        self.window_us -= length;
        let bytes = std::mem::take(&mut self.bytes);
        let kbps = bytes as f64 * 8000.0 / length as f64;
        Some((kbps, bytes < SMALL_BYTES))
    }

    fn take(&mut self, (sample, small): (f64, bool)) {
        let Some(mean) = self.mean else {
            self.mean = Some(sample.max(FLOOR_KBPS));
            return;
        };
        let scale = if small && sample < mean {
            UNCERTAINTY_OF_SMALL
        } else {
            UNCERTAINTY
        };
        let of_sample = (scale * (mean - sample).abs() / mean.max(1.0)).powi(2);
        let of_mean = self.variance + DRIFT_OF_VARIANCE;
        let weighted = (of_sample * mean + of_mean * sample) / (of_sample + of_mean);
        self.mean = Some(weighted.max(FLOOR_KBPS));
        self.variance = of_sample * of_mean / (of_sample + of_mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(rate: &mut Acknowledged, from_ms: i64, to_ms: i64, bytes_per_ms: u16) {
        for ms in from_ms..to_ms {
            rate.on_arrival(Stamp::from_micros(ms * 1000), bytes_per_ms);
        }
    }

    #[test]
    fn unknown_until_the_first_window_is_full() {
        let mut rate = Acknowledged::new();
        feed(&mut rate, 0, 500, 125);
        assert_eq!(rate.bitrate(), None);
        feed(&mut rate, 500, 502, 125);
        assert_eq!(rate.bitrate(), Some(Bitrate::from_kbps(1000)));
    }

    #[test]
    fn follows_a_change_within_a_second() {
        let mut rate = Acknowledged::new();
        feed(&mut rate, 0, 1000, 125);
        feed(&mut rate, 1000, 2000, 50);
        let kbps = rate.bitrate().unwrap().as_bps() / 1000;
        assert!((400..480).contains(&kbps), "{kbps}");
    }

    #[test]
    fn silence_does_not_lower_it() {
        let mut rate = Acknowledged::new();
        feed(&mut rate, 0, 1000, 125);
        feed(&mut rate, 5000, 5010, 125);
        let kbps = rate.bitrate().unwrap().as_bps() / 1000;
        assert!(kbps > 900, "{kbps}");
    }
}
