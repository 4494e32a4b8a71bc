//! Whether the delay grows: the slope of a line through the smoothed delays of the last groups
//! (libwebrtc's `TrendlineEstimator`, which replaced the Kalman filter of draft-ietf-rmcat-gcc-02 §5.3).

use super::groups::Variation;
use super::units::Stamp;

const WINDOW: usize = 20;
const SMOOTHING: f64 = 0.9;
const GAIN: f64 = 4.0;
const MAX_WEIGHT: u32 = 60;

/// The trend after a variation.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) struct Trend {
    /// Milliseconds of delay per millisecond of time.
    pub slope: f64,
    /// The slope amplified by how much is known, to compare with a threshold in milliseconds.
    pub amplified: f64,
}

/// The delays of the last groups.
#[derive(Debug)]
pub(super) struct Trendline {
    /// Arrival and smoothed delay, in milliseconds.
    points: [(f64, f64); WINDOW],
    len: usize,
    next: usize,
    origin: Option<Stamp>,
    accumulated_ms: f64,
    smoothed_ms: f64,
    variations: u32,
    slope: f64,
}

impl Trendline {
    pub fn new() -> Self {
        Self {
            points: [(0.0, 0.0); WINDOW],
            len: 0,
            next: 0,
            origin: None,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            variations: 0,
            slope: 0.0,
        }
    }

    pub fn on_variation(&mut self, variation: &Variation) -> Trend {
        let origin = *self.origin.get_or_insert(variation.arrival);
        self.variations = (self.variations + 1).min(MAX_WEIGHT);
        self.accumulated_ms += variation.delay_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.accumulated_ms;
        self.points[self.next] = (variation.arrival.ms_since(origin), self.smoothed_ms);
        self.next = (self.next + 1) % WINDOW;
        self.len = (self.len + 1).min(WINDOW);
        if self.len == WINDOW {
            self.slope = slope(&self.points).unwrap_or(self.slope);
        }
        Trend {
            slope: self.slope,
            amplified: self.slope * f64::from(self.variations) * GAIN,
        }
    }
}

/// Least squares; `None` when all came at the same time.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / count;
    let rise: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let run: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    (run > 0.0).then(|| rise / run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(delay_ms: impl Fn(i64) -> f64) -> Trend {
        let mut trendline = Trendline::new();
        let mut trend = None;
        for i in 0..100 {
            trend = Some(trendline.on_variation(&Variation {
                sent_ms: 20.0,
                delay_ms: delay_ms(i),
                arrival: Stamp::from_micros(i * 20_000),
            }));
        }
        trend.unwrap()
    }

    #[test]
    fn steady_delay_has_no_trend() {
        assert!(run(|_| 0.0).amplified.abs() < 1e-9);
    }

    #[test]
    fn noise_around_a_steady_delay_has_little_trend() {
        let trend = run(|i| if i % 2 == 0 { 5.0 } else { -5.0 });
        assert!(trend.amplified.abs() < 3.0, "{trend:?}");
    }

    #[test]
    fn growing_delay_has_its_slope() {
        let trend = run(|_| 2.0);
        assert!((trend.slope - 0.1).abs() < 0.01, "{trend:?}");
        assert!((trend.amplified - 24.0).abs() < 2.0, "{trend:?}");
    }
}
