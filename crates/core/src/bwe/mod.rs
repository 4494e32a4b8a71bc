//! How much a viewer's network carries, and which layer of a track fits into it.
//!
//! An [`Estimator`] per viewer hears of every packet when it is sent and when its arrival is reported
//! (transport-wide feedback), and says how much may be sent. It is Google congestion control
//! (draft-ietf-rmcat-gcc-02, and what libwebrtc has made of it), with what forwarding needs and
//! encoders do not: a forwarder cannot follow the estimate, it sends one layer or the next.
//!
//! ```text
//! report -> history -+-> groups -> trendline -> overuse -+-> aimd --+
//!                    +-> queue  -------------------------+          |
//!                    +-> acknowledged -------------------+          +-> least -> estimate
//!                    +-> loss ------------------------------------- +
//!                    +-> probe (sent only when a higher layer would be of use)
//! receiver reports, REMB -> reports --------------------------------+
//! ```
//!
//! Three rules follow from that. Delivery of a low layer proves nothing about a high one: growth
//! takes a probe. A probe and a keyframe fill the queue for a moment: only a queue that stands
//! is congestion. And silence is no evidence at all: without packets the estimate stays.
//!
//! [`Allocator`] turns the estimate into a layer without flapping. Neither reads a clock nor
//! allocates in the steady state; a report is bounded by what was sent.

mod acknowledged;
mod aimd;
mod allocation;
mod groups;
mod history;
mod loss;
mod overuse;
mod probe;
mod queue;
mod reports;
mod sending;
mod trendline;
mod units;

use std::time::{Duration, Instant};

use stagecast_proto::rtcp::Twcc;

use acknowledged::Acknowledged;
use aimd::{Aimd, Evidence};
use groups::Groups;
use history::{Cluster, History, News, Sent};
use loss::LossControl;
use overuse::{OveruseDetector, Usage};
use probe::{ProbeResult, Prober};
use queue::{Backlog, Queue};
use reports::Reports;
use sending::Sending;
use trendline::Trendline;

pub use allocation::{Allocator, Decision, LayerOffer, MAX_LAYERS, MAX_TEMPORAL, Target, Wishes};
pub use history::MAX_PACKETS;
pub use probe::{Probe, Wanted};
pub use units::{Bitrate, Stamp};

/// A queue that is longer than expected by less than this is no congestion, whatever its trend.
const UNEXPLAINED_QUEUE: Duration = Duration::from_millis(15);
/// And by this much more it leaves no room to grow, even if it does not grow itself.
const STANDING_QUEUE: Duration = Duration::from_millis(35);
/// Who shares a queue with one that fills it must bear more of it to get a share; for this long.
const SHARED_FOR: Duration = Duration::from_secs(30);
/// How long after the estimate was lowered the network counts as congested.
const CONGESTED_FOR: Duration = Duration::from_millis(300);
/// Nothing is heard although packets are sent: the path is blocked.
const SILENCE: Duration = Duration::from_millis(1500);
/// The estimate is lowered again and again until something is heard.
const SILENCE_AGAIN: Duration = Duration::from_millis(500);
const SILENT_BACKOFF: f64 = 0.7;
/// A change of the rate in use by this factor is a step.
const CHANGED_RATE: f64 = 1.2;
/// Packets that room is kept for between reports.
const USUAL_REPORT: usize = 256;
/// Packets that reports miss, to be told of; when there are more, sending them again does not help.
const MAX_NEWLY_LOST: usize = 64;
const FIRST_RTT: Duration = Duration::from_millis(100);

/// Limits of an estimator.
#[derive(Copy, Clone, Debug)]
pub struct Config {
    /// Assumed until something is known; what a viewer begins with.
    pub initial: Bitrate,
    /// The estimate never goes below.
    pub min: Bitrate,
    /// The estimate never goes above.
    pub max: Bitrate,
    /// Between probes while a higher layer would be of use. Each costs some kilobytes.
    pub probe_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial: Bitrate::from_kbps(1000),
            min: Bitrate::from_kbps(30),
            max: Bitrate::from_kbps(50_000),
            probe_interval: Duration::from_millis(2500),
        }
    }
}

/// What a packet is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PacketKind {
    /// Audio or video, sent because it is due.
    Media,
    /// A retransmission that the viewer asked for.
    Retransmission,
    /// Sent for a [`Probe`].
    Padding,
}

/// What limits the viewer's network.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Congestion {
    /// A queue grows.
    Delay,
    /// More is lost than the path loses anyway.
    Loss,
    /// No report comes although packets are sent.
    Silence,
}

/// What is known about a viewer's network now.
#[derive(Copy, Clone, Debug)]
pub struct Network {
    /// How much may be sent.
    pub estimate: Bitrate,
    /// Share of bytes lost lately, which has to be sent again.
    pub loss: f64,
    /// What every packet has to wait at least.
    pub queue: Duration,
    /// The estimate was lowered just now, and why.
    pub congestion: Option<Congestion>,
    /// Rate of the last successful probe, and when its result came.
    pub proven: Option<(Instant, Bitrate)>,
    /// A probe is under way, so that more may be known soon.
    pub probing: bool,
}

/// Estimates the bandwidth to one viewer.
#[derive(Debug)]
pub struct Estimator {
    config: Config,
    epoch: Instant,
    history: History,
    acknowledged: Acknowledged,
    groups: Groups,
    trendline: Trendline,
    overuse: OveruseDetector,
    backlog: Backlog,
    queue: Queue,
    aimd: Aimd,
    loss: LossControl,
    prober: Prober,
    sending: Sending,
    reports: Reports,
    rtt: Option<Duration>,
    reference: Option<i64>,
    heard: Option<Instant>,
    unheard_since: Option<Instant>,
    backed_off: Option<Instant>,
    congested: Option<(Instant, Congestion)>,
    proven: Option<(Instant, Bitrate)>,
    foreign_queue: Option<Instant>,
    arrived: Vec<Arrived>,
    newly_lost: Vec<u16>,
    leaving: Option<Leaving>,
}

/// What the packets that leave at one moment have in common; there are many of them.
#[derive(Copy, Clone, Debug)]
struct Leaving {
    now: Instant,
    stamp: Stamp,
    estimate: Bitrate,
}

/// A packet of the report being read.
#[derive(Copy, Clone, Debug)]
struct Arrived {
    arrival: Stamp,
    sent: Stamp,
    bytes: u16,
    cluster: Option<Cluster>,
    expected_ms: u16,
}

impl Estimator {
    /// An estimator; `now` is the beginning of its time.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            epoch: now,
            history: History::new(),
            acknowledged: Acknowledged::new(),
            groups: Groups::default(),
            trendline: Trendline::new(),
            overuse: OveruseDetector::new(),
            backlog: Backlog::default(),
            queue: Queue::new(),
            aimd: Aimd::new(config.initial),
            loss: LossControl::new(config.initial),
            prober: Prober::new(config.probe_interval),
            sending: Sending::default(),
            reports: Reports::new(config.initial),
            rtt: None,
            reference: None,
            heard: None,
            unheard_since: None,
            backed_off: None,
            congested: None,
            proven: None,
            foreign_queue: None,
            arrived: Vec::new(),
            newly_lost: Vec::new(),
            leaving: None,
        }
    }

    /// A packet left, with its transport-wide sequence number before it was cut to 16 bits, and
    /// its size with all headers. `now` is when it was handed to the socket.
    pub fn on_sent(&mut self, now: Instant, seq: u64, bytes: usize, kind: PacketKind) {
        let Leaving {
            stamp, estimate, ..
        } = match self.leaving.filter(|leaving| leaving.now == now) {
            Some(leaving) => leaving,
            None => self.begin_leaving(now),
        };
        if kind != PacketKind::Padding {
            self.sending.on_sent(now, bytes);
        }
        let bytes = bytes.min(usize::from(u16::MAX)) as u16;
        let expected = self.backlog.on_sent(now, bytes, estimate);
        let sent = Sent {
            at: stamp,
            bytes,
            cluster: self.prober.on_sent(bytes),
            expected_ms: expected.as_millis() as u16,
        };
        self.history.push(seq, sent);
    }

    /// A packet left without such a number: no report will tell what became of it, but that it was sent counts.
    pub fn on_sent_unnumbered(&mut self, now: Instant, bytes: usize) {
        self.sending.on_sent(now, bytes);
    }

    fn begin_leaving(&mut self, now: Instant) -> Leaving {
        self.unheard_since.get_or_insert(now);
        *self.leaving.insert(Leaving {
            now,
            stamp: self.stamp(now),
            estimate: self.estimate_at(now),
        })
    }

    /// A transport-wide feedback came.
    pub fn on_twcc(&mut self, now: Instant, twcc: &Twcc<'_>) {
        let mut micros = self.reference_micros(twcc.header.reference_time);
        self.on_feedback(
            now,
            twcc.packets().map(|(seq, delta)| {
                let arrival = delta.map(|ticks| {
                    micros += i64::from(ticks) * Twcc::TICK_MICROS;
                    Stamp::from_micros(micros)
                });
                (seq, arrival)
            }),
        );
    }

    /// Packets by the low 16 bits of their number: when each arrived by the receiver's clock, or
    /// that it had not arrived.
    pub fn on_feedback(
        &mut self,
        now: Instant,
        packets: impl Iterator<Item = (u16, Option<Stamp>)>,
    ) {
        self.heard = Some(now);
        self.unheard_since = None;
        self.leaving = None;
        let mut newest_sent = None;
        self.arrived.clear();
        for (seq, arrival) in packets.take(MAX_PACKETS) {
            let Some(news) = self.history.report(seq, arrival.is_some()) else {
                continue;
            };
            let sent = match news {
                News::Arrived(sent) | News::ArrivedLate(sent) | News::Lost(sent) => sent,
            };
            newest_sent = newest_sent.max(Some(sent.at));
            match news {
                News::Lost(sent) => {
                    self.loss.on_packet(sent.bytes, true);
                    if self.newly_lost.len() < MAX_NEWLY_LOST {
                        self.newly_lost.push(seq);
                    }
                }
                News::Arrived(sent) => self.loss.on_packet(sent.bytes, false),
                News::ArrivedLate(sent) => self.loss.on_late_arrival(sent.bytes),
            }
            if let Some(arrival) = arrival {
                self.arrived.push(Arrived {
                    arrival,
                    sent: sent.at,
                    bytes: sent.bytes,
                    cluster: sent.cluster,
                    expected_ms: sent.expected_ms,
                });
            }
        }
        let Some(newest_sent) = newest_sent else {
            return;
        };
        self.take_arrivals(now);
        self.judge(now, newest_sent);
    }

    /// A round trip time was measured, as from receiver reports (RFC 3550 §6.4.1).
    pub fn on_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
    }

    /// A receiver report: the fraction lost, 0 to 1. Counts only without transport-wide feedback,
    /// which says the same and more.
    pub fn on_receiver_loss(&mut self, now: Instant, fraction: f64) {
        self.unheard_since = None;
        self.leaving = None;
        if self.heard.is_some() {
            return;
        }
        let sent = self.sending.bitrate(now);
        if self.reports.on_loss(now, fraction, sent) {
            self.congested = Some((now, Congestion::Loss));
        }
    }

    /// The receiver's own estimate: an upper bound.
    pub fn on_remb(&mut self, now: Instant, bitrate: Bitrate) {
        self.reports.on_remb(now, bitrate);
    }

    /// What the layers in use amount to.
    pub fn set_allocated(&mut self, bitrate: Bitrate) {
        let before = self.sending.set_allocated(bitrate);
        if bitrate > before * CHANGED_RATE || before > bitrate * CHANGED_RATE {
            self.acknowledged.expect_change();
        }
    }

    /// Rates that would be of use if they went through. Without any, nothing is probed.
    pub fn want_probe(&mut self, wanted: Option<Wanted>) {
        self.prober.want(wanted);
    }

    /// Padding or retransmissions to send now. Call it when [`poll_timeout`](Self::poll_timeout)
    /// says so, until it has nothing.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        // Until a report has come nobody may be listening, or without the extension for it.
        self.heard?;
        if self.congestion(now).is_some() {
            return None;
        }
        let estimate = self.estimate_at(now);
        self.prober.poll(now, estimate, self.queue.jitter())
    }

    /// Time passes: nothing may have been heard for too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        let lately = |at: Instant| now.saturating_duration_since(at) < SILENCE_AGAIN;
        if !self.is_silent(now) || self.backed_off.is_some_and(lately) {
            return;
        }
        self.backed_off = Some(now);
        let lowered = self.aimd.estimate() * SILENT_BACKOFF;
        self.aimd.set(now, lowered.max(self.config.min));
        self.congest(now, Congestion::Silence);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and [`poll_probe`](Self::poll_probe).
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let heard = self.heard.is_some();
        let silence = self.unheard_since.filter(|_| heard).map(|at| {
            let again = self.backed_off.map(|at| at + SILENCE_AGAIN);
            again.map_or(at + SILENCE, |again| again.max(at + SILENCE))
        });
        let probe = (heard && self.congestion(now).is_none())
            .then(|| self.prober.poll_timeout(now, self.estimate_at(now)))
            .flatten();
        silence.into_iter().chain(probe).min()
    }

    /// How much may be sent.
    pub fn estimate(&self, now: Instant) -> Bitrate {
        self.estimate_at(now)
    }

    /// Whether feedback said that what was sent with these low 16 bits of a number arrived.
    pub fn has_arrived(&self, number: u16) -> bool {
        self.history.has_arrived(number)
    }

    /// Whether transport-wide feedback comes.
    pub fn is_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// How much is being sent, probes apart.
    pub fn sending(&mut self, now: Instant) -> Bitrate {
        self.sending.bitrate(now)
    }

    /// All that is known.
    pub fn network(&self, now: Instant) -> Network {
        Network {
            estimate: self.estimate_at(now),
            loss: self.loss.average(),
            queue: self.queue.standing(),
            congestion: self.congestion(now),
            proven: self.proven,
            probing: self.prober.is_busy(now),
        }
    }

    /// Round trip time, as measured or from feedback, which adds the receiver's interval to it.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Share of bytes lost lately, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.loss.average()
    }

    /// Share that the path loses whatever is sent, 0 to 1. Receiver reports cannot tell that from loss by
    /// congestion.
    pub fn inherent_loss(&self) -> f64 {
        match self.heard {
            Some(_) => 1.0 - 1.0 / self.loss.inherent_scale(),
            None => self.reports.loss(),
        }
    }

    /// Low 16 bits of the numbers of packets that reports have missed since [`forget_lost`](Self::forget_lost).
    pub fn newly_lost(&self) -> &[u16] {
        &self.newly_lost
    }

    /// What reports have missed so far has been dealt with.
    pub fn forget_lost(&mut self) {
        self.newly_lost.clear();
    }

    /// The queue did not drain while nothing was sent: it is another's, or the path is longer now.
    pub fn accept_queue(&mut self, now: Instant) {
        self.foreign_queue = Some(now);
        self.queue.accept();
    }

    /// The queue that overflowed is gone, and with it the layer that was too much: what it lost says
    /// nothing about what is sent from now on.
    pub fn forget_losses(&mut self) {
        self.loss.forget();
    }

    fn take_arrivals(&mut self, now: Instant) {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.sort_unstable_by_key(|packet| (packet.arrival, packet.sent));
        for packet in &arrived {
            self.acknowledged.on_arrival(packet.arrival, packet.bytes);
            let (sent, arrival) = (packet.sent, packet.arrival);
            self.queue
                .on_arrival(sent, arrival, packet.bytes, packet.expected_ms);
            if let Some(cluster) = packet.cluster {
                // A probe is meant to fill the queue; that says nothing about the media's rate.
                self.groups.interrupt();
                self.prober
                    .on_arrival(cluster, packet.sent, packet.arrival, packet.bytes);
                continue;
            }
            if let Some(variation) = self.groups.on_arrival(packet.sent, packet.arrival) {
                let trend = self.trendline.on_variation(&variation);
                self.overuse
                    .on_trend(trend, variation.sent_ms, variation.arrival);
            }
        }
        if let Some(sent) = arrived.iter().map(|packet| packet.sent).max() {
            let micros = self.stamp(now).micros_since(sent).max(0) as u64;
            let sample = Duration::from_micros(micros);
            // The report waited at the receiver; the least of what is seen is closest.
            let smoothed = |rtt: Duration| sample.min((rtt * 7 + sample) / 8);
            self.rtt = Some(self.rtt.map_or(sample, smoothed));
        }
        // The first report may be about seconds; those that follow are about a tenth of one.
        arrived.clear();
        arrived.shrink_to(USUAL_REPORT);
        self.arrived = arrived;
    }

    fn judge(&mut self, now: Instant, newest_sent: Stamp) {
        let lately = |at: Instant| now.saturating_duration_since(at) < SHARED_FOR;
        let shared = self.foreign_queue.is_some_and(lately);
        let sharing = if shared {
            STANDING_QUEUE
        } else {
            Duration::ZERO
        };
        let bearable = UNEXPLAINED_QUEUE + sharing + self.queue.jitter() * 2;
        let usage = match self.overuse.usage() {
            Usage::Over if self.queue.unexplained() < bearable => Usage::Under,
            usage => usage,
        };
        let application_limited = self.sending.is_limited(now, self.aimd.estimate());
        let evidence = Evidence {
            usage,
            acknowledged: self.acknowledged.bitrate(),
            // What the path loses behind the bottleneck went through it.
            bottleneck: self
                .queue
                .rate()
                .map(|rate| rate * self.loss.inherent_scale()),
            queue_free: self.queue.standing() < bearable,
            queue_stands: !shared && self.queue.unexplained() > bearable + STANDING_QUEUE,
            sent: self.sending.bitrate(now),
            used: self.sending.allocated() * (1.0 + self.loss.average()),
            rtt: self.rtt.unwrap_or(FIRST_RTT),
            application_limited,
        };
        let lowered = self.aimd.update(now, &evidence);
        // Lowered before, and the sender has not followed yet.
        let ignored = usage == Usage::Over && evidence.sent > self.aimd.estimate();
        if lowered || ignored {
            self.congest(now, Congestion::Delay);
        }
        if let Some(result) = self.prober.take_result(self.loss.inherent_scale()) {
            self.take_probe(now, result, usage);
        }
        let delay_based = self.aimd.estimate();
        let acknowledged = self.acknowledged.bitrate();
        if self.loss.update(newest_sent, delay_based, acknowledged) {
            self.congest(now, Congestion::Loss);
        }
    }

    fn take_probe(&mut self, now: Instant, result: ProbeResult, usage: Usage) {
        let estimate = self.aimd.estimate();
        if result.confirmed {
            self.proven = Some((now, result.rate));
            self.loss.prove(result.rate);
        }
        if result.confirmed && usage != Usage::Over && result.rate > estimate {
            self.aimd.set(now, result.rate);
        } else if result.saturated {
            // The bottleneck showed. What is in use goes through as it is, so not below that.
            let used = self.sending.allocated() * CHANGED_RATE;
            self.aimd.set(now, result.rate.max(used).min(estimate));
        }
    }

    fn congest(&mut self, now: Instant, why: Congestion) {
        self.congested = Some((now, why));
        self.prober.interrupt(now);
    }

    fn congestion(&self, now: Instant) -> Option<Congestion> {
        if self.is_silent(now) {
            return Some(Congestion::Silence);
        }
        let (at, why) = self.congested?;
        (now.saturating_duration_since(at) < CONGESTED_FOR).then_some(why)
    }

    fn is_silent(&self, now: Instant) -> bool {
        let silent = |since: Instant| now.saturating_duration_since(since) >= SILENCE;
        self.heard.is_some() && self.unheard_since.is_some_and(silent)
    }

    fn estimate_at(&self, now: Instant) -> Bitrate {
        let own = match self.heard {
            Some(_) => self
                .aimd
                .estimate()
                .min(self.loss.bound().unwrap_or(Bitrate::MAX)),
            None => self.reports.estimate(),
        };
        let bounded = own.min(self.reports.bound(now).unwrap_or(Bitrate::MAX));
        bounded.clamp(self.config.min, self.config.max)
    }

    fn stamp(&self, now: Instant) -> Stamp {
        let micros = now.saturating_duration_since(self.epoch).as_micros();
        Stamp::from_micros(micros as i64)
    }

    /// Microseconds of a reference time, which has 24 bits, counted on from the last.
    fn reference_micros(&mut self, reference: i32) -> i64 {
        let last = self.reference.unwrap_or(i64::from(reference));
        let ahead = (reference.wrapping_sub(last as i32) << 8) >> 8;
        let unwrapped = last + i64::from(ahead);
        self.reference = Some(unwrapped);
        unwrapped * Twcc::REFERENCE_MICROS
    }
}

#[cfg(test)]
mod tests;
