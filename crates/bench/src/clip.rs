//! Encoded media that publishers send again and again, cut into payloads once.

use stagecast_proto::codec::{Codec, Kind, inspect};

use crate::Error;
use crate::packetize::{Picture, packetize};

/// Bytes of one clip.
const MAX_BYTES: usize = 256 << 20;
/// Frames of one clip.
const MAX_FRAMES: usize = 200_000;

/// A frame, ready to send.
#[derive(Debug)]
pub struct Frame {
    /// Microseconds after the clip's start.
    pub due: u64,
    /// Its payloads.
    pub payloads: Vec<Vec<u8>>,
    /// Decoding can start here.
    pub keyframe: bool,
}

/// A clip.
#[derive(Debug, Default)]
pub struct Clip {
    /// The video codec; `None` without video.
    pub codec: Option<Codec>,
    /// Video frames by time.
    pub video: Vec<Frame>,
    /// Opus frames by time.
    pub audio: Vec<Frame>,
    /// Microseconds after which it begins again.
    pub duration: u64,
    stamped: bool,
    bytes: usize,
    picture: Picture,
}

impl Clip {
    /// An empty clip; `stamped` leaves room for time stamps (H264).
    pub fn new(codec: Option<Codec>, stamped: bool) -> Self {
        Self {
            codec,
            stamped,
            ..Self::default()
        }
    }

    /// Add the next frame of its kind: Annex B for H264, a temporal unit for AV1.
    pub fn push(&mut self, kind: Kind, due: u64, data: &[u8]) -> Result<(), Error> {
        self.bytes += data.len();
        let frames = match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        if self.bytes > MAX_BYTES || frames.len() == MAX_FRAMES {
            return Err(Error::Config(format!(
                "a clip has at most {MAX_FRAMES} frames and {MAX_BYTES} bytes"
            )));
        }
        if frames.last().is_some_and(|last| due < last.due) {
            return Err(Error::Config("frames of a clip come in order".into()));
        }
        let codec = match kind {
            Kind::Audio => Codec::Opus,
            Kind::Video => self
                .codec
                .ok_or_else(|| Error::Config("the clip has no video codec".into()))?,
        };
        let payloads = packetize(codec, data, &mut self.picture, self.stamped);
        let keyframe = payloads.iter().any(|p| inspect(codec, p).keyframe);
        if !payloads.is_empty() {
            frames.push(Frame {
                due,
                payloads,
                keyframe,
            });
        }
        Ok(())
    }

    /// The clip ends here; it must be whole enough to be published.
    pub fn finish(&mut self, duration: u64) -> Result<(), Error> {
        let last = self.video.iter().chain(&self.audio).map(|f| f.due).max();
        let Some(last) = last else {
            return Err(Error::Config("the clip is empty".into()));
        };
        if !self.video.is_empty() && !self.video[0].keyframe {
            return Err(Error::Config(
                "the clip's first picture is no keyframe".into(),
            ));
        }
        self.duration = duration.max(last + 1000);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_begins_with_a_keyframe_and_lasts_longer_than_its_last_frame() {
        let mut clip = Clip::new(Some(Codec::Vp8), false);
        assert!(clip.finish(5).is_err(), "empty");
        let inter = [0x11, 2, 0, 1, 2, 3];
        clip.push(Kind::Video, 0, &inter).unwrap();
        assert!(clip.finish(5).is_err(), "no keyframe");

        let mut clip = Clip::new(Some(Codec::Vp8), false);
        let key = [0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0, 9];
        clip.push(Kind::Video, 0, &key).unwrap();
        clip.push(Kind::Video, 33_000, &inter).unwrap();
        clip.push(Kind::Audio, 20_000, &[1; 30]).unwrap();
        assert!(clip.push(Kind::Video, 1, &inter).is_err(), "out of order");
        clip.finish(5).unwrap();
        assert_eq!(clip.duration, 34_000);
        assert!(clip.video[0].keyframe && !clip.video[1].keyframe);
    }

    #[test]
    fn video_without_a_codec_is_refused() {
        let mut clip = Clip::new(None, false);
        assert!(clip.push(Kind::Video, 0, &[1]).is_err());
        clip.push(Kind::Audio, 0, &[1]).unwrap();
        clip.finish(20_000).unwrap();
    }
}
