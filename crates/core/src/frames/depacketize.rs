//! RTP payloads into access units, as [`crate::frame::Frame`] describes them; the way back of
//! [`super::packetize`], and for whatever browsers and encoders send.
//!
//! Payloads come in order and without gaps; who reorders and gives up is [`super::assemble`]. Memory
//! is bounded: an access unit that grows too large is malformed.

use std::sync::Arc;

use stagecast_proto::codec::config::{av1, avc, hevc, opus, vpx};
use stagecast_proto::codec::{Codec, av1 as av1_payload, inspect, vp8, vp9};

use crate::frame::Config;

/// A keyframe of 8K at the highest quality stays below.
const MAX_UNIT: usize = 8 << 20;
/// Parameter sets of a kind; streams use one or two.
const MAX_SETS: usize = 16;

/// The payload makes no sense where it stands: the access unit is lost.
#[derive(Debug)]
pub struct Malformed;

/// What was put together.
#[derive(Debug)]
pub struct AccessUnit {
    /// As `Frame::data`.
    pub data: Vec<u8>,
    /// A decoder can start here.
    pub keyframe: bool,
}

/// One layer's access unit in the making, and the parameter sets seen so far.
#[derive(Debug)]
pub struct Depacketizer {
    codec: Codec,
    data: Vec<u8>,
    /// A NAL unit or OBU of which more is to come.
    partial: Option<Vec<u8>>,
    keyframe: bool,
    started: bool,
    /// Parameter sets (VPS, SPS, PPS), or a sequence header in the middle.
    sets: [Vec<Vec<u8>>; 3],
    /// Those of this access unit.
    new_sets: [Vec<Vec<u8>>; 3],
    config: Option<Arc<Config>>,
}

impl Depacketizer {
    /// Without anything seen.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            data: Vec::new(),
            partial: None,
            keyframe: false,
            started: false,
            sets: Default::default(),
            new_sets: Default::default(),
            config: None,
        }
    }

    /// What it takes.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// How the last access unit is decoded; `None` until that is known.
    pub fn config(&self) -> Option<&Arc<Config>> {
        self.config.as_ref()
    }

    /// Forget the access unit in the making.
    pub fn reset(&mut self) {
        self.data.clear();
        self.partial = None;
        self.keyframe = false;
        self.started = false;
        self.new_sets = Default::default();
    }

    /// Take the next payload of the access unit.
    pub fn push(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let partial = self.partial.as_ref().map_or(0, Vec::len);
        if self.data.len() + partial + payload.len() > MAX_UNIT {
            return Err(Malformed);
        }
        match self.codec {
            Codec::H264 => self.h264(payload),
            Codec::H265 => self.h265(payload),
            Codec::Vp8 => self.vp8(payload),
            Codec::Vp9 => self.vp9(payload),
            Codec::Av1 => self.av1(payload),
            Codec::Opus => {
                self.keyframe = true;
                self.data.extend(payload);
                Some(())
            }
            Codec::Aac => None,
        }
        .ok_or(Malformed)
    }

    /// The access unit is complete; `None` when it is empty or ends in the middle of something.
    pub fn finish(&mut self) -> Option<AccessUnit> {
        let whole = self.partial.is_none();
        let keyframe = self.keyframe;
        let data = std::mem::take(&mut self.data);
        let new_sets = std::mem::take(&mut self.new_sets);
        self.reset();
        if !whole {
            return None;
        }
        self.learn(new_sets, keyframe.then_some(&data));
        (!data.is_empty()).then_some(AccessUnit { data, keyframe })
    }

    fn h264(&mut self, payload: &[u8]) -> Option<()> {
        const STAP_A: u8 = 24;
        const FU_A: u8 = 28;
        let (&indicator, body) = payload.split_first()?;
        match indicator & 0x1f {
            STAP_A => each_aggregated(body, |unit| self.h264_unit(unit)),
            FU_A => {
                let (&fu, body) = body.split_first()?;
                let header = [indicator & 0xe0 | fu & 0x1f];
                match self.fragment(&header, fu, body)? {
                    Some(unit) => self.h264_unit(&unit),
                    None => Some(()),
                }
            }
            1..=23 => self.h264_unit(payload),
            _ => None,
        }
    }

    fn h264_unit(&mut self, unit: &[u8]) -> Option<()> {
        match unit.first()? & 0x1f {
            7 => self.set(1, unit),
            8 => self.set(2, unit),
            9 | 12 => {} // delimiter, filler
            kind => {
                self.keyframe |= kind == 5;
                self.put_unit(unit)?;
            }
        }
        Some(())
    }

    fn h265(&mut self, payload: &[u8]) -> Option<()> {
        const AP: u8 = 48;
        const FU: u8 = 49;
        let (&[first, second], body) = payload.split_first_chunk::<2>()?;
        match first >> 1 & 0x3f {
            AP => each_aggregated(body, |unit| self.h265_unit(unit)),
            FU => {
                let (&fu, body) = body.split_first()?;
                let header = [first & 0x81 | (fu & 0x3f) << 1, second];
                match self.fragment(&header, fu, body)? {
                    Some(unit) => self.h265_unit(&unit),
                    None => Some(()),
                }
            }
            0..=47 => self.h265_unit(payload),
            _ => None,
        }
    }

    fn h265_unit(&mut self, unit: &[u8]) -> Option<()> {
        match unit.first()? >> 1 & 0x3f {
            set @ 32..=34 => self.set(usize::from(set) - 32, unit),
            35 | 38 => {} // delimiter, filler
            kind => {
                self.keyframe |= (16..=23).contains(&kind);
                self.put_unit(unit)?;
            }
        }
        Some(())
    }

    /// One fragment (H.264 §5.8, H.265 §4.4.3); the whole unit with the last.
    #[expect(clippy::option_option, reason = "malformed, more to come, or whole")]
    fn fragment(&mut self, header: &[u8], fu: u8, body: &[u8]) -> Option<Option<Vec<u8>>> {
        if fu & 0x80 != 0 {
            self.partial = Some(header.to_vec());
        }
        self.partial.as_mut()?.extend(body);
        Some(if fu & 0x40 == 0 {
            None
        } else {
            self.partial.take()
        })
    }

    fn put_unit(&mut self, unit: &[u8]) -> Option<()> {
        // A new unit while another has not ended: its end was lost.
        if self.partial.is_some() {
            return None;
        }
        self.data.extend((unit.len() as u32).to_be_bytes());
        self.data.extend(unit);
        Some(())
    }

    fn set(&mut self, kind: usize, unit: &[u8]) {
        let sets = &mut self.new_sets[kind];
        if sets.len() < MAX_SETS && !sets.iter().any(|known| known == unit) {
            sets.push(unit.to_vec());
        }
    }

    fn vp8(&mut self, payload: &[u8]) -> Option<()> {
        let descriptor = vp8::Descriptor::parse(payload)?;
        let body = &payload[descriptor.header_len..];
        if !self.started {
            self.started = descriptor.starts_frame();
            self.keyframe = body.first().is_some_and(|tag| tag & 1 == 0);
        }
        self.data.extend(body);
        self.started.then_some(())
    }

    /// Only the base spatial layer is kept: it is a stream of its own, which any decoder takes.
    fn vp9(&mut self, payload: &[u8]) -> Option<()> {
        let (spatial_layer, body) = vp9::strip(payload)?;
        if spatial_layer == 0 {
            self.keyframe |= self.data.is_empty() && inspect(Codec::Vp9, payload).keyframe;
            self.data.extend(body);
        }
        Some(())
    }

    fn av1(&mut self, payload: &[u8]) -> Option<()> {
        let mut read = av1_payload::Payload::parse(payload)?;
        self.keyframe |= read.new_sequence;
        if read.continues != self.partial.is_some() {
            return None;
        }
        let mut obu = self.partial.take().unwrap_or_default();
        let mut any = false;
        for element in read.elements.by_ref() {
            if any {
                self.obu(&std::mem::take(&mut obu));
            }
            obu.extend(element);
            any = true;
        }
        if !read.elements.is_whole() || !any {
            return None;
        }
        if read.continued {
            self.partial = Some(obu);
        } else {
            self.obu(&obu);
        }
        Some(())
    }

    fn obu(&mut self, obu: &[u8]) {
        const SEQUENCE_HEADER: u8 = 1;
        const TEMPORAL_DELIMITER: u8 = 2;
        match av1::kind(obu) {
            TEMPORAL_DELIMITER => return,
            SEQUENCE_HEADER => {
                self.keyframe = true;
                self.set(1, obu);
            }
            _ => {}
        }
        av1::put_obu(&mut self.data, obu);
    }

    /// Make the configuration anew if parameter sets, or the keyframe, say something new.
    fn learn(&mut self, new_sets: [Vec<Vec<u8>>; 3], keyframe: Option<&Vec<u8>>) {
        let any = new_sets.iter().any(|sets| !sets.is_empty());
        if !any && keyframe.is_none() {
            return;
        }
        let replaced = !new_sets[1].is_empty();
        for (known, new) in self.sets.iter_mut().zip(new_sets) {
            if replaced && !new.is_empty() {
                *known = new;
                continue;
            }
            let unknown: Vec<_> = new.into_iter().filter(|set| !known.contains(set)).collect();
            known.extend(unknown);
            known.truncate(MAX_SETS);
        }
        let Some((record, resolution)) = self.record(keyframe) else {
            return;
        };
        let same = |c: &Arc<Config>| *c.record == record[..] && c.resolution == resolution;
        if !self.config.as_ref().is_some_and(same) {
            let audio = self.codec == Codec::Opus;
            self.config = Some(Arc::new(Config {
                codec: self.codec,
                record: record.into(),
                resolution,
                sample_rate: if audio { 48_000 } else { 0 },
                channels: if audio { 2 } else { 0 },
            }));
        }
    }

    fn record(&self, keyframe: Option<&Vec<u8>>) -> Option<(Vec<u8>, (u16, u16))> {
        let [vps, sps, pps] = self
            .sets
            .each_ref()
            .map(|sets| sets.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let sized = |record: Vec<u8>, size: Option<(u16, u16)>| (record, size.unwrap_or_default());
        match self.codec {
            Codec::H264 => {
                let record = avc::record(&sps, &pps)?;
                let size = avc::Record::parse(&record)?.resolution();
                Some(sized(record, size))
            }
            Codec::H265 => {
                let record = hevc::record(&vps, &sps, &pps)?;
                let size = hevc::Record::parse(&record)?.resolution();
                Some(sized(record, size))
            }
            Codec::Av1 => {
                let record = av1::record(sps.first()?)?;
                let size = av1::Record::parse(&record)?.resolution();
                Some(sized(record, size))
            }
            Codec::Vp8 => vpx::vp8(keyframe?),
            Codec::Vp9 => vpx::vp9(keyframe?),
            Codec::Opus => Some((opus::Head::plain(2).to_dops(), (0, 0))),
            Codec::Aac => None,
        }
    }
}

/// The units of an aggregate, each with a 16-bit size before it; all must fit.
fn each_aggregated(mut rest: &[u8], mut take: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    while !rest.is_empty() {
        let (size, after) = rest.split_first_chunk::<2>()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        rest = after;
        if !unit.is_empty() {
            take(unit)?;
        }
    }
    Some(())
}
