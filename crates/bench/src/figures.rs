//! From counters of peers to the figures of a run.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::driver::Report;
use crate::stamps::{Delays, Spread};
use crate::viewer::Figures;

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
    fn of(figures: &Figures) -> Self {
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

    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.expected += other.expected;
        self.missed += other.missed;
        self.filled += other.filled;
        self.lost += other.lost;
        self.stale += other.stale;
        self.retransmissions += other.retransmissions;
        self.undecryptable += other.undecryptable;
        self.nacks += other.nacks;
        self.plis += other.plis;
        self.frames += other.frames;
        self.freezes += other.freezes;
        self.frozen_seconds += other.frozen_seconds;
    }

    /// What came since `before`; nothing shrinks, or reads as no change.
    fn since(&self, before: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            expected: self.expected.saturating_sub(before.expected),
            missed: self.missed.saturating_sub(before.missed),
            filled: self.filled.saturating_sub(before.filled),
            lost: self.lost.saturating_sub(before.lost),
            stale: self.stale.saturating_sub(before.stale),
            retransmissions: self.retransmissions.saturating_sub(before.retransmissions),
            undecryptable: self.undecryptable.saturating_sub(before.undecryptable),
            nacks: self.nacks.saturating_sub(before.nacks),
            plis: self.plis.saturating_sub(before.plis),
            frames: self.frames.saturating_sub(before.frames),
            freezes: self.freezes.saturating_sub(before.freezes),
            frozen_seconds: (self.frozen_seconds - before.frozen_seconds).max(0.0),
        }
    }
}

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

/// Where sums stood.
#[derive(Debug)]
struct Mark {
    at: Instant,
    viewers: HashMap<u64, Sums>,
}

impl Default for Mark {
    fn default() -> Self {
        Self {
            at: Instant::now(),
            viewers: HashMap::new(),
        }
    }
}

/// Remembers marks.
#[derive(Debug, Default)]
pub struct Ledger {
    last: Mark,
    window: Mark,
    delays: Delays,
    late: Duration,
}

impl Ledger {
    /// The window begins with this.
    pub fn mark(&mut self, report: &Report) {
        let viewers = sums(report);
        self.window = Mark {
            at: Instant::now(),
            viewers: viewers.clone(),
        };
        self.last = Mark {
            at: Instant::now(),
            viewers,
        };
        self.delays = Delays::default();
        self.late = Duration::ZERO;
    }

    /// The figures as of this.
    pub fn poll(&mut self, report: &Report) -> Polled {
        let viewers = sums(report);
        self.delays.append(&report.delays);
        let now = Instant::now();
        self.late = self.late.max(report.late);
        let last = span(&self.last, &viewers, (&report.delays, report.late), now);
        let window = span(&self.window, &viewers, (&self.delays, self.late), now);
        self.last = Mark { at: now, viewers };
        polled(report, last, window)
    }
}

fn sums(report: &Report) -> HashMap<u64, Sums> {
    report
        .viewers
        .iter()
        .map(|(id, figures)| (*id, Sums::of(figures)))
        .collect()
}

fn span(
    mark: &Mark,
    viewers: &HashMap<u64, Sums>,
    (delays, late): (&Delays, Duration),
    now: Instant,
) -> Span {
    let mut span = Span {
        seconds: (now - mark.at).as_secs_f64(),
        active: 0,
        sums: Sums::default(),
        worst_loss: 0.0,
        delay_ms: DelayMs::of(delays),
        tool_late_ms: late.as_secs_f64() * 1e3,
    };
    let nothing = Sums::default();
    for (id, sums) in viewers {
        let since = sums.since(mark.viewers.get(id).unwrap_or(&nothing));
        span.active += usize::from(since.packets > 0);
        let loss = since.missed as f64 / since.expected.max(1) as f64;
        span.worst_loss = span.worst_loss.max(loss);
        span.sums.add(&since);
    }
    span
}

fn polled(report: &Report, last: Span, window: Span) -> Polled {
    let all = || report.viewers.iter().map(|(_, figures)| figures);
    let spread = |get: fn(&Figures) -> Option<Duration>| {
        let micros: Vec<u32> = all()
            .filter_map(get)
            .map(|d| d.as_micros() as u32)
            .collect();
        Spread::of_micros(&micros)
    };
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
    Polled {
        viewers: report.viewers.len(),
        connected: all().filter(|f| f.joined.connected.is_some()).count(),
        receiving: all().filter(|f| f.joined.first_packet.is_some()).count(),
        playing: all().filter(|f| f.joined.keyframe.is_some()).count(),
        ended,
        profiles,
        join_ms: JoinMs {
            answered: spread(|f| f.joined.answered),
            connected: spread(|f| f.joined.connected),
            first_packet: spread(|f| f.joined.first_packet),
            keyframe: spread(|f| f.joined.keyframe),
        },
        jitter_video_ms: jitter(0),
        jitter_audio_ms: jitter(1),
        last,
        window,
        publishers: publishers(report),
    }
}

fn publishers(report: &Report) -> Publishers {
    let mut sum = Publishers {
        count: report.publishers.len(),
        ..Publishers::default()
    };
    for one in &report.publishers {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn report(packets: u64) -> Report {
        let mut figures = Figures {
            packets,
            ..Figures::default()
        };
        figures.counts.expected = packets;
        figures.counts.missed = packets / 10;
        let mut report = Report::default();
        report.viewers.push((1, figures));
        report.delays.last.push(2000);
        report
    }

    #[test]
    fn window_counts_from_its_mark_and_the_last_span_from_the_last_poll() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.poll(&report(100)).window.sums.packets, 100);
        ledger.mark(&report(150));
        ledger.poll(&report(250));
        let polled = ledger.poll(&report(450));
        assert_eq!(polled.last.sums.packets, 200);
        assert_eq!(polled.window.sums.packets, 300);
        assert_eq!(polled.window.delay_ms.last_packet.count, 2);
        assert!((polled.window.worst_loss - 0.1).abs() < 1e-9);
        let idle = ledger.poll(&report(450));
        assert_eq!((idle.last.active, idle.window.active), (0, 1));
    }
}
