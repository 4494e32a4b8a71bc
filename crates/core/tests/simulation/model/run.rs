//! A run: publisher, estimator and allocator at one end, the link, and the viewer at the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use stagecast_core::bwe::{Bitrate, Config, Estimator, PacketKind, Wanted};
use stagecast_proto::rtcp::{Compound, Packet};

use super::link::{Link, LinkSpec};
use super::media::{Publisher, VideoPacket};
use super::outcome::{Outcome, Recorder};
use super::pop_due;
use super::random::Random;
use super::selection::{AUDIO_KBPS, Selection};
use super::tcp::{Segment, Tcp};
use super::viewer::{Content, Report, Viewer, Wire};

/// Everything happens at whole milliseconds, but for what the link does.
pub const TICK_US: u64 = 1_000;
/// The allocator is asked at least this often.
pub const ALLOCATE_US: u64 = 100_000;
const RESEND_MEMORY: usize = 1024;
/// Retransmissions take at most this share of the estimate, saved up over this time.
const RESEND_SHARE: f64 = 0.3;
const RESEND_SPAN: Duration = Duration::from_millis(500);
/// What an encoder wants at most that follows the estimate, in kbit/s.
const ENCODER_KBPS: u64 = 12_000;

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

/// What crosses the link: what the viewer is sent, or what competes with it.
pub enum Crossing<T> {
    /// For the viewer.
    Ours(T),
    /// Of the other flow.
    Other(Segment),
}

impl Scenario {
    /// Run it with our estimator.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut seeds = Random::new(seed);
        let start = Instant::now();
        let mut link = Link::new(self.link.clone(), seeds.next());
        let mut publisher = self.publisher(seeds.next());
        let mut viewer = Viewer::new(self.link.rtt_ms, seeds.next());
        let mut tcp = self.tcp();
        let mut sender = Sender::new(start);
        let mut back: VecDeque<(u64, Report)> = VecDeque::new();
        let mut recorder = Recorder::default();
        let mut allocate_at = 0;

        for us in (0..self.end_us()).step_by(TICK_US as usize) {
            let now = start + Duration::from_micros(us);
            let mut out = Vec::new();
            while let Some((_, report)) = pop_due(&mut back, us) {
                if matches!(report, Report::Twcc(_)) {
                    allocate_at = us;
                }
                out.extend(sender.on_report(us, now, report, &mut publisher));
            }
            if us >= allocate_at {
                allocate_at = us + ALLOCATE_US;
                sender.allocate(us, now, &mut publisher, self.layers.is_empty());
            }
            sender.send(us, now, &mut publisher, &mut out);
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
                        recorder.waited(delivered.waited);
                    }
                    Crossing::Other(segment) => tcp.on_arrival(delivered.at, segment),
                }
            }
            let back_us = u64::from(self.link.rtt_ms) * 500;
            let reports = viewer.reports(us).into_iter();
            back.extend(reports.map(|report| (us + back_us, report)));
            if (us + TICK_US).is_multiple_of(1_000_000) {
                let estimate = sender.estimator.estimate(now);
                let chosen = sender.selection.kbps(&publisher);
                recorder.second(self.link.rate_at(us), estimate, chosen, &viewer);
            }
        }
        viewer.finish(self.end_us());
        recorder.finish(self, seed, &viewer, sender.selection.changes, sender.bytes)
    }

    /// The publisher before the link.
    pub fn publisher(&self, seed: u64) -> Publisher {
        if self.layers.is_empty() {
            return Publisher::new(&[500], false, seed);
        }
        Publisher::new(self.layers, self.temporal, seed)
    }

    /// The flow that competes.
    pub fn tcp(&self) -> Tcp {
        let (from, to) = self.competing.unwrap_or_default();
        Tcp::new(from, to, self.link.rtt_ms)
    }

    /// The end of the run.
    pub fn end_us(&self) -> u64 {
        u64::from(self.seconds) * 1_000_000
    }

    /// What can be chosen in kbit/s, audio included.
    pub fn rungs(&self) -> Vec<u32> {
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

/// A packet that may have to be sent again.
#[derive(Clone, Copy)]
struct Resend {
    seq: u32,
    wire: Wire,
    sent: u64,
}

/// The forwarding end for one viewer.
struct Sender {
    estimator: Estimator,
    selection: Selection,
    next_transport: u64,
    next_seq: u32,
    sent: VecDeque<Resend>,
    keyframe_seq: u32,
    resend_at: u64,
    resend_bytes: f64,
    bytes: (u64, u64, u64),
}

impl Sender {
    fn new(start: Instant) -> Self {
        Self {
            estimator: Estimator::new(Config::default(), start),
            selection: Selection::new(),
            next_transport: 0,
            next_seq: 0,
            sent: VecDeque::new(),
            keyframe_seq: 0,
            resend_at: 0,
            resend_bytes: 0.0,
            bytes: (0, 0, 0),
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

    fn allocate(&mut self, us: u64, now: Instant, publisher: &mut Publisher, encoder: bool) {
        self.estimator.handle_timeout(now);
        if encoder {
            return self.follow(us, now, publisher);
        }
        let network = self.estimator.network(now);
        let decision = self.selection.choose(us, now, publisher, &network);
        if decision.foreign_queue {
            self.estimator.accept_queue(now);
        }
        if decision.drained {
            self.estimator.forget_losses();
        }
        self.estimator.set_allocated(decision.allocated);
        self.estimator.want_probe(decision.probe);
    }

    /// An encoder for this viewer alone, which wants ever more.
    fn follow(&mut self, us: u64, now: Instant, publisher: &mut Publisher) {
        let estimate = self.estimator.estimate(now);
        let video = (estimate.as_bps() / 1000).saturating_sub(AUDIO_KBPS.into());
        publisher.set_rate(0, video.clamp(30, ENCODER_KBPS) as f64);
        self.estimator.set_allocated(estimate);
        self.estimator.want_probe(Some(Wanted {
            next: estimate * 1.5,
            top: Bitrate::from_kbps(ENCODER_KBPS),
        }));
        self.selection.pin(us, publisher);
    }

    fn send(&mut self, us: u64, now: Instant, publisher: &mut Publisher, out: &mut Vec<Wire>) {
        let (mut video, mut audio) = (Vec::new(), Vec::new());
        publisher.run(us, |packet| video.push(packet), |bytes| audio.push(bytes));
        for bytes in audio {
            out.push(self.wire(now, bytes, Content::Audio, PacketKind::Media));
        }
        for packet in video {
            if let Some(frame) = self.selection.take(us, &packet) {
                out.push(self.forward(us, now, frame, &packet));
            }
        }
        while let Some(probe) = self.estimator.poll_probe(now) {
            for _ in 0..probe.bytes / probe.packet_bytes {
                let (bytes, kind) = (probe.packet_bytes, PacketKind::Padding);
                out.push(self.wire(now, bytes, Content::Padding, kind));
            }
        }
    }

    fn forward(&mut self, us: u64, now: Instant, frame: u32, packet: &VideoPacket) -> Wire {
        let content = Content::Video {
            seq: self.next_seq,
            frame,
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

    fn on_report(
        &mut self,
        us: u64,
        now: Instant,
        report: Report,
        publisher: &mut Publisher,
    ) -> Vec<Wire> {
        match report {
            Report::Twcc(bytes) => {
                for packet in Compound::new(&bytes) {
                    if let Ok(Packet::Twcc(twcc)) = packet {
                        self.estimator.on_twcc(now, &twcc);
                    }
                }
            }
            Report::Loss(fraction) => self.estimator.on_receiver_loss(now, fraction),
            Report::Pli => self.selection.refresh(us, publisher),
            Report::Nack(missing) => return self.resend(us, now, missing),
        }
        Vec::new()
    }

    fn resend(&mut self, us: u64, now: Instant, missing: Vec<u32>) -> Vec<Wire> {
        let rtt = self.estimator.rtt().map_or(0, |rtt| rtt.as_micros() as u64);
        let most = self.estimator.estimate(now).bytes_in(RESEND_SPAN) as f64 * RESEND_SHARE;
        let passed = (us - self.resend_at) as f64 / RESEND_SPAN.as_micros() as f64;
        self.resend_at = us;
        self.resend_bytes = (self.resend_bytes + passed * most).min(most);
        let mut again = Vec::new();
        // What was lost before the last keyframe is of no use any more.
        let useful = self.keyframe_seq;
        for seq in missing.into_iter().filter(|&seq| seq >= useful) {
            let known = self.sent.iter_mut().find(|sent| sent.seq == seq);
            let Some(sent) = known.filter(|sent| us > sent.sent + rtt) else {
                continue;
            };
            let Wire { bytes, content, .. } = sent.wire;
            if self.resend_bytes < bytes as f64 {
                break;
            }
            self.resend_bytes -= bytes as f64;
            sent.sent = us;
            again.push(self.wire(now, bytes, content, PacketKind::Retransmission));
        }
        again
    }
}
