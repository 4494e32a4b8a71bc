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
