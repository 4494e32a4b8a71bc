//! FLV tag bodies: what RTMP's audio and video messages carry.
//!
//! Reads the classic form (AVC and AAC; Adobe, "Video File Format Specification", 10.1, annex E) and
//! Enhanced RTMP v1 and v2 (Veovera): codecs by `FourCC`, several tracks in one message, `ModEx` with
//! nanoseconds. [`write`] makes both. A body is a few [`Part`]s that borrow from it.

mod write;

pub use write::{write_audio, write_video};

/// Parts in one message; more tracks than any encoder sends.
const MAX_PARTS: usize = 64;

/// A codec by the four characters that MP4 and Enhanced RTMP name it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    /// H.264; the classic codec id 7.
    pub const AVC: Self = Self(*b"avc1");
    /// H.265.
    pub const HEVC: Self = Self(*b"hvc1");
    /// AV1.
    pub const AV1: Self = Self(*b"av01");
    /// VP9.
    pub const VP9: Self = Self(*b"vp09");
    /// VP8.
    pub const VP8: Self = Self(*b"vp08");
    /// AAC; the classic sound format 10.
    pub const AAC: Self = Self(*b"mp4a");
    /// Opus.
    pub const OPUS: Self = Self(*b"Opus");
}

impl std::fmt::Display for FourCc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The decoder configuration record: `avcC`, `hvcC`, `av1C`, `vpcC` body, `AudioSpecificConfig`,
    /// `OpusHead`.
    Config,
    /// A frame.
    Frame {
        /// A decoder can start here; always for audio.
        keyframe: bool,
        /// Presentation after decoding, in milliseconds.
        composition_ms: i32,
    },
    /// The track is over.
    End,
    /// Metadata in AMF (colour), a channel order, or what a later version adds.
    Other,
}

/// One track's share of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Track id; 0 without multitrack.
    pub track: u8,
    /// The codec.
    pub codec: FourCc,
    /// What `data` is.
    pub what: What,
    /// To be added to the message's time, below a millisecond.
    pub nanoseconds: u32,
    /// The bytes.
    pub data: &'a [u8],
}

/// A body that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// It ends inside a header.
    #[error("FLV tag is truncated")]
    Truncated,
    /// A codec from before `FourCC`s that Stagecast does not carry.
    #[error("{0}")]
    Unsupported(&'static str),
    /// More tracks than a message may have.
    #[error("FLV tag has more than {MAX_PARTS} tracks")]
    TooMany,
}

/// Enhanced packet types, where audio and video agree.
mod packet {
    pub const SEQUENCE_START: u8 = 0;
    pub const CODED_FRAMES: u8 = 1;
    pub const SEQUENCE_END: u8 = 2;
    pub const CODED_FRAMES_X: u8 = 3;
    pub const AUDIO_MULTITRACK: u8 = 5;
    pub const VIDEO_MULTITRACK: u8 = 6;
    pub const MOD_EX: u8 = 7;
}

/// Frame type of a keyframe.
const KEYFRAME: u8 = 1;
/// Frame type of a command to the player, which has no frame.
const COMMAND: u8 = 5;
/// Sound format of the enhanced header.
const EX_AUDIO: u8 = 9;
/// Classic ids.
const AVC: u8 = 7;
const AAC: u8 = 10;

#[derive(Debug)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], FlvError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(FlvError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FlvError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(FlvError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, FlvError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u24(&mut self) -> Result<u32, FlvError> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    fn i24(&mut self) -> Result<i32, FlvError> {
        Ok((self.u24()? << 8).cast_signed() >> 8)
    }
}

/// The parts of a video message. An empty body, and a frame that only commands the player, have none.
pub fn read_video(body: &[u8]) -> Result<Vec<Part<'_>>, FlvError> {
    let mut cursor = Cursor(body);
    let Ok(first) = cursor.byte() else {
        return Ok(Vec::new());
    };
    let keyframe = first >> 4 & 7 == KEYFRAME;
    let command = first >> 4 & 7 == COMMAND;
    if first & 0x80 != 0 {
        if command {
            return Ok(Vec::new());
        }
        let media = Media::Video { keyframe };
        return read_enhanced(&mut cursor, first & 0x0f, media);
    }
    if command {
        return Ok(Vec::new());
    }
    let codec = match first & 0x0f {
        AVC => FourCc::AVC,
        // What encoders did for H.265 before Enhanced RTMP.
        12 => FourCc::HEVC,
        13 => FourCc::AV1,
        2 => return Err(FlvError::Unsupported("Sorenson H.263 video")),
        3 | 6 => return Err(FlvError::Unsupported("Screen video")),
        4 | 5 => return Err(FlvError::Unsupported("On2 VP6 video")),
        _ => return Err(FlvError::Unsupported("an unknown video codec")),
    };
    let kind = cursor.byte()?;
    let composition_ms = cursor.i24()?;
    let what = match kind {
        packet::SEQUENCE_START => What::Config,
        packet::CODED_FRAMES => What::Frame {
            keyframe,
            composition_ms,
        },
        packet::SEQUENCE_END => What::End,
        _ => What::Other,
    };
    Ok(vec![Part {
        track: 0,
        codec,
        what,
        nanoseconds: 0,
        data: cursor.0,
    }])
}

/// The parts of an audio message. An empty body has none.
pub fn read_audio(body: &[u8]) -> Result<Vec<Part<'_>>, FlvError> {
    let mut cursor = Cursor(body);
    let Ok(first) = cursor.byte() else {
        return Ok(Vec::new());
    };
    match first >> 4 {
        AAC => {}
        EX_AUDIO => return read_enhanced(&mut cursor, first & 0x0f, Media::Audio),
        0 | 3 => return Err(FlvError::Unsupported("PCM audio")),
        1 => return Err(FlvError::Unsupported("ADPCM audio")),
        2 | 14 => return Err(FlvError::Unsupported("MP3 audio")),
        4..=6 => return Err(FlvError::Unsupported("Nellymoser audio")),
        7 | 8 => return Err(FlvError::Unsupported("G.711 audio")),
        11 => return Err(FlvError::Unsupported("Speex audio")),
        _ => return Err(FlvError::Unsupported("an unknown audio codec")),
    }
    let what = match cursor.byte()? {
        packet::SEQUENCE_START => What::Config,
        packet::CODED_FRAMES => Media::Audio.frame(0),
        _ => What::Other,
    };
    Ok(vec![Part {
        track: 0,
        codec: FourCc::AAC,
        what,
        nanoseconds: 0,
        data: cursor.0,
    }])
}

#[derive(Debug, Clone, Copy)]
enum Media {
    Audio,
    Video { keyframe: bool },
}

impl Media {
    fn frame(self, composition_ms: i32) -> What {
        What::Frame {
            keyframe: match self {
                Self::Audio => true,
                Self::Video { keyframe } => keyframe,
            },
            composition_ms,
        }
    }

    fn multitrack(self) -> u8 {
        match self {
            Self::Audio => packet::AUDIO_MULTITRACK,
            Self::Video { .. } => packet::VIDEO_MULTITRACK,
        }
    }
}

/// How several tracks share a message: the high half of the byte behind the packet type.
const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

fn read_enhanced<'a>(
    cursor: &mut Cursor<'a>,
    mut packet_type: u8,
    media: Media,
) -> Result<Vec<Part<'a>>, FlvError> {
    let mut nanoseconds = 0;
    while packet_type == packet::MOD_EX {
        let mut len = usize::from(cursor.byte()?) + 1;
        if len == 256 {
            len = usize::from(u16::from_be_bytes(cursor.array()?)) + 1;
        }
        let data = cursor.take(len)?;
        let next = cursor.byte()?;
        packet_type = next & 0x0f;
        if next >> 4 == 0
            && let Some([a, b, c]) = data.first_chunk()
        {
            nanoseconds = u32::from_be_bytes([0, *a, *b, *c]).min(999_999);
        }
    }
    let mut part = Part {
        track: 0,
        codec: FourCc([0; 4]),
        what: What::Other,
        nanoseconds,
        data: &[],
    };
    if packet_type != media.multitrack() {
        part.codec = FourCc(cursor.array()?);
        (part.what, part.data) = read_body(cursor.0, packet_type, part.codec, media)?;
        return Ok(vec![part]);
    }
    let next = cursor.byte()?;
    let (sharing, packet_type) = (next >> 4, next & 0x0f);
    if sharing != MANY_TRACKS_MANY_CODECS {
        part.codec = FourCc(cursor.array()?);
    }
    let mut parts = Vec::new();
    while !cursor.0.is_empty() {
        if parts.len() >= MAX_PARTS {
            return Err(FlvError::TooMany);
        }
        if sharing == MANY_TRACKS_MANY_CODECS {
            part.codec = FourCc(cursor.array()?);
        }
        part.track = cursor.byte()?;
        let len = match sharing {
            ONE_TRACK => cursor.0.len(),
            _ => cursor.u24()? as usize,
        };
        let body = cursor.take(len)?;
        (part.what, part.data) = read_body(body, packet_type, part.codec, media)?;
        parts.push(part);
    }
    Ok(parts)
}

fn read_body(
    body: &[u8],
    packet_type: u8,
    codec: FourCc,
    media: Media,
) -> Result<(What, &[u8]), FlvError> {
    let mut cursor = Cursor(body);
    let video = matches!(media, Media::Video { .. });
    let what = match packet_type {
        packet::SEQUENCE_START => What::Config,
        packet::CODED_FRAMES if video && matches!(codec, FourCc::AVC | FourCc::HEVC) => {
            media.frame(cursor.i24()?)
        }
        packet::CODED_FRAMES => media.frame(0),
        packet::CODED_FRAMES_X if video => media.frame(0),
        packet::SEQUENCE_END => What::End,
        _ => What::Other,
    };
    Ok((what, cursor.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: What = What::Frame {
        keyframe: true,
        composition_ms: 0,
    };

    #[test]
    fn classic_avc_and_aac_are_read() {
        let parts = read_video(b"\x17\x01\xff\xff\xd8data").unwrap();
        assert_eq!(parts[0].codec, FourCc::AVC);
        let what = What::Frame {
            keyframe: true,
            composition_ms: -40,
        };
        assert_eq!((parts[0].what, parts[0].data), (what, &b"data"[..]));
        assert_eq!(
            read_video(b"\x27\x00\0\0\0r").unwrap()[0].what,
            What::Config
        );
        let parts = read_audio(b"\xaf\x00\x12\x10").unwrap();
        assert_eq!(
            (parts[0].what, parts[0].data),
            (What::Config, &b"\x12\x10"[..])
        );
    }

    #[test]
    fn enhanced_v1_video_is_read() {
        let start = read_video(b"\x90hvc1record").unwrap();
        assert_eq!(
            (start[0].codec, start[0].what),
            (FourCc::HEVC, What::Config)
        );
        let frames = read_video(b"\x91hvc1\x00\x00\x28data").unwrap();
        let what = What::Frame {
            keyframe: true,
            composition_ms: 40,
        };
        assert_eq!((frames[0].what, frames[0].data), (what, &b"data"[..]));
        let without = read_video(b"\x93hvc1data").unwrap();
        assert_eq!((without[0].what, without[0].data), (FRAME, &b"data"[..]));
        // AV1 has no composition time, whatever the packet type.
        let av1 = read_video(b"\x91av01data").unwrap();
        assert_eq!((av1[0].what, av1[0].data), (FRAME, &b"data"[..]));
    }

    #[test]
    fn nanoseconds_of_a_modifier_are_read_and_unknown_modifiers_skipped() {
        let parts = read_video(b"\x97\x02\x01\x00\x00\x03av01data").unwrap();
        assert_eq!((parts[0].nanoseconds, parts[0].what), (65_536, FRAME));
        let parts = read_audio(b"\x97\x00\xee\x17\x02\x00\x00\x05\x01Opusdata").unwrap();
        assert_eq!((parts[0].nanoseconds, parts[0].codec), (5, FourCc::OPUS));
        assert_eq!(parts[0].data, b"data");
    }

    #[test]
    fn tracks_of_one_and_of_many_codecs_are_told_apart() {
        let one = read_video(b"\x96\x01avc1\x02\x00\x00\x00data").unwrap();
        assert_eq!((one[0].track, one[0].codec), (2, FourCc::AVC));
        assert_eq!(one[0].data, b"data");
        let many = read_video(b"\x96\x13av01\x00\x00\x00\x01a\x01\x00\x00\x02bb").unwrap();
        assert_eq!((many[0].track, many[0].data), (0, &b"a"[..]));
        assert_eq!((many[1].track, many[1].data), (1, &b"bb"[..]));
        let codecs = read_audio(b"\x95\x21Opus\x00\x00\x00\x01amp4a\x01\x00\x00\x01b").unwrap();
        assert_eq!(codecs[0].codec, FourCc::OPUS);
        assert_eq!((codecs[1].codec, codecs[1].data), (FourCc::AAC, &b"b"[..]));
    }

    #[test]
    fn what_stagecast_does_not_carry_is_named() {
        let named = |body| read_audio(body).unwrap_err().to_string();
        assert_eq!(named(b"\x2f\x00"), "MP3 audio");
        assert_eq!(named(b"\xb2\x00"), "Speex audio");
        let video = read_video(b"\x12data").unwrap_err();
        assert_eq!(video.to_string(), "Sorenson H.263 video");
        // Codecs with four characters are for the caller to judge.
        assert_eq!(
            read_audio(b"\x90fLaC").unwrap()[0].codec.to_string(),
            "fLaC"
        );
    }

    #[test]
    fn commands_to_the_player_and_empty_messages_have_no_parts() {
        assert_eq!(read_video(b"\x57\x00"), Ok(vec![]));
        assert_eq!(read_video(b"\xd1\x00"), Ok(vec![]));
        assert_eq!(read_audio(b""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_parts_lie_in_them(
            first in prop::sample::select(vec![0x17u8, 0x90, 0x96, 0x97, 0xaf, 0x95]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let body = [&[first][..], &rest].concat();
            for parts in [read_video(&body), read_audio(&body)].into_iter().flatten() {
                let total: usize = parts.iter().map(|part| part.data.len()).sum();
                prop_assert!(total <= body.len());
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            codec in prop::sample::select(vec![
                FourCc::AVC, FourCc::HEVC, FourCc::AV1, FourCc::VP9, FourCc::AAC, FourCc::OPUS,
            ]),
            track in 0..3u8,
            keyframe: bool,
            composition in -8_000_000..8_000_000i32,
            config: bool,
            data in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let audio = matches!(codec, FourCc::AAC | FourCc::OPUS);
            let composed = matches!(codec, FourCc::AVC | FourCc::HEVC);
            let what = if config { What::Config } else {
                What::Frame {
                    keyframe: keyframe || audio,
                    composition_ms: if composed { composition } else { 0 },
                }
            };
            let part = Part { track, codec, what, nanoseconds: 0, data: &data };
            let body = if audio { write_audio(&part) } else { write_video(&part) };
            let read = if audio { read_audio(&body) } else { read_video(&body) };
            prop_assert_eq!(read, Ok(vec![part]));
        }
    }
}
