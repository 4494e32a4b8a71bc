//! SR: what a source sent, on which clock (RFC 3550 §6.4.1).

use super::frame::{self, take_u32};
use super::report_block::{self, ReportBlock, ReportBlocks};
use crate::ntp::Ntp;

pub(super) const TYPE: u8 = 200;

/// The same instant on the sender's wall clock and media clock, and what it sent until then.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct SenderInfo {
    /// Wall clock.
    pub ntp: Ntp,
    /// The same instant in units of the media clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packet_count: u32,
    /// Payload bytes sent.
    pub octet_count: u32,
}

/// A sender report.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SenderReport<'a> {
    /// The sender.
    pub ssrc: u32,
    /// Its clocks and counts.
    pub info: SenderInfo,
    reports: ReportBlocks<'a>,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, mut body: &'a [u8]) -> Option<Self> {
        let ssrc = take_u32(&mut body)?;
        let seconds = take_u32(&mut body)?;
        let fraction = take_u32(&mut body)?;
        let info = SenderInfo {
            ntp: Ntp(u64::from(seconds) << 32 | u64::from(fraction)),
            rtp_timestamp: take_u32(&mut body)?,
            packet_count: take_u32(&mut body)?,
            octet_count: take_u32(&mut body)?,
        };
        Some(Self {
            ssrc,
            info,
            reports: ReportBlocks::parse(count, body)?,
        })
    }

    /// How the sender received others.
    pub fn reports(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.reports.iter()
    }

    /// Appends a report; of the blocks, the first 31.
    pub fn write(out: &mut Vec<u8>, ssrc: u32, info: &SenderInfo, reports: &[ReportBlock]) {
        let reports = report_block::that_fit(reports);
        frame::write(out, TYPE, reports.len() as u8, |out| {
            out.extend(ssrc.to_be_bytes());
            out.extend(info.ntp.0.to_be_bytes());
            for word in [info.rtp_timestamp, info.packet_count, info.octet_count] {
                out.extend(word.to_be_bytes());
            }
            report_block::write_all(out, reports);
        });
    }
}
