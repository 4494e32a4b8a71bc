//! `CODECS` strings (RFC 6381) from decoder configuration records.

use std::fmt::Write;

use crate::codec::Codec;

/// The name of a track's codec with profile and level; `None` when the record is too short.
pub fn codec_string(codec: Codec, record: &[u8]) -> Option<String> {
    match codec {
        Codec::H264 => match record {
            [_, profile, constraints, level, ..] => {
                Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
            }
            _ => None,
        },
        Codec::H265 => hevc(record),
        Codec::Av1 => av1(record),
        Codec::Vp8 => Some("vp08.00.41.08".to_owned()),
        Codec::Vp9 => match record {
            [profile, level, depth, ..] => {
                Some(format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4))
            }
            _ => None,
        },
        Codec::Opus => Some("opus".to_owned()),
        Codec::Aac => aac(record),
    }
}

/// ISO/IEC 14496-15 annex E.3: profile, compatibility in reverse, tier and level, constraints.
fn hevc(record: &[u8]) -> Option<String> {
    let fixed = record.get(..13)?;
    let space = ["", "A", "B", "C"][usize::from(fixed[1] >> 6)];
    let tier = if fixed[1] & 0x20 == 0 { 'L' } else { 'H' };
    let profile = fixed[1] & 0x1f;
    let compatibility = u32::from_be_bytes([fixed[2], fixed[3], fixed[4], fixed[5]]);
    let level = fixed[12];
    let mut text = format!(
        "hvc1.{space}{profile}.{:X}.{tier}{level}",
        compatibility.reverse_bits()
    );
    let constraints = &fixed[6..12];
    let used = constraints.iter().rposition(|&byte| byte != 0);
    for byte in &constraints[..used.map_or(0, |last| last + 1)] {
        write!(text, ".{byte:X}").expect("a string takes all");
    }
    Some(text)
}

/// AV1-ISOBMFF §5: profile, level and tier, bit depth.
fn av1(record: &[u8]) -> Option<String> {
    let [_, first, second, ..] = *record else {
        return None;
    };
    let (profile, level) = (first >> 5, first & 0x1f);
    let tier = if second & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (second & 0x40 != 0, second & 0x20 != 0, profile) {
        (true, true, 2) => 12,
        (true, ..) => 10,
        _ => 8,
    };
    Some(format!("av01.{profile}.{level:02}{tier}.{depth:02}"))
}

/// The audio object type at the start of an `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1).
fn aac(record: &[u8]) -> Option<String> {
    let [first, second, ..] = *record else {
        return None;
    };
    let object = match first >> 3 {
        31 => 32 + ((first & 7) << 3 | second >> 5),
        object => object,
    };
    Some(format!("mp4a.40.{object}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;
    use proptest::prelude::*;

    #[test]
    fn known_records_have_their_known_names() {
        for (codec, record, name) in [
            (Codec::H264, "0164001fffe1", "avc1.64001f"),
            (Codec::H264, "0142c01e", "avc1.42c01e"),
            (
                Codec::H265,
                "01 01 60000000 900000000000 5d",
                "hvc1.1.6.L93.90",
            ),
            (
                Codec::H265,
                "01 02 20000000 b00000000000 99",
                "hvc1.2.4.L153.B0",
            ),
            (
                Codec::H265,
                "01 61 60000000 000000000000 78",
                "hvc1.A1.6.H120",
            ),
            (Codec::Av1, "81080c00", "av01.0.08M.08"),
            (Codec::Av1, "812d4c00", "av01.1.13M.10"),
            (Codec::Vp9, "001f80010101", "vp09.00.31.08"),
            (Codec::Opus, "00", "opus"),
            (Codec::Aac, "1190", "mp4a.40.2"),
            (Codec::Aac, "2b92", "mp4a.40.5"),
            (Codec::Aac, "f94000", "mp4a.40.42"),
        ] {
            let text = codec_string(codec, &hex(record));
            assert_eq!(text.as_deref(), Some(name));
        }
    }

    proptest! {
        #[test]
        fn any_record_gives_a_short_name_or_none(record in prop::collection::vec(any::<u8>(), 0..40)) {
            for codec in Codec::ALL {
                if let Some(name) = codec_string(codec, &record) {
                    prop_assert!(name.len() < 48);
                    prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'));
                }
            }
        }
    }
}
