//! When a trend means too much traffic: a threshold that adapts to how noisy the path is
//! (draft-ietf-rmcat-gcc-02 §5.4, §5.5).
//!
//! A fixed threshold either cries wolf on a jittery link or lets a competing TCP flow starve this
//! one; hence it follows the trend, up slowly and down quickly.

use super::trendline::Trend;
use super::units::Stamp;

const FIRST_MS: f64 = 12.5;
const MIN_MS: f64 = 6.0;
const MAX_MS: f64 = 600.0;
const GROW: f64 = 0.0087;
const SHRINK: f64 = 0.039;
/// A trend this far above the threshold is a step of the link, not noise to adapt to.
const MAX_NOISE_MS: f64 = 15.0;
const MAX_STEP_MS: f64 = 100.0;
/// How long the trend must stay above.
const SUSTAINED_MS: f64 = 10.0;

/// What the delay says about the traffic.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Usage {
    /// The queue drains.
    Under,
    #[default]
    Normal,
    /// The queue grows.
    Over,
}

/// Judges trends.
#[derive(Debug)]
pub(super) struct OveruseDetector {
    threshold_ms: f64,
    adapted: Option<Stamp>,
    above_ms: Option<f64>,
    above_count: u32,
    last_slope: f64,
    usage: Usage,
}

impl OveruseDetector {
    pub fn new() -> Self {
        Self {
            threshold_ms: FIRST_MS,
            adapted: None,
            above_ms: None,
            above_count: 0,
            last_slope: 0.0,
            usage: Usage::Normal,
        }
    }

    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// A new trend, of a group sent `sent_ms` after the one before.
    pub fn on_trend(&mut self, trend: Trend, sent_ms: f64, arrival: Stamp) -> Usage {
        if trend.amplified > self.threshold_ms {
            let above = self.above_ms.map_or(sent_ms / 2.0, |ms| ms + sent_ms);
            self.above_ms = Some(above);
            self.above_count += 1;
            if above > SUSTAINED_MS && self.above_count > 1 && trend.slope >= self.last_slope {
                self.forget_above();
                self.usage = Usage::Over;
            }
        } else {
            self.forget_above();
            self.usage = if trend.amplified < -self.threshold_ms {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.last_slope = trend.slope;
        self.adapt(trend.amplified.abs(), arrival);
        self.usage
    }

    fn forget_above(&mut self) {
        self.above_ms = None;
        self.above_count = 0;
    }

    fn adapt(&mut self, amplified: f64, arrival: Stamp) {
        let last = *self.adapted.get_or_insert(arrival);
        self.adapted = Some(arrival);
        if amplified > self.threshold_ms + MAX_NOISE_MS {
            return;
        }
        let gain = if amplified < self.threshold_ms {
            SHRINK
        } else {
            GROW
        };
        let step_ms = arrival.ms_since(last).clamp(0.0, MAX_STEP_MS);
        self.threshold_ms += gain * (amplified - self.threshold_ms) * step_ms;
        self.threshold_ms = self.threshold_ms.clamp(MIN_MS, MAX_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(detector: &mut OveruseDetector, amplified: f64, from_ms: i64, to_ms: i64) -> Usage {
        for ms in (from_ms..to_ms).step_by(20) {
            let trend = Trend {
                slope: amplified / 240.0,
                amplified,
            };
            detector.on_trend(trend, 20.0, Stamp::from_micros(ms * 1000));
        }
        detector.usage()
    }

    #[test]
    fn one_trend_above_is_not_overuse() {
        let mut detector = OveruseDetector::new();
        assert_eq!(feed(&mut detector, 20.0, 0, 20), Usage::Normal);
        assert_eq!(feed(&mut detector, 20.0, 20, 40), Usage::Over);
    }

    #[test]
    fn falling_delay_is_underuse() {
        let mut detector = OveruseDetector::new();
        assert_eq!(feed(&mut detector, -20.0, 0, 100), Usage::Under);
    }

    #[test]
    fn noise_raises_the_threshold_and_quiet_lowers_it() {
        let mut detector = OveruseDetector::new();
        feed(&mut detector, 20.0, 0, 3000);
        assert!(detector.threshold_ms > 18.0, "{}", detector.threshold_ms);
        feed(&mut detector, 0.0, 3000, 6000);
        assert!(detector.threshold_ms < 7.0, "{}", detector.threshold_ms);
    }

    #[test]
    fn step_of_the_link_does_not_raise_the_threshold() {
        let mut detector = OveruseDetector::new();
        feed(&mut detector, 200.0, 0, 1000);
        assert!(detector.threshold_ms < FIRST_MS + 0.1);
    }
}
