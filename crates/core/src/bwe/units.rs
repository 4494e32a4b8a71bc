//! The units of bandwidth estimation: bits a second, and stamps of two clocks that share no origin.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul, Sub};
use std::time::Duration;

/// Bits a second, headers included unless said otherwise.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// No limit.
    pub const MAX: Self = Self(u64::MAX);

    /// From bits a second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// From thousands of bits a second.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps * 1000)
    }

    /// The rate that carries `bytes` in `time`; no limit if that is zero.
    pub fn of(bytes: u64, time: Duration) -> Self {
        if time.is_zero() {
            return Self::MAX;
        }
        Self((bytes as f64 * 8.0 / time.as_secs_f64()) as u64)
    }

    /// Bits a second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// Bytes that fit into `time`.
    pub fn bytes_in(self, time: Duration) -> u64 {
        (self.0 as f64 * time.as_secs_f64() / 8.0) as u64
    }

    /// How long `bytes` take; forever at no rate.
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::MAX;
        }
        Duration::from_secs_f64(bytes as f64 * 8.0 / self.0 as f64)
    }

    pub(super) fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl Add for Bitrate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Bitrate {
    type Output = Self;

    /// What is left, at least nothing.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<f64> for Bitrate {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        if self == Self::MAX {
            return self;
        }
        Self((self.0 as f64 * factor) as u64)
    }
}

impl Sum for Bitrate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Debug for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            u64::MAX => write!(f, "no limit"),
            1_000_000.. => write!(f, "{:.2} Mbit/s", self.as_f64() / 1e6),
            _ => write!(f, "{:.0} kbit/s", self.as_f64() / 1e3),
        }
    }
}

/// Microseconds of a clock that runs evenly, counted from wherever that clock began.
///
/// Sent packets carry stamps of the sender's clock, reports those of the receiver's. Only
/// differences of the same clock mean anything, and how the difference between both changes.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp(i64);

impl Stamp {
    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Microseconds since `earlier`, less than zero if that was later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    pub(super) fn ms_since(self, earlier: Self) -> f64 {
        self.micros_since(earlier) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_bytes_and_time_agree() {
        let rate = Bitrate::from_kbps(800);
        assert_eq!(rate.bytes_in(Duration::from_millis(10)), 1000);
        assert_eq!(rate.time_for(1000), Duration::from_millis(10));
        assert_eq!(Bitrate::of(1000, Duration::from_millis(10)), rate);
    }

    #[test]
    fn difference_of_rates_is_never_negative() {
        let less = Bitrate::from_kbps(1) - Bitrate::from_kbps(2);
        assert_eq!(less, Bitrate::ZERO);
        assert_eq!(Bitrate::MAX * 0.5, Bitrate::MAX, "no limit stays none");
    }
}
