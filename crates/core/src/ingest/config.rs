//! Decoder configurations: from what encoders send to [`Config`], and how players of RTMP want them.

use stagecast_proto::codec::config::aac::AudioSpecificConfig;
use stagecast_proto::codec::config::opus::Head;
use stagecast_proto::codec::config::{av1, vpx};
use stagecast_proto::codec::{Codec, Kind};

use super::nal::ParameterSets;
use crate::frame::Config;

/// Longest record; parameter sets are some hundred bytes.
const MAX_RECORD: usize = 16 << 10;
/// Version and flags, which Enhanced RTMP puts before a `vpcC`.
const FULL_BOX: [u8; 4] = [1, 0, 0, 0];
const OPUS_HEAD: &[u8] = b"OpusHead";

/// A configuration from the record as Enhanced RTMP and FLV carry it; `None` when it is none.
pub fn from_record(codec: Codec, record: &[u8]) -> Option<Config> {
    if record.len() > MAX_RECORD {
        return None;
    }
    match codec {
        Codec::H264 | Codec::H265 => ParameterSets::from_record(codec, record)?.config(),
        Codec::Av1 => {
            let resolution = av1::Record::parse(record)?.resolution();
            Some(video(codec, record, resolution))
        }
        Codec::Vp8 | Codec::Vp9 => {
            let body = record
                .strip_prefix(&FULL_BOX)
                .filter(|body| body.len() >= 8);
            let body = body.unwrap_or(record);
            (body.len() >= 8).then(|| video(codec, body, None))
        }
        Codec::Aac => aac(record),
        Codec::Opus => Head::parse(record)
            .or_else(|| Head::parse_dops(record))
            .map(opus),
    }
}

/// A video track's configuration.
pub fn video(codec: Codec, record: &[u8], resolution: Option<(u16, u16)>) -> Config {
    debug_assert_eq!(codec.kind(), Kind::Video);
    Config {
        codec,
        record: record.into(),
        resolution: resolution.unwrap_or_default(),
        sample_rate: 0,
        channels: 0,
    }
}

/// From an `AudioSpecificConfig`.
pub fn aac(record: &[u8]) -> Option<Config> {
    let read = AudioSpecificConfig::parse(record)?;
    Some(Config {
        codec: Codec::Aac,
        record: record.into(),
        resolution: (0, 0),
        sample_rate: read.extension_rate.unwrap_or(read.sample_rate),
        channels: read.channels(),
    })
}

/// From what both headers of Opus say.
pub fn opus(head: Head) -> Config {
    Config {
        codec: Codec::Opus,
        record: head.to_dops().into(),
        resolution: (0, 0),
        sample_rate: 48_000,
        channels: head.channels,
    }
}

/// The configuration that a VP8 or VP9 keyframe makes of `known`, if it changes it.
pub fn vpx(known: &Config, keyframe: &[u8]) -> Option<Config> {
    let (_, size) = match known.codec {
        Codec::Vp9 => vpx::vp9(keyframe)?,
        _ => vpx::vp8(keyframe)?,
    };
    (size != known.resolution).then(|| Config {
        resolution: size,
        ..known.clone()
    })
}

/// The record as Enhanced RTMP carries it: Opus as `OpusHead`, VP8 and VP9 with version and flags.
pub fn to_rtmp_record(config: &Config) -> Vec<u8> {
    match config.codec {
        Codec::Opus if config.record.len() >= 11 => {
            let mut head = config.record.to_vec();
            head[0] = 1;
            // Big endian in MP4, little here.
            head[2..4].reverse();
            head[4..8].reverse();
            head[8..10].reverse();
            [OPUS_HEAD, &head].concat()
        }
        Codec::Vp8 | Codec::Vp9 => [&FULL_BOX, &config.record[..]].concat(),
        _ => config.record.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn opus_goes_from_rtmp_to_mp4_and_back() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        let config = from_record(Codec::Opus, head).unwrap();
        assert_eq!(config.channels, 2);
        assert_eq!(to_rtmp_record(&config), head);
    }

    #[test]
    fn vp9_is_read_with_and_without_version_and_flags() {
        let body = [0, 10, 0x82, 1, 1, 1, 0, 0];
        let boxed = [&FULL_BOX[..], &body].concat();
        let config = from_record(Codec::Vp9, &boxed).unwrap();
        assert_eq!(*config.record, body);
        assert_eq!(from_record(Codec::Vp9, &body).unwrap(), config);
        assert_eq!(to_rtmp_record(&config), boxed);
    }

    #[test]
    fn rate_and_channels_of_aac_are_read() {
        let config = aac(&[0x12, 0x10]).unwrap();
        assert_eq!((config.sample_rate, config.channels), (44_100, 2));
        assert!(aac(&[0x12]).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_records_never_panic(record in prop::collection::vec(any::<u8>(), 0..120)) {
            for codec in Codec::ALL {
                if let Some(config) = from_record(codec, &record) {
                    prop_assert_eq!(config.codec, codec);
                    to_rtmp_record(&config);
                    if matches!(codec, Codec::Vp8 | Codec::Vp9) {
                        vpx(&config, &record);
                    }
                }
            }
        }
    }
}
