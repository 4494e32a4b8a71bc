//! What came of a run.

use stagecast_core::bwe::Bitrate;

use super::link::LinkSpec;
use super::run::Scenario;
use super::viewer::Viewer;

/// One second of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    /// Rate of the link in kbit/s.
    pub link: u32,
    /// Estimate in kbit/s at its end.
    pub estimate: u32,
    /// Media that arrived in kbit/s, each byte once.
    pub goodput: u32,
    /// Rate of what was chosen in kbit/s at its end: the layer and audio.
    pub chosen: u32,
    /// 95th percentile of the waiting time in the queue, in milliseconds.
    pub queue_ms: u32,
}

/// A run's measures.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Scenario.
    pub name: &'static str,
    /// What tells the run.
    pub seed: u64,
    /// Each second.
    pub seconds: Vec<Second>,
    /// Queue delay of all packets, sorted, in µs.
    pub waits: Vec<u32>,
    /// Time the picture stood in all, and the longest, in milliseconds.
    pub frozen_ms: (u64, u64),
    /// Changes of what is forwarded: when in milliseconds, and to which layer and temporal layer.
    pub changes: Vec<(u32, Option<(usize, u8)>)>,
    /// Share of the audio packets that arrived.
    pub audio: f64,
    /// Bytes sent in all, for probes, and again.
    pub bytes: (u64, u64, u64),
    /// Rates that could have been chosen in kbit/s, audio included, growing.
    pub rungs: Vec<u32>,
    /// The link.
    pub link: LinkSpec,
    /// A flow that competes, from and to these seconds.
    pub competing: Option<(u32, u32)>,
}

/// Time given to adapt to a step of the link.
pub const SETTLE_S: usize = 5;

impl Outcome {
    /// Delay in milliseconds that this share of packets does not exceed.
    pub fn queue_ms(&self, share: f64) -> f64 {
        if self.waits.is_empty() {
            return 0.0;
        }
        let index = (self.waits.len() - 1) as f64 * share;
        f64::from(self.waits[index as usize]) / 1e3
    }

    /// The best that a link of this rate carries: the highest choice that leaves a tenth free when
    /// what is lost has been sent again.
    pub fn reachable(&self, link_kbps: u32) -> u32 {
        let room = f64::from(link_kbps) * (1.0 - self.link.loss);
        let fits = |rung: &&u32| f64::from(**rung) * 1.1 <= room;
        match self.rungs.as_slice() {
            [] => link_kbps,
            rungs => rungs.iter().rev().find(fits).copied().unwrap_or(0),
        }
    }

    /// When the link changed, the start included, and when that rate ended.
    pub fn phases(&self) -> Vec<(usize, usize)> {
        let mut starts: Vec<usize> = self.link.rate.iter().map(|step| step.0 as usize).collect();
        if let Some((from, to)) = self.competing {
            starts.extend([from as usize, to as usize]);
        }
        starts.sort_unstable();
        starts.dedup();
        starts.retain(|&start| start < self.seconds.len());
        let ends = starts[1..].iter().copied().chain([self.seconds.len()]);
        starts.iter().copied().zip(ends).collect()
    }

    /// For each phase, from five seconds after its start to its end: goodput over what is reachable.
    pub fn shares(&self) -> Vec<f64> {
        let share = |(start, end): (usize, usize)| {
            let settled = self.seconds.get(start + SETTLE_S..end)?;
            let goodput: u32 = settled.iter().map(|second| second.goodput).sum();
            let reachable: u32 = settled.iter().map(|s| self.reachable(s.link)).sum();
            (reachable > 0).then(|| f64::from(goodput) / f64::from(reachable))
        };
        self.phases().into_iter().filter_map(share).collect()
    }

    /// Changes a minute while the link was steady: later than the time to adapt.
    pub fn changes_a_minute(&self) -> f64 {
        let steady = |ms: u32| {
            let second = ms as usize / 1000;
            let within = |&(start, end): &(usize, usize)| (start + SETTLE_S..end).contains(&second);
            self.phases().iter().any(within)
        };
        let seconds: usize = self
            .phases()
            .iter()
            .map(|(start, end)| end.saturating_sub(start + SETTLE_S))
            .sum();
        let count = self.changes.iter().filter(|(ms, _)| steady(*ms)).count();
        count as f64 * 60.0 / seconds.max(1) as f64
    }

    /// Share of the time that the picture stood.
    pub fn frozen(&self) -> f64 {
        self.frozen_ms.0 as f64 / (self.seconds.len() as f64 * 1e3)
    }
}

/// Takes notes during a run.
#[derive(Default)]
pub struct Recorder {
    seconds: Vec<Second>,
    waits: Vec<u32>,
    this_second: Vec<u32>,
    media_bytes: u64,
}

impl Recorder {
    /// A packet waited so many microseconds in the queue.
    pub fn waited(&mut self, us: u64) {
        self.this_second.push(us as u32);
    }

    /// A second is over.
    pub fn second(&mut self, link: u32, estimate: Bitrate, chosen: u32, viewer: &Viewer) {
        self.this_second.sort_unstable();
        let p95 = self.this_second.get(self.this_second.len() * 95 / 100);
        self.seconds.push(Second {
            link,
            estimate: (estimate.as_bps() / 1000) as u32,
            goodput: ((viewer.media_bytes - self.media_bytes) * 8 / 1000) as u32,
            chosen,
            queue_ms: p95.map_or(0, |us| us / 1000),
        });
        self.media_bytes = viewer.media_bytes;
        self.waits.append(&mut self.this_second);
    }

    /// The run is over.
    pub fn finish(
        mut self,
        scenario: &Scenario,
        seed: u64,
        viewer: &Viewer,
        changes: Vec<(u32, Option<(usize, u8)>)>,
        bytes: (u64, u64, u64),
    ) -> Outcome {
        self.waits.sort_unstable();
        Outcome {
            name: scenario.name,
            seed,
            seconds: self.seconds,
            waits: self.waits,
            frozen_ms: (viewer.frozen.0 / 1000, viewer.frozen.1 / 1000),
            changes,
            audio: viewer.audio_packets as f64 / f64::from(scenario.seconds * AUDIO_PACKETS),
            bytes,
            rungs: scenario.rungs(),
            link: scenario.link.clone(),
            competing: scenario.competing,
        }
    }
}

/// Audio packets a second.
const AUDIO_PACKETS: u32 = 50;
