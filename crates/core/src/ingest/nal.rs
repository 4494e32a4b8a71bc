//! H.264 and H.265 as frames have them: NAL units with 4-byte lengths, parameter sets apart.
//!
//! Encoders send parameter sets before the stream (RTMP), within it (SRT), or both, and may change
//! them at any keyframe. [`Assembler`] takes them out of the frames and makes the configuration of
//! them, which changes only when they do. Records: ISO/IEC 14496-15 §5.3.3.1 and §8.3.3.1.

use std::sync::Arc;

use stagecast_proto::codec::Codec;
use stagecast_proto::codec::config::{annex_b, avc, hevc, nal_units};

use super::config;
use crate::frame::Config;

/// Parameter sets of one kind that are kept; encoders use one or two.
const MAX_SETS: usize = 8;
/// Longest parameter set.
const MAX_SET: usize = 2048;

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
        if codec == Codec::H265 {
            let read = hevc::Record::parse(record)?;
            sets.length_size = read.length_size;
            for nal in [read.vps, read.sps, read.pps].iter().flatten() {
                sets.add(nal);
            }
        } else {
            let read = avc::Record::parse(record)?;
            sets.length_size = read.length_size;
            for nal in read.sps.iter().chain(&read.pps) {
                sets.add(nal);
            }
        }
        Some(sets)
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

    /// All of them, in the order in which a decoder wants them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.vps.iter().chain(&self.sps).chain(&self.pps);
        all.map(Vec::as_slice)
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
        let [vps, sps, pps] = [&self.vps, &self.sps, &self.pps]
            .map(|sets| sets.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let (record, resolution) = if self.codec == Codec::H265 {
            let record = hevc::record(&vps, &sps, &pps)?;
            let resolution = hevc::Record::parse(&record)?.resolution();
            (record, resolution)
        } else {
            let record = avc::record(&sps, &pps)?;
            let resolution = avc::Record::parse(&record)?.resolution();
            (record, resolution)
        };
        Some(config::video(self.codec, &record, resolution))
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
        self.assemble(|| nal_units(unit, size), unit.len())
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
        let mut record = avc::record(&[SPS], &[PPS]).unwrap();
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
