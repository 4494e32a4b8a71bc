//! What of a scalable stream one reader is sent: its spatial and temporal layer now, and those it
//! should have.
//!
//! Temporal layers are left out from the next frame on, and come back where the stream says that they
//! decode again. Spatial layers come back at a keyframe; they are left out from the next frame on
//! when all below were sent, too, and else also at a keyframe.

use crate::packet::{Level, Packet};

/// A reader's levels of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection {
    have: Level,
    want: Level,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            have: Level::TOP,
            want: Level::TOP,
        }
    }
}

impl Selection {
    /// What it should have from the next opportunity on.
    pub fn aim(&mut self, want: Level) {
        self.want = want;
    }

    /// A reading begins, at a keyframe.
    pub fn begin(&mut self, want: Level) {
        self.want = want;
        self.have = want;
    }

    /// What is sent now.
    pub fn level(self) -> Level {
        self.have
    }

    /// Whether only a keyframe leads to the spatial layer it should have.
    pub fn awaits_keyframe(self) -> bool {
        self.have.spatial != self.want.spatial
    }

    /// Whether `packet`, the next one, is to be sent.
    pub fn takes(&mut self, packet: &Packet) -> bool {
        if packet.keyframe {
            self.have = self.want;
        } else if packet.frame_start {
            self.down(packet);
        }
        let scale = &packet.scale;
        let own = scale.frame_begin && scale.level.spatial == self.have.spatial;
        if self.want.temporal > self.have.temporal && (packet.frame_start || own) {
            self.up(packet);
        }
        packet.scale.needed.contains(self.have)
    }

    /// Whether `packet` is the last one of its picture for this reader.
    pub fn ends_picture(self, packet: &Packet) -> bool {
        let scale = &packet.scale;
        packet.marker || (scale.frame_end && scale.level.spatial == self.have.spatial)
    }

    fn down(&mut self, packet: &Packet) {
        if self.want.spatial < self.have.spatial && !packet.scale.separate {
            self.have.spatial = self.want.spatial;
        }
        self.have.temporal = self.have.temporal.min(self.want.temporal);
    }

    fn up(&mut self, packet: &Packet) {
        let scale = &packet.scale;
        let aim = Level {
            spatial: self.have.spatial,
            temporal: self.want.temporal,
        };
        if scale.level.temporal <= self.have.temporal && scale.switch.contains(aim) {
            self.have.temporal = aim.temporal;
        } else if scale.sync && scale.level.temporal == self.have.temporal + 1 {
            self.have.temporal += 1;
        }
    }
}
