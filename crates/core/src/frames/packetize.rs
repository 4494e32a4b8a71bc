//! Access units into RTP payloads: RFC 6184 (mode 1), RFC 7798, RFC 7741, RFC 9628, the AV1 RTP
//! specification and RFC 7587.
//!
//! Payloads are at most [`MAX_PAYLOAD`] bytes, except an Opus packet, which is never cut. Parameter
//! sets go before each keyframe, so that a decoder can start there with nothing but the stream.

use std::sync::Arc;

use stagecast_proto::codec::Codec;
use stagecast_proto::codec::config::{av1, avc, hevc, nal_units};

use crate::frame::{Config, Frame};
use crate::packet::Format;

/// Bytes of payload in a packet: with headers, extensions and tag it stays below any usual MTU.
pub const MAX_PAYLOAD: usize = 1200;

const H264_STAP_A: u8 = 24;
const H264_FU_A: u8 = 28;
const H264_AUD: u8 = 9;
const H264_FILLER: u8 = 12;
const H265_AP: u8 = 48;
const H265_FU: u8 = 49;
const H265_AUD: u8 = 35;
const H265_FILLER: u8 = 38;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const VP8_START: u8 = 0x10;
const VP9_BEGINS: u8 = 0x08;
const VP9_ENDS: u8 = 0x04;
const VP9_INTER: u8 = 0x40;
const AV1_CONTINUES: u8 = 0x80;
const AV1_CONTINUED: u8 = 0x40;
const AV1_NEW_SEQUENCE: u8 = 0x08;
const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_TEMPORAL_DELIMITER: u8 = 2;
const OBU_TILE_LIST: u8 = 8;
const OBU_PADDING: u8 = 15;
/// A piece of an OBU smaller than this is not worth its length field.
const AV1_MIN_PIECE: usize = 16;

/// Cuts the frames of one layer.
#[derive(Debug)]
pub struct Packetizer {
    config: Arc<Config>,
    format: Format,
    /// Parameter sets or sequence header of the configuration.
    sets: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Packetizer {
    /// `None` for a codec that WebRTC does not carry.
    pub fn new(config: &Arc<Config>) -> Option<Self> {
        let mut packetizer = Self {
            config: Arc::clone(config),
            format: Format::plain(config.codec),
            sets: Vec::new(),
            scratch: Vec::with_capacity(MAX_PAYLOAD),
        };
        packetizer.read_config();
        config.codec.is_webrtc().then_some(packetizer)
    }

    /// How the payloads are to be decoded.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The payloads of a frame, in order.
    pub fn packetize(&mut self, frame: &Frame, out: &mut Vec<Arc<[u8]>>) {
        if !Arc::ptr_eq(&self.config, &frame.config) {
            self.config = Arc::clone(&frame.config);
            self.read_config();
        }
        match self.config.codec {
            Codec::H264 => self.h264(frame, out),
            Codec::H265 => self.h265(frame, out),
            Codec::Vp8 => self.chunks(
                &frame.data,
                out,
                |first, _| if first { VP8_START } else { 0 },
            ),
            Codec::Vp9 => {
                let inter = if frame.keyframe { 0 } else { VP9_INTER };
                self.chunks(&frame.data, out, |first, last| {
                    let begins = if first { VP9_BEGINS } else { 0 };
                    inter | begins | if last { VP9_ENDS } else { 0 }
                });
            }
            Codec::Av1 => self.av1(frame, out),
            Codec::Opus => out.push(Arc::clone(&frame.data)),
            Codec::Aac => {}
        }
    }

    fn read_config(&mut self) {
        let record = &self.config.record;
        self.format = Format::plain(self.config.codec);
        self.sets.clear();
        match self.config.codec {
            Codec::H264 => {
                if let Some(read) = avc::Record::parse(record) {
                    self.format.profile_level_id = read.profile_level_id;
                    let sets = read.sps.iter().chain(&read.pps);
                    self.sets = sets.map(|set| set.to_vec()).collect();
                }
                self.format.packetization_mode = 1;
            }
            Codec::H265 => {
                if let Some(read) = hevc::Record::parse(record) {
                    let sets = read.vps.iter().chain(&read.sps).chain(&read.pps);
                    self.sets = sets.map(|set| set.to_vec()).collect();
                }
            }
            Codec::Vp9 => self.format.profile = record.first().copied().unwrap_or(0),
            Codec::Av1 => {
                if let Some(read) = av1::Record::parse(record) {
                    self.sets = read
                        .sequence_header
                        .iter()
                        .map(|obu| obu.to_vec())
                        .collect();
                }
            }
            Codec::Vp8 | Codec::Opus | Codec::Aac => {}
        }
    }

    fn h264(&mut self, frame: &Frame, out: &mut Vec<Arc<[u8]>>) {
        if frame.keyframe && !self.sets.is_empty() {
            let sets = std::mem::take(&mut self.sets);
            // The aggregate has the highest importance of its units (§5.7).
            let importance = sets.iter().fold(0, |nri, set| nri.max(set[0] & 0x60));
            let size: usize = sets.iter().map(|set| set.len() + 2).sum();
            if sets.len() > 1 && size < MAX_PAYLOAD {
                self.aggregate(&[importance | H264_STAP_A], &sets, out);
            } else {
                for set in &sets {
                    self.h264_unit(set, out);
                }
            }
            self.sets = sets;
        }
        for unit in nal_units(&frame.data, 4) {
            if !matches!(unit[0] & 0x1f, H264_AUD | H264_FILLER) {
                self.h264_unit(unit, out);
            }
        }
    }

    fn h264_unit(&mut self, unit: &[u8], out: &mut Vec<Arc<[u8]>>) {
        if unit.len() <= MAX_PAYLOAD {
            out.push(unit.into());
            return;
        }
        let header = unit[0];
        self.fragment(&[header & 0xe0 | H264_FU_A], header & 0x1f, &unit[1..], out);
    }

    fn h265(&mut self, frame: &Frame, out: &mut Vec<Arc<[u8]>>) {
        if frame.keyframe && !self.sets.is_empty() {
            let sets = std::mem::take(&mut self.sets);
            let size: usize = sets.iter().map(|set| set.len() + 2).sum();
            if sets.len() > 1 && size + 2 <= MAX_PAYLOAD {
                // Layer and temporal id are the lowest of the units (§4.4.2): those of parameter sets.
                self.aggregate(&[H265_AP << 1, 1], &sets, out);
            } else {
                for set in &sets {
                    self.h265_unit(set, out);
                }
            }
            self.sets = sets;
        }
        for unit in nal_units(&frame.data, 4) {
            if !matches!(unit[0] >> 1 & 0x3f, H265_AUD | H265_FILLER) {
                self.h265_unit(unit, out);
            }
        }
    }

    fn h265_unit(&mut self, unit: &[u8], out: &mut Vec<Arc<[u8]>>) {
        let &[first, second, ref body @ ..] = unit else {
            return;
        };
        if unit.len() <= MAX_PAYLOAD {
            out.push(unit.into());
            return;
        }
        self.fragment(
            &[first & 0x81 | H265_FU << 1, second],
            first >> 1 & 0x3f,
            body,
            out,
        );
    }

    fn aggregate(&mut self, header: &[u8], units: &[Vec<u8>], out: &mut Vec<Arc<[u8]>>) {
        self.scratch.clear();
        self.scratch.extend(header);
        for unit in units {
            self.scratch.extend((unit.len() as u16).to_be_bytes());
            self.scratch.extend(unit);
        }
        out.push(self.scratch.as_slice().into());
    }

    /// Fragmentation units of H.264 §5.8 and H.265 §4.4.3, in pieces of equal size.
    fn fragment(&mut self, header: &[u8], kind: u8, body: &[u8], out: &mut Vec<Arc<[u8]>>) {
        let room = MAX_PAYLOAD - header.len() - 1;
        let piece = body.len().div_ceil(body.len().div_ceil(room));
        let count = body.len().div_ceil(piece);
        for (index, chunk) in body.chunks(piece).enumerate() {
            let start = if index == 0 { FU_START } else { 0 };
            let end = if index + 1 == count { FU_END } else { 0 };
            self.scratch.clear();
            self.scratch.extend(header);
            self.scratch.push(start | end | kind);
            self.scratch.extend(chunk);
            out.push(self.scratch.as_slice().into());
        }
    }

    /// Payloads of VP8 and VP9: a descriptor of one byte before each piece.
    fn chunks(
        &mut self,
        data: &[u8],
        out: &mut Vec<Arc<[u8]>>,
        descriptor: impl Fn(bool, bool) -> u8,
    ) {
        if data.is_empty() {
            return;
        }
        let piece = data.len().div_ceil(data.len().div_ceil(MAX_PAYLOAD - 1));
        let count = data.len().div_ceil(piece);
        for (index, chunk) in data.chunks(piece).enumerate() {
            self.scratch.clear();
            self.scratch
                .push(descriptor(index == 0, index + 1 == count));
            self.scratch.extend(chunk);
            out.push(self.scratch.as_slice().into());
        }
    }

    /// OBU elements, each with its length (`W` is 0), as many as fit.
    fn av1(&mut self, frame: &Frame, out: &mut Vec<Arc<[u8]>>) {
        let has_header = av1::units(&frame.data).any(|obu| av1::kind(obu) == OBU_SEQUENCE_HEADER);
        let sets = std::mem::take(&mut self.sets);
        let missing = sets.iter().filter(|_| frame.keyframe && !has_header);
        let obus = missing.map(Vec::as_slice).chain(av1::units(&frame.data));
        let start = if frame.keyframe { AV1_NEW_SEQUENCE } else { 0 };
        self.scratch.clear();
        self.scratch.push(start);
        for obu in obus {
            let dropped = [OBU_TEMPORAL_DELIMITER, OBU_TILE_LIST, OBU_PADDING];
            let Some((header, head, payload)) = av1::without_size(obu) else {
                continue;
            };
            if !dropped.contains(&av1::kind(obu)) {
                self.av1_unit(&header[..head], payload, out);
            }
        }
        self.sets = sets;
        if self.scratch.len() > 1 {
            out.push(self.scratch.as_slice().into());
        }
    }

    fn av1_unit(&mut self, mut header: &[u8], mut payload: &[u8], out: &mut Vec<Arc<[u8]>>) {
        loop {
            // The length field of a piece takes two bytes at most: pieces are below 16 KiB.
            let room = MAX_PAYLOAD.saturating_sub(self.scratch.len() + 2);
            let left = header.len() + payload.len();
            if room < left.min(AV1_MIN_PIECE) {
                out.push(self.scratch.as_slice().into());
                self.scratch.clear();
                self.scratch.push(0);
                continue;
            }
            let piece = left.min(room);
            av1::put_leb128(&mut self.scratch, piece);
            self.scratch.extend(header);
            let (now, later) = payload.split_at(piece - header.len());
            self.scratch.extend(now);
            if later.is_empty() {
                return;
            }
            self.scratch[0] |= AV1_CONTINUED;
            out.push(self.scratch.as_slice().into());
            self.scratch.clear();
            self.scratch.push(AV1_CONTINUES);
            (header, payload) = (&[], later);
        }
    }
}
