//! B-frames and WebRTC: what is sent, and as when.
//!
//! A WebRTC receiver decodes and shows in order of arrival. A stream with B-frames is therefore made
//! one without: a picture that is shown before one already sent is left out, and what remains has a
//! lower frame rate. That is correct as long as no other picture needs it.
//!
//! Of a pyramid of B-frames, which x264 makes by default, some are needed. Browsers take a picture that
//! their H.264 decoder does not give back at once for a fault, and ask for a keyframe instead: to send
//! those is to show two pictures a second. Without them decoders fill in what is near, and the picture
//! is blurred where it moves until the next keyframe. Of H.265 they are sent in decoding order with
//! timestamps that grow, and the receiver's decoder sorts as well as it can.

use std::time::Duration;

use stagecast_proto::codec::Codec;
use stagecast_proto::codec::config::nal_units;

use crate::frame::Frame;

/// Going back further than any reordering is a new timeline, not a B-frame.
const MAX_REORDER: Duration = Duration::from_secs(2);

/// Order of one video layer.
#[derive(Debug, Default)]
pub struct Order {
    newest: Option<i64>,
    /// Of the last frame that was sent: its decoding time, and the time it was sent as.
    last: Option<(i64, i64)>,
    /// What is added to a decoding time, once pictures that are needed came out of order.
    delay: Option<i64>,
    /// What is added to every time, after the timeline jumped back.
    shift: i64,
    b_frames: bool,
}

impl Order {
    /// Whether frames came that are shown before ones that came earlier.
    pub fn has_b_frames(&self) -> bool {
        self.b_frames
    }

    /// When the frame is to be shown, in microseconds that always grow; `None` when it is left out.
    pub fn place(&mut self, frame: &Frame) -> Option<i64> {
        let newest = self.newest.unwrap_or(i64::MIN);
        let back = newest.saturating_sub(frame.pts_us);
        let jumped = self.newest.is_some() && back > MAX_REORDER.as_micros() as i64;
        if jumped {
            self.delay = None;
        } else if self.newest.is_some() && back >= 0 && !frame.keyframe {
            self.b_frames = true;
            let late = back > 0 && frame.config.codec == Codec::H264;
            if late || is_disposable(frame) {
                return None;
            }
            if self.delay.is_none() {
                self.delay = self.last.map(|(dts, shown)| shown - self.shift - dts);
            }
        }
        self.newest = Some(if jumped {
            frame.pts_us
        } else {
            newest.max(frame.pts_us)
        });
        let own = self
            .delay
            .map_or(frame.pts_us, |delay| frame.dts_us.saturating_add(delay));
        let mut at = own.saturating_add(self.shift);
        if let Some((_, shown)) = self.last {
            if jumped {
                at = shown + 33_000;
                self.shift = at.saturating_sub(own);
            }
            at = at.max(shown + 1_000);
        }
        self.last = Some((frame.dts_us, at));
        Some(at)
    }
}

/// Whether no other picture is predicted from this one.
fn is_disposable(frame: &Frame) -> bool {
    let mut slices = nal_units(&frame.data, 4).filter_map(|unit| match frame.config.codec {
        // nal_ref_idc of slices (H.264 §7.4.1).
        Codec::H264 => matches!(unit[0] & 0x1f, 1..=5).then_some(unit[0] & 0x60 == 0),
        // Sub-layer non-reference pictures have even types up to 14 (H.265 table 7-1).
        Codec::H265 => {
            let kind = unit[0] >> 1 & 0x3f;
            (kind < 32).then_some(kind <= 14 && kind % 2 == 0)
        }
        _ => None,
    });
    match slices.next() {
        None => false,
        Some(first) => first && slices.all(|disposable| disposable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Config;
    use crate::frames::publisher::tests::h264_config;
    use std::sync::Arc;
    use std::time::Instant;

    /// A slice of type I, P, B (needed) or b (not needed) that is shown and decoded then, in ms.
    fn frame(codec: Codec, kind: char, pts: i64, dts: i64) -> Frame {
        let (key, not_needed, needed) = match codec {
            Codec::H264 => (0x65, 0x01, 0x41),
            _ => (19 << 1, 0, 1 << 1),
        };
        let header = match kind {
            'I' => key,
            'b' => not_needed,
            _ => needed,
        };
        let config = Config {
            codec,
            ..(*h264_config()).clone()
        };
        Frame {
            config: Arc::new(config),
            pts_us: pts * 1000,
            dts_us: dts * 1000,
            keyframe: kind == 'I',
            capture: Instant::now(),
            data: Arc::from([0, 0, 0, 2, header, 0x88]),
        }
    }

    fn times_of(order: &mut Order, codec: Codec, frames: &[(char, i64, i64)]) -> Vec<Option<i64>> {
        let place = |&(kind, pts, dts): &(char, i64, i64)| {
            let shown = order.place(&frame(codec, kind, pts, dts));
            shown.map(|us| us / 1000)
        };
        frames.iter().map(place).collect()
    }

    fn times(order: &mut Order, frames: &[(char, i64, i64)]) -> Vec<Option<i64>> {
        times_of(order, Codec::H264, frames)
    }

    #[test]
    fn frames_in_order_keep_their_presentation_times() {
        let mut order = Order::default();
        let shown = times(&mut order, &[('I', 0, 0), ('P', 40, 40), ('b', 80, 80)]);
        assert_eq!(shown, [Some(0), Some(40), Some(80)]);
        assert!(!order.has_b_frames());
    }

    #[test]
    fn b_frames_that_nothing_needs_are_left_out() {
        let mut order = Order::default();
        let group = [
            ('I', 80, 0),
            ('P', 200, 40),
            ('b', 120, 80),
            ('b', 160, 120),
            ('P', 240, 160),
        ];
        let shown = times(&mut order, &group);
        assert_eq!(shown, [Some(80), Some(200), None, None, Some(240)]);
        assert!(order.has_b_frames());
    }

    const PYRAMID: [(char, i64, i64); 7] = [
        ('I', 80, 0),
        ('P', 240, 40),
        ('B', 160, 80),
        ('b', 120, 120),
        ('b', 200, 160),
        ('P', 400, 200),
        ('B', 320, 240),
    ];

    #[test]
    fn b_frames_that_are_needed_are_left_out_of_h264() {
        let shown = times(&mut Order::default(), &PYRAMID);
        let expected = [Some(80), Some(240), None, None, None, Some(400), None];
        assert_eq!(shown, expected);
    }

    #[test]
    fn pictures_of_one_time_are_no_b_frames_that_could_be_left_out() {
        let group = [('I', 0, 0), ('P', 40, 40), ('P', 40, 41), ('P', 80, 80)];
        let shown = times(&mut Order::default(), &group);
        assert_eq!(shown.iter().flatten().count(), group.len());
    }

    #[test]
    fn b_frames_of_h265_that_are_needed_are_sent_in_decoding_order_with_growing_times() {
        let shown = times_of(&mut Order::default(), Codec::H265, &PYRAMID);
        let sent = [80, 240, 280, 400, 440].map(Some);
        let expected = [sent[0], sent[1], sent[2], None, None, sent[3], sent[4]];
        assert_eq!(shown, expected);
    }

    #[test]
    fn timeline_that_begins_anew_goes_on_growing() {
        let mut order = Order::default();
        let shown = times(
            &mut order,
            &[('I', 90_000, 90_000), ('I', 0, 0), ('P', 40, 40)],
        );
        assert_eq!(shown, [Some(90_000), Some(90_033), Some(90_073)]);
        assert!(!order.has_b_frames());
    }
}
