//! Opus: the body of `dOps` ("Encapsulation of Opus in ISO Base Media File Format" §4.3.2), the
//! `OpusHead` of RFC 7845 §5.1, and how long a packet lasts (RFC 6716 §3.1).

const MAGIC: &[u8; 8] = b"OpusHead";
/// RFC 6716 §3.1: a packet lasts at most 120 ms, at 48 kHz.
const MAX_SAMPLES: u32 = 5760;

/// What both headers say; only channel mapping family 0 (mono, stereo) is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// 1 or 2.
    pub channels: u8,
    /// Samples at 48 kHz to throw away at the start.
    pub pre_skip: u16,
    /// What the encoder was fed; for information.
    pub input_rate: u32,
    /// In Q7.8 dB.
    pub gain: i16,
}

impl Head {
    /// What WebRTC sends: 48 kHz, nothing to throw away.
    pub const fn plain(channels: u8) -> Self {
        Self {
            channels,
            pre_skip: 0,
            input_rate: 48_000,
            gain: 0,
        }
    }

    /// The body of `dOps`.
    pub fn to_dops(self) -> Vec<u8> {
        let mut out = vec![0, self.channels];
        out.extend(self.pre_skip.to_be_bytes());
        out.extend(self.input_rate.to_be_bytes());
        out.extend(self.gain.to_be_bytes());
        out.push(0);
        out
    }

    /// Reads the body of `dOps`.
    pub fn parse_dops(body: &[u8]) -> Option<Self> {
        let body = body.first_chunk::<11>()?;
        let [version, channels, skip @ ..] = body;
        Self {
            channels: *channels,
            pre_skip: u16::from_be_bytes([skip[0], skip[1]]),
            input_rate: u32::from_be_bytes([skip[2], skip[3], skip[4], skip[5]]),
            gain: i16::from_be_bytes([skip[6], skip[7]]),
        }
        .checked(*version == 0 && skip[8] == 0)
    }

    /// Reads `OpusHead`, which is little-endian.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let body = head.strip_prefix(MAGIC)?.first_chunk::<11>()?;
        let [version, channels, skip @ ..] = body;
        // Minor versions are compatible.
        Self {
            channels: *channels,
            pre_skip: u16::from_le_bytes([skip[0], skip[1]]),
            input_rate: u32::from_le_bytes([skip[2], skip[3], skip[4], skip[5]]),
            gain: i16::from_le_bytes([skip[6], skip[7]]),
        }
        .checked(version >> 4 == 0 && skip[8] == 0)
    }

    fn checked(self, family_and_version: bool) -> Option<Self> {
        (family_and_version && matches!(self.channels, 1 | 2)).then_some(self)
    }
}

/// Samples at 48 kHz in a packet; `None` when it is malformed.
pub fn samples(packet: &[u8]) -> Option<u32> {
    let &toc = packet.first()?;
    let frame = match toc >> 3 {
        // SILK: 10, 20, 40, 60 ms. Hybrid: 10, 20 ms. CELT: 2.5, 5, 10, 20 ms.
        silk @ 0..=11 => [480, 960, 1920, 2880][usize::from(silk & 3)],
        hybrid @ 12..=15 => [480, 960][usize::from(hybrid & 1)],
        celt => [120, 240, 480, 960][usize::from(celt & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    Some(frame * count).filter(|samples| (1..=MAX_SAMPLES).contains(samples))
}

/// Channels that a packet codes: the stereo bit of its first byte.
pub fn channels(packet: &[u8]) -> u8 {
    packet.first().map_or(2, |toc| 1 + (toc >> 2 & 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    #[test]
    fn both_headers_say_the_same() {
        let head = Head::parse(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0").unwrap();
        assert_eq!(
            (head.channels, head.pre_skip, head.input_rate),
            (2, 312, 48_000)
        );
        assert_eq!(Head::parse_dops(&head.to_dops()), Some(head));
        assert_eq!(head.to_dops(), hex("00 02 0138 0000bb80 0000 00"));
    }

    #[test]
    fn surround_and_strange_versions_are_refused() {
        assert_eq!(Head::parse_dops(&hex("00 06 0138 0000bb80 0000 01")), None);
        assert_eq!(Head::parse_dops(&hex("01 02 0138 0000bb80 0000 00")), None);
        assert_eq!(Head::parse(b"OpusHead"), None);
    }

    #[test]
    fn packet_tells_how_long_it_lasts() {
        assert_eq!(samples(&[0xfc]), Some(960), "CELT 20 ms");
        assert_eq!(
            samples(&[0x7b, 3]),
            Some(2880),
            "three hybrid frames of 20 ms"
        );
        assert_eq!(samples(&[0x19]), Some(5760), "two SILK frames of 60 ms");
        assert_eq!(samples(&[0x1b, 3]), None, "180 ms");
        assert_eq!(samples(&[0x1b]), None);
        assert_eq!(samples(&[]), None);
    }
}
