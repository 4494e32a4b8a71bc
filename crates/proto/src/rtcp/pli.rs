//! PLI: a picture was lost, a keyframe would help (RFC 4585 §6.3.1).

use super::frame::{self, PSFB, take_u32, write_ssrcs};

pub(super) const FORMAT: u8 = 1;

/// A picture loss indication.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub struct Pli {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The stream asked.
    pub media_ssrc: u32,
}

impl Pli {
    pub(super) fn parse(mut body: &[u8]) -> Option<Self> {
        Some(Self {
            sender_ssrc: take_u32(&mut body)?,
            media_ssrc: take_u32(&mut body)?,
        })
    }

    /// Appends the packet.
    pub fn write(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
        frame::write(out, PSFB, FORMAT, |out| {
            write_ssrcs(out, sender_ssrc, media_ssrc);
        });
    }
}
