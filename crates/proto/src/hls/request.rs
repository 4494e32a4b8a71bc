//! What a request asks for: its path, and the delivery directives in its query.
//!
//! `/{playback id}/manifest/video.m3u8` is the multivariant playlist, `/{playback id}/{rendition}/…`
//! what belongs to a rendition: `live.m3u8`, `init-7.mp4`, `7.m4s`, `part-40.m4s`. A playback id may have
//! slashes. Everything is bounded, and only characters that may stand in a URI are let through, as
//! the query is written into playlists.

/// Longest playback id.
const MAX_PLAYBACK_ID: usize = 300;
/// Longest query.
const MAX_QUERY: usize = 4096;
/// Longest part of it that is handed on: children add directives and a session.
const MAX_REST: usize = 3072;
/// Most parameters that are handed on.
const MAX_PARAMETERS: usize = 32;
/// The parameter that tells viewers apart; it is not handed on to segments.
const SESSION: &str = "_session";

/// A file of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File<'a> {
    /// The multivariant playlist.
    Multivariant,
    /// The media playlist of a rendition.
    Media(&'a str),
    /// An initialization segment.
    Init(&'a str, u64),
    /// A segment.
    Segment(&'a str, u64),
    /// A part.
    Part(&'a str, u64),
}

/// A path that names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// Whose file, as it stands in the address.
    pub playback: &'a str,
    /// Which.
    pub file: File<'a>,
}

impl<'a> Path<'a> {
    /// Reads the path of an address; `None` when there can be no such file.
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (parent, name) = path.rsplit_once('/')?;
        let (playback, folder) = parent.rsplit_once('/')?;
        let sane = !playback.is_empty()
            && playback.len() <= MAX_PLAYBACK_ID
            && path.bytes().all(|byte| byte == b'/' || is_uri(byte))
            && !folder.is_empty()
            && folder.len() <= 64;
        if !sane {
            return None;
        }
        let file = match (folder, name) {
            ("manifest", "video.m3u8") => File::Multivariant,
            (rendition, "live.m3u8") => File::Media(rendition),
            (rendition, name) => Self::media_file(rendition, name)?,
        };
        Some(Self { playback, file })
    }

    fn media_file(rendition: &'a str, name: &str) -> Option<File<'a>> {
        if let Some(number) = name.strip_prefix("init-") {
            let number = number.strip_suffix(".mp4")?;
            return Some(File::Init(rendition, decimal(number)?));
        }
        let stem = name.strip_suffix(".m4s")?;
        Some(match stem.strip_prefix("part-") {
            None => File::Segment(rendition, decimal(stem)?),
            Some(number) => File::Part(rendition, decimal(number)?),
        })
    }
}

/// A number in its only form: no sign, no leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text == "0" || !text.starts_with('0');
    (plain && shortest && text.len() <= 19)
        .then(|| text.parse().ok())
        .flatten()
}

/// `unreserved`, `sub-delims` and percent signs of RFC 3986, without `'`, and `:@/?` in queries.
fn is_uri(byte: u8) -> bool {
    // Looked up, as every byte of every request is asked for.
    const FIT: [bool; 256] = {
        let mut fit = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            fit[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let marks = b"-._~%!$&()*+,;=:@";
        let mut mark = 0;
        while mark < marks.len() {
            fit[marks[mark] as usize] = true;
            mark += 1;
        }
        fit
    };
    FIT[usize::from(byte)]
}

/// The query of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `_HLS_msn`.
    pub msn: Option<u64>,
    /// `_HLS_part`.
    pub part: Option<u32>,
    /// `_HLS_skip`.
    pub skip: bool,
    /// Which viewer asks.
    pub session: Option<&'a str>,
    /// All other parameters as they were sent, to be handed on to children.
    pub rest: String,
}

/// A query that must be answered with 400.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query is malformed: {0}")]
pub struct BadQuery(&'static str);

impl<'a> Query<'a> {
    /// Reads a query, without its question mark.
    pub fn parse(query: &'a str) -> Result<Self, BadQuery> {
        if query.len() > MAX_QUERY {
            return Err(BadQuery("too long"));
        }
        if !query
            .bytes()
            .all(|byte| is_uri(byte) || byte == b'/' || byte == b'?')
        {
            return Err(BadQuery("a character that must be percent-encoded"));
        }
        let mut read = Self::default();
        let mut kept = 0;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" if read.msn.is_none() => {
                    let number = decimal(value).ok_or(BadQuery("_HLS_msn is no number"))?;
                    read.msn = Some(number);
                }
                "_HLS_part" if read.part.is_none() => {
                    let number = decimal(value).and_then(|number| u32::try_from(number).ok());
                    read.part = Some(number.ok_or(BadQuery("_HLS_part is no number"))?);
                }
                "_HLS_msn" | "_HLS_part" => return Err(BadQuery("a directive is there twice")),
                "_HLS_skip" => read.skip = matches!(value, "YES" | "v2"),
                // Directives to come: not for us, and not for the children.
                name if name.starts_with("_HLS_") => {}
                SESSION => {
                    let sane = value.len() <= 64 && !value.is_empty();
                    read.session = sane.then_some(value);
                }
                _ => {
                    kept += 1;
                    if kept > MAX_PARAMETERS || read.rest.len() + pair.len() > MAX_REST {
                        return Err(BadQuery("too many parameters"));
                    }
                    if !read.rest.is_empty() {
                        read.rest.push('&');
                    }
                    read.rest.push_str(pair);
                }
            }
        }
        if read.part.is_some() && read.msn.is_none() {
            return Err(BadQuery("_HLS_part without _HLS_msn"));
        }
        Ok(read)
    }

    /// The other parameters, percent-decoded, in order.
    pub fn parameters(&self) -> Vec<(String, String)> {
        self.rest
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent_decode(name), percent_decode(value))
            })
            .collect()
    }

    /// The query of a child that also knows which viewer asks.
    pub fn rest_with_session(&self, session: &str) -> String {
        if self.rest.is_empty() {
            format!("{SESSION}={session}")
        } else {
            format!("{}&{SESSION}={session}", self.rest)
        }
    }
}

/// Text without percent signs before hexadecimal digits; bytes that are no UTF-8 are replaced.
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| {
            let digit = bytes.get(at).map(|&digit| char::from(digit))?;
            digit.to_digit(16).map(|digit| digit as u8)
        };
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            decoded.push(high << 4 | low);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(path: &str) -> Option<(&str, File<'_>)> {
        Path::parse(path).map(|path| (path.playback, path.file))
    }

    #[test]
    fn paths_name_files() {
        let id = "abc-DEF_1";
        let file = |name: &str| file(&format!("/{id}/{name}")).map(|(_, file)| format!("{file:?}"));
        assert_eq!(file("manifest/video.m3u8").as_deref(), Some("Multivariant"));
        assert_eq!(file("video/live.m3u8").as_deref(), Some("Media(\"video\")"));
        assert_eq!(file("v/init-7.mp4").as_deref(), Some("Init(\"v\", 7)"));
        assert_eq!(file("v/12.m4s").as_deref(), Some("Segment(\"v\", 12)"));
        assert_eq!(file("v/part-12.m4s").as_deref(), Some("Part(\"v\", 12)"));
    }

    #[test]
    fn playback_id_may_have_slashes() {
        assert_eq!(
            file("/account/stream/video/1.m4s"),
            Some(("account/stream", File::Segment("video", 1)))
        );
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "",
            "/",
            "manifest/video.m3u8",
            "//manifest/video.m3u8",
            "/manifest/video.m3u8",
            "/a//live.m3u8",
            "/a/v/07.m4s",
            "/a/v/-1.m4s",
            "/a/v/+1.m4s",
            "/a/v/1.2.m4s",
            "/a/v/part-.m4s",
            "/a/v/part-01.m4s",
            "/a/v/part-part-1.m4s",
            "/a/v/part-99999999999999999999.m4s",
            "/a/v/99999999999999999999.m4s",
            "/a/v/init-.mp4",
            "/a/v/x.ts",
            "/a\"b/v/1.m4s",
            "/a b/v/1.m4s",
        ] {
            assert_eq!(file(path), None, "{path}");
        }
        assert_eq!(file(&format!("/{}/v/1.m4s", "a".repeat(301))), None);
    }

    #[test]
    fn directives_are_taken_out_and_the_rest_is_kept() {
        let query = Query::parse("token=a%20b&_HLS_msn=12&x&_HLS_part=3&_HLS_skip=YES&_session=s1");
        let query = query.unwrap();
        assert_eq!(
            (query.msn, query.part, query.skip),
            (Some(12), Some(3), true)
        );
        assert_eq!(query.session, Some("s1"));
        assert_eq!(query.rest, "token=a%20b&x");
        assert_eq!(query.rest_with_session("q"), "token=a%20b&x&_session=q");
        let expected = [("token", "a b"), ("x", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(query.parameters(), expected);
    }

    #[test]
    fn children_can_be_asked_for_whatever_was_kept() {
        for query in [vec!["a=1"; 32].join("&"), "a".repeat(3000)] {
            let kept = Query::parse(&query).unwrap();
            let child = kept.rest_with_session("0123456789abcdef") + "&_HLS_msn=1&_HLS_part=2";
            assert_eq!(Query::parse(&child).unwrap().rest, query);
        }
    }

    #[test]
    fn malformed_directives_are_refused() {
        for query in [
            "_HLS_msn=-1",
            "_HLS_msn=",
            "_HLS_msn=1e3",
            "_HLS_msn=99999999999999999999",
            "_HLS_part=1",
            "_HLS_msn=1&_HLS_msn=2",
            "_HLS_msn=1&_HLS_part=4294967296",
            "a=\"",
            "a=<",
            "a=\n",
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
        assert!(Query::parse(&"a&".repeat(40)).is_err());
        assert!(Query::parse(&"a".repeat(5000)).is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_refused_or_safe_to_write(query in ".{0,80}") {
            if let Ok(read) = Query::parse(&query) {
                prop_assert!(!read.rest.contains(['"', '\n', '\r', ' ', '#', super::super::QUERY]));
                let again = Query::parse(&read.rest).expect("what was kept is a query");
                prop_assert_eq!(again.rest, read.rest);
            }
        }

        #[test]
        fn any_path_is_read_or_refused(path in "[/a-z0-9.%-]{0,40}") {
            if let Some(path) = Path::parse(&path) {
                prop_assert!(!path.playback.is_empty());
            }
        }
    }
}
