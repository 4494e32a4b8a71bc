//! The segmenter: frames in, parts, segments and playlists out, without sockets or clocks.
//!
//! A [`Muxer`] reads one source. Every layer of a video track and every audio track becomes a
//! rendition with segments of its own; video is cut at keyframes, audio where the leading video was
//! cut. What players see of a rendition is a [`View`]: immutable, shared by all requests, made anew
//! with every part. RFC 8216bis is the standard, its rules about time are kept here:
//!
//! - No part is longer than `PART-TARGET`, no segment than `EXT-X-TARGETDURATION` when rounded, and
//!   neither number changes while the muxer lives.
//! - Decoding times have no gaps, so that players see no holes; presentation times are the source's.
//! - A part is complete when its last frame has come, not when the next one comes: how long the last
//!   frame lasts is told by the ones before it ([`rhythm`]).
//! - Media sequence numbers start at a number of seconds since 2025: a muxer that starts anew goes on
//!   with higher ones, and no address ever names two different things. Discontinuity sequence numbers
//!   start at the low bits of the same number, so that they grow over a restart, too, and are small:
//!   hls.js walks from zero to the current one with every playlist it loads.
//! - Parts are counted through all segments: which segment the next part belongs to is known with its
//!   first frame, and the playlist names it before. Their numbers start at a number of milliseconds
//!   since 2025, as there are fewer than a thousand of them a second.
//!
//! Memory: per rendition the listed window and as much again for players that are late, so about
//! `2 · window · segment duration · bitrate` (3 MB a Mbit/s with the defaults) and, with DVR, some
//! hundred bytes of text for every segment that has gone to disk.

mod muxer;
mod rendition;
mod rhythm;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub use muxer::{Change, Muxer, Wall};
pub use view::{Found, Segment, View};

/// What the settings say.
#[derive(Copy, Clone, Debug)]
pub struct Settings {
    /// Duration of a part in microseconds.
    pub part_us: i64,
    /// Duration of a segment in microseconds, where keyframes allow.
    pub segment_us: i64,
    /// Segments that a playlist lists without DVR.
    pub window: usize,
    /// How far back players may seek, in microseconds; `None` is not at all, `i64::MAX` to the start.
    pub dvr_us: Option<i64>,
    /// Sound that not every player knows is transcoded to AAC, which is there a moment later.
    pub aac_follows: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            part_us: 200_000,
            segment_us: 2_000_000,
            window: 6,
            dvr_us: None,
            aac_follows: false,
        }
    }
}

/// Microseconds as units of a timescale.
fn to_ticks(us: i64, timescale: u32) -> i64 {
    let scaled = i128::from(us) * i128::from(timescale) + 500_000;
    scaled.div_euclid(1_000_000) as i64
}

/// Units of a timescale as microseconds.
fn to_us(ticks: i64, timescale: u32) -> i64 {
    let scale = i128::from(timescale.max(1));
    (i128::from(ticks) * 1_000_000 + scale / 2).div_euclid(scale) as i64
}
