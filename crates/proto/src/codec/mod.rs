//! The codecs Stagecast carries, and what one RTP payload says about its frame.
//!
//! A forwarder never decodes. It needs to know where a decoder can start, whether parameter sets
//! came along and how large the picture is, and [`inspect`] reads just that from one payload, with
//! no state between packets. Payload formats: RFC 6184, RFC 7798, RFC 7741, RFC 9628, the AV1 RTP
//! specification, and RFC 7587.

pub mod av1;
pub(crate) mod bits;
pub mod config;
mod h264;
mod h265;
pub mod vp8;
pub mod vp9;

/// A codec, by the payload format that carries it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Codec {
    /// H.264 / AVC, RFC 6184.
    H264,
    /// H.265 / HEVC, RFC 7798.
    H265,
    /// VP8, RFC 7741.
    Vp8,
    /// VP9, RFC 9628.
    Vp9,
    /// AV1, the RTP payload format of the Alliance for Open Media.
    Av1,
    /// Opus, RFC 7587.
    Opus,
    /// AAC of MPEG-4 Audio (ISO/IEC 14496-3), in frames only: WebRTC does not carry it.
    Aac,
}

/// What a track carries.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// `m=audio`.
    Audio,
    /// `m=video`.
    Video,
}

impl Kind {
    /// The media type as SDP writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// RTP timestamp units a second; all codecs of a kind have the same.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

impl Codec {
    /// Every codec, in no order of preference.
    pub const ALL: [Self; 7] = [
        Self::H264,
        Self::H265,
        Self::Vp8,
        Self::Vp9,
        Self::Av1,
        Self::Opus,
        Self::Aac,
    ];

    /// The name in settings, JSON and metrics: the SDP encoding name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::Opus => "opus",
            Self::Aac => "aac",
        }
    }

    /// The codec of an SDP encoding name in any case; `AV1X` is what early AV1 senders say.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("av1x") {
            return Some(Self::Av1);
        }
        Self::ALL
            .into_iter()
            .find(|codec| name.eq_ignore_ascii_case(codec.name()))
    }

    /// Whether it codes audio or video.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Opus | Self::Aac => Kind::Audio,
            _ => Kind::Video,
        }
    }

    /// Whether WebRTC carries it, so that its frames can become RTP packets.
    pub const fn is_webrtc(self) -> bool {
        !matches!(self, Self::Aac)
    }

    /// RTP timestamp units a second.
    pub const fn clock_rate(self) -> u32 {
        self.kind().clock_rate()
    }
}

/// Most spatial layers whose sizes are kept; the formats allow eight, nobody sends more than three.
pub const MAX_SIZES: usize = 4;

/// What one RTP payload says about its frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct PayloadInfo {
    /// The payload stands at the start of a keyframe: a decoder can start from here.
    ///
    /// Several packets of one keyframe may say so (SPS, then the IDR slice): the first one of its
    /// RTP timestamp is the start. Every Opus packet says so.
    pub keyframe: bool,
    /// Width and height in pixels, when this payload tells.
    pub resolution: Option<(u16, u16)>,
    /// The payload carries parameter sets (H.264, H.265), a sequence header (AV1) or a
    /// scalability structure (VP9).
    pub parameter_sets: bool,
    /// Width and height of each spatial layer from the base up, when this payload tells (VP9).
    pub layer_sizes: [Option<(u16, u16)>; MAX_SIZES],
    /// Where the frame stands in a scalable stream, when the payload itself tells (VP8, VP9).
    pub scalability: Option<Scalability>,
}

/// A frame's place among the layers of one stream.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, as the descriptors have them.
pub struct Scalability {
    /// Spatial layer, 0 to 7; the base is 0.
    pub spatial: u8,
    /// Temporal layer, 0 to 7; the base is 0.
    pub temporal: u8,
    /// It needs the base layer only: its own temporal layer can be followed from here on (VP8).
    pub sync: bool,
    /// Later frames of higher temporal layers need nothing older of those layers (VP9).
    pub switch_up: bool,
    /// Predicted from an earlier picture.
    pub inter_picture: bool,
    /// Predicted from the next lower spatial layer of the same picture.
    pub inter_layer: bool,
    /// The payload begins the frame of its spatial layer.
    pub begins: bool,
    /// The payload ends the frame of its spatial layer, when the format tells.
    pub ends: bool,
}

/// Reads one RTP payload, padding removed. Bytes that are no payload of `codec` say nothing: the
/// result is the default.
pub fn inspect(codec: Codec, payload: &[u8]) -> PayloadInfo {
    match codec {
        Codec::H264 => h264::inspect(payload),
        Codec::H265 => h265::inspect(payload),
        Codec::Vp8 => vp8::inspect(payload),
        Codec::Vp9 => vp9::inspect(payload),
        Codec::Av1 => av1::inspect(payload),
        Codec::Opus | Codec::Aac => PayloadInfo {
            keyframe: !payload.is_empty(),
            ..PayloadInfo::default()
        },
    }
}

/// A picture size, if both sides fit the range that RTP payload formats use.
fn size(width: u32, height: u32) -> Option<(u16, u16)> {
    if width == 0 || height == 0 {
        return None;
    }
    Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_go_both_ways_in_any_case() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
            assert_eq!(Codec::from_name(&codec.name().to_uppercase()), Some(codec));
        }
        assert_eq!(Codec::from_name("AV1X"), Some(Codec::Av1));
        assert_eq!(Codec::from_name("rtx"), None);
    }

    #[test]
    fn every_opus_packet_is_a_start() {
        assert!(inspect(Codec::Opus, &[0x78, 0x01]).keyframe);
        assert!(!inspect(Codec::Opus, &[]).keyframe);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            for codec in Codec::ALL {
                inspect(codec, &payload);
            }
        }

        /// A valid beginning takes the parsers further in than noise does.
        #[test]
        fn arbitrary_bytes_after_a_valid_start_never_panic(
            tail in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let starts: [(Codec, &[u8]); 6] = [
                (Codec::H264, &[0x67, 100, 0, 31]),
                (Codec::H264, &[0x78, 0, 40, 0x67, 66, 0, 31]),
                (Codec::H265, &[0x42, 0x01, 0x01]),
                (Codec::Vp8, &[0x90, 0xf0]),
                (Codec::Vp9, &[0xae]),
                (Codec::Av1, &[0x18, 0x08]),
            ];
            for (codec, start) in starts {
                inspect(codec, &[start, &tail].concat());
            }
        }

        #[test]
        fn vp8_rewrite_is_read_back(
            mut payload in prop::collection::vec(any::<u8>(), 0..12),
            picture_id: u16,
            tl0picidx: u8,
        ) {
            let Some(before) = vp8::Descriptor::parse(&payload) else { return Ok(()) };
            before.rewrite(&mut payload, picture_id, tl0picidx);
            let after = vp8::Descriptor::parse(&payload).expect("a rewrite keeps the form");
            let mask = (1_u32 << before.picture_id_bits) as u16 - 1;
            prop_assert_eq!(after.picture_id, before.picture_id.map(|_| picture_id & mask));
            prop_assert_eq!(after.tl0picidx, before.tl0picidx.map(|_| tl0picidx));
            prop_assert_eq!(after.header_len, before.header_len);
            prop_assert_eq!(after.tid, before.tid);
        }
    }
}
