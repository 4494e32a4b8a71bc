//! Text to lines: `type=value`, one a line (RFC 8866 §5), within the limits of the folder.

use super::{MAX_LEN, MAX_LINES, SdpError};

/// One line, its number kept for errors.
#[derive(Copy, Clone)]
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) kind: u8,
    pub(super) value: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn error(&self, what: &'static str) -> SdpError {
        SdpError::Line {
            line: self.number,
            what,
        }
    }

    /// Name and value of an attribute; a property attribute has an empty value.
    pub(super) fn attribute(&self) -> (&'a str, &'a str) {
        self.value.split_once(':').unwrap_or((self.value, ""))
    }
}

/// The lines of a text. Ends may be CRLF or LF (RFC 8866 §5 asks parsers for both); empty lines,
/// which some senders leave at the end, are skipped.
pub(super) fn lines(
    text: &str,
) -> Result<impl Iterator<Item = Result<Line<'_>, SdpError>>, SdpError> {
    if text.len() > MAX_LEN {
        return Err(SdpError::TooLong { len: text.len() });
    }
    let numbered = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    Ok(numbered.map(|(index, line)| {
        let number = index + 1;
        if number > MAX_LINES {
            return Err(SdpError::TooMany {
                what: "lines",
                max: MAX_LINES,
            });
        }
        match line.as_bytes() {
            [kind, b'=', ..] if kind.is_ascii_lowercase() => Ok(Line {
                number,
                kind: *kind,
                value: &line[2..],
            }),
            _ => Err(SdpError::Line {
                line: number,
                what: "not of the form type=value",
            }),
        }
    }))
}
