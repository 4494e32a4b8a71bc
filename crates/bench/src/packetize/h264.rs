//! H264 (RFC 6184), packetization mode 1: single NAL units, STAP-A for parameter sets,
//! FU-A for what is too long.

use super::{MAX_PAYLOAD, pieces};
use crate::stamps;

const SPS: u8 = 7;
const PPS: u8 = 8;
const SEI: u8 = 6;
const DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

pub(super) fn packetize(frame: &[u8], stamped: bool) -> Vec<Vec<u8>> {
    let units: Vec<&[u8]> = units(frame)
        .filter(|unit| !matches!(kind(unit), DELIMITER | SEI))
        .collect();
    if units.is_empty() {
        return Vec::new();
    }
    let sets: Vec<&[u8]> = units
        .iter()
        .filter(|u| matches!(kind(u), SPS | PPS))
        .copied()
        .collect();
    let head = stamps::sei(stamps::HEAD);
    let mut payloads = Vec::new();
    // In the order of an access unit: parameter sets, SEI, slices.
    let mut first = sets;
    if stamped {
        first.push(&head);
    }
    match first.as_slice() {
        [] => {}
        [one] if one.len() <= MAX_PAYLOAD => payloads.push(one.to_vec()),
        several => payloads.extend(aggregate(several)),
    }
    for unit in units.iter().filter(|u| !matches!(kind(u), SPS | PPS)) {
        if unit.len() <= MAX_PAYLOAD {
            payloads.push(unit.to_vec());
        } else {
            fragment(unit, &mut payloads);
        }
    }
    if stamped {
        payloads.push(stamps::sei(stamps::TAIL));
    }
    payloads
}

/// NAL units of Annex B, without start codes and trailing zeros.
fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = next_start(data);
    std::iter::from_fn(move || {
        let unit = rest?;
        let end = unit.windows(3).position(|w| w == [0, 0, 1]);
        rest = end.map(|e| &unit[e + 3..]);
        let unit = &unit[..end.unwrap_or(unit.len())];
        let kept = unit
            .iter()
            .rposition(|b| *b != 0)
            .map_or(0, |last| last + 1);
        Some(&unit[..kept])
    })
    .filter(|unit| !unit.is_empty())
}

fn next_start(data: &[u8]) -> Option<&[u8]> {
    let at = data.windows(3).position(|w| w == [0, 0, 1])?;
    Some(&data[at + 3..])
}

fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |first| first & 0x1f)
}

/// STAP-A (§5.7.1); parameter sets that do not fit travel alone.
fn aggregate(units: &[&[u8]]) -> Vec<Vec<u8>> {
    let total: usize = units.iter().map(|u| u.len() + 2).sum();
    if total + 1 > MAX_PAYLOAD {
        let mut payloads = Vec::new();
        for unit in units {
            fragment(unit, &mut payloads);
        }
        return payloads;
    }
    let importance = units.iter().map(|u| u[0] & 0x60).max().unwrap_or(0);
    let mut payload = vec![importance | STAP_A];
    for unit in units {
        payload.extend((unit.len() as u16).to_be_bytes());
        payload.extend(*unit);
    }
    vec![payload]
}

/// FU-A (§5.8), or whole when it fits.
fn fragment(unit: &[u8], payloads: &mut Vec<Vec<u8>>) {
    if unit.len() <= MAX_PAYLOAD {
        payloads.push(unit.to_vec());
        return;
    }
    let (header, body) = (unit[0], &unit[1..]);
    let parts: Vec<&[u8]> = pieces(body, MAX_PAYLOAD - 2).collect();
    for (n, part) in parts.iter().enumerate() {
        let edges = u8::from(n == 0) << 7 | u8::from(n + 1 == parts.len()) << 6;
        let indicator = [header & 0xe0 | FU_A, edges | header & 0x1f];
        payloads.push([&indicator, *part].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagecast_proto::codec::{Codec, inspect};

    fn annex_b(units: &[&[u8]]) -> Vec<u8> {
        units
            .iter()
            .flat_map(|u| [&[0, 0, 0, 1], *u].concat())
            .collect()
    }

    #[test]
    fn keyframe_has_its_sets_and_stamps_at_its_ends() {
        let slice = [vec![0x65], vec![3; 4000]].concat();
        let sps = [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8];
        let frame = annex_b(&[&[9, 0x10], &sps, &[0x68, 0xce], &[6, 5, 1], &slice]);
        let packets = packetize(&frame, true);
        assert_eq!(packets[0][0] & 0x1f, STAP_A);
        assert!(packets[0].windows(16).any(|w| w == stamps::HEAD));
        assert!(
            packets
                .last()
                .unwrap()
                .windows(16)
                .any(|w| w == stamps::TAIL)
        );
        assert!(inspect(Codec::H264, &packets[0]).keyframe);
        let body: Vec<u8> = packets[1..packets.len() - 1]
            .iter()
            .flat_map(|p| &p[2..])
            .copied()
            .collect();
        assert_eq!(body, slice[1..]);
    }

    #[test]
    fn unstamped_small_frame_is_one_packet() {
        assert_eq!(packetize(&annex_b(&[&[0x41, 1, 2]]), false), [[0x41, 1, 2]]);
        assert!(packetize(b"no start code", true).is_empty());
    }
}
