//! `AudioSpecificConfig` of AAC (ISO/IEC 14496-3 §1.6.2.1), and the ADTS header that MPEG-TS puts
//! before each frame (§1.A.2.2).

use super::super::bits::Bits;

/// Table 1.18: sampling frequencies by index.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
const ESCAPE: u32 = 15;
const LOW_COMPLEXITY: u8 = 2;
const SBR: u8 = 5;
const PARAMETRIC_STEREO: u8 = 29;
/// Samples a frame codes, before SBR doubles them.
pub const FRAME_SAMPLES: u32 = 1024;

/// The fields that a player needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioSpecificConfig {
    /// Audio object type of the core coder; 2 is low complexity.
    pub object_type: u8,
    /// Samples a second of the core coder.
    pub sample_rate: u32,
    /// Table 1.19: 1 to 6 is that many channels, 7 is eight.
    pub channel_configuration: u8,
    /// Samples a second after spectral band replication, where it is signalled.
    pub extension_rate: Option<u32>,
}

impl AudioSpecificConfig {
    /// Low complexity at a rate, for an encoder.
    pub const fn low_complexity(sample_rate: u32, channels: u8) -> Self {
        Self {
            object_type: LOW_COMPLEXITY,
            sample_rate,
            channel_configuration: channels,
            extension_rate: None,
        }
    }

    /// Reads a configuration. `None` when it is cut short, or its channels are described by a
    /// program config element, which nothing that streams uses.
    pub fn parse(config: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(config);
        let mut read = Self {
            object_type: object_type(&mut bits)?,
            sample_rate: rate(&mut bits)?,
            channel_configuration: bits.bits(4)? as u8,
            extension_rate: None,
        };
        if matches!(read.object_type, SBR | PARAMETRIC_STEREO) {
            read.extension_rate = Some(rate(&mut bits)?);
            read.object_type = object_type(&mut bits)?;
        }
        let core = !matches!(read.object_type, SBR | PARAMETRIC_STEREO);
        let channels = (1..=7).contains(&read.channel_configuration);
        (core && channels).then_some(read)
    }

    /// Channels: configuration 7 is eight.
    pub const fn channels(&self) -> u8 {
        match self.channel_configuration {
            7 => 8,
            n => n,
        }
    }

    /// The configuration with its core coder only: SBR, where present, is found by decoders (§1.6.5).
    pub fn write(&self) -> Vec<u8> {
        let mut bits: u64 = 0;
        let mut len = 0;
        let mut put = |value: u32, count: u32| {
            bits = bits << count | u64::from(value);
            len += count;
        };
        match self.object_type {
            low @ 0..=30 => put(u32::from(low), 5),
            high => {
                put(31, 5);
                put(u32::from(high) - 32, 6);
            }
        }
        if let Some(index) = RATES.iter().position(|rate| *rate == self.sample_rate) {
            put(index as u32, 4);
        } else {
            put(ESCAPE, 4);
            put(self.sample_rate & 0x00ff_ffff, 24);
        }
        put(u32::from(self.channel_configuration), 4);
        put(0, 3); // frameLengthFlag, dependsOnCoreCoder, extensionFlag
        let padded = len.next_multiple_of(8);
        let bytes = (bits << (padded - len)).to_be_bytes();
        bytes[8 - padded as usize / 8..].to_vec()
    }
}

fn object_type(bits: &mut Bits) -> Option<u8> {
    match bits.bits(5)? {
        31 => Some(32 + bits.bits(6)? as u8),
        low => Some(low as u8),
    }
}

fn rate(bits: &mut Bits) -> Option<u32> {
    match bits.bits(4)? {
        ESCAPE => bits.bits(24).filter(|rate| *rate > 0),
        index => RATES.get(index as usize).copied(),
    }
}

/// The ADTS header before a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adts {
    /// What it says of the frame.
    pub config: AudioSpecificConfig,
    /// Bytes of the header: 7, or 9 with a checksum.
    pub header_len: usize,
    /// Bytes of header and frame.
    pub frame_len: usize,
}

impl Adts {
    /// Reads the header at the start of `data`, which need not hold the whole frame.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let head = data.first_chunk::<7>()?;
        if head[0] != 0xff || head[1] & 0xf6 != 0xf0 {
            return None;
        }
        let header_len = if head[1] & 1 == 1 { 7 } else { 9 };
        let config = AudioSpecificConfig {
            object_type: (head[2] >> 6) + 1,
            sample_rate: *RATES.get(usize::from(head[2] >> 2 & 0x0f))?,
            channel_configuration: (head[2] & 1) << 2 | head[3] >> 6,
            extension_rate: None,
        };
        let frame_len = usize::from(head[3] & 0x03) << 11
            | usize::from(head[4]) << 3
            | usize::from(head[5] >> 5);
        let one_block = head[6].trailing_zeros() >= 2;
        let sound =
            one_block && frame_len > header_len && (1..=7).contains(&config.channel_configuration);
        sound.then_some(Self {
            config,
            header_len,
            frame_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;
    use proptest::prelude::*;

    #[test]
    fn low_complexity_stereo_is_two_bytes() {
        let config = AudioSpecificConfig::low_complexity(48_000, 2);
        assert_eq!(config.write(), hex("1190"));
        assert_eq!(
            AudioSpecificConfig::low_complexity(44_100, 2).write(),
            hex("1210")
        );
        assert_eq!(
            AudioSpecificConfig::parse(&hex("1190 56e500")),
            Some(config)
        );
    }

    #[test]
    fn high_efficiency_tells_both_rates() {
        let config = AudioSpecificConfig::parse(&hex("2b118800")).unwrap();
        assert_eq!((config.object_type, config.sample_rate), (2, 24_000));
        assert_eq!(
            (config.extension_rate, config.channels()),
            (Some(48_000), 2)
        );
    }

    #[test]
    fn program_config_element_and_truncation_are_refused() {
        assert_eq!(AudioSpecificConfig::parse(&hex("1180")), None);
        assert_eq!(AudioSpecificConfig::parse(&hex("11")), None);
        assert_eq!(AudioSpecificConfig::parse(&[]), None);
    }

    #[test]
    fn adts_header_tells_length_and_configuration() {
        let read = Adts::parse(&hex("fff14c80 2e7ffc")).unwrap();
        assert_eq!(read.config, AudioSpecificConfig::low_complexity(48_000, 2));
        assert_eq!((read.header_len, read.frame_len), (7, 371));
        assert_eq!(
            Adts::parse(&hex("fff14c80 001ffc")),
            None,
            "shorter than itself"
        );
        assert_eq!(Adts::parse(&hex("fef14c80 2e7ffc")), None);
    }

    proptest! {
        #[test]
        fn written_configuration_is_read_back(
            object_type in 1_u8..=40, rate in 1_u32..0x00ff_ffff, channels in 1_u8..=7,
        ) {
            prop_assume!(!matches!(object_type, SBR | PARAMETRIC_STEREO | 31));
            let config = AudioSpecificConfig {
                object_type,
                sample_rate: rate,
                channel_configuration: channels,
                extension_rate: None,
            };
            prop_assert_eq!(AudioSpecificConfig::parse(&config.write()), Some(config));
        }

        #[test]
        fn arbitrary_adts_never_panics(data in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some(read) = Adts::parse(&data) {
                prop_assert!(read.frame_len > read.header_len);
            }
        }
    }
}
