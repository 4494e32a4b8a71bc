//! REMB: the bitrate that a receiver estimates it can take (draft-alvestrand-rmcat-remb-03 §2.2).

use super::frame::{self, PSFB, take_u32, words, write_ssrcs};

/// Application layer feedback (RFC 4585 §6.4), told apart by the name that follows.
pub(super) const FORMAT: u8 = 15;
const NAME: [u8; 4] = *b"REMB";
const MANTISSA_BITS: u32 = 18;
/// The count of SSRCs is one byte.
const MAX_SSRCS: usize = 255;

/// A receiver's estimate.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: u32,
    /// Bits a second for all the streams together; more than 64 bits can say is the most.
    pub bitrate: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    /// Whether this application layer feedback is a REMB: the name follows the two SSRCs.
    pub(super) fn is_remb(body: &[u8]) -> bool {
        body.get(8..12) == Some(&NAME)
    }

    pub(super) fn parse(mut body: &'a [u8]) -> Option<Self> {
        let sender_ssrc = take_u32(&mut body)?;
        body = body.get(8..)?; // media SSRC, always zero, and the name
        let estimate = take_u32(&mut body)?;
        let count = (estimate >> 24) as usize;
        let exponent = estimate >> MANTISSA_BITS & 0x3f;
        let mantissa = u128::from(estimate & ((1 << MANTISSA_BITS) - 1));
        let bitrate = u64::try_from(mantissa << exponent).unwrap_or(u64::MAX);
        Some(Self {
            sender_ssrc,
            bitrate,
            ssrcs: body.get(..count * 4)?,
        })
    }

    /// The streams that share the bitrate.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        words(self.ssrcs)
    }

    /// Appends the packet. The bitrate is rounded down to 18 significant bits; of the streams,
    /// the first 255 are named.
    pub fn write(out: &mut Vec<u8>, sender_ssrc: u32, bitrate: u64, ssrcs: &[u32]) {
        let ssrcs = &ssrcs[..ssrcs.len().min(MAX_SSRCS)];
        let exponent = (u64::BITS - bitrate.leading_zeros()).saturating_sub(MANTISSA_BITS);
        let mantissa = (bitrate >> exponent) as u32;
        let estimate = (ssrcs.len() as u32) << 24 | exponent << MANTISSA_BITS | mantissa;
        frame::write(out, PSFB, FORMAT, |out| {
            write_ssrcs(out, sender_ssrc, 0);
            out.extend(NAME);
            out.extend(estimate.to_be_bytes());
            for ssrc in ssrcs {
                out.extend(ssrc.to_be_bytes());
            }
        });
    }
}
