//! Answers of HTTP/1.1, as they come in.

/// Longest head of an answer.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Longest body that is kept; media that nobody looks into is only counted.
const MAX_BODY: usize = 16 << 20;

/// What cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bad;

/// A whole answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    /// The server closes the connection after it.
    pub(super) close: bool,
    /// Bytes of the body.
    pub(super) len: usize,
    /// The body, of which nothing is kept when nobody wants it.
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Head,
    Sized(usize),
    /// Digits of a chunk's size, until the end of their line; whether digits still count.
    Size(usize, bool),
    Chunk(usize),
    /// Bytes of the line end behind a chunk.
    ChunkEnd(u8),
    /// Behind the last chunk: bytes of the line that is read.
    Trailer(usize),
    UntilClose,
}

/// Puts one answer together.
#[derive(Debug)]
pub(super) struct Reader {
    head: Vec<u8>,
    state: State,
    keep: bool,
    answer: Answer,
}

impl Reader {
    /// For the next answer; with `keep` its body is kept, like that of every refusal.
    pub(super) fn new(keep: bool) -> Self {
        Self {
            head: Vec::new(),
            state: State::Head,
            keep,
            answer: Answer::default(),
        }
    }

    /// Take bytes; the answer once it is whole.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Option<Answer>, Bad> {
        if matches!(self.state, State::Head) {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(len) = self.read_head()? else {
                return Ok(None);
            };
            bytes = &bytes[len - before..];
            self.head = Vec::new();
        }
        loop {
            match &mut self.state {
                State::Head => return Ok(None),
                State::Sized(0) => return self.whole(bytes),
                State::Sized(left) | State::Chunk(left) if !bytes.is_empty() => {
                    let take = bytes.len().min(*left);
                    *left -= take;
                    let (data, rest) = bytes.split_at(take);
                    if matches!(self.state, State::Chunk(0)) {
                        self.state = State::ChunkEnd(2);
                    }
                    self.take(data)?;
                    bytes = rest;
                }
                State::UntilClose => {
                    self.take(bytes)?;
                    return Ok(None);
                }
                _ => {
                    let Some((byte, rest)) = bytes.split_first() else {
                        return Ok(None);
                    };
                    bytes = rest;
                    if self.line_byte(*byte)? {
                        return self.whole(bytes);
                    }
                }
            }
        }
    }

    /// The connection was closed: the answer, if that was its end.
    pub(super) fn closed(&mut self) -> Option<Answer> {
        matches!(self.state, State::UntilClose).then(|| std::mem::take(&mut self.answer))
    }

    fn whole(&mut self, rest: &[u8]) -> Result<Option<Answer>, Bad> {
        // Nothing was asked for that this could answer.
        if rest.is_empty() {
            Ok(Some(std::mem::take(&mut self.answer)))
        } else {
            Err(Bad)
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Bad> {
        self.answer.len += data.len();
        if self.keep || self.answer.status != 200 {
            if self.answer.len > MAX_BODY {
                return Err(Bad);
            }
            self.answer.body.extend_from_slice(data);
        }
        Ok(())
    }

    /// A byte of a chunk's frame; whether the body ends with it.
    fn line_byte(&mut self, byte: u8) -> Result<bool, Bad> {
        match &mut self.state {
            State::Size(size, counts) => match byte {
                b'\n' if *size == 0 => self.state = State::Trailer(0),
                b'\n' => self.state = State::Chunk(*size),
                b'\r' => {}
                _ if !*counts => {}
                b';' | b' ' => *counts = false,
                _ => {
                    let digit = char::from(byte).to_digit(16).ok_or(Bad)?;
                    *size = size
                        .checked_mul(16)
                        .and_then(|size| size.checked_add(digit as usize))
                        .ok_or(Bad)?;
                }
            },
            State::ChunkEnd(1) => self.state = State::Size(0, true),
            State::ChunkEnd(left) => *left -= 1,
            State::Trailer(len) => match byte {
                b'\n' if *len == 0 => return Ok(true),
                b'\n' => *len = 0,
                b'\r' => {}
                _ => *len += 1,
            },
            _ => return Err(Bad),
        }
        Ok(false)
    }

    /// Length of the head, once it is whole.
    fn read_head(&mut self) -> Result<Option<usize>, Bad> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let len = match parsed.parse(&self.head).map_err(|_| Bad)? {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial if self.head.len() > MAX_HEAD => return Err(Bad),
            httparse::Status::Partial => return Ok(None),
        };
        let status = parsed.code.ok_or(Bad)?;
        let mut state = State::UntilClose;
        let mut close = parsed.version == Some(0);
        for header in parsed.headers.iter() {
            let Ok(value) = str::from_utf8(header.value) else {
                continue;
            };
            if header.name.eq_ignore_ascii_case("content-length") {
                state = State::Sized(value.trim().parse().map_err(|_| Bad)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(Bad);
                }
                state = State::Size(0, true);
            } else if header.name.eq_ignore_ascii_case("connection") {
                close |= value.eq_ignore_ascii_case("close");
            } else if header.name.eq_ignore_ascii_case("location") {
                self.answer.location = Some(value.into());
            }
        }
        if matches!(status, 204 | 304) {
            state = State::Sized(0);
        }
        (self.answer.status, self.answer.close) = (status, close);
        self.state = state;
        Ok(Some(len))
    }
}

/// A request on a connection that is kept.
pub(super) fn request(out: &mut Vec<u8>, path: &str, host: &str, agent: &str) {
    for piece in [
        "GET ",
        path,
        " HTTP/1.1\r\nhost: ",
        host,
        "\r\nuser-agent: ",
        agent,
        "\r\naccept: */*\r\n\r\n",
    ] {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Where a reference found at `base` leads, as path and query; none to another server.
pub(super) fn resolve(base: &str, reference: &str, host: &str) -> Option<String> {
    let reference = reference.trim();
    if let Some((scheme, rest)) = reference.split_once("://")
        && !scheme.contains(['/', '?'])
    {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let same = scheme.eq_ignore_ascii_case("http") && rest[..end].eq_ignore_ascii_case(host);
        return same.then(|| resolve("/", &rest[end..], host)).flatten();
    }
    let path = base.split('?').next().unwrap_or_default();
    if reference.starts_with('?') {
        return Some(format!("{path}{reference}"));
    }
    let (target, query) = match reference.split_once('?') {
        Some((target, query)) => (target, Some(query)),
        None => (reference, None),
    };
    let mut segments: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.split('/').skip(1).collect()
    };
    for segment in target.trim_start_matches('/').split('/') {
        match segment {
            "." => {}
            ".." => _ = segments.pop(),
            other => segments.push(other),
        }
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("/{}{query}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Result<Option<Answer>, Bad> {
        let mut reader = Reader::new(true);
        let mut found = None;
        for piece in pieces {
            assert_eq!(found, None, "whole before its end");
            found = reader.push(piece)?;
        }
        Ok(found)
    }

    #[test]
    fn a_body_of_known_length_is_read_in_any_pieces() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..text.len() {
            let answer = read(&[&text[..cut], &text[cut..]]).unwrap().unwrap();
            assert_eq!(
                (answer.status, answer.body.as_slice()),
                (200, &b"hello"[..])
            );
        }
    }

    #[test]
    fn chunks_are_put_together_in_any_pieces() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: z\r\n\r\n";
        for cut in 0..text.len() {
            let answer = read(&[&text[..cut], &text[cut..]]).unwrap().unwrap();
            assert_eq!((answer.body.as_slice(), answer.len), (&b"hello!"[..], 6));
        }
    }

    #[test]
    fn media_is_counted_and_a_refusal_is_kept() {
        let mut reader = Reader::new(false);
        let answer = reader.push(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc");
        let answer = answer.unwrap().unwrap();
        assert_eq!((answer.len, answer.body.len()), (3, 0));
        let mut reader = Reader::new(false);
        let answer = reader.push(b"HTTP/1.1 404 No\r\ncontent-length: 3\r\n\r\nabc");
        assert_eq!(answer.unwrap().unwrap().body, b"abc");
    }

    #[test]
    fn what_follows_an_answer_is_a_fault() {
        let text = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1";
        assert_eq!(read(&[text]), Err(Bad));
    }

    #[test]
    fn references_lead_where_a_browser_goes() {
        let base = "/a/b/manifest/video.m3u8?token=1";
        for (reference, path) in [
            ("0/live.m3u8?x=1", "/a/b/manifest/0/live.m3u8?x=1"),
            ("../0/live.m3u8", "/a/b/0/live.m3u8"),
            ("/c/d?e", "/c/d?e"),
            ("?y=2", "/a/b/manifest/video.m3u8?y=2"),
            ("http://host:1/p/q", "/p/q"),
            ("../../../../x", "/x"),
        ] {
            let found = resolve(base, reference, "host:1");
            assert_eq!(found.as_deref(), Some(path), "{reference}");
        }
        assert_eq!(resolve(base, "https://host:1/p", "host:1"), None);
        assert_eq!(resolve(base, "http://other/p", "host:1"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_may_come(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6)) {
            let mut reader = Reader::new(true);
            reader.push(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            for piece in &pieces {
                if !matches!(reader.push(piece), Ok(None)) {
                    break;
                }
            }
        }
    }
}
