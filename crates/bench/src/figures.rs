//! From counters of peers to the figures of a run.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::ledger::{self, Since, Sums as _, Tally};
use crate::stamps::{Delays, Spread};
use crate::{publisher, viewer};

/// Sums over viewers of what grows.
#[derive(Debug, Clone, Copy, Default, Serialize, PartialEq)]
pub struct Sums {
    /// RTP packets received, retransmissions included.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Media packets that should have come.
    pub expected: u64,
    /// Of those, missing when a later one came: raw loss.
    pub missed: u64,
    /// Of those, come after all.
    pub filled: u64,
    /// Of those, never come.
    pub lost: u64,
    /// Packets that came twice or too late.
    pub stale: u64,
    /// Retransmissions among the packets.
    pub retransmissions: u64,
    /// Packets that did not decrypt.
    pub undecryptable: u64,
    /// NACKs sent.
    pub nacks: u64,
    /// PLIs sent.
    pub plis: u64,
    /// Frames shown.
    pub frames: u64,
    /// Freezes.
    pub freezes: u64,
    /// Seconds frozen.
    pub frozen_seconds: f64,
}

impl Sums {
    fn of(figures: &viewer::Figures) -> Self {
        let counts = figures.counts;
        Self {
            packets: figures.packets,
            bytes: figures.bytes,
            expected: counts.expected,
            missed: counts.missed,
            filled: counts.filled,
            lost: counts.lost,
            stale: counts.stale,
            retransmissions: figures.retransmissions,
            undecryptable: figures.undecryptable,
            nacks: figures.nacks,
            plis: figures.plis,
            frames: figures.frames,
            freezes: figures.freezes,
            frozen_seconds: figures.frozen_nanos as f64 / 1e9,
        }
    }
}

impl ledger::Sums for Sums {
    fn counts(&mut self) -> impl Iterator<Item = &mut u64> {
        [
            &mut self.packets,
            &mut self.bytes,
            &mut self.expected,
            &mut self.missed,
            &mut self.filled,
            &mut self.lost,
            &mut self.stale,
            &mut self.retransmissions,
            &mut self.undecryptable,
            &mut self.nacks,
            &mut self.plis,
            &mut self.frames,
            &mut self.freezes,
        ]
        .into_iter()
    }

    fn seconds(&mut self) -> &mut f64 {
        &mut self.frozen_seconds
    }
}

/// All peers of a thread, or of all.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// Every viewer there was.
    pub viewers: Vec<(u64, viewer::Figures)>,
    /// Every publisher there was.
    pub publishers: Vec<publisher::Figures>,
}

impl Tally for Peers {
    type Sums = Sums;
    type Samples = Delays;

    fn sums(&self) -> HashMap<u64, Sums> {
        let each = self.viewers.iter();
        each.map(|(id, figures)| (*id, Sums::of(figures))).collect()
    }

    fn append(&mut self, other: &Self) {
        self.viewers.extend_from_slice(&other.viewers);
        self.publishers.extend_from_slice(&other.publishers);
    }
}

/// What a thread tells.
pub type Report = ledger::Report<Peers>;
/// Remembers marks.
pub type Ledger = ledger::Ledger<Peers>;

/// Forwarding delay in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DelayMs {
    /// From the publisher's socket to the viewer's, first packet of each frame.
    pub first_packet: Spread,
    /// The same for the last packet of each frame.
    pub last_packet: Spread,
    /// From the capture time in a packet's header to the viewer's socket.
    pub capture: Spread,
}

impl DelayMs {
    fn of(delays: &Delays) -> Self {
        Self {
            first_packet: Spread::of_micros(&delays.first),
            last_packet: Spread::of_micros(&delays.last),
            capture: Spread::of_micros(&delays.capture),
        }
    }
}

/// A span of the run.
#[derive(Debug, Clone, Serialize)]
pub struct Span {
    /// How long it was.
    pub seconds: f64,
    /// Viewers that received something in it.
    pub active: usize,
    /// Sums over viewers.
    #[serde(flatten)]
    pub sums: Sums,
    /// Raw loss of the viewer that lost the most, as a share.
    pub worst_loss: f64,
    /// Forwarding delay, as probes saw it.
    pub delay_ms: DelayMs,
    /// The latest that a timer of this tool fired: how much the machine kept it waiting.
    pub tool_late_ms: f64,
}

/// Milliseconds from the POST to each step of joining.
#[derive(Debug, Clone, Default, Serialize)]
pub struct JoinMs {
    /// The answer was there.
    pub answered: Spread,
    /// ICE and DTLS were through.
    pub connected: Spread,
    /// The first RTP packet came.
    pub first_packet: Spread,
    /// The first keyframe was whole.
    pub keyframe: Spread,
}

/// Publishers, summed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Publishers {
    /// How many there were.
    pub count: usize,
    /// Connected and not ended.
    pub live: usize,
    /// RTP packets sent.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pictures sent.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Keyframe requests received.
    pub plis: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Longest time that the packets of one frame took, in milliseconds.
    pub longest_spread_ms: f64,
    /// Why publishers ended.
    pub ended: BTreeMap<&'static str, usize>,
}

/// Everything that is known.
#[derive(Debug, Clone, Serialize)]
pub struct Polled {
    /// Viewers that had an answer.
    pub viewers: usize,
    /// Of those, connected.
    pub connected: usize,
    /// Of those, with media.
    pub receiving: usize,
    /// Of those, with a whole keyframe.
    pub playing: usize,
    /// Why viewers ended.
    pub ended: BTreeMap<&'static str, usize>,
    /// SRTP profiles of viewers.
    pub profiles: BTreeMap<&'static str, usize>,
    /// Steps of joining.
    pub join_ms: JoinMs,
    /// Interarrival jitter over viewers in milliseconds, video.
    pub jitter_video_ms: Spread,
    /// The same, audio.
    pub jitter_audio_ms: Spread,
    /// Since the last poll.
    pub last: Span,
    /// Since the mark; the whole run before one.
    pub window: Span,
    /// Publishers of this run.
    pub publishers: Publishers,
}

impl Span {
    fn of(since: &Since<'_, Peers>) -> Self {
        let mut span = Self {
            seconds: since.seconds,
            active: 0,
            sums: Sums::default(),
            worst_loss: 0.0,
            delay_ms: DelayMs::of(since.samples),
            tool_late_ms: since.late_ms,
        };
        for &sums in &since.each {
            span.active += usize::from(sums.packets > 0);
            let loss = sums.missed as f64 / sums.expected.max(1) as f64;
            span.worst_loss = span.worst_loss.max(loss);
            span.sums.add(sums);
        }
        span
    }
}

impl Polled {
    /// The figures as of this report.
    pub(crate) fn of(report: &Report, ledger: &mut Ledger) -> Self {
        let [last, window] = ledger.poll(report, Span::of);
        let all = || report.peers.viewers.iter().map(|(_, figures)| figures);
        let jitter = |kind: usize| {
            let micros: Vec<u32> = all()
                .filter_map(|f| f.jitter_ms[kind])
                .map(|ms| (ms * 1e3) as u32)
                .collect();
            Spread::of_micros(&micros)
        };
        let mut ended = BTreeMap::new();
        let mut profiles = BTreeMap::new();
        for figures in all() {
            if let Some(reason) = figures.ended {
                *ended.entry(reason).or_default() += 1;
            }
            if let Some(profile) = figures.profile {
                *profiles.entry(profile).or_default() += 1;
            }
        }
        Self {
            viewers: all().count(),
            connected: all().filter(|f| f.joined.connected.is_some()).count(),
            receiving: all().filter(|f| f.joined.first_packet.is_some()).count(),
            playing: all().filter(|f| f.joined.keyframe.is_some()).count(),
            ended,
            profiles,
            join_ms: JoinMs {
                answered: Spread::of(all().filter_map(|f| f.joined.answered)),
                connected: Spread::of(all().filter_map(|f| f.joined.connected)),
                first_packet: Spread::of(all().filter_map(|f| f.joined.first_packet)),
                keyframe: Spread::of(all().filter_map(|f| f.joined.keyframe)),
            },
            jitter_video_ms: jitter(0),
            jitter_audio_ms: jitter(1),
            last,
            window,
            publishers: Publishers::of(&report.peers.publishers),
        }
    }
}

impl Publishers {
    fn of(all: &[publisher::Figures]) -> Self {
        let mut sum = Self {
            count: all.len(),
            ..Self::default()
        };
        for one in all {
            sum.live += usize::from(one.connected.is_some() && one.ended.is_none());
            sum.packets += one.packets;
            sum.bytes += one.bytes;
            sum.frames += one.frames;
            sum.keyframes += one.keyframes;
            sum.plis += one.plis;
            sum.resent += one.resent;
            let spread = one.longest_spread.as_secs_f64() * 1e3;
            sum.longest_spread_ms = sum.longest_spread_ms.max(spread);
            if let Some(reason) = one.ended {
                *sum.ended.entry(reason).or_default() += 1;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(packets: u64) -> Report {
        let mut figures = viewer::Figures {
            packets,
            ..viewer::Figures::default()
        };
        figures.counts.expected = packets;
        figures.counts.missed = packets / 10;
        let mut report = Report::default();
        report.peers.viewers.push((1, figures));
        report.samples.last.push(2000);
        report
    }

    #[test]
    fn spans_have_what_viewers_counted_in_them() {
        let mut ledger = Ledger::default();
        ledger.mark(&report(150));
        let polled = Polled::of(&report(450), &mut ledger);
        assert_eq!(polled.window.sums.packets, 300);
        assert_eq!(polled.window.delay_ms.last_packet.count, 1);
        assert!((polled.window.worst_loss - 0.1).abs() < 1e-9);
        let idle = Polled::of(&report(450), &mut ledger);
        assert_eq!((idle.last.active, idle.window.active), (0, 1));
    }
}
