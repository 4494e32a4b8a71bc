//! AV1 (RTP payload format of the Alliance for Open Media): OBUs without sizes, the last
//! element of a packet without a length.

use super::MAX_PAYLOAD;

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;
const HAS_SIZE: u8 = 0x02;
const HAS_EXTENSION: u8 = 0x04;

/// Aggregation header bits (§4.4): the first element continues, the last goes on, one element,
/// a new coded video sequence.
const CONTINUES: u8 = 0x80;
const GOES_ON: u8 = 0x40;
const ONE_ELEMENT: u8 = 0x10;
const NEW_SEQUENCE: u8 = 0x08;

/// One OBU element a packet, and one packet for as many pieces as an OBU needs.
pub(super) fn packetize(unit: &[u8]) -> Vec<Vec<u8>> {
    let Some(obus) = obus(unit) else {
        return Vec::new();
    };
    // A new sequence is said by the first packet of a temporal unit only.
    let sequence = obus.iter().any(|obu| kind(obu[0]) == SEQUENCE_HEADER);
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for obu in &obus {
        let pieces: Vec<&[u8]> = super::pieces(obu, MAX_PAYLOAD - 1).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let mut header = ONE_ELEMENT;
            if n > 0 {
                header |= CONTINUES;
            }
            if n + 1 < pieces.len() {
                header |= GOES_ON;
            }
            if payloads.is_empty() && sequence {
                header |= NEW_SEQUENCE;
            }
            payloads.push([&[header], *piece].concat());
        }
    }
    payloads
}

fn kind(header: u8) -> u8 {
    header >> 3 & 0x0f
}

/// The OBUs worth sending, without their size fields; `None` when the unit is malformed.
fn obus(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while let Some((&header, _)) = rest.split_first() {
        let start = 1 + usize::from(header & HAS_EXTENSION != 0);
        let (size, size_len) = if header & HAS_SIZE == 0 {
            (rest.len().checked_sub(start)?, 0)
        } else {
            leb128(rest.get(start..)?)?
        };
        let body = rest.get(start + size_len..)?.get(..size)?;
        if !matches!(kind(header), TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
            let head = [&[header & !HAS_SIZE], &rest[1..start]].concat();
            found.push([&head, body].concat());
        }
        rest = &rest[start + size_len + size..];
    }
    Some(found)
}

fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (n, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_delimiters_go_and_long_obus_are_cut() {
        let frame = vec![5; 3000];
        let size = [0xb8, 0x17];
        let unit = [&[0x12, 0][..], &[0x0a, 3, 1, 2, 3], &[0x32], &size, &frame].concat();
        let packets = packetize(&unit);
        assert_eq!(packets[0], [ONE_ELEMENT | NEW_SEQUENCE, 0x08, 1, 2, 3]);
        assert_eq!(packets.len(), 4);
        assert_eq!(packets[1][0], ONE_ELEMENT | GOES_ON);
        assert_eq!(packets[3][0], ONE_ELEMENT | CONTINUES);
        let whole: Vec<u8> = packets[1..].iter().flat_map(|p| &p[1..]).copied().collect();
        assert_eq!(whole[1..], frame);
        assert_eq!(whole[0], 0x30);
    }

    #[test]
    fn malformed_unit_gives_nothing() {
        for unit in [&[0x32, 9, 1][..], &[0x36], &[0x32, 0xff, 0xff, 0xff, 0xff]] {
            assert!(packetize(unit).is_empty());
        }
    }
}
