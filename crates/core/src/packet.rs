//! One RTP packet as the hub keeps it: parsed once, payload shared by all readers.

use std::sync::Arc;
use std::time::Instant;

use stagecast_proto::codec::Codec;

use crate::bwe::MAX_TEMPORAL;

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

/// Most spatial layers of one stream; the formats allow eight, nobody sends more than three.
pub const MAX_SPATIAL: usize = 4;

/// Most levels of one stream.
pub const MAX_LEVELS: usize = MAX_SPATIAL * MAX_TEMPORAL;

/// A spatial and a temporal layer of one stream, with all below them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Spatial layer; the base is 0.
    pub spatial: u8,
    /// Temporal layer; the base is 0.
    pub temporal: u8,
}

impl Level {
    /// All that there is.
    pub const TOP: Self = Self {
        spatial: MAX_SPATIAL as u8 - 1,
        temporal: MAX_TEMPORAL as u8 - 1,
    };

    /// Every level, by place.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..MAX_LEVELS).map(|place| Self {
            spatial: (place / MAX_TEMPORAL) as u8,
            temporal: (place % MAX_TEMPORAL) as u8,
        })
    }

    /// Its place in a table by spatial, then temporal layer.
    pub(crate) fn place(self) -> usize {
        let spatial = usize::from(self.spatial).min(MAX_SPATIAL - 1);
        let temporal = usize::from(self.temporal).min(MAX_TEMPORAL - 1);
        spatial * MAX_TEMPORAL + temporal
    }

    fn bit(self) -> u16 {
        1 << self.place()
    }
}

/// A set of [`Level`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels(u16);

impl Levels {
    /// Every level: what does not scale.
    pub const ALL: Self = Self(u16::MAX);

    /// With `level`.
    #[must_use]
    pub fn with(self, level: Level) -> Self {
        Self(self.0 | level.bit())
    }

    /// Those of spatial layers within `spatial` that have at least `temporal`.
    pub fn range(spatial: std::ops::RangeInclusive<u8>, temporal: u8) -> Self {
        let mut levels = Self::default();
        for spatial in spatial {
            for temporal in temporal.min(Level::TOP.temporal)..=Level::TOP.temporal {
                levels = levels.with(Level { spatial, temporal });
            }
        }
        levels
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `level` is among them.
    pub fn contains(self, level: Level) -> bool {
        self.0 & level.bit() != 0
    }

    /// Their places, in order.
    pub(crate) fn places(self) -> impl Iterator<Item = usize> {
        (0..MAX_LEVELS).filter(move |place| self.0 >> place & 1 != 0)
    }
}

/// Where a packet stands in a scalable stream, read once when it comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts of one packet.
pub struct Scale {
    /// Its own layers.
    pub level: Level,
    /// Readers of these levels need it.
    pub needed: Levels,
    /// Who decodes this frame decodes all that follow of these levels.
    pub switch: Levels,
    /// Who has the temporal layer below can follow its own from here on.
    pub sync: bool,
    /// First packet of the frame of its spatial layer.
    pub frame_begin: bool,
    /// Last packet of the frame of its spatial layer.
    pub frame_end: bool,
    /// Upper spatial layers need the lower ones in keyframes only (the `_KEY` modes), so
    /// whoever reads one of them cannot go down to another before the next keyframe.
    pub separate: bool,
}

impl Scale {
    /// A packet of a stream that does not scale, or does not tell.
    pub const NONE: Self = Self {
        level: Level {
            spatial: 0,
            temporal: 0,
        },
        needed: Levels::ALL,
        switch: Levels(0),
        sync: false,
        frame_begin: false,
        frame_end: false,
        separate: false,
    };
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
    /// The same on the publisher's timeline, in microseconds: what is learnt of its delay moves `capture`
    /// of what follows, and not this.
    pub media_us: i64,
    /// Width and height in pixels, when this packet tells.
    pub resolution: Option<(u16, u16)>,
    /// Which layers of a scalable stream it belongs to.
    pub scale: Scale,
    /// Value of the dependency descriptor, for viewers that cannot do without it.
    pub dependency: Option<Arc<[u8]>>,
    /// Audio level in −dBov and voice activity (RFC 6464).
    pub audio_level: Option<(i8, bool)>,
    /// Padding that makes it as long as others of its frame, which then share a message to the kernel.
    pub padding: u8,
    /// Payload without RTP header and padding.
    pub payload: Arc<[u8]>,
}
