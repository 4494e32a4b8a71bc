//! The Dependency Descriptor: what a frame is needed for, whatever its codec.
//!
//! A header extension of the AV1 RTP specification (appendix A), used with every video codec. A
//! sender describes once, on a keyframe, its *decode targets* (a spatial layer at a frame rate) and
//! *templates* of frames: layers, what the frame means to each target, and the *chains*: the frames
//! that must all arrive for a target to stay decodable. Each packet then names a template. A forwarder
//! learns from it what to leave out, without looking at the payload.
//!
//! [`Descriptor::parse`] needs the [`Structure`] in force, which the caller keeps. Sizes are bounded by
//! the format: 32 targets, 64 templates, 32 chains; what does not fit is refused.

use self::DependencyError::Truncated;
use crate::codec::bits::Bits;

/// Its URI in SDP.
pub const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// `dt_cnt_minus_one` has five bits.
pub const MAX_TARGETS: usize = 32;
/// Template ids have six bits.
const MAX_TEMPLATES: usize = 64;
/// References of a frame; AV1 has seven, more is noise.
const MAX_REFERENCES: usize = 16;

/// What a frame is to a decode target (`DTI`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// It does not belong to the target.
    NotPresent,
    /// It belongs to it, and no later frame of it needs it.
    Discardable,
    /// It belongs to it, and if it decodes all that follows will.
    Switch,
    /// It belongs to it, and later frames need it.
    Required,
}

impl Indication {
    fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::NotPresent,
            1 => Self::Discardable,
            2 => Self::Switch,
            _ => Self::Required,
        }
    }
}

/// [`Indication`]s for each decode target, two bits each.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Indications(u64);

impl Indications {
    /// What the frame is to the target with this index.
    pub fn get(self, target: usize) -> Indication {
        if target >= MAX_TARGETS {
            return Indication::NotPresent;
        }
        Indication::from_bits(self.0 >> (2 * target))
    }
}

/// Spatial layers up to this one with temporal layers up to that one.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct DecodeTarget {
    /// Highest spatial layer, 0 to 3.
    pub spatial: u8,
    /// Highest temporal layer, 0 to 7.
    pub temporal: u8,
    /// The chain that protects it, if the sender has chains.
    pub chain: Option<u8>,
}

/// What frames of a kind have in common.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: Indications,
    chains: [u8; MAX_TARGETS],
}

/// `template_dependency_structure()`: in force from the keyframe it comes with to the next one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Structure {
    id_offset: u8,
    targets: Vec<DecodeTarget>,
    templates: Vec<Template>,
    chains: usize,
    /// Width and height in pixels of each spatial layer; empty when the sender does not tell.
    pub resolutions: Vec<(u16, u16)>,
}

impl Structure {
    /// The decode targets, best first as senders have them.
    pub fn targets(&self) -> &[DecodeTarget] {
        &self.targets
    }

    /// How many spatial layers it has.
    pub fn spatial_layers(&self) -> u8 {
        self.templates.iter().map(|t| t.spatial).max().unwrap_or(0) + 1
    }

    /// Whether frames of lower spatial layers, as the templates have them, are not needed for a
    /// target with a higher one: the `_KEY` modes, where it leans on them in keyframes only.
    pub fn is_separate(&self, target: usize) -> bool {
        let spatial = self.targets.get(target).map_or(0, |target| target.spatial);
        let beside = |t: &Template| {
            let absent = t.indications.get(target) == Indication::NotPresent;
            t.spatial < spatial && absent
        };
        self.templates.iter().any(beside)
    }

    fn template(&self, id: u8) -> Option<&Template> {
        let index = (id + 64 - self.id_offset) % 64;
        self.templates.get(usize::from(index))
    }
}

/// Why a value says nothing.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DependencyError {
    /// It ends too early.
    #[error("dependency descriptor is cut short")]
    Truncated,
    /// No structure has come yet.
    #[error("dependency descriptor without a structure before it")]
    NoStructure,
    /// The structure in force has no such template.
    #[error("dependency descriptor names the unknown template {id}")]
    UnknownTemplate {
        /// `frame_dependency_template_id`.
        id: u8,
    },
    /// More templates, layers or references than there can be.
    #[error("dependency descriptor has too many {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
}

/// The descriptor of one packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// First packet of its frame; of each spatial layer's frame.
    pub start_of_frame: bool,
    /// Last packet of its frame.
    pub end_of_frame: bool,
    /// Number of the frame, modulo 2¹⁶.
    pub frame_number: u16,
    /// A structure that is in force from this frame on.
    pub structure: Option<Structure>,
    /// The decode targets that the sender still produces, one bit each, when it says so anew.
    pub active_targets: Option<u32>,
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// What it is to each decode target.
    pub indications: Indications,
    chains: [u8; MAX_TARGETS],
}

/// The frame number of a value: what a forwarder that joins streams must renumber.
pub fn frame_number(value: &[u8]) -> Option<u16> {
    let &[_, high, low, ..] = value else {
        return None;
    };
    Some(u16::from_be_bytes([high, low]))
}

/// Where the two bytes of the frame number stand in a value.
pub const FRAME_NUMBER: std::ops::Range<usize> = 1..3;

/// The five flags of `extended_descriptor_fields()`.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // As the format has them.
struct Flags {
    structure: bool,
    active: bool,
    indications: bool,
    references: bool,
    chains: bool,
}

impl Descriptor {
    /// Reads the value of the header extension; `known` is the structure in force.
    pub fn parse(value: &[u8], known: Option<&Structure>) -> Result<Self, DependencyError> {
        let mut bits = Bits::new(value);
        let (start, end) = (bits.bit().ok_or(Truncated)?, bits.bit().ok_or(Truncated)?);
        let id = bits.bits(6).ok_or(Truncated)? as u8;
        let frame_number = bits.bits(16).ok_or(Truncated)? as u16;
        let flags = if value.len() > 3 {
            Flags::read(&mut bits).ok_or(Truncated)?
        } else {
            Flags::default()
        };
        let structure = if flags.structure {
            Some(read_structure(&mut bits)?)
        } else {
            None
        };
        let used = structure.as_ref().or(known);
        let used = used.ok_or(DependencyError::NoStructure)?;
        let targets = used.targets.len();
        let mut active = structure.as_ref().map(|_| all(targets));
        if flags.active {
            active = Some(bits.bits(targets as u32).ok_or(Truncated)?);
        }
        let template = used
            .template(id)
            .ok_or(DependencyError::UnknownTemplate { id })?;
        let mut frame = *template;
        if flags.indications {
            frame.indications = read_indications(&mut bits, targets).ok_or(Truncated)?;
        }
        if flags.references {
            skip_references(&mut bits)?;
        }
        if flags.chains {
            for chain in frame.chains.iter_mut().take(used.chains) {
                *chain = bits.bits(8).ok_or(Truncated)? as u8;
            }
        }
        Ok(Self {
            start_of_frame: start,
            end_of_frame: end,
            frame_number,
            structure,
            active_targets: active,
            spatial: frame.spatial,
            temporal: frame.temporal,
            indications: frame.indications,
            chains: frame.chains,
        })
    }

    /// How many frames ago the frame before this one in a chain was; zero where a chain begins.
    pub fn chain_difference(&self, chain: usize) -> u8 {
        self.chains.get(chain).copied().unwrap_or(0)
    }
}

impl Flags {
    fn read(bits: &mut Bits) -> Option<Self> {
        Some(Self {
            structure: bits.bit()?,
            active: bits.bit()?,
            indications: bits.bit()?,
            references: bits.bit()?,
            chains: bits.bit()?,
        })
    }
}

fn all(targets: usize) -> u32 {
    u32::MAX >> (MAX_TARGETS - targets.clamp(1, MAX_TARGETS))
}

fn read_structure(bits: &mut Bits) -> Result<Structure, DependencyError> {
    let id_offset = bits.bits(6).ok_or(Truncated)? as u8;
    let targets = bits.bits(5).ok_or(Truncated)? as usize + 1;
    let mut templates = read_layers(bits)?;
    for template in &mut templates {
        template.indications = read_indications(bits, targets).ok_or(Truncated)?;
    }
    for _ in &templates {
        let mut references = 0;
        while bits.bit().ok_or(Truncated)? {
            bits.skip(4).ok_or(Truncated)?;
            references += 1;
            if references > MAX_REFERENCES {
                return Err(DependencyError::TooMany { what: "references" });
            }
        }
    }
    let (chains, protected) = read_chains(bits, targets, &mut templates).ok_or(Truncated)?;
    let targets = (0..targets)
        .map(|target| decode_target(&templates, target, protected[target], chains))
        .collect();
    let mut resolutions = Vec::new();
    if bits.bit().ok_or(Truncated)? {
        for _ in 0..=templates.iter().map(|t| t.spatial).max().unwrap_or(0) {
            let width = bits.bits(16).ok_or(Truncated)? as u16;
            let height = bits.bits(16).ok_or(Truncated)? as u16;
            resolutions.push((width.saturating_add(1), height.saturating_add(1)));
        }
    }
    Ok(Structure {
        id_offset,
        targets,
        templates,
        chains,
        resolutions,
    })
}

/// `template_layers()`.
fn read_layers(bits: &mut Bits) -> Result<Vec<Template>, DependencyError> {
    let (mut spatial, mut temporal) = (0_u8, 0_u8);
    let mut templates = Vec::new();
    loop {
        if templates.len() == MAX_TEMPLATES {
            return Err(DependencyError::TooMany { what: "templates" });
        }
        templates.push(Template {
            spatial,
            temporal,
            indications: Indications::default(),
            chains: [0; MAX_TARGETS],
        });
        match bits.bits(2).ok_or(Truncated)? {
            0 => {}
            1 => temporal += 1,
            2 => (spatial, temporal) = (spatial + 1, 0),
            _ => return Ok(templates),
        }
        if spatial > 3 || temporal > 7 {
            return Err(DependencyError::TooMany { what: "layers" });
        }
    }
}

fn read_indications(bits: &mut Bits, targets: usize) -> Option<Indications> {
    let mut all = 0;
    for target in 0..targets {
        all |= u64::from(bits.bits(2)?) << (2 * target);
    }
    Some(Indications(all))
}

/// `template_chains()`: how many chains, and which one protects each target.
fn read_chains(
    bits: &mut Bits,
    targets: usize,
    templates: &mut [Template],
) -> Option<(usize, [u8; MAX_TARGETS])> {
    let mut protected = [0; MAX_TARGETS];
    let chains = non_symmetric(bits, targets as u32 + 1)?;
    if chains == 0 {
        return Some((0, protected));
    }
    for chain in protected.iter_mut().take(targets) {
        *chain = non_symmetric(bits, chains)? as u8;
    }
    for template in templates {
        for difference in template.chains.iter_mut().take(chains as usize) {
            *difference = bits.bits(4)? as u8;
        }
    }
    Some((chains as usize, protected))
}

/// `frame_fdiffs()`, of which forwarding needs nothing.
fn skip_references(bits: &mut Bits) -> Result<(), DependencyError> {
    for _ in 0..=MAX_REFERENCES {
        match bits.bits(2).ok_or(Truncated)? {
            0 => return Ok(()),
            size => bits.skip(4 * size).ok_or(Truncated)?,
        }
    }
    Err(DependencyError::TooMany { what: "references" })
}

/// `decode_target_layers()`: the highest layers of the frames that belong to the target.
fn decode_target(templates: &[Template], target: usize, chain: u8, chains: usize) -> DecodeTarget {
    let mut found = DecodeTarget {
        chain: (chains > 0).then_some(chain),
        ..DecodeTarget::default()
    };
    for template in templates {
        if template.indications.get(target) != Indication::NotPresent {
            found.spatial = found.spatial.max(template.spatial);
            found.temporal = found.temporal.max(template.temporal);
        }
    }
    found
}

/// `ns(n)` of the AV1 specification §4.10.7.
fn non_symmetric(bits: &mut Bits, count: u32) -> Option<u32> {
    let width = u32::BITS - count.leading_zeros();
    let short = (1 << width) - count;
    let value = bits.bits(width - 1)?;
    if value < short {
        return Some(value);
    }
    Some((value << 1) - short + bits.bits(1)?)
}

#[cfg(test)]
#[path = "dependency_tests.rs"]
mod tests;
