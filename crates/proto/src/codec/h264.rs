//! H.264 in RTP: RFC 6184 packets, and the picture size in a sequence parameter set.
//!
//! Reads single NAL unit packets (§5.6), STAP-A (§5.7.1) and the first fragment of FU-A (§5.8):
//! what packetization modes 0 and 1 use, and all that WebRTC carries. A keyframe starts at an SPS
//! or, when the parameter sets came earlier, at the first slice of an IDR picture
//! (`first_mb_in_slice` is zero), so a later slice of the same picture is not taken for a start.

use super::{PayloadInfo, bits::Bits};

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

const FU_START: u8 = 0x80;

/// Level 6.2 ends at 139 264 macroblocks, 16 384 samples a side at most by §A.3.1; twice that is
/// surely noise.
const MAX_MBS_PER_SIDE: u32 = 2048;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut info = PayloadInfo::default();
    let Some(&indicator) = payload.first() else {
        return info;
    };
    match indicator & 0x1f {
        NAL_STAP_A => {
            for nal in aggregated(&payload[1..]) {
                inspect_nal(&mut info, nal[0] & 0x1f, &nal[1..]);
            }
        }
        NAL_FU_A => {
            if let Some(&header) = payload.get(1)
                && header & FU_START != 0
            {
                inspect_nal(&mut info, header & 0x1f, &payload[2..]);
            }
        }
        kind => inspect_nal(&mut info, kind, &payload[1..]),
    }
    info
}

/// `body` is what follows the NAL unit header; of a fragmented unit it is only the first part.
fn inspect_nal(info: &mut PayloadInfo, kind: u8, body: &[u8]) {
    match kind {
        NAL_SPS => {
            info.keyframe = true;
            info.parameter_sets = true;
            info.resolution = resolution(body).or(info.resolution);
        }
        NAL_PPS => info.parameter_sets = true,
        // first_mb_in_slice is ue(v), so zero is the single bit 1.
        NAL_IDR => info.keyframe |= body.first().is_some_and(|first| first & 0x80 != 0),
        _ => {}
    }
}

/// The non-empty NAL units of an aggregation packet: a 16-bit size before each. Ends at the first
/// size that does not fit. H.265 aggregates the same way (RFC 7798 §4.4.2).
pub(super) fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let (size, after) = rest.split_first_chunk::<2>()?;
            let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
            rest = after;
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    })
}

/// Width and height after cropping; `sps` is what follows the NAL unit header.
fn resolution(sps: &[u8]) -> Option<(u16, u16)> {
    Sps::parse(sps)?.resolution
}

/// What a configuration record needs of a sequence parameter set.
pub(super) struct Sps {
    /// `chroma_format_idc`.
    pub(super) chroma_format: u32,
    /// Of luma and chroma, less eight.
    pub(super) bit_depths: (u32, u32),
    /// After cropping.
    pub(super) resolution: Option<(u16, u16)>,
}

impl Sps {
    /// Reads `seq_parameter_set_data()` of H.264 §7.3.2.1.1, which follows the NAL unit header.
    pub(super) fn parse(sps: &[u8]) -> Option<Self> {
        let mut bits = Bits::rbsp(sps);
        let profile = bits.bits(8)?;
        bits.skip(16)?; // constraint flags, level_idc
        bits.ue()?; // seq_parameter_set_id
        let high = if has_chroma_format(profile) {
            high_profile(&mut bits)?
        } else {
            HighProfile {
                chroma_format: 1,
                chroma_array: 1,
                bit_depths: (0, 0),
            }
        };
        Some(Self {
            chroma_format: high.chroma_format,
            bit_depths: high.bit_depths,
            resolution: picture_size(&mut bits, high.chroma_array),
        })
    }
}

struct HighProfile {
    chroma_format: u32,
    /// `ChromaArrayType`.
    chroma_array: u32,
    bit_depths: (u32, u32),
}

fn picture_size(bits: &mut Bits, chroma: u32) -> Option<(u16, u16)> {
    bits.ue()?; // log2_max_frame_num_minus4
    skip_picture_order(bits)?;
    bits.ue()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let width_mbs = bits.ue()?;
    let height_units = bits.ue()?;
    if width_mbs >= MAX_MBS_PER_SIDE || height_units >= MAX_MBS_PER_SIDE {
        return None;
    }
    let frame_mbs_only = bits.bit()?;
    if !frame_mbs_only {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
    let fields = 2 - u32::from(frame_mbs_only);
    bits.skip(1)?; // direct_8x8_inference_flag
    let mut width = (width_mbs + 1) * 16;
    let mut height = (height_units + 1) * 16 * fields;
    if bits.bit()? {
        // Crop units of table 6-1: chroma 0 and 3 are not subsampled, 2 only across.
        let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 } * fields;
        let across = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_x)?;
        let down = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_y)?;
        width = width.checked_sub(across)?;
        height = height.checked_sub(down)?;
    }
    super::size(width, height)
}

/// Profiles whose SPS carries `chroma_format_idc` and what follows it.
pub(super) fn has_chroma_format(profile: u32) -> bool {
    matches!(
        profile,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    )
}

/// The fields that only the high profiles have.
fn high_profile(bits: &mut Bits) -> Option<HighProfile> {
    let chroma = bits.ue()?;
    let separate_planes = chroma == 3 && bits.bit()?;
    let bit_depths = (bits.ue()?, bits.ue()?);
    bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.bit()? {
        for list in 0..if chroma == 3 { 12 } else { 8 } {
            if bits.bit()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(HighProfile {
        chroma_format: chroma,
        chroma_array: if separate_planes { 0 } else { chroma },
        bit_depths,
    })
}

/// `scaling_list()` of H.264 §7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits, size: u32) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()?.rem_euclid(256)) % 256;
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits) -> Option<()> {
    match bits.ue()? {
        0 => {
            bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.skip(1)?; // delta_pic_order_always_zero_flag
            bits.se()?; // offset_for_non_ref_pic
            bits.se()?; // offset_for_top_to_bottom_field
            let count = bits.ue()?;
            // num_ref_frames_in_pic_order_cnt_cycle is at most 255 by §7.4.2.1.1.
            if count > 255 {
                return None;
            }
            for _ in 0..count {
                bits.se()?;
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// Parameter sets of x264.
    const SPS_HD: &str = "6764001facd9405005ba10000003001000000303c0f1831960";
    const PPS: &str = "68ebe3cb22c0";

    fn inspect_hex(text: &str) -> PayloadInfo {
        inspect(&hex(text))
    }

    #[test]
    fn sps_alone_starts_a_keyframe() {
        assert_eq!(
            inspect_hex(SPS_HD),
            PayloadInfo {
                keyframe: true,
                resolution: Some((1280, 720)),
                parameter_sets: true,
                ..PayloadInfo::default()
            }
        );
    }

    #[test]
    fn resolution_follows_cropping_fields_and_chroma() {
        let baseline = "6742c00dd901519e226840000003004000000f03c50a92";
        assert_eq!(inspect_hex(baseline).resolution, Some((322, 182)));
        let interlaced = "67640028acd94078044fdc20000003002000000783e2c5b2c0";
        assert_eq!(inspect_hex(interlaced).resolution, Some((1920, 1080)));
        let chroma_444 = "67f4000b919b2859bc7cb080000003008000001e078a14cb";
        assert_eq!(inspect_hex(chroma_444).resolution, Some((162, 92)));
    }

    #[test]
    fn aggregate_of_parameter_sets_and_slice_starts_a_keyframe() {
        let info = inspect_hex(&format!("78 0019 {SPS_HD} 0006 {PPS} 0004 65888400"));
        assert!(info.keyframe && info.parameter_sets);
        assert_eq!(info.resolution, Some((1280, 720)));
    }

    #[test]
    fn pps_alone_is_no_start() {
        let info = inspect_hex(PPS);
        assert!(!info.keyframe && info.parameter_sets);
    }

    #[test]
    fn only_the_first_slice_of_an_idr_picture_is_a_start() {
        assert!(inspect_hex("65888400 2efffe").keyframe);
        assert!(!inspect_hex("65003988 8840").keyframe);
        assert!(inspect_hex("7c 85 888400").keyframe, "first fragment");
        assert!(!inspect_hex("7c 05 888400").keyframe, "middle fragment");
        assert!(!inspect_hex("7c 45 888400").keyframe, "last fragment");
        assert!(
            !inspect_hex("7c 81 888400").keyframe,
            "first fragment of another slice"
        );
    }

    #[test]
    fn inter_slice_is_no_start() {
        assert_eq!(inspect_hex("419a22639e07"), PayloadInfo::default());
    }

    #[test]
    fn aggregate_with_a_size_beyond_the_packet_ends_there() {
        assert_eq!(
            inspect_hex("78 0000 0003 419a22 0040 6742"),
            PayloadInfo::default()
        );
    }

    #[test]
    fn scaling_lists_are_skipped() {
        // High profile, flat lists but the first, which ends after one delta of -8.
        let mut bits = String::from("1 011 1 1 0"); // sps id, chroma 2, depths, bypass
        bits = bits.replace(' ', "");
        bits += "1"; // seq_scaling_matrix_present_flag
        bits += "1000010001"; // list 0 present, se(-8): next scale is 0
        bits += "0000000"; // lists 1 to 7 absent
        bits += "1"; // log2_max_frame_num
        bits += "010"; // picture order type 1
        bits += "0 1 1 010 1".replace(' ', "").as_str(); // cycle of one offset
        bits += "1 0"; // reference frames, gaps
        bits += "00101 010"; // 5 x 2 macroblocks
        bits += "1 1 0"; // frames only, direct, no cropping
        let bits: Vec<char> = bits.chars().filter(|char| !char.is_whitespace()).collect();
        let mut sps = vec![100, 0, 31];
        sps.extend(bits.chunks(8).map(|chunk| {
            (0..8).fold(0, |byte, at| {
                byte << 1 | u8::from(chunk.get(at) == Some(&'1'))
            })
        }));
        assert_eq!(resolution(&sps), Some((80, 32)));
    }
}
