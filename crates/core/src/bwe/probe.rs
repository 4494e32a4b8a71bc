//! Probing: sending for a moment more than the media in use, to learn whether a higher layer would fit.
//!
//! A cluster is some packets of padding or retransmission sent at a rate; media sent meanwhile counts
//! as part of it. What arrives at that rate goes through; if it arrives more slowly, that is the
//! rate of the bottleneck. The first cluster tries what the next layer needs, and each success asks
//! for more at once, up to what the best needs; after a failure the prober is quiet for a while.
//! These clusters are small, so that a failed one costs a few milliseconds of queue, and so small
//! that a policer's bucket takes them whatever its rate. Hence a longer one at the rate found
//! confirms it, which costs about as much as the keyframe that is wasted when a layer fails.

use std::time::{Duration, Instant};

use super::history::Cluster;
use super::units::{Bitrate, Stamp};

/// Most of a cluster's rate over the estimate.
const FIRST_SCALE: f64 = 3.0;
/// And the least, when the next layer needs less: what is known already needs no probe.
const MIN_SCALE: f64 = 1.3;
const FURTHER_SCALE: f64 = 2.0;
const LENGTH: Duration = Duration::from_millis(20);
const CONFIRM_LENGTH: Duration = Duration::from_millis(160);
/// Jitter blurs a short cluster; a longer one averages it out.
const LENGTH_FOR_JITTER: u32 = 4;
const PACKETS: u32 = 8;
const PACKET_BYTES: (u64, u64) = (120, 1200);
const MIN_PACKETS_BACK: u32 = 5;
const MIN_BYTES_BACK: f64 = 0.75;
const MIN_BYTES_BACK_TO_CONFIRM: f64 = 0.85;
/// A probe is over when the transport has not sent it after this.
const MAX_LENGTH: Duration = Duration::from_millis(400);
const WAIT_FOR_RESULT: Duration = Duration::from_secs(1);
const MAX_SPREAD_US: i64 = 1_000_000;
/// Arriving faster than sent by more than this is the work of something that holds packets back.
const MAX_SQUEEZE: f64 = 2.0;
/// Below this part of the rate sent the bottleneck shows, and this much of it is used.
const SATURATED_BELOW: f64 = 0.9;
const UTILIZATION: f64 = 0.95;
/// A result of this part of the cluster's rate asks for a further one.
const FURTHER_FROM: f64 = 0.7;
/// A result this little below what the next layer needs is worth confirming.
const ENOUGH: f64 = 0.85;
/// The interval doubles this many times at most.
const MAX_FAILURES: u32 = 4;
const KEPT: usize = 4;
/// So long after congestion while no probe has succeeded yet: what fits instead of the first guess is to be
/// found within seconds.
const FIRST_QUIET: Duration = Duration::from_secs(1);

/// Rates that would be of use if they went through.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Needed for the next higher layer.
    pub next: Bitrate,
    /// Needed for the best.
    pub top: Bitrate,
}

/// What a cluster showed.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ProbeResult {
    pub rate: Bitrate,
    /// It was more than the bottleneck takes.
    pub saturated: bool,
    /// It went through for a while.
    pub confirmed: bool,
}

/// Padding or retransmissions to be sent now.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Rate of the cluster that this is part of.
    pub bitrate: Bitrate,
    /// Bytes to send now, headers included.
    pub bytes: usize,
    /// Size of packet that gives the cluster enough of them.
    pub packet_bytes: usize,
}

/// What has been seen of a cluster.
#[derive(Copy, Clone, Debug)]
struct Seen {
    cluster: Cluster,
    rate: Bitrate,
    length: Duration,
    confirms: bool,
    began: Instant,
    ended: bool,
    reported: bool,
    bytes_sent: u64,
    packets: u32,
    bytes: u64,
    first_sent: Stamp,
    last_sent: Stamp,
    last_sent_bytes: u16,
    first_arrival: Stamp,
    last_arrival: Stamp,
    first_arrival_bytes: u16,
    /// Least one-way delay in µs of what was sent in the first third, and in the last.
    delays_us: [Option<i64>; 2],
}

impl Seen {
    fn goal(&self) -> u64 {
        self.rate.bytes_in(self.length).max(packet_bytes(self.rate))
    }

    fn on_arrival(&mut self, sent: Stamp, arrival: Stamp, bytes: u16) {
        if self.packets == 0 || sent < self.first_sent {
            self.first_sent = sent;
        }
        if self.packets == 0 || sent >= self.last_sent {
            self.last_sent = sent;
            self.last_sent_bytes = bytes;
        }
        if self.packets == 0 || arrival < self.first_arrival {
            self.first_arrival = arrival;
            self.first_arrival_bytes = bytes;
        }
        if self.packets == 0 || arrival > self.last_arrival {
            self.last_arrival = arrival;
        }
        self.packets += 1;
        self.bytes += u64::from(bytes);
        let third = self.length.as_micros() as i64 / 3;
        let place = match sent.micros_since(self.first_sent) {
            offset if offset < third => 0,
            offset if offset >= 2 * third => 1,
            _ => return,
        };
        let delay_us = arrival.as_micros() - sent.as_micros();
        let least = self.delays_us[place].map_or(delay_us, |least| least.min(delay_us));
        self.delays_us[place] = Some(least);
    }

    /// How long the cluster took to arrive. The first and the last packet tell it where the delay of each is
    /// the same; jitter makes that a matter of luck, but hardly touches the least of many.
    fn arrival_us(&self, sent_us: i64) -> i64 {
        let least = (self.length >= LENGTH * 2).then_some(self.delays_us);
        let Some([Some(first), Some(last)]) = least else {
            return self.last_arrival.micros_since(self.first_arrival);
        };
        let apart = self.length.as_micros() as f64 * 2.0 / 3.0;
        let growth = (last - first) as f64 / apart.max(1.0);
        (sent_us as f64 * (1.0 + growth)) as i64
    }

    /// The rate that went through, once enough is back.
    fn result(&self, resent: f64) -> Option<ProbeResult> {
        let least = if self.confirms {
            MIN_BYTES_BACK_TO_CONFIRM
        } else {
            MIN_BYTES_BACK
        };
        let enough = self.bytes as f64 >= self.bytes_sent as f64 * least / resent;
        if !self.ended || self.packets < MIN_PACKETS_BACK || !enough {
            return None;
        }
        let sent_us = self.last_sent.micros_since(self.first_sent);
        let arrival_us = self.arrival_us(sent_us);
        if !(1..MAX_SPREAD_US).contains(&sent_us) || !(1..MAX_SPREAD_US).contains(&arrival_us) {
            return None;
        }
        let rate = |bytes: u64, us: i64| bytes as f64 * 8e6 / us as f64;
        let sent = rate(self.bytes - u64::from(self.last_sent_bytes), sent_us);
        let arrived = rate(self.bytes - u64::from(self.first_arrival_bytes), arrival_us);
        if arrived > sent * MAX_SQUEEZE {
            return None;
        }
        let saturated = arrived < sent * SATURATED_BELOW;
        let rate = if saturated {
            arrived * UTILIZATION
        } else {
            arrived.min(sent)
        };
        Some(ProbeResult {
            rate: Bitrate::from_bps((rate * resent) as u64).min(self.rate),
            saturated: saturated && rate < self.rate.as_f64(),
            confirmed: self.confirms,
        })
    }
}

/// Plans clusters and reads their results.
#[derive(Debug)]
pub(super) struct Prober {
    interval: Duration,
    wanted: Option<Wanted>,
    clusters: [Option<Seen>; KEPT],
    /// Index of the cluster being sent.
    active: Option<usize>,
    last_id: u8,
    quiet_until: Option<Instant>,
    /// Confirmations in a row that failed.
    failures: u32,
    has_confirmed: bool,
    /// The next cluster of a chain.
    further: Option<Further>,
}

/// What follows on a result.
#[derive(Copy, Clone, Debug)]
enum Further {
    Explore(Bitrate),
    Confirm(Bitrate),
}

impl Prober {
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            wanted: None,
            clusters: [None; KEPT],
            active: None,
            last_id: 0,
            quiet_until: None,
            failures: 0,
            has_confirmed: false,
            further: None,
        }
    }

    /// Rates that would be of use.
    pub fn want(&mut self, wanted: Option<Wanted>) {
        self.wanted = wanted;
    }

    /// Whether a cluster is being sent or its result awaited.
    pub fn is_busy(&self, now: Instant) -> bool {
        self.further.is_some()
            || self.clusters.iter().flatten().any(|seen| {
                !seen.reported && now.saturating_duration_since(seen.began) < WAIT_FOR_RESULT
            })
    }

    /// The network is congested: no probe for a while.
    pub fn interrupt(&mut self, now: Instant) {
        self.end_active();
        self.further = None;
        let quiet = if self.has_confirmed {
            self.interval
        } else {
            self.interval.min(FIRST_QUIET)
        };
        self.quiet_until = Some(now + quiet);
    }

    /// What is to be sent now.
    pub fn poll(&mut self, now: Instant, estimate: Bitrate, jitter: Duration) -> Option<Probe> {
        if self.active.is_none() {
            self.start(now, estimate, jitter)?;
        }
        let index = self.active?;
        let seen = self.clusters[index].as_mut()?;
        let passed = now.saturating_duration_since(seen.began);
        let goal = seen.goal();
        if passed >= MAX_LENGTH || (passed >= seen.length && seen.bytes_sent >= goal) {
            self.end_active();
            return None;
        }
        let packet = packet_bytes(seen.rate);
        let due = (seen.rate.bytes_in(passed) + packet).min(goal + packet);
        let bytes = due.saturating_sub(seen.bytes_sent) / packet * packet;
        (bytes > 0).then_some(Probe {
            bitrate: seen.rate,
            bytes: bytes as usize,
            packet_bytes: packet as usize,
        })
    }

    fn start(&mut self, now: Instant, estimate: Bitrate, jitter: Duration) -> Option<()> {
        let wanted = self.wanted.filter(|wanted| wanted.top > estimate)?;
        let further = self.further.take();
        let confirms = matches!(further, Some(Further::Confirm(_)));
        let rate = match further {
            Some(Further::Explore(rate) | Further::Confirm(rate)) => rate.min(wanted.top),
            None if self.quiet_until.is_some_and(|until| now < until) => return None,
            None => {
                let more = wanted.next.max(estimate * MIN_SCALE).min(wanted.top);
                more.min(estimate * FIRST_SCALE)
            }
        };
        if confirms {
            // Until it succeeds it has failed, and the next try waits longer.
            self.failures = (self.failures + 1).min(MAX_FAILURES);
        }
        self.quiet_until = Some(now + self.interval * (1 << self.failures.saturating_sub(1)));
        self.last_id = self.last_id % u8::MAX + 1;
        let index = usize::from(self.last_id) % KEPT;
        self.clusters[index] = Some(Seen {
            cluster: Cluster(self.last_id),
            rate,
            length: if confirms {
                CONFIRM_LENGTH
            } else {
                (LENGTH + jitter * LENGTH_FOR_JITTER).min(CONFIRM_LENGTH)
            },
            confirms,
            began: now,
            ended: false,
            reported: false,
            bytes_sent: 0,
            packets: 0,
            bytes: 0,
            first_sent: Stamp::default(),
            last_sent: Stamp::default(),
            last_sent_bytes: 0,
            first_arrival: Stamp::default(),
            last_arrival: Stamp::default(),
            first_arrival_bytes: 0,
            delays_us: [None; 2],
        });
        self.active = Some(index);
        Some(())
    }

    fn end_active(&mut self) {
        if let Some(seen) = self.active.take().and_then(|i| self.clusters[i].as_mut()) {
            seen.ended = true;
        }
    }

    /// A packet leaves: the cluster it belongs to.
    pub fn on_sent(&mut self, bytes: u16) -> Option<Cluster> {
        let seen = self.clusters[self.active?].as_mut()?;
        seen.bytes_sent += u64::from(bytes);
        Some(seen.cluster)
    }

    pub fn on_arrival(&mut self, cluster: Cluster, sent: Stamp, arrival: Stamp, bytes: u16) {
        let known = self.clusters.iter_mut().flatten();
        if let Some(seen) = known.into_iter().find(|seen| seen.cluster == cluster) {
            seen.on_arrival(sent, arrival, bytes);
        }
    }

    /// The best rate that clusters showed since the last call. For a byte that arrives `resent` are sent,
    /// because of what the path loses at any rate.
    pub fn take_result(&mut self, resent: f64) -> Option<ProbeResult> {
        let wanted = self.wanted;
        let mut best = None;
        for seen in self.clusters.iter_mut().flatten().filter(|s| !s.reported) {
            let Some(result) = seen.result(resent) else {
                continue;
            };
            seen.reported = true;
            if result.confirmed {
                self.failures = 0;
                self.has_confirmed = true;
                self.quiet_until = Some(seen.began + self.interval);
            }
            best = best.max(Some(result));
            let Some(wanted) = wanted.filter(|_| !result.confirmed) else {
                continue;
            };
            let more = wanted.top > result.rate && wanted.top > seen.rate;
            if more && result.rate >= seen.rate * FURTHER_FROM && !result.saturated {
                self.further = Some(Further::Explore(result.rate * FURTHER_SCALE));
            } else if result.rate >= wanted.next * ENOUGH {
                self.further = Some(Further::Confirm(result.rate));
            }
        }
        best
    }

    /// When `poll` has something to say again.
    pub fn poll_timeout(&self, now: Instant, estimate: Bitrate) -> Option<Instant> {
        if let Some(seen) = self.active.and_then(|i| self.clusters[i].as_ref()) {
            let goal = seen.goal();
            let end = seen.began + seen.length;
            if seen.bytes_sent >= goal {
                return Some(end);
            }
            return Some(seen.began + seen.rate.time_for(seen.bytes_sent));
        }
        self.wanted.filter(|wanted| wanted.top > estimate)?;
        match self.further {
            Some(_) => Some(now),
            None => Some(self.quiet_until.unwrap_or(now)),
        }
    }
}

fn packet_bytes(rate: Bitrate) -> u64 {
    let (least, most) = PACKET_BYTES;
    (rate.bytes_in(LENGTH) / u64::from(PACKETS)).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    #[allow(clippy::unnecessary_wraps)] // As the prober takes it.
    fn wanted(kbps: u64) -> Option<Wanted> {
        let rate = Bitrate::from_kbps(kbps);
        Some(Wanted {
            next: rate,
            top: rate,
        })
    }

    fn kbps(result: Option<ProbeResult>) -> u64 {
        result.map_or(0, |result| result.rate.as_bps() / 1000)
    }

    /// Sends what is asked through a link of some rate, and gives the result and the bytes sent.
    fn probe(
        prober: &mut Prober,
        start: Instant,
        estimate: Bitrate,
        link: Bitrate,
    ) -> (Option<ProbeResult>, u64) {
        let (mut total, mut free_at) = (0, 0.0_f64);
        for ms in 0..250 {
            let now = start + Duration::from_millis(ms);
            let Some(probe) = prober.poll(now, estimate, Duration::ZERO) else {
                continue;
            };
            let mut left = probe.bytes;
            while left > 0 {
                let bytes = left.min(probe.packet_bytes);
                left -= bytes;
                let cluster = prober.on_sent(bytes as u16).unwrap();
                free_at = free_at.max(ms as f64) + bytes as f64 * 8e3 / link.as_f64();
                let arrival = Stamp::from_micros((free_at * 1e3) as i64);
                let sent = Stamp::from_micros(ms as i64 * 1000);
                prober.on_arrival(cluster, sent, arrival, bytes as u16);
                total += bytes as u64;
            }
        }
        (prober.take_result(1.0), total)
    }

    #[test]
    fn nothing_is_sent_unless_asked() {
        let mut prober = Prober::new(INTERVAL);
        let now = Instant::now();
        assert_eq!(
            prober.poll(now, Bitrate::from_kbps(500), Duration::ZERO),
            None
        );
        assert_eq!(prober.poll_timeout(now, Bitrate::from_kbps(500)), None);
        prober.want(wanted(400));
        assert_eq!(
            prober.poll(now, Bitrate::from_kbps(500), Duration::ZERO),
            None
        );
    }

    #[test]
    fn rate_below_the_links_is_found_and_then_confirmed() {
        let mut prober = Prober::new(INTERVAL);
        prober.want(wanted(1500));
        let now = Instant::now();
        let estimate = Bitrate::from_kbps(800);
        let link = Bitrate::from_kbps(10_000);
        let (result, bytes) = probe(&mut prober, now, estimate, link);
        assert!((1300..=1500).contains(&kbps(result)), "{result:?}");
        assert!(bytes < 5000, "{bytes}");
        let soon = now + Duration::from_millis(200);
        let (result, bytes) = probe(&mut prober, soon, estimate, link);
        assert!(result.unwrap().confirmed);
        assert!((1300..=1500).contains(&kbps(result)), "{result:?}");
        assert!(bytes < 35_000, "{bytes}");
    }

    #[test]
    fn rate_above_the_links_shows_the_links_and_is_not_confirmed() {
        let mut prober = Prober::new(INTERVAL);
        prober.want(wanted(3000));
        let now = Instant::now();
        let estimate = Bitrate::from_kbps(1000);
        let (result, _) = probe(&mut prober, now, estimate, Bitrate::from_kbps(1000));
        assert!((900..1000).contains(&kbps(result)), "{result:?}");
        let later = now + Duration::from_millis(400);
        assert_eq!(prober.poll(later, estimate, Duration::ZERO), None);
        let after = later + INTERVAL;
        assert!(prober.poll(after, estimate, Duration::ZERO).is_some());
    }

    #[test]
    fn success_asks_for_more_at_once() {
        let now = Instant::now();
        let mut prober = Prober::new(INTERVAL);
        prober.want(wanted(8000));
        let link = Bitrate::from_kbps(5000);
        let estimate = Bitrate::from_kbps(700);
        let found: Vec<_> = (0..3)
            .map(|turn| {
                let at = now + Duration::from_millis(turn * 300);
                kbps(probe(&mut prober, at, estimate, link).0)
            })
            .collect();
        assert!((1900..2200).contains(&found[0]), "{found:?}");
        assert!((3700..4400).contains(&found[1]), "{found:?}");
        assert!((4500..5000).contains(&found[2]), "{found:?}");
    }

    #[test]
    fn cluster_that_does_not_come_back_says_nothing() {
        let mut prober = Prober::new(INTERVAL);
        prober.want(wanted(1500));
        let now = Instant::now();
        prober
            .poll(now, Bitrate::from_kbps(500), Duration::ZERO)
            .unwrap();
        for _ in 0..10 {
            prober.on_sent(700);
        }
        prober.poll(now + MAX_LENGTH, Bitrate::from_kbps(500), Duration::ZERO);
        assert_eq!(prober.take_result(1.0), None);
        assert!(prober.is_busy(now + Duration::from_millis(300)));
        assert!(!prober.is_busy(now + WAIT_FOR_RESULT));
    }
}
