//! XR: extended reports, of which we use the two that let a receiver measure its round trip time
//! (RFC 3611 §4.4, §4.5).

use super::frame::{self, take_u16, take_u32};
use crate::ntp::Ntp;

pub(super) const TYPE: u8 = 207;
const REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;
const DLRR_LEN: usize = 12;

/// Extended reports of one participant.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Xr<'a> {
    /// Who reports.
    pub ssrc: u32,
    blocks: &'a [u8],
}

/// One block of an extended report.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum XrBlock<'a> {
    /// RRTR: the clock of a receiver, to be echoed to it.
    ReferenceTime(Ntp),
    /// DLRR: echoes of such clocks; read with [`Dlrr::all`].
    Dlrr(&'a [u8]),
    /// Any other, well framed.
    Unknown {
        /// Block type.
        block_type: u8,
    },
}

/// The echo of one receiver's clock.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Dlrr {
    /// The receiver.
    pub ssrc: u32,
    /// Middle bits of its last reference time; 0 when none came.
    pub lrr: u32,
    /// Time since that came, in 1/65536 s.
    pub dlrr: u32,
}

impl Dlrr {
    /// The echoes in the body of a DLRR block.
    pub fn all(body: &[u8]) -> impl Iterator<Item = Self> + use<'_> {
        body.chunks_exact(DLRR_LEN).filter_map(|mut echo| {
            Some(Self {
                ssrc: take_u32(&mut echo)?,
                lrr: take_u32(&mut echo)?,
                dlrr: take_u32(&mut echo)?,
            })
        })
    }
}

impl<'a> Xr<'a> {
    /// Most echoes written in one packet: what an MTU holds.
    pub const MAX_ECHOES: usize = 64;

    pub(super) fn parse(mut body: &'a [u8]) -> Option<Self> {
        let ssrc = take_u32(&mut body)?;
        let mut rest = body;
        while !rest.is_empty() {
            take_block(&mut rest)?;
        }
        Some(Self { ssrc, blocks: body })
    }

    /// The blocks in order.
    pub fn blocks(&self) -> impl Iterator<Item = XrBlock<'a>> + use<'a> {
        let mut rest = self.blocks;
        std::iter::from_fn(move || take_block(&mut rest))
    }

    /// Appends a receiver's clock.
    pub fn write_reference_time(out: &mut Vec<u8>, ssrc: u32, now: Ntp) {
        frame::write(out, TYPE, 0, |out| {
            out.extend(ssrc.to_be_bytes());
            out.extend([REFERENCE_TIME, 0, 0, 2]);
            out.extend(now.0.to_be_bytes());
        });
    }

    /// Appends echoes, the first [`MAX_ECHOES`](Self::MAX_ECHOES) of them.
    pub fn write_dlrr(out: &mut Vec<u8>, ssrc: u32, echoes: &[Dlrr]) {
        let echoes = &echoes[..echoes.len().min(Self::MAX_ECHOES)];
        frame::write(out, TYPE, 0, |out| {
            out.extend(ssrc.to_be_bytes());
            out.extend([DLRR, 0, 0, (echoes.len() * DLRR_LEN / 4) as u8]);
            for word in echoes
                .iter()
                .flat_map(|echo| [echo.ssrc, echo.lrr, echo.dlrr])
            {
                out.extend(word.to_be_bytes());
            }
        });
    }
}

/// Takes one block off the front: type, a byte of its own, length in words, contents. `None` when
/// it does not fit, or has not the length that its type has.
fn take_block<'a>(rest: &mut &'a [u8]) -> Option<XrBlock<'a>> {
    let block_type = (take_u16(rest)? >> 8) as u8;
    let len = usize::from(take_u16(rest)?) * 4;
    let (body, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(match block_type {
        REFERENCE_TIME => XrBlock::ReferenceTime(Ntp(u64::from_be_bytes(body.try_into().ok()?))),
        DLRR if len.is_multiple_of(DLRR_LEN) => XrBlock::Dlrr(body),
        DLRR => return None,
        _ => XrBlock::Unknown { block_type },
    })
}
