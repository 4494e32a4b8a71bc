//! Generic NACK: which packets to send again (RFC 4585 §6.2.1).

use super::frame::{self, RTPFB, take_u32, write_ssrcs};

pub(super) const FORMAT: u8 = 1;

/// A request for retransmission.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The stream whose packets were lost.
    pub media_ssrc: u32,
    pairs: &'a [u8],
}

impl<'a> Nack<'a> {
    /// Most pairs of packet id and bit mask in one packet, read or written: more than an MTU
    /// holds, and each may ask for 17 packets.
    pub const MAX_PAIRS: usize = 512;

    pub(super) fn parse(mut body: &'a [u8]) -> Option<Self> {
        let sender_ssrc = take_u32(&mut body)?;
        let media_ssrc = take_u32(&mut body)?;
        (body.len() <= Self::MAX_PAIRS * 4).then_some(Self {
            sender_ssrc,
            media_ssrc,
            pairs: body,
        })
    }

    /// The lost sequence numbers as asked, ascending within each group of 17.
    pub fn lost(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs.chunks_exact(4).flat_map(|pair| {
            let first = u16::from_be_bytes([pair[0], pair[1]]);
            let mask = u16::from_be_bytes([pair[2], pair[3]]);
            let following = (0..16).filter(move |bit| mask >> bit & 1 == 1);
            std::iter::once(first).chain(following.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }

    /// Appends a request for these sequence numbers, best given in ascending order (wraps
    /// included), for then they pack. Gives how many were taken: all, unless they need more than
    /// [`MAX_PAIRS`](Self::MAX_PAIRS). Without any, nothing is appended.
    pub fn write(
        out: &mut Vec<u8>,
        sender_ssrc: u32,
        media_ssrc: u32,
        lost: impl IntoIterator<Item = u16>,
    ) -> usize {
        let mut lost = lost.into_iter().peekable();
        if lost.peek().is_none() {
            return 0;
        }
        let mut taken = 0;
        frame::write(out, RTPFB, FORMAT, |out| {
            write_ssrcs(out, sender_ssrc, media_ssrc);
            for _ in 0..Self::MAX_PAIRS {
                let Some(first) = lost.next() else { break };
                taken += 1;
                let mut mask = 0_u16;
                while let Some(next) = lost.next_if(|next| next.wrapping_sub(first) <= 16) {
                    taken += 1;
                    // The first again needs no bit.
                    if let Some(bit) = next.wrapping_sub(first).checked_sub(1) {
                        mask |= 1 << bit;
                    }
                }
                out.extend(first.to_be_bytes());
                out.extend(mask.to_be_bytes());
            }
        });
        taken
    }
}
