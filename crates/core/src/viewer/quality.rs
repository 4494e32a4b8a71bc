//! What a viewer's network carries, and what of the video it is therefore given.
//!
//! Hears of every packet that leaves and of what the viewer reports, and tells the [`Reader`] some times a
//! second which layer to send. Everything here happens within a delivery, so it needs no timer
//! of its own: a probe that is under way asks for the next delivery early.

use std::time::{Duration, Instant};

use stagecast_proto::rtcp::Twcc;

use crate::bwe::{Allocator, Bitrate, Config, Estimator, Network, PacketKind, Probe};
use crate::hub::{Reader, Source};
use stagecast_proto::codec::Kind;

/// Between choices; a report brings the next one forward.
const CHOICE_INTERVAL: Duration = Duration::from_millis(100);
/// Over which the rate of audio is averaged.
const AUDIO_WINDOW: Duration = Duration::from_secs(1);
/// IP and UDP, which count for the network.
const BELOW_RTP: usize = 28;
/// Packets of a probe are not spread more finely.
const PROBE_STEP: Duration = Duration::from_millis(2);
/// Share of the estimate that retransmissions may take, and how much of it may be saved up.
const REPAIR_SHARE: f64 = 0.3;
/// A packet is sent again at most so often.
const MOST_RESENDS: u8 = 5;
/// And where nothing tells that it has arrived: requests that go on all the same must not take the room of others.
const MOST_RESENDS_UNHEARD: u8 = 3;
/// The only layer is sent whatever the estimate is, and without repairs in vain: this part of it counts as much.
const WORTH_REPAIR: f64 = 0.5;
const REPAIR_SAVINGS: Duration = Duration::from_secs(1);
const MIN_REPAIR_SAVINGS: u64 = 16 << 10;
/// With this share lost whatever is sent, one retransmission of ten or so would not do.
const MUCH_LOSS: f64 = 0.02;

/// Estimate and choice of one viewer.
#[derive(Debug)]
pub struct Quality {
    estimator: Estimator,
    allocator: Allocator,
    /// The viewer has said something about its network.
    informed: bool,
    chosen: bool,
    next_choice: Instant,
    audio: AudioRate,
    repair: RepairBudget,
}

impl Quality {
    /// Nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Self {
            estimator: Estimator::new(Config::default(), now),
            allocator: Allocator::new(),
            informed: false,
            chosen: false,
            next_choice: now,
            audio: AudioRate::new(now),
            repair: RepairBudget::new(now),
        }
    }

    /// A packet left. `seq` is its transport-wide number, if it has one.
    pub fn on_sent(
        &mut self,
        now: Instant,
        seq: Option<u64>,
        bytes: usize,
        audio: bool,
        kind: PacketKind,
    ) {
        let bytes = bytes + BELOW_RTP;
        if audio {
            self.audio.bytes += bytes as u64;
        }
        match seq {
            Some(seq) => self.estimator.on_sent(now, seq, bytes, kind),
            None => self.estimator.on_sent_unnumbered(now, bytes),
        }
    }

    /// Transport-wide feedback came.
    pub fn on_twcc(&mut self, now: Instant, twcc: &Twcc<'_>) {
        self.inform(now);
        self.estimator.on_twcc(now, twcc);
    }

    /// A receiver report came: fraction lost, 0 to 1, and the round trip time if it tells.
    pub fn on_report(&mut self, now: Instant, lost: f64, rtt: Option<Duration>) {
        self.inform(now);
        self.estimator.on_receiver_loss(now, lost);
        if let Some(rtt) = rtt {
            self.estimator.on_rtt(rtt);
        }
    }

    /// The receiver's own estimate came.
    pub fn on_remb(&mut self, now: Instant, bitrate: Bitrate) {
        self.inform(now);
        self.estimator.on_remb(now, bitrate);
    }

    /// How much may be sent, once something is known.
    pub fn estimate(&self, now: Instant) -> Option<Bitrate> {
        self.informed.then(|| self.estimator.estimate(now))
    }

    /// Whether so many bytes may be sent again now; if so they are accounted for.
    pub fn may_repair(&mut self, now: Instant, bytes: usize) -> bool {
        let rate = self.repair_rate(now);
        self.repair.take(now, rate, bytes as u64)
    }

    /// Transport-wide numbers of packets that were reported lost since they were forgotten.
    pub fn newly_lost(&self) -> &[u16] {
        self.estimator.newly_lost()
    }

    /// They have been dealt with.
    pub fn forget_lost(&mut self) {
        self.estimator.forget_lost();
    }

    /// Whether to send a retransmission twice: where the path loses packets at any rate, so that this
    /// makes nothing worse, and as long as it leaves enough for what else has to be sent again.
    pub fn may_repair_twice(&mut self, now: Instant, bytes: usize) -> bool {
        let rate = self.repair_rate(now);
        self.estimator.inherent_loss() >= MUCH_LOSS
            && self.estimator.network(now).congestion.is_none()
            && self.repair.is_ample(rate)
            && self.may_repair(now, bytes)
    }

    /// Whether the viewer reported that what was sent with this transport-wide number arrived.
    pub fn has_arrived(&self, number: u16) -> bool {
        self.estimator.has_arrived(number)
    }

    /// How often a packet may be sent again.
    pub fn most_resends(&self) -> u8 {
        if self.estimator.is_heard() {
            MOST_RESENDS
        } else {
            MOST_RESENDS_UNHEARD
        }
    }

    /// Whether the viewer is to be made to say what it lost: it sends no transport-wide feedback, from
    /// which that would be known, over a path on which requests get lost, too.
    pub fn is_vague(&self) -> bool {
        !self.estimator.is_heard() && self.estimator.inherent_loss() >= MUCH_LOSS
    }

    fn repair_rate(&mut self, now: Instant) -> Bitrate {
        let sent = self.estimator.sending(now) * WORTH_REPAIR;
        self.estimator.estimate(now).max(sent) * REPAIR_SHARE
    }

    /// Choose a layer, if it is time to, and tell the reader.
    pub fn choose(&mut self, source: &Source, reader: &mut Reader, now: Instant) {
        if now < self.next_choice {
            return;
        }
        let Some((_, track)) = source.first(Kind::Video) else {
            return;
        };
        self.next_choice = now + CHOICE_INTERVAL;
        self.estimator.handle_timeout(now);
        if let Some(layer) = reader.video_layer() {
            self.allocator.on_switched(layer);
        }
        let offers = track.offers(now);
        let wishes = track.wishes(reader.wish(), now);
        let audio = self.audio.rate(now);
        let network = self.network(now);
        let decision = self.allocator.update(now, audio, &offers, wishes, &network);
        if decision.foreign_queue {
            self.estimator.accept_queue(now);
        }
        if decision.drained {
            self.estimator.forget_losses();
        }
        self.estimator.set_allocated(decision.allocated);
        self.estimator.want_probe(decision.probe);
        self.chosen |= decision.target.is_some();
        // Until the first choice the reader takes the best there is.
        reader.set_target(decision.target);
        reader.set_hold(decision.stop && decision.target.is_some());
        reader.set_paused(self.chosen && decision.target.is_none() && !offers.is_empty());
    }

    /// What is to be sent now to learn whether more goes through.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        self.estimator.poll_probe(now)
    }

    /// When the next delivery is due because of a probe.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        let at = self.estimator.poll_timeout(now)?;
        Some(at.max(now + PROBE_STEP))
    }

    fn inform(&mut self, now: Instant) {
        self.informed = true;
        self.next_choice = now;
    }

    /// A viewer that reports nothing is given the benefit of the doubt once it has a layer.
    fn network(&self, now: Instant) -> Network {
        let mut network = self.estimator.network(now);
        if !self.informed && self.chosen {
            network.estimate = Bitrate::MAX;
        }
        network
    }
}

/// What audio takes, headers included.
#[derive(Debug)]
struct AudioRate {
    bytes: u64,
    since: Instant,
    rate: Bitrate,
}

impl AudioRate {
    fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            rate: Bitrate::ZERO,
        }
    }

    fn rate(&mut self, now: Instant) -> Bitrate {
        let passed = now.saturating_duration_since(self.since);
        if passed >= AUDIO_WINDOW {
            self.rate = Bitrate::of(std::mem::take(&mut self.bytes), passed);
            self.since = now;
        }
        self.rate
    }
}

/// Bytes that retransmissions may use: a share of the estimate, saved up for a while.
#[derive(Debug)]
struct RepairBudget {
    bytes: u64,
    at: Instant,
}

impl RepairBudget {
    fn new(now: Instant) -> Self {
        Self {
            bytes: MIN_REPAIR_SAVINGS,
            at: now,
        }
    }

    /// Most that is saved up.
    fn most(rate: Bitrate) -> u64 {
        rate.bytes_in(REPAIR_SAVINGS).max(MIN_REPAIR_SAVINGS)
    }

    /// Whether more than half of the most is there.
    fn is_ample(&self, rate: Bitrate) -> bool {
        self.bytes > Self::most(rate) / 2
    }

    fn take(&mut self, now: Instant, rate: Bitrate, bytes: u64) -> bool {
        let passed = now.saturating_duration_since(self.at).min(REPAIR_SAVINGS);
        self.at = now;
        let most = Self::most(rate);
        self.bytes = (self.bytes + rate.bytes_in(passed)).min(most);
        let enough = self.bytes >= bytes;
        self.bytes -= if enough { bytes } else { 0 };
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 1200;

    /// A hundred packets a second go to a viewer without transport-wide feedback, and of each hundred so many
    /// are lost as `lost` says for a second: how many of those may not be sent again.
    fn given_up(seconds: u32, lost: impl Fn(u32) -> u32) -> u32 {
        let start = Instant::now();
        let mut quality = Quality::new(start);
        let mut refused = 0;
        for second in 0..seconds {
            let lost = lost(second);
            for packet in 0..100 {
                let now = start + Duration::from_millis(u64::from(second * 1000 + packet * 10));
                quality.on_sent(now, None, PACKET, false, PacketKind::Media);
                if packet * lost % 100 < lost {
                    refused += u32::from(!quality.may_repair(now, PACKET));
                    quality.may_repair_twice(now, PACKET);
                }
            }
            let now = start + Duration::from_secs(u64::from(second + 1));
            quality.on_report(now, f64::from(lost) / 100.0, None);
        }
        refused
    }

    #[test]
    fn losses_by_chance_are_repaired_for_an_hour_without_transport_feedback() {
        let lost = |second: u32| if second % 20 == 19 { 12 } else { 5 };
        assert_eq!(given_up(3600, lost), 0);
    }

    #[test]
    fn only_layer_is_repaired_where_much_is_lost_all_the_time() {
        assert_eq!(given_up(600, |_| 13), 0);
    }
}
