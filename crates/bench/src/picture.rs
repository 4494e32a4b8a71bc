//! Which frames a viewer could have shown, and when: first keyframe, freezes.
//!
//! Nothing is decoded. A frame is shown when its last packet (marker) and all packets
//! before it are there, from a keyframe on. A packet given up stops the picture until
//! the next whole keyframe, as in a browser. A freeze is a gap between shown frames of
//! more than three times the average and 150 ms more (W3C webrtc-stats, `freezeCount`).

use std::collections::VecDeque;

/// Frames whose end is known and that wait for packets.
const MAX_WAITING: usize = 256;
/// The average is over so many frames.
const AVERAGE: f64 = 30.0;

/// Counters that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    /// Frames shown.
    pub frames: u64,
    /// Keyframes shown.
    pub keyframes: u64,
    /// Gaps that a person notices.
    pub freezes: u64,
    /// Their nanoseconds.
    pub frozen_nanos: i64,
    /// Nanoseconds from the first to the last shown frame.
    pub watched_nanos: i64,
}

/// The picture of one video stream.
#[derive(Debug, Default)]
pub struct Picture {
    /// Counters.
    pub shown: Shown,
    /// Ends of frames not yet whole.
    ends: VecDeque<i64>,
    /// First packet of the newest keyframe seen since the picture broke.
    keyframe_start: Option<i64>,
    decodes: bool,
    last: Option<i64>,
    average: f64,
    last_was_keyframe_at: Option<i64>,
}

impl Picture {
    /// Whether a keyframe must be found: only then, packets need to be looked into.
    pub fn is_broken(&self) -> bool {
        !self.decodes
    }

    /// A new packet `seq` ends a frame.
    pub fn on_marker(&mut self, seq: i64) {
        if self.ends.len() == MAX_WAITING {
            self.ends.pop_front();
        }
        let at = self.ends.partition_point(|e| *e < seq);
        self.ends.insert(at, seq);
    }

    /// Packet `seq` starts a keyframe.
    pub fn on_keyframe(&mut self, seq: i64) {
        // The first of several packets that say so is the start.
        match self.keyframe_start {
            Some(start) if self.ends.iter().all(|e| *e < start || *e >= seq) && start <= seq => {}
            _ => self.keyframe_start = Some(seq),
        }
        self.last_was_keyframe_at = Some(seq);
    }

    /// Packets up to `seq` were given up.
    pub fn on_loss(&mut self, seq: i64) {
        self.decodes = false;
        if self.keyframe_start.is_some_and(|start| start <= seq) {
            self.keyframe_start = None;
        }
        while self.ends.front().is_some_and(|end| *end <= seq) {
            self.ends.pop_front();
        }
    }

    /// Everything up to `contiguous` is there, at `at` Unix nanoseconds. True when this
    /// made the picture start, or start again.
    pub fn advance(&mut self, contiguous: i64, at: i64) -> bool {
        let mut started = false;
        while let Some(end) = self.ends.front().copied().filter(|e| *e <= contiguous) {
            self.ends.pop_front();
            let key = self.keyframe_start.is_some_and(|start| start <= end);
            if key {
                self.keyframe_start = None;
                self.shown.keyframes += 1;
                started |= !self.decodes;
                self.decodes = true;
            }
            if self.decodes {
                self.show(at);
            }
        }
        started
    }

    /// A picture that stands still now, as of `at`.
    pub fn frozen_nanos(&self, at: i64) -> i64 {
        let running = self.last.map_or(0, |last| at - last);
        let adds = if self.is_freeze(running) { running } else { 0 };
        self.shown.frozen_nanos + adds
    }

    fn is_freeze(&self, nanos: i64) -> bool {
        let average = self.average;
        self.shown.frames > 5 && nanos as f64 > (average * 3.0).max(average + 150e6)
    }

    fn show(&mut self, at: i64) {
        if let Some(last) = self.last {
            let gap = (at - last).max(0);
            if self.is_freeze(gap) {
                self.shown.freezes += 1;
                self.shown.frozen_nanos += gap;
            }
            let weight = (self.shown.frames as f64).clamp(1.0, AVERAGE);
            self.average += (gap as f64 - self.average) / weight;
            self.shown.watched_nanos += gap;
        }
        self.last = Some(at);
        self.shown.frames += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 33_000_000;

    /// Three packets a frame, the first a keyframe.
    fn play(picture: &mut Picture, frames: std::ops::Range<i64>, keyframe: bool) {
        for n in frames.clone() {
            if keyframe && n == frames.start {
                picture.on_keyframe(n * 3);
                picture.on_keyframe(n * 3 + 1);
            }
            picture.on_marker(n * 3 + 2);
            picture.advance(n * 3 + 2, n * FRAME);
        }
    }

    #[test]
    fn nothing_is_shown_before_a_whole_keyframe() {
        let mut picture = Picture::default();
        play(&mut picture, 0..5, false);
        assert_eq!(picture.shown.frames, 0);
        picture.on_keyframe(15);
        picture.on_marker(17);
        assert!(!picture.advance(16, 0));
        assert!(picture.advance(17, 0));
        assert_eq!((picture.shown.frames, picture.shown.keyframes), (1, 1));
    }

    #[test]
    fn even_frames_do_not_freeze_and_a_gap_does() {
        let mut picture = Picture::default();
        play(&mut picture, 0..60, true);
        assert_eq!((picture.shown.frames, picture.shown.freezes), (60, 0));
        play(&mut picture, 80..90, false);
        assert_eq!(picture.shown.freezes, 1);
        assert_eq!(picture.shown.frozen_nanos, 21 * FRAME);
        assert_eq!(picture.frozen_nanos(200 * FRAME), (21 + 111) * FRAME);
    }

    #[test]
    fn packet_given_up_stops_the_picture_until_the_next_keyframe() {
        let mut picture = Picture::default();
        play(&mut picture, 0..30, true);
        picture.on_loss(91);
        assert!(picture.is_broken());
        play(&mut picture, 31..40, false);
        assert_eq!(picture.shown.frames, 30);
        play(&mut picture, 40..50, true);
        assert_eq!((picture.shown.frames, picture.shown.keyframes), (40, 2));
    }

    #[test]
    fn waiting_frames_are_bounded() {
        let mut picture = Picture::default();
        for n in 0..10_000 {
            picture.on_marker(n);
        }
        assert_eq!(picture.ends.len(), MAX_WAITING);
    }
}
