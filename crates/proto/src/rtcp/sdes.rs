//! SDES: names of sources, of which only CNAME matters here (RFC 3550 §6.5).

use super::frame::{self, cut, take_u32};

pub(super) const TYPE: u8 = 202;
const CNAME: u8 = 1;
/// An item's length is one byte.
const MAX_TEXT_LEN: usize = 255;

/// Source descriptions.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Sdes<'a> {
    count: u8,
    chunks: &'a [u8],
}

/// The items of one source.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SdesChunk<'a> {
    /// The source.
    pub ssrc: u32,
    items: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let mut rest = body;
        for _ in 0..count {
            SdesChunk::take(&mut rest)?;
        }
        Some(Self {
            count,
            chunks: body,
        })
    }

    /// The described sources, at most 31.
    pub fn chunks(&self) -> impl Iterator<Item = SdesChunk<'a>> + use<'a> {
        let mut rest = self.chunks;
        (0..self.count).map_while(move |_| SdesChunk::take(&mut rest))
    }

    /// The canonical name of one source: `None` when it is not described, or not in UTF-8.
    pub fn cname(&self, ssrc: u32) -> Option<&'a str> {
        self.chunks().find(|chunk| chunk.ssrc == ssrc)?.cname()
    }

    /// Appends the canonical name of one source, cut to 255 bytes between characters.
    pub fn write(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
        let cname = cut(cname, MAX_TEXT_LEN);
        frame::write(out, TYPE, 1, |out| {
            out.extend(ssrc.to_be_bytes());
            out.extend([CNAME, cname.len() as u8]);
            out.extend(cname.as_bytes());
            // The list ends with a zero, which the padding to a word does not promise.
            out.push(0);
        });
    }
}

impl<'a> SdesChunk<'a> {
    /// Takes one chunk off the front: the SSRC, items up to a zero, zeros up to a whole word.
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let ssrc = take_u32(rest)?;
        let items = *rest;
        let mut at = 0;
        while *items.get(at)? != 0 {
            at += 2 + usize::from(*items.get(at + 1)?);
        }
        *rest = items.get((at + 1).next_multiple_of(4)..)?;
        Some(Self {
            ssrc,
            items: &items[..at],
        })
    }

    /// The canonical name, if it is there and in UTF-8.
    pub fn cname(&self) -> Option<&'a str> {
        let mut rest = self.items;
        while let [kind, len, after @ ..] = rest {
            let (text, after) = after.split_at_checked(usize::from(*len))?;
            if *kind == CNAME {
                return str::from_utf8(text).ok();
            }
            rest = after;
        }
        None
    }
}
