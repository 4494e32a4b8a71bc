//! What players see of a rendition at one moment.

use std::sync::Arc;

use bytes::Bytes;
use stagecast_proto::hls::media::{self, Header, Writer};

/// Segments of one piece of DVR text.
const CHUNK: u32 = 64;
/// How many target durations from the end parts are listed (RFC 8216bis §4.4.4.9).
const PARTS_LISTED: i64 = 3;

/// A part with its bytes.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its number: parts are counted through all segments.
    pub number: u64,
    /// `moof` and `mdat`.
    pub bytes: Bytes,
    /// Its duration in microseconds.
    pub duration_us: i64,
    /// It starts with a keyframe.
    pub independent: bool,
}

/// A complete segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Media sequence number.
    pub number: u64,
    /// All parts, one after the other.
    pub bytes: Bytes,
    /// Its parts; their bytes are slices of `bytes`.
    pub parts: Vec<Part>,
    /// Its head.
    pub head: Head,
    /// Its duration in microseconds.
    pub duration_us: i64,
}

/// What is known of a segment when it begins.
#[derive(Copy, Clone, Debug, Default)]
pub struct Head {
    /// It starts with a keyframe.
    pub independent: bool,
    /// Discontinuities just before it.
    pub jumps: u64,
    /// Discontinuity sequence number.
    pub discontinuity: u64,
    /// Number of its initialization segment.
    pub init: u64,
    /// Capture time of its first frame, in microseconds since 1970.
    pub captured_us: i64,
}

/// Playlist lines of segments that are on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) duration_us: i64,
    /// Discontinuity sequence number before its first segment.
    before: u64,
    text: String,
}

impl Chunk {
    pub(super) fn is_full(&self) -> bool {
        self.count >= CHUNK
    }

    pub(super) fn push(&mut self, segment: &Segment, init_before: Option<u64>) {
        let mut writer = Writer::new();
        let init = if self.count == 0 {
            self.first = segment.number;
            self.before = segment.head.discontinuity - segment.head.jumps;
            None
        } else {
            init_before
        };
        write_head(&mut writer, &segment.head, init);
        writer.segment(line(segment));
        self.text.push_str(&writer.into_text());
        self.count += 1;
        self.duration_us += segment.duration_us;
    }
}

/// Where another rendition is.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) name: Arc<str>,
    pub(super) segment: u64,
    pub(super) part: Option<u32>,
}

/// A file that was asked for.
#[derive(Clone, Debug)]
pub enum Found {
    /// Here it is.
    Bytes(Bytes),
    /// It is the next part.
    Later,
    /// It has left memory; it may be on disk.
    Old,
    /// There is none, and there may never be.
    No,
}

/// A rendition at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// Number of the open segment.
    pub open: u64,
    /// Number of the part that comes next, in the open segment or as the first of the one after it.
    pub next_part: u64,
    /// Nothing will follow.
    pub ended: bool,
    /// `EXT-X-TARGETDURATION`.
    pub target_duration: u32,
    /// `PART-TARGET` in microseconds.
    pub part_target_us: i64,
    pub(super) event: bool,
    pub(super) older: Vec<Arc<Chunk>>,
    /// Segments in memory, of which the last `listed` are in the playlist.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) listed: usize,
    pub(super) head: Head,
    pub(super) parts: Vec<Part>,
    pub(super) inits: Vec<(u64, Bytes)>,
    pub(super) reports: Vec<Report>,
}

fn line(segment: &Segment) -> media::Segment {
    media::Segment {
        number: segment.number,
        duration_us: segment.duration_us as u64,
    }
}

fn write_head(writer: &mut Writer, head: &Head, init_before: Option<u64>) {
    for _ in 0..head.jumps {
        writer.discontinuity();
    }
    if init_before != Some(head.init) {
        writer.map(head.init);
    }
    writer.program_date_time(head.captured_us);
}

fn write_parts(writer: &mut Writer, parts: &[Part]) {
    for part in parts {
        writer.part(media::Part {
            number: part.number,
            duration_us: part.duration_us as u64,
            independent: part.independent,
        });
    }
}

impl View {
    /// Whether there is something to play: a complete segment.
    pub fn is_playable(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Complete parts of the open segment.
    pub fn open_parts(&self) -> u32 {
        self.parts.len() as u32
    }

    /// Whether the playlist has come so far: to the end of a segment, or to a part of it. A part that
    /// its segment does not have stands for the first one of the next segment (§6.2.5.2).
    pub fn has(&self, segment: u64, part: Option<u32>) -> bool {
        let Some(part) = part else {
            return self.ended || segment < self.open;
        };
        if self.ended || segment + 1 < self.open {
            return true;
        }
        if segment + 1 == self.open {
            let last = self.segments.last().map_or(0, |last| last.parts.len());
            return (part as usize) < last || !self.parts.is_empty();
        }
        segment == self.open && part < self.open_parts()
    }

    /// Whether a reload waits for what is too far away to be waited for (§6.2.5.2).
    pub fn is_absurd(&self, segment: u64, part: Option<u32>) -> bool {
        let advance = (3_000_000 / self.part_target_us.max(1)).max(3) as u32 + 1;
        segment > self.open + 1
            || (segment >= self.open && part.is_some_and(|part| part > self.open_parts() + advance))
    }

    /// A part.
    pub fn part(&self, number: u64) -> Found {
        if number == self.next_part && !self.ended {
            return Found::Later;
        }
        let begins = |parts: &[Part]| parts.first().is_some_and(|part| part.number <= number);
        let parts = if begins(&self.parts) {
            &self.parts
        } else {
            let after = self
                .segments
                .partition_point(|segment| begins(&segment.parts));
            match after.checked_sub(1) {
                Some(at) => &self.segments[at].parts,
                None => return Found::No,
            }
        };
        let part = parts.iter().find(|part| part.number == number);
        part.map_or(Found::No, |part| Found::Bytes(part.bytes.clone()))
    }

    /// A complete segment.
    pub fn segment(&self, number: u64) -> Found {
        match self.find(number) {
            Some(segment) => Found::Bytes(segment.bytes.clone()),
            None if number < self.open && !self.older.is_empty() => Found::Old,
            None => Found::No,
        }
    }

    /// An initialization segment.
    pub fn init(&self, number: u64) -> Found {
        let found = self.inits.iter().find(|(of, _)| *of == number);
        found.map_or(Found::No, |(_, bytes)| Found::Bytes(bytes.clone()))
    }

    fn find(&self, number: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.first()?.number;
        self.segments
            .get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The text of the playlist, with marks for the query; with `delta` without what a player that
    /// asks for a delta update has.
    pub fn playlist(&self, delta: bool) -> String {
        let listed = &self.segments[self.segments.len() - self.listed..];
        let mut writer = Writer::new();
        let first = listed.first().map_or(&self.head, |segment| &segment.head);
        let before = first.discontinuity - first.jumps;
        let number = listed.first().map_or(self.open, |segment| segment.number);
        let (number, before) = self
            .older
            .first()
            .map_or((number, before), |chunk| (chunk.first, chunk.before));
        let older: u64 = self.older.iter().map(|chunk| u64::from(chunk.count)).sum();
        let independent = listed.iter().all(|segment| segment.head.independent);
        writer.header(&Header {
            target_duration: self.target_duration,
            part_target_us: self.part_target_us as u64,
            part_hold_back_us: self.part_target_us as u64 * 3,
            media_sequence: number,
            discontinuity_sequence: before,
            independent: independent && self.head.independent,
            skipped: if delta { older } else { 0 },
            event: self.event,
        });
        if !delta {
            for chunk in &self.older {
                writer.lines(&chunk.text);
            }
        }
        let mut left: i64 = listed.iter().map(|segment| segment.duration_us).sum();
        let mut init = None;
        for segment in listed {
            left -= segment.duration_us;
            write_head(&mut writer, &segment.head, init);
            init = Some(segment.head.init);
            if left < PARTS_LISTED * 1_000_000 * i64::from(self.target_duration) {
                write_parts(&mut writer, &segment.parts);
            }
            writer.segment(line(segment));
        }
        if self.ended {
            writer.end();
            return writer.into_text();
        }
        if !self.parts.is_empty() {
            write_head(&mut writer, &self.head, init);
            write_parts(&mut writer, &self.parts);
        }
        writer.preload_hint(self.next_part);
        for report in &self.reports {
            writer.rendition_report(&report.name, report.segment, report.part);
        }
        writer.into_text()
    }
}
