//! What a connection asks for: application and stream name, however a client cuts its address.
//!
//! `rtmp://host/v2/pub/name?token=x` reaches us as application `v2/pub` and name `name?token=x`
//! (ffmpeg, OBS with server and key), as `v2` and `pub/name?token=x`, or with the query at the
//! application. Put together again they are the same.

/// Longest path of an address.
const MAX_PATH: usize = 512;
/// Longest query; tokens signed by their owner have some hundred characters.
const MAX_QUERY: usize = 8192;
/// Parameters in a query.
const MAX_PARAMETERS: usize = 64;

/// A path and its parameters, both percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `v2/pub/name` or `live/key`.
    pub path: String,
    /// In order.
    pub query: Vec<(String, String)>,
}

impl Request {
    /// From the two halves; `None` when it is too long.
    pub fn new(app: &str, name: &str) -> Option<Self> {
        let (app, app_query) = app.split_once('?').unwrap_or((app, ""));
        let (name, name_query) = name.split_once('?').unwrap_or((name, ""));
        if app.len() + name.len() > MAX_PATH || app_query.len() + name_query.len() > MAX_QUERY {
            return None;
        }
        // Some clients mark the container in front of the name.
        let name = name.strip_prefix("flv:").unwrap_or(name);
        let path = format!("{app}/{name}");
        let segments: Vec<_> = path.split('/').filter(|s| !s.is_empty()).collect();
        let query = [app_query, name_query].map(parameters).concat();
        Some(Self {
            path: percent_decode(&segments.join("/"), false),
            query,
        })
    }
}

/// The parameters of a query string, percent-decoded.
pub fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.take(MAX_PARAMETERS).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(name, true), percent_decode(value, true))
    });
    pairs.collect()
}

/// Percent-decoding; what is no UTF-8 then is replaced. In a query a plus is a space.
pub(crate) fn percent_decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| first == b'%');
        let hex = |digit: u8| char::from(digit).to_digit(16);
        if let Some(&[high, low]) = digits
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            bytes.push((high << 4 | low) as u8);
            rest = &after[2..];
            continue;
        }
        bytes.push(if plus && first == b'+' { b' ' } else { first });
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_ways_to_cut_an_address_are_the_same() {
        for (app, name) in [
            ("v2/pub", "cam?token=ab%2Bc&record"),
            ("v2", "pub/cam?token=ab%2Bc&record"),
            ("v2/pub/", "/cam?token=ab%2Bc&record"),
            ("v2/pub?token=ab%2Bc&record", "cam"),
            ("v2/pub?token=ab%2Bc", "cam?record"),
            ("v2/pub/cam?token=ab%2Bc&record", ""),
        ] {
            let request = Request::new(app, name).unwrap();
            assert_eq!(request.path, "v2/pub/cam", "{app} and {name}");
            let query = [("token", "ab+c"), ("record", "")];
            let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(request.query, query, "{app} and {name}");
        }
    }

    #[test]
    fn a_key_alone_has_no_parameters() {
        let request = Request::new("live", "f26566285faca6fb").unwrap();
        assert_eq!(request.path, "live/f26566285faca6fb");
        assert_eq!(request.query, []);
    }

    #[test]
    fn very_long_names_are_refused() {
        assert_eq!(Request::new("live", &"k".repeat(600)), None);
        assert_eq!(
            Request::new("live", &format!("k?{}", "q".repeat(9000))),
            None
        );
    }

    proptest! {
        #[test]
        fn arbitrary_names_never_panic(app in ".{0,40}", name in ".{0,80}") {
            let request = Request::new(&app, &name);
            prop_assert!(request.is_none_or(|request| request.query.len() <= 2 * MAX_PARAMETERS));
        }
    }
}
