//! AV1 in RTP: the aggregation header of "RTP Payload Format For AV1" §4.4, and the size in a
//! sequence header OBU.
//!
//! `N` marks the first packet of a coded video sequence, which is where a decoder can start. The
//! sequence header is read when it stands whole in the packet: it is some ten bytes, so it is.

use super::{PayloadInfo, bits::Bits};

const CONTINUES_OBU: u8 = 0x80;
const CONTINUED_OBU: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;

pub(super) const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_HAS_EXTENSION: u8 = 0x04;
const OBU_HAS_SIZE: u8 = 0x02;

/// `leb128()` of the AV1 specification §4.10.5 ends after eight bytes.
const MAX_LEB128_LEN: usize = 8;

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut info = PayloadInfo::default();
    let Some((&aggregation, elements)) = payload.split_first() else {
        return info;
    };
    let continues = aggregation & CONTINUES_OBU != 0;
    // §4.4: a packet that begins a sequence cannot continue an OBU.
    info.keyframe = aggregation & NEW_SEQUENCE != 0 && !continues;
    let elements = Elements::new(aggregation, elements);
    for obu in elements.skip(usize::from(continues)) {
        if let Some(sequence_header) = body(obu, OBU_SEQUENCE_HEADER) {
            info.parameter_sets = true;
            info.resolution = resolution(sequence_header).or(info.resolution);
        }
    }
    info
}

/// One RTP payload, taken apart.
#[derive(Debug)]
pub struct Payload<'a> {
    /// `Z`: the first element goes on with an OBU of the packet before.
    pub continues: bool,
    /// `Y`: the last element goes on in the packet after.
    pub continued: bool,
    /// `N`: the first packet of a coded video sequence.
    pub new_sequence: bool,
    /// The OBU elements, in order.
    pub elements: Elements<'a>,
}

impl<'a> Payload<'a> {
    /// `None` for an empty payload.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (&aggregation, rest) = payload.split_first()?;
        Some(Self {
            continues: aggregation & CONTINUES_OBU != 0,
            continued: aggregation & CONTINUED_OBU != 0,
            new_sequence: aggregation & NEW_SEQUENCE != 0,
            elements: Elements::new(aggregation, rest),
        })
    }
}

/// The OBU elements of a packet: each with its length before it, except the last of a count `W`.
#[derive(Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    /// `W`; zero when every element has a length.
    counted: u8,
    index: u8,
}

impl<'a> Elements<'a> {
    fn new(aggregation: u8, rest: &'a [u8]) -> Self {
        Self {
            rest,
            counted: aggregation >> 4 & 0x03,
            index: 0,
        }
    }

    /// Whether what was read is all there was: nothing was cut short.
    pub fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() || (self.counted != 0 && self.index == self.counted) {
            return None;
        }
        self.index = self.index.wrapping_add(1);
        if self.counted != 0 && self.index == self.counted {
            return Some(std::mem::take(&mut self.rest));
        }
        let (len, after) = leb128(self.rest)?;
        let (element, after) = after.split_at_checked(len)?;
        self.rest = after;
        Some(element)
    }
}

pub(super) fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in data.iter().take(MAX_LEB128_LEN).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &data[index + 1..]));
        }
    }
    None
}

/// What follows the header of an OBU of this type (AV1 specification §5.3).
pub(super) fn body(obu: &[u8], wanted: u8) -> Option<&[u8]> {
    let (&header, mut rest) = obu.split_first()?;
    if header >> 3 & 0x0f != wanted {
        return None;
    }
    if header & OBU_HAS_EXTENSION != 0 {
        rest = rest.get(1..)?;
    }
    if header & OBU_HAS_SIZE != 0 {
        let (len, after) = leb128(rest)?;
        rest = after.get(..len)?;
    }
    Some(rest)
}

/// Size of the picture in `sequence_header_obu()`.
fn resolution(sequence_header: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(sequence_header);
    Sequence::before_tools(&mut bits)?.resolution
}

/// What a configuration record needs of a sequence header.
pub(super) struct Sequence {
    /// `seq_profile`.
    pub(super) profile: u32,
    /// `seq_level_idx[0]`.
    pub(super) level: u32,
    /// `seq_tier[0]`.
    pub(super) tier: u32,
    /// `max_frame_width` and `max_frame_height`.
    pub(super) resolution: Option<(u16, u16)>,
    /// Zero until the whole header is read.
    pub(super) color: Color,
    reduced: bool,
}

/// `color_config()` of the AV1 specification §5.5.2, as bits.
#[derive(Default)]
pub(super) struct Color {
    pub(super) high_bitdepth: u32,
    pub(super) twelve_bit: u32,
    pub(super) monochrome: u32,
    pub(super) subsampling: (u32, u32),
    pub(super) sample_position: u32,
}

impl Sequence {
    /// Reads `sequence_header_obu()` of the AV1 specification §5.5.1.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(header);
        let mut sequence = Self::before_tools(&mut bits)?;
        skip_tools(&mut bits, sequence.reduced)?;
        sequence.color = color(&mut bits, sequence.profile)?;
        Some(sequence)
    }

    fn before_tools(bits: &mut Bits) -> Option<Self> {
        let profile = bits.bits(3)?;
        bits.skip(1)?; // still_picture
        let reduced = bits.bit()?;
        let (level, tier) = if reduced {
            (bits.bits(5)?, 0)
        } else {
            operating_points(bits)?
        };
        let width_bits = bits.bits(4)? + 1;
        let height_bits = bits.bits(4)? + 1;
        let size = super::size(bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
        Some(Self {
            profile,
            level,
            tier,
            resolution: size,
            color: Color::default(),
            reduced,
        })
    }
}

/// Skips the timing; gives level and tier of the first operating point.
fn operating_points(bits: &mut Bits) -> Option<(u32, u32)> {
    let mut buffer_delay_bits = None;
    if bits.bit()? {
        bits.skip(64)?; // num_units_in_display_tick, time_scale
        if bits.bit()? {
            bits.ue()?; // num_ticks_per_picture_minus_1
        }
        if bits.bit()? {
            buffer_delay_bits = Some(bits.bits(5)? + 1);
            bits.skip(32 + 5 + 5)?; // num_units_in_decoding_tick and two lengths
        }
    }
    let display_delay = bits.bit()?;
    let mut first = None;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12)?; // operating_point_idc
        let level = bits.bits(5)?;
        let tier = if level > 7 { bits.bits(1)? } else { 0 };
        first.get_or_insert((level, tier));
        if let Some(len) = buffer_delay_bits
            && bits.bit()?
        {
            bits.skip(2 * len + 1)?; // operating_parameters_info
        }
        if display_delay && bits.bit()? {
            bits.skip(4)?; // initial_display_delay_minus_1
        }
    }
    first
}

/// From `frame_id_numbers_present_flag` to `enable_restoration`.
fn skip_tools(bits: &mut Bits, reduced: bool) -> Option<()> {
    if !reduced && bits.bit()? {
        bits.skip(4 + 3)?; // lengths of frame ids
    }
    bits.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    if !reduced {
        bits.skip(4)?; // interintra, masked compound, warped motion, dual filter
        let order_hint = bits.bit()?;
        if order_hint {
            bits.skip(2)?; // enable_jnt_comp, enable_ref_frame_mvs
        }
        // seq_choose_screen_content_tools, else seq_force_screen_content_tools
        let screen_content = bits.bit()? || bits.bit()?;
        // seq_choose_integer_mv, else seq_force_integer_mv
        if screen_content && !bits.bit()? {
            bits.skip(1)?;
        }
        if order_hint {
            bits.skip(3)?; // order_hint_bits_minus_1
        }
    }
    bits.skip(3) // enable_superres, enable_cdef, enable_restoration
}

fn color(bits: &mut Bits, profile: u32) -> Option<Color> {
    const SRGB: (u32, u32, u32) = (1, 13, 0);
    let mut color = Color {
        high_bitdepth: bits.bits(1)?,
        ..Color::default()
    };
    if profile == 2 && color.high_bitdepth == 1 {
        color.twelve_bit = bits.bits(1)?;
    }
    if profile != 1 {
        color.monochrome = bits.bits(1)?;
    }
    let description = if bits.bit()? {
        (bits.bits(8)?, bits.bits(8)?, bits.bits(8)?)
    } else {
        (2, 2, 2)
    };
    if color.monochrome == 1 {
        color.subsampling = (1, 1);
        return Some(color);
    }
    if description == SRGB {
        return Some(color);
    }
    bits.skip(1)?; // color_range
    color.subsampling = match profile {
        0 => (1, 1),
        1 => (0, 0),
        _ if color.twelve_bit == 1 => {
            let x = bits.bits(1)?;
            (x, if x == 1 { bits.bits(1)? } else { 0 })
        }
        _ => (1, 0),
    };
    if color.subsampling == (1, 1) {
        color.sample_position = bits.bits(2)?;
    }
    Some(color)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// Sequence headers of SVT-AV1, OBU header without size.
    const HD: &str = "08 0000002d4cffb3c4af9004";
    const ODD: &str = "08 000000043d06d44af90040";

    #[test]
    fn counted_elements_need_no_length_for_the_last() {
        // W=2, N: a sequence header of 11 bytes, then a frame.
        let info = inspect(&hex(&format!("28 0b {HD} 10 008c20")));
        assert_eq!(
            info,
            PayloadInfo {
                keyframe: true,
                resolution: Some((1280, 720)),
                parameter_sets: true,
                ..PayloadInfo::default()
            }
        );
        // W=1: the sequence header is alone.
        assert_eq!(
            inspect(&hex(&format!("18 {ODD}"))).resolution,
            Some((322, 182))
        );
    }

    #[test]
    fn uncounted_elements_all_have_a_length() {
        let info = inspect(&hex(&format!("08 02 1200 0b {ODD} 03 320011")));
        assert_eq!(info.resolution, Some((322, 182)));
    }

    #[test]
    fn obu_may_have_extension_and_size() {
        let info = inspect(&hex("18 0e 00 0a 000000043d06d44af90040"));
        assert_eq!(info.resolution, Some((322, 182)));
    }

    #[test]
    fn operating_points_with_timing_are_skipped() {
        // Written bit by bit: timing and decoder model present, one operating point of level 8.
        let mut bits = String::from("000 0 0"); // profile, still_picture, reduced
        bits += "1"; // timing_info_present_flag
        bits += &"0".repeat(63);
        bits += "1 1 00101"; // time_scale ends, equal_picture_interval, uvlc(4)
        bits += "1 00111"; // decoder model, buffer_delay_length_minus_1 = 7
        bits += &"0".repeat(42);
        bits += "1 00000"; // display delays, one operating point
        bits += "000000000000 01000 0"; // idc, seq_level_idx 8, seq_tier
        bits += "1 11111111 11111111 1"; // operating parameters
        bits += "1 1010"; // initial_display_delay_minus_1
        bits += "1010 1001 10011111111 1011001111"; // 11 and 10 bits: 1280x720
        let bits: Vec<char> = bits.chars().filter(|char| !char.is_whitespace()).collect();
        let bytes: Vec<u8> = bits
            .chunks(8)
            .map(|chunk| {
                (0..8).fold(0, |byte, at| {
                    byte << 1 | u8::from(chunk.get(at) == Some(&'1'))
                })
            })
            .collect();
        assert_eq!(resolution(&bytes), Some((1280, 720)));
    }

    #[test]
    fn packet_that_continues_an_obu_is_no_start() {
        assert!(!inspect(&hex(&format!("98 {HD}"))).parameter_sets);
        assert!(!inspect(&hex("88 01 00")).keyframe);
        assert!(!inspect(&hex("10 320011")).keyframe);
    }

    #[test]
    fn length_beyond_the_packet_ends_the_elements() {
        assert!(!inspect(&hex("08 ff 0800")).parameter_sets);
        assert!(!inspect(&hex("08 ffffffffffffffffff7f 0800")).parameter_sets);
    }
}
