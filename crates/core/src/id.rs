//! Names of streams, sources and sessions.
//!
//! A stream key is `"<account>/<stream name>"`; a source without an id is the
//! stream's main source. Session ids are 128 random bits: whoever knows one
//! may end the session, so they are never logged in full by the control plane.

use std::fmt;
use std::sync::Arc;

/// A source within a stream: what one publisher feeds and a reader reads.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SourceKey {
    /// `"<account>/<stream name>"`.
    pub stream: Arc<str>,
    /// `None` is the main source.
    pub source: Option<Arc<str>>,
}

impl SourceKey {
    /// Make a key from the control plane's strings; an empty source id is the main source.
    pub fn new(stream: &str, source: Option<&str>) -> Self {
        Self {
            stream: stream.into(),
            source: source.filter(|s| !s.is_empty()).map(Into::into),
        }
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            None => write!(f, "{}", self.stream),
            Some(id) => write!(f, "{}#{id}", self.stream),
        }
    }
}

/// One peer connection, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// From 16 bytes of the caller's randomness.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// From its printed form; `None` unless exactly 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:08x}…)", (self.0 >> 96) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_round_trips_and_refuses_other_text() {
        let id = SessionId::from_random([0xab; 16]);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        for bad in [
            "",
            "ab",
            "+b000000000000000000000000000000",
            &"g".repeat(32),
        ] {
            assert_eq!(SessionId::parse(bad), None);
        }
    }

    #[test]
    fn empty_source_id_is_the_main_source() {
        assert_eq!(SourceKey::new("a/s", Some("")), SourceKey::new("a/s", None));
        assert_eq!(SourceKey::new("a/s", Some("cam")).to_string(), "a/s#cam");
    }
}
