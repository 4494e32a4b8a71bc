//! Forwarding delay, packet by packet: the publisher stamps each video packet
//! as it is handed to the socket, viewers look the stamp up by the end of the
//! payload, which a forwarder must not change. Both clocks are this machine's,
//! so publisher and viewers must live in one process.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// Stamps kept; at 400 packets a second this is a minute.
const MAX_STAMPS: usize = 32_768;
/// Samples kept per series until the next report.
const MAX_SAMPLES: usize = 8_000_000;
/// Payload bytes that identify a packet.
const TAIL: usize = 64;
/// The same payload after this long is a clip that began again, before it a retransmission.
const REPEAT: Duration = Duration::from_secs(1);

/// Collects delays of one publisher's packets over any number of viewers.
#[derive(Default)]
pub struct Probe {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    stamps: HashMap<u64, SystemTime>,
    order: VecDeque<u64>,
    packets: Vec<u32>,
    frames: Vec<u32>,
    handled: Vec<u32>,
    unmatched: u64,
}

/// Percentiles of one series, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Percentiles {
    /// Samples in the series.
    pub count: usize,
    /// Half of the samples are at or below this.
    pub p50_ms: f64,
    /// 95 % of the samples are at or below this.
    pub p95_ms: f64,
    /// 99 % of the samples are at or below this.
    pub p99_ms: f64,
    /// The largest sample.
    pub max_ms: f64,
}

/// What a probe saw since its last report.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Publisher's socket to viewer's kernel, every video packet.
    pub packets: Percentiles,
    /// The same for the last packet of each frame.
    pub frame_ends: Percentiles,
    /// Publisher's socket to the moment the viewer's thread handled the packet.
    pub handled: Percentiles,
    /// Packets at viewers whose stamp was not found.
    pub unmatched: u64,
}

impl Probe {
    /// Remembers when the packet with this payload was sent; a retransmission keeps the first time.
    pub(super) fn sent(&self, payload: &[u8], at: SystemTime) {
        let Some(key) = key(payload) else { return };
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        if let Some(stamp) = inner.stamps.get_mut(&key) {
            if at.duration_since(*stamp).is_ok_and(|age| age > REPEAT) {
                *stamp = at;
            }
            return;
        }
        if inner.order.len() == MAX_STAMPS
            && let Some(old) = inner.order.pop_front()
        {
            inner.stamps.remove(&old);
        }
        inner.stamps.insert(key, at);
        inner.order.push_back(key);
    }

    /// Counts one arrival at a viewer.
    pub(super) fn arrived(&self, payload: &[u8], marker: bool, kernel: SystemTime) {
        let Some(key) = key(payload) else { return };
        let handled = SystemTime::now();
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        let Some(sent) = inner.stamps.get(&key) else {
            inner.unmatched += 1;
            return;
        };
        let micros = |at: SystemTime| {
            at.duration_since(*sent)
                .map_or(0, |d| d.as_micros().min(u128::from(u32::MAX)) as u32)
        };
        let (kernel, handled) = (micros(kernel), micros(handled));
        if inner.packets.len() < MAX_SAMPLES {
            inner.packets.push(kernel);
            inner.handled.push(handled);
            if marker {
                inner.frames.push(kernel);
            }
        }
    }

    /// Percentiles since the last call, which starts the next series.
    pub fn report(&self) -> Report {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let packets = std::mem::take(&mut inner.packets);
        let frames = std::mem::take(&mut inner.frames);
        let handled = std::mem::take(&mut inner.handled);
        let unmatched = std::mem::take(&mut inner.unmatched);
        drop(inner);
        Report {
            packets: percentiles(packets),
            frame_ends: percentiles(frames),
            handled: percentiles(handled),
            unmatched,
        }
    }
}

fn key(payload: &[u8]) -> Option<u64> {
    let tail = payload.last_chunk::<TAIL>()?;
    let mut hasher = DefaultHasher::new();
    hasher.write(tail);
    Some(hasher.finish())
}

fn percentiles(mut micros: Vec<u32>) -> Percentiles {
    micros.sort_unstable();
    let at = |share: f64| {
        let rank = (micros.len() as f64 * share).ceil() as usize;
        micros
            .get(rank.saturating_sub(1))
            .map_or(0.0, |v| f64::from(*v) / 1e3)
    };
    Percentiles {
        count: micros.len(),
        p50_ms: at(0.50),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: at(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_matched_by_the_end_of_the_payload() {
        let probe = Probe::default();
        let sent = SystemTime::now() - Duration::from_secs(1);
        let mut payload = vec![7; 100];
        probe.sent(&payload, sent);
        payload[0] = 9;
        probe.arrived(&payload, true, sent + Duration::from_millis(3));
        probe.arrived(&[1; 100], false, sent);
        let report = probe.report();
        assert_eq!(
            (
                report.packets.count,
                report.frame_ends.count,
                report.unmatched
            ),
            (1, 1, 1)
        );
        assert!((report.packets.p99_ms - 3.0).abs() < 1e-9);
        assert_eq!(probe.report().packets.count, 0);
    }

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let p = percentiles((1..=100).map(|v| v * 1000).collect());
        let got = [p.p50_ms, p.p95_ms, p.p99_ms, p.max_ms];
        assert_eq!(got.map(|v| v as u32), [50, 95, 99, 100]);
    }
}
