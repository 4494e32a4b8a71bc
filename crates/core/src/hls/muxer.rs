//! All renditions of one source, on one timeline.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::hls::codecs::codec_string;
use stagecast_proto::hls::multivariant::{self, Media};

use super::Settings;
use super::rendition::{Context, Rendition};
use super::view::{Head, Report, Segment, View};
use crate::frame::Frame;

/// Renditions of a source.
const MAX_RENDITIONS: usize = 24;
/// The timeline begins here, so that a track that is a little ahead of the first frame has room.
const ORIGIN_US: i64 = 10_000_000;
/// A step in a source's timestamps that is another timeline.
const STEP_US: i64 = 10_000_000;
/// Capture times that have moved this far from the timeline move it.
const DRIFT_US: i64 = 100_000;
/// A keyframe that comes by itself is not asked for.
const LATE_US: i64 = 60_000;
/// A rendition that is this far behind the others is not offered.
const STALE_US: i64 = 6_000_000;
/// A rendition that is less behind the others than this still gets frames.
const GOING_US: i64 = 1_000_000;
/// Media that goes by without what transcoders were to make, before players are shown the rest.
const PROMISED_US: i64 = 6_000_000;
/// Sound that begins so little before a cut is not cut there.
const SHORT_US: i64 = 500_000;
/// Cuts of the leading video that rungs of a ladder have not come to yet.
const MAX_CUTS: usize = 32;
/// How exact a rung's keyframe is at the time of the original's.
const SAME_US: i64 = 1_000;
/// 2025-01-01 in milliseconds since 1970, where media sequence and part numbers are counted from.
const SEQUENCE_EPOCH_MS: i64 = 1_735_689_600_000;
/// Bits of it at which discontinuity sequence numbers start: an hour's seconds.
const DISCONTINUITY_BITS: u64 = 0xfff;

/// Two clocks read at once: the engine's, and the calendar's in microseconds since 1970.
#[derive(Copy, Clone, Debug)]
pub struct Wall {
    /// The engine's clock.
    pub instant: Instant,
    /// The calendar.
    pub unix_us: i64,
}

impl Wall {
    fn unix_us(&self, at: Instant) -> i64 {
        let micros = |duration: Duration| duration.as_micros() as i64;
        match at.checked_duration_since(self.instant) {
            Some(later) => self.unix_us + micros(later),
            None => self.unix_us - micros(self.instant - at),
        }
    }
}

/// What the caller has to do.
#[derive(Debug)]
pub enum Change {
    /// Players may see this of a rendition.
    View {
        /// Its name.
        name: Arc<str>,
        /// What they see.
        view: View,
    },
    /// With DVR: a segment is complete and has to go to disk.
    Keep {
        /// Whose.
        name: Arc<str>,
        /// The segment.
        segment: Arc<Segment>,
    },
    /// With DVR: segments before this number are out of reach.
    Forget {
        /// Whose.
        name: Arc<str>,
        /// The number.
        before: u64,
    },
}

/// How times of the current publisher map to the common timeline.
#[derive(Debug)]
struct Timeline {
    /// Added to a source's time gives the common one.
    offset_us: i64,
    /// Added to the common time gives microseconds since 1970.
    epoch_us: i64,
}

/// The rungs of a ladder: video layers that are made from the leading one.
#[derive(Debug, Default)]
struct Ladder {
    /// It is on its way; players are shown nothing before it is there, up to this time.
    awaited: bool,
    /// Tracks and layers.
    rungs: Vec<(Arc<str>, Arc<str>)>,
    /// Times and numbers of the segments of the leading video.
    cuts: VecDeque<(i64, u64)>,
}

impl Ladder {
    fn has(&self, track: &str, layer: &str) -> bool {
        self.rungs
            .iter()
            .any(|(t, l)| **t == *track && **l == *layer)
    }

    /// The number of the leading video's segment that begins at this time.
    fn segment_at(&self, at_us: i64) -> Option<u64> {
        let mut cuts = self.cuts.iter().rev();
        cuts.find_map(|&(cut, number)| ((at_us - cut).abs() <= SAME_US).then_some(number))
    }

    fn add_cut(&mut self, at_us: i64, number: u64) {
        if self.cuts.len() >= MAX_CUTS {
            self.cuts.pop_front();
        }
        self.cuts.push_back((at_us, number));
    }
}

/// The segmenter of a source.
#[derive(Debug)]
pub struct Muxer {
    settings: Settings,
    wall: Wall,
    /// Numbers of the first segment and the first part.
    first: (u64, u64),
    renditions: Vec<Rendition>,
    ladder: Ladder,
    /// Where media began.
    began_us: Option<i64>,
    timeline: Option<Timeline>,
    discontinuity: u64,
    target: Option<u32>,
    ended: bool,
    changes: Vec<Change>,
}

impl Muxer {
    /// A muxer that has seen nothing.
    pub fn new(settings: Settings, wall: Wall) -> Self {
        let ms = wall.unix_us / 1000 - SEQUENCE_EPOCH_MS;
        let [segment, part] = [ms / 1000, ms].map(|first| first.max(1).cast_unsigned());
        Self {
            settings,
            wall,
            first: (segment, part),
            renditions: Vec::new(),
            ladder: Ladder::default(),
            began_us: None,
            timeline: None,
            discontinuity: segment & DISCONTINUITY_BITS,
            target: None,
            ended: false,
            changes: Vec::new(),
        }
    }

    /// Smaller pictures are on their way: players are not told of the rest before they are there, as
    /// players look at what there is once. They wait for some seconds at most.
    pub fn expect_ladder(&mut self) {
        self.ladder.awaited = true;
    }

    /// Which layers of a track are made from the leading video; they begin and are cut where it is.
    pub fn expect_rungs(&mut self, track: &Arc<str>, layers: &[Arc<str>]) {
        if layers.is_empty() {
            self.ladder.awaited = false;
        }
        for layer in layers {
            if !self.ladder.has(track, layer) && self.ladder.rungs.len() < MAX_RENDITIONS {
                self.ladder
                    .rungs
                    .push((Arc::clone(track), Arc::clone(layer)));
            }
        }
    }

    /// A publisher begins, on a timeline of its own.
    pub fn begin(&mut self) {
        if self.timeline.take().is_some() {
            self.discontinuity += 1;
        }
        for rendition in &mut self.renditions {
            rendition.flush();
            rendition.interrupt();
        }
    }

    /// Frames were lost.
    pub fn lost(&mut self) {
        for rendition in &mut self.renditions {
            rendition.flush();
            rendition.interrupt();
        }
    }

    /// The publisher is gone: what it sent can be played to its last frame.
    pub fn pause(&mut self) {
        self.renditions.iter_mut().for_each(Rendition::flush);
    }

    /// Nothing will follow.
    pub fn end(&mut self) {
        self.ended = true;
        for index in 0..self.renditions.len() {
            self.renditions[index].close();
            self.renditions[index].dirty = true;
            self.take_completed(index);
        }
    }

    /// Take a frame.
    pub fn push(&mut self, track: &str, layer: &str, frame: &Frame) {
        if self.ended {
            return;
        }
        let Some(index) = self.find_or_add(track, layer, frame) else {
            return;
        };
        self.check_timeline(index, frame);
        let rendition = &mut self.renditions[index];
        let same = Arc::ptr_eq(&rendition.config, &frame.config);
        if !same && rendition.config != frame.config {
            if rendition.kind() != frame.kind() {
                return;
            }
            // Without a segment since the last one there is nothing that could be discontinued.
            let continues = rendition.is_continuous_since(self.discontinuity);
            self.discontinuity += u64::from(continues);
            rendition.reconfigure(&frame.config);
            self.take_completed(index);
        }
        let Some(timeline) = &self.timeline else {
            return;
        };
        let dts_us = frame.dts_us + timeline.offset_us;
        let pts_us = frame.pts_us + timeline.offset_us;
        self.began_us.get_or_insert(pts_us);
        let leads = self.lead() == Some(index);
        let follows = !leads && self.ladder.has(track, layer);
        let segment = self.ladder.segment_at(pts_us);
        let mut context = self.context();
        context.cut = follows.then_some(segment.is_some());
        if follows && !self.renditions[index].join(segment) {
            return;
        }
        let begins = self.renditions[index].push(frame, (dts_us, pts_us), &context);
        self.take_completed(index);
        if begins && leads {
            self.ladder.add_cut(pts_us, self.renditions[index].number);
            for rendition in &mut self.renditions {
                if rendition.kind() == Kind::Audio {
                    rendition.add_boundary(pts_us);
                }
            }
        }
    }

    /// What happened since the last call.
    pub fn changes(&mut self) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.changes);
        for index in 0..self.renditions.len() {
            if std::mem::take(&mut self.renditions[index].dirty)
                && let Some(view) = self.view(index)
            {
                let name = Arc::clone(&self.renditions[index].name);
                changes.push(Change::View { name, view });
            }
        }
        changes
    }

    /// What a multivariant playlist lists; `None` while there is too little to play.
    pub fn listing(&self) -> Option<Vec<multivariant::Rendition>> {
        let reached = self.reached_us();
        let current =
            |rendition: &&Rendition| self.ended || rendition.reached_us + STALE_US > reached;
        let offered: Vec<_> = self.renditions.iter().filter(current).collect();
        let ready = |rendition: &&&Rendition| !rendition.store.segments.is_empty();
        let videos = offered
            .iter()
            .filter(|rendition| rendition.kind() == Kind::Video);
        let audios = offered
            .iter()
            .filter(|rendition| rendition.kind() == Kind::Audio);
        if self.is_early() && (self.ladder_is_awaited() || self.aac_is_awaited()) {
            return None;
        }
        let has_video = videos.clone().next().is_some();
        // Layers of simulcast begin together, more or less.
        let together = !self.is_early() || videos.clone().all(|video| ready(&video));
        if (has_video && !videos.clone().any(|video| ready(&video)))
            || !together
            || !audios.clone().all(|audio| ready(&audio))
            || offered.is_empty()
        {
            return None;
        }
        // AAC first: it is what every player has.
        let mut listed: Vec<_> = offered.into_iter().filter(|r| ready(&r)).collect();
        listed.sort_by_key(|rendition| rendition.config.codec != Codec::Aac);
        let mut described: Vec<_> = listed.into_iter().filter_map(describe).collect();
        share_rates(&mut described);
        Some(described)
    }

    /// Whether what transcoders make may still come.
    fn is_early(&self) -> bool {
        let began = self.began_us.unwrap_or_default();
        !self.ended && self.reached_us() - began < PROMISED_US
    }

    /// Whether there is sound that not every player knows, and nothing else yet.
    fn aac_is_awaited(&self) -> bool {
        let mut codecs = self.renditions.iter().map(|r| r.config.codec);
        let is_aac = |codec| codec == Codec::Aac;
        self.settings.aac_follows
            && codecs.clone().any(|codec| codec.kind() == Kind::Audio)
            && !codecs.any(is_aac)
    }

    /// Whether players are to wait for smaller pictures.
    fn ladder_is_awaited(&self) -> bool {
        let there = |(track, layer): &(Arc<str>, Arc<str>)| {
            let mut renditions = self.renditions.iter();
            renditions
                .any(|r| r.track == *track && r.layer == *layer && !r.store.segments.is_empty())
        };
        let rungs = &self.ladder.rungs;
        self.ladder.awaited && (rungs.is_empty() || !rungs.iter().all(there))
    }

    /// Whether a video rendition waits for a keyframe to end its segment at.
    pub fn wants_keyframe(&self) -> bool {
        let mut renditions = self.renditions.iter();
        renditions.any(|rendition| {
            rendition.kind() == Kind::Video
                && rendition.open_us() >= self.settings.segment_us + LATE_US
        })
    }

    /// How long frames may gather from now on: none of those that come in time completes a part before,
    /// but for keyframes, which end segments.
    pub fn rest(&self) -> Duration {
        let reached = self.reached_us();
        let follows = self.lead().is_some();
        let going = |r: &&Rendition| r.reached_us + GOING_US > reached;
        let going = self.renditions.iter().filter(going);
        let rest = going.map(|rendition| rendition.rest_us(follows)).min();
        Duration::from_micros(rest.unwrap_or(0).max(0).cast_unsigned())
    }

    /// Whether a rendition is so far behind the others that a player should take another one.
    pub fn is_stale(&self, name: &str) -> bool {
        let reached = self.reached_us();
        let found = self.renditions.iter().find(|r| &*r.name == name);
        !self.ended && found.is_none_or(|rendition| rendition.reached_us + STALE_US <= reached)
    }

    fn reached_us(&self) -> i64 {
        let reached = self.renditions.iter().map(|rendition| rendition.reached_us);
        reached.max().unwrap_or(0)
    }

    /// The video whose cuts sound follows: the first one that is not behind.
    fn lead(&self) -> Option<usize> {
        let reached = self.reached_us();
        self.renditions.iter().position(|rendition| {
            rendition.kind() == Kind::Video && rendition.reached_us + STALE_US > reached
        })
    }

    fn context(&self) -> Context {
        Context {
            target: self.target,
            discontinuity: self.discontinuity,
            epoch_us: self
                .timeline
                .as_ref()
                .map_or(0, |timeline| timeline.epoch_us),
            follows_video: self.lead().is_some(),
            cut: None,
        }
    }

    fn find_or_add(&mut self, track: &str, layer: &str, frame: &Frame) -> Option<usize> {
        let found = self
            .renditions
            .iter()
            .position(|r| &*r.track == track && &*r.layer == layer);
        if found.is_some() || self.renditions.len() >= MAX_RENDITIONS {
            return found;
        }
        // A picture cannot begin between keyframes, and what has no name cannot be offered.
        let config = &frame.config;
        codec_string(config.codec, &config.record)?;
        if frame.kind() == Kind::Video && !frame.keyframe {
            return None;
        }
        let name = self.name(track, layer);
        // Numbers like those of the others, as far as they are at the same time.
        let number = self
            .lead()
            .map_or(self.first.0, |lead| self.renditions[lead].number);
        let first = (number.max(self.first.0), self.first.1);
        let mut rendition = Rendition::new(name, (track, layer), config, first, self.settings);
        if frame.kind() == Kind::Audio {
            // What a transcoder makes begins in the past, behind which video was cut already.
            let began = self.timeline.as_ref().map(|t| t.offset_us + frame.pts_us);
            let cuts = self.ladder.cuts.iter().map(|&(cut, _)| cut);
            for cut in cuts.filter(|&cut| began.is_some_and(|began| cut > began + SHORT_US)) {
                rendition.add_boundary(cut);
            }
        }
        self.renditions.push(rendition);
        Some(self.renditions.len() - 1)
    }

    /// A folder name for a track and layer: what is not fit for an address is replaced.
    fn name(&self, track: &str, layer: &str) -> Arc<str> {
        let full = if layer.is_empty() {
            track.to_owned()
        } else {
            format!("{track}-{layer}")
        };
        let mut name: String = full
            .chars()
            .take(40)
            .map(|char| {
                let fit = char.is_ascii_alphanumeric() || char == '-';
                if fit { char } else { '_' }
            })
            .collect();
        let taken = |name: &str| self.renditions.iter().any(|r| &*r.name == name);
        if taken(&name) || name.is_empty() || name == "manifest" {
            name = format!("{name}.{}", self.renditions.len());
        }
        name.into()
    }

    /// Place the publisher's timeline on the common one, at its first frame or when it steps.
    fn check_timeline(&mut self, index: usize, frame: &Frame) {
        if let Some(timeline) = &self.timeline {
            let reached = self.renditions[index].reached_us;
            let at = frame.dts_us + timeline.offset_us;
            if at < 0
                || (reached > 0
                    && (at - reached).abs() > STEP_US
                    && self.renditions[index].open().is_some())
            {
                self.begin();
            }
        }
        let captured = self.wall.unix_us(frame.capture);
        let start = self.reached_us().max(ORIGIN_US);
        let tells = frame.kind() == Kind::Video || self.lead().is_none();
        let timeline = self.timeline.get_or_insert_with(|| Timeline {
            offset_us: start - frame.dts_us,
            epoch_us: captured - (frame.pts_us + start - frame.dts_us),
        });
        if frame.keyframe && tells {
            let drift = captured - (frame.pts_us + timeline.offset_us) - timeline.epoch_us;
            if drift.abs() > DRIFT_US {
                timeline.epoch_us += drift;
            }
        }
    }

    fn take_completed(&mut self, index: usize) {
        let Some(segment) = self.renditions[index].completed.take() else {
            return;
        };
        if self.target.is_none() {
            // A first segment that is longer than wanted tells how far keyframes are apart.
            let wanted = (self.settings.segment_us + 999_999) / 1_000_000;
            let seen = (segment.duration_us - 100_000 + 999_999) / 1_000_000;
            self.target = Some(wanted.max(seen).clamp(1, 60) as u32);
        }
        let target_us = i64::from(self.target.unwrap_or(1)) * 1_000_000;
        let rendition = &mut self.renditions[index];
        let segment = Arc::new(segment);
        let name = Arc::clone(&rendition.name);
        if self.settings.dvr_us.is_some() {
            self.changes.push(Change::Keep {
                name: Arc::clone(&name),
                segment: Arc::clone(&segment),
            });
        }
        let gone = rendition.store.push(segment, &self.settings, target_us);
        if let Some(before) = gone {
            self.changes.push(Change::Forget { name, before });
        }
    }

    fn view(&self, index: usize) -> Option<View> {
        let rendition = &self.renditions[index];
        let (head, parts) = rendition.open().unwrap_or((
            Head {
                independent: true,
                discontinuity: self.discontinuity,
                ..Head::default()
            },
            &[],
        ));
        let reports = self.renditions.iter().enumerate();
        let reports = reports.filter(|(other, _)| *other != index);
        Some(View {
            open: rendition.number,
            next_part: rendition.next_part,
            ended: self.ended,
            target_duration: self.target?,
            part_target_us: rendition.part_target_us?,
            event: self.settings.dvr_us == Some(i64::MAX),
            older: rendition.store.older.iter().cloned().collect(),
            segments: rendition.store.segments.iter().cloned().collect(),
            listed: rendition.store.listed,
            head,
            parts: parts.to_vec(),
            inits: rendition.store.inits.clone(),
            reports: reports.filter_map(|(_, other)| report(other)).collect(),
        })
    }
}

fn report(rendition: &Rendition) -> Option<Report> {
    let last = rendition.store.segments.back()?;
    let open = rendition.open().map_or(0, |(_, parts)| parts.len());
    let (segment, parts) = if open > 0 {
        (rendition.number, open)
    } else {
        (last.number, last.parts.len())
    };
    Some(Report {
        name: Arc::clone(&rendition.name),
        segment,
        part: parts.checked_sub(1).map(|part| part as u32),
    })
}

/// Layers of one picture have the rate that was measured of the first: players switch down only to what has
/// no more frames a second, and a few thousandths are more.
fn share_rates(renditions: &mut [multivariant::Rendition]) {
    let mut first = None;
    for rendition in renditions {
        let Media::Video { milli_fps, .. } = &mut rendition.media else {
            continue;
        };
        let shared = *first.get_or_insert(*milli_fps);
        if milli_fps.abs_diff(shared) * 20 <= shared {
            *milli_fps = shared;
        }
    }
}

fn describe(rendition: &Rendition) -> Option<multivariant::Rendition> {
    let config = &rendition.config;
    let totals = &rendition.store.totals;
    Some(multivariant::Rendition {
        name: rendition.name.to_string(),
        codec: codec_string(config.codec, &config.record)?,
        peak_bps: totals.peak_bps(),
        average_bps: totals.average_bps(),
        media: match rendition.kind() {
            Kind::Video => Media::Video {
                resolution: config.resolution,
                milli_fps: totals.milli_fps(),
            },
            Kind::Audio => Media::Audio {
                channels: config.channels,
            },
        },
    })
}
