//! FIR: send a keyframe, and count the commands (RFC 5104 §4.3.1).

use super::frame::{self, PSFB, take_u32, write_ssrcs};

pub(super) const FORMAT: u8 = 4;
const ENTRY_LEN: usize = 8;

/// A full intra request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Fir<'a> {
    /// Who commands.
    pub sender_ssrc: u32,
    entries: &'a [u8],
}

/// The command to one stream.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub struct FirEntry {
    /// The stream commanded.
    pub ssrc: u32,
    /// Grows with each new command; the same number again is a repetition.
    pub sequence: u8,
}

impl<'a> Fir<'a> {
    /// Most entries written in one packet: what an MTU holds.
    pub const MAX_ENTRIES: usize = 128;

    pub(super) fn parse(mut body: &'a [u8]) -> Option<Self> {
        let sender_ssrc = take_u32(&mut body)?;
        take_u32(&mut body)?; // the media SSRC is unused, the entries have their own
        Some(Self {
            sender_ssrc,
            entries: body,
        })
    }

    /// The streams commanded.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + use<'a> {
        self.entries.chunks_exact(ENTRY_LEN).map(|entry| FirEntry {
            ssrc: u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]),
            sequence: entry[4],
        })
    }

    /// Appends the packet; of the entries, the first [`MAX_ENTRIES`](Self::MAX_ENTRIES).
    pub fn write(out: &mut Vec<u8>, sender_ssrc: u32, entries: &[FirEntry]) {
        frame::write(out, PSFB, FORMAT, |out| {
            write_ssrcs(out, sender_ssrc, 0);
            for entry in entries.iter().take(Self::MAX_ENTRIES) {
                out.extend(entry.ssrc.to_be_bytes());
                out.extend([entry.sequence, 0, 0, 0]);
            }
        });
    }
}
