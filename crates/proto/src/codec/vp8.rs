//! VP8 in RTP: the payload descriptor of RFC 7741 §4.2, and the key frame header of RFC 6386 §9.1.
//!
//! [`Descriptor`] keeps where each field sits, so a forwarder that drops layers or joins sources
//! can rewrite picture ids in place, without moving a byte of payload.

use super::{PayloadInfo, Scalability};

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
    info.scalability = descriptor.tid.map(|temporal| Scalability {
        temporal,
        sync: descriptor.layer_sync,
        begins: descriptor.starts_frame(),
        ..Scalability::default()
    });
    if descriptor.starts_frame() && frame.first().is_some_and(|tag| tag & INTER_FRAME == 0) {
        info.keyframe = true;
        info.resolution = resolution(frame);
    }
    info
}

/// The size in an uncompressed key frame header: frame tag, start code, two 14-bit sides with
/// their upscaling hints in the top bits.
pub(super) fn resolution(frame: &[u8]) -> Option<(u16, u16)> {
    let header = frame.get(3..10)?;
    if header[..3] != START_CODE {
        return None;
    }
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    super::size(side(header[3], header[4]), side(header[5], header[6]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// A 640x360 key frame of libvpx, cut after its size.
    const KEY_FRAME: &str = "d033009d012a80026801 01c708";

    #[test]
    fn descriptor_of_one_byte() {
        let descriptor = Descriptor::parse(&hex("30 d0")).unwrap();
        assert!(descriptor.start_of_partition && descriptor.non_reference);
        assert_eq!(descriptor.picture_id, None);
        assert_eq!(descriptor.picture_id_bits, 0);
        assert_eq!(descriptor.header_len, 1);
    }

    #[test]
    fn descriptor_with_every_field() {
        // X S; I L T K; 15-bit id 0x1234, TL0PICIDX 0x56, TID 2, Y, KEYIDX 9.
        let descriptor = Descriptor::parse(&hex("90 f0 9234 56 a9 00")).unwrap();
        assert_eq!(descriptor.picture_id, Some(0x1234));
        assert_eq!(descriptor.picture_id_bits, 15);
        assert_eq!(descriptor.tl0picidx, Some(0x56));
        assert_eq!(descriptor.tid, Some(2));
        assert!(descriptor.layer_sync);
        assert_eq!(descriptor.key_idx, Some(9));
        assert_eq!(descriptor.header_len, 6);
    }

    #[test]
    fn key_index_without_layer_says_nothing_about_layers() {
        let descriptor = Descriptor::parse(&hex("80 10 e3")).unwrap();
        assert_eq!((descriptor.tid, descriptor.layer_sync), (None, false));
        assert_eq!(descriptor.key_idx, Some(3));
    }

    #[test]
    fn truncated_descriptor_is_refused() {
        let whole = hex("90 f0 9234 56 a9");
        for len in 0..whole.len() {
            assert!(Descriptor::parse(&whole[..len]).is_none(), "{len} bytes");
        }
    }

    #[test]
    fn rewrite_keeps_lengths_and_other_fields() {
        let mut long = hex("90 f0 9234 56 a9 77");
        Descriptor::parse(&long)
            .unwrap()
            .rewrite(&mut long, 0x7fff, 0xee);
        assert_eq!(long, hex("90 f0 ffff ee a9 77"));
        let mut short = hex("90 80 12 77");
        Descriptor::parse(&short)
            .unwrap()
            .rewrite(&mut short, 0x01ff, 0xee);
        assert_eq!(short, hex("90 80 7f 77"));
        let mut bare = hex("10 77");
        Descriptor::parse(&bare).unwrap().rewrite(&mut bare, 1, 1);
        assert_eq!(bare, hex("10 77"));
    }

    #[test]
    fn rewrite_of_a_shorter_payload_does_nothing() {
        let descriptor = Descriptor::parse(&hex("90 f0 9234 56 a9 77")).unwrap();
        let mut short = hex("90 f0 92");
        descriptor.rewrite(&mut short, 1, 1);
        assert_eq!(short, hex("90 f0 92"));
    }

    #[test]
    fn key_frame_tells_its_size() {
        let info = inspect(&hex(&format!("90 80 01 {KEY_FRAME}")));
        assert!(info.keyframe);
        assert_eq!(info.resolution, Some((640, 360)));
    }

    #[test]
    fn upscaling_hint_is_no_part_of_the_size() {
        let info = inspect(&hex("10 d033009d012a 8042 68c1"));
        assert_eq!(info.resolution, Some((640, 360)));
    }

    #[test]
    fn inter_frame_and_later_packets_are_no_start() {
        assert!(!inspect(&hex("10 3103000f11fc0018")).keyframe);
        assert!(
            !inspect(&hex(&format!("00 {KEY_FRAME}"))).keyframe,
            "not the start"
        );
        assert!(
            !inspect(&hex(&format!("11 {KEY_FRAME}"))).keyframe,
            "second partition"
        );
    }
}
