//! Reading a transport stream.
//!
//! The first program of the association table is read, everything else is passed over. A PES packet
//! is given out when its length is reached or the next one of its stream begins; one with a hole is
//! given out as damaged. Memory is bounded by [`MAX_STREAMS`] and [`MAX_PES`].

use super::section::Collector;
use super::{NULL_PID, PACKET, PAT_PID, SYNC, descriptor, stream_type};
use crate::codec::Codec;

/// Streams of a program that are read.
const MAX_STREAMS: usize = 8;
/// Longest PES packet: a keyframe of 4K video.
const MAX_PES: usize = 8 << 20;
const PAT_TABLE: u8 = 0;
const PMT_TABLE: u8 = 2;
/// Length of a PES header up to its optional fields.
const PES_HEADER: usize = 9;
/// Time stamps have 33 bits.
const WRAP: i64 = 1 << 33;

/// A stream of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Packet id.
    pub pid: u16,
    /// Codec; none when it is not carried by Stagecast.
    pub codec: Option<Codec>,
    /// The type in the program map.
    pub stream_type: u8,
}

/// What a transport stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The program and its streams, when they are new.
    Program(Vec<Stream>),
    /// A PES packet.
    Pes(Pes),
}

/// One PES packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pes {
    /// Packet id of its stream.
    pub pid: u16,
    /// Codec of its stream.
    pub codec: Codec,
    /// Presentation time in units of [`CLOCK`](super::CLOCK), counted on beyond 33 bits; none if the
    /// packet has none.
    pub pts: Option<i64>,
    /// Decoding time, where it differs.
    pub dts: Option<i64>,
    /// Packets of it were lost.
    pub damaged: bool,
    /// The payload.
    pub data: Vec<u8>,
}

#[derive(Debug)]
struct Reading {
    stream: Stream,
    counter: Option<u8>,
    /// Bytes of the packet that is being read, header included; empty before the first.
    bytes: Vec<u8>,
    damaged: bool,
}

impl Reading {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            counter: None,
            bytes: Vec::new(),
            damaged: false,
        }
    }
}

/// A transport stream's reader.
#[derive(Debug, Default)]
pub struct Demuxer {
    /// A packet in parts.
    rest: Vec<u8>,
    pat: Collector,
    pmt: Collector,
    pmt_pid: Option<u16>,
    streams: Vec<Reading>,
    /// The last time stamp, counted on.
    time: Option<i64>,
}

impl Demuxer {
    /// Take bytes in any pieces.
    pub fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(Event)) {
        let mut bytes = bytes;
        if !self.rest.is_empty() {
            let missing = PACKET - self.rest.len();
            let (taken, after) = bytes.split_at(missing.min(bytes.len()));
            self.rest.extend_from_slice(taken);
            bytes = after;
            if self.rest.len() < PACKET {
                return;
            }
            let packet = std::mem::take(&mut self.rest);
            self.packet(&packet, emit);
        }
        while let Some(at) = bytes.iter().position(|byte| *byte == SYNC) {
            bytes = &bytes[at..];
            let Some((packet, after)) = bytes.split_at_checked(PACKET) else {
                self.rest = bytes.to_vec();
                return;
            };
            if after.first().is_none_or(|byte| *byte == SYNC) {
                self.packet(packet, emit);
                bytes = after;
            } else {
                // Not the start of a packet after all.
                bytes = &bytes[1..];
            }
        }
    }

    /// The stream is over: give out what has no successor to end it.
    pub fn finish(&mut self, emit: &mut impl FnMut(Event)) {
        for index in 0..self.streams.len() {
            self.finish_stream(index, emit);
        }
    }

    fn packet(&mut self, packet: &[u8], emit: &mut impl FnMut(Event)) {
        let flags = packet[1];
        let pid = u16::from_be_bytes([flags & 0x1f, packet[2]]);
        let starts = flags & 0x40 != 0;
        if pid == NULL_PID {
            return;
        }
        let damaged = flags & 0x80 != 0;
        let control = packet[3];
        let mut payload = &packet[4..];
        let mut discontinuity = false;
        if control & 0x20 != 0 {
            let len = usize::from(payload[0]);
            discontinuity = len > 0 && payload[1] & 0x80 != 0;
            payload = payload.get(1 + len..).unwrap_or_default();
        }
        if control & 0x10 == 0 || payload.is_empty() {
            return;
        }
        if pid == PAT_PID {
            if let Some(table) = self.pat.push(payload, starts, PAT_TABLE) {
                self.on_pat(&table);
            }
        } else if Some(pid) == self.pmt_pid {
            if let Some(table) = self.pmt.push(payload, starts, PMT_TABLE) {
                self.on_pmt(&table, emit);
            }
        } else if let Some(index) = self.streams.iter().position(|s| s.stream.pid == pid) {
            let stream = &mut self.streams[index];
            let counter = control & 0x0f;
            let expected = stream.counter.map(|last| (last + 1) & 0x0f);
            let repeated = stream.counter == Some(counter);
            if repeated && !discontinuity {
                return;
            }
            let hole = expected.is_some_and(|expected| expected != counter) && !discontinuity;
            stream.counter = Some(counter);
            stream.damaged |= hole || damaged;
            self.on_payload(index, payload, starts, hole, emit);
        }
    }

    fn on_pat(&mut self, table: &[u8]) {
        let programs = table.chunks_exact(4).map(|entry| {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            (number, u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
        });
        // Program 0 is the network's.
        let first = programs.into_iter().find(|(number, _)| *number != 0);
        let pid = first.map(|(_, pid)| pid);
        if pid != self.pmt_pid {
            self.pmt_pid = pid;
            self.pmt = Collector::default();
            self.streams.clear();
        }
    }

    fn on_pmt(&mut self, table: &[u8], emit: &mut impl FnMut(Event)) {
        let streams = read_streams(table);
        if self
            .streams
            .iter()
            .map(|reading| &reading.stream)
            .eq(&streams)
        {
            return;
        }
        // A stream that stays goes on in the middle of its packet.
        let mut before = std::mem::take(&mut self.streams);
        let reading = |stream: &Stream| {
            let known = before.iter().position(|reading| reading.stream == *stream);
            known.map_or_else(|| Reading::new(*stream), |at| before.swap_remove(at))
        };
        self.streams = streams.iter().map(reading).collect();
        emit(Event::Program(streams));
    }

    fn on_payload(
        &mut self,
        index: usize,
        payload: &[u8],
        starts: bool,
        hole: bool,
        emit: &mut impl FnMut(Event),
    ) {
        if starts {
            // A hole just before belongs to the packet that ends here.
            self.finish_stream(index, emit);
            self.streams[index].damaged = false;
        }
        let stream = &mut self.streams[index];
        if stream.stream.codec.is_none() || (!starts && stream.bytes.is_empty()) {
            return;
        }
        if stream.bytes.len() + payload.len() > MAX_PES {
            stream.bytes = Vec::new();
            return;
        }
        stream.damaged |= hole && !starts;
        stream.bytes.extend_from_slice(payload);
        let len = match stream.bytes.get(4..6) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        if len > 0 && stream.bytes.len() >= 6 + len {
            stream.bytes.truncate(6 + len);
            self.finish_stream(index, emit);
        }
    }

    /// Give out what was read of a stream's packet.
    fn finish_stream(&mut self, index: usize, emit: &mut impl FnMut(Event)) {
        let stream = &mut self.streams[index];
        let bytes = std::mem::take(&mut stream.bytes);
        let Some(codec) = stream.stream.codec else {
            return;
        };
        let (pid, damaged) = (stream.stream.pid, stream.damaged);
        let Some((pts, dts, data)) = read_header(&bytes) else {
            return;
        };
        let dts = dts.map(|dts| self.count_on(dts));
        let pts = pts.map(|pts| self.count_on(pts));
        emit(Event::Pes(Pes {
            pid,
            codec,
            pts,
            dts,
            damaged,
            data: data.to_vec(),
        }));
    }

    /// A time stamp beyond 33 bits: the shorter way from the last one.
    fn count_on(&mut self, stamp: i64) -> i64 {
        let at = self.time.map_or(stamp, |last| {
            let ahead = (stamp - last).rem_euclid(WRAP);
            last + if ahead < WRAP / 2 {
                ahead
            } else {
                ahead - WRAP
            }
        });
        self.time = Some(at);
        at
    }
}

fn read_streams(table: &[u8]) -> Vec<Stream> {
    let mut streams = Vec::new();
    let Some(head) = table.first_chunk::<4>() else {
        return streams;
    };
    let info = usize::from(head[2] & 0x0f) << 8 | usize::from(head[3]);
    let mut rest = table.get(4 + info..).unwrap_or_default();
    while let Some((entry, after)) = rest.split_first_chunk::<5>()
        && streams.len() < MAX_STREAMS
    {
        let len = usize::from(entry[3] & 0x0f) << 8 | usize::from(entry[4]);
        let Some((descriptors, after)) = after.split_at_checked(len) else {
            break;
        };
        rest = after;
        let codec = match entry[0] {
            stream_type::H264 => Some(Codec::H264),
            stream_type::H265 => Some(Codec::H265),
            stream_type::AAC_ADTS => Some(Codec::Aac),
            stream_type::PRIVATE if is_opus(descriptors) => Some(Codec::Opus),
            _ => None,
        };
        streams.push(Stream {
            pid: u16::from_be_bytes([entry[1] & 0x1f, entry[2]]),
            codec,
            stream_type: entry[0],
        });
    }
    streams
}

fn is_opus(mut descriptors: &[u8]) -> bool {
    while let Some(([tag, len], after)) = descriptors.split_first_chunk() {
        let Some((body, after)) = after.split_at_checked(usize::from(*len)) else {
            return false;
        };
        if *tag == descriptor::REGISTRATION && body.starts_with(descriptor::OPUS) {
            return true;
        }
        descriptors = after;
    }
    false
}

type Times<'a> = (Option<i64>, Option<i64>, &'a [u8]);

/// Times and payload of a PES packet (§2.4.3.6).
fn read_header(bytes: &[u8]) -> Option<Times<'_>> {
    let head = bytes.first_chunk::<PES_HEADER>()?;
    if head[..3] != [0, 0, 1] {
        return None;
    }
    let (fields, data) = bytes[PES_HEADER..].split_at_checked(usize::from(head[8]))?;
    let stamp = |at: usize| {
        let bytes = fields.get(at..at + 5)?;
        let part = |at: usize| i64::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]) >> 1);
        Some(i64::from(bytes[0] >> 1 & 7) << 30 | part(1) << 15 | part(3))
    };
    let (pts, dts) = match head[7] >> 6 {
        2 => (stamp(0), None),
        3 => (stamp(0), stamp(5)),
        _ => (None, None),
    };
    Some((pts, dts, data))
}
