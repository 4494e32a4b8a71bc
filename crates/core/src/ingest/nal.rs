//! H.264 and H.265 as frames have them: NAL units with 4-byte lengths, parameter sets apart.
//!
//! Encoders send parameter sets before the stream (RTMP), within it (SRT), or both, and may change
//! them at any keyframe. [`Assembler`] takes them out of the frames and makes the configuration of
//! them, which changes only when they do. Records: ISO/IEC 14496-15 §5.3.3.1 and §8.3.3.1.

use std::sync::Arc;

use stagecast_proto::codec::{Codec, inspect};

use crate::frame::Config;

/// Parameter sets of one kind that are kept; encoders use one or two.
const MAX_SETS: usize = 8;
/// Longest parameter set.
const MAX_SET: usize = 2048;
/// Bytes of a sequence parameter set of H.265 up to the end of its general level (§7.3.2.2.1).
const PROFILE_TIER_LEVEL: usize = 12;

/// What a NAL unit is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Delimiter,
    Vps,
    Sps,
    Pps,
    /// A slice of a picture at which a decoder can start.
    Start,
    Other,
}

fn role(codec: Codec, nal: &[u8]) -> Role {
    let Some(&first) = nal.first() else {
        return Role::Delimiter;
    };
    if codec == Codec::H265 {
        return match first >> 1 & 0x3f {
            16..=21 => Role::Start,
            32 => Role::Vps,
            33 => Role::Sps,
            34 => Role::Pps,
            // Delimiter, end of sequence, end of bitstream, filler.
            35..=38 => Role::Delimiter,
            _ => Role::Other,
        };
    }
    match first & 0x1f {
        5 => Role::Start,
        7 => Role::Sps,
        8 => Role::Pps,
        9..=12 => Role::Delimiter,
        _ => Role::Other,
    }
}

/// The NAL units between the start codes of a byte stream (H.264 annex B), without trailing zeros.
pub fn annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = find_start_code(current);
        rest = end.and_then(|at| after_start_code(&current[at..]));
        let nal = &current[..end.unwrap_or(current.len())];
        let len = nal
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        Some(&nal[..len])
    })
    .filter(|nal| !nal.is_empty())
}

fn find_start_code(stream: &[u8]) -> Option<usize> {
    let mut from = 0;
    // The ones are rarer than the zeros.
    while let Some(at) = stream.get(from + 2..)?.iter().position(|byte| *byte == 1) {
        let at = from + at;
        if stream[at..].starts_with(&[0, 0, 1]) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    find_start_code(stream).map(|at| &stream[at + 3..])
}

/// NAL units with their length in `size` bytes before each; ends at the first that does not fit.
pub fn length_prefixed(mut rest: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, after) = rest.split_at_checked(size)?;
        let len = len
            .iter()
            .fold(0usize, |len, byte| len << 8 | usize::from(*byte));
        let (nal, after) = after.split_at_checked(len)?;
        rest = after;
        Some(nal)
    })
    .filter(|nal| !nal.is_empty())
}

/// The parameter sets of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSets {
    codec: Codec,
    vps: Vec<Vec<u8>>,
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
    /// Bytes of a length in the frames that came with this record.
    length_size: usize,
}

impl ParameterSets {
    /// None yet.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            vps: Vec::new(),
            sps: Vec::new(),
            pps: Vec::new(),
            length_size: 4,
        }
    }

    /// Those in an `avcC` or `hvcC`.
    pub fn from_record(codec: Codec, record: &[u8]) -> Option<Self> {
        let mut sets = Self::new(codec);
        if *record.first()? != 1 {
            return None;
        }
        if codec == Codec::H265 {
            sets.length_size = usize::from(record.get(21)? & 3) + 1;
            let arrays = *record.get(22)?;
            let mut rest = record.get(23..)?;
            for _ in 0..arrays {
                let (head, after) = rest.split_first_chunk::<3>()?;
                rest = sets.take_counted(u16::from_be_bytes([head[1], head[2]]), after)?;
            }
        } else {
            sets.length_size = usize::from(record.get(4)? & 3) + 1;
            let after = sets.take_counted(u16::from(record.get(5)? & 0x1f), record.get(6..)?)?;
            let (pps, after) = after.split_first()?;
            sets.take_counted(u16::from(*pps), after)?;
        }
        Some(sets)
    }

    fn take_counted<'a>(&mut self, count: u16, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        for _ in 0..count {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            self.add(nal);
            rest = after;
        }
        Some(rest)
    }

    /// Take a parameter set in place of the one with the same id; whether that changed anything.
    fn add(&mut self, nal: &[u8]) -> bool {
        if nal.len() > MAX_SET || nal.len() < 3 {
            return false;
        }
        let codec = self.codec;
        let kept = match role(codec, nal) {
            Role::Vps => &mut self.vps,
            Role::Sps => &mut self.sps,
            Role::Pps => &mut self.pps,
            _ => return false,
        };
        let id = set_id(codec, nal);
        let Some(known) = kept.iter_mut().find(|known| set_id(codec, known) == id) else {
            let room = kept.len() < MAX_SETS;
            if room {
                kept.push(nal.to_vec());
            }
            return room;
        };
        if known == nal {
            return false;
        }
        known.clear();
        known.extend_from_slice(nal);
        true
    }

    fn is_complete(&self) -> bool {
        let vps = self.codec != Codec::H265 || !self.vps.is_empty();
        vps && !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// The configuration, once there are all kinds.
    pub fn config(&self) -> Option<Config> {
        if !self.is_complete() {
            return None;
        }
        let record = match self.codec {
            Codec::H265 => self.hvcc()?,
            _ => self.avcc(),
        };
        let resolution = self
            .sps
            .iter()
            .find_map(|sps| inspect(self.codec, sps).resolution);
        Some(Config {
            codec: self.codec,
            record: record.into(),
            resolution: resolution.unwrap_or_default(),
            sample_rate: 0,
            channels: 0,
        })
    }

    fn avcc(&self) -> Vec<u8> {
        let sps = &self.sps[0];
        let mut record = vec![1, sps[1], sps[2], *sps.get(3).unwrap_or(&0), 0xff];
        record.push(0xe0 | self.sps.len() as u8);
        write_sets(&mut record, &self.sps);
        record.push(self.pps.len() as u8);
        write_sets(&mut record, &self.pps);
        if matches!(sps[1], 100 | 110 | 122 | 144) {
            // Profiles beyond these four bytes' defaults are not carried by encoders for streaming.
            record.extend_from_slice(&[0xfc | 1, 0xf8, 0xf8, 0]);
        }
        record
    }

    fn hvcc(&self) -> Option<Vec<u8>> {
        let sps = unescaped(self.sps[0].get(2..)?, PROFILE_TIER_LEVEL + 1);
        let (&first, general) = sps.split_first()?;
        let general = general.get(..PROFILE_TIER_LEVEL)?;
        let ten_bits = general[0] & 0x1f == 2;
        let depth = if ten_bits { 2 } else { 0 };
        let temporal_layers = (first >> 1 & 7) + 1;
        let nesting = first & 1;
        let mut record = vec![1];
        record.extend_from_slice(general);
        record.extend_from_slice(&[0xf0, 0, 0xfc, 0xfc | 1, 0xf8 | depth, 0xf8 | depth, 0, 0]);
        record.push(temporal_layers << 3 | nesting << 2 | 3);
        record.push(3);
        for (kind, sets) in [(32, &self.vps), (33, &self.sps), (34, &self.pps)] {
            record.push(0x80 | kind);
            record.extend_from_slice(&(sets.len() as u16).to_be_bytes());
            write_sets(&mut record, sets);
        }
        Some(record)
    }
}

/// Which parameter set it is among those of its kind: enough of its first bytes to tell.
fn set_id(codec: Codec, nal: &[u8]) -> u32 {
    let body = match (codec, role(codec, nal)) {
        (Codec::H264, Role::Sps) => nal.get(4..),
        (Codec::H264, _) => nal.get(1..),
        (_, Role::Vps) => return u32::from(nal.get(2).unwrap_or(&0) >> 4),
        // Its id stands behind a structure of variable length; one is all that encoders send.
        (_, Role::Sps) => return 0,
        _ => nal.get(2..),
    };
    exp_golomb(body.unwrap_or_default())
}

/// `ue(v)`, as far as ids go.
fn exp_golomb(bytes: &[u8]) -> u32 {
    let head = bytes
        .iter()
        .take(8)
        .fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    let head = head << (64 - 8 * bytes.len().clamp(1, 8));
    let zeros = head.leading_zeros().min(15);
    ((head << zeros >> (63 - zeros)) as u32).saturating_sub(1)
}

fn write_sets(record: &mut Vec<u8>, sets: &[Vec<u8>]) {
    for set in sets {
        record.extend_from_slice(&(set.len() as u16).to_be_bytes());
        record.extend_from_slice(set);
    }
}

/// Up to `len` bytes of a payload without its emulation prevention.
fn unescaped(payload: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    let mut zeros = 0;
    for &byte in payload {
        if out.len() == len {
            break;
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Turns a track's access units into frame data, and keeps its configuration.
#[derive(Debug)]
pub struct Assembler {
    sets: ParameterSets,
    /// The encoder's own record, while its parameter sets are in force.
    record: Option<Vec<u8>>,
    config: Option<Arc<Config>>,
}

/// One access unit, ready.
#[derive(Debug)]
pub struct Assembled {
    /// Its configuration; the same as before unless the parameter sets changed.
    pub config: Arc<Config>,
    /// NAL units with 4-byte lengths.
    pub data: Vec<u8>,
    /// A decoder can start here.
    pub keyframe: bool,
}

impl Assembler {
    /// For a track whose parameter sets are not known yet.
    pub fn new(codec: Codec) -> Self {
        Self {
            sets: ParameterSets::new(codec),
            record: None,
            config: None,
        }
    }

    /// The encoder sent an `avcC` or `hvcC`; whether it is one.
    pub fn set_record(&mut self, record: &[u8]) -> bool {
        let Some(sets) = ParameterSets::from_record(self.sets.codec, record) else {
            return false;
        };
        if sets != self.sets {
            self.config = None;
        }
        self.sets = sets;
        let mut record = record.to_vec();
        // Our lengths have four bytes.
        record[if self.sets.codec == Codec::H265 {
            21
        } else {
            4
        }] |= 3;
        self.record = Some(record);
        true
    }

    /// An access unit as it stands behind the record: NAL units with lengths.
    pub fn from_lengths(&mut self, unit: &[u8]) -> Option<Assembled> {
        let size = self.sets.length_size;
        self.assemble(|| length_prefixed(unit, size), unit.len())
    }

    /// An access unit as a byte stream.
    pub fn from_annex_b(&mut self, unit: &[u8]) -> Option<Assembled> {
        self.assemble(|| annex_b(unit), unit.len())
    }

    /// `None` while parameter sets are missing, or when nothing is left to decode.
    fn assemble<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        units: impl Fn() -> I,
        len: usize,
    ) -> Option<Assembled> {
        let codec = self.sets.codec;
        let mut data = Vec::with_capacity(len + 16);
        let mut keyframe = false;
        for nal in units() {
            match role(codec, nal) {
                Role::Delimiter => continue,
                Role::Vps | Role::Sps | Role::Pps => {
                    if self.sets.add(nal) {
                        self.config = None;
                        self.record = None;
                    }
                    continue;
                }
                Role::Start => keyframe = true,
                Role::Other => {}
            }
            data.extend_from_slice(&(nal.len() as u32).to_be_bytes());
            data.extend_from_slice(nal);
        }
        if data.is_empty() {
            return None;
        }
        if self.config.is_none() {
            let mut config = self.sets.config()?;
            if let Some(record) = &self.record {
                config.record = record.as_slice().into();
            }
            self.config = Some(Arc::new(config));
        }
        Some(Assembled {
            config: Arc::clone(self.config.as_ref()?),
            data,
            keyframe,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 1280×720, from x264.
    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xba, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    fn stream(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter()
            .flat_map(|nal| [&[0, 0, 0, 1], *nal].concat())
            .collect()
    }

    #[test]
    fn a_byte_stream_becomes_lengths_and_a_configuration() {
        let mut assembler = Assembler::new(Codec::H264);
        let unit = stream(&[&[9, 0xf0], SPS, PPS, &[0x65, 1, 2]]);
        let assembled = assembler.from_annex_b(&unit).unwrap();
        assert!(assembled.keyframe);
        assert_eq!(assembled.data, [0, 0, 0, 3, 0x65, 1, 2]);
        assert_eq!(assembled.config.resolution, (1280, 720));
        let again = ParameterSets::from_record(Codec::H264, &assembled.config.record).unwrap();
        assert_eq!(again, assembler.sets);
        // The same sets again change nothing, also not by address.
        let next = assembler.from_annex_b(&unit).unwrap();
        assert!(Arc::ptr_eq(&next.config, &assembled.config));
    }

    #[test]
    fn a_changed_parameter_set_changes_the_configuration() {
        let mut assembler = Assembler::new(Codec::H264);
        let first = assembler
            .from_annex_b(&stream(&[SPS, PPS, &[0x65, 1]]))
            .unwrap();
        let mut other = PPS.to_vec();
        other[2] ^= 1;
        let second = assembler
            .from_annex_b(&stream(&[&other, &[0x65, 1]]))
            .unwrap();
        assert_ne!(first.config, second.config);
        assert_eq!(assembler.sets.pps, [other]);
    }

    #[test]
    fn frames_before_the_parameter_sets_are_no_frames() {
        let mut assembler = Assembler::new(Codec::H264);
        assert!(assembler.from_annex_b(&stream(&[&[0x65, 1, 2]])).is_none());
        assert!(assembler.from_annex_b(&stream(&[SPS, PPS])).is_none());
        assert!(assembler.from_annex_b(&stream(&[&[0x41, 1, 2]])).is_some());
    }

    #[test]
    fn lengths_of_two_bytes_become_four() {
        let mut record = ParameterSets::new(Codec::H264);
        record.add(SPS);
        record.add(PPS);
        let mut record = record.avcc();
        record[4] = 0xfd;
        let mut assembler = Assembler::new(Codec::H264);
        assert!(assembler.set_record(&record));
        let assembled = assembler.from_lengths(&[0, 2, 0x65, 7, 0, 1, 6]).unwrap();
        assert_eq!(assembled.data, [0, 0, 0, 2, 0x65, 7, 0, 0, 0, 1, 6]);
        assert_eq!(assembled.config.record[4], 0xff);
    }

    #[test]
    fn ids_of_parameter_sets_are_told_apart() {
        assert_eq!(exp_golomb(&[0b1000_0000]), 0);
        assert_eq!(exp_golomb(&[0b0010_1000]), 4);
        assert_eq!(exp_golomb(&[]), 0);
    }

    proptest! {
        #[test]
        fn units_survive_the_byte_stream(
            // Without zeros there is nothing that looks like a start code.
            nals in prop::collection::vec(prop::collection::vec(1..=255u8, 1..40), 0..8),
        ) {
            let slices: Vec<_> = nals.iter().map(Vec::as_slice).collect();
            let bytes = stream(&slices);
            let found: Vec<_> = annex_b(&bytes).collect();
            prop_assert_eq!(found, slices);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            record in prop::collection::vec(any::<u8>(), 0..80),
            unit in prop::collection::vec(prop::sample::select(vec![0u8, 1, 3, 0x42, 0x44, 0x40, 0x67, 0x68, 0x65]), 0..120),
        ) {
            for codec in [Codec::H264, Codec::H265] {
                let mut assembler = Assembler::new(codec);
                assembler.set_record(&[&[1][..], &record].concat());
                assembler.from_annex_b(&unit);
                assembler.from_lengths(&unit);
            }
        }
    }
}
