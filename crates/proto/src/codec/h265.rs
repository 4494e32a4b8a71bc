//! H.265 in RTP: RFC 7798 packets, and the picture size in a sequence parameter set.
//!
//! Reads single NAL unit packets (§4.4.1), aggregation packets (§4.4.2) and the first fragment of
//! fragmentation units (§4.4.3), all without DONL: WebRTC never sets `sprop-max-don-diff`. A
//! keyframe starts at a VPS or SPS or at the first slice segment of an IDR, BLA or CRA picture.

use super::{PayloadInfo, bits::Bits, h264::aggregated};

const NAL_BLA_W_LP: u8 = 16;
const NAL_CRA: u8 = 21;
const NAL_VPS: u8 = 32;
const NAL_SPS: u8 = 33;
const NAL_PPS: u8 = 34;
const NAL_AP: u8 = 48;
const NAL_FU: u8 = 49;

const FU_START: u8 = 0x80;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut info = PayloadInfo::default();
    let Some((header, body)) = payload.split_first_chunk::<2>() else {
        return info;
    };
    match nal_type(header[0]) {
        NAL_AP => {
            for nal in aggregated(body) {
                if let Some((header, body)) = nal.split_first_chunk::<2>() {
                    inspect_nal(&mut info, nal_type(header[0]), body);
                }
            }
        }
        NAL_FU => {
            if let Some((&fu, body)) = body.split_first()
                && fu & FU_START != 0
            {
                inspect_nal(&mut info, fu & 0x3f, body);
            }
        }
        kind => inspect_nal(&mut info, kind, body),
    }
    info
}

fn nal_type(first: u8) -> u8 {
    first >> 1 & 0x3f
}

/// `body` is what follows the NAL unit header; of a fragmented unit it is only the first part.
fn inspect_nal(info: &mut PayloadInfo, kind: u8, body: &[u8]) {
    match kind {
        NAL_VPS => {
            info.keyframe = true;
            info.parameter_sets = true;
        }
        NAL_SPS => {
            info.keyframe = true;
            info.parameter_sets = true;
            info.resolution = resolution(body).or(info.resolution);
        }
        NAL_PPS => info.parameter_sets = true,
        // first_slice_segment_in_pic_flag is the first bit of the slice segment header.
        NAL_BLA_W_LP..=NAL_CRA => {
            info.keyframe |= body.first().is_some_and(|first| first & 0x80 != 0);
        }
        _ => {}
    }
}

/// Width and height inside the conformance window; `sps` is what follows the NAL unit header.
fn resolution(sps: &[u8]) -> Option<(u16, u16)> {
    Sps::parse(sps)?.resolution
}

/// What a configuration record needs of a sequence parameter set.
pub(super) struct Sps {
    /// `sps_max_sub_layers_minus1`.
    pub(super) sub_layers: u32,
    /// `sps_temporal_id_nesting_flag`.
    pub(super) nested: bool,
    /// The 12 bytes of general profile, compatibility, constraints and level (§7.3.3).
    pub(super) general: [u8; 12],
    /// `chroma_format_idc`.
    pub(super) chroma_format: u32,
    /// Of luma and chroma, less eight.
    pub(super) bit_depths: (u32, u32),
    /// Inside the conformance window.
    pub(super) resolution: Option<(u16, u16)>,
}

impl Sps {
    /// Reads `seq_parameter_set_rbsp()` of H.265 §7.3.2.2.1, which follows the NAL unit header.
    pub(super) fn parse(sps: &[u8]) -> Option<Self> {
        let mut general = [0; 12];
        let mut head = Bits::rbsp(sps);
        head.skip(8)?;
        for byte in &mut general {
            *byte = head.bits(8)? as u8;
        }
        let mut bits = Bits::rbsp(sps);
        bits.skip(4)?; // sps_video_parameter_set_id
        let sub_layers = bits.bits(3)?;
        let nested = bits.bit()?;
        skip_profile_tier_level(&mut bits, sub_layers)?;
        bits.ue()?; // sps_seq_parameter_set_id
        let (chroma_format, resolution) = picture_size(&mut bits)?;
        let bit_depths = (bits.ue()?, bits.ue()?);
        Some(Self {
            sub_layers,
            nested,
            general,
            chroma_format,
            bit_depths,
            resolution,
        })
    }
}

/// `chroma_format_idc`, and the size inside the conformance window.
fn picture_size(bits: &mut Bits) -> Option<(u32, Option<(u16, u16)>)> {
    let chroma = bits.ue()?;
    let separate_planes = chroma == 3 && bits.bit()?;
    let mut width = bits.ue()?;
    let mut height = bits.ue()?;
    if bits.bit()? {
        // SubWidthC and SubHeightC of table 6-1.
        let unit_x = if matches!(chroma, 1 | 2) && !separate_planes {
            2
        } else {
            1
        };
        let unit_y = if chroma == 1 && !separate_planes {
            2
        } else {
            1
        };
        let across = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_x)?;
        let down = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_y)?;
        width = width.checked_sub(across)?;
        height = height.checked_sub(down)?;
    }
    Some((chroma, super::size(width, height)))
}

/// `profile_tier_level( 1, sub_layers )` of H.265 §7.3.3.
fn skip_profile_tier_level(bits: &mut Bits, sub_layers: u32) -> Option<()> {
    const PROFILE: u32 = 88;
    const LEVEL: u32 = 8;
    bits.skip(PROFILE + LEVEL)?;
    let mut present = 0;
    for _ in 0..sub_layers {
        present += u32::from(bits.bit()?) * PROFILE;
        present += u32::from(bits.bit()?) * LEVEL;
    }
    if sub_layers > 0 {
        bits.skip((8 - sub_layers) * 2)?; // reserved_zero_2bits
    }
    bits.skip(present)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// Parameter sets of x265.
    const VPS: &str = "40010c01ffff016000000300900000030000030078959809";
    const SPS_HD: &str = "420101016000000300900000030000030078a003c08010e596566924cae68080\
                          000003008000000f04";
    const PPS: &str = "4401c172b46240";

    fn inspect_hex(text: &str) -> PayloadInfo {
        inspect(&hex(text))
    }

    #[test]
    fn parameter_sets_start_a_keyframe() {
        assert!(inspect_hex(VPS).keyframe);
        let info = inspect_hex(SPS_HD);
        assert!(info.keyframe && info.parameter_sets);
        assert_eq!(info.resolution, Some((1920, 1080)));
        let info = inspect_hex(PPS);
        assert!(!info.keyframe && info.parameter_sets);
    }

    #[test]
    fn resolution_is_inside_the_conformance_window_and_after_sub_layers() {
        let sps = "42010401600000030090000003000003003c0000a00a480b9c95965652b2959649\
                   32b9a020000003002000000303c1";
        assert_eq!(inspect_hex(sps).resolution, Some((322, 182)));
    }

    #[test]
    fn aggregate_is_read_whole() {
        let info = inspect_hex(&format!("6001 0018 {VPS} 0029 {SPS_HD} 0007 {PPS}"));
        assert!(info.keyframe && info.parameter_sets);
        assert_eq!(info.resolution, Some((1920, 1080)));
    }

    #[test]
    fn only_the_first_segment_of_a_random_access_picture_is_a_start() {
        assert!(inspect_hex("2801af0842").keyframe, "IDR_N_LP");
        assert!(inspect_hex("2a01af0842").keyframe, "CRA");
        assert!(!inspect_hex("28012f0842").keyframe, "a later segment");
        assert!(inspect_hex("6201 94 af0842").keyframe, "first fragment");
        assert!(!inspect_hex("6201 14 af0842").keyframe, "middle fragment");
        assert!(!inspect_hex("0201d8097e").keyframe, "inter picture");
    }
}
