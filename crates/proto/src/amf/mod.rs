//! Action Message Format: the values in RTMP commands and FLV script tags.
//!
//! [`amf0`] is what every client speaks, [`amf3`] is what some put inside. A message is a row of
//! [`Value`]s. Reading is bounded in depth, in the number of values and in the bytes that references
//! may repeat, so that a small message never becomes a large value. Specifications: AMF 0 and AMF 3,
//! Adobe Systems, 2007 and 2013.

pub mod amf0;
pub mod amf3;

/// Objects within objects; commands nest two or three deep.
const MAX_DEPTH: u32 = 16;
/// Values of one message, counting each member of an object.
const MAX_VALUES: u32 = 4096;
/// Bytes that AMF 3 string references of one message may repeat.
const MAX_REPEATED: usize = 256 << 10;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A double, the only number of AMF 0.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Text; bytes that are no UTF-8 are replaced.
    String(String),
    /// Named values in order, typed or not.
    Object(Vec<(String, Self)>),
    /// Named values in order, as `onMetaData` has them.
    EcmaArray(Vec<(String, Self)>),
    /// Values in order.
    Array(Vec<Self>),
    /// Milliseconds since 1970 UTC.
    Date(f64),
    /// Bytes (AMF 3).
    Bytes(Vec<u8>),
    /// Nothing.
    Null,
    /// Less than nothing; also stands for references, which commands do not use.
    Undefined,
}

/// Bytes that are no AMF, or more than a message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// It ends inside a value.
    #[error("AMF value is truncated")]
    Truncated,
    /// A type marker that is not defined, or not supported.
    #[error("AMF type {0:#04x} is not supported")]
    Type(u8),
    /// Deeper, more or larger than any command.
    #[error("AMF message has too many values")]
    TooLarge,
}

impl Value {
    /// Text as a value.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// An object of named values.
    pub fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The members of an object or of an associative array.
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) | Self::EcmaArray(members) => members,
            _ => &[],
        }
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let mut members = self.members().iter();
        members
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// What one message may still hold.
#[derive(Debug)]
struct Budget {
    depth: u32,
    values: u32,
    repeated: usize,
}

impl Budget {
    const fn new() -> Self {
        Self {
            depth: MAX_DEPTH,
            values: MAX_VALUES,
            repeated: MAX_REPEATED,
        }
    }

    fn value(&mut self) -> Result<(), AmfError> {
        self.values = self.values.checked_sub(1).ok_or(AmfError::TooLarge)?;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), AmfError> {
        self.depth = self.depth.checked_sub(1).ok_or(AmfError::TooLarge)?;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth += 1;
    }
}

/// A cursor over a message.
#[derive(Debug)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], AmfError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(AmfError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(AmfError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, AmfError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Result<usize, AmfError> {
        self.array()
            .map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn long(&mut self) -> Result<usize, AmfError> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn double(&mut self) -> Result<f64, AmfError> {
        self.array().map(f64::from_be_bytes)
    }

    fn text(&mut self, len: usize) -> Result<String, AmfError> {
        Ok(String::from_utf8_lossy(self.take(len)?).into_owned())
    }
}
