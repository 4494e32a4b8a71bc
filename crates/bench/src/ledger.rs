//! What a run counts, whatever its peers are: each thread tells what its peers have counted so far
//! and what it measured since it last told; a ledger remembers where the counts stood.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::stamps::Samples;

/// What grows, of one peer or of all.
pub trait Sums: Copy + Default {
    /// All that is counted.
    fn counts(&mut self) -> impl Iterator<Item = &mut u64>;

    /// All that is time.
    fn seconds(&mut self) -> &mut f64;

    /// Take up another's.
    fn add(&mut self, mut other: Self) {
        for (mine, theirs) in self.counts().zip(other.counts()) {
            *mine += *theirs;
        }
        *self.seconds() += *other.seconds();
    }

    /// What came since `before`; nothing shrinks, or reads as no change.
    fn since(mut self, mut before: Self) -> Self {
        for (mine, earlier) in self.counts().zip(before.counts()) {
            *mine = mine.saturating_sub(*earlier);
        }
        let seconds = *self.seconds() - *before.seconds();
        *self.seconds() = seconds.max(0.0);
        self
    }
}

/// The peers there were on a thread, or on all.
pub trait Tally: Default {
    /// What each has counted.
    type Sums: Sums;
    /// What threads measure besides.
    type Samples: Samples;

    /// Where each one's counts stand.
    fn sums(&self) -> HashMap<u64, Self::Sums>;

    /// Take up another thread's.
    fn append(&mut self, other: &Self);
}

/// What a thread tells, or all of them.
#[derive(Debug, Clone, Default)]
pub struct Report<T: Tally> {
    /// Every peer there was.
    pub peers: T,
    /// Measured since the last report.
    pub samples: T::Samples,
    /// The latest that a timer fired since the last report: over some tens of milliseconds
    /// the thread gets too little of the machine to be a good judge.
    pub late: Duration,
}

impl<T: Tally> Report<T> {
    /// Take up another thread's.
    pub fn append(&mut self, other: &Self) {
        self.peers.append(&other.peers);
        self.samples.append(&other.samples);
        self.late = self.late.max(other.late);
    }
}

/// What came since a mark.
pub struct Since<'a, T: Tally> {
    /// How long ago the mark is.
    pub seconds: f64,
    /// What each peer counted.
    pub each: Vec<T::Sums>,
    /// What threads measured.
    pub samples: &'a T::Samples,
    /// The latest that a timer fired, in milliseconds.
    pub late_ms: f64,
}

/// Where counts stood, and what was measured since.
struct Mark<T: Tally> {
    at: Instant,
    sums: HashMap<u64, T::Sums>,
    samples: T::Samples,
    late: Duration,
}

impl<T: Tally> Mark<T> {
    fn new(sums: HashMap<u64, T::Sums>) -> Self {
        Self {
            at: Instant::now(),
            sums,
            samples: T::Samples::default(),
            late: Duration::ZERO,
        }
    }

    fn since(&self, sums: &HashMap<u64, T::Sums>) -> Since<'_, T> {
        let before = |id| self.sums.get(id).copied().unwrap_or_default();
        Since {
            seconds: self.at.elapsed().as_secs_f64(),
            each: sums
                .iter()
                .map(|(id, sums)| sums.since(before(id)))
                .collect(),
            samples: &self.samples,
            late_ms: self.late.as_secs_f64() * 1e3,
        }
    }
}

impl<T: Tally> Default for Mark<T> {
    fn default() -> Self {
        Self::new(HashMap::new())
    }
}

/// Remembers marks.
#[derive(Default)]
pub struct Ledger<T: Tally> {
    last: Mark<T>,
    window: Mark<T>,
}

impl<T: Tally> Ledger<T> {
    /// The window begins with this.
    pub fn mark(&mut self, report: &Report<T>) {
        let sums = report.peers.sums();
        self.window = Mark::new(sums.clone());
        self.last = Mark::new(sums);
    }

    /// Spans up to this report: since the last one, and since the window began.
    pub fn poll<S>(&mut self, report: &Report<T>, span: fn(&Since<'_, T>) -> S) -> [S; 2] {
        let sums = report.peers.sums();
        for mark in [&mut self.last, &mut self.window] {
            mark.samples.append(&report.samples);
            mark.late = mark.late.max(report.late);
        }
        let spans = [&self.last, &self.window].map(|mark| span(&mark.since(&sums)));
        self.last = Mark::new(sums);
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, Default)]
    struct Steps(u64, f64);

    impl Sums for Steps {
        fn counts(&mut self) -> impl Iterator<Item = &mut u64> {
            [&mut self.0].into_iter()
        }

        fn seconds(&mut self) -> &mut f64 {
            &mut self.1
        }
    }

    #[derive(Default)]
    struct Walkers(Vec<Steps>);

    impl Tally for Walkers {
        type Sums = Steps;
        type Samples = Vec<u32>;

        fn sums(&self) -> HashMap<u64, Steps> {
            (0..).zip(self.0.iter().copied()).collect()
        }

        fn append(&mut self, other: &Self) {
            self.0.extend(&other.0);
        }
    }

    fn report(steps: u64) -> Report<Walkers> {
        Report {
            peers: Walkers(vec![Steps(steps, 0.0)]),
            samples: vec![7],
            late: Duration::from_millis(steps),
        }
    }

    fn span(since: &Since<'_, Walkers>) -> (u64, usize, u64) {
        let steps = since.each.iter().map(|steps| steps.0).sum();
        (steps, since.samples.len(), since.late_ms as u64)
    }

    #[test]
    fn window_counts_from_its_mark_and_the_last_span_from_the_last_poll() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.poll(&report(100), span)[1], (100, 1, 100));
        ledger.mark(&report(150));
        assert_eq!(ledger.poll(&report(450), span), [(300, 1, 450); 2]);
        assert_eq!(
            ledger.poll(&report(250), span),
            [(0, 1, 250), (100, 2, 450)]
        );
    }

    #[test]
    fn counts_that_shrink_read_as_no_change() {
        let since = Steps(1, 1.0).since(Steps(2, 2.0));
        assert_eq!((since.0, since.1.to_bits()), (0, 0));
    }
}
