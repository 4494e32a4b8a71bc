//! RTP packets: a view of the fixed header, extensions and payload range (RFC 3550 §5.1, §5.3.1).
//!
//! [`Header`] borrows the packet and copies nothing; what it accepts it has checked, so every
//! accessor is total. [`HeaderWriter`] is the way back. What the
//! extensions mean is in [`ext`].

pub mod dependency;
pub mod ext;
mod write;

pub use write::HeaderWriter;

use std::ops::Range;

/// The header without CSRCs and extensions.
pub const FIXED_LEN: usize = 12;

const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const MARKER: u8 = 0x80;

/// `defined by profile` values of RFC 8285 §4.2 and §4.3.
const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;
/// RFC 8285 §4.2: the id that ends a list of one-byte extensions.
const ONE_BYTE_STOP: u8 = 15;

/// Why bytes are no RTP packet, or a header cannot be written.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtpError {
    /// The packet ends inside its header.
    #[error("RTP packet of {len} bytes ends inside its header")]
    Truncated {
        /// Length in bytes.
        len: usize,
    },
    /// The version is not 2.
    #[error("RTP version {version}, only 2 is known")]
    Version {
        /// What the packet says.
        version: u8,
    },
    /// The padding is empty or longer than the payload.
    #[error("RTP padding of {padding} bytes does not fit the payload of {payload}")]
    Padding {
        /// What the last byte says.
        padding: u8,
        /// Bytes after the header.
        payload: usize,
    },
    /// The output buffer is too small.
    #[error("RTP header of {needed} bytes does not fit {room}")]
    NoRoom {
        /// Bytes the header takes.
        needed: usize,
        /// Bytes there are.
        room: usize,
    },
    /// An id, value or count that the header form cannot carry.
    #[error("RTP header cannot carry {what}")]
    Unrepresentable {
        /// The field.
        what: &'static str,
    },
}

impl RtpError {
    /// The stable code of this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "rtp.truncated",
            Self::Version { .. } => "rtp.version",
            Self::Padding { .. } => "rtp.padding",
            Self::NoRoom { .. } => "rtp.no_room",
            Self::Unrepresentable { .. } => "rtp.unrepresentable",
        }
    }
}

/// The header of one RTP packet, borrowed from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// The marker bit; for video, the last packet of a frame.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media time in units of the payload's clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Where the payload lies in the packet, padding left out.
    pub payload: Range<usize>,
    /// Bytes of padding after the payload, its count byte included.
    pub padding: u8,
    csrcs: &'a [u8],
    profile: u16,
    extensions: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads the header of a whole packet. Extensions are checked to fit as a block; a malformed
    /// element inside ends [`extensions`](Self::extensions) early, and costs nothing else.
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let truncated = RtpError::Truncated { len: packet.len() };
        let (fixed, rest) = packet.split_first_chunk::<FIXED_LEN>().ok_or(truncated)?;
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(RtpError::Version { version });
        }
        let csrcs_len = usize::from(fixed[0] & 0x0f) * 4;
        let (csrcs, mut rest) = rest.split_at_checked(csrcs_len).ok_or(truncated)?;
        let (mut profile, mut extensions) = (0, &[][..]);
        if fixed[0] & EXTENSION != 0 {
            let (head, after) = rest.split_first_chunk::<4>().ok_or(truncated)?;
            profile = u16::from_be_bytes([head[0], head[1]]);
            let len = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
            (extensions, rest) = after.split_at_checked(len).ok_or(truncated)?;
        }
        let mut padding = 0;
        if fixed[0] & PADDING != 0 {
            padding = rest.last().copied().unwrap_or(0);
            if padding == 0 || usize::from(padding) > rest.len() {
                return Err(RtpError::Padding {
                    padding,
                    payload: rest.len(),
                });
            }
        }
        let start = packet.len() - rest.len();
        Ok(Self {
            marker: fixed[1] & MARKER != 0,
            payload_type: fixed[1] & !MARKER,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            payload: start..packet.len() - usize::from(padding),
            padding,
            csrcs,
            profile,
            extensions,
        })
    }

    /// Contributing sources, at most 15.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.csrcs
            .chunks_exact(4)
            .map(|csrc| u32::from_be_bytes([csrc[0], csrc[1], csrc[2], csrc[3]]))
    }

    /// Header extensions of either form of RFC 8285 §4; none for another profile.
    pub fn extensions(&self) -> Extensions<'a> {
        let form = match self.profile {
            ONE_BYTE_PROFILE => Form::OneByte,
            // The low four bits are for the application.
            profile if profile & 0xfff0 == TWO_BYTE_PROFILE => Form::TwoByte,
            _ => {
                return Extensions {
                    form: Form::OneByte,
                    rest: &[],
                };
            }
        };
        Extensions {
            form,
            rest: self.extensions,
        }
    }

    /// The value of the first extension with this id.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions()
            .find_map(|(known, value)| (known == id).then_some(value))
    }

    /// Bytes before the payload.
    pub fn header_len(&self) -> usize {
        self.payload.start
    }

    /// Whether the packet has no payload: padding only, as bandwidth probes are.
    pub fn is_padding_only(&self) -> bool {
        self.payload.is_empty()
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Form {
    OneByte,
    TwoByte,
}

/// Id and value of each header extension of a packet, in order.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, after) = self.rest.split_first()?;
            if first == 0 {
                self.rest = after; // padding
                continue;
            }
            let (id, len, after) = match self.form {
                // Id 15 ends the list; so does id 0 with a length, which is no padding.
                Form::OneByte if matches!(first >> 4, 0 | ONE_BYTE_STOP) => {
                    self.rest = &[];
                    return None;
                }
                Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1, after),
                Form::TwoByte => {
                    let (&len, after) = after.split_first()?;
                    (first, usize::from(len), after)
                }
            };
            let (value, after) = after.split_at_checked(len)?;
            self.rest = after;
            return Some((id, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;
    use proptest::prelude::*;

    const FIXED: &str = "1234 00010203 deadbeef";

    fn packet(first: &str, rest: &str) -> Vec<u8> {
        hex(&format!("{first} {FIXED} {rest}"))
    }

    #[test]
    fn fixed_header_and_payload() {
        let packet = packet("80 e0", "aabb");
        let header = Header::parse(&packet).unwrap();
        assert!(header.marker);
        assert_eq!(header.payload_type, 96);
        assert_eq!(header.sequence, 0x1234);
        assert_eq!(header.timestamp, 0x0001_0203);
        assert_eq!(header.ssrc, 0xdead_beef);
        assert_eq!(packet[header.payload.clone()], [0xaa, 0xbb]);
        assert_eq!(
            (
                header.header_len(),
                header.is_padding_only(),
                header.padding
            ),
            (12, false, 0)
        );
        assert_eq!(header.extensions().count(), 0);
    }

    #[test]
    fn csrcs_extensions_and_padding_are_no_payload() {
        let packet = packet("b2 60", "00000001 00000002 bede0001 10ff 0000 77 000003");
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.csrcs().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(header.extension(1), Some(&[0xff][..]));
        assert_eq!(header.extension(2), None);
        assert_eq!(packet[header.payload.clone()], [0x77]);
        assert_eq!(header.padding, 3);
    }

    #[test]
    fn one_byte_extensions_skip_padding_and_stop_at_id_15() {
        let packet = packet("90 60", "bede0004 10aa 00 21bbcc 0000 30dd f0 50ee 000000");
        let header = Header::parse(&packet).unwrap();
        let extensions: Vec<_> = header.extensions().collect();
        assert_eq!(
            extensions,
            [(1, &[0xaa][..]), (2, &[0xbb, 0xcc]), (3, &[0xdd])]
        );
    }

    #[test]
    fn two_byte_extensions_may_be_empty_and_have_high_ids() {
        let packet = packet("90 60", "1005 0002 0100 1002 aabb 00 00");
        let header = Header::parse(&packet).unwrap();
        let extensions: Vec<_> = header.extensions().collect();
        assert_eq!(extensions, [(1, &[][..]), (16, &[0xaa, 0xbb])]);
    }

    #[test]
    fn malformed_element_ends_the_extensions_only() {
        let packet = packet("90 60", "bede0001 10aa 2f00 77");
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.extensions().count(), 1);
        assert_eq!(packet[header.payload.clone()], [0x77]);
    }

    #[test]
    fn id_0_with_a_length_and_another_profile_have_no_extensions() {
        for block in ["bede0001 01aabb 00", "abcd0001 10aa 10bb"] {
            let packet = packet("90 60", block);
            let header = Header::parse(&packet).unwrap();
            assert_eq!(header.extensions().count(), 0, "{block}");
        }
    }

    #[test]
    fn packet_of_padding_only_has_no_payload() {
        let packet = packet("a0 60", "0002");
        assert!(Header::parse(&packet).unwrap().is_padding_only());
    }

    #[test]
    fn malformed_packet_is_refused() {
        let code = |packet: &[u8]| Header::parse(packet).unwrap_err().code();
        assert_eq!(code(&packet("40 60", "")), "rtp.version");
        assert_eq!(code(&packet("a0 60", "")), "rtp.padding");
        assert_eq!(code(&packet("a0 60", "aa00")), "rtp.padding");
        assert_eq!(code(&packet("a0 60", "aa03")), "rtp.padding");
        assert_eq!(code(&packet("81 60", "000000")), "rtp.truncated");
        assert_eq!(code(&packet("90 60", "bede")), "rtp.truncated");
        assert_eq!(code(&packet("90 60", "bedeffff 00000000")), "rtp.truncated");
        let whole = packet("80 60", "");
        for len in 0..whole.len() {
            assert_eq!(code(&whole[..len]), "rtp.truncated");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut packet in prop::collection::vec(any::<u8>(), 0..100)) {
            for version in [None, Some(0x80), Some(0x90), Some(0xbf)] {
                if let (Some(version), Some(first)) = (version, packet.first_mut()) {
                    *first = version;
                }
                if let Ok(header) = Header::parse(&packet) {
                    let _ = &packet[header.payload.clone()];
                    let _ = header.csrcs().count() + header.extensions().count();
                }
            }
        }

        #[test]
        fn arbitrary_extensions_never_panic(
            two_byte: bool,
            words in prop::collection::vec(any::<[u8; 4]>(), 0..8),
        ) {
            let profile: u16 = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
            let mut packet = packet("90 60", "");
            packet.extend(profile.to_be_bytes());
            packet.extend((words.len() as u16).to_be_bytes());
            packet.extend(words.as_flattened());
            let header = Header::parse(&packet).expect("the block fits");
            prop_assert!(header.extensions().all(|(id, _)| id != 0));
        }
    }
}
