//! BYE: sources that leave (RFC 3550 §6.6).

use super::frame::{self, MAX_COUNT, cut, words};

pub(super) const TYPE: u8 = 203;
/// The reason's length is one byte.
const MAX_REASON_LEN: usize = 255;

/// A goodbye.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
    reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let (ssrcs, rest) = body.split_at_checked(usize::from(count) * 4)?;
        let reason = match rest.split_first() {
            None => None,
            Some((&len, text)) => Some(text.get(..usize::from(len))?),
        };
        Some(Self { ssrcs, reason })
    }

    /// The sources that leave, at most 31.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        words(self.ssrcs)
    }

    /// Why, if that was said and in UTF-8.
    pub fn reason(&self) -> Option<&'a str> {
        str::from_utf8(self.reason?).ok()
    }

    /// Appends a goodbye of the first 31 sources; an empty reason is left out, a long one cut to
    /// 255 bytes between characters.
    pub fn write(out: &mut Vec<u8>, ssrcs: &[u32], reason: &str) {
        let ssrcs = &ssrcs[..ssrcs.len().min(MAX_COUNT)];
        let reason = cut(reason, MAX_REASON_LEN);
        frame::write(out, TYPE, ssrcs.len() as u8, |out| {
            for ssrc in ssrcs {
                out.extend(ssrc.to_be_bytes());
            }
            if !reason.is_empty() {
                out.push(reason.len() as u8);
                out.extend(reason.as_bytes());
            }
        });
    }
}
