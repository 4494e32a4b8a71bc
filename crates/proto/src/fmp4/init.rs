//! Initialization segments: `ftyp` and a `moov` with one empty track.
//!
//! Sample entries: `avc1` and `hvc1` (ISO/IEC 14496-15), `av01` (AV1-ISOBMFF), `vp08` and `vp09`
//! (VP-ISOBMFF), `mp4a` with an `esds` (ISO/IEC 14496-14), `Opus` with a `dOps` (Opus-ISOBMFF).

use super::TRACK_ID;
use super::boxes::Boxes;
use crate::codec::{Codec, Kind};

/// What an initialization segment says about its track.
#[derive(Copy, Clone, Debug)]
pub struct Track<'a> {
    /// The codec.
    pub codec: Codec,
    /// The decoder configuration record: the body of `avcC`, `hvcC`, `av1C`, `vpcC` (without version
    /// and flags) or `dOps`, or an `AudioSpecificConfig`.
    pub record: &'a [u8],
    /// Units of its timestamps a second.
    pub timescale: u32,
    /// Width and height in pixels; ignored for audio.
    pub resolution: (u16, u16),
    /// Samples a second; ignored for video.
    pub sample_rate: u32,
    /// Channels; ignored for video.
    pub channels: u8,
}

/// The initialization segment of a track.
pub fn init_segment(track: &Track) -> Vec<u8> {
    let mut boxes = Boxes::with_capacity(768 + track.record.len());
    boxes.write(*b"ftyp", |boxes| {
        boxes.put(b"iso6");
        boxes.u32(0);
        boxes.put(b"iso6cmfcmp41");
    });
    boxes.write(*b"moov", |boxes| {
        boxes.full(*b"mvhd", 0, 0, |boxes| {
            boxes.zeros(8); // creation and modification time
            boxes.u32(1000);
            boxes.u32(0); // duration: not known
            boxes.u32(0x0001_0000); // rate 1.0
            boxes.u16(0x0100); // volume 1.0
            boxes.zeros(10);
            matrix(boxes);
            boxes.zeros(24);
            boxes.u32(TRACK_ID + 1);
        });
        boxes.write(*b"trak", |boxes| {
            header(boxes, track);
            boxes.write(*b"mdia", |boxes| media(boxes, track));
        });
        boxes.write(*b"mvex", |boxes| {
            boxes.full(*b"trex", 0, 0, |boxes| {
                boxes.u32(TRACK_ID);
                boxes.u32(1); // the sample description
                boxes.zeros(12); // every fragment says duration, size and flags itself
            });
        });
    });
    boxes.into_bytes()
}

/// The unity matrix of `mvhd` and `tkhd`.
fn matrix(boxes: &mut Boxes) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        boxes.u32(value);
    }
}

fn header(boxes: &mut Boxes, track: &Track) {
    let audio = track.codec.kind() == Kind::Audio;
    let (width, height) = if audio { (0, 0) } else { track.resolution };
    // Flags: enabled, in the movie, in the preview.
    boxes.full(*b"tkhd", 0, 7, |boxes| {
        boxes.zeros(8);
        boxes.u32(TRACK_ID);
        boxes.zeros(8); // reserved, duration
        boxes.zeros(8);
        boxes.zeros(4); // layer, alternate group
        boxes.u16(if audio { 0x0100 } else { 0 });
        boxes.zeros(2);
        matrix(boxes);
        boxes.u32(u32::from(width) << 16);
        boxes.u32(u32::from(height) << 16);
    });
}

fn media(boxes: &mut Boxes, track: &Track) {
    let audio = track.codec.kind() == Kind::Audio;
    boxes.full(*b"mdhd", 0, 0, |boxes| {
        boxes.zeros(8);
        boxes.u32(track.timescale);
        boxes.u32(0);
        boxes.u16(0x55c4); // language "und"
        boxes.zeros(2);
    });
    boxes.full(*b"hdlr", 0, 0, |boxes| {
        boxes.zeros(4);
        boxes.put(if audio { b"soun" } else { b"vide" });
        boxes.zeros(12);
        boxes.put(if audio { b"Sound\0" } else { b"Video\0" });
    });
    boxes.write(*b"minf", |boxes| {
        if audio {
            boxes.full(*b"smhd", 0, 0, |boxes| boxes.zeros(4));
        } else {
            boxes.full(*b"vmhd", 0, 1, |boxes| boxes.zeros(8));
        }
        boxes.write(*b"dinf", |boxes| {
            boxes.full(*b"dref", 0, 0, |boxes| {
                boxes.u32(1);
                boxes.full(*b"url ", 0, 1, |_| ()); // the media is in this file
            });
        });
        boxes.write(*b"stbl", |boxes| {
            boxes.full(*b"stsd", 0, 0, |boxes| {
                boxes.u32(1);
                sample_entry(boxes, track);
            });
            boxes.full(*b"stts", 0, 0, |boxes| boxes.zeros(4));
            boxes.full(*b"stsc", 0, 0, |boxes| boxes.zeros(4));
            boxes.full(*b"stsz", 0, 0, |boxes| boxes.zeros(8));
            boxes.full(*b"stco", 0, 0, |boxes| boxes.zeros(4));
        });
    });
}

fn sample_entry(boxes: &mut Boxes, track: &Track) {
    let (name, record) = match track.codec {
        Codec::H264 => (*b"avc1", *b"avcC"),
        Codec::H265 => (*b"hvc1", *b"hvcC"),
        Codec::Av1 => (*b"av01", *b"av1C"),
        Codec::Vp8 => (*b"vp08", *b"vpcC"),
        Codec::Vp9 => (*b"vp09", *b"vpcC"),
        Codec::Opus => (*b"Opus", *b"dOps"),
        Codec::Aac => (*b"mp4a", *b"esds"),
    };
    boxes.write(name, |boxes| {
        boxes.zeros(6);
        boxes.u16(1); // data reference
        match track.codec.kind() {
            Kind::Video => visual_entry(boxes, track.resolution),
            Kind::Audio => audio_entry(boxes, track),
        }
        match track.codec {
            Codec::Aac => boxes.full(record, 0, 0, |boxes| descriptors(boxes, track.record)),
            Codec::Vp8 | Codec::Vp9 => boxes.full(record, 1, 0, |boxes| boxes.put(track.record)),
            _ => boxes.write(record, |boxes| boxes.put(track.record)),
        }
    });
}

fn visual_entry(boxes: &mut Boxes, (width, height): (u16, u16)) {
    boxes.zeros(16);
    boxes.u16(width);
    boxes.u16(height);
    boxes.u32(0x0048_0000); // 72 dpi
    boxes.u32(0x0048_0000);
    boxes.zeros(4);
    boxes.u16(1); // frames a sample
    boxes.zeros(32); // compressor name
    boxes.u16(24); // depth
    boxes.u16(0xffff);
}

fn audio_entry(boxes: &mut Boxes, track: &Track) {
    boxes.zeros(8);
    boxes.u16(u16::from(track.channels));
    boxes.u16(16); // bits a sample
    boxes.zeros(4);
    // A 16.16 number: what does not fit is told by the decoder configuration alone.
    let rate = u16::try_from(track.sample_rate).unwrap_or(0);
    boxes.u32(u32::from(rate) << 16);
}

/// The `ES_Descriptor` around an `AudioSpecificConfig` (ISO/IEC 14496-1 §7.2.6).
fn descriptors(boxes: &mut Boxes, config: &[u8]) {
    const ES: u8 = 3;
    const DECODER_CONFIG: u8 = 4;
    const DECODER_SPECIFIC: u8 = 5;
    const SL_CONFIG: u8 = 6;
    // An AudioSpecificConfig has a few bytes; anything longer than a one-byte length is no such.
    let config = &config[..config.len().min(64)];
    let specific = 2 + config.len() as u8;
    let decoder = 2 + 13 + specific;
    boxes.put(&[ES, 3 + decoder + 3, 0, 0, 0]); // ES id 0, no flags
    boxes.put(&[DECODER_CONFIG, decoder - 2]);
    boxes.put(&[0x40, 0x15]); // MPEG-4 audio; an audio stream, upstream 0, reserved 1
    boxes.zeros(3 + 4 + 4); // buffer size, maximum and average bitrate: not known
    boxes.put(&[DECODER_SPECIFIC, specific - 2]);
    boxes.put(config);
    boxes.put(&[SL_CONFIG, 1, 2]); // predefined: MP4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// The content of the first box with this path, where each name is searched in the one before.
    fn find<'a>(mut bytes: &'a [u8], path: &[(&str, usize)]) -> &'a [u8] {
        for (name, skip) in path {
            let mut rest = bytes;
            bytes = loop {
                assert!(rest.len() >= 8, "no box {name}");
                let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                if &rest[4..8] == name.as_bytes() {
                    break &rest[8 + skip..len];
                }
                rest = &rest[len..];
            };
        }
        bytes
    }

    const ENTRY: [(&str, usize); 6] = [
        ("moov", 0),
        ("trak", 0),
        ("mdia", 0),
        ("minf", 0),
        ("stbl", 0),
        ("stsd", 8),
    ];

    fn video(codec: Codec, record: &[u8]) -> Vec<u8> {
        init_segment(&Track {
            codec,
            record,
            timescale: 90_000,
            resolution: (1280, 720),
            sample_rate: 0,
            channels: 0,
        })
    }

    #[test]
    fn video_sample_entry_has_size_and_configuration() {
        let record = hex("0164001fffe1");
        let init = video(Codec::H264, &record);
        let entry = find(&init, &ENTRY);
        assert_eq!(&entry[4..8], b"avc1");
        assert_eq!(entry[32..36], hex("0500 02d0"));
        assert_eq!(find(&entry[8 + 78..], &[("avcC", 0)]), record);
        let header = find(&init, &[("moov", 0), ("trak", 0), ("tkhd", 0)]);
        assert_eq!(header[header.len() - 8..], hex("05000000 02d00000"));
    }

    #[test]
    fn vpx_configuration_is_a_full_box_of_version_one() {
        let init = video(Codec::Vp9, &hex("000a82020202"));
        let entry = find(&init, &ENTRY);
        assert_eq!(
            find(&entry[8 + 78..], &[("vpcC", 0)]),
            hex("01000000 000a82020202")
        );
    }

    #[test]
    fn aac_configuration_is_wrapped_in_descriptors_of_the_right_length() {
        let init = init_segment(&Track {
            codec: Codec::Aac,
            record: &hex("1190"),
            timescale: 48_000,
            resolution: (0, 0),
            sample_rate: 48_000,
            channels: 2,
        });
        let entry = find(&init, &ENTRY);
        assert_eq!(&entry[4..8], b"mp4a");
        assert_eq!(entry[8 + 24..8 + 28], hex("bb800000"), "sample rate");
        assert_eq!(
            find(&entry[8 + 28..], &[("esds", 4)]),
            hex("03 19 0000 00 04 11 40 15 000000 00000000 00000000 05 02 1190 06 01 02")
        );
        let mdhd = find(
            &init,
            &[("moov", 0), ("trak", 0), ("mdia", 0), ("mdhd", 12)],
        );
        assert_eq!(mdhd[..4], 48_000_u32.to_be_bytes());
    }

    #[test]
    fn record_of_any_length_gives_boxes_of_true_length() {
        for codec in Codec::ALL {
            for len in [0, 1, 63, 64, 65, 300, 5000] {
                let init = init_segment(&Track {
                    codec,
                    record: &vec![0xa5; len],
                    timescale: 48_000,
                    resolution: (u16::MAX, 1),
                    sample_rate: 96_000,
                    channels: 255,
                });
                let ftyp = u32::from_be_bytes(init[..4].try_into().unwrap()) as usize;
                let moov = u32::from_be_bytes(init[ftyp..ftyp + 4].try_into().unwrap()) as usize;
                assert_eq!(ftyp + moov, init.len());
                find(&init, &ENTRY);
            }
        }
    }
}
