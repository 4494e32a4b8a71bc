//! Decoder configuration records, as MP4, Enhanced RTMP and players carry them.
//!
//! One file a family, each with what makes a record from parameter sets and what reads one. A record
//! that can be written can be read back; everything read is bounded by the record itself.

pub mod aac;
pub mod av1;
pub mod avc;
pub mod hevc;
pub mod opus;
pub mod vpx;

/// Parameter sets of a kind in a record: the format counts them in five bits at least.
const MAX_SETS: usize = 31;

/// A NAL unit with its 16-bit length before it; `None` if it is empty or too long.
fn put_nal(out: &mut Vec<u8>, nal: &[u8]) -> Option<()> {
    let len = u16::try_from(nal.len()).ok().filter(|len| *len > 0)?;
    out.extend(len.to_be_bytes());
    out.extend(nal);
    Some(())
}

/// Reads a NAL unit with its 16-bit length before it; gives it and what follows.
fn take_nal(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// The NAL units of a frame, each with a length of `length_size` bytes (1 to 4) before it. Ends at
/// the first length that does not fit; empty units are left out.
pub fn nal_units(mut data: &[u8], length_size: usize) -> impl Iterator<Item = &[u8]> {
    let length_size = length_size.clamp(1, 4);
    std::iter::from_fn(move || {
        loop {
            let (len, rest) = data.split_at_checked(length_size)?;
            let len = len.iter().fold(0, |len, b| len << 8 | usize::from(*b));
            let (nal, rest) = rest.split_at_checked(len)?;
            data = rest;
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    })
}

/// The NAL units of a byte stream (H.264 and H.265 annex B), without start codes and trailing zeros.
pub fn annex_b(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        loop {
            let current = rest?;
            let end = start_code(current).unwrap_or(current.len());
            rest = after_start_code(&current[end..]);
            let zeros = current[..end].iter().rev().take_while(|b| **b == 0).count();
            if end > zeros {
                return Some(&current[..end - zeros]);
            }
        }
    })
}

fn start_code(data: &[u8]) -> Option<usize> {
    data.windows(3).position(|three| three == [0, 0, 1])
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    start_code(data).map(|at| &data[at + 3..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;
    use proptest::prelude::*;

    #[test]
    fn byte_stream_is_split_at_start_codes_of_both_lengths() {
        let stream = hex("00000001 6742 000001 68ee 00000001 65 00 00 03 01 0000");
        let units: Vec<_> = annex_b(&stream).collect();
        assert_eq!(units, [hex("6742"), hex("68ee"), hex("6500000301")]);
    }

    #[test]
    fn unit_longer_than_the_frame_ends_it() {
        let frame = hex("00000002 6742 00000000 00000009 68");
        assert_eq!(nal_units(&frame, 4).collect::<Vec<_>>(), [hex("6742")]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            for length_size in 0..6 {
                prop_assert!(nal_units(&data, length_size).all(|nal| !nal.is_empty()));
            }
            prop_assert!(annex_b(&data).all(|nal| !nal.is_empty()));
            avc::Record::parse(&data);
            hevc::Record::parse(&data);
            av1::Record::parse(&data);
            vpx::Record::parse(&data);
            opus::Head::parse_dops(&data);
            opus::Head::parse(&data);
            aac::AudioSpecificConfig::parse(&data);
            avc::record(&[&data], &[&data]);
            hevc::record(&[&data], &[&data], &[&data]);
            av1::record(&data);
            vpx::vp9(&data);
            vpx::vp8(&data);
        }
    }
}
