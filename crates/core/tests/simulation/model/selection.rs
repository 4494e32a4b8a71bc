//! The reader's part in short: of a publisher's layers, the one that the allocator chose, switched at
//! keyframes.

use std::time::Instant;

use stagecast_core::bwe::{Allocator, Bitrate, Decision, LayerOffer, Network, Target, Wishes};

use super::media::{Publisher, VideoPacket};

/// Audio in kbit/s.
pub const AUDIO_KBPS: u32 = 56;

/// What is forwarded to the viewer.
pub struct Selection {
    allocator: Allocator,
    target: Option<Target>,
    running: Option<Target>,
    in_frame: bool,
    frames: u32,
    /// When in milliseconds which layer and temporal layer began.
    pub changes: Vec<(u32, Option<(usize, u8)>)>,
}

impl Selection {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            allocator: Allocator::new(),
            target: None,
            running: None,
            in_frame: false,
            frames: 0,
            changes: Vec::new(),
        }
    }

    /// Choose by what is known of the network.
    pub fn choose(
        &mut self,
        us: u64,
        now: Instant,
        publisher: &mut Publisher,
        network: &Network,
    ) -> Decision {
        let offers: Vec<_> = (0..publisher.layers())
            .map(|layer| {
                let rates = publisher.rates(layer).into_iter();
                let rates: Vec<_> = rates.map(Bitrate::from_bps).collect();
                LayerOffer::with_temporal(layer, &rates)
            })
            .collect();
        let audio = Bitrate::from_kbps(AUDIO_KBPS.into());
        let wishes = Wishes::default();
        let decision = self.allocator.update(now, audio, &offers, wishes, network);
        self.follow(us, publisher, &decision);
        decision
    }

    fn follow(&mut self, us: u64, publisher: &mut Publisher, decision: &Decision) {
        self.target = decision.target;
        match (self.target, &mut self.running) {
            (Some(target), Some(running)) if target.layer == running.layer => {
                *running = target;
                self.note(us, Some(target));
            }
            (Some(target), _) => publisher.request_keyframe(us, target.layer),
            (None, _) => {}
        }
        if decision.stop || self.target.is_none() {
            self.running = None;
            self.note(us, None);
        }
    }

    /// One layer and no choice.
    pub fn pin(&mut self, us: u64, publisher: &mut Publisher) {
        self.target = Some(Target {
            layer: 0,
            temporal: 0,
        });
        if self.running.is_none() {
            publisher.request_keyframe(us, 0);
        }
    }

    /// The viewer lost the picture.
    pub fn refresh(&self, us: u64, publisher: &mut Publisher) {
        if let Some(running) = self.running {
            publisher.request_keyframe(us, running.layer);
        }
    }

    /// The number of the packet's frame in the viewer's stream, if the viewer gets it.
    pub fn take(&mut self, us: u64, packet: &VideoPacket) -> Option<u32> {
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
        let running = self.running.filter(|r| r.layer == packet.layer)?;
        if packet.index == 0 {
            self.in_frame = packet.temporal <= running.temporal;
            self.frames += u32::from(self.in_frame);
        }
        self.in_frame.then_some(self.frames)
    }

    /// Rate of what is forwarded in kbit/s.
    pub fn kbps(&self, publisher: &Publisher) -> u32 {
        let video = self.running.map_or(0, |running| {
            let rates = publisher.rates(running.layer);
            let index = usize::from(running.temporal).min(rates.len() - 1);
            (rates[index] / 1000) as u32
        });
        video + AUDIO_KBPS
    }

    fn note(&mut self, us: u64, target: Option<Target>) {
        let change = target.map(|t| (t.layer, t.temporal));
        if self.changes.last().is_none_or(|(_, last)| *last != change) {
            self.changes.push(((us / 1000) as u32, change));
        }
    }
}
