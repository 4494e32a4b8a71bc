//! From counters of players to the figures of a run.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::stamps::Spread;

/// What grows, of one player or of all.
#[derive(Debug, Clone, Copy, Default, Serialize, PartialEq)]
pub struct Sums {
    /// Answers to requests, of all kinds.
    pub requests: u64,
    /// Media playlists among them.
    pub playlists: u64,
    /// Parts among them.
    pub parts: u64,
    /// Of those, asked for before they were there.
    pub hinted: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Parts that the player never had: refused, or gone from the playlist when it came.
    pub missed: u64,
    /// Parts that were hinted at and did not come to be.
    pub wrong_hints: u64,
    /// Requests that failed: refused, cut off, or not answered in time.
    pub errors: u64,
    /// Times that a player had played all it had.
    pub stalls: u64,
    /// Seconds that players stood still.
    pub stalled_seconds: f64,
}

impl Sums {
    fn fields(&mut self) -> [&mut u64; 9] {
        [
            &mut self.requests,
            &mut self.playlists,
            &mut self.parts,
            &mut self.hinted,
            &mut self.bytes,
            &mut self.missed,
            &mut self.wrong_hints,
            &mut self.errors,
            &mut self.stalls,
        ]
    }

    fn add(&mut self, mut other: Self) {
        for (mine, theirs) in self.fields().into_iter().zip(other.fields()) {
            *mine += *theirs;
        }
        self.stalled_seconds += other.stalled_seconds;
    }

    fn since(mut self, mut before: Self) -> Self {
        for (mine, earlier) in self.fields().into_iter().zip(before.fields()) {
            *mine = mine.saturating_sub(*earlier);
        }
        self.stalled_seconds -= before.stalled_seconds;
        self
    }
}

/// One player.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) sums: Sums,
    /// Both playlists were there, counted from the join.
    pub(super) listed: Option<Duration>,
    /// There was enough to play.
    pub(super) started: Option<Duration>,
    /// Why it failed the first time.
    pub(super) failure: Option<String>,
}

/// What a thread tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub(super) players: Vec<(u64, Figures)>,
    /// Ages of parts since the last report, in microseconds.
    pub(super) ages: Vec<u32>,
    /// The latest that the thread's timer fired since the last report.
    pub(super) late: Duration,
}

/// A span of the run.
#[derive(Debug, Clone, Serialize)]
pub struct Span {
    /// How long it was.
    pub seconds: f64,
    /// Players that received something in it.
    pub active: usize,
    /// Sums over players.
    #[serde(flatten)]
    pub sums: Sums,
    /// From the departure of a part's last picture at the publisher to the whole part at a player.
    pub part_age_ms: Spread,
    /// The latest that this tool's timer fired: how much the machine kept it waiting.
    pub tool_late_ms: f64,
}

/// Milliseconds from the join.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StartMs {
    /// All media playlists were there.
    pub listed: Spread,
    /// There was enough to play.
    pub started: Spread,
}

/// Everything that is known.
#[derive(Debug, Clone, Serialize)]
pub struct Polled {
    /// Players that joined.
    pub players: usize,
    /// Of those, with enough to play.
    pub playing: usize,
    /// First failures of players, by their words.
    pub failures: BTreeMap<String, usize>,
    /// Steps of starting.
    pub start_ms: StartMs,
    /// Since the last poll.
    pub last: Span,
    /// Since the mark; the whole run before one.
    pub window: Span,
}

#[derive(Debug)]
struct Mark {
    at: Instant,
    sums: HashMap<u64, Sums>,
    ages: Vec<u32>,
    late: Duration,
}

impl Mark {
    fn new(report: Option<&Report>) -> Self {
        let players = report.map_or(&[][..], |report| &report.players);
        Self {
            at: Instant::now(),
            sums: players.iter().map(|(id, one)| (*id, one.sums)).collect(),
            ages: Vec::new(),
            late: Duration::ZERO,
        }
    }

    fn take(&mut self, report: &Report) {
        self.ages.extend_from_slice(&report.ages);
        self.late = self.late.max(report.late);
    }

    fn span(&self, report: &Report) -> Span {
        let mut span = Span {
            seconds: self.at.elapsed().as_secs_f64(),
            active: 0,
            sums: Sums::default(),
            part_age_ms: Spread::of_micros(&self.ages),
            tool_late_ms: self.late.as_secs_f64() * 1e3,
        };
        for (id, figures) in &report.players {
            let before = self.sums.get(id).copied().unwrap_or_default();
            let since = figures.sums.since(before);
            span.active += usize::from(since.parts > 0);
            span.sums.add(since);
        }
        span
    }
}

/// Remembers marks.
#[derive(Debug)]
pub(super) struct Ledger {
    last: Mark,
    window: Mark,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            last: Mark::new(None),
            window: Mark::new(None),
        }
    }
}

impl Ledger {
    /// The window begins with this.
    pub(super) fn mark(&mut self, report: &Report) {
        self.window = Mark::new(Some(report));
        self.last = Mark::new(Some(report));
    }

    /// The figures as of this.
    pub(super) fn poll(&mut self, report: &Report) -> Polled {
        self.last.take(report);
        self.window.take(report);
        let spread = |get: fn(&Figures) -> Option<Duration>| {
            let took = report.players.iter().filter_map(|(_, one)| get(one));
            let micros: Vec<u32> = took.map(|took| took.as_micros() as u32).collect();
            Spread::of_micros(&micros)
        };
        let mut failures = BTreeMap::new();
        for failure in report
            .players
            .iter()
            .filter_map(|(_, one)| one.failure.as_ref())
        {
            *failures.entry(failure.clone()).or_default() += 1;
        }
        let started = |one: &&(u64, Figures)| one.1.started.is_some();
        let polled = Polled {
            players: report.players.len(),
            playing: report.players.iter().filter(started).count(),
            failures,
            start_ms: StartMs {
                listed: spread(|one| one.listed),
                started: spread(|one| one.started),
            },
            last: self.last.span(report),
            window: self.window.span(report),
        };
        self.last = Mark::new(Some(report));
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(parts: u64) -> Report {
        let mut figures = Figures::default();
        figures.sums.parts = parts;
        figures.sums.missed = parts / 10;
        Report {
            players: vec![(1, figures)],
            ages: vec![2000],
            late: Duration::ZERO,
        }
    }

    #[test]
    fn window_counts_from_its_mark_and_the_last_span_from_the_last_poll() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.poll(&report(100)).window.sums.parts, 100);
        ledger.mark(&report(150));
        ledger.poll(&report(250));
        let polled = ledger.poll(&report(450));
        assert_eq!(
            (polled.last.sums.parts, polled.window.sums.parts),
            (200, 300)
        );
        assert_eq!(polled.window.sums.missed, 30);
        assert_eq!(polled.window.part_age_ms.count, 2);
        let idle = ledger.poll(&report(450));
        assert_eq!((idle.last.active, idle.window.active), (0, 1));
    }
}
