//! VP8 in RTP: the payload descriptor of RFC 7741 §4.2, and the key frame header of RFC 6386 §9.1.
//!
//! [`Descriptor`] keeps where each field sits, so a forwarder that drops layers or joins sources
//! can rewrite picture ids in place, without moving a byte of payload.

use super::PayloadInfo;

const EXTENDED: u8 = 0x80;
const NON_REFERENCE: u8 = 0x20;
const START_OF_PARTITION: u8 = 0x10;
const PARTITION: u8 = 0x07;

const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0PICIDX: u8 = 0x40;
const HAS_TID: u8 = 0x20;
const HAS_KEYIDX: u8 = 0x10;

const LONG_PICTURE_ID: u8 = 0x80;
/// In the first byte of the frame: set on every frame that is not a key frame.
const INTER_FRAME: u8 = 0x01;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

/// The VP8 payload descriptor of one RTP packet (RFC 7741 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Picture id, 7 or 15 bits as [`picture_id_bits`](Self::picture_id_bits) says.
    pub picture_id: Option<u16>,
    /// Width of the picture id on the wire: 7 or 15; 0 when there is none.
    pub picture_id_bits: u8,
    /// Running index of temporal base layer frames.
    pub tl0picidx: Option<u8>,
    /// Temporal layer, 0 to 3.
    pub tid: Option<u8>,
    /// `Y`: this frame depends only on the base layer, so a reader may switch up here.
    pub layer_sync: bool,
    /// Running index of key frames, 5 bits.
    pub key_idx: Option<u8>,
    /// `S`: the payload begins a VP8 partition.
    pub start_of_partition: bool,
    /// `PID`: index of the partition the payload begins with, 0 to 7.
    pub partition: u8,
    /// `N`: no later frame depends on this one.
    pub non_reference: bool,
    /// Bytes of descriptor before the VP8 data.
    pub header_len: usize,
    picture_id_at: usize,
    tl0picidx_at: usize,
}

impl Descriptor {
    /// Reads the descriptor at the start of an RTP payload; `None` when it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor = Self {
            picture_id: None,
            picture_id_bits: 0,
            tl0picidx: None,
            tid: None,
            layer_sync: false,
            key_idx: None,
            start_of_partition: first & START_OF_PARTITION != 0,
            partition: first & PARTITION,
            non_reference: first & NON_REFERENCE != 0,
            header_len: 1,
            picture_id_at: 0,
            tl0picidx_at: 0,
        };
        if first & EXTENDED != 0 {
            descriptor.parse_extension(payload)?;
        }
        Some(descriptor)
    }

    fn parse_extension(&mut self, payload: &[u8]) -> Option<()> {
        let present = *payload.get(1)?;
        let mut at = 2;
        if present & HAS_PICTURE_ID != 0 {
            let high = *payload.get(at)?;
            self.picture_id_at = at;
            if high & LONG_PICTURE_ID != 0 {
                let low = *payload.get(at + 1)?;
                self.picture_id = Some(u16::from_be_bytes([high & !LONG_PICTURE_ID, low]));
                self.picture_id_bits = 15;
                at += 2;
            } else {
                self.picture_id = Some(u16::from(high));
                self.picture_id_bits = 7;
                at += 1;
            }
        }
        if present & HAS_TL0PICIDX != 0 {
            self.tl0picidx = Some(*payload.get(at)?);
            self.tl0picidx_at = at;
            at += 1;
        }
        if present & (HAS_TID | HAS_KEYIDX) != 0 {
            let layer = *payload.get(at)?;
            if present & HAS_TID != 0 {
                self.tid = Some(layer >> 6);
                self.layer_sync = layer & 0x20 != 0;
            }
            if present & HAS_KEYIDX != 0 {
                self.key_idx = Some(layer & 0x1f);
            }
            at += 1;
        }
        self.header_len = at;
        Some(())
    }

    /// Writes other indexes into the payload this descriptor was parsed from (or a copy of it).
    ///
    /// Lengths stay: a 7-bit picture id takes the low 7 bits of `picture_id`, a 15-bit one the low
    /// 15, and a field that is absent stays absent. A payload too short for the descriptor is left
    /// as it is.
    pub fn rewrite(&self, payload: &mut [u8], picture_id: u16, tl0picidx: u8) {
        let Some(header) = payload.get_mut(..self.header_len) else {
            return;
        };
        let [high, low] = picture_id.to_be_bytes();
        match self.picture_id_bits {
            15 => {
                header[self.picture_id_at] = high | LONG_PICTURE_ID;
                header[self.picture_id_at + 1] = low;
            }
            7 => header[self.picture_id_at] = low & !LONG_PICTURE_ID,
            _ => {}
        }
        if self.tl0picidx.is_some() {
            header[self.tl0picidx_at] = tl0picidx;
        }
    }

    /// Whether the payload begins a frame: the start of its first partition.
    pub fn starts_frame(&self) -> bool {
        self.start_of_partition && self.partition == 0
    }
}

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    let mut info = PayloadInfo::default();
    let Some(descriptor) = Descriptor::parse(payload) else {
        return info;
    };
    let frame = &payload[descriptor.header_len..];
    if descriptor.starts_frame() && frame.first().is_some_and(|tag| tag & INTER_FRAME == 0) {
        info.keyframe = true;
        info.resolution = resolution(frame);
    }
    info
}

/// The size in an uncompressed key frame header: frame tag, start code, two 14-bit sides with
/// their upscaling hints in the top bits.
fn resolution(frame: &[u8]) -> Option<(u16, u16)> {
    let header = frame.get(3..10)?;
    if header[..3] != START_CODE {
        return None;
    }
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    super::size(side(header[3], header[4]), side(header[5], header[6]))
}
