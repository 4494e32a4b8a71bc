//! Telling datagrams apart on one port, and whose STUN request this is.
//!
//! One UDP port serves every session, so a datagram is sorted by its first byte (RFC 7983 §7, with
//! RTCP split off as RFC 5761 §4 says), and the first packet of a new address is matched to a
//! session by the ICE fragment in its Binding request (RFC 8489 §5, §14.3; RFC 8445 §7.1.2).
//! Nothing here checks MESSAGE-INTEGRITY: a match is only a hint where to hand the packet.

/// Fixed STUN header: type, length, cookie, transaction id (RFC 8489 §5).
const HEADER_LEN: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;

/// RFC 8839 §5.4: an ICE user name fragment is at most 256 characters.
const MAX_UFRAG_LEN: usize = 256;

/// RTP needs its fixed header (RFC 3550 §5.1), RTCP its first word and an SSRC or none (§6.6),
/// DTLS its record header (RFC 6347 §4.1).
const MIN_RTP_LEN: usize = 12;
const MIN_RTCP_LEN: usize = 4;
const MIN_DTLS_LEN: usize = 13;

/// What a datagram on the media port is, by its first bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Datagram {
    /// STUN message, well framed.
    Stun,
    /// DTLS record.
    Dtls,
    /// RTP or SRTP packet.
    Rtp,
    /// RTCP or SRTCP packet.
    Rtcp,
    /// None of these, or shorter than its kind allows.
    Unknown,
}

/// Sorts a datagram (RFC 7983 §7, RFC 5761 §4).
pub fn classify(datagram: &[u8]) -> Datagram {
    let &[first, second, ..] = datagram else {
        return Datagram::Unknown;
    };
    match first {
        0..=3 if is_stun(datagram) => Datagram::Stun,
        20..=63 if datagram.len() >= MIN_DTLS_LEN => Datagram::Dtls,
        128..=191 => match second {
            192..=223 if datagram.len() >= MIN_RTCP_LEN => Datagram::Rtcp,
            192..=223 => Datagram::Unknown,
            _ if datagram.len() >= MIN_RTP_LEN => Datagram::Rtp,
            _ => Datagram::Unknown,
        },
        _ => Datagram::Unknown,
    }
}

/// Whether these bytes are one STUN message: zero top bits, the cookie, and a length that is a
/// multiple of four and ends where the bytes end (RFC 8489 §5, §6.3).
pub fn is_stun(datagram: &[u8]) -> bool {
    let Some(header) = datagram.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    header[0] & 0xc0 == 0
        && header[4..8] == MAGIC_COOKIE
        && len.is_multiple_of(4)
        && HEADER_LEN + len == datagram.len()
}

/// The two fragments in the USERNAME of a Binding request: the receiver's (ours), then the
/// sender's (theirs). `None` for any other message and for a USERNAME of another form.
pub fn binding_username(datagram: &[u8]) -> Option<(&str, &str)> {
    if !is_stun(datagram) || datagram[..2] != BINDING_REQUEST {
        return None;
    }
    let username = attributes(&datagram[HEADER_LEN..])
        // RFC 8489 §14.5: what follows the integrity check is not covered by it.
        .take_while(|(kind, _)| !matches!(*kind, MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256))
        .find_map(|(kind, value)| (kind == USERNAME).then_some(value))?;
    let (ours, theirs) = str::from_utf8(username).ok()?.split_once(':')?;
    let fits = |ufrag: &str| (1..=MAX_UFRAG_LEN).contains(&ufrag.len());
    (fits(ours) && fits(theirs)).then_some((ours, theirs))
}

/// What the MESSAGE-INTEGRITY of a message is made over, and its value.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Integrity<'a> {
    /// The header, with a length that ends where MESSAGE-INTEGRITY does.
    pub header: [u8; HEADER_LEN],
    /// The attributes before it.
    pub attributes: &'a [u8],
    /// The HMAC-SHA1 of both, if the message is genuine.
    pub tag: &'a [u8; 20],
}

/// The integrity check of a message (RFC 8489 §14.5), if it has one.
pub fn integrity(datagram: &[u8]) -> Option<Integrity<'_>> {
    if !is_stun(datagram) {
        return None;
    }
    let (header, body) = datagram.split_first_chunk::<HEADER_LEN>()?;
    let others = |(kind, _): &(u16, &[u8])| *kind != MESSAGE_INTEGRITY;
    let room = |(_, value): (u16, &[u8])| 4 + value.len().next_multiple_of(4);
    let before: usize = attributes(body).take_while(others).map(room).sum();
    let (kind, tag) = attributes(body.get(before..)?).next()?;
    let tag: &[u8; 20] = tag.try_into().ok().filter(|_| kind == MESSAGE_INTEGRITY)?;
    let mut header = *header;
    let len = (before + 4 + tag.len()) as u16;
    header[2..4].copy_from_slice(&len.to_be_bytes());
    Some(Integrity {
        header,
        attributes: &body[..before],
        tag,
    })
}

/// Type and value of each attribute; ends at the first that does not fit (RFC 8489 §14).
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, after) = rest.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = after.get(..len)?;
        rest = after.get(len.next_multiple_of(4)..)?;
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;
    use proptest::prelude::*;

    /// The sample request of RFC 5769 §2.1: USERNAME "evtj:h6vY" padded with spaces.
    const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae
        802200105354554e207465737420636c69656e74
        002400046e0001ff 80290008932ff9b151263b36 000600096576746a3a68367659202020
        000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf";

    fn message(kind: [u8; 2], attributes: &[u8]) -> Vec<u8> {
        let len = (attributes.len() as u16).to_be_bytes();
        let transaction = [7; 12];
        [&kind[..], &len, &MAGIC_COOKIE, &transaction, attributes].concat()
    }

    #[test]
    fn sample_request_of_rfc_5769_names_its_user() {
        let request = hex(REQUEST);
        assert_eq!(classify(&request), Datagram::Stun);
        assert_eq!(binding_username(&request), Some(("evtj", "h6vY")));
    }

    #[test]
    fn sample_request_of_rfc_5769_has_its_integrity_before_the_fingerprint() {
        let request = hex(REQUEST);
        let found = integrity(&request).unwrap();
        assert_eq!(found.tag[..4], [0x9a, 0xea, 0xa7, 0x0c]);
        assert_eq!(found.header[..4], [0, 1, 0, 0x50], "without FINGERPRINT");
        assert_eq!(found.attributes, &request[20..request.len() - 24 - 8]);
        assert_eq!(
            integrity(&message(BINDING_REQUEST, &hex("00080002 abcd0000"))),
            None
        );
        assert_eq!(integrity(&message(BINDING_REQUEST, &[])), None);
    }

    #[test]
    fn only_a_binding_request_has_a_user() {
        let username = hex("00060003 613a6200");
        let request = message(BINDING_REQUEST, &username);
        assert_eq!(binding_username(&request), Some(("a", "b")));
        for kind in [[1, 1], [1, 0x11], [0, 0x11], [0, 3]] {
            assert_eq!(
                binding_username(&message(kind, &username)),
                None,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn username_of_another_form_is_refused() {
        for attributes in [
            "",
            "00060000",                   // empty
            "00060001 61000000",          // no colon
            "00060002 3a620000",          // ours is empty
            "00060002 613a0000",          // theirs is empty
            "00060003 ff3a6200",          // not UTF-8
            "00060009 613a6200",          // longer than the message
            "00080000 00060003 613a6200", // after the integrity check
        ] {
            let request = message(BINDING_REQUEST, &hex(attributes));
            assert!(is_stun(&request), "{attributes}");
            assert_eq!(binding_username(&request), None, "{attributes}");
        }
        let long = [&hex("00060104"), "a".repeat(257).as_bytes(), b":bb"].concat();
        assert_eq!(binding_username(&message(BINDING_REQUEST, &long)), None);
    }

    #[test]
    fn truncated_request_is_not_stun() {
        let request = hex(REQUEST);
        for len in 0..request.len() {
            assert!(!is_stun(&request[..len]), "{len} bytes");
            assert_eq!(binding_username(&request[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn first_bytes_tell_the_protocol() {
        let datagram = |first, second, len| {
            let mut datagram = vec![0; len];
            datagram[0] = first;
            datagram[1] = second;
            datagram
        };
        let cases = [
            (22, 254, 13, Datagram::Dtls),
            (22, 254, 12, Datagram::Unknown),
            (0x80, 96, 12, Datagram::Rtp),
            (0x90, 0xe0, 40, Datagram::Rtp),
            (0x80, 96, 11, Datagram::Unknown),
            (0x81, 200, 28, Datagram::Rtcp),
            (0x80, 207, 8, Datagram::Rtcp),
            (0x80, 191, 12, Datagram::Rtp),
            (0x80, 224, 12, Datagram::Rtp),
            (0, 1, 20, Datagram::Unknown), // no cookie
            (64, 0, 40, Datagram::Unknown),
            (255, 0, 40, Datagram::Unknown),
        ];
        for (first, second, len, kind) in cases {
            assert_eq!(
                classify(&datagram(first, second, len)),
                kind,
                "{first} {second} {len}"
            );
        }
        assert_eq!(classify(&[]), Datagram::Unknown);
        assert_eq!(classify(&[0x80]), Datagram::Unknown);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(datagram in prop::collection::vec(any::<u8>(), 0..100)) {
            classify(&datagram);
            binding_username(&datagram);
        }

        #[test]
        fn arbitrary_attributes_never_panic(
            attributes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            binding_username(&message(BINDING_REQUEST, &attributes));
        }
    }
}
