//! The chunk stream: messages cut into chunks and interleaved (§5.3).
//!
//! The [`Reader`] takes bytes as they come and gives whole messages. A message in parts holds the
//! bytes that came and no more, whatever length its header says, and all messages in parts together
//! are bounded. The [`Writer`] uses full headers where a stream begins or its time goes back, and
//! differences elsewhere.

use std::collections::HashMap;

use super::{Message, control, kind};

/// Chunk size until one is set (§5.4.1).
const DEFAULT_CHUNK_SIZE: usize = 128;
/// Chunk streams that one peer may use; encoders use three to six.
const MAX_CHUNK_STREAMS: usize = 64;
/// The 24-bit time that says: 32 bits follow.
const EXTENDED: u32 = 0x00ff_ffff;
/// The longest chunk header: 3 basic, 11 message, 4 extended time.
const MAX_HEADER: usize = 18;

/// What a peer may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk continues a message that never began.
    #[error("chunk stream {0} continues a message that did not begin")]
    NoMessage(u32),
    /// More chunk streams than any encoder uses.
    #[error("more than {MAX_CHUNK_STREAMS} chunk streams")]
    TooManyStreams,
    /// A message longer than it may be now.
    #[error("a message of {0} bytes, more than the {1} allowed")]
    TooLong(usize, usize),
    /// A chunk size of zero.
    #[error("chunk size {0} is not allowed")]
    ChunkSize(u32),
}

/// What the headers of a chunk stream leave out when it stays the same.
#[derive(Debug, Default)]
struct Stream {
    kind: u8,
    /// The message stream.
    on: u32,
    timestamp: u32,
    delta: u32,
    /// The extended time of the last header, while it had one.
    extended: Option<u32>,
    len: usize,
    payload: Vec<u8>,
    /// A message has begun and is not whole yet.
    open: bool,
}

/// Takes messages out of chunks.
#[derive(Debug)]
pub struct Reader {
    input: Vec<u8>,
    /// Bytes of `input` that are read already.
    read: usize,
    chunk_size: usize,
    limit: usize,
    streams: HashMap<u32, Stream>,
    /// The stream whose chunk is being read, and how much of the chunk is missing.
    current: Option<(u32, usize)>,
    /// Bytes in messages in parts.
    held: usize,
}

impl Reader {
    /// A reader that takes messages of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            input: Vec::new(),
            read: 0,
            chunk_size: DEFAULT_CHUNK_SIZE,
            limit,
            streams: HashMap::new(),
            current: None,
            held: 0,
        }
    }

    /// Allow messages of up to `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Add bytes of the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(bytes);
    }

    /// The next whole message; chunk sizes and aborts take effect here and are not given out.
    pub fn next_message(&mut self) -> Result<Option<Message>, ChunkError> {
        loop {
            let Some((id, missing)) = self.current else {
                if !self.read_header()? {
                    return Ok(None);
                }
                continue;
            };
            let available = &self.input[self.read..];
            let taken = missing.min(available.len());
            let stream = self.streams.entry(id).or_default();
            stream.payload.extend_from_slice(&available[..taken]);
            self.read += taken;
            self.held += taken;
            if taken < missing {
                self.current = Some((id, missing - taken));
                return Ok(None);
            }
            self.current = None;
            if stream.payload.len() < stream.len {
                continue;
            }
            stream.open = false;
            let payload = std::mem::take(&mut stream.payload);
            self.held -= payload.len();
            let message = Message {
                kind: stream.kind,
                stream: stream.on,
                timestamp: stream.timestamp,
                payload,
            };
            if !self.steer(&message)? {
                return Ok(Some(message));
            }
        }
    }

    /// Take a chunk header and begin its chunk; false when it is not there whole.
    fn read_header(&mut self) -> Result<bool, ChunkError> {
        let Some(head) = Header::parse(&self.input[self.read..]) else {
            return Ok(false);
        };
        if !self.streams.contains_key(&head.id) && self.streams.len() >= MAX_CHUNK_STREAMS {
            return Err(ChunkError::TooManyStreams);
        }
        if !self.streams.contains_key(&head.id) && head.format == 3 {
            return Err(ChunkError::NoMessage(head.id));
        }
        let input = &self.input[self.read + head.len..];
        let stream = self.streams.entry(head.id).or_default();
        let Some(extended) = stream.extended_time(&head, input) else {
            return Ok(false);
        };
        if !stream.open || head.format < 3 {
            self.held -= stream.payload.len();
            stream.begin(&head, extended);
            if stream.len > self.limit {
                return Err(ChunkError::TooLong(stream.len, self.limit));
            }
        }
        let missing = (stream.len - stream.payload.len()).min(self.chunk_size);
        if self.held + missing > 2 * self.limit {
            return Err(ChunkError::TooLong(self.held + missing, 2 * self.limit));
        }
        self.read += head.len + if extended.is_some() { 4 } else { 0 };
        self.current = Some((head.id, missing));
        Ok(true)
    }

    /// Whether the message was for the chunk stream itself.
    fn steer(&mut self, message: &Message) -> Result<bool, ChunkError> {
        let number = control::read_number(&message.payload);
        match (message.kind, number) {
            (kind::SET_CHUNK_SIZE, Some(size)) => {
                if size == 0 || size > 0x7fff_ffff {
                    return Err(ChunkError::ChunkSize(size));
                }
                self.chunk_size = size as usize;
                Ok(true)
            }
            (kind::ABORT, Some(id)) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    self.held -= stream.payload.len();
                    stream.payload = Vec::new();
                    stream.open = false;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Stream {
    /// The 32-bit time behind the header, if it is there; nothing when more input is needed.
    #[allow(clippy::option_option)] // Not yet known, or known to be absent.
    fn extended_time(&self, head: &Header, after: &[u8]) -> Option<Option<u32>> {
        let here = || after.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        if head.format < 3 {
            return if head.time == EXTENDED {
                here().map(Some)
            } else {
                Some(None)
            };
        }
        match self.extended {
            None => Some(None),
            // Some encoders leave it out of continuations: it is there if it repeats the last one.
            Some(last) => here().map(|value| (value == last).then_some(value)),
        }
    }

    fn begin(&mut self, head: &Header, extended: Option<u32>) {
        let time = extended.unwrap_or(head.time);
        if head.format < 3 {
            self.extended = extended;
        }
        match head.format {
            0 => {
                self.timestamp = time;
                // A header that leaves all out repeats this as a difference (§5.3.1.2.4).
                self.delta = time;
                self.on = head.on;
            }
            1 | 2 => {
                self.delta = time;
                self.timestamp = self.timestamp.wrapping_add(time);
            }
            _ => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
        if head.format < 2 {
            self.kind = head.kind;
            self.len = head.payload_len;
        }
        self.payload = Vec::new();
        self.open = true;
    }
}

/// A chunk header without its extended time.
#[derive(Debug)]
struct Header {
    format: u8,
    id: u32,
    time: u32,
    payload_len: usize,
    kind: u8,
    on: u32,
    len: usize,
}

impl Header {
    fn parse(input: &[u8]) -> Option<Self> {
        let (&first, rest) = input.split_first()?;
        let (id, rest) = match first & 0x3f {
            0 => {
                let (&low, rest) = rest.split_first()?;
                (64 + u32::from(low), rest)
            }
            1 => {
                let (bytes, rest) = rest.split_first_chunk::<2>()?;
                (64 + u32::from(u16::from_le_bytes(*bytes)), rest)
            }
            id => (u32::from(id), rest),
        };
        let format = first >> 6;
        let body_len = [11, 7, 3, 0][usize::from(format)];
        let body = rest.get(..body_len)?;
        let byte = |at: usize| body.get(at).copied().unwrap_or(0);
        Some(Self {
            format,
            id,
            time: u32::from_be_bytes([0, byte(0), byte(1), byte(2)]),
            payload_len: u32::from_be_bytes([0, byte(3), byte(4), byte(5)]) as usize,
            kind: byte(6),
            on: u32::from_le_bytes([byte(7), byte(8), byte(9), byte(10)]),
            len: input.len() - rest.len() + body_len,
        })
    }
}

/// Puts messages into chunks.
#[derive(Debug)]
pub struct Writer {
    chunk_size: usize,
    /// The last time and message stream of each chunk stream.
    last: HashMap<u8, (u32, u32)>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
            last: HashMap::new(),
        }
    }
}

impl Writer {
    /// Append a message to `out`, on chunk stream `id` (2 to 63). A message that sets the chunk size
    /// takes effect behind it.
    pub fn write(&mut self, out: &mut Vec<u8>, id: u8, message: &Message) {
        debug_assert!((2..64).contains(&id), "a basic header of one byte");
        let known = self.last.insert(id, (message.timestamp, message.stream));
        let delta = known
            .filter(|(_, stream)| *stream == message.stream)
            .map(|(at, _)| message.timestamp.wrapping_sub(at))
            .filter(|delta| *delta < 1 << 31);
        let time = delta.unwrap_or(message.timestamp);
        let field = time.min(EXTENDED);
        let extended = (field == EXTENDED).then(|| time.to_be_bytes());
        let len = message.payload.len() as u32;
        out.reserve(message.payload.len() + message.payload.len() / self.chunk_size + MAX_HEADER);
        out.push(if delta.is_some() { 1 << 6 | id } else { id });
        out.extend_from_slice(&field.to_be_bytes()[1..]);
        out.extend_from_slice(&len.to_be_bytes()[1..]);
        out.push(message.kind);
        if delta.is_none() {
            out.extend_from_slice(&message.stream.to_le_bytes());
        }
        out.extend(extended.iter().flatten());
        for (index, chunk) in message.payload.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                out.push(3 << 6 | id);
                out.extend(extended.iter().flatten());
            }
            out.extend_from_slice(chunk);
        }
        if message.kind == kind::SET_CHUNK_SIZE
            && let Some(size) = control::read_number(&message.payload)
        {
            self.chunk_size = size.max(1) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn message(kind: u8, timestamp: u32, payload: &[u8]) -> Message {
        Message {
            kind,
            stream: 1,
            timestamp,
            payload: payload.to_vec(),
        }
    }

    fn read_all(reader: &mut Reader, bytes: &[u8]) -> Vec<Message> {
        reader.push(bytes);
        std::iter::from_fn(|| reader.next_message().unwrap()).collect()
    }

    #[test]
    fn a_header_that_leaves_all_out_repeats_the_difference() {
        let mut reader = Reader::new(LIMIT);
        let first = b"\x04\x00\x00\x28\x00\x00\x01\x08\x01\x00\x00\x00a";
        let second = b"\xc4b";
        let third = b"\x84\x00\x00\x17c\xc4d";
        let all = [&first[..], second, third].concat();
        let times: Vec<_> = read_all(&mut reader, &all)
            .iter()
            .map(|m| m.timestamp)
            .collect();
        assert_eq!(times, [40, 80, 103, 126]);
    }

    #[test]
    fn extended_time_is_read_with_and_without_repetition() {
        for repeated in [true, false] {
            let mut bytes = b"\x04\xff\xff\xff\x00\x00\x82\x09\x01\x00\x00\x00".to_vec();
            bytes.extend_from_slice(&0xffff_fff0u32.to_be_bytes());
            bytes.extend_from_slice(&[7; 128]);
            bytes.push(0xc4);
            if repeated {
                bytes.extend_from_slice(&0xffff_fff0u32.to_be_bytes());
            }
            bytes.extend_from_slice(&[7; 2]);
            // Then a difference of 32 ms, over the end of 32 bits.
            bytes.extend_from_slice(b"\x44\x00\x00\x20\x00\x00\x01\x09z");
            let messages = read_all(&mut Reader::new(LIMIT), &bytes);
            assert_eq!(messages[0].timestamp, 0xffff_fff0);
            assert_eq!(messages[0].payload, [7; 130]);
            assert_eq!(messages[1].timestamp, 0x10);
        }
    }

    #[test]
    fn a_long_message_is_refused_before_it_comes() {
        let mut reader = Reader::new(64 << 10);
        reader.push(b"\x04\x00\x00\x00\x01\x00\x01\x09\x01\x00\x00\x00");
        assert_eq!(
            reader.next_message(),
            Err(ChunkError::TooLong(65_537, 65_536))
        );
        reader = Reader::new(LIMIT);
        reader.push(b"\x04\x00\x00\x00\x01\x00\x01\x09\x01\x00\x00\x00");
        assert_eq!(reader.next_message(), Ok(None));
    }

    #[test]
    fn many_messages_in_parts_are_refused_together() {
        let mut reader = Reader::new(200);
        let mut refused = false;
        for id in 3..20u8 {
            let mut chunk = vec![id];
            chunk.extend_from_slice(b"\x00\x00\x00\x00\x00\xc8\x09\x01\x00\x00\x00");
            chunk.extend_from_slice(&[0; 128]);
            reader.push(&chunk);
            refused |= reader.next_message().is_err();
        }
        assert!(refused);
    }

    #[test]
    fn continuing_nothing_and_chunk_size_zero_are_refused() {
        let mut reader = Reader::new(LIMIT);
        reader.push(b"\xc4abc");
        assert_eq!(reader.next_message(), Err(ChunkError::NoMessage(4)));
        let mut reader = Reader::new(LIMIT);
        reader.push(b"\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00");
        assert_eq!(reader.next_message(), Err(ChunkError::ChunkSize(0)));
    }

    #[test]
    fn an_aborted_message_is_forgotten() {
        let mut reader = Reader::new(LIMIT);
        let mut bytes = b"\x04\x00\x00\x00\x00\x00\xc8\x09\x01\x00\x00\x00".to_vec();
        bytes.extend_from_slice(&[1; 128]);
        bytes
            .extend_from_slice(b"\x02\x00\x00\x00\x00\x00\x04\x02\x00\x00\x00\x00\x00\x00\x00\x04");
        bytes.extend_from_slice(b"\x04\x00\x00\x00\x00\x00\x01\x08\x01\x00\x00\x00x");
        let messages = read_all(&mut reader, &bytes);
        assert_eq!(messages, [message(kind::AUDIO, 0, b"x")]);
        assert_eq!(reader.held, 0);
    }

    fn any_message() -> impl Strategy<Value = (u8, Message)> {
        let time = prop_oneof![any::<u32>(), 0..100u32, 0x00ff_fff0..0x0100_0010u32];
        let payload = prop::collection::vec(any::<u8>(), 0..700);
        (3..8u8, 8..19u8, time, payload)
            .prop_map(|(id, kind, timestamp, payload)| (id, message(kind, timestamp, &payload)))
    }

    proptest! {
        /// Also when the bytes come in any pieces, and the chunk size changes midway.
        #[test]
        fn what_is_written_is_read_back(
            messages in prop::collection::vec(any_message(), 1..20),
            chunk_size in 1..5000u32,
            piece in 1..400usize,
        ) {
            let (mut writer, mut bytes) = (Writer::default(), Vec::new());
            for (index, (id, message)) in messages.iter().enumerate() {
                if index == messages.len() / 2 {
                    writer.write(&mut bytes, 2, &control::set_chunk_size(chunk_size));
                }
                writer.write(&mut bytes, *id, message);
            }
            let mut reader = Reader::new(LIMIT);
            let pieces = bytes.chunks(piece);
            let read: Vec<_> = pieces.flat_map(|piece| read_all(&mut reader, piece)).collect();
            let sent: Vec<_> = messages.into_iter().map(|(_, message)| message).collect();
            prop_assert_eq!(read, sent);
            prop_assert_eq!(reader.held, 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_hold_little(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
        ) {
            let mut reader = Reader::new(4096);
            for piece in pieces {
                reader.push(&piece);
                while let Ok(Some(message)) = reader.next_message() {
                    prop_assert!(message.payload.len() <= 4096);
                }
                prop_assert!(reader.held <= 8192);
            }
        }
    }
}
