//! RR: how one that sends nothing received others (RFC 3550 §6.4.2).

use super::frame::{self, take_u32};
use super::report_block::{self, ReportBlock, ReportBlocks};

pub(super) const TYPE: u8 = 201;

/// A receiver report.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ReceiverReport<'a> {
    /// The receiver.
    pub ssrc: u32,
    reports: ReportBlocks<'a>,
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, mut body: &'a [u8]) -> Option<Self> {
        let ssrc = take_u32(&mut body)?;
        Some(Self {
            ssrc,
            reports: ReportBlocks::parse(count, body)?,
        })
    }

    /// How it received others; may be none.
    pub fn reports(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.reports.iter()
    }

    /// Appends a report; of the blocks, the first 31.
    pub fn write(out: &mut Vec<u8>, ssrc: u32, reports: &[ReportBlock]) {
        let reports = report_block::that_fit(reports);
        frame::write(out, TYPE, reports.len() as u8, |out| {
            out.extend(ssrc.to_be_bytes());
            report_block::write_all(out, reports);
        });
    }
}
