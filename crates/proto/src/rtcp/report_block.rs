//! Report blocks: how a source was received (RFC 3550 §6.4.1), shared by SR and RR.

use super::frame::{MAX_COUNT, take_u32};

const LEN: usize = 24;
/// Cumulative loss has 24 bits and a sign.
const MAX_LOST: i32 = 0x7f_ffff;
const MIN_LOST: i32 = -0x80_0000;

/// How one source was received since the report before.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost in all; below zero when duplicates outnumber losses. 24 bits on the wire:
    /// beyond, it is written as the nearest.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of wraps in its upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the source's clock rate.
    pub jitter: u32,
    /// Middle bits of the last sender report's NTP time; 0 when none came.
    pub lsr: u32,
    /// Time since that report came, in 1/65536 s.
    pub dlsr: u32,
}

impl ReportBlock {
    fn parse(mut data: &[u8]) -> Option<Self> {
        let data = &mut data;
        let ssrc = take_u32(data)?;
        let loss = take_u32(data)?;
        Some(Self {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            cumulative_lost: (loss << 8) as i32 >> 8,
            highest_sequence: take_u32(data)?,
            jitter: take_u32(data)?,
            lsr: take_u32(data)?,
            dlsr: take_u32(data)?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let lost = self.cumulative_lost.clamp(MIN_LOST, MAX_LOST) as u32 & 0x00ff_ffff;
        let loss = u32::from(self.fraction_lost) << 24 | lost;
        for word in [
            self.ssrc,
            loss,
            self.highest_sequence,
            self.jitter,
            self.lsr,
            self.dlsr,
        ] {
            out.extend(word.to_be_bytes());
        }
    }
}

/// The report blocks of an SR or RR, checked to be whole.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct ReportBlocks<'a>(&'a [u8]);

impl<'a> ReportBlocks<'a> {
    /// Takes `count` blocks; what follows them is a profile's extension, and skipped.
    pub(super) fn parse(count: u8, data: &'a [u8]) -> Option<Self> {
        Some(Self(data.get(..usize::from(count) * LEN)?))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.0.chunks_exact(LEN).filter_map(ReportBlock::parse)
    }
}

/// The blocks that fit one packet: the first 31.
pub(super) fn that_fit(reports: &[ReportBlock]) -> &[ReportBlock] {
    &reports[..reports.len().min(MAX_COUNT)]
}

pub(super) fn write_all(out: &mut Vec<u8>, reports: &[ReportBlock]) {
    for report in reports {
        report.write(out);
    }
}
