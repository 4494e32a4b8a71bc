//! `vpcC`: the configuration record of VP8 and VP9 ("VP Codec ISO Media File Format Binding" §2.2),
//! without the version and flags that the box has before it.

use super::super::{vp8, vp9};

const LEN: usize = 8;
/// Colour primaries, transfer and matrix: not specified.
const UNSPECIFIED: u8 = 2;
/// Largest luma picture and level ×10, of "VP9 Levels".
const LEVELS: [(u32, u8); 8] = [
    (36_864, 10),
    (73_728, 11),
    (122_880, 20),
    (245_760, 21),
    (552_960, 30),
    (983_040, 31),
    (2_228_224, 40),
    (8_912_896, 50),
];

/// Record and picture size from a VP9 key frame; `None` for other frames.
pub fn vp9(frame: &[u8]) -> Option<(Vec<u8>, (u16, u16))> {
    let header = vp9::KeyHeader::parse(frame)?;
    let size = header.resolution?;
    let packed = header.bit_depth << 4 | header.chroma << 1 | u32::from(header.full_range);
    Some((record(header.profile as u8, size, packed as u8), size))
}

/// Record and picture size from a VP8 key frame; `None` for other frames.
pub fn vp8(frame: &[u8]) -> Option<(Vec<u8>, (u16, u16))> {
    let key = frame.first().is_some_and(|tag| tag & 1 == 0);
    let size = vp8::resolution(frame).filter(|_| key)?;
    Some((record(0, size, 8 << 4 | 1 << 1), size))
}

fn record(profile: u8, (width, height): (u16, u16), packed: u8) -> Vec<u8> {
    let area = u32::from(width) * u32::from(height);
    let level = LEVELS
        .iter()
        .find(|(largest, _)| area <= *largest)
        .map_or(60, |(_, level)| *level);
    let color = [UNSPECIFIED; 3];
    [&[profile, level, packed][..], &color, &[0, 0]].concat()
}

/// What stands in a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Profile, 0 to 3.
    pub profile: u8,
    /// Level ×10.
    pub level: u8,
    /// 8, 10 or 12.
    pub bit_depth: u8,
}

impl Record {
    /// Reads a record.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let record = record.first_chunk::<LEN>()?;
        Some(Self {
            profile: record[0],
            level: record[1],
            bit_depth: record[2] >> 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    #[test]
    fn key_frames_make_a_record() {
        let (record, size) = vp9(&hex("824983420014100b560038241c184a")).unwrap();
        assert_eq!(size, (322, 182));
        let read = Record::parse(&record).unwrap();
        assert_eq!((read.profile, read.level, read.bit_depth), (0, 11, 8));
        let (record, size) = vp8(&hex("d033009d012a8002680101c708")).unwrap();
        assert_eq!((record.len(), size), (8, (640, 360)));
    }

    #[test]
    fn inter_frames_make_none() {
        assert_eq!(vp9(&hex("86000000")), None);
        assert_eq!(vp8(&hex("d133009d012a80026801")), None);
    }
}
