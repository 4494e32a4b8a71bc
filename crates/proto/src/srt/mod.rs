//! SRT packets (draft-sharabayko-srt-01 §3), as a listener of live streams needs them.
//!
//! [`Packet`] is a datagram; [`handshake`] has the messages that open a connection. Sequence numbers
//! have 31 bits and are compared with [`ahead`].

pub mod handshake;

/// Length of every packet's header.
pub const HEADER: usize = 16;
/// Longest payload: seven packets of a transport stream.
pub const MAX_PAYLOAD: usize = 1316;
/// Sequence numbers wrap here.
const SEQUENCES: u32 = 1 << 31;
/// Sequence numbers that one loss report may name; more than a receiver holds.
const MAX_LOST: usize = 8192;

/// Kinds of control packets (§3.2).
pub mod control {
    /// Opens a connection.
    pub const HANDSHAKE: u16 = 0;
    /// Nothing to say.
    pub const KEEP_ALIVE: u16 = 1;
    /// What arrived.
    pub const ACK: u16 = 2;
    /// What did not.
    pub const NAK: u16 = 3;
    /// The end.
    pub const SHUTDOWN: u16 = 5;
    /// An acknowledgement of an acknowledgement.
    pub const ACK_ACK: u16 = 6;
    /// These will not be sent again.
    pub const DROP: u16 = 7;
    /// An extension; the subtype says which.
    pub const USER: u16 = 0x7fff;
}

/// A datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Media.
    Data(Data<'a>),
    /// Everything else.
    Control(Control<'a>),
}

/// A data packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// 31 bits.
    pub sequence: u32,
    /// 0 is clear, 1 encrypted with the even key, 2 with the odd one.
    pub key: u8,
    /// It was sent before.
    pub again: bool,
    /// 26 bits.
    pub message: u32,
    /// Microseconds since the sender's connection began; wraps.
    pub timestamp: u32,
    /// Whom it is for.
    pub socket: u32,
    /// The payload.
    pub payload: &'a [u8],
}

/// A control packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control<'a> {
    /// See [`control`].
    pub kind: u16,
    /// Of an extension.
    pub subtype: u16,
    /// What the kind makes of it.
    pub number: u32,
    /// As in data packets.
    pub timestamp: u32,
    /// Whom it is for; 0 opens a connection.
    pub socket: u32,
    /// The body.
    pub body: &'a [u8],
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let words = bytes.chunks_exact(4);
    words.map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

impl<'a> Packet<'a> {
    /// Reads a datagram; `None` when it is shorter than a header.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_first_chunk::<HEADER>()?;
        let mut words = words(header);
        let [first, second, timestamp, socket] = std::array::from_fn(|_| words.next().unwrap_or(0));
        if first >> 31 == 0 {
            return Some(Self::Data(Data {
                sequence: first,
                key: (second >> 27 & 3) as u8,
                again: second >> 26 & 1 == 1,
                message: second & 0x03ff_ffff,
                timestamp,
                socket,
                payload: rest,
            }));
        }
        Some(Self::Control(Control {
            kind: (first >> 16) as u16 & 0x7fff,
            subtype: first as u16,
            number: second,
            timestamp,
            socket,
            body: rest,
        }))
    }

    /// Whom it is for.
    pub fn socket(&self) -> u32 {
        match self {
            Self::Data(data) => data.socket,
            Self::Control(control) => control.socket,
        }
    }

    /// The datagram. Data packets are whole messages, in order (§3.1).
    pub fn to_bytes(&self) -> Vec<u8> {
        let (first, second, timestamp, body) = match self {
            Self::Data(data) => {
                let flags =
                    0b11 << 30 | u32::from(data.key & 3) << 27 | u32::from(data.again) << 26;
                let second = flags | data.message & 0x03ff_ffff;
                (
                    data.sequence % SEQUENCES,
                    second,
                    data.timestamp,
                    data.payload,
                )
            }
            Self::Control(control) => {
                let first = 1 << 31 | u32::from(control.kind & 0x7fff) << 16;
                let first = first | u32::from(control.subtype);
                (first, control.number, control.timestamp, control.body)
            }
        };
        let mut out = Vec::with_capacity(HEADER + body.len());
        for word in [first, second, timestamp, self.socket()] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(body);
        out
    }
}

/// How far `to` is ahead of `from`; negative if behind.
pub fn ahead(from: u32, to: u32) -> i32 {
    (to.wrapping_sub(from) << 1).cast_signed() >> 1
}

/// The sequence number so many later.
pub fn later(sequence: u32, by: u32) -> u32 {
    sequence.wrapping_add(by) % SEQUENCES
}

/// The body of an acknowledgement (§3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// All before this one arrived or are given up.
    pub sequence: u32,
    /// Round trip in microseconds, and its variance.
    pub round_trip: (u32, u32),
    /// Packets there is room for.
    pub room: u32,
}

impl Ack {
    /// Reads the sequence number, which is all that light acknowledgements have.
    pub fn sequence(body: &[u8]) -> Option<u32> {
        words(body).next().map(|word| word % SEQUENCES)
    }

    /// The body of a full acknowledgement. Rates and capacity, which nobody needs for live streams,
    /// are left at zero.
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = [
            self.sequence,
            self.round_trip.0,
            self.round_trip.1,
            self.room,
            0,
            0,
            0,
        ];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }
}

/// The sequence numbers in a loss report (appendix A), single ones and ranges; at most
/// [`MAX_LOST`].
pub fn read_lost(body: &[u8]) -> Vec<u32> {
    let mut lost = Vec::new();
    let mut words = words(body);
    while let Some(word) = words.next() {
        let first = word % SEQUENCES;
        let last = if word >> 31 == 1 {
            words.next()
        } else {
            Some(first)
        };
        let Some(last) = last else {
            break;
        };
        for by in 0..=ahead(first, last % SEQUENCES).max(0) as u32 {
            if lost.len() >= MAX_LOST {
                return lost;
            }
            lost.push(later(first, by));
        }
    }
    lost
}

/// The body of a loss report; ranges are first and last, in order.
pub fn write_lost(ranges: &[(u32, u32)]) -> Vec<u8> {
    let mut body = Vec::new();
    for &(first, last) in ranges {
        if first == last {
            body.extend_from_slice(&first.to_be_bytes());
        } else {
            body.extend_from_slice(&(1 << 31 | first).to_be_bytes());
            body.extend_from_slice(&last.to_be_bytes());
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequence_numbers_are_compared_over_their_end() {
        assert_eq!(ahead(0x7fff_ffff, 1), 2);
        assert_eq!(ahead(1, 0x7fff_ffff), -2);
        assert_eq!(later(0x7fff_ffff, 2), 1);
    }

    #[test]
    fn a_report_of_very_much_loss_is_cut() {
        let body = write_lost(&[(5, 0x3fff_ffff)]);
        assert_eq!(read_lost(&body).len(), MAX_LOST);
    }

    proptest! {
        #[test]
        fn packets_are_read_back(
            sequence in 0..SEQUENCES,
            key in 0..3u8,
            again: bool,
            message in 0..1u32 << 26,
            timestamp: u32,
            socket: u32,
            kind: u16,
            subtype: u16,
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let data = Packet::Data(Data {
                sequence, key, again, message, timestamp, socket, payload: &payload,
            });
            let kind = kind & 0x7fff;
            let control = Packet::Control(Control {
                kind, subtype, number: message, timestamp, socket, body: &payload,
            });
            for packet in [data, control] {
                let bytes = packet.to_bytes();
                prop_assert_eq!(Packet::parse(&bytes), Some(packet));
            }
        }

        #[test]
        fn loss_reports_are_read_back(start in 0..SEQUENCES, lengths in prop::collection::vec(1..50u32, 0..20)) {
            let (mut at, mut ranges, mut all) = (start, Vec::new(), Vec::new());
            for len in lengths {
                ranges.push((at, later(at, len - 1)));
                all.extend((0..len).map(|by| later(at, by)));
                at = later(at, len + 5);
            }
            prop_assert_eq!(read_lost(&write_lost(&ranges)), all);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            Packet::parse(&bytes);
            prop_assert!(read_lost(&bytes).len() <= MAX_LOST);
            handshake::Handshake::parse(&bytes);
            handshake::KeyMaterial::parse(&bytes);
        }
    }
}
