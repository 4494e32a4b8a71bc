//! Opening a connection (§3.2.1): the handshake of version 5, its extensions, and key material.

use super::words;

/// The version that has extensions.
pub const VERSION: u32 = 5;
/// The first message, which asks for a cookie.
pub const INDUCTION: u32 = 1;
/// The second, which opens.
pub const CONCLUSION: u32 = u32::MAX;
/// Refused; the reason is added.
pub const REFUSED: u32 = 1000;
/// In the extension field of the answer to an induction: this is SRT.
pub const MAGIC: u16 = 0x4a17;

/// Extensions that follow, as bits of the extension field.
pub mod follows {
    /// Versions, flags and latencies.
    pub const HS: u16 = 1;
    /// Keys.
    pub const KEYS: u16 = 2;
    /// Stream id and others.
    pub const CONFIG: u16 = 4;
}

/// Extension types.
pub mod extension {
    /// Versions, flags and latencies of the caller.
    pub const HS_REQUEST: u16 = 1;
    /// Those of the listener.
    pub const HS_RESPONSE: u16 = 2;
    /// Keys of the caller; also the subtype of a later change.
    pub const KEY_REQUEST: u16 = 3;
    /// The same, taken.
    pub const KEY_RESPONSE: u16 = 4;
    /// Stream id.
    pub const STREAM_ID: u16 = 5;
}

/// Length without extensions.
const LEN: usize = 48;
/// Longest stream id (§3.2.1.3).
const MAX_STREAM_ID: usize = 512;

/// A handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// 4 in a caller's induction, else 5.
    pub version: u32,
    /// Key length, in units of 8 bytes; 0 says nothing.
    pub encryption: u16,
    /// See [`follows`]; [`MAGIC`] in the answer to an induction.
    pub extension: u16,
    /// First sequence number.
    pub sequence: u32,
    /// Longest packet, with IP and UDP headers.
    pub mtu: u32,
    /// Packets that may be under way.
    pub window: u32,
    /// [`INDUCTION`], [`CONCLUSION`] or [`REFUSED`] with a reason.
    pub kind: u32,
    /// The sender's socket.
    pub socket: u32,
    /// What the listener gave.
    pub cookie: u32,
    /// Type and content of what follows.
    pub extensions: Vec<(u16, &'a [u8])>,
}

impl<'a> Handshake<'a> {
    /// Reads the body of a handshake packet.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (fixed, mut rest) = body.split_at_checked(LEN)?;
        let mut fixed = words(fixed);
        let mut next = || fixed.next().unwrap_or(0);
        let (version, fields) = (next(), next());
        let mut read = Self {
            version,
            encryption: (fields >> 16) as u16,
            extension: fields as u16,
            sequence: next() & 0x7fff_ffff,
            mtu: next(),
            window: next(),
            kind: next(),
            socket: next(),
            cookie: next(),
            extensions: Vec::new(),
        };
        while let Some((head, after)) = rest.split_first_chunk::<4>() {
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let len = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (content, after) = after.split_at_checked(len)?;
            read.extensions.push((kind, content));
            rest = after;
        }
        Some(read)
    }

    /// The body of a handshake packet; the peer's address, which nobody reads, is left at zero.
    pub fn to_bytes(&self) -> Vec<u8> {
        let fields = u32::from(self.encryption) << 16 | u32::from(self.extension);
        let mut out = Vec::with_capacity(LEN + 64);
        let fixed = [
            self.version,
            fields,
            self.sequence,
            self.mtu,
            self.window,
            self.kind,
            self.socket,
            self.cookie,
        ];
        for word in fixed {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.resize(LEN, 0);
        for (kind, content) in &self.extensions {
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&(content.len().div_ceil(4) as u16).to_be_bytes());
            out.extend_from_slice(content);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    /// The content of an extension.
    pub fn extension(&self, kind: u16) -> Option<&'a [u8]> {
        let mut all = self.extensions.iter();
        all.find(|(known, _)| *known == kind)
            .map(|(_, content)| *content)
    }

    /// The caller's stream id, which is turned around in groups of four (§3.2.1.3); what is no UTF-8 is
    /// replaced.
    pub fn stream_id(&self) -> Option<String> {
        let content = self.extension(extension::STREAM_ID)?;
        let content = &content[..content.len().min(MAX_STREAM_ID)];
        let mut bytes: Vec<u8> = content
            .chunks(4)
            .flat_map(|four| four.iter().rev())
            .copied()
            .collect();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Version, flags and latencies (§3.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Such as 0x010500.
    pub version: u32,
    /// What the peer can do.
    pub flags: u32,
    /// Milliseconds that the receiving side of the speaker waits.
    pub receive_ms: u16,
    /// Milliseconds that the other side should wait at least.
    pub send_ms: u16,
}

impl Terms {
    /// Reads an extension.
    pub fn parse(content: &[u8]) -> Option<Self> {
        let mut words = words(content);
        let (version, flags, delays) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            version,
            flags,
            receive_ms: (delays >> 16) as u16,
            send_ms: delays as u16,
        })
    }

    /// The extension.
    pub fn to_bytes(self) -> Vec<u8> {
        let delays = u32::from(self.receive_ms) << 16 | u32::from(self.send_ms);
        let words = [self.version, self.flags, delays];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }
}

/// Wrapped keys (§3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMaterial<'a> {
    /// 1 is the even key, 2 the odd one, 3 both.
    pub keys: u8,
    /// Salt of the wrapping key and of counters.
    pub salt: &'a [u8; 16],
    /// Bytes of a key: 16, 24 or 32.
    pub key_len: usize,
    /// The keys, wrapped (RFC 3394).
    pub wrapped: &'a [u8],
}

impl<'a> KeyMaterial<'a> {
    /// Reads a message; `None` for other ciphers than AES-CTR.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let (head, rest) = message.split_first_chunk::<16>()?;
        let (salt, wrapped) = rest.split_first_chunk::<16>()?;
        let keys = head[3] & 3;
        let key_len = 4 * usize::from(head[15]);
        let known = head[..3] == [0x12, 0x20, 0x29] && head[8] == 2 && head[14] == 4;
        let count = usize::from(keys & 1) + usize::from(keys >> 1);
        let len = 8 + count * key_len;
        let sound = known && count > 0 && matches!(key_len, 16 | 24 | 32);
        sound.then_some(Self {
            keys,
            salt,
            key_len,
            wrapped: wrapped.get(..len)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conclusion_is_read_back_with_its_stream_id() {
        let terms = Terms {
            version: 0x01_0500,
            flags: 0xbf,
            receive_ms: 0,
            send_ms: 120,
        };
        let terms_bytes = terms.to_bytes();
        // "cam?t=1" in groups of four, each turned around.
        let sent = Handshake {
            version: VERSION,
            encryption: 0,
            extension: follows::HS | follows::CONFIG,
            sequence: 12345,
            mtu: 1500,
            window: 8192,
            kind: CONCLUSION,
            socket: 77,
            cookie: 88,
            extensions: vec![
                (extension::HS_REQUEST, &terms_bytes),
                (extension::STREAM_ID, b"?mac\x001=t"),
            ],
        };
        let bytes = sent.to_bytes();
        let read = Handshake::parse(&bytes).unwrap();
        assert_eq!(read, sent);
        assert_eq!(read.stream_id().as_deref(), Some("cam?t=1"));
        let read = read.extension(extension::HS_REQUEST).and_then(Terms::parse);
        assert_eq!(read, Some(terms));
    }
}
