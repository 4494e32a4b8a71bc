//! One RTP packet as the hub keeps it: parsed once, payload shared by all readers.

use std::sync::Arc;
use std::time::Instant;

use stagecast_proto::codec::Codec;

/// What a decoder must be told about a payload, beyond its bytes.
///
/// A reader maps it to a payload type of its own session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Format {
    /// The codec.
    pub codec: Codec,
    /// H.264 `profile-level-id` (RFC 6184 §8.1), zero for other codecs.
    pub profile_level_id: u32,
    /// H.264 `packetization-mode`, zero for other codecs.
    pub packetization_mode: u8,
    /// VP9 or AV1 profile, zero for other codecs.
    pub profile: u8,
}

impl Format {
    /// A format of a codec without parameters.
    pub fn plain(codec: Codec) -> Self {
        Self {
            codec,
            profile_level_id: 0,
            packetization_mode: 0,
            profile: 0,
        }
    }
}

/// A packet in a layer's ring.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Sequence number, extended to 64 bits (RFC 3550 §A.1), of the layer.
    pub seq: u64,
    /// RTP timestamp in the codec's clock.
    pub timestamp: u32,
    /// RTP marker: last packet of a video frame.
    pub marker: bool,
    /// First packet of a frame that a decoder can start from; always set for audio.
    pub keyframe: bool,
    /// First packet seen with this timestamp.
    pub frame_start: bool,
    /// How the payload is to be decoded.
    pub format: Format,
    /// When it came in, on the engine's clock.
    pub arrival: Instant,
    /// When it was captured, on the engine's clock; never after `arrival`.
    pub capture: Instant,
    /// Audio level in −dBov and voice activity (RFC 6464).
    pub audio_level: Option<(i8, bool)>,
    /// Payload without RTP header and padding.
    pub payload: Arc<[u8]>,
}
