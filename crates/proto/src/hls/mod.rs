//! HTTP Live Streaming as text: playlists, `CODECS` strings, and what a request asks for.
//!
//! RFC 8216 and its revision draft-pantos-hls-rfc8216bis (low latency: `EXT-X-PART`, blocking reload,
//! delta updates). [`media`] and [`multivariant`] write playlists, [`codecs`] names codecs as
//! RFC 6381 wants, [`request`] reads addresses and delivery directives. URIs of children are written
//! with a [`QUERY`] mark behind them, so that one text serves every token: [`with_query`] puts the
//! query of a request in.

pub mod codecs;
pub mod media;
pub mod multivariant;
pub mod request;

/// Stands in a playlist where the query of a child's address goes.
pub const QUERY: char = '\u{1}';

/// A playlist with `query` (without `?`, may be empty) behind every child's address.
pub fn with_query(text: &str, query: &str) -> String {
    let mut filled = String::with_capacity(text.len() + 32 * (query.len() + 1));
    for (index, piece) in text.split(QUERY).enumerate() {
        if index > 0 && !query.is_empty() {
            filled.push('?');
            filled.push_str(query);
        }
        filled.push_str(piece);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_goes_behind_every_address_and_nothing_is_left_without_one() {
        let text = format!("a.m4s{QUERY}\nURI=\"b.m4s{QUERY}\"\n");
        assert_eq!(with_query(&text, ""), "a.m4s\nURI=\"b.m4s\"\n");
        assert_eq!(with_query(&text, "t=1"), "a.m4s?t=1\nURI=\"b.m4s?t=1\"\n");
    }
}
