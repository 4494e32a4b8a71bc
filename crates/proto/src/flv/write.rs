//! Writing tag bodies: classic where the codec has a classic form and the track is the first one,
//! enhanced elsewhere.

use super::{AAC, AVC, COMMAND, EX_AUDIO, FourCc, KEYFRAME, Part, What, packet};

/// Frame type of what is no keyframe.
const INTER: u8 = 2;
/// Classic AAC's flags: 44 kHz, 16 bits, stereo, whatever the stream really is (E.4.2.1).
const AAC_FLAGS: u8 = 0x0f;

/// The body of a video message.
pub fn write_video(part: &Part<'_>) -> Vec<u8> {
    let (packet_type, frame_type, composition_ms) = match part.what {
        What::Config => (packet::SEQUENCE_START, KEYFRAME, 0),
        What::Frame {
            keyframe,
            composition_ms,
        } => {
            let frame_type = if keyframe { KEYFRAME } else { INTER };
            (packet::CODED_FRAMES, frame_type, composition_ms)
        }
        What::End => (packet::SEQUENCE_END, KEYFRAME, 0),
        What::Other => return vec![COMMAND << 4 | AVC, 0],
    };
    let composition = &composition_ms.to_be_bytes()[1..];
    let mut out = Vec::with_capacity(part.data.len() + 12);
    if part.codec == FourCc::AVC && part.track == 0 {
        out.extend_from_slice(&[frame_type << 4 | AVC, packet_type]);
        out.extend_from_slice(composition);
    } else {
        let head = 0x80 | frame_type << 4;
        enhanced(&mut out, head, packet_type, packet::VIDEO_MULTITRACK, part);
        let composed = matches!(part.codec, FourCc::AVC | FourCc::HEVC);
        if composed && packet_type == packet::CODED_FRAMES {
            out.extend_from_slice(composition);
        }
    }
    out.extend_from_slice(part.data);
    out
}

/// The body of an audio message.
pub fn write_audio(part: &Part<'_>) -> Vec<u8> {
    let packet_type = match part.what {
        What::Config => packet::SEQUENCE_START,
        What::Frame { .. } => packet::CODED_FRAMES,
        What::End | What::Other => packet::SEQUENCE_END,
    };
    let mut out = Vec::with_capacity(part.data.len() + 8);
    if part.codec == FourCc::AAC && part.track == 0 {
        out.extend_from_slice(&[AAC << 4 | AAC_FLAGS, packet_type]);
    } else {
        enhanced(
            &mut out,
            EX_AUDIO << 4,
            packet_type,
            packet::AUDIO_MULTITRACK,
            part,
        );
    }
    out.extend_from_slice(part.data);
    out
}

fn enhanced(out: &mut Vec<u8>, head: u8, packet_type: u8, multitrack: u8, part: &Part<'_>) {
    if part.track == 0 {
        out.push(head | packet_type);
        out.extend_from_slice(&part.codec.0);
    } else {
        out.extend_from_slice(&[head | multitrack, packet_type]);
        out.extend_from_slice(&part.codec.0);
        out.push(part.track);
    }
}
