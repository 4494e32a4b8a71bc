//! Writing a transport stream: one program of at most one video and one audio stream.

use super::{PACKET, PAT_PID, SYNC, descriptor, section, stream_type};
use crate::codec::{Codec, Kind};

const PROGRAM: u16 = 1;
const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
const PAT_TABLE: u8 = 0;
const PMT_TABLE: u8 = 2;
/// Stream ids of PES packets (table 2-22).
const VIDEO_ID: u8 = 0xe0;
const AUDIO_ID: u8 = 0xc0;
const PRIVATE_ID: u8 = 0xbd;

/// A transport stream's writer.
#[derive(Debug, Default)]
pub struct Muxer {
    video: Option<Codec>,
    /// With its channels.
    audio: Option<(Codec, u8)>,
    version: u8,
    /// Continuity counters: association table, map, video, audio.
    counters: [u8; 4],
}

/// What goes into a PES packet.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// Presentation time, in units of [`CLOCK`](super::CLOCK).
    pub pts: i64,
    /// Decoding time.
    pub dts: i64,
    /// A decoder can start here.
    pub keyframe: bool,
    /// Byte stream of NAL units, ADTS frames, or Opus with control headers.
    pub data: &'a [u8],
}

impl Muxer {
    /// What the program carries from now on, and whether that is news, which tables are to be written
    /// for. `None` for codecs that transport streams do not carry.
    pub fn set_stream(&mut self, codec: Codec, channels: u8) -> Option<bool> {
        let known = (self.video, self.audio);
        match codec {
            Codec::H264 | Codec::H265 => self.video = Some(codec),
            Codec::Aac | Codec::Opus => self.audio = Some((codec, channels)),
            Codec::Vp8 | Codec::Vp9 | Codec::Av1 => return None,
        }
        let changed = known != (self.video, self.audio);
        self.version = (self.version + u8::from(changed)) & 0x1f;
        Some(changed)
    }

    /// Append the two tables; needed at every point where a reader may begin.
    pub fn write_tables(&mut self, out: &mut Vec<u8>) {
        let mut pat = PROGRAM.to_be_bytes().to_vec();
        pat.extend_from_slice(&(0xe000 | PMT_PID).to_be_bytes());
        let pat = section::write(PAT_TABLE, 1, 0, &pat);
        self.packets(out, PAT_PID, 0, &[&[0], &pat[..]].concat(), None, false);
        let clock = if self.video.is_some() {
            VIDEO_PID
        } else {
            AUDIO_PID
        };
        let mut pmt = (0xe000 | clock).to_be_bytes().to_vec();
        pmt.extend_from_slice(&[0xf0, 0]);
        if let Some(codec) = self.video {
            let kind = match codec {
                Codec::H265 => stream_type::H265,
                _ => stream_type::H264,
            };
            write_stream(&mut pmt, kind, VIDEO_PID, &[]);
        }
        match self.audio {
            Some((Codec::Opus, channels)) => {
                let mut descriptors = vec![descriptor::REGISTRATION, 4];
                descriptors.extend_from_slice(descriptor::OPUS);
                let extension = [
                    descriptor::EXTENSION,
                    2,
                    descriptor::EXTENSION_OPUS,
                    channels,
                ];
                descriptors.extend_from_slice(&extension);
                write_stream(&mut pmt, stream_type::PRIVATE, AUDIO_PID, &descriptors);
            }
            Some(_) => write_stream(&mut pmt, stream_type::AAC_ADTS, AUDIO_PID, &[]),
            None => {}
        }
        let pmt = section::write(PMT_TABLE, PROGRAM, self.version, &pmt);
        self.packets(out, PMT_PID, 1, &[&[0], &pmt[..]].concat(), None, false);
    }

    /// Append a frame. The clock of the program goes with video, or with audio where there is none.
    pub fn write_unit(&mut self, out: &mut Vec<u8>, kind: Kind, unit: &Unit<'_>) {
        let video = kind == Kind::Video;
        let id = match self.audio {
            _ if video => VIDEO_ID,
            Some((Codec::Opus, _)) => PRIVATE_ID,
            _ => AUDIO_ID,
        };
        let both = unit.pts != unit.dts;
        let header_len = if both { 10 } else { 5 };
        // Video may be longer than the field can say, and need not say.
        let len = if video {
            0
        } else {
            3 + header_len + unit.data.len()
        };
        let mut pes = vec![0, 0, 1, id];
        pes.extend_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
        let flags = if both { 0xc0 } else { 0x80 };
        pes.extend_from_slice(&[0x84, flags, header_len as u8]);
        pes.extend_from_slice(&stamp(if both { 3 } else { 2 }, unit.pts));
        if both {
            pes.extend_from_slice(&stamp(1, unit.dts));
        }
        pes.extend_from_slice(unit.data);
        let (pid, counter) = if video {
            (VIDEO_PID, 2)
        } else {
            (AUDIO_PID, 3)
        };
        let clock = (video || self.video.is_none()).then_some(unit.dts);
        self.packets(out, pid, counter, &pes, clock, unit.keyframe);
    }

    fn packets(
        &mut self,
        out: &mut Vec<u8>,
        pid: u16,
        counter: usize,
        mut payload: &[u8],
        mut clock: Option<i64>,
        keyframe: bool,
    ) {
        let mut first = true;
        while first || !payload.is_empty() {
            let mut field = Vec::new();
            if first && (clock.is_some() || keyframe) {
                field.push(u8::from(keyframe) << 6 | u8::from(clock.is_some()) << 4);
                if let Some(clock) = clock.take() {
                    field.extend_from_slice(&program_clock(clock));
                }
            }
            let room = PACKET - 4 - if field.is_empty() { 0 } else { 1 + field.len() };
            let taken = payload.len().min(room);
            // Filling goes into the adaptation field; its length byte alone fills one.
            let filling = room - taken;
            let has_field = !field.is_empty() || filling > 0;
            let [high, low] = pid.to_be_bytes();
            let number = self.counters[counter];
            self.counters[counter] = (number + 1) & 0x0f;
            out.push(SYNC);
            out.push(high | if first { 0x40 } else { 0 });
            out.push(low);
            out.push(if has_field { 0x30 } else { 0x10 } | number);
            if field.is_empty() && filling > 0 {
                out.push((filling - 1) as u8);
                if filling > 1 {
                    out.push(0);
                    out.resize(out.len() + filling - 2, 0xff);
                }
            } else if has_field {
                out.push((field.len() + filling) as u8);
                out.extend_from_slice(&field);
                out.resize(out.len() + filling, 0xff);
            }
            out.extend_from_slice(&payload[..taken]);
            payload = &payload[taken..];
            first = false;
        }
    }
}

fn write_stream(pmt: &mut Vec<u8>, kind: u8, pid: u16, descriptors: &[u8]) {
    pmt.push(kind);
    pmt.extend_from_slice(&(0xe000 | pid).to_be_bytes());
    pmt.extend_from_slice(&(0xf000 | descriptors.len() as u16).to_be_bytes());
    pmt.extend_from_slice(descriptors);
}

/// A time stamp of 33 bits with its markers.
fn stamp(prefix: u8, at: i64) -> [u8; 5] {
    let at = at as u64;
    let [middle_high, middle_low] = ((at >> 15) as u16 & 0x7fff).wrapping_shl(1).to_be_bytes();
    let [high, low] = (at as u16 & 0x7fff).wrapping_shl(1).to_be_bytes();
    [
        prefix << 4 | ((at >> 30) as u8) << 1 & 0x0e | 1,
        middle_high,
        middle_low | 1,
        high,
        low | 1,
    ]
}

/// The program clock in units of 90 kHz; the finer part is zero.
fn program_clock(at: i64) -> [u8; 6] {
    let base = (at as u64 & 0x1_ffff_ffff) << 15 | 0x7e00;
    let bytes = base.to_be_bytes();
    [bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
}
