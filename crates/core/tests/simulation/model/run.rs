//! A run: publisher, estimator and allocator at one end, the link, and the viewer at the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use stagecast_core::bwe::{
    Allocator, Bitrate, Config, Estimator, LayerOffer, PacketKind, Target, Wanted, Wishes,
};
use stagecast_proto::rtcp::{Compound, Packet};

use super::link::{Link, LinkSpec};
use super::media::{Publisher, VideoPacket};
use super::outcome::{Outcome, Second};
use super::random::Random;
use super::tcp::{Segment, Tcp};
use super::viewer::{Content, Report, Viewer, Wire};

const TICK_US: u64 = 1_000;
const RESEND_MEMORY: usize = 1024;
/// Retransmissions take at most this share of the estimate, saved up over this time.
const RESEND_SHARE: f64 = 0.3;
const RESEND_SPAN: Duration = Duration::from_millis(500);
const AUDIO_KBPS: u32 = 56;

/// What is sent over which link.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The way to the viewer; reports come back with the same delay and without loss.
    pub link: LinkSpec,
    /// Simulcast layers in kbit/s; none for an encoder that follows the estimate.
    pub layers: &'static [u32],
    /// Whether the layers have temporal layers.
    pub temporal: bool,
    /// A TCP-like flow between these seconds.
    pub competing: Option<(u32, u32)>,
    /// How long it runs.
    pub seconds: u32,
}

enum Crossing {
    Ours(Wire),
    Other(Segment),
}

#[derive(Clone, Copy)]
struct Resend {
    seq: u32,
    wire: Wire,
    sent: u64,
}

/// The forwarding end for one viewer.
struct Sender {
    estimator: Estimator,
    allocator: Allocator,
    target: Option<Target>,
    stop: bool,
    running: Option<Target>,
    began_frame: bool,
    next_transport: u64,
    next_seq: u32,
    next_frame: u32,
    sent: VecDeque<Resend>,
    bytes: (u64, u64, u64),
    audio_packets: u64,
    keyframe_seq: u32,
    resend_at: u64,
    resend_bytes: f64,
    changes: Vec<(u32, Option<(usize, u8)>)>,
}

impl Sender {
    fn new(start: Instant) -> Self {
        Self {
            estimator: Estimator::new(Config::default(), start),
            allocator: Allocator::new(),
            target: None,
            stop: true,
            running: None,
            began_frame: false,
            next_transport: 0,
            next_seq: 0,
            next_frame: 0,
            sent: VecDeque::new(),
            bytes: (0, 0, 0),
            audio_packets: 0,
            keyframe_seq: 0,
            resend_at: 0,
            resend_bytes: 0.0,
            changes: Vec::new(),
        }
    }

    fn wire(&mut self, now: Instant, bytes: usize, content: Content, kind: PacketKind) -> Wire {
        let seq = self.next_transport;
        self.next_transport += 1;
        self.estimator.on_sent(now, seq, bytes, kind);
        self.bytes.0 += bytes as u64;
        match kind {
            PacketKind::Padding => self.bytes.1 += bytes as u64,
            PacketKind::Retransmission => self.bytes.2 += bytes as u64,
            PacketKind::Media => {}
        }
        Wire {
            seq,
            bytes,
            content,
        }
    }

    /// Whether this packet goes to the viewer; a switch happens at the target's keyframe.
    fn takes(&mut self, us: u64, packet: &VideoPacket) -> bool {
        if let Some(target) = self.target
            && packet.layer == target.layer
            && packet.keyframe
            && packet.index == 0
            && self.running.is_none_or(|r| r.layer != target.layer)
        {
            self.running = Some(target);
            self.allocator.on_switched(target.layer);
            self.note(us, Some(target));
        }
        let Some(running) = self.running.filter(|r| r.layer == packet.layer) else {
            return false;
        };
        if packet.index == 0 {
            self.began_frame = packet.temporal <= running.temporal;
            if self.began_frame {
                self.next_frame += 1;
            }
        }
        self.began_frame
    }

    fn note(&mut self, us: u64, target: Option<Target>) {
        let change = target.map(|t| (t.layer, t.temporal));
        if self.changes.last().is_none_or(|(_, last)| *last != change) {
            self.changes.push(((us / 1000) as u32, change));
        }
    }

    fn allocate(&mut self, us: u64, now: Instant, publisher: &mut Publisher) {
        self.estimator.handle_timeout(now);
        let offers: Vec<_> = (0..publisher.layers())
            .map(|layer| {
                let rates: Vec<_> = publisher.rates(layer);
                let rates: Vec<_> = rates.into_iter().map(Bitrate::from_bps).collect();
                LayerOffer::with_temporal(layer, &rates)
            })
            .collect();
        let network = self.estimator.network(now);
        let audio = Bitrate::from_kbps(AUDIO_KBPS.into());
        let decision = self
            .allocator
            .update(now, audio, &offers, Wishes::default(), &network);
        if decision.foreign_queue {
            self.estimator.accept_queue(now);
        }
        self.estimator.set_allocated(decision.allocated);
        self.estimator.want_probe(decision.probe);
        self.target = decision.target;
        self.stop = decision.stop;
        match (self.target, &mut self.running) {
            (Some(target), Some(running)) if target.layer == running.layer => {
                *running = target;
                self.note(us, Some(target));
            }
            (Some(target), _) => publisher.request_keyframe(us, target.layer),
            (None, _) => {}
        }
        if self.stop || self.target.is_none() {
            self.running = None;
            self.note(us, None);
        }
    }

    fn on_report(
        &mut self,
        us: u64,
        now: Instant,
        report: Report,
        publisher: &mut Publisher,
    ) -> Vec<Wire> {
        let mut again = Vec::new();
        match report {
            Report::Twcc(bytes) => {
                for packet in Compound::new(&bytes) {
                    if let Ok(Packet::Twcc(twcc)) = packet {
                        self.estimator.on_twcc(now, &twcc);
                    }
                }
            }
            Report::Loss(fraction) => self.estimator.on_receiver_loss(now, fraction),
            Report::Pli => {
                if let Some(running) = self.running {
                    publisher.request_keyframe(us, running.layer);
                }
            }
            Report::Nack(missing) => {
                let rtt = self.estimator.rtt().map_or(0, |rtt| rtt.as_micros() as u64);
                let second = self.estimator.estimate(now).bytes_in(RESEND_SPAN) as f64;
                let passed = (us - self.resend_at) as f64 / RESEND_SPAN.as_micros() as f64;
                self.resend_at = us;
                let most = second * RESEND_SHARE;
                self.resend_bytes = (self.resend_bytes + passed * most).min(most);
                // What was lost before the last keyframe is of no use any more.
                let useful = self.keyframe_seq;
                for seq in missing.into_iter().filter(|&seq| seq >= useful) {
                    let known = self.sent.iter_mut().find(|sent| sent.seq == seq);
                    let Some(sent) = known.filter(|sent| us > sent.sent + rtt) else {
                        continue;
                    };
                    if self.resend_bytes < sent.wire.bytes as f64 {
                        break;
                    }
                    self.resend_bytes -= sent.wire.bytes as f64;
                    sent.sent = us;
                    let Wire { bytes, content, .. } = sent.wire;
                    again.push(self.wire(now, bytes, content, PacketKind::Retransmission));
                }
            }
        }
        again
    }
}

impl Scenario {
    /// Run it.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut seeds = Random::new(seed);
        let start = Instant::now();
        let mut link = Link::new(self.link.clone(), seeds.next());
        let elastic = self.layers.is_empty();
        let layers = if elastic { &[500] } else { self.layers };
        let mut publisher = Publisher::new(layers, self.temporal, seeds.next());
        let mut viewer = Viewer::new(self.link.rtt_ms, seeds.next());
        let (from, to) = self.competing.unwrap_or_default();
        let mut tcp = Tcp::new(from, to, self.link.rtt_ms);
        let mut sender = Sender::new(start);
        let mut back: VecDeque<(u64, Report)> = VecDeque::new();
        let back_us = u64::from(self.link.rtt_ms) * 500;
        let mut allocate_at = 0;
        let mut seconds = Vec::new();
        let (mut waits, mut second_waits) = (Vec::new(), Vec::new());
        let mut second_bytes = 0;

        for us in (0..u64::from(self.seconds) * 1_000_000).step_by(TICK_US as usize) {
            let now = start + Duration::from_micros(us);
            let mut out = Vec::new();
            while let Some((_, report)) = back.pop_front_if(|(at, _)| *at <= us) {
                let judged = matches!(report, Report::Twcc(_));
                out.extend(sender.on_report(us, now, report, &mut publisher));
                if judged {
                    allocate_at = us;
                }
            }
            if us >= allocate_at {
                allocate_at = us + 100_000;
                if elastic {
                    sender.follow(us, now, &mut publisher);
                } else {
                    sender.allocate(us, now, &mut publisher);
                }
            }
            let (mut video, mut audio) = (Vec::new(), Vec::new());
            publisher.run(us, |packet| video.push(packet), |bytes| audio.push(bytes));
            for bytes in audio {
                sender.audio_packets += 1;
                out.push(sender.wire(now, bytes, Content::Audio, PacketKind::Media));
            }
            for packet in video {
                if sender.takes(us, &packet) {
                    out.push(sender.forward(us, now, &packet));
                }
            }
            while let Some(probe) = sender.estimator.poll_probe(now) {
                for _ in 0..probe.bytes / probe.packet_bytes {
                    let (bytes, kind) = (probe.packet_bytes, PacketKind::Padding);
                    out.push(sender.wire(now, bytes, Content::Padding, kind));
                }
            }
            for wire in out {
                link.push(us, wire.bytes, Crossing::Ours(wire));
            }
            tcp.run(us, |bytes, segment| {
                link.push(us, bytes, Crossing::Other(segment));
            });
            while let Some(delivered) = link.pop(us) {
                match delivered.packet {
                    Crossing::Ours(wire) => {
                        viewer.on_arrival(delivered.at, &wire);
                        second_waits.push(delivered.waited as u32);
                    }
                    Crossing::Other(segment) => tcp.on_arrival(delivered.at, segment),
                }
            }
            for report in viewer.reports(us) {
                back.push_back((us + back_us, report));
            }
            if (us + TICK_US) % 1_000_000 == 0 {
                second_waits.sort_unstable();
                let p95 = second_waits.get(second_waits.len() * 95 / 100);
                let network = sender.estimator.network(now);
                seconds.push(Second {
                    link: self.link.rate_at(us),
                    estimate: (network.estimate.as_bps() / 1000) as u32,
                    goodput: ((viewer.media_bytes - second_bytes) * 8 / 1000) as u32,
                    chosen: sender.chosen_kbps(&publisher),
                    queue_ms: p95.map_or(0, |us| us / 1000),
                });
                second_bytes = viewer.media_bytes;
                waits.append(&mut second_waits);
            }
        }
        viewer.finish(u64::from(self.seconds) * 1_000_000);
        waits.sort_unstable();
        Outcome {
            name: self.name,
            seed,
            seconds,
            waits,
            frozen_ms: (viewer.frozen.0 / 1000, viewer.frozen.1 / 1000),
            changes: sender.changes,
            audio: (sender.audio_packets, viewer.audio_packets),
            bytes: sender.bytes,
            rungs: self.rungs(),
            link: self.link.clone(),
            competing: self.competing,
        }
    }

    /// What can be chosen in kbit/s, audio included.
    fn rungs(&self) -> Vec<u32> {
        let shares: &[f64] = if self.temporal { &[0.6, 1.0] } else { &[1.0] };
        let mut rungs: Vec<u32> = Vec::new();
        for &layer in self.layers {
            for share in shares {
                let rung = (f64::from(layer) * share) as u32 + AUDIO_KBPS;
                if rungs.last().is_none_or(|&last| rung > last) {
                    rungs.push(rung);
                }
            }
        }
        rungs
    }
}

impl Sender {
    fn forward(&mut self, us: u64, now: Instant, packet: &VideoPacket) -> Wire {
        let content = Content::Video {
            seq: self.next_seq,
            frame: self.next_frame,
            count: packet.count,
            keyframe: packet.keyframe,
        };
        if packet.keyframe && packet.index == 0 {
            self.keyframe_seq = self.next_seq;
        }
        let wire = self.wire(now, packet.bytes, content, PacketKind::Media);
        if self.sent.len() == RESEND_MEMORY {
            self.sent.pop_front();
        }
        self.sent.push_back(Resend {
            seq: self.next_seq,
            wire,
            sent: us,
        });
        self.next_seq += 1;
        wire
    }

    /// An encoder for this viewer alone, which wants ever more.
    fn follow(&mut self, us: u64, now: Instant, publisher: &mut Publisher) {
        self.estimator.handle_timeout(now);
        let estimate = self.estimator.estimate(now);
        let video = (estimate.as_bps() / 1000).saturating_sub(AUDIO_KBPS.into());
        self.estimator.set_allocated(estimate);
        publisher.set_rate(0, (video as f64).clamp(30.0, 12_000.0));
        self.estimator.want_probe(Some(Wanted {
            next: estimate * 1.5,
            top: Bitrate::from_kbps(12_000),
        }));
        let only = Target {
            layer: 0,
            temporal: 0,
        };
        self.target = Some(only);
        if self.running.is_none() {
            publisher.request_keyframe(us, 0);
        }
    }

    fn chosen_kbps(&self, publisher: &Publisher) -> u32 {
        let video = self.running.map_or(0, |running| {
            let rates = publisher.rates(running.layer);
            let index = usize::from(running.temporal).min(rates.len() - 1);
            (rates[index] / 1000) as u32
        });
        video + AUDIO_KBPS
    }
}
