//! What a viewer reports: RTCP in, as actions and figures.

use std::time::{Duration, Instant};

use stagecast_proto::ntp::{Ntp, round_trip_micros};
use stagecast_proto::rtcp::{Compound, Packet, ReportBlock};

use super::clock::WallClock;
use super::quality::Quality;
use crate::bwe::Bitrate;
use crate::session::Feedback;

/// Retransmissions asked for in one datagram; more is an attack or hopeless.
const MAX_LOST: usize = 256;

/// Packets that a report is on, at most.
const MAX_EXPECTED: u32 = 10_000;
/// What one stream lost counts for the other's report so long.
const LOSSES_LAST: Duration = Duration::from_secs(2);

/// What a stream's last report was on.
#[derive(Debug, Clone, Copy, Default)]
struct Losses {
    expected: f64,
    lost: f64,
    at: Option<Instant>,
}

/// Figures of the viewer's side and what it asks for.
#[derive(Debug, Default)]
pub struct FeedbackState {
    figures: Feedback,
    rtt: Option<Duration>,
    reports: [Option<ReportBlock>; 2],
    losses: [Losses; 2],
    /// Packets to send again: media SSRC and sequence number.
    pub lost: Vec<(u32, u16)>,
    /// It needs a keyframe.
    pub keyframe: bool,
    /// It left.
    pub bye: bool,
}

impl FeedbackState {
    /// Take a plain compound packet; `ssrcs` are those of video and audio.
    pub fn handle(
        &mut self,
        compound: &[u8],
        ssrcs: &[u32],
        now: Instant,
        clock: WallClock,
        quality: &mut Quality,
    ) {
        for packet in Compound::new(compound).flatten() {
            match packet {
                Packet::ReceiverReport(report) => {
                    for block in report.reports() {
                        self.on_report(block, ssrcs, now, clock, quality);
                    }
                }
                Packet::SenderReport(report) => {
                    for block in report.reports() {
                        self.on_report(block, ssrcs, now, clock, quality);
                    }
                }
                Packet::Twcc(twcc) => quality.on_twcc(now, &twcc),
                Packet::Nack(nack) => {
                    self.figures.nacks += 1;
                    let room = MAX_LOST.saturating_sub(self.lost.len());
                    let media = nack.media_ssrc;
                    self.lost
                        .extend(nack.lost().take(room).map(|seq| (media, seq)));
                }
                Packet::Pli(_) | Packet::Fir(_) => {
                    self.figures.plis += 1;
                    self.keyframe = true;
                }
                Packet::Remb(remb) => quality.on_remb(now, Bitrate::from_bps(remb.bitrate)),
                Packet::Bye(_) => self.bye = true,
                _ => {}
            }
        }
    }

    /// Round trip time; what a viewer on the same continent has, until it is known.
    pub fn rtt(&self) -> Duration {
        self.rtt.unwrap_or(Duration::from_millis(50))
    }

    /// The figures.
    pub fn figures(&self) -> Feedback {
        let mut figures = self.figures;
        figures.rtt_ms = self.rtt.map(|r| r.as_secs_f32() * 1e3);
        let blocks = || self.reports.iter().flatten();
        figures.packets_lost = blocks()
            .map(|b| u64::from(b.cumulative_lost.max(0) as u32))
            .sum();
        figures.loss = blocks()
            .map(|b| f32::from(b.fraction_lost) / 256.0)
            .reduce(f32::max);
        let jitter =
            |index: usize, rate: f32| self.reports[index].as_ref().map(|b| b.jitter as f32 / rate);
        figures.jitter_ms = jitter(0, 90.0).or(jitter(1, 48.0));
        figures
    }

    fn on_report(
        &mut self,
        block: ReportBlock,
        ssrcs: &[u32],
        now: Instant,
        clock: WallClock,
        quality: &mut Quality,
    ) {
        let Some(index) = ssrcs
            .iter()
            .position(|&s| s == block.ssrc)
            .filter(|&i| i < 2)
        else {
            return;
        };
        let middle = || Ntp::from_unix_micros(clock.unix_micros(now)).middle();
        let rtt = (block.lsr != 0)
            .then(|| round_trip_micros(middle(), block.lsr, block.dlsr))
            .flatten()
            .map(Duration::from_micros);
        self.rtt = rtt.or(self.rtt);
        let before = self.reports[index].replace(block);
        let span = before.map_or(0, |b| {
            block.highest_sequence.wrapping_sub(b.highest_sequence)
        });
        let expected = f64::from(span.min(MAX_EXPECTED));
        self.losses[index] = Losses {
            expected,
            lost: expected * f64::from(block.fraction_lost) / 256.0,
            at: Some(now),
        };
        // Of the few packets of audio a few lost ones are much; what matters is the share of all.
        let recent = |l: &&Losses| l.at.is_some_and(|at| now < at + LOSSES_LAST);
        let sum = |of: fn(&Losses) -> f64| self.losses.iter().filter(recent).map(of).sum::<f64>();
        let (lost, expected) = (sum(|l| l.lost), sum(|l| l.expected));
        let share = if expected > 0.0 {
            lost / expected
        } else {
            f64::from(block.fraction_lost) / 256.0
        };
        quality.on_report(now, share, rtt);
    }
}
