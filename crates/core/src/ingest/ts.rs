//! Between transport streams and frames, both ways.
//!
//! The first video and the first audio stream of a program are the tracks `video` and `audio`, further
//! ones are `video-1` and so on. Streams in codecs that are not carried are left out.

use std::sync::Arc;
use std::time::Instant;

use stagecast_proto::codec::config::aac::{AudioSpecificConfig, FRAME_SAMPLES};
use stagecast_proto::codec::config::{nal_units, opus};
use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::ts::audio::{AdtsFrames, opus_packets, write_adts, write_opus};
use stagecast_proto::ts::{Demuxer, Event, Muxer, Pes, Stream, Unit};

use super::arrival::ArrivalClock;
use super::config;
use super::nal::{Assembler, ParameterSets};
use crate::frame::{Config, Frame};

/// Bytes of an ADTS frame that waits for its end: the longest there is.
const MAX_ADTS: usize = 8192;

fn micros(ticks: i64) -> i64 {
    ticks * 100 / 9
}

fn ticks(micros: i64) -> i64 {
    micros * 9 / 100
}

/// Frames out of a transport stream.
#[derive(Debug, Default)]
pub struct TsIngest {
    demuxer: Demuxer,
    tracks: Vec<Track>,
    clock: ArrivalClock,
}

#[derive(Debug)]
struct Track {
    pid: u16,
    codec: Codec,
    name: Arc<str>,
    decoder: Decoder,
    /// When the next audio frame is due, should its packet not say.
    next_us: Option<i64>,
}

#[derive(Debug)]
enum Decoder {
    Nal(Assembler),
    Aac(Option<(AudioSpecificConfig, Arc<Config>)>, Vec<u8>),
    Opus(Option<Arc<Config>>),
}

impl TsIngest {
    /// Take bytes; frames go to `emit` with their track's name.
    pub fn push(&mut self, bytes: &[u8], now: Instant, emit: &mut impl FnMut(&Arc<str>, Frame)) {
        let Self {
            demuxer,
            tracks,
            clock,
        } = self;
        demuxer.push(bytes, &mut |event| {
            on_event(tracks, clock, event, now, emit);
        });
    }

    /// The stream is over: the last picture has no successor to end it.
    pub fn finish(&mut self, now: Instant, emit: &mut impl FnMut(&Arc<str>, Frame)) {
        let Self {
            demuxer,
            tracks,
            clock,
        } = self;
        demuxer.finish(&mut |event| on_event(tracks, clock, event, now, emit));
    }
}

fn on_event(
    tracks: &mut Vec<Track>,
    clock: &mut ArrivalClock,
    event: Event,
    now: Instant,
    emit: &mut impl FnMut(&Arc<str>, Frame),
) {
    match event {
        Event::Program(streams) => *tracks = read_program(&streams, std::mem::take(tracks)),
        Event::Pes(pes) => {
            let Some(track) = tracks.iter_mut().find(|track| track.pid == pes.pid) else {
                return;
            };
            track.read(&pes, &mut |track, part| {
                let frame = Frame {
                    config: part.config,
                    pts_us: part.pts_us,
                    dts_us: part.dts_us,
                    keyframe: part.keyframe,
                    capture: clock.capture(part.pts_us, now),
                    data: part.data,
                };
                emit(track, frame);
            });
        }
    }
}

/// The tracks of a program; those that stay keep what they know.
fn read_program(streams: &[Stream], mut before: Vec<Track>) -> Vec<Track> {
    let mut counts = [0; 2];
    let known = streams
        .iter()
        .filter_map(|stream| Some((stream.pid, stream.codec?)));
    let tracks = known.map(|(pid, codec)| {
        let kind = codec.kind();
        let count = &mut counts[usize::from(kind == Kind::Audio)];
        let name = match *count {
            0 => kind.name().to_owned(),
            n => format!("{}-{n}", kind.name()),
        };
        *count += 1;
        let same = |track: &Track| (track.pid, track.codec, &*track.name) == (pid, codec, &*name);
        if let Some(at) = before.iter().position(same) {
            return before.swap_remove(at);
        }
        Track {
            pid,
            codec,
            name: name.into(),
            decoder: match codec {
                Codec::Aac => Decoder::Aac(None, Vec::new()),
                Codec::Opus => Decoder::Opus(None),
                _ => Decoder::Nal(Assembler::new(codec)),
            },
            next_us: None,
        }
    });
    tracks.collect()
}

/// A frame before it has a capture time.
struct Part {
    config: Arc<Config>,
    pts_us: i64,
    dts_us: i64,
    keyframe: bool,
    data: Arc<[u8]>,
}

impl Track {
    fn read(&mut self, pes: &Pes, emit: &mut impl FnMut(&Arc<str>, Part)) {
        let Self {
            name,
            decoder,
            next_us,
            ..
        } = self;
        let mut at = pes.pts.map(micros).or(*next_us);
        let mut audio = |config: &Arc<Config>, data: &[u8], lasts_us: i64| {
            let Some(pts_us) = at else {
                return;
            };
            at = Some(pts_us + lasts_us);
            let part = Part {
                config: Arc::clone(config),
                pts_us,
                dts_us: pts_us,
                keyframe: true,
                data: data.into(),
            };
            emit(name, part);
        };
        match decoder {
            Decoder::Nal(assembler) => {
                // A damaged picture would be shown as such until the next keyframe.
                if pes.damaged {
                    return;
                }
                let (Some(pts), Some(unit)) = (pes.pts, assembler.from_annex_b(&pes.data)) else {
                    return;
                };
                let part = Part {
                    config: unit.config,
                    pts_us: micros(pts),
                    dts_us: micros(pes.dts.unwrap_or(pts)),
                    keyframe: unit.keyframe,
                    data: unit.data.into(),
                };
                emit(name, part);
            }
            Decoder::Aac(known, rest) => {
                if pes.damaged {
                    rest.clear();
                }
                let mut first = !rest.is_empty();
                rest.extend_from_slice(&pes.data);
                let mut frames = AdtsFrames::new(rest);
                for (adts, data) in frames.by_ref() {
                    let config = match known {
                        Some((was, config)) if *was == adts => Arc::clone(config),
                        _ => {
                            let Some(config) = config::aac(&adts.write()) else {
                                continue;
                            };
                            let config = Arc::new(config);
                            *known = Some((adts, Arc::clone(&config)));
                            config
                        }
                    };
                    let lasts = i64::from(FRAME_SAMPLES) * 1_000_000 / i64::from(adts.sample_rate);
                    // The packet's time is that of the first frame that begins in it; the one that began
                    // before takes none of it, which is not heard.
                    let began_before = std::mem::take(&mut first);
                    audio(&config, data, if began_before { 0 } else { lasts });
                }
                let left = frames.rest().to_vec();
                *rest = if left.len() > MAX_ADTS {
                    Vec::new()
                } else {
                    left
                };
            }
            Decoder::Opus(known) => {
                for packet in opus_packets(&pes.data) {
                    let channels = opus::channels(packet);
                    let head = || Arc::new(config::opus(opus::Head::plain(channels)));
                    let config = known.get_or_insert_with(head);
                    let samples = i64::from(opus::samples(packet).unwrap_or(960));
                    audio(config, packet, samples * 1_000_000 / 48_000);
                }
            }
        }
        *next_us = at;
    }
}

/// A transport stream of frames: the first video and the first audio track that it can carry.
#[derive(Debug, Default)]
pub struct TsEgress {
    muxer: Muxer,
    video: Option<Chosen>,
    audio: Option<Chosen>,
    base_us: Option<i64>,
    last_us: i64,
    /// Frames since the tables, for streams without video.
    since_tables: u32,
}

#[derive(Debug)]
struct Chosen {
    track: Arc<str>,
    layer: Arc<str>,
    config: Arc<Config>,
}

/// Where the timeline begins, so that decoding times before presentation stay positive.
const START_US: i64 = 1_400_000;
/// Audio frames between tables when there is no video.
const TABLES_EVERY: u32 = 20;

impl TsEgress {
    /// Another publisher begins, or frames are missing: go on at a keyframe.
    pub fn restart(&mut self) {
        self.video = None;
        self.audio = None;
        self.base_us = None;
    }

    /// Append a frame, if it is of a track that is carried.
    pub fn write(&mut self, out: &mut Vec<u8>, track: &Arc<str>, layer: &Arc<str>, frame: &Frame) {
        let kind = frame.kind();
        let codec = frame.config.codec;
        let chosen = match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        };
        match chosen {
            Some(known) if known.track == *track && known.layer == *layer => {}
            Some(known) if !frame.keyframe || pixels(&frame.config) <= pixels(&known.config) => {
                return;
            }
            None if !frame.keyframe => return,
            _ => {}
        }
        let Some(changed) = self.muxer.set_stream(codec, frame.config.channels) else {
            return;
        };
        let Some(data) = payload(frame) else {
            return;
        };
        let chosen = Some(Chosen {
            track: Arc::clone(track),
            layer: Arc::clone(layer),
            config: Arc::clone(&frame.config),
        });
        match kind {
            Kind::Video => self.video = chosen,
            Kind::Audio => self.audio = chosen,
        }
        let next = self.last_us.max(START_US);
        let base = *self.base_us.get_or_insert(frame.dts_us - next);
        let dts_us = (frame.dts_us - base).max(0);
        self.last_us = self.last_us.max(dts_us);
        self.since_tables += 1;
        let starts = kind == Kind::Video && frame.keyframe;
        let due = self.video.is_none() && self.since_tables > TABLES_EVERY;
        if starts || changed || due {
            self.muxer.write_tables(out);
            self.since_tables = 0;
        }
        let unit = Unit {
            pts: ticks(frame.pts_us - base).max(0),
            dts: ticks(dts_us),
            keyframe: starts,
            data: &data,
        };
        self.muxer.write_unit(out, kind, &unit);
    }
}

fn pixels(config: &Config) -> u32 {
    u32::from(config.resolution.0) * u32::from(config.resolution.1)
}

/// A frame's data as a PES packet has it.
fn payload(frame: &Frame) -> Option<Vec<u8>> {
    let record = &frame.config.record;
    match frame.config.codec {
        codec @ (Codec::H264 | Codec::H265) => {
            // A delimiter first: players find the picture's border by it.
            let mut out = vec![0, 0, 0, 1];
            out.extend_from_slice(if codec == Codec::H264 {
                &[9, 0xf0]
            } else {
                &[0x46, 1, 0x50]
            });
            if frame.keyframe {
                let sets = ParameterSets::from_record(codec, record)?;
                for set in sets.iter() {
                    out.extend_from_slice(&[0, 0, 0, 1]);
                    out.extend_from_slice(set);
                }
            }
            for nal in nal_units(&frame.data, 4) {
                out.extend_from_slice(&[0, 0, 0, 1]);
                out.extend_from_slice(nal);
            }
            Some(out)
        }
        Codec::Aac => write_adts(&AudioSpecificConfig::parse(record)?, &frame.data),
        Codec::Opus => Some(write_opus(&frame.data)),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagecast_proto::codec::config::avc;

    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xba, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    fn frame(config: &Arc<Config>, at_ms: i64, keyframe: bool, data: &[u8]) -> Frame {
        Frame {
            config: Arc::clone(config),
            pts_us: (at_ms + 40) * 1000,
            dts_us: at_ms * 1000,
            keyframe,
            capture: Instant::now(),
            data: data.into(),
        }
    }

    #[test]
    fn frames_survive_the_transport_stream() {
        let record = avc::record(&[SPS], &[PPS]).unwrap();
        let video = Arc::new(config::video(Codec::H264, &record, Some((1280, 720))));
        let aac = AudioSpecificConfig::low_complexity(48_000, 2);
        let audio = Arc::new(config::aac(&aac.write()).unwrap());
        let (v, a, layer) = (Arc::from("video"), Arc::from("audio"), Arc::from(""));
        let mut egress = TsEgress::default();
        let mut bytes = Vec::new();
        let inter = [0, 0, 0, 3, 0x41, 1, 2];
        egress.write(&mut bytes, &v, &layer, &frame(&video, 0, false, &inter));
        assert!(bytes.is_empty(), "not before a keyframe");
        let key = [0, 0, 0, 3, 0x65, 1, 2];
        egress.write(&mut bytes, &v, &layer, &frame(&video, 1000, true, &key));
        egress.write(&mut bytes, &a, &layer, &frame(&audio, 1010, true, b"sound"));
        egress.write(&mut bytes, &v, &layer, &frame(&video, 1040, false, &inter));
        egress.write(&mut bytes, &v, &layer, &frame(&video, 2040, true, &key));
        egress.write(&mut bytes, &a, &layer, &frame(&audio, 2050, true, b"more"));
        egress.write(&mut bytes, &v, &layer, &frame(&video, 2080, false, &inter));

        let mut read = Vec::new();
        let now = Instant::now();
        let mut emit = |track: &Arc<str>, frame: Frame| read.push((track.to_string(), frame));
        let mut ingest = TsIngest::default();
        ingest.push(&bytes, now, &mut emit);
        ingest.finish(now, &mut emit);
        let pictures: Vec<_> = read.iter().filter(|(track, _)| track == "video").collect();
        assert_eq!(pictures.len(), 4);
        assert_eq!(pictures[0].1.config, video);
        assert!(pictures[0].1.keyframe && !pictures[1].1.keyframe);
        assert_eq!(*pictures[1].1.data, inter);
        let step = pictures[1].1.dts_us - pictures[0].1.dts_us;
        assert_eq!(step, 40_000);
        assert_eq!(pictures[1].1.pts_us - pictures[1].1.dts_us, 40_000);
        let sound: Vec<_> = read.iter().filter(|(track, _)| track == "audio").collect();
        let data: Vec<_> = sound.iter().map(|(_, frame)| &*frame.data).collect();
        assert_eq!(data, [&b"sound"[..], b"more"]);
        assert_eq!(sound[0].1.config, audio);
    }
}
