//! `hvcC`: the decoder configuration record of H.265 (ISO/IEC 14496-15 §8.3.3.1).

use super::super::h265;
use super::{MAX_SETS, put_nal, take_nal};

const NAL_VPS: u8 = 32;
const NAL_SPS: u8 = 33;
const NAL_PPS: u8 = 34;
/// Up to the count of arrays.
const HEAD: usize = 23;

/// Makes a record with 4-byte lengths from whole parameter set NAL units. `None` without a readable
/// sequence parameter set, or with sets that the record cannot hold.
pub fn record(vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let parsed = h265::Sps::parse(sps.first()?.get(2..)?)?;
    let mut out = vec![1];
    out.extend(parsed.general);
    out.extend([0xf0, 0]); // min_spatial_segmentation_idc: not known
    out.push(0xfc); // parallelismType: not known
    out.push(0xfc | parsed.chroma_format as u8 & 0x03);
    out.push(0xf8 | parsed.bit_depths.0 as u8 & 0x07);
    out.push(0xf8 | parsed.bit_depths.1 as u8 & 0x07);
    out.extend([0, 0]); // avgFrameRate: not known
    let layers = (parsed.sub_layers as u8 + 1) & 0x07;
    out.push(layers << 3 | u8::from(parsed.nested) << 2 | 3);
    let arrays = [(NAL_VPS, vps), (NAL_SPS, sps), (NAL_PPS, pps)];
    out.push(arrays.iter().filter(|(_, sets)| !sets.is_empty()).count() as u8);
    for (kind, sets) in arrays.into_iter().filter(|(_, sets)| !sets.is_empty()) {
        if sets.len() > MAX_SETS {
            return None;
        }
        out.push(0x80 | kind);
        out.extend((sets.len() as u16).to_be_bytes());
        for nal in sets {
            put_nal(&mut out, nal)?;
        }
    }
    Some(out)
}

/// What stands in a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Bytes of the length before each NAL unit of a frame, 1 to 4.
    pub length_size: usize,
    /// Video parameter sets.
    pub vps: Vec<&'a [u8]>,
    /// Sequence parameter sets.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets.
    pub pps: Vec<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Reads a record; `None` when it is cut short or has no sequence parameter set.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = record.split_at_checked(HEAD)?;
        if head[0] != 1 {
            return None;
        }
        let mut read = Self {
            length_size: usize::from(head[21] & 0x03) + 1,
            vps: Vec::new(),
            sps: Vec::new(),
            pps: Vec::new(),
        };
        for _ in 0..head[22] {
            let (array, after) = rest.split_first_chunk::<3>()?;
            rest = after;
            for _ in 0..u16::from_be_bytes([array[1], array[2]]) {
                let (nal, after) = take_nal(rest)?;
                rest = after;
                let sets = match array[0] & 0x3f {
                    NAL_VPS => &mut read.vps,
                    NAL_SPS => &mut read.sps,
                    NAL_PPS => &mut read.pps,
                    _ => continue,
                };
                if nal.is_empty() || sets.len() >= MAX_SETS {
                    return None;
                }
                sets.push(nal);
            }
        }
        (!read.sps.is_empty()).then_some(read)
    }

    /// Width and height inside the conformance window.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        h265::Sps::parse(self.sps.first()?.get(2..)?)?.resolution
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    const VPS: &str = "40010c01ffff016000000300900000030000030078959809";
    const SPS: &str = "420101016000000300900000030000030078a003c08010e596566924cae68080\
                       000003008000000f04";
    const PPS: &str = "4401c172b46240";

    #[test]
    fn record_of_x265_is_what_ffmpeg_writes() {
        let made = record(&[&hex(VPS)], &[&hex(SPS)], &[&hex(PPS)]).unwrap();
        let head = "01 01 60000000 900000000000 78 f000 fc fd f8 f8 0000 0f 03";
        let expected = format!("{head} a0 0001 0018 {VPS} a1 0001 0029 {SPS} a2 0001 0007 {PPS}");
        assert_eq!(made, hex(&expected));
        let read = Record::parse(&made).unwrap();
        assert_eq!((read.vps[0], read.sps[0]), (&hex(VPS)[..], &hex(SPS)[..]));
        assert_eq!(read.pps[0], hex(PPS));
        assert_eq!(read.resolution(), Some((1920, 1080)));
    }

    #[test]
    fn record_that_is_cut_short_is_refused() {
        let made = record(&[&hex(VPS)], &[&hex(SPS)], &[&hex(PPS)]).unwrap();
        for len in 0..made.len() {
            assert_eq!(Record::parse(&made[..len]), None, "{len} bytes");
        }
    }
}
