//! The frame of every RTCP packet: version, padding, count, type, length (RFC 3550 §6.4.1).

use super::RtcpError;

/// Transport and payload-specific feedback (RFC 4585 §6.1); the count is then a format.
pub(super) const RTPFB: u8 = 205;
pub(super) const PSFB: u8 = 206;

const PADDING: u8 = 0x20;
/// The largest count: five bits.
pub(super) const MAX_COUNT: usize = 31;

/// One packet's header, and its body without padding.
pub(super) struct Frame<'a> {
    pub(super) packet_type: u8,
    pub(super) count: u8,
    pub(super) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Splits the first packet off.
    pub(super) fn split(data: &'a [u8]) -> Result<(Self, &'a [u8]), RtcpError> {
        let truncated = RtcpError::Truncated { left: data.len() };
        let (header, rest) = data.split_first_chunk::<4>().ok_or(truncated)?;
        let version = header[0] >> 6;
        if version != 2 {
            return Err(RtcpError::Version { version });
        }
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let (mut body, rest) = rest.split_at_checked(len).ok_or(truncated)?;
        if header[0] & PADDING != 0 {
            let padding = body.last().copied().unwrap_or(0);
            // RFC 3550 has whole words, but libwebrtc pads transport-wide feedback by single bytes.
            if padding == 0 || usize::from(padding) > body.len() {
                return Err(RtcpError::Padding { padding });
            }
            body = &body[..body.len() - usize::from(padding)];
        }
        Ok((
            Self {
                packet_type: header[1],
                count: header[0] & 0x1f,
                body,
            },
            rest,
        ))
    }
}

/// Appends one packet: the header, what `body` appends, zeros up to a whole word.
///
/// Callers bound their lists, so a packet stays far below the 256 KiB its length can say.
pub(super) fn write(
    out: &mut Vec<u8>,
    packet_type: u8,
    count: u8,
    body: impl FnOnce(&mut Vec<u8>),
) {
    debug_assert!(usize::from(count) <= MAX_COUNT, "a count has five bits");
    let start = out.len();
    out.extend([2 << 6 | count, packet_type, 0, 0]);
    body(out);
    let len = (out.len() - start).next_multiple_of(4);
    out.resize(start + len, 0);
    let words = (len / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Appends the SSRC of who reports and of what it reports on (RFC 4585 §6.1).
pub(super) fn write_ssrcs(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
    out.extend(sender_ssrc.to_be_bytes());
    out.extend(media_ssrc.to_be_bytes());
}

/// Takes a big-endian word off the front.
pub(super) fn take_u32(data: &mut &[u8]) -> Option<u32> {
    let (word, rest) = data.split_first_chunk::<4>()?;
    *data = rest;
    Some(u32::from_be_bytes(*word))
}

/// Takes a big-endian half word off the front.
pub(super) fn take_u16(data: &mut &[u8]) -> Option<u16> {
    let (half, rest) = data.split_first_chunk::<2>()?;
    *data = rest;
    Some(u16::from_be_bytes(*half))
}

/// The whole words of a list.
pub(super) fn words(data: &[u8]) -> impl Iterator<Item = u32> + use<'_> {
    data.chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

/// The text, or as many of its characters as fit `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
