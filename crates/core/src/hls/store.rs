//! What a rendition keeps: the window, as much again for late players, and the text of the rest.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Settings;
use super::view::{Chunk, Segment};

/// Initialization segments kept: only DVR can need more than a few.
const MAX_INITS: usize = 64;
/// Longer segments are not taken for the peak of the bitrate: a short one may be a keyframe alone.
const PEAK_FROM_US: i64 = 500_000;

/// Sums over all segments.
#[derive(Debug, Default)]
pub(super) struct Totals {
    bytes: u64,
    us: u64,
    frames: u64,
    peak_bps: u64,
}

impl Totals {
    pub(super) fn add(&mut self, bytes: usize, duration_us: i64, frames: u64) {
        let duration = duration_us.max(1).cast_unsigned();
        self.bytes += bytes as u64;
        self.us += duration;
        self.frames += frames;
        let bps = bytes as u64 * 8_000_000 / duration;
        if duration_us >= PEAK_FROM_US || self.peak_bps == 0 {
            self.peak_bps = self.peak_bps.max(bps);
        }
    }

    pub(super) fn peak_bps(&self) -> u64 {
        self.peak_bps.max(self.average_bps())
    }

    pub(super) fn average_bps(&self) -> u64 {
        (u128::from(self.bytes) * 8_000_000 / u128::from(self.us.max(1))) as u64
    }

    pub(super) fn milli_fps(&self) -> u32 {
        usual((u128::from(self.frames) * 1_000_000_000 / u128::from(self.us.max(1))) as u32)
    }
}

/// Frames a second in thousandths as people mean them: whole, or a thousandth less as in NTSC, when what was
/// measured is half a hundredth from it. Players hold variants whose rates differ at all for different.
fn usual(milli_fps: u32) -> u32 {
    const NTSC: [u32; 5] = [23_976, 29_970, 47_952, 59_940, 119_880];
    let whole = (milli_fps + 500) / 1000 * 1000;
    let nearest = NTSC
        .into_iter()
        .chain([whole])
        .min_by_key(|rate| rate.abs_diff(milli_fps));
    match nearest {
        Some(rate) if rate.abs_diff(milli_fps) * 200 <= rate => rate,
        _ => milli_fps,
    }
}

/// Complete segments of a rendition.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// In memory, oldest first.
    pub(super) segments: VecDeque<Arc<Segment>>,
    /// How many of them, counted from the newest, the playlist lists one by one.
    pub(super) listed: usize,
    /// On disk, oldest first.
    pub(super) older: VecDeque<Arc<Chunk>>,
    pub(super) inits: Vec<(u64, Bytes)>,
    pub(super) totals: Totals,
    older_us: i64,
}

impl Store {
    pub(super) fn add_init(&mut self, number: u64, bytes: Bytes) {
        if self.inits.len() >= MAX_INITS {
            self.inits.remove(0);
        }
        self.inits.push((number, bytes));
    }

    /// Keep a segment and let old ones go. Segments before the returned number are no longer in any
    /// playlist's reach, not even on disk.
    pub(super) fn push(
        &mut self,
        segment: Arc<Segment>,
        settings: &Settings,
        target_us: i64,
    ) -> Option<u64> {
        self.segments.push_back(segment);
        self.listed += 1;
        let gone = match settings.dvr_us {
            None => {
                self.listed = self.listed.min(settings.window.max(3));
                None
            }
            Some(dvr_us) => self.move_to_chunks(dvr_us, target_us),
        };
        let keep = self.listed + settings.window.max(3);
        while self.segments.len() > keep {
            self.segments.pop_front();
        }
        self.drop_inits();
        gone
    }

    /// With DVR: what a delta update may skip becomes text.
    fn move_to_chunks(&mut self, dvr_us: i64, target_us: i64) -> Option<u64> {
        let boundary = target_us * i64::from(stagecast_proto::hls::media::SKIP_BOUNDARY);
        loop {
            let first = self.segments.len() - self.listed;
            let after: i64 = self
                .segments
                .iter()
                .skip(first + 1)
                .map(|segment| segment.duration_us)
                .sum();
            if after < boundary {
                break;
            }
            let before = first.checked_sub(1).map(|at| self.segments[at].head.init);
            let segment = &self.segments[first];
            self.older_us += segment.duration_us;
            let mut chunk = match self.older.back() {
                Some(last) if !last.is_full() => {
                    let last = Chunk::clone(last);
                    self.older.pop_back();
                    last
                }
                _ => Chunk::default(),
            };
            chunk.push(segment, before);
            self.older.push_back(Arc::new(chunk));
            self.listed -= 1;
        }
        let mut gone = None;
        while let Some(first) = self.older.front()
            && self.older.len() > 1
            && self.older_us.saturating_sub(first.duration_us) >= dvr_us
        {
            self.older_us -= first.duration_us;
            gone = Some(first.first + u64::from(first.count));
            self.older.pop_front();
        }
        gone
    }

    fn drop_inits(&mut self) {
        if self.older.is_empty()
            && let Some(oldest) = self.segments.front()
        {
            let needed = oldest.head.init;
            self.inits.retain(|(number, _)| *number >= needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::usual;

    #[test]
    fn measured_rates_are_those_that_people_mean() {
        for (measured, meant) in [
            (29_994, 30_000),
            (30_092, 30_000),
            (29_972, 29_970),
            (23_970, 23_976),
            (24_003, 24_000),
            (59_930, 59_940),
            (12_500, 12_500),
            (31_300, 31_300),
            (14_990, 15_000),
            (0, 0),
        ] {
            assert_eq!(usual(measured), meant, "{measured}");
        }
    }
}
