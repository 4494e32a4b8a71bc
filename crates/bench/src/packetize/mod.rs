//! Encoded frames to RTP payloads: the smallest correct form of each payload format.
//!
//! Written apart from the server, so that each is the other's check. A frame that is not
//! what its codec says gives no payload.

mod av1;
mod h264;

use stagecast_proto::codec::Codec;

/// Largest payload: with header, extensions and tag it stays below 1,250 bytes.
pub const MAX_PAYLOAD: usize = 1180;

/// The payloads of one frame, in order. With `stamped`, H264 gets a place for a time stamp
/// in its first and in its last packet.
pub fn packetize(codec: Codec, frame: &[u8], picture: &mut Picture, stamped: bool) -> Vec<Vec<u8>> {
    match codec {
        Codec::H264 => h264::packetize(frame, stamped),
        Codec::Vp8 => vp8(frame, picture.next()),
        Codec::Vp9 => vp9(frame, picture.next()),
        Codec::Av1 => av1::packetize(frame),
        _ => vec![frame.to_vec()],
    }
}

/// Counts pictures, 15 bits.
#[derive(Debug, Default)]
pub struct Picture(u16);

impl Picture {
    fn next(&mut self) -> u16 {
        self.0 = (self.0 + 1) & 0x7fff;
        self.0
    }
}

/// RFC 7741 §4.2: X, S on the first packet, a picture id of 15 bits.
fn vp8(frame: &[u8], picture: u16) -> Vec<Vec<u8>> {
    let id = (picture | 0x8000).to_be_bytes();
    let pieces = pieces(frame, MAX_PAYLOAD - 4);
    let first = |n: usize| if n == 0 { 0x90 } else { 0x80 };
    pieces
        .enumerate()
        .map(|(n, piece)| [&[first(n), 0x80, id[0], id[1]], piece].concat())
        .collect()
}

/// RFC 9628 §4.2, flexible mode off: I, P on a frame that is no keyframe, B and E at its ends.
fn vp9(frame: &[u8], picture: u16) -> Vec<Vec<u8>> {
    let id = (picture | 0x8000).to_be_bytes();
    let inter = u8::from(!is_vp9_keyframe(frame)) << 6;
    let pieces: Vec<&[u8]> = pieces(frame, MAX_PAYLOAD - 3).collect();
    let last = pieces.len().wrapping_sub(1);
    let flags = |n: usize| u8::from(n == 0) << 3 | u8::from(n == last) << 2;
    pieces
        .iter()
        .enumerate()
        .map(|(n, piece)| [&[0x80 | inter | flags(n), id[0], id[1]], *piece].concat())
        .collect()
}

/// The uncompressed header of a VP9 frame: marker 2, profile, no `show_existing_frame`, type 0.
fn is_vp9_keyframe(frame: &[u8]) -> bool {
    let Some(first) = frame.first() else {
        return false;
    };
    // Profile 3 has one bit more; it is never sent here.
    first >> 6 == 2 && first & 0x0c == 0
}

/// Pieces as even as they can be, so that a frame's packets are of one size.
fn pieces(data: &[u8], max: usize) -> impl Iterator<Item = &[u8]> {
    let count = data.len().div_ceil(max).max(1);
    data.chunks(data.len().div_ceil(count).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stagecast_proto::codec::inspect;

    #[test]
    fn vp8_keyframe_is_seen_by_the_servers_parser() {
        let mut frame = vec![0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0];
        frame.extend([7; 3000]);
        let packets = packetize(Codec::Vp8, &frame, &mut Picture::default(), false);
        assert_eq!(packets.len(), 3);
        let info = inspect(Codec::Vp8, &packets[0]);
        assert!(info.keyframe && info.resolution == Some((64, 48)));
        assert!(!inspect(Codec::Vp8, &packets[1]).keyframe);
        let whole: Vec<u8> = packets.iter().flat_map(|p| &p[4..]).copied().collect();
        assert_eq!(whole, frame);
    }

    #[test]
    fn vp9_frame_begins_and_ends_once() {
        let key = [vec![0x82, 0x49, 0x83, 0x42], vec![1; 3000]].concat();
        let inter = [vec![0x86], vec![1; 2000]].concat();
        let mut picture = Picture::default();
        let packets = packetize(Codec::Vp9, &key, &mut picture, false);
        assert!(inspect(Codec::Vp9, &packets[0]).keyframe);
        assert!(
            packets[1..]
                .iter()
                .all(|p| !inspect(Codec::Vp9, p).keyframe)
        );
        let packets = packetize(Codec::Vp9, &inter, &mut picture, false);
        assert_eq!(packets.iter().filter(|p| p[0] & 8 != 0).count(), 1);
        assert_eq!(packets.iter().filter(|p| p[0] & 4 != 0).count(), 1);
        assert!(!inspect(Codec::Vp9, &packets[0]).keyframe);
    }

    proptest! {
        #[test]
        fn any_bytes_make_payloads_that_fit(frame in prop::collection::vec(any::<u8>(), 0..5000)) {
            for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
                for payload in packetize(codec, &frame, &mut Picture::default(), true) {
                    prop_assert!(!payload.is_empty() && payload.len() <= MAX_PAYLOAD);
                }
            }
        }
    }
}
