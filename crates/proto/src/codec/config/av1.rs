//! `av1C`: the configuration record of AV1 ("AV1 Codec ISO Media File Format Binding" §2.3), and
//! the OBUs of a temporal unit.

use super::super::av1::{OBU_SEQUENCE_HEADER, Sequence, body, leb128};

const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
/// A sequence header is some ten bytes; this leaves room for many operating points.
const MAX_HEADER: usize = 512;

/// Makes a record from a sequence header OBU, with or without its size.
pub fn record(sequence_header: &[u8]) -> Option<Vec<u8>> {
    let header = body(sequence_header, OBU_SEQUENCE_HEADER)?;
    let sequence = Sequence::parse(header)?;
    if header.len() > MAX_HEADER {
        return None;
    }
    let color = &sequence.color;
    let mut out = vec![0x81];
    out.push((sequence.profile << 5 | sequence.level & 0x1f) as u8);
    out.push(
        (sequence.tier << 7
            | color.high_bitdepth << 6
            | color.twelve_bit << 5
            | color.monochrome << 4
            | color.subsampling.0 << 3
            | color.subsampling.1 << 2
            | color.sample_position) as u8,
    );
    out.push(0); // initial_presentation_delay_present: no
    put_obu(&mut out, sequence_header);
    Some(out)
}

/// What stands in a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx_0`.
    pub level: u8,
    /// The sequence header OBU, when the record has it.
    pub sequence_header: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Reads a record.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (head, obus) = record.split_first_chunk::<4>()?;
        if head[0] != 0x81 {
            return None;
        }
        Some(Self {
            profile: head[1] >> 5,
            level: head[1] & 0x1f,
            sequence_header: units(obus).find(|obu| kind(obu) == OBU_SEQUENCE_HEADER),
        })
    }

    /// Width and height of the largest frame.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        Sequence::parse(body(self.sequence_header?, OBU_SEQUENCE_HEADER)?)?.resolution
    }
}

/// The type of an OBU; 0 when there is none.
pub fn kind(obu: &[u8]) -> u8 {
    obu.first().map_or(0, |header| header >> 3 & 0x0f)
}

/// The OBUs of a frame, whole. Each must have a size, except the last; ends at the first that does
/// not fit.
pub fn units(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = *data.first()?;
        let head = 1 + usize::from(header & HAS_EXTENSION != 0);
        if header & HAS_SIZE == 0 {
            return Some(std::mem::take(&mut data));
        }
        let (len, after) = leb128(data.get(head..)?)?;
        let total = (data.len() - after.len()).checked_add(len)?;
        let (obu, rest) = data.split_at_checked(total)?;
        data = rest;
        Some(obu)
    })
}

/// An OBU without its size: header and extension, and payload. `None` when it does not fit.
pub fn without_size(obu: &[u8]) -> Option<([u8; 2], usize, &[u8])> {
    let &header = obu.first()?;
    let head = 1 + usize::from(header & HAS_EXTENSION != 0);
    let mut rest = obu.get(head..)?;
    if header & HAS_SIZE != 0 {
        let (len, after) = leb128(rest)?;
        rest = after.get(..len)?;
    }
    let extension = if head == 2 { obu[1] } else { 0 };
    Some(([header & !HAS_SIZE, extension], head, rest))
}

/// Appends an OBU with its size; one that does not fit is left out.
pub fn put_obu(out: &mut Vec<u8>, obu: &[u8]) {
    let Some((header, head, payload)) = without_size(obu) else {
        return;
    };
    out.push(header[0] | HAS_SIZE);
    out.extend(&header[1..head]);
    put_leb128(out, payload.len());
    out.extend(payload);
}

/// Appends `leb128()` of the AV1 specification §4.10.5.
pub fn put_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads `leb128()`; the value and what follows.
pub fn take_leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    leb128(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    #[test]
    fn record_of_svt_av1_says_profile_level_and_color() {
        let made = record(&hex("08 0000002d4cffb3c4af9004")).unwrap();
        assert_eq!(made, hex("81 05 0c 00 0a0b 0000002d4cffb3c4af9004"));
        let read = Record::parse(&made).unwrap();
        assert_eq!((read.profile, read.level), (0, 5));
        assert_eq!(read.resolution(), Some((1280, 720)));
    }

    #[test]
    fn units_are_taken_apart_and_put_together() {
        let unit = hex("1200 0a0b0000002d4cffb3c4af9004 36 08 03 aabbcc");
        let obus: Vec<_> = units(&unit).collect();
        assert_eq!(obus.iter().map(|o| kind(o)).collect::<Vec<_>>(), [2, 1, 6]);
        let mut again = Vec::new();
        for obu in obus {
            put_obu(&mut again, obu);
        }
        assert_eq!(again, unit);
    }

    #[test]
    fn unit_longer_than_the_frame_ends_it() {
        assert_eq!(units(&hex("32 05 aabb")).count(), 0);
        assert_eq!(units(&hex("32 ffffffffffffffffff01")).count(), 0);
        assert_eq!(units(&hex("30 aabb")).count(), 1, "the last needs no size");
    }
}
