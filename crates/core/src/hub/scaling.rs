//! Reads where packets of one layer stand in a scalable stream: which readers need them, and where
//! those who left something out can have it again.
//!
//! The dependency descriptor says it for any codec. Without it VP8 and VP9 say it in their payload
//! descriptors; whether VP9 predicts spatial layers from each other outside of keyframes is
//! learned from the upper ones as they come.

use stagecast_proto::codec::PayloadInfo;
use stagecast_proto::rtp::dependency::{Descriptor, Indication, Structure};

use crate::packet::{Level, Levels, MAX_LEVELS, MAX_SPATIAL, Scale};

/// What is in force for one layer.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    /// VP9's spatial layers are predicted from each other in keyframes only.
    separate: bool,
    /// Width and height of each spatial layer.
    sizes: [Option<(u16, u16)>; MAX_SPATIAL],
    /// Highest spatial layer of VP9 in the last picture that had more than one.
    highest: u8,
    described: Option<Described>,
}

/// A structure of the dependency descriptor, as levels.
#[derive(Debug)]
struct Described {
    structure: Structure,
    active: u32,
    /// For each level the decode target that a reader of it gets.
    targets: [Option<u8>; MAX_LEVELS],
    separate: bool,
}

impl Scaling {
    /// From the payload itself.
    pub fn of_payload(&mut self, info: &PayloadInfo, in_keyframe: bool) -> Scale {
        let Some(place) = info.scalability else {
            return Scale::NONE;
        };
        let level = Level {
            spatial: place.spatial.min(Level::TOP.spatial),
            temporal: place.temporal.min(Level::TOP.temporal),
        };
        if in_keyframe && info.keyframe {
            self.highest = 0;
            self.sizes = info.layer_sizes;
        }
        self.highest = self.highest.max(level.spatial);
        if place.begins && level.spatial > 0 && !in_keyframe {
            self.separate = place.inter_picture && !place.inter_layer;
        }
        let alone = self.separate && !in_keyframe && level.spatial < self.highest;
        let upper = if alone {
            level.spatial
        } else {
            Level::TOP.spatial
        };
        let switch = if place.switch_up {
            Levels::ALL
        } else {
            Levels::default()
        };
        Scale {
            level,
            needed: Levels::range(level.spatial..=upper, level.temporal),
            switch,
            sync: place.sync,
            frame_begin: place.begins,
            frame_end: place.ends,
            separate: self.separate,
        }
    }

    /// Width and height of the spatial layer that a packet belongs to.
    pub fn size(&self, scale: &Scale) -> Option<(u16, u16)> {
        let size = self.sizes.get(usize::from(scale.level.spatial))?;
        size.filter(|_| scale.needed != Levels::ALL || scale.level.spatial > 0)
    }

    /// From a dependency descriptor. One that cannot be read leaves nothing out.
    pub fn of_descriptor(&mut self, value: &[u8]) -> Scale {
        let known = self.described.as_ref().map(|d| &d.structure);
        let Ok(mut descriptor) = Descriptor::parse(value, known) else {
            return Scale::NONE;
        };
        if let Some(structure) = descriptor.structure.take() {
            for (index, size) in self.sizes.iter_mut().enumerate() {
                *size = structure.resolutions.get(index).copied();
            }
            self.described = Some(Described::new(structure));
        }
        let Some(described) = &mut self.described else {
            return Scale::NONE;
        };
        if let Some(active) = descriptor.active_targets {
            described.activate(active);
        }
        described.scale(&descriptor)
    }
}

impl Described {
    fn new(structure: Structure) -> Self {
        let mut described = Self {
            structure,
            active: 0,
            targets: [None; MAX_LEVELS],
            separate: false,
        };
        described.activate(u32::MAX);
        described
    }

    /// The sender goes on with these decode targets only: readers of others get the next best.
    fn activate(&mut self, active: u32) {
        if self.active == active {
            return;
        }
        self.active = active;
        let targets = self.structure.targets();
        for level in Level::all() {
            let fits = |index: &usize| {
                let target = &targets[*index];
                let within = target.spatial <= level.spatial && target.temporal <= level.temporal;
                within && active >> index & 1 != 0
            };
            let best = (0..targets.len())
                .filter(fits)
                .max_by_key(|&index| (targets[index].spatial, targets[index].temporal));
            self.targets[level.place()] = best.map(|index| index as u8);
        }
        let top = self.targets[Level::TOP.place()].map(usize::from);
        self.separate = top.is_some_and(|top| self.structure.is_separate(top));
    }

    fn scale(&self, frame: &Descriptor) -> Scale {
        let (mut needed, mut switch) = (Levels::default(), Levels::default());
        for level in Level::all() {
            // Nobody says what such a reader gets: everything.
            let Some(target) = self.targets[level.place()] else {
                needed = needed.with(level);
                continue;
            };
            let indication = frame.indications.get(usize::from(target));
            if indication != Indication::NotPresent {
                needed = needed.with(level);
            }
            if indication == Indication::Switch {
                switch = switch.with(level);
            }
        }
        Scale {
            level: Level {
                spatial: frame.spatial.min(Level::TOP.spatial),
                temporal: frame.temporal.min(Level::TOP.temporal),
            },
            needed,
            switch,
            sync: false,
            frame_begin: frame.start_of_frame,
            frame_end: frame.end_of_frame,
            separate: self.separate,
        }
    }
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
mod tests;
