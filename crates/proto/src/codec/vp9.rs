//! VP9 in RTP: the payload descriptor of RFC 9628 §4.2, and the picture size.
//!
//! The descriptor alone says where a keyframe starts: the base spatial layer begins (`B`, SID 0)
//! and nothing is predicted from an earlier picture (`P` unset). So a frame whose body is
//! encrypted end to end is still recognised. The size is that of the largest spatial layer in the
//! scalability structure, or else what the uncompressed header of the frame says.

use super::{MAX_SIZES, PayloadInfo, Scalability, bits::Bits};

const HAS_PICTURE_ID: u8 = 0x80;
const INTER_PICTURE: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS_FRAME: u8 = 0x08;
const ENDS_FRAME: u8 = 0x04;
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
    let layer = descriptor.layer;
    info.keyframe = layer.begins && !layer.inter_picture && layer.spatial == 0;
    info.scalability = descriptor.layered.then_some(layer);
    info.layer_sizes = descriptor.sizes;
    info.resolution = descriptor.sizes.into_iter().max().flatten();
    if info.keyframe && info.resolution.is_none() {
        info.resolution = frame_size(&payload[descriptor.header_len..]);
    }
    info
}

type Sizes = [Option<(u16, u16)>; MAX_SIZES];

/// What stands after the payload descriptor, and the spatial layer it is of; `None` when the
/// descriptor is cut short.
pub fn strip(payload: &[u8]) -> Option<(u8, &[u8])> {
    let descriptor = Descriptor::parse(payload)?;
    Some((descriptor.layer.spatial, &payload[descriptor.header_len..]))
}

struct Descriptor {
    /// Layer indices are present.
    layered: bool,
    layer: Scalability,
    structure: bool,
    /// Of each layer in the scalability structure.
    sizes: Sizes,
    header_len: usize,
}

impl Descriptor {
    fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let has = |flag| first & flag != 0;
        let mut descriptor = Self {
            layered: has(HAS_LAYERS),
            layer: Scalability {
                inter_picture: has(INTER_PICTURE),
                begins: has(BEGINS_FRAME),
                ends: has(ENDS_FRAME),
                ..Scalability::default()
            },
            structure: has(HAS_STRUCTURE),
            sizes: Sizes::default(),
            header_len: 1,
        };
        let at = &mut descriptor.header_len;
        if has(HAS_PICTURE_ID) {
            *at += if payload.get(*at)? & 0x80 != 0 { 2 } else { 1 };
        }
        if has(HAS_LAYERS) {
            let indices = *payload.get(*at)?;
            descriptor.layer.temporal = indices >> 5;
            descriptor.layer.switch_up = indices & 0x10 != 0;
            descriptor.layer.spatial = indices >> 1 & 0x07;
            descriptor.layer.inter_layer = indices & 0x01 != 0;
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
            let (sizes, after) = parse_structure(payload, *at)?;
            descriptor.sizes = sizes;
            *at = after;
        }
        (descriptor.header_len <= payload.len()).then_some(descriptor)
    }
}

/// Reads the scalability structure at `at`; gives the layers' sizes and where it ends.
fn parse_structure(payload: &[u8], mut at: usize) -> Option<(Sizes, usize)> {
    let first = *payload.get(at)?;
    at += 1;
    let mut sizes = Sizes::default();
    if first & 0x10 != 0 {
        for layer in 0..=usize::from(first >> 5) {
            let sides = payload.get(at..)?.first_chunk::<4>()?;
            let width = u16::from_be_bytes([sides[0], sides[1]]);
            let height = u16::from_be_bytes([sides[2], sides[3]]);
            if let Some(size) = sizes.get_mut(layer) {
                *size = super::size(width.into(), height.into());
            }
            at += 4;
        }
    }
    if first & 0x08 != 0 {
        let pictures = *payload.get(at)?;
        at += 1;
        for _ in 0..pictures {
            let references = payload.get(at)? >> 2 & 0x03;
            at += 1 + usize::from(references);
        }
    }
    Some((sizes, at))
}

fn frame_size(frame: &[u8]) -> Option<(u16, u16)> {
    KeyHeader::parse(frame)?.resolution
}

/// What `uncompressed_header()` of a key frame says (VP9 bitstream specification §6.2).
pub(super) struct KeyHeader {
    pub(super) profile: u32,
    pub(super) bit_depth: u32,
    /// Of the `vpcC` box: 1 is 4:2:0 colocated, 2 is 4:2:2, 3 is 4:4:4.
    pub(super) chroma: u32,
    pub(super) full_range: bool,
    pub(super) resolution: Option<(u16, u16)>,
}

impl KeyHeader {
    /// `None` when this is no key frame.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
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
        let bit_depth = match profile {
            0 | 1 => 8,
            _ if bits.bit()? => 12,
            _ => 10,
        };
        let subsampled = profile == 1 || profile == 3;
        let (mut full_range, mut chroma) = (true, 3);
        if bits.bits(3)? == COLOR_SPACE_RGB {
            bits.skip(u32::from(subsampled))?; // reserved_zero
        } else {
            full_range = bits.bit()?;
            chroma = 1;
            if subsampled {
                // subsampling_x, subsampling_y, reserved_zero
                chroma = match (bits.bit()?, bits.bit()?) {
                    (true, true) => 1,
                    (true, false) => 2,
                    _ => 3,
                };
                bits.skip(1)?;
            }
        }
        Some(Self {
            profile,
            bit_depth,
            chroma,
            full_range,
            resolution: super::size(bits.bits(16)? + 1, bits.bits(16)? + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// A 322x182 key frame of libvpx, cut after its size.
    const KEY_FRAME: &str = "824983420014100b560038241c184a";

    fn inspect_hex(text: &str) -> PayloadInfo {
        inspect(&hex(text))
    }

    #[test]
    fn keyframe_tells_its_size_in_the_uncompressed_header() {
        // I, B; 15-bit picture id.
        let info = inspect_hex(&format!("88 8123 {KEY_FRAME}"));
        assert!(info.keyframe);
        assert_eq!(info.resolution, Some((322, 182)));
        assert!(!info.parameter_sets);
    }

    #[test]
    fn profile_1_header_has_subsampling_before_the_size() {
        let info = inspect_hex("88 11 a249834200013e00b2c007048383094000066000");
        assert_eq!(info.resolution, Some((160, 90)));
    }

    #[test]
    fn scalability_structure_tells_the_largest_layer() {
        // I L B E V; SID 0; N_S=1 (two layers), Y, G; 320x180, 640x360; two pictures, one of them
        // with two references.
        let head = "ae 05 00 07 38 0140 00b4 0280 0168 02 00 08 01 02";
        let info = inspect_hex(&format!("{head} 00 0000"));
        assert_eq!(
            info,
            PayloadInfo {
                keyframe: true,
                resolution: Some((640, 360)),
                parameter_sets: true,
                layer_sizes: [Some((320, 180)), Some((640, 360)), None, None],
                scalability: Some(Scalability {
                    begins: true,
                    ends: true,
                    ..Scalability::default()
                }),
            }
        );
        let descriptor = Descriptor::parse(&hex(head)).unwrap();
        assert_eq!(descriptor.header_len, hex(head).len());
    }

    #[test]
    fn encrypted_body_is_still_a_keyframe() {
        let info = inspect_hex("88 01 ffffffffffffffffffffffffffffffff");
        assert!(info.keyframe);
        assert_eq!(info.resolution, None);
    }

    #[test]
    fn upper_layer_later_packet_and_inter_frame_are_no_start() {
        assert!(!inspect_hex(&format!("a8 01 03 00 {KEY_FRAME}")).keyframe); // SID 1
        assert!(!inspect_hex(&format!("80 01 {KEY_FRAME}")).keyframe); // no B
        assert!(!inspect_hex(&format!("c8 01 {KEY_FRAME}")).keyframe); // P
    }

    #[test]
    fn layer_indices_tell_the_place_among_layers() {
        // P L E; TID 2, U, SID 1, D.
        let layer = inspect_hex("64 53 09 aa").scalability.unwrap();
        assert_eq!((layer.temporal, layer.spatial), (2, 1));
        assert!(layer.switch_up && layer.inter_layer && layer.inter_picture);
        assert!(layer.ends && !layer.begins);
        assert_eq!(inspect_hex("88 01 aa").scalability, None, "no indices");
    }

    #[test]
    fn flexible_mode_has_references_and_no_tl0picidx() {
        // I P L F B: picture id, layers, two references.
        let descriptor = Descriptor::parse(&hex("f8 01 00 03 02 aa")).unwrap();
        assert_eq!(descriptor.header_len, 5);
        assert!(
            Descriptor::parse(&hex("f8 01 00 03 03 03 02")).is_none(),
            "four references"
        );
    }
}
