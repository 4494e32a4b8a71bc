//! TWCC: when which packets arrived, across all streams of a transport
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//!
//! Statuses come in chunks, run lengths or vectors, and arrival times as deltas behind them. `parse`
//! counts both before anything is read from them, a chunk at a time, so a feedback that claims
//! thousands of packets in a few bytes costs nothing until someone iterates, and then no more than
//! [`Twcc::MAX_STATUSES`] steps.

use super::frame::{self, RTPFB, take_u16, take_u32, write_ssrcs};

pub(super) const FORMAT: u8 = 15;

/// Statuses of a packet: lost, arrived with a delta of one byte, or of two.
const LOST: u16 = 0;
const SMALL: u16 = 1;
const LARGE: u16 = 2;

const VECTOR: u16 = 0x8000;
const TWO_BIT: u16 = 0x4000;
const MAX_RUN: usize = 0x1fff;
const ONE_BIT_LEN: usize = 14;
const TWO_BIT_LEN: usize = 7;

/// What stands before the statuses of a feedback.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct TwccHeader {
    /// Who received.
    pub sender_ssrc: u32,
    /// One of the streams reported on; which one says nothing.
    pub media_ssrc: u32,
    /// Transport sequence number of the first status.
    pub base_sequence: u16,
    /// The time that the first delta adds to, in units of 64 ms; 24 bits with sign, of any clock
    /// that runs evenly.
    pub reference_time: i32,
    /// Grows with each feedback, so a lost one shows.
    pub feedback_count: u8,
}

/// A transport-wide feedback.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Twcc<'a> {
    /// What stands before the statuses.
    pub header: TwccHeader,
    /// How many packets it reports on, lost ones included.
    pub status_count: u16,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> Twcc<'a> {
    /// Microseconds in a tick of the deltas.
    pub const TICK_MICROS: i64 = 250;
    /// Microseconds in a unit of the reference time.
    pub const REFERENCE_MICROS: i64 = 64_000;
    /// Most packets in one feedback, read or written: 400 Mbit/s for the usual 100 ms.
    pub const MAX_STATUSES: usize = 4096;

    pub(super) fn parse(mut body: &'a [u8]) -> Option<Self> {
        let sender_ssrc = take_u32(&mut body)?;
        let media_ssrc = take_u32(&mut body)?;
        let base_sequence = take_u16(&mut body)?;
        let status_count = take_u16(&mut body)?;
        let reference = take_u32(&mut body)?;
        let header = TwccHeader {
            sender_ssrc,
            media_ssrc,
            base_sequence,
            reference_time: reference as i32 >> 8,
            feedback_count: reference as u8,
        };
        if usize::from(status_count) > Self::MAX_STATUSES {
            return None;
        }
        let (chunks_len, deltas_len) = measure(body, status_count.into())?;
        let (chunks, rest) = body.split_at_checked(chunks_len)?;
        Some(Self {
            header,
            status_count,
            chunks,
            deltas: rest.get(..deltas_len)?,
        })
    }

    /// Every packet from the base on: its transport sequence number, and for one that arrived the
    /// time since the arrival before it (the first: since the reference time) in ticks of 250 µs.
    pub const fn packets(&self) -> TwccPackets<'a> {
        TwccPackets {
            sequence: self.header.base_sequence,
            left: self.status_count,
            chunk: Chunk(0),
            index: 0,
            chunks: self.chunks,
            deltas: self.deltas,
        }
    }

    /// Appends a feedback: one status for each packet from the base on, `None` if it was lost.
    /// Gives how many were taken, at most [`MAX_STATUSES`](Self::MAX_STATUSES). Without any,
    /// nothing is appended.
    pub fn write(out: &mut Vec<u8>, header: &TwccHeader, statuses: &[Option<i16>]) -> usize {
        let statuses = &statuses[..statuses.len().min(Self::MAX_STATUSES)];
        if statuses.is_empty() {
            return 0;
        }
        frame::write(out, RTPFB, FORMAT, |out| {
            write_ssrcs(out, header.sender_ssrc, header.media_ssrc);
            out.extend(header.base_sequence.to_be_bytes());
            out.extend((statuses.len() as u16).to_be_bytes());
            let reference = (header.reference_time as u32) << 8 | u32::from(header.feedback_count);
            out.extend(reference.to_be_bytes());
            let mut rest = statuses;
            while !rest.is_empty() {
                let (chunk, len) = Chunk::of(rest);
                out.extend(chunk.0.to_be_bytes());
                rest = &rest[len..];
            }
            for delta in statuses.iter().flatten() {
                match u8::try_from(*delta) {
                    Ok(small) => out.push(small),
                    Err(_) => out.extend(delta.to_be_bytes()),
                }
            }
        });
        statuses.len()
    }
}

/// Bytes of the chunks that hold `statuses`, and of the deltas they ask for.
fn measure(body: &[u8], mut statuses: usize) -> Option<(usize, usize)> {
    let (mut rest, mut deltas) = (body, 0);
    while statuses > 0 {
        let chunk = Chunk(take_u16(&mut rest)?);
        let len = chunk.len().min(statuses);
        deltas += chunk.deltas_len(len)?;
        statuses -= len;
    }
    Some((body.len() - rest.len(), deltas))
}

/// Sixteen bits: a run of one status, or a vector of 14 one-bit or 7 two-bit ones.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Chunk(u16);

impl Chunk {
    fn len(self) -> usize {
        match self.0 & (VECTOR | TWO_BIT) {
            VECTOR => ONE_BIT_LEN,
            both if both == VECTOR | TWO_BIT => TWO_BIT_LEN,
            _ => usize::from(self.0) & MAX_RUN,
        }
    }

    /// The status at `index`, which is less than the length.
    fn status(self, index: usize) -> u16 {
        match self.0 & (VECTOR | TWO_BIT) {
            VECTOR => self.0 >> (ONE_BIT_LEN - 1 - index) & 1,
            both if both == VECTOR | TWO_BIT => self.0 >> (2 * (TWO_BIT_LEN - 1 - index)) & 3,
            _ => self.0 >> 13 & 3,
        }
    }

    /// Bytes of delta that the first `len` statuses ask for. The fourth status is reserved.
    fn deltas_len(self, len: usize) -> Option<usize> {
        let delta_len = |status| (status <= LARGE).then_some(usize::from(status));
        if self.0 & VECTOR == 0 {
            return Some(delta_len(self.status(0))? * len);
        }
        (0..len).map(|index| delta_len(self.status(index))).sum()
    }

    /// A chunk for the first of these statuses, and how many it takes.
    fn of(statuses: &[Option<i16>]) -> (Self, usize) {
        let status = |delta: &Option<i16>| match delta {
            None => LOST,
            Some(0..=255) => SMALL,
            Some(_) => LARGE,
        };
        let first = status(&statuses[0]);
        let run = statuses
            .iter()
            .take(MAX_RUN)
            .take_while(|delta| status(delta) == first)
            .count();
        let ahead = &statuses[..statuses.len().min(ONE_BIT_LEN)];
        let one_bit = ahead.iter().all(|delta| status(delta) != LARGE);
        let vector_len = ahead
            .len()
            .min(if one_bit { ONE_BIT_LEN } else { TWO_BIT_LEN });
        if run >= vector_len {
            return (Self(first << 13 | run as u16), run);
        }
        let (form, width) = if one_bit {
            (VECTOR, 1)
        } else {
            (VECTOR | TWO_BIT, 2)
        };
        let bits = ahead[..vector_len]
            .iter()
            .enumerate()
            .map(|(index, delta)| {
                let from_top = ONE_BIT_LEN - width * (index + 1);
                status(delta) << from_top
            });
        (Self(bits.fold(form, |chunk, bit| chunk | bit)), vector_len)
    }
}

/// The packets of a feedback, in order of their transport sequence number.
#[derive(Clone, Debug)]
pub struct TwccPackets<'a> {
    sequence: u16,
    left: u16,
    chunk: Chunk,
    index: usize,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl Iterator for TwccPackets<'_> {
    type Item = (u16, Option<i16>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        while self.index == self.chunk.len() {
            self.chunk = Chunk(take_u16(&mut self.chunks)?);
            self.index = 0;
        }
        let delta = match self.chunk.status(self.index) {
            SMALL => {
                let (&small, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                Some(i16::from(small))
            }
            LARGE => Some(take_u16(&mut self.deltas)? as i16),
            _ => None,
        };
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.index += 1;
        Some((sequence, delta))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for TwccPackets<'_> {}
