//! A viewer: reports arrivals as a browser does, asks for what is missing, and decodes what is complete.

use std::collections::BTreeMap;

use stagecast_proto::rtcp::{Twcc, TwccHeader};

use super::random::Random;

const NACK_AFTER_US: u64 = 10_000;
const NACK_TRIES: u8 = 8;
/// A frame that is not complete after this is given up, and a keyframe asked for.
const GIVE_UP_US: u64 = 600_000;
const PLI_INTERVAL_US: u64 = 500_000;
/// A picture that stands longer than this is a freeze, as WebRTC's statistics count it.
const FREEZE_US: u64 = 33_333 + 150_000;
const RR_INTERVAL_US: u64 = 1_000_000;

/// What a packet on the wire is.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Audio.
    Audio,
    /// A video packet: number in the viewer's stream, frame, packets of the frame.
    Video {
        /// Sequence number.
        seq: u32,
        /// Number of the frame.
        frame: u32,
        /// Packets of the frame.
        count: u16,
        /// Of a keyframe.
        keyframe: bool,
    },
    /// Probing.
    Padding,
}

/// A packet on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// Transport-wide sequence number.
    pub seq: u64,
    /// With all headers.
    pub bytes: usize,
    /// What it is.
    pub content: Content,
}

/// What the viewer sends back.
#[derive(Clone, Debug)]
pub enum Report {
    /// An RTCP packet with transport-wide feedback.
    Twcc(Vec<u8>),
    /// A receiver report: the fraction lost.
    Loss(f64),
    /// Video packets that are missing.
    Nack(Vec<u32>),
    /// A keyframe is needed.
    Pli,
}

struct Frame {
    got: u16,
    count: u16,
    keyframe: bool,
}

struct Missing {
    since: u64,
    asked: Option<u64>,
    tries: u8,
}

/// The receiving end.
pub struct Viewer {
    rtt: u64,
    random: Random,
    arrivals: BTreeMap<u64, u64>,
    next_base: u64,
    feedback_count: u8,
    feedback_at: u64,
    rr_at: u64,
    received: u64,
    expected_base: u64,
    highest_seq: Option<u32>,
    missing: BTreeMap<u32, Missing>,
    frames: BTreeMap<u32, Frame>,
    next_frame: Option<u32>,
    blocked_since: Option<u64>,
    asked_keyframe: Option<u64>,
    shown: Option<u64>,
    /// Time that the picture stood, and the longest, in µs.
    pub frozen: (u64, u64),
    /// Bytes of media that came for the first time.
    pub media_bytes: u64,
    /// Audio packets that came.
    pub audio_packets: u64,
}

impl Viewer {
    /// A viewer whose round trip without a queue is known to its NACK timer.
    pub fn new(rtt_ms: u32, seed: u64) -> Self {
        Self {
            rtt: u64::from(rtt_ms) * 1000,
            random: Random::new(seed),
            arrivals: BTreeMap::new(),
            next_base: 0,
            feedback_count: 0,
            feedback_at: 50_000,
            rr_at: RR_INTERVAL_US,
            received: 0,
            expected_base: 0,
            highest_seq: None,
            missing: BTreeMap::new(),
            frames: BTreeMap::new(),
            next_frame: None,
            blocked_since: None,
            asked_keyframe: None,
            shown: None,
            frozen: (0, 0),
            media_bytes: 0,
            audio_packets: 0,
        }
    }

    /// A packet came.
    pub fn on_arrival(&mut self, at: u64, wire: &Wire) {
        self.arrivals.insert(wire.seq, at);
        self.received += 1;
        match wire.content {
            Content::Audio => {
                self.audio_packets += 1;
                self.media_bytes += wire.bytes as u64;
            }
            Content::Padding => {}
            Content::Video {
                seq,
                frame,
                count,
                keyframe,
            } => {
                if !self.is_new(at, seq) {
                    return;
                }
                self.media_bytes += wire.bytes as u64;
                let known = self.frames.entry(frame).or_insert(Frame {
                    got: 0,
                    count,
                    keyframe,
                });
                known.got += 1;
                self.decode(at);
            }
        }
    }

    fn is_new(&mut self, at: u64, seq: u32) -> bool {
        let Some(highest) = self.highest_seq else {
            self.highest_seq = Some(seq);
            return true;
        };
        if seq <= highest {
            return self.missing.remove(&seq).is_some();
        }
        for lost in highest + 1..seq {
            let missing = Missing {
                since: at,
                asked: None,
                tries: 0,
            };
            self.missing.insert(lost, missing);
        }
        self.highest_seq = Some(seq);
        true
    }

    fn decode(&mut self, at: u64) {
        loop {
            let complete = |frame: &&Frame| frame.got == frame.count;
            let next = self
                .next_frame
                .filter(|next| self.frames.get(next).as_ref().is_some_and(complete));
            // A keyframe needs nothing before it, so what is missing there is not waited for.
            let mut keys = self
                .frames
                .iter()
                .filter(|(_, f)| f.keyframe && complete(f));
            let found = next.or_else(|| keys.next_back().map(|(&frame, _)| frame));
            let Some(frame) = found else {
                break;
            };
            self.frames = self.frames.split_off(&(frame + 1));
            self.next_frame = Some(frame + 1);
            self.blocked_since = None;
            self.asked_keyframe = None;
            self.show(at);
        }
        if self.next_frame.is_some() && !self.frames.is_empty() {
            self.blocked_since.get_or_insert(at);
        }
    }

    fn show(&mut self, at: u64) {
        let gap = self.shown.map_or(0, |shown| at - shown);
        if gap > FREEZE_US {
            self.frozen.0 += gap - 33_333;
            self.frozen.1 = self.frozen.1.max(gap - 33_333);
        }
        self.shown = Some(at);
    }

    /// The run is over: a picture that stands until then counts.
    pub fn finish(&mut self, now: u64) {
        self.show(now);
    }

    /// What is to be sent back now.
    pub fn reports(&mut self, now: u64) -> Vec<Report> {
        let mut reports = Vec::new();
        if now >= self.feedback_at {
            self.feedback_at = now + self.random.between(50e3, 100e3) as u64;
            reports.extend(self.twcc().map(Report::Twcc));
        }
        if now >= self.rr_at {
            self.rr_at = now + RR_INTERVAL_US;
            let expected = self.next_base - self.expected_base;
            let fraction = 1.0 - self.received as f64 / expected.max(1) as f64;
            reports.push(Report::Loss(fraction.max(0.0)));
            self.expected_base = self.next_base;
            self.received = 0;
        }
        self.repair(now, &mut reports);
        reports
    }

    fn twcc(&mut self) -> Option<Vec<u8>> {
        let (&last, _) = self.arrivals.last_key_value()?;
        let (&first, &first_at) = self.arrivals.first_key_value()?;
        let base = self.next_base.min(first);
        let reference = first_at as i64 / Twcc::REFERENCE_MICROS;
        let mut ticks = reference * Twcc::REFERENCE_MICROS / Twcc::TICK_MICROS;
        let statuses: Vec<_> = (base..=last)
            .map(|seq| {
                let at = *self.arrivals.get(&seq)? as i64 / Twcc::TICK_MICROS;
                let delta = at - ticks;
                ticks = at;
                Some(delta as i16)
            })
            .collect();
        let header = TwccHeader {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence: base as u16,
            reference_time: reference as i32,
            feedback_count: self.feedback_count,
        };
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.next_base = last + 1;
        self.arrivals.clear();
        let mut packet = Vec::new();
        Twcc::write(&mut packet, &header, &statuses);
        Some(packet)
    }

    fn repair(&mut self, now: u64, reports: &mut Vec<Report>) {
        let again = self.rtt.max(30_000) + 20_000;
        let mut nack = Vec::new();
        for (&seq, missing) in &mut self.missing {
            let due = match missing.asked {
                None => now >= missing.since + NACK_AFTER_US,
                Some(asked) => now >= asked + again,
            };
            if due && missing.tries < NACK_TRIES && now < missing.since + GIVE_UP_US {
                missing.asked = Some(now);
                missing.tries += 1;
                nack.push(seq);
            }
        }
        if !nack.is_empty() {
            reports.push(Report::Nack(nack));
        }
        if self
            .blocked_since
            .is_some_and(|since| now > since + GIVE_UP_US)
        {
            self.next_frame = None;
            self.blocked_since = None;
            self.missing.clear();
            self.decode(now);
            if self.next_frame.is_some() {
                return;
            }
            self.asked_keyframe = Some(0);
        }
        if let Some(asked) = self.asked_keyframe
            && now >= asked + PLI_INTERVAL_US
        {
            self.asked_keyframe = Some(now);
            reports.push(Report::Pli);
        }
    }
}
