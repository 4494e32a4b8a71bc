//! The other face of a track: encoded frames instead of RTP packets.
//!
//! RTMP and SRT publishers bring frames, HLS, recorders and workers read them; packets are made of
//! frames, or frames of packets, once per track and only when somebody reads that face. A frame is
//! one access unit in the form in which files and muxers carry it.

use std::sync::Arc;
use std::time::Instant;

use stagecast_proto::codec::{Codec, Kind};

/// What a decoder must know before the first frame of a track.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The codec.
    pub codec: Codec,
    /// The decoder configuration record as MP4 carries it: body of `avcC`, `hvcC` or `av1C`, of
    /// `vpcC` without version and flags (VP8, VP9), of `dOps` (Opus); `AudioSpecificConfig` for AAC.
    /// `stagecast_proto::codec::config` makes and reads them.
    pub record: Arc<[u8]>,
    /// Width and height in pixels; zero for audio, or when it is not known.
    pub resolution: (u16, u16),
    /// Samples a second of audio; zero for video.
    pub sample_rate: u32,
    /// Channels of audio; zero for video.
    pub channels: u8,
}

/// One access unit.
#[derive(Clone, Debug)]
pub struct Frame {
    /// How to decode it; shared by all frames until it changes.
    pub config: Arc<Config>,
    /// Presentation time in microseconds of the source's own timeline, common to its tracks.
    pub pts_us: i64,
    /// Decoding time on the same timeline; differs from `pts_us` only with B-frames.
    pub dts_us: i64,
    /// A decoder can start here; always set for audio.
    pub keyframe: bool,
    /// When it was captured, on the engine's clock; never after its arrival.
    pub capture: Instant,
    /// H.264 and H.265: NAL units with 4-byte lengths, without delimiters, and without the parameter
    /// sets of the configuration. AV1: OBUs with sizes, without temporal delimiters. VP8, VP9, Opus:
    /// the frame. AAC: one raw access unit.
    pub data: Arc<[u8]>,
}

impl Frame {
    /// Audio or video.
    pub fn kind(&self) -> Kind {
        self.config.codec.kind()
    }
}
