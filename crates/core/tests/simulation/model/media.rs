//! A publisher: simulcast layers at 30 frames a second, keyframes when asked, and audio.

use super::random::Random;

/// Bytes of RTP header, extensions, SRTP tag, UDP and IP around a payload.
pub const OVERHEAD: usize = 60;
const MAX_PAYLOAD: usize = 1140;
const FRAME_US: u64 = 33_333;
const AUDIO_US: u64 = 20_000;
const AUDIO_BYTES: usize = 80 + OVERHEAD;
/// How long the publisher takes to hear of a request and to encode.
const KEYFRAME_DELAY_US: u64 = 60_000;
const KEYFRAME_SCALE: f64 = 5.0;
/// An encoder that follows an estimate keeps its keyframes small.
const SMALL_KEYFRAME_SCALE: f64 = 2.0;
/// Publishers pace a frame: this multiple of the layer's rate.
const PACING: f64 = 2.5;
/// Weight of the last second in a layer's rate.
const SMOOTHING: f64 = 0.3;
/// Temporal layer of each frame, and the bytes of each relative to the mean.
const TEMPORAL: [(u8, f64); 4] = [(0, 1.6), (2, 0.8), (1, 0.8), (2, 0.8)];

/// A packet of a layer.
#[derive(Clone, Copy, Debug)]
pub struct VideoPacket {
    /// Index of the layer.
    pub layer: usize,
    /// Bytes with everything around them.
    pub bytes: usize,
    /// Temporal layer of its frame.
    pub temporal: u8,
    /// Whether it is of a keyframe.
    pub keyframe: bool,
    /// Place in the frame.
    pub index: u16,
    /// Packets of the frame.
    pub count: u16,
}

/// One encoding.
#[derive(Debug)]
struct Encoding {
    kbps: f64,
    asked: Option<u64>,
    began: bool,
    /// Bytes of keyframes still to be saved on the frames after.
    debt: f64,
    paced_until: u64,
    keyframe_scale: f64,
    sent: [u64; 3],
    measured: [f64; 3],
}

/// The publisher's tracks.
pub struct Publisher {
    encodings: Vec<Encoding>,
    temporal: bool,
    random: Random,
    frames: u64,
    next_audio: u64,
    paced: Vec<(u64, VideoPacket)>,
    measured_at: u64,
}

impl Publisher {
    /// Layers of these rates in kbit/s, with three temporal layers each or none.
    pub fn new(kbps: &[u32], temporal: bool, seed: u64) -> Self {
        let encoding = |&kbps: &u32| {
            let kbps = f64::from(kbps);
            let shares = if temporal { [0.4, 0.6, 1.0] } else { [1.0; 3] };
            Encoding {
                kbps,
                asked: None,
                began: false,
                debt: 0.0,
                paced_until: 0,
                keyframe_scale: KEYFRAME_SCALE,
                sent: [0; 3],
                measured: shares.map(|share| share * kbps),
            }
        };
        Self {
            encodings: kbps.iter().map(encoding).collect(),
            temporal,
            random: Random::new(seed),
            frames: 0,
            next_audio: 0,
            paced: Vec::new(),
            measured_at: 0,
        }
    }

    /// Rates in bit/s by temporal layer, with those below; one where there are none.
    pub fn rates(&self, layer: usize) -> Vec<u64> {
        let bps = self.encodings[layer]
            .measured
            .map(|kbps| (kbps * 1e3) as u64);
        if self.temporal {
            bps.to_vec()
        } else {
            vec![bps[2]]
        }
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.encodings.len()
    }

    /// Follow an estimate, as an encoder does that serves one viewer only.
    pub fn set_rate(&mut self, layer: usize, kbps: f64) {
        self.encodings[layer].kbps = kbps;
        self.encodings[layer].keyframe_scale = SMALL_KEYFRAME_SCALE;
    }

    /// Ask for a keyframe of a layer.
    pub fn request_keyframe(&mut self, now: u64, layer: usize) {
        self.encodings[layer].asked.get_or_insert(now);
    }

    /// What leaves the encoders by now: video packets, and audio packets by size.
    pub fn run(
        &mut self,
        now: u64,
        mut video: impl FnMut(VideoPacket),
        mut audio: impl FnMut(usize),
    ) {
        while self.next_audio <= now {
            self.next_audio += AUDIO_US;
            audio(AUDIO_BYTES);
        }
        while self.frames * FRAME_US <= now {
            self.encode(now);
            self.frames += 1;
        }
        let mut due: Vec<_> = self.paced.extract_if(.., |(at, _)| *at <= now).collect();
        due.sort_by_key(|(at, _)| *at);
        for (_, packet) in due {
            video(packet);
        }
        if now - self.measured_at >= 1_000_000 {
            let seconds = (now - self.measured_at) as f64 / 1e6;
            self.measured_at = now;
            for encoding in &mut self.encodings {
                let sent = std::mem::take(&mut encoding.sent);
                let mut total = 0;
                for (measured, bytes) in encoding.measured.iter_mut().zip(sent) {
                    total += bytes;
                    let new = total as f64 * 8e-3 / seconds;
                    *measured += (new - *measured) * SMOOTHING;
                }
            }
        }
    }

    fn encode(&mut self, now: u64) {
        for (layer, encoding) in self.encodings.iter_mut().enumerate() {
            let ready = |at: u64| now >= at + KEYFRAME_DELAY_US;
            let keyframe = !encoding.began || encoding.asked.is_some_and(ready);
            let (temporal, share) = match (keyframe, self.temporal) {
                (true, _) => (0, encoding.keyframe_scale),
                (false, true) => TEMPORAL[self.frames as usize % TEMPORAL.len()],
                (false, false) => (0, 1.0),
            };
            if keyframe {
                encoding.asked = None;
                encoding.began = true;
            }
            let mean = encoding.kbps * 1e3 / 8.0 / 30.0;
            let noise = self.random.between(0.8, 1.2);
            let saved = encoding.debt.min(mean * 0.2);
            encoding.debt += if keyframe {
                mean * (encoding.keyframe_scale - 1.0)
            } else {
                -saved
            };
            let size = (mean * share * noise - saved).max(100.0) as usize;
            let payload = size.saturating_sub(OVERHEAD).max(40);
            let count = payload.div_ceil(MAX_PAYLOAD);
            let bytes = payload.div_ceil(count) + OVERHEAD;
            encoding.sent[usize::from(temporal)] += (count * bytes) as u64;
            for index in 0..count {
                let at = encoding.paced_until.max(now);
                let takes = bytes as f64 * 8e3 / (encoding.kbps * PACING);
                encoding.paced_until = at + takes as u64;
                let packet = VideoPacket {
                    layer,
                    bytes,
                    temporal,
                    keyframe,
                    index: index as u16,
                    count: count as u16,
                };
                self.paced.push((at, packet));
            }
        }
    }
}
