//! A publisher of frames: what RTMP and SRT sessions are to the hub.
//!
//! It has no connection of its own. Its frames get a capture time on the engine's clock, from one
//! mapping for all its tracks, which is what keeps them in sync at every reader, and become packets.
//!
//! Frames are always packetized, whether or not a WebRTC reader is there: it costs an allocation and a
//! copy a packet, as for every packet that a WebRTC publisher sends, and then late joiners,
//! retransmission and subscribers of other threads work as for any publisher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_proto::codec::Kind;

use super::order::Order;
use super::packetize::Packetizer;
use crate::frame::Frame;
use crate::hub::Inbound;

/// Tracks times layers of a publisher.
const MAX_LAYERS: usize = 16;

/// Maps a publisher's timeline to the engine's clock by the least delay seen.
#[derive(Debug, Default)]
struct CaptureClock {
    anchor: Option<(i64, Instant)>,
}

impl CaptureClock {
    fn capture(&mut self, pts_us: i64, arrival: Instant) -> Instant {
        let (pts, at) = *self.anchor.get_or_insert((pts_us, arrival));
        let passed = pts_us.saturating_sub(pts);
        let by = Duration::from_micros(passed.unsigned_abs());
        let capture = if passed >= 0 {
            at.checked_add(by)
        } else {
            at.checked_sub(by)
        };
        match capture {
            Some(capture) if capture <= arrival && arrival - capture < Duration::from_secs(3) => {
                capture
            }
            // Earlier than ever, or the timeline jumped.
            _ => {
                self.anchor = Some((pts_us, arrival));
                arrival
            }
        }
    }
}

#[derive(Debug)]
struct Layer {
    track: Arc<str>,
    rid: Arc<str>,
    packetizer: Option<Packetizer>,
    order: Order,
    next_seq: u64,
}

/// The state of one publisher of frames.
#[derive(Debug, Default)]
pub struct FramePublisher {
    clock: CaptureClock,
    layers: Vec<Layer>,
    payloads: Vec<Arc<[u8]>>,
    frames: u64,
    bytes: u64,
}

impl FramePublisher {
    /// Take a frame: its capture time is set, and its packets are given to `sink`. `false` when the
    /// publisher has too many layers already.
    pub fn take(
        &mut self,
        (track, rid): (&Arc<str>, &Arc<str>),
        frame: &mut Frame,
        now: Instant,
        mut sink: impl FnMut(Inbound),
    ) -> bool {
        let arrival = frame.capture.min(now);
        frame.capture = self.clock.capture(frame.pts_us, arrival);
        self.take_as_captured((track, rid), frame, now, &mut sink)
    }

    /// The same for a frame whose capture time is known: it was made from another.
    pub fn take_as_captured(
        &mut self,
        (track, rid): (&Arc<str>, &Arc<str>),
        frame: &Frame,
        now: Instant,
        mut sink: impl FnMut(Inbound),
    ) -> bool {
        self.frames += 1;
        self.bytes += frame.data.len() as u64;
        let known = self
            .layers
            .iter()
            .position(|l| l.track == *track && l.rid == *rid);
        let index = match known {
            Some(index) => index,
            None if self.layers.len() >= MAX_LAYERS => return false,
            None => {
                self.layers.push(Layer {
                    track: Arc::clone(track),
                    rid: Arc::clone(rid),
                    packetizer: None,
                    order: Order::default(),
                    next_seq: 1,
                });
                self.layers.len() - 1
            }
        };
        self.layers[index].packetize(frame, now, &mut self.payloads, &mut sink);
        true
    }

    /// Whether this layer has pictures that are shown before ones that came earlier.
    pub fn has_b_frames(&self, track: &str, rid: &str) -> bool {
        let is = |l: &&Layer| &*l.track == track && &*l.rid == rid;
        self.layers
            .iter()
            .find(is)
            .is_some_and(|l| l.order.has_b_frames())
    }

    /// Frames and bytes received.
    pub fn totals(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }
}

impl Layer {
    fn packetize(
        &mut self,
        frame: &Frame,
        now: Instant,
        payloads: &mut Vec<Arc<[u8]>>,
        sink: &mut impl FnMut(Inbound),
    ) {
        let codec = frame.config.codec;
        if self
            .packetizer
            .as_ref()
            .is_none_or(|p| p.format().codec != codec)
        {
            self.packetizer = Packetizer::new(&frame.config);
        }
        let Some(packetizer) = &mut self.packetizer else {
            return;
        };
        let Some(shown) = self.order.place(frame) else {
            return;
        };
        let timestamp = (i128::from(shown) * i128::from(codec.clock_rate())).div_euclid(1_000_000);
        payloads.clear();
        packetizer.packetize(frame, payloads);
        let format = packetizer.format();
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.drain(..).enumerate() {
            sink(Inbound {
                seq: self.next_seq,
                timestamp: timestamp as u32,
                marker: codec.kind() == Kind::Video && index == last,
                format,
                arrival: now,
                capture: frame.capture,
                media_us: shown,
                audio_level: None,
                dependency: None,
                payload,
            });
            self.next_seq += 1;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::frame::Config;
    use stagecast_proto::codec::Codec;
    use stagecast_proto::codec::config::avc;

    pub(in crate::frames) fn h264_config() -> Arc<Config> {
        let sps = [
            0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08,
        ];
        let record = avc::record(&[&sps], &[&[0x68, 0xce, 0x3c, 0x80]]).expect("a plain SPS");
        Arc::new(Config {
            codec: Codec::H264,
            record: record.into(),
            resolution: (640, 480),
            sample_rate: 0,
            channels: 0,
        })
    }

    fn frame(config: &Arc<Config>, pts_us: i64, size: usize, at: Instant) -> Frame {
        let mut data = (size as u32).to_be_bytes().to_vec();
        data.extend(std::iter::once(0x65).chain((1..size).map(|i| i as u8 | 1)));
        Frame {
            config: Arc::clone(config),
            pts_us,
            dts_us: pts_us,
            keyframe: true,
            capture: at,
            data: data.into(),
        }
    }

    #[test]
    fn keyframe_begins_with_parameter_sets_and_ends_with_the_marker() {
        let now = Instant::now();
        let mut publisher = FramePublisher::default();
        let mut packets = Vec::new();
        let name: (Arc<str>, Arc<str>) = ("video".into(), "".into());
        let mut keyframe = frame(&h264_config(), 1_000_000, 3000, now);
        assert!(publisher.take((&name.0, &name.1), &mut keyframe, now, |p| packets.push(p)));
        assert_eq!(packets[0].payload[0] & 0x1f, 24, "STAP-A");
        assert_eq!(packets[0].format.profile_level_id, 0x0042_c01f);
        assert_eq!(packets.len(), 4);
        let markers: Vec<_> = packets.iter().map(|p| p.marker).collect();
        assert_eq!(markers, [false, false, false, true]);
        assert!(
            packets
                .iter()
                .all(|p| p.timestamp == 90_000 && p.payload.len() <= 1200)
        );
        let sequence: Vec<_> = packets.iter().map(|p| p.seq).collect();
        assert_eq!(sequence, [1, 2, 3, 4]);
    }

    #[test]
    fn timestamps_wrap_and_negative_times_are_no_fault() {
        let now = Instant::now();
        let config = h264_config();
        let name: (Arc<str>, Arc<str>) = ("video".into(), "".into());
        for (pts_us, timestamp) in [
            (-1_000_000, u32::MAX - 89_999),
            ((1_i64 << 33) * 1_000_000 / 90_000, (1_u64 << 33) as u32),
            (
                i64::MAX,
                ((i128::from(i64::MAX) * 90_000) / 1_000_000) as u32,
            ),
        ] {
            let mut publisher = FramePublisher::default();
            let mut times = Vec::new();
            let mut frame = frame(&config, pts_us, 10, now);
            publisher.take((&name.0, &name.1), &mut frame, now, |p| {
                times.push(p.timestamp);
            });
            assert!(
                times[0].wrapping_sub(timestamp).wrapping_add(1) <= 2,
                "{pts_us}"
            );
        }
    }

    #[test]
    fn audio_and_video_of_one_time_have_one_capture_time() {
        let t0 = Instant::now();
        let ms = Duration::from_millis;
        let mut clock = CaptureClock::default();
        assert_eq!(clock.capture(0, t0 + ms(30)), t0 + ms(30));
        // 30 ms less delay than the first: everything after is measured by this one.
        assert_eq!(clock.capture(100_000, t0 + ms(100)), t0 + ms(100));
        assert_eq!(clock.capture(140_000, t0 + ms(180)), t0 + ms(140));
        assert_eq!(clock.capture(120_000, t0 + ms(190)), t0 + ms(120));
    }
}
