//! `avcC`: the decoder configuration record of H.264 (ISO/IEC 14496-15 §5.3.3.1).

use super::super::h264;
use super::{MAX_SETS, put_nal, take_nal};

/// Makes a record with 4-byte lengths from whole parameter set NAL units. `None` without a readable
/// sequence parameter set, or with sets that the record cannot hold.
pub fn record(sps: &[&[u8]], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let first = sps.first()?;
    let [_, profile, compatibility, level] = *first.first_chunk::<4>()?;
    let parsed = h264::Sps::parse(&first[1..])?;
    if sps.len() > MAX_SETS || pps.len() > MAX_SETS {
        return None;
    }
    let mut out = vec![1, profile, compatibility, level, 0xff];
    out.push(0xe0 | sps.len() as u8);
    for nal in sps {
        put_nal(&mut out, nal)?;
    }
    out.push(pps.len() as u8);
    for nal in pps {
        put_nal(&mut out, nal)?;
    }
    if has_extension(profile) {
        out.push(0xfc | parsed.chroma_format as u8 & 0x03);
        out.push(0xf8 | parsed.bit_depths.0 as u8 & 0x07);
        out.push(0xf8 | parsed.bit_depths.1 as u8 & 0x07);
        out.push(0);
    }
    Some(out)
}

fn has_extension(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 144)
}

/// What stands in a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Profile, compatibility and level: the `profile-level-id` of RFC 6184 §8.1.
    pub profile_level_id: u32,
    /// Bytes of the length before each NAL unit of a frame, 1 to 4.
    pub length_size: usize,
    /// Sequence parameter sets.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets.
    pub pps: Vec<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Reads a record; `None` when it is cut short or has no sequence parameter set.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = record.split_first_chunk::<6>()?;
        if head[0] != 1 {
            return None;
        }
        let mut take = |count: u8| {
            let mut sets = Vec::new();
            for _ in 0..count {
                let (nal, after) = take_nal(rest)?;
                rest = after;
                sets.push(nal);
            }
            let next = rest.first().copied();
            rest = rest.get(1..).unwrap_or_default();
            Some((sets, next))
        };
        let (sps, count) = take(head[5] & 0x1f)?;
        let (pps, _) = take(count?.min(MAX_SETS as u8))?;
        let sound = !sps.is_empty() && sps.iter().chain(&pps).all(|nal| !nal.is_empty());
        sound.then_some(Self {
            profile_level_id: u32::from_be_bytes([0, head[1], head[2], head[3]]),
            length_size: usize::from(head[4] & 0x03) + 1,
            sps,
            pps,
        })
    }

    /// Width and height after cropping.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        h264::Sps::parse(self.sps.first()?.get(1..)?)?.resolution
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    const SPS: &str = "6764001facd9405005ba10000003001000000303c0f1831960";
    const PPS: &str = "68ebe3cb22c0";

    #[test]
    fn record_of_a_high_profile_is_what_ffmpeg_writes() {
        let made = record(&[&hex(SPS)], &[&hex(PPS)]).unwrap();
        let expected = format!("01 64001f ff e1 0019 {SPS} 01 0006 {PPS} fd f8 f8 00");
        assert_eq!(made, hex(&expected));
        let read = Record::parse(&made).unwrap();
        assert_eq!((read.profile_level_id, read.length_size), (0x0064_001f, 4));
        assert_eq!((read.sps[0], read.pps[0]), (&hex(SPS)[..], &hex(PPS)[..]));
        assert_eq!(read.resolution(), Some((1280, 720)));
    }

    #[test]
    fn record_that_is_cut_short_is_refused() {
        let made = record(&[&hex(SPS)], &[&hex(PPS)]).unwrap();
        for len in 0..made.len() - 4 {
            assert_eq!(Record::parse(&made[..len]), None, "{len} bytes");
        }
        assert_eq!(record(&[], &[]), None);
        assert_eq!(record(&[&[0x67]], &[]), None);
    }
}
