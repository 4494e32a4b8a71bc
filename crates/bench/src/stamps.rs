//! Time stamps that measure forwarding delay from the publisher's socket to a viewer's.
//!
//! H264 carries them inside the stream, as SEI messages (user data unregistered, H.264
//! §D.1.7): one at the head and one at the tail of each frame, written at the moment their
//! packet leaves. They cross servers that take frames apart, and processes. Other codecs
//! have no such place; there the publisher remembers when a payload left, by its last
//! bytes, and viewers of the same process look it up.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// Names the stamp in the first packet of a frame.
pub const HEAD: [u8; 16] = *b"STAGECAST-HEAD-1";
/// Names the stamp in the last packet of a frame.
pub const TAIL: [u8; 16] = *b"STAGECAST-TAIL-1";
/// Hexadecimal digits of a stamp: no byte of it needs emulation prevention.
const DIGITS: usize = 16;
/// Payload bytes that identify a packet, at most and at least.
const IDENTITY: usize = 64;
const SHORTEST: usize = 16;
/// Payloads remembered; at 400 packets a second this is over a minute.
const MAX_REMEMBERED: usize = 32_768;

/// A whole SEI NAL unit with a stamp of zero.
pub fn sei(name: [u8; 16]) -> Vec<u8> {
    let mut unit = vec![0x06, 0x05, (name.len() + DIGITS) as u8];
    unit.extend(name);
    unit.extend([b'0'; DIGITS]);
    unit.push(0x80);
    unit
}

/// Write `nanos` over the stamp in a payload; whether it has one.
pub fn write(payload: &mut [u8], name: [u8; 16], nanos: i64) -> bool {
    let Some(at) = position(payload, name) else {
        return false;
    };
    let text = format!("{nanos:016x}");
    payload[at..at + DIGITS].copy_from_slice(text.as_bytes());
    true
}

/// The stamp in a payload.
pub fn read(payload: &[u8], name: [u8; 16]) -> Option<i64> {
    let at = position(payload, name)?;
    let text = str::from_utf8(&payload[at..at + DIGITS]).ok()?;
    i64::from_str_radix(text, 16)
        .ok()
        .filter(|nanos| *nanos > 0)
}

/// The last stamp of a run of pictures, such as a part of a segment; it may be anywhere.
pub fn read_last(media: &[u8], name: [u8; 16]) -> Option<i64> {
    let at = media.windows(name.len()).rposition(|w| w == name)?;
    read(&media[at..], name)
}

/// Where the digits of a stamp are. Stamps stand at the start of a small packet, or behind
/// parameter sets in one; a long scan of picture data is not worth it.
fn position(payload: &[u8], name: [u8; 16]) -> Option<usize> {
    let near = &payload[..payload.len().min(512)];
    let at = near.windows(name.len()).position(|w| w == name)? + name.len();
    (at + DIGITS <= payload.len()).then_some(at)
}

/// When payloads left, for codecs without a place for stamps.
#[derive(Debug, Default)]
pub struct Departures {
    inner: Mutex<Inner>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Inner {
    at: HashMap<u64, i64>,
    order: VecDeque<u64>,
}

impl Departures {
    /// A payload leaves now.
    pub fn sent(&self, payload: &[u8], nanos: i64) {
        let Some(key) = self.key(payload) else { return };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // A clip that began again sends the same payload again.
        if inner.at.insert(key, nanos).is_some() {
            return;
        }
        inner.order.push_back(key);
        if inner.order.len() > MAX_REMEMBERED
            && let Some(old) = inner.order.pop_front()
        {
            inner.at.remove(&old);
        }
    }

    /// When this payload left.
    pub fn find(&self, payload: &[u8]) -> Option<i64> {
        let key = self.key(payload)?;
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.at.get(&key).copied()
    }

    fn key(&self, payload: &[u8]) -> Option<u64> {
        let tail = &payload[payload.len().saturating_sub(IDENTITY)..];
        (tail.len() >= SHORTEST).then(|| self.hasher.hash_one(tail))
    }
}

/// Delays in microseconds, three series.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    /// First packet of a frame.
    pub first: Vec<u32>,
    /// Last packet of a frame.
    pub last: Vec<u32>,
    /// From the capture time in the header extension to the packet that carries it.
    pub capture: Vec<u32>,
}

/// Samples of a series between two looks at it.
const MAX_SAMPLES: usize = 4_000_000;

/// One series or several.
pub trait Samples: Default {
    /// Take up what another saw.
    fn append(&mut self, other: &Self);
}

impl Samples for Vec<u32> {
    fn append(&mut self, other: &Self) {
        let room = MAX_SAMPLES.saturating_sub(self.len());
        self.extend(other.iter().take(room));
    }
}

impl Samples for Delays {
    fn append(&mut self, other: &Self) {
        Samples::append(&mut self.first, &other.first);
        Samples::append(&mut self.last, &other.last);
        Samples::append(&mut self.capture, &other.capture);
    }
}

/// Add a delay in nanoseconds to a series; a clock that went back gives zero.
pub fn push(series: &mut Vec<u32>, nanos: i64) {
    if series.len() < MAX_SAMPLES {
        series.push((nanos / 1000).clamp(0, i64::from(u32::MAX)) as u32);
    }
}

/// A series in milliseconds.
#[derive(Debug, Clone, Default, Serialize, PartialEq)]
pub struct Spread {
    /// Samples.
    pub count: usize,
    /// Half are at or below it; all are zero without samples.
    pub p50: f64,
    /// 95 % are.
    pub p95: f64,
    /// 99 % are.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Percentiles by nearest rank of microseconds.
    pub fn of_micros(micros: &[u32]) -> Self {
        let mut sorted = micros.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| {
            let rank = (sorted.len() as f64 * share).ceil() as usize;
            sorted
                .get(rank.saturating_sub(1))
                .map_or(0.0, |v| f64::from(*v) / 1e3)
        };
        Self {
            count: sorted.len(),
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
        }
    }

    /// The same of durations.
    pub fn of(durations: impl Iterator<Item = Duration>) -> Self {
        let micros: Vec<u32> = durations.map(|took| took.as_micros() as u32).collect();
        Self::of_micros(&micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stamp_is_read_back_inside_an_aggregate() {
        let mut payload = vec![0x78, 0, 3, 0x67, 1, 2, 0, 36];
        payload.extend(sei(HEAD));
        assert_eq!(read(&payload, HEAD), None, "no time yet");
        assert!(write(&mut payload, HEAD, 0x1234_5678_9abc));
        assert_eq!(read(&payload, HEAD), Some(0x1234_5678_9abc));
        assert_eq!(read(&payload, TAIL), None);
    }

    #[test]
    fn payload_is_found_by_its_end_and_the_last_departure_counts() {
        let departures = Departures::default();
        let mut payload = vec![7; 100];
        departures.sent(&payload, 1);
        departures.sent(&payload, 2);
        payload[0] = 9;
        assert_eq!(departures.find(&payload), Some(2));
        assert_eq!(departures.find(&[1; 100]), None);
        assert_eq!(departures.find(&[1; 4]), None);
    }

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let micros: Vec<u32> = (1..=100).map(|v| v * 1000).collect();
        let s = Spread::of_micros(&micros);
        assert_eq!(
            [s.p50, s.p95, s.p99, s.max].map(|v| v as u32),
            [50, 95, 99, 100]
        );
        assert_eq!(Spread::of_micros(&[]), Spread::default());
    }

    proptest! {
        #[test]
        fn any_payload_may_be_searched(mut payload in prop::collection::vec(any::<u8>(), 0..600)) {
            read(&payload, HEAD);
            write(&mut payload, TAIL, 5);
        }
    }
}
