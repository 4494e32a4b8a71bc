//! Media fragments: what one part of a segment holds.

use super::TRACK_ID;
use super::boxes::Boxes;

/// `sample_is_non_sync_sample`, and "depends on others" (ISO/IEC 14496-12 §8.8.3.1).
const DELTA: u32 = 0x0101_0000;
/// "Depends on no other".
const SYNC: u32 = 0x0200_0000;

/// One access unit of a fragment.
#[derive(Copy, Clone, Debug)]
pub struct Sample<'a> {
    /// The access unit as MP4 stores it.
    pub data: &'a [u8],
    /// Time to the next sample in units of the timescale.
    pub duration: u32,
    /// Presentation time less decoding time.
    pub offset: i32,
    /// A decoder can start here.
    pub keyframe: bool,
}

/// When the first sample of a fragment was captured (`prft`, ISO/IEC 14496-12 §8.16.5).
#[derive(Copy, Clone, Debug)]
pub struct ProducerTime {
    /// NTP time, 32.32.
    pub ntp: u64,
}

/// A timed message to players (`emsg` version 1, DASH §5.10.3.3).
#[derive(Copy, Clone, Debug)]
pub struct Event<'a> {
    /// What kind of message: a URI.
    pub scheme: &'a str,
    /// A value within the scheme.
    pub value: &'a str,
    /// When, in units of the timescale.
    pub at: u64,
    /// For how long, in units of the timescale.
    pub duration: u32,
    /// Messages of one scheme and value with equal ids are the same.
    pub id: u32,
    /// The message.
    pub message: &'a [u8],
}

/// One `moof` and its `mdat`.
#[derive(Copy, Clone, Debug)]
pub struct Fragment<'a> {
    /// Grows by one a fragment.
    pub sequence: u32,
    /// Units of timestamps a second, as in the initialization segment.
    pub timescale: u32,
    /// Decoding time of the first sample.
    pub decode_time: u64,
    /// Capture time of the first sample.
    pub produced: Option<ProducerTime>,
    /// Messages.
    pub events: &'a [Event<'a>],
    /// Samples in decoding order.
    pub samples: &'a [Sample<'a>],
}

impl Fragment<'_> {
    /// The bytes of the fragment.
    pub fn to_bytes(&self) -> Vec<u8> {
        let payload: usize = self.samples.iter().map(|sample| sample.data.len()).sum();
        let mut boxes = Boxes::with_capacity(payload + 16 * self.samples.len() + 160);
        if let (Some(produced), Some(first)) = (self.produced, self.samples.first()) {
            let media_time = self.decode_time.saturating_add_signed(first.offset.into());
            // Flags 24: the time at which the sample was captured.
            boxes.full(*b"prft", 1, 24, |boxes| {
                boxes.u32(TRACK_ID);
                boxes.u64(produced.ntp);
                boxes.u64(media_time);
            });
        }
        for event in self.events {
            event.write(&mut boxes, self.timescale);
        }
        let start = boxes.position();
        let mut data_offset = 0;
        boxes.write(*b"moof", |boxes| {
            boxes.full(*b"mfhd", 0, 0, |boxes| boxes.u32(self.sequence));
            boxes.write(*b"traf", |boxes| {
                // Flags: offsets count from the start of the moof.
                boxes.full(*b"tfhd", 0, 0x02_0000, |boxes| boxes.u32(TRACK_ID));
                boxes.full(*b"tfdt", 1, 0, |boxes| boxes.u64(self.decode_time));
                data_offset = self.write_run(boxes);
            });
        });
        let header = boxes.position() - start + 8;
        boxes.set_u32(data_offset, header as u32);
        boxes.write(*b"mdat", |boxes| {
            for sample in self.samples {
                boxes.put(sample.data);
            }
        });
        boxes.into_bytes()
    }

    /// Writes `trun`; where the offset of the data is to be filled in.
    fn write_run(&self, boxes: &mut Boxes) -> usize {
        const DATA_OFFSET: u32 = 0x1;
        const DURATION: u32 = 0x100;
        const SIZE: u32 = 0x200;
        const FLAGS: u32 = 0x400;
        const COMPOSITION: u32 = 0x800;
        let mut data_offset = 0;
        let present = DATA_OFFSET | DURATION | SIZE | FLAGS | COMPOSITION;
        // Version 1: signed composition offsets.
        boxes.full(*b"trun", 1, present, |boxes| {
            boxes.u32(self.samples.len() as u32);
            data_offset = boxes.position();
            boxes.u32(0);
            for sample in self.samples {
                boxes.u32(sample.duration);
                boxes.u32(sample.data.len() as u32);
                boxes.u32(if sample.keyframe { SYNC } else { DELTA });
                boxes.u32(sample.offset.cast_unsigned());
            }
        });
        data_offset
    }
}

impl Event<'_> {
    fn write(&self, boxes: &mut Boxes, timescale: u32) {
        boxes.full(*b"emsg", 1, 0, |boxes| {
            boxes.u32(timescale);
            boxes.u64(self.at);
            boxes.u32(self.duration);
            boxes.u32(self.id);
            for text in [self.scheme, self.value] {
                boxes.put(text.as_bytes());
                boxes.u8(0);
            }
            boxes.put(self.message);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    fn sample(data: &[u8]) -> Sample<'_> {
        Sample {
            data,
            duration: 3000,
            offset: 0,
            keyframe: false,
        }
    }

    #[test]
    fn fragment_is_moof_and_mdat_with_the_offset_of_the_first_byte() {
        let fragment = Fragment {
            sequence: 7,
            timescale: 90_000,
            decode_time: 0x1_0000_0000,
            produced: None,
            events: &[],
            samples: &[
                Sample {
                    keyframe: true,
                    offset: 6000,
                    ..sample(&[1, 2, 3])
                },
                Sample {
                    offset: -3000,
                    ..sample(&[4])
                },
            ],
        };
        let expected = hex("0000 0078 6d6f6f66
             00000010 6d666864 00000000 00000007
             00000060 74726166
             00000010 74666864 00020000 00000001
             00000014 74666474 01000000 00000001 00000000
             00000034 7472756e 01000f01 00000002 00000080
               00000bb8 00000003 02000000 00001770
               00000bb8 00000001 01010000 fffff448
             0000000c 6d646174 01020304");
        assert_eq!(fragment.to_bytes(), expected);
    }

    #[test]
    fn capture_time_and_messages_stand_before_the_moof() {
        let samples = [sample(&[9; 100])];
        let fragment = Fragment {
            sequence: 1,
            timescale: 48_000,
            decode_time: 960,
            produced: Some(ProducerTime {
                ntp: 0xe8d4_a510_8000_0000,
            }),
            events: &[Event {
                scheme: "urn:x",
                value: "1",
                at: 960,
                duration: 0,
                id: 5,
                message: b"hello",
            }],
            samples: &samples,
        };
        let bytes = fragment.to_bytes();
        let before = hex(
            "00000020 70726674 01000018 00000001 e8d4a51080000000 00000000000003c0
             0000002d 656d7367 01000000 0000bb80 00000000000003c0 00000000 00000005
             75726e3a7800 3100 68656c6c6f",
        );
        assert_eq!(bytes[..before.len()], before);
        assert_eq!(&bytes[before.len() + 4..before.len() + 8], b"moof");
        let offset = bytes.len() - before.len() - 100;
        let trun = bytes.windows(4).position(|name| name == b"trun").unwrap();
        assert_eq!(bytes[trun + 12..trun + 16], (offset as u32).to_be_bytes());
    }
}
