//! One rendition: frames of one layer become parts, parts become segments.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::fmp4::{Fragment, ProducerTime, Sample, Track, init_segment};

use super::rhythm::Rhythm;
use super::store::Store;
use super::view::{Head, Part, Segment};
use super::{Settings, to_ticks, to_us};
use crate::frame::{Config, Frame};

/// A hole in time that is jumped over; players see a shorter one as a longer picture.
const HOLE_US: i64 = 2_000_000;
/// Without a target duration the first segment ends after this time at the latest.
const FIRST_SEGMENT_US: i64 = 10_000_000;
/// The first segment may be this short: it is what the first player waits for.
const FIRST_SEGMENT_MIN_US: i64 = 500_000;
/// By how much a segment may be longer than the target duration, as `EXTINF` is rounded.
const ROUNDING_US: i64 = 450_000;
/// Frames of a part: bounds what a stream of tiny timestamps makes us keep.
const MAX_SAMPLES: usize = 2000;
/// Bytes of an open segment; one that grows beyond is cut, keyframe or not.
const MAX_SEGMENT_BYTES: usize = 64 << 20;
/// Cuts of the leading video that sound has not followed yet.
const MAX_BOUNDARIES: usize = 16;
/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_EPOCH: i64 = 2_208_988_800;

/// What a frame's muxer knows and its rendition needs.
#[derive(Copy, Clone, Debug)]
pub(super) struct Context {
    /// `EXT-X-TARGETDURATION`, once it is chosen.
    pub(super) target: Option<u32>,
    /// Discontinuities so far.
    pub(super) discontinuity: u64,
    /// Added to a time of the common timeline, gives microseconds since 1970.
    pub(super) epoch_us: i64,
    /// Sound is cut where video was.
    pub(super) follows_video: bool,
    /// Of video that is made from the leading one: whether that was cut here.
    pub(super) cut: Option<bool>,
}

/// A frame that waits for its part to be complete; times in units of the timescale.
#[derive(Debug)]
struct Pending {
    data: Arc<[u8]>,
    dts: i64,
    pts: i64,
    duration: i64,
    keyframe: bool,
}

/// An open segment.
#[derive(Debug)]
struct Open {
    start: i64,
    head: Head,
    parts: Vec<Part>,
    bytes: usize,
    frames: u64,
}

#[derive(Debug)]
pub(super) struct Rendition {
    pub(super) name: Arc<str>,
    pub(super) track: Arc<str>,
    pub(super) layer: Arc<str>,
    pub(super) config: Arc<Config>,
    pub(super) store: Store,
    /// Number of the open segment, or of the next one.
    pub(super) number: u64,
    /// Number of the part that is completed next, in whatever segment.
    pub(super) next_part: u64,
    pub(super) part_target_us: Option<i64>,
    /// End of all that came, in microseconds of the common timeline.
    pub(super) reached_us: i64,
    /// Something changed that players should see.
    pub(super) dirty: bool,
    /// The segment that was completed last, for the muxer to take.
    pub(super) completed: Option<Segment>,
    settings: Settings,
    timescale: u32,
    rhythm: Rhythm,
    boundaries: VecDeque<i64>,
    open: Option<Open>,
    samples: Vec<Pending>,
    part_start: i64,
    /// Where the next frame goes if it is in time.
    cursor: i64,
    last_arrival: Option<i64>,
    sequence: u32,
    discontinuity: Option<u64>,
    epoch_us: i64,
    needs_keyframe: bool,
    needs_init: bool,
}

fn timescale(config: &Config) -> u32 {
    match config.codec.kind() {
        Kind::Video => 90_000,
        Kind::Audio if config.sample_rate == 0 => 48_000,
        Kind::Audio => config.sample_rate,
    }
}

/// How long a frame lasts before anything is known.
fn usual(config: &Config, timescale: u32) -> i64 {
    match config.codec {
        Codec::Aac => 1024,
        Codec::Opus => i64::from(timescale / 50),
        _ => i64::from(timescale / 30),
    }
}

/// `PART-TARGET`: the setting, or as many whole frames as come closest to it, if that is more.
fn part_target(settings: &Settings, frame_us: i64) -> i64 {
    let frame_us = frame_us.max(1);
    let frames = ((settings.part_us + frame_us / 2) / frame_us).max(1);
    // Rounded up to milliseconds: no part may be longer.
    let whole = (frames * frame_us + 999) / 1000 * 1000;
    whole.clamp(settings.part_us, settings.part_us * 3 / 2)
}

fn ntp(unix_us: i64) -> u64 {
    let seconds = unix_us.div_euclid(1_000_000) + NTP_EPOCH;
    let fraction = (unix_us.rem_euclid(1_000_000) << 32) / 1_000_000;
    seconds.cast_unsigned() << 32 | fraction.cast_unsigned()
}

impl Rendition {
    pub(super) fn new(
        name: Arc<str>,
        (track, layer): (&str, &str),
        config: &Arc<Config>,
        (number, next_part): (u64, u64),
        settings: Settings,
    ) -> Self {
        let timescale = timescale(config);
        Self {
            name,
            track: track.into(),
            layer: layer.into(),
            config: Arc::clone(config),
            store: Store::default(),
            number,
            next_part,
            part_target_us: None,
            reached_us: 0,
            dirty: false,
            completed: None,
            settings,
            timescale,
            rhythm: Rhythm::new(usual(config, timescale)),
            boundaries: VecDeque::new(),
            open: None,
            samples: Vec::new(),
            part_start: 0,
            cursor: 0,
            last_arrival: None,
            sequence: 0,
            discontinuity: None,
            epoch_us: 0,
            needs_keyframe: true,
            needs_init: true,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.config.codec.kind()
    }

    /// Head and complete parts of the open segment.
    pub(super) fn open(&self) -> Option<(Head, &[Part])> {
        self.open
            .as_ref()
            .map(|open| (open.head, open.parts.as_slice()))
    }

    /// How long the open segment is.
    pub(super) fn open_us(&self) -> i64 {
        let open = self.open.as_ref();
        open.map_or(0, |open| to_us(self.cursor - open.start, self.timescale))
    }

    /// How long from now on no frame that comes in time can complete a part; a keyframe may.
    pub(super) fn rest_us(&self, follows_video: bool) -> i64 {
        let usual = self.rhythm.next();
        let begun = if self.samples.is_empty() {
            0
        } else {
            self.cursor - self.part_start
        };
        // As in `add_sample`; and the newest frame may have come when the next one was about to.
        let part = self.longest_part() - begun - usual * 7 / 4;
        let cut = match self.boundaries.front() {
            Some(at) => to_ticks(at - self.reached_us, self.timescale),
            None if self.kind() == Kind::Video || follows_video => part,
            None => to_ticks(self.settings.segment_us - self.open_us(), self.timescale) - usual / 2,
        };
        to_us(part.min(cut), self.timescale)
    }

    /// Whether a segment is open that came after this discontinuity.
    pub(super) fn is_continuous_since(&self, discontinuity: u64) -> bool {
        self.open.is_some() && self.discontinuity == Some(discontinuity)
    }

    /// The leading video was cut at this time of the common timeline.
    pub(super) fn add_boundary(&mut self, at_us: i64) {
        if self.boundaries.len() >= MAX_BOUNDARIES {
            self.boundaries.pop_front();
        }
        self.boundaries.push_back(at_us);
    }

    /// A rung of a ladder begins where the leading video began a segment, with its number. Whether it
    /// has begun.
    pub(super) fn join(&mut self, segment: Option<u64>) -> bool {
        let empty = self.open.is_none() && self.store.segments.is_empty();
        if let (true, Some(number)) = (empty, segment) {
            self.number = number;
        }
        !empty || segment.is_some()
    }

    /// Frames are missing, or another publisher begins: pictures go on with a keyframe.
    pub(super) fn interrupt(&mut self) {
        self.needs_keyframe = true;
        self.last_arrival = None;
        self.boundaries.clear();
    }

    /// The configuration changed; the muxer counts a discontinuity.
    pub(super) fn reconfigure(&mut self, config: &Arc<Config>) {
        self.close();
        self.config = Arc::clone(config);
        let timescale = timescale(config);
        self.rhythm = Rhythm::new(usual(config, timescale));
        self.cursor = to_ticks(to_us(self.cursor, self.timescale), timescale);
        self.timescale = timescale;
        self.last_arrival = None;
        self.needs_init = true;
        self.needs_keyframe = true;
    }

    /// Take a frame with its times on the common timeline. Whether it begins a segment.
    pub(super) fn push(
        &mut self,
        frame: &Frame,
        (dts_us, pts_us): (i64, i64),
        context: &Context,
    ) -> bool {
        let video = self.kind() == Kind::Video;
        if video && self.needs_keyframe && !frame.keyframe {
            return false;
        }
        self.needs_keyframe = false;
        self.epoch_us = context.epoch_us;
        let at = to_ticks(dts_us, self.timescale);
        if let Some(last) = self.last_arrival.replace(at) {
            self.rhythm.observe(at - last);
        }
        if self.discontinuity != Some(context.discontinuity) && (frame.keyframe || !video) {
            self.close();
        }
        let dts = match (&self.open, video) {
            (None, _) => at,
            (_, true) => self.place_picture(at),
            (_, false) => match self.place_sound(at) {
                Some(dts) => dts,
                None => return false,
            },
        };
        if self.is_cut(frame.keyframe, dts, pts_us, context) {
            // A hole before this frame belongs to no segment.
            self.close();
        }
        let opens = self.open.is_none();
        if opens {
            self.open_segment(frame.keyframe, dts, pts_us, context.discontinuity);
        }
        self.add_sample(frame, dts, pts_us);
        opens
    }

    fn add_sample(&mut self, frame: &Frame, dts: i64, pts_us: i64) {
        let usual = self.rhythm.next();
        if self.samples.is_empty() {
            self.part_start = dts;
        }
        let pts = match self.kind() {
            Kind::Video => to_ticks(pts_us, self.timescale),
            Kind::Audio => dts,
        };
        self.samples.push(Pending {
            data: Arc::clone(&frame.data),
            dts,
            pts,
            duration: usual,
            keyframe: frame.keyframe,
        });
        self.cursor = dts + usual;
        self.reached_us = to_us(self.cursor, self.timescale);
        let longest = self.longest_part();
        let len = self.cursor - self.part_start;
        if len + usual > longest + usual / 4 || self.samples.len() >= MAX_SAMPLES {
            self.end_part(self.cursor.min(self.part_start + longest));
        }
    }

    fn longest_part(&self) -> i64 {
        let us = self.part_target_us.unwrap_or(self.settings.part_us);
        to_ticks(us, self.timescale)
    }

    /// Decoding time of a picture: its own within a part, the end of the part before at the start of
    /// one, so that no part is too long and there is no hole.
    fn place_picture(&mut self, at: i64) -> i64 {
        let longest = self.part_start + self.longest_part();
        if let Some(last) = self.samples.last_mut() {
            let exact = at.max(last.dts + 1);
            if exact <= longest {
                last.duration = exact - last.dts;
                self.cursor = exact;
                return exact;
            }
            let end = longest.max(last.dts + 1);
            self.end_part(end);
        }
        if at > self.cursor + to_ticks(HOLE_US, self.timescale) {
            at
        } else {
            self.cursor
        }
    }

    /// Decoding time of sound: the end of what is there, as samples have no gaps; drift between their
    /// count and the source's timeline is worked off in small steps. `None`: it is there already.
    fn place_sound(&mut self, at: i64) -> Option<i64> {
        let usual = self.rhythm.next();
        let drift = at - self.cursor;
        if drift < -usual {
            return None;
        }
        if drift > usual {
            self.end_part(self.cursor);
            return Some(at);
        }
        if let Some(last) = self.samples.last_mut()
            && drift.abs() > usual / 4
        {
            last.duration += drift.signum() * (usual / 64).max(1);
            self.cursor = last.dts + last.duration;
        }
        Some(self.cursor)
    }

    fn is_cut(&mut self, keyframe: bool, dts: i64, pts_us: i64, context: &Context) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        let elapsed = to_us(dts - open.start, self.timescale);
        let longest = context.target.map_or(FIRST_SEGMENT_US, |seconds| {
            i64::from(seconds) * 1_000_000 + ROUNDING_US
        });
        let usual = to_us(self.rhythm.next(), self.timescale);
        if elapsed > 0 && (elapsed + usual > longest || open.bytes > MAX_SEGMENT_BYTES) {
            return true;
        }
        match self.kind() {
            Kind::Video if context.cut.is_some() => {
                keyframe && elapsed > 0 && context.cut == Some(true)
            }
            Kind::Video => {
                let shortest = match context.target {
                    None => FIRST_SEGMENT_MIN_US,
                    Some(_) => self.settings.segment_us * 3 / 4,
                };
                keyframe && elapsed >= shortest
            }
            Kind::Audio if context.follows_video => {
                let mut passed = false;
                while self.boundaries.front().is_some_and(|&at| pts_us >= at) {
                    self.boundaries.pop_front();
                    passed = true;
                }
                passed && elapsed > 0
            }
            Kind::Audio => elapsed + usual / 2 >= self.settings.segment_us,
        }
    }

    fn open_segment(&mut self, keyframe: bool, dts: i64, pts_us: i64, discontinuity: u64) {
        if self.needs_init {
            self.needs_init = false;
            let bytes = init_segment(&Track {
                codec: self.config.codec,
                record: &self.config.record,
                timescale: self.timescale,
                resolution: self.config.resolution,
                sample_rate: self.config.sample_rate,
                channels: self.config.channels,
            });
            self.store.add_init(self.number, bytes.into());
        }
        let init = self.store.inits.last().map_or(0, |(number, _)| *number);
        let before = self.discontinuity.replace(discontinuity);
        self.open = Some(Open {
            start: dts,
            head: Head {
                independent: keyframe,
                jumps: discontinuity - before.unwrap_or(discontinuity),
                discontinuity,
                init,
                captured_us: pts_us + self.epoch_us,
            },
            parts: Vec::new(),
            bytes: 0,
            frames: 0,
        });
    }

    /// Complete the open part; its last frame lasts until `end`.
    fn end_part(&mut self, end: i64) {
        let (Some(last), Some(open)) = (self.samples.last_mut(), &mut self.open) else {
            return;
        };
        last.duration = (end - last.dts).max(1);
        let end = last.dts + last.duration;
        let samples: Vec<_> = self
            .samples
            .iter()
            .map(|sample| Sample {
                data: &sample.data,
                duration: sample.duration as u32,
                offset: (sample.pts - sample.dts) as i32,
                keyframe: sample.keyframe,
            })
            .collect();
        let first = &self.samples[0];
        let captured_us = to_us(first.pts, self.timescale) + self.epoch_us;
        self.sequence = self.sequence.wrapping_add(1);
        let fragment = Fragment {
            sequence: self.sequence,
            timescale: self.timescale,
            decode_time: self.part_start.max(0).cast_unsigned(),
            produced: Some(ProducerTime {
                ntp: ntp(captured_us),
            }),
            events: &[],
            samples: &samples,
        };
        let bytes = Bytes::from(fragment.to_bytes());
        open.bytes += bytes.len();
        open.frames += samples.len() as u64;
        open.parts.push(Part {
            number: self.next_part,
            bytes,
            duration_us: to_us(end - self.part_start, self.timescale),
            independent: first.keyframe,
        });
        self.next_part += 1;
        if self.part_target_us.is_none() {
            let frame_us = to_us(self.rhythm.next(), self.timescale);
            self.part_target_us = Some(part_target(&self.settings, frame_us));
        }
        self.samples.clear();
        self.cursor = end;
        self.part_start = end;
        self.dirty = true;
    }

    /// The frames that wait become a part: no more will come for now.
    pub(super) fn flush(&mut self) {
        self.end_part(self.cursor);
    }

    /// Complete the open segment where its frames end.
    pub(super) fn close(&mut self) {
        self.flush();
        self.close_at(self.cursor);
    }

    /// Complete the open segment at the time at which the next one begins.
    fn close_at(&mut self, end: i64) {
        self.end_part(end);
        let Some(open) = self.open.take() else {
            return;
        };
        let mut bytes = BytesMut::with_capacity(open.bytes);
        for part in &open.parts {
            bytes.extend_from_slice(&part.bytes);
        }
        let bytes = bytes.freeze();
        let mut at = 0;
        let parts = open.parts.into_iter().map(|part| {
            let from = at;
            at += part.bytes.len();
            Part {
                bytes: bytes.slice(from..at),
                ..part
            }
        });
        let parts: Vec<_> = parts.collect();
        let duration_us = to_us(end - open.start, self.timescale);
        self.store.totals.add(bytes.len(), duration_us, open.frames);
        self.completed = Some(Segment {
            number: self.number,
            bytes,
            parts,
            head: open.head,
            duration_us,
        });
        self.number += 1;
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_target_is_whole_frames_and_not_less_than_the_setting() {
        let settings = Settings::default();
        for (frame_us, target) in [
            (33_333, 200_000),
            (41_667, 209_000),
            (40_000, 200_000),
            (16_667, 201_000),
            (21_333, 200_000),
            (500_000, 300_000),
        ] {
            assert_eq!(part_target(&settings, frame_us), target, "{frame_us}");
        }
    }

    #[test]
    fn ntp_counts_from_1900() {
        assert_eq!(ntp(0), 2_208_988_800 << 32);
        assert_eq!(ntp(500_000), 2_208_988_800 << 32 | 0x8000_0000);
    }
}
