//! From counters of players to the figures of a run.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use crate::ledger::{self, Since, Sums as _, Tally};
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

impl ledger::Sums for Sums {
    fn counts(&mut self) -> impl Iterator<Item = &mut u64> {
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
        .into_iter()
    }

    fn seconds(&mut self) -> &mut f64 {
        &mut self.stalled_seconds
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

/// Every player there was; samples are ages of parts in microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Players(pub(super) Vec<(u64, Figures)>);

impl Tally for Players {
    type Sums = Sums;
    type Samples = Vec<u32>;

    fn sums(&self) -> HashMap<u64, Sums> {
        self.0.iter().map(|(id, one)| (*id, one.sums)).collect()
    }

    fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
}

/// What a thread tells.
pub(super) type Report = ledger::Report<Players>;
/// Remembers marks.
pub(super) type Ledger = ledger::Ledger<Players>;

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

impl Span {
    fn of(since: &Since<'_, Players>) -> Self {
        let mut span = Self {
            seconds: since.seconds,
            active: 0,
            sums: Sums::default(),
            part_age_ms: Spread::of_micros(since.samples),
            tool_late_ms: since.late_ms,
        };
        for &sums in &since.each {
            span.active += usize::from(sums.parts > 0);
            span.sums.add(sums);
        }
        span
    }
}

impl Polled {
    /// The figures as of this report.
    pub(super) fn of(report: &Report, ledger: &mut Ledger) -> Self {
        let [last, window] = ledger.poll(report, Span::of);
        let all = || report.peers.0.iter().map(|(_, figures)| figures);
        let mut failures = BTreeMap::new();
        for failure in all().filter_map(|one| one.failure.clone()) {
            *failures.entry(failure).or_default() += 1;
        }
        Self {
            players: all().count(),
            playing: all().filter(|one| one.started.is_some()).count(),
            failures,
            start_ms: StartMs {
                listed: Spread::of(all().filter_map(|one| one.listed)),
                started: Spread::of(all().filter_map(|one| one.started)),
            },
            last,
            window,
        }
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
            peers: Players(vec![(1, figures)]),
            samples: vec![2000],
            late: Duration::ZERO,
        }
    }

    #[test]
    fn spans_have_what_players_counted_in_them() {
        let mut ledger = Ledger::default();
        ledger.mark(&report(150));
        let polled = Polled::of(&report(450), &mut ledger);
        assert_eq!(polled.window.sums.parts, 300);
        assert_eq!(polled.window.sums.missed, 30);
        assert_eq!(polled.window.part_age_ms.count, 1);
        let idle = Polled::of(&report(450), &mut ledger);
        assert_eq!((idle.last.active, idle.window.active), (0, 1));
    }
}
