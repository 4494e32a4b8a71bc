//! AV1 in RTP: the aggregation header of "RTP Payload Format For AV1" §4.4, and the size in a
//! sequence header OBU.
//!
//! `N` marks the first packet of a coded video sequence, which is where a decoder can start. The
//! sequence header is read when it stands whole in the packet: it is some ten bytes, so it is.

use super::{PayloadInfo, bits::Bits};

const CONTINUES_OBU: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;

const OBU_SEQUENCE_HEADER: u8 = 1;
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
    let elements = Elements {
        rest: elements,
        counted: aggregation >> 4 & 0x03,
        index: 0,
    };
    for obu in elements.skip(usize::from(continues)) {
        if let Some(sequence_header) = body(obu, OBU_SEQUENCE_HEADER) {
            info.parameter_sets = true;
            info.resolution = resolution(sequence_header).or(info.resolution);
        }
    }
    info
}

/// The OBU elements of a packet: each with its length before it, except the last of a count `W`.
struct Elements<'a> {
    rest: &'a [u8],
    /// `W`; zero when every element has a length.
    counted: u8,
    index: u8,
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

fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
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
fn body(obu: &[u8], wanted: u8) -> Option<&[u8]> {
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

/// `max_frame_width` and `max_frame_height` of `sequence_header_obu()` (AV1 specification §5.5.1).
fn resolution(sequence_header: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(sequence_header);
    bits.skip(4)?; // seq_profile, still_picture
    if bits.bit()? {
        bits.skip(5)?; // reduced_still_picture_header: only seq_level_idx
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = bits.bits(4)? + 1;
    let height_bits = bits.bits(4)? + 1;
    super::size(bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1)
}

fn skip_operating_points(bits: &mut Bits) -> Option<()> {
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
    for _ in 0..=bits.bits(5)? {
        bits.skip(12)?; // operating_point_idc
        if bits.bits(5)? > 7 {
            bits.skip(1)?; // seq_tier
        }
        if let Some(len) = buffer_delay_bits
            && bits.bit()?
        {
            bits.skip(2 * len + 1)?; // operating_parameters_info
        }
        if display_delay && bits.bit()? {
            bits.skip(4)?; // initial_display_delay_minus_1
        }
    }
    Some(())
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
                scalability: None,
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
