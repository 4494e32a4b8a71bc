//! Decoder configurations: from what encoders send to [`Config`], and how players of RTMP want them.

use std::sync::Arc;

use stagecast_proto::codec::{Codec, inspect};

use super::nal::ParameterSets;
use crate::frame::Config;

/// Longest record; parameter sets are some hundred bytes.
const MAX_RECORD: usize = 16 << 10;
const OPUS_HEAD: &[u8] = b"OpusHead";

/// Sampling frequencies by index (ISO/IEC 14496-3, table 1.18).
const AAC_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// A configuration from the record as Enhanced RTMP and FLV carry it; `None` when it is none.
pub fn from_record(codec: Codec, record: &[u8]) -> Option<Config> {
    if record.len() > MAX_RECORD {
        return None;
    }
    let video = |record: &[u8], resolution: Option<(u16, u16)>| Config {
        codec,
        record: record.into(),
        resolution: resolution.unwrap_or_default(),
        sample_rate: 0,
        channels: 0,
    };
    match codec {
        Codec::H264 | Codec::H265 => ParameterSets::from_record(codec, record)?.config(),
        Codec::Av1 => {
            let (head, obus) = record.split_first_chunk::<4>()?;
            (head[0] == 0x81).then(|| video(record, av1_resolution(obus)))
        }
        Codec::Vp8 | Codec::Vp9 => {
            // With or without the version and flags of its MP4 box.
            let body = match record.split_first_chunk::<4>() {
                Some(([1, 0, 0, 0], body)) if body.len() >= 8 => body,
                _ => record,
            };
            (body.len() >= 8).then(|| video(body, None))
        }
        Codec::Aac => aac(record),
        Codec::Opus => opus(record),
    }
}

/// The size in the sequence header of an `av1C`.
fn av1_resolution(obus: &[u8]) -> Option<(u16, u16)> {
    // As one element of an RTP payload: the first OBU ends where its size says.
    let payload = [&[0x18], obus].concat();
    inspect(Codec::Av1, &payload).resolution
}

/// The size in a VP9 keyframe.
pub fn vp9_resolution(frame: &[u8]) -> Option<(u16, u16)> {
    let head = &frame[..frame.len().min(32)];
    inspect(Codec::Vp9, &[&[0x08], head].concat()).resolution
}

/// `AudioSpecificConfig` (ISO/IEC 14496-3, §1.6.2.1), as far as rate and channels need it.
pub fn aac(record: &[u8]) -> Option<Config> {
    let bits = record
        .iter()
        .take(8)
        .fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    let bits = bits << (64 - 8 * record.len().clamp(1, 8));
    let take = |from: u32, count: u32| (bits << from >> (64 - count)) as u32;
    if record.len() < 2 {
        return None;
    }
    let mut at = 5;
    if take(0, 5) == 31 {
        at += 6;
    }
    let index = take(at, 4);
    at += 4;
    let sample_rate = if index == 15 {
        at += 24;
        take(at - 24, 24)
    } else {
        *AAC_RATES.get(index as usize)?
    };
    let channels = match take(at, 4) {
        // In a program config element, which encoders for streaming do not use.
        0 => 2,
        count @ 1..=6 => count as u8,
        7 => 8,
        _ => return None,
    };
    Some(Config {
        codec: Codec::Aac,
        record: record.into(),
        resolution: (0, 0),
        sample_rate,
        channels,
    })
}

/// An `AudioSpecificConfig` of two bytes, from the fields of an ADTS header.
pub fn aac_record(object_type: u8, rate_index: u8, channels: u8) -> [u8; 2] {
    (u16::from(object_type) << 11 | u16::from(rate_index) << 7 | u16::from(channels) << 3)
        .to_be_bytes()
}

/// From an `OpusHead` (RFC 7845 §5.1), which becomes a `dOps` body, or from that.
pub fn opus(record: &[u8]) -> Option<Config> {
    let mut dops = record.strip_prefix(OPUS_HEAD).unwrap_or(record).to_vec();
    if dops.len() < 11 {
        return None;
    }
    if record.starts_with(OPUS_HEAD) {
        // Little endian in one, big in the other, and another version number.
        dops[0] = 0;
        dops[2..4].reverse();
        dops[4..8].reverse();
        dops[8..10].reverse();
    }
    let channels = dops[1];
    (1..=8).contains(&channels).then(|| Config {
        codec: Codec::Opus,
        record: dops.into(),
        resolution: (0, 0),
        sample_rate: 48_000,
        channels,
    })
}

/// A `dOps` body for so many channels, when the stream says no more.
pub fn opus_record(channels: u8) -> Arc<[u8]> {
    let pre_skip = 312u16.to_be_bytes();
    let rate = 48_000u32.to_be_bytes();
    let mut dops = vec![0, channels];
    dops.extend_from_slice(&pre_skip);
    dops.extend_from_slice(&rate);
    dops.extend_from_slice(&[0, 0, 0]);
    dops.into()
}

/// The record as Enhanced RTMP carries it: Opus as `OpusHead`, VP8 and VP9 with version and flags.
pub fn to_rtmp_record(config: &Config) -> Vec<u8> {
    match config.codec {
        Codec::Opus if config.record.len() >= 11 => {
            let mut head = config.record.to_vec();
            head[0] = 1;
            head[2..4].reverse();
            head[4..8].reverse();
            head[8..10].reverse();
            [OPUS_HEAD, &head].concat()
        }
        Codec::Vp8 | Codec::Vp9 => [&[1, 0, 0, 0], &config.record[..]].concat(),
        _ => config.record.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rate_and_channels_of_aac_are_read() {
        let config = aac(&[0x12, 0x10]).unwrap();
        assert_eq!((config.sample_rate, config.channels), (44_100, 2));
        let config = aac(&[0x11, 0x88, 0x56, 0xe5, 0x00]).unwrap();
        assert_eq!((config.sample_rate, config.channels), (48_000, 1));
        // An explicit rate of 44 099.
        let record = (2u64 << 59 | 15 << 55 | 44_099 << 31 | 2 << 27).to_be_bytes();
        let config = aac(&record).unwrap();
        assert_eq!((config.sample_rate, config.channels), (44_099, 2));
        assert!(aac(&[0x12]).is_none());
        assert_eq!(aac_record(2, 4, 2), [0x12, 0x10]);
    }

    #[test]
    fn opus_goes_from_rtmp_to_mp4_and_back() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        let config = opus(head).unwrap();
        assert_eq!(config.record, opus_record(2));
        assert_eq!(to_rtmp_record(&config), head);
    }

    #[test]
    fn vp9_is_read_with_and_without_version_and_flags() {
        let body = [0, 10, 0x82, 1, 1, 1, 0, 0];
        let boxed = [&[1, 0, 0, 0][..], &body].concat();
        let config = from_record(Codec::Vp9, &boxed).unwrap();
        assert_eq!(*config.record, body);
        assert_eq!(from_record(Codec::Vp9, &body).unwrap(), config);
        assert_eq!(to_rtmp_record(&config), boxed);
    }

    proptest! {
        #[test]
        fn arbitrary_records_never_panic(record in prop::collection::vec(any::<u8>(), 0..120)) {
            for codec in Codec::ALL {
                if let Some(config) = from_record(codec, &record) {
                    prop_assert_eq!(config.codec, codec);
                    to_rtmp_record(&config);
                }
            }
            vp9_resolution(&record);
        }
    }
}
