//! VP9 in RTP: the payload descriptor of RFC 9628 §4.2, and the picture size.
//!
//! The descriptor alone says where a keyframe starts: the base spatial layer begins (`B`, SID 0)
//! and nothing is predicted from an earlier picture (`P` unset). So a frame whose body is
//! encrypted end to end is still recognised. The size is that of the largest spatial layer in the
//! scalability structure, or else what the uncompressed header of the frame says.

use super::{PayloadInfo, bits::Bits};

const HAS_PICTURE_ID: u8 = 0x80;
const INTER_PICTURE: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS_FRAME: u8 = 0x08;
const HAS_STRUCTURE: u8 = 0x02;

/// RFC 9628 §4.2: a frame in flexible mode refers to at most three pictures.
const MAX_REFERENCES: usize = 3;

const SYNC_CODE: u32 = 0x49_8342;
const COLOR_SPACE_RGB: u32 = 7;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut info = PayloadInfo::default();
    let Some(descriptor) = Descriptor::parse(payload) else {
        return info;
    };
    info.parameter_sets = descriptor.structure;
    info.keyframe = descriptor.begins && !descriptor.inter_picture && descriptor.spatial_layer == 0;
    info.resolution = descriptor.resolution;
    if info.keyframe && info.resolution.is_none() {
        info.resolution = frame_size(&payload[descriptor.header_len..]);
    }
    info
}

struct Descriptor {
    begins: bool,
    inter_picture: bool,
    spatial_layer: u8,
    structure: bool,
    /// Of the largest layer in the scalability structure.
    resolution: Option<(u16, u16)>,
    header_len: usize,
}

impl Descriptor {
    fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let has = |flag| first & flag != 0;
        let mut descriptor = Self {
            begins: has(BEGINS_FRAME),
            inter_picture: has(INTER_PICTURE),
            spatial_layer: 0,
            structure: has(HAS_STRUCTURE),
            resolution: None,
            header_len: 1,
        };
        let at = &mut descriptor.header_len;
        if has(HAS_PICTURE_ID) {
            *at += if payload.get(*at)? & 0x80 != 0 { 2 } else { 1 };
        }
        if has(HAS_LAYERS) {
            descriptor.spatial_layer = payload.get(*at)? >> 1 & 0x07;
            // TL0PICIDX follows only in non-flexible mode.
            *at += if has(FLEXIBLE) { 1 } else { 2 };
        }
        if has(FLEXIBLE) && has(INTER_PICTURE) {
            let mut references = 0;
            loop {
                let more = payload.get(*at)? & 0x01 != 0;
                *at += 1;
                references += 1;
                if !more {
                    break;
                }
                if references == MAX_REFERENCES {
                    return None;
                }
            }
        }
        if has(HAS_STRUCTURE) {
            descriptor.resolution = parse_structure(payload, at)?;
        }
        (descriptor.header_len <= payload.len()).then_some(descriptor)
    }
}

/// Reads the scalability structure at `at` and moves past it; gives the largest layer's size.
fn parse_structure(payload: &[u8], at: &mut usize) -> Option<Option<(u16, u16)>> {
    let first = *payload.get(*at)?;
    *at += 1;
    let mut largest = None;
    if first & 0x10 != 0 {
        for _ in 0..=first >> 5 {
            let sides = payload.get(*at..)?.first_chunk::<4>()?;
            let width = u16::from_be_bytes([sides[0], sides[1]]);
            let height = u16::from_be_bytes([sides[2], sides[3]]);
            largest = largest.max(super::size(width.into(), height.into()));
            *at += 4;
        }
    }
    if first & 0x08 != 0 {
        let pictures = *payload.get(*at)?;
        *at += 1;
        for _ in 0..pictures {
            let references = payload.get(*at)? >> 2 & 0x03;
            *at += 1 + usize::from(references);
        }
    }
    Some(largest)
}

/// The size in `uncompressed_header()` of a key frame (VP9 bitstream specification §6.2).
fn frame_size(frame: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(frame);
    let marker = bits.bits(2)?;
    let profile = bits.bits(1)? | bits.bits(1)? << 1;
    if profile == 3 {
        bits.skip(1)?; // reserved_zero
    }
    let show_existing_frame = bits.bit()?;
    let inter_frame = bits.bit()?;
    if marker != 2 || show_existing_frame || inter_frame {
        return None;
    }
    bits.skip(2)?; // show_frame, error_resilient_mode
    if bits.bits(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?; // ten_or_twelve_bit
    }
    let subsampled = profile == 1 || profile == 3;
    if bits.bits(3)? == COLOR_SPACE_RGB {
        bits.skip(if subsampled { 1 } else { 0 })?; // reserved_zero
    } else {
        bits.skip(if subsampled { 4 } else { 1 })?; // color_range, subsampling, reserved_zero
    }
    super::size(bits.bits(16)? + 1, bits.bits(16)? + 1)
}
