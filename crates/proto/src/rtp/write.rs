//! Writes RTP headers with extensions (RFC 3550 §5.1): in the one-byte form, or in the two-byte form when
//! an id or a value needs it (RFC 8285 §4.2, §4.3).

use super::{FIXED_LEN, MARKER, ONE_BYTE_PROFILE, ONE_BYTE_STOP, RtpError, TWO_BYTE_PROFILE};

/// RFC 3550 §5.1: `CC` has four bits.
const MAX_CSRCS: usize = 15;
/// RFC 8285 §4.2: the length of a one-byte extension has four bits, less one.
const MAX_SHORT_LEN: usize = 16;
/// RFC 8285 §4.3: the length of a two-byte extension is a byte.
const MAX_VALUE_LEN: usize = 255;

/// The fields of an RTP header to be written; the payload follows at the returned length.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderWriter<'a> {
    /// The marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media time in units of the payload's clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Contributing sources, at most 15.
    pub csrcs: &'a [u32],
    /// Ids from 1 and values of up to 255 bytes; all in the shorter form when every id is at most 14
    /// and every value has 1 to 16 bytes. Without any, the header has no extension block.
    pub extensions: &'a [(u8, &'a [u8])],
}

impl HeaderWriter<'_> {
    /// Bytes the header takes.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn len(&self) -> usize {
        self.len_with(self.extensions_len(self.prefix()))
    }

    fn len_with(&self, extensions_len: usize) -> usize {
        let block = match self.extensions {
            [] => 0,
            _ => 4 + extensions_len.next_multiple_of(4),
        };
        FIXED_LEN + self.csrcs.len() * 4 + block
    }

    /// Where the value of the first extension stands.
    pub fn first_value_at(&self) -> usize {
        FIXED_LEN + self.csrcs.len() * 4 + 4 + self.prefix()
    }

    /// Bytes before each value.
    fn prefix(&self) -> usize {
        let short = |(id, value): &(u8, &[u8])| {
            *id < ONE_BYTE_STOP && (1..=MAX_SHORT_LEN).contains(&value.len())
        };
        if self.extensions.iter().all(short) {
            1
        } else {
            2
        }
    }

    fn extensions_len(&self, prefix: usize) -> usize {
        self.extensions
            .iter()
            .map(|(_, value)| prefix + value.len())
            .sum()
    }

    fn check(&self, room: usize, extensions_len: usize) -> Result<(), RtpError> {
        let unrepresentable = |what| Err(RtpError::Unrepresentable { what });
        if self.payload_type & MARKER != 0 {
            return unrepresentable("a payload type over 127");
        }
        if self.csrcs.len() > MAX_CSRCS {
            return unrepresentable("more than 15 CSRCs");
        }
        for (id, value) in self.extensions {
            if *id == 0 {
                return unrepresentable("an extension with id 0");
            }
            if value.len() > MAX_VALUE_LEN {
                return unrepresentable("an extension value of more than 255 bytes");
            }
        }
        if extensions_len / 4 >= usize::from(u16::MAX) {
            return unrepresentable("so many extensions");
        }
        let needed = self.len_with(extensions_len);
        if needed > room {
            return Err(RtpError::NoRoom { needed, room });
        }
        Ok(())
    }

    /// Writes the header at the start of `out` and gives its length. On an error `out` is as it
    /// was.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, RtpError> {
        let prefix = self.prefix();
        let extensions_len = self.extensions_len(prefix);
        self.check(out.len(), extensions_len)?;
        let extended = u8::from(!self.extensions.is_empty());
        out[0] = 2 << 6 | extended << 4 | self.csrcs.len() as u8;
        out[1] = u8::from(self.marker) << 7 | self.payload_type;
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let mut at = FIXED_LEN;
        for csrc in self.csrcs {
            out[at..at + 4].copy_from_slice(&csrc.to_be_bytes());
            at += 4;
        }
        if !self.extensions.is_empty() {
            let words = extensions_len.div_ceil(4) as u16;
            let profile = if prefix == 1 {
                ONE_BYTE_PROFILE
            } else {
                TWO_BYTE_PROFILE
            };
            out[at..at + 2].copy_from_slice(&profile.to_be_bytes());
            out[at + 2..at + 4].copy_from_slice(&words.to_be_bytes());
            at += 4;
            for (id, value) in self.extensions {
                if prefix == 1 {
                    out[at] = id << 4 | (value.len() - 1) as u8;
                } else {
                    out[at..at + 2].copy_from_slice(&[*id, value.len() as u8]);
                }
                at += prefix;
                out[at..at + value.len()].copy_from_slice(value);
                at += value.len();
            }
            let end = at.next_multiple_of(4);
            out[at..end].fill(0);
            at = end;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Header;
    use super::*;
    use crate::vectors::hex;
    use proptest::prelude::*;

    #[test]
    fn header_with_extensions_is_padded_to_words() {
        let writer = HeaderWriter {
            marker: true,
            payload_type: 96,
            sequence: 0x1234,
            timestamp: 0x0001_0203,
            ssrc: 0xdead_beef,
            csrcs: &[7],
            extensions: &[(1, &[0xaa]), (3, &[1, 2, 3])],
        };
        let mut out = [0xff; 64];
        let len = writer.write(&mut out).unwrap();
        let expected = "91e01234 00010203 deadbeef 00000007 bede0002 10aa 32010203 0000";
        assert_eq!(out[..len], hex(expected));
        assert_eq!(len, writer.len());
        assert_eq!(out[len], 0xff);
    }

    #[test]
    fn what_the_form_cannot_carry_is_refused() {
        let mut out = [0; 64];
        let mut code = |writer: HeaderWriter| writer.write(&mut out).unwrap_err().code();
        let plain = HeaderWriter::default();
        let unrepresentable = "rtp.unrepresentable";
        assert_eq!(
            code(HeaderWriter {
                payload_type: 128,
                ..plain
            }),
            unrepresentable
        );
        assert_eq!(
            code(HeaderWriter {
                csrcs: &[0; 16],
                ..plain
            }),
            unrepresentable
        );
        assert_eq!(
            code(HeaderWriter {
                extensions: &[(0, &[1])],
                ..plain
            }),
            unrepresentable
        );
        assert_eq!(
            code(HeaderWriter {
                extensions: &[(1, &[0; 256])],
                ..plain
            }),
            unrepresentable
        );
        assert_eq!(plain.write(&mut [0; 11]).unwrap_err().code(), "rtp.no_room");
    }

    #[test]
    fn longer_values_and_higher_ids_take_the_two_byte_form() {
        let writer = HeaderWriter {
            extensions: &[(3, &[0xaa; 17]), (15, &[])],
            ..HeaderWriter::default()
        };
        let mut out = [0xff; 64];
        let len = writer.write(&mut out).unwrap();
        assert_eq!(out[12..18], hex("1000 0006 0311"));
        assert_eq!(writer.first_value_at(), 18);
        let header = Header::parse(&out[..len]).expect("it is well formed");
        let read: Vec<_> = header.extensions().collect();
        assert_eq!(read, writer.extensions);
    }

    proptest! {
        #[test]
        fn written_header_is_read_back(
            marker: bool,
            payload_type in 0_u8..128,
            sequence: u16,
            timestamp: u32,
            ssrc: u32,
            csrcs in prop::collection::vec(any::<u32>(), 0..=15),
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=20), 0..=16),
        ) {
            let extensions: Vec<(u8, &[u8])> =
                (1..).zip(values.iter().map(Vec::as_slice)).collect();
            let writer = HeaderWriter {
                marker, payload_type, sequence, timestamp, ssrc,
                csrcs: &csrcs,
                extensions: &extensions,
            };
            let mut out = vec![0; 512];
            let len = writer.write(&mut out).expect("it fits");
            let header = Header::parse(&out).expect("it is well formed");
            prop_assert_eq!(header.header_len(), len);
            prop_assert_eq!(
                (header.marker, header.payload_type, header.sequence, header.timestamp, header.ssrc),
                (marker, payload_type, sequence, timestamp, ssrc)
            );
            prop_assert_eq!(header.csrcs().collect::<Vec<_>>(), csrcs);
            prop_assert_eq!(header.extensions().collect::<Vec<_>>(), extensions);
        }
    }
}
