//! What header extensions mean: one type for each value that Stagecast reads or writes.
//!
//! `parse` takes the value as [`Extensions`](super::Extensions) gives it and is `None` for another
//! length; `to_bytes` is the value to hand to [`HeaderWriter`](super::HeaderWriter). Each type says
//! the URI that SDP maps to an id.

use crate::ntp::Ntp;

/// URI of [`mid`](text) (RFC 9143 §15).
pub const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// URI of the RTP stream id (RFC 8852 §4.1).
pub const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
/// URI of the stream id that a retransmission repairs (RFC 8852 §4.2).
pub const REPAIRED_RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// A media or stream id (RFC 7941 §4.1: UTF-8, not terminated). `None` when empty or not UTF-8.
pub fn text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok().filter(|text| !text.is_empty())
}

/// When the packet left its sender: 6 bits of seconds, 18 of fraction, so it wraps every 64 s.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// Its URI in SDP.
    pub const URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

    /// The 24 bits of the wire, as they are.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From microseconds of any clock that runs evenly.
    pub const fn from_micros(micros: u64) -> Self {
        // 64 s first, so the shift cannot overflow.
        let wrapped = micros % 64_000_000;
        Self(((wrapped << 18) / 1_000_000) as u32 & 0x00ff_ffff)
    }

    /// Microseconds within the 64 s that it counts.
    pub const fn to_micros(self) -> u64 {
        (self.0 as u64 * 1_000_000) >> 18
    }

    /// Microseconds from `earlier` to this, taking the shorter way around the wrap.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        let difference = (self.0.wrapping_sub(earlier.0) << 8) as i32 >> 8;
        (difference as i64 * 1_000_000) >> 18
    }

    /// Reads the value: three bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = value else { return None };
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// The value on the wire.
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

/// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct TransportSequence(pub u16);

impl TransportSequence {
    /// Its URI in SDP.
    pub const URI: &str =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

    /// Reads the value: two bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(Self(u16::from_be_bytes(value.try_into().ok()?)))
    }

    /// The value on the wire.
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// When the first frame in the packet was captured, on the capturer's NTP clock.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub struct AbsCaptureTime {
    /// Capture time on the clock of the original capturer.
    pub capture: Ntp,
    /// The estimated capturer clock less the sender's, in 2⁻³² s; from a mixer or relay that
    /// knows.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    /// Its URI in SDP.
    pub const URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

    /// Reads the value: eight bytes, or sixteen with the offset.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (capture, offset) = value.split_first_chunk::<8>()?;
        let clock_offset = match offset {
            [] => None,
            offset => Some(i64::from_be_bytes(offset.try_into().ok()?)),
        };
        Some(Self {
            capture: Ntp(u64::from_be_bytes(*capture)),
            clock_offset,
        })
    }

    /// The value on the wire and its length: 8 or 16.
    pub fn to_bytes(self) -> ([u8; 16], usize) {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&self.capture.0.to_be_bytes());
        let Some(offset) = self.clock_offset else {
            return (value, 8);
        };
        value[8..].copy_from_slice(&offset.to_be_bytes());
        (value, 16)
    }
}

/// The least and most delay a receiver should add before it plays a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct PlayoutDelay {
    min: u16,
    max: u16,
}

impl PlayoutDelay {
    /// Its URI in SDP.
    pub const URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
    /// The longest delay in milliseconds: 12 bits of 10 ms.
    pub const MAX_MS: u16 = 40_950;

    /// From milliseconds, rounded down to the unit of 10 ms; longer ones are the longest there
    /// is, and `max` is never less than `min`.
    pub fn from_millis(min: u16, max: u16) -> Self {
        let units = |millis: u16| millis.min(Self::MAX_MS) / 10;
        Self {
            min: units(min),
            max: units(max.max(min)),
        }
    }

    /// Least delay in milliseconds.
    pub const fn min_millis(self) -> u16 {
        self.min * 10
    }

    /// Most delay in milliseconds.
    pub const fn max_millis(self) -> u16 {
        self.max * 10
    }

    /// Reads the value: three bytes. A `max` below `min` says nothing.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = value else { return None };
        let min = u16::from(a) << 4 | u16::from(b) >> 4;
        let max = u16::from(b & 0x0f) << 8 | u16::from(c);
        (min <= max).then_some(Self { min, max })
    }

    /// The value on the wire.
    pub const fn to_bytes(self) -> [u8; 3] {
        [
            (self.min >> 4) as u8,
            (self.min << 4) as u8 | (self.max >> 8) as u8,
            self.max as u8,
        ]
    }
}

/// Loudness of the audio in a packet (RFC 6464 §3).
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub struct AudioLevel {
    /// The sender hears a voice in it.
    pub voice: bool,
    /// Loudness below overload in dB, 0 to 127: 0 is loudest, 127 is silence.
    pub below_overload: u8,
}

impl AudioLevel {
    /// Its URI in SDP.
    pub const URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

    /// Reads the value: one byte, in the two-byte form perhaps with a byte of padding (§3).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (&[first] | &[first, _]) = value else {
            return None;
        };
        Some(Self {
            voice: first & 0x80 != 0,
            below_overload: first & 0x7f,
        })
    }

    /// The value on the wire; a level beyond 127 is silence.
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.below_overload.min(127)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn abs_send_time_counts_64_seconds() {
        assert_eq!(
            AbsSendTime::from_micros(1_500_000).to_bytes(),
            [0x06, 0x00, 0x00]
        );
        assert_eq!(AbsSendTime::from_micros(64_000_000), AbsSendTime(0));
        assert_eq!(AbsSendTime(0x06_0000).to_micros(), 1_500_000);
        let (before, after) = (AbsSendTime(0xff_ffff), AbsSendTime(0x00_0003));
        assert_eq!(after.micros_since(before), 15);
        assert_eq!(before.micros_since(after), -16);
    }

    #[test]
    fn playout_delay_packs_two_times_twelve_bits() {
        let delay = PlayoutDelay::from_millis(100, 40_950);
        assert_eq!(delay.to_bytes(), [0x00, 0xaf, 0xff]);
        assert_eq!(PlayoutDelay::parse(&[0x00, 0xaf, 0xff]), Some(delay));
        assert_eq!((delay.min_millis(), delay.max_millis()), (100, 40_950));
        assert_eq!(
            PlayoutDelay::parse(&[0x00, 0xa0, 0x00]),
            None,
            "max below min"
        );
        assert_eq!(
            PlayoutDelay::from_millis(u16::MAX, 0).min_millis(),
            PlayoutDelay::MAX_MS
        );
    }

    #[test]
    fn audio_level_has_a_voice_bit() {
        let level = AudioLevel {
            voice: true,
            below_overload: 30,
        };
        assert_eq!(level.to_bytes(), [0x9e]);
        assert_eq!(AudioLevel::parse(&[0x9e]), Some(level));
        assert_eq!(AudioLevel::parse(&[0x9e, 0x00]), Some(level));
    }

    #[test]
    fn other_lengths_say_nothing() {
        for len in 0..20 {
            let value = [1; 20];
            let value = &value[..len];
            assert_eq!(AbsSendTime::parse(value).is_some(), len == 3);
            assert_eq!(PlayoutDelay::parse(value).is_some(), len == 3);
            assert_eq!(TransportSequence::parse(value).is_some(), len == 2);
            assert_eq!(
                AbsCaptureTime::parse(value).is_some(),
                len == 8 || len == 16
            );
            assert_eq!(AudioLevel::parse(value).is_some(), len == 1 || len == 2);
        }
        assert_eq!(text(b"hi"), Some("hi"));
        assert_eq!(text(b""), None);
        assert_eq!(text(&[0xff]), None);
    }

    proptest! {
        #[test]
        fn values_come_back(bits in 0_u32..1 << 24, sequence: u16, ntp: u64, offset: Option<i64>) {
            let time = AbsSendTime(bits);
            prop_assert_eq!(AbsSendTime::parse(&time.to_bytes()), Some(time));
            let sequence = TransportSequence(sequence);
            prop_assert_eq!(TransportSequence::parse(&sequence.to_bytes()), Some(sequence));
            let capture = AbsCaptureTime { capture: Ntp(ntp), clock_offset: offset };
            let (value, len) = capture.to_bytes();
            prop_assert_eq!(AbsCaptureTime::parse(&value[..len]), Some(capture));
        }

        #[test]
        fn any_clock_makes_a_send_time(micros: u64, min: u16, max: u16) {
            AbsSendTime::from_micros(micros).to_micros();
            let delay = PlayoutDelay::from_millis(min, max);
            prop_assert_eq!(PlayoutDelay::parse(&delay.to_bytes()), Some(delay));
        }
    }
}
