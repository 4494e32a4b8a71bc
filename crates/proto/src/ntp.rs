//! NTP timestamps, as RTCP and the capture-time extension carry them (RFC 3550 §4).

/// Seconds from 1900, where NTP counts from, to 1970.
const UNIX_OFFSET: u64 = 2_208_988_800;
const MICROS: u64 = 1_000_000;

/// 64-bit NTP time: seconds since 1900 in the upper half, a binary fraction in the lower.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Ntp(pub u64);

impl Ntp {
    /// From microseconds since 1970. Past the 2036 rollover the seconds wrap, as on the wire.
    pub const fn from_unix_micros(micros: u64) -> Self {
        let seconds = (micros / MICROS + UNIX_OFFSET) as u32;
        let fraction = ((micros % MICROS) << 32).div_ceil(MICROS);
        Self((seconds as u64) << 32 | fraction)
    }

    /// To microseconds since 1970. Seconds that would lie before 1970 belong to the era that
    /// begins in 2036.
    pub const fn to_unix_micros(self) -> u64 {
        let seconds = self.0 >> 32;
        let seconds = if seconds < UNIX_OFFSET {
            seconds + (1 << 32)
        } else {
            seconds
        };
        let fraction = self.0 & 0xffff_ffff;
        (seconds - UNIX_OFFSET) * MICROS + ((fraction * MICROS) >> 32)
    }

    /// The middle 32 bits: 16 of seconds, 16 of fraction, as `lsr` and `lrr` carry them.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// A span in units of 1/65536 second, as `dlsr` and `dlrr` carry it, from microseconds; spans of
/// 18 hours and more are the longest there is.
pub const fn short_from_micros(micros: u64) -> u32 {
    let units = ((micros as u128) << 16) / MICROS as u128;
    if units > u32::MAX as u128 {
        u32::MAX
    } else {
        units as u32
    }
}

/// A span in units of 1/65536 second to microseconds.
pub const fn short_to_micros(short: u32) -> u64 {
    (short as u64 * MICROS) >> 16
}

/// Round trip time in microseconds from a report (RFC 3550 §6.4.1, figure 2): `now` and `lsr` are
/// middle bits of our clock, `dlsr` the delay at the peer.
///
/// `None` before the peer has anything to echo (`lsr` zero), or when its delay is longer than the
/// time since our report, as with a wrong or wrapped clock.
pub const fn round_trip_micros(now: u32, lsr: u32, dlsr: u32) -> Option<u64> {
    if lsr == 0 {
        return None;
    }
    match now.wrapping_sub(lsr).checked_sub(dlsr) {
        // The difference wraps every 18 hours; more than half of that is in the future.
        Some(short) if short < 1 << 31 => Some(short_to_micros(short)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn epoch_and_half_seconds() {
        assert_eq!(Ntp::from_unix_micros(0), Ntp(UNIX_OFFSET << 32));
        assert_eq!(Ntp::from_unix_micros(500_000).0 & 0xffff_ffff, 0x8000_0000);
        assert_eq!(Ntp(0xb44d_b705_2000_0000).middle(), 0xb705_2000);
    }

    #[test]
    fn round_trip_of_the_figure_in_rfc_3550() {
        // Figure 2: n = b710:8000, lsr = b705:2000, dlsr = 0005:4000, gives 6.125 s.
        assert_eq!(
            round_trip_micros(0xb710_8000, 0xb705_2000, 0x0005_4000),
            Some(6_125_000)
        );
        assert_eq!(round_trip_micros(0xb710_8000, 0, 0), None);
        assert_eq!(round_trip_micros(0xb705_2000, 0xb705_2000, 1), None);
        assert_eq!(round_trip_micros(1, 2, 0), None, "from the future");
    }

    #[test]
    fn short_spans_are_capped() {
        assert_eq!(short_from_micros(1_500_000), 0x1_8000);
        assert_eq!(short_from_micros(u64::MAX), u32::MAX);
        assert_eq!(short_to_micros(0x1_8000), 1_500_000);
    }

    proptest! {
        /// Up to the year 2100, across the rollover of 2036.
        #[test]
        fn unix_time_comes_back(micros in 0_u64..4_102_444_800_000_000) {
            prop_assert_eq!(Ntp::from_unix_micros(micros).to_unix_micros(), micros);
        }

        #[test]
        fn any_bits_are_a_time(bits: u64, now: u32, lsr: u32, dlsr: u32) {
            Ntp(bits).to_unix_micros();
            round_trip_micros(now, lsr, dlsr);
        }

        #[test]
        fn any_time_has_bits(micros: u64) {
            Ntp::from_unix_micros(micros);
        }
    }
}
