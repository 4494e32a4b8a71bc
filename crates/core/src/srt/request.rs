//! What a stream id asks for (§3.2.1.3, appendix B).
//!
//! Either `{stream}?t=…&…` or `{stream}?token=…`, which publishes, or the access control form
//! `#!::r={stream},m=publish,t=…`, in which `m=request` plays; without a mode that form plays too.

use crate::rtmp::Action;
use crate::rtmp::{Request as Address, percent_decode};

/// How the access control form begins.
const ACCESS_CONTROL: &str = "#!::";
/// Longest stream id.
const MAX_LEN: usize = 512;

/// What a caller wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// To send or to receive.
    pub action: Action,
    /// The stream and its parameters.
    pub address: Address,
}

impl Request {
    /// From a stream id; `None` when it names no stream or is too long.
    pub fn parse(stream_id: &str) -> Option<Self> {
        if stream_id.len() > MAX_LEN {
            return None;
        }
        // ffmpeg up to version 5 passes on what stands encoded in its address.
        let plain = stream_id.contains('?') || stream_id.starts_with(ACCESS_CONTROL);
        let decoded = (!plain).then(|| percent_decode(stream_id, false));
        let stream_id = decoded.as_deref().unwrap_or(stream_id);
        let (action, address) = match stream_id.strip_prefix(ACCESS_CONTROL) {
            Some(pairs) => access_control(pairs)?,
            None => (Action::Publish, Address::new("", stream_id)?),
        };
        let mut address = address;
        // A plain stream id may still ask to play.
        let mode = address
            .query
            .iter()
            .position(|(name, _)| name == "m" || name == "mode");
        let asked = mode.map(|at| address.query.remove(at).1);
        let action = match asked.as_deref() {
            Some("request" | "play" | "read") => Action::Play,
            Some("publish") => Action::Publish,
            _ => action,
        };
        (!address.path.is_empty()).then_some(Self { action, address })
    }
}

fn access_control(pairs: &str) -> Option<(Action, Address)> {
    let mut resource = None;
    let mut query = Vec::new();
    for pair in pairs.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        match name {
            "r" => resource = Some(value),
            // Host, type: there is one of each.
            "h" => {}
            _ => query.push((name.to_owned(), value.to_owned())),
        }
    }
    let mut address = Address::new("", resource?)?;
    address.query.extend(query);
    Some((Action::Play, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(stream_id: &str) -> (Action, String, Vec<(String, String)>) {
        let request = Request::parse(stream_id).unwrap();
        (request.action, request.address.path, request.address.query)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_stream_with_its_token_publishes() {
        let query = vec![pair("t", "q83v"), pair("sourceId", "left")];
        let expected = (Action::Publish, "cam".to_owned(), query);
        assert_eq!(parse("cam?t=q83v&sourceId=left"), expected);
        assert_eq!(parse("cam%3Ft%3Dq83v%26sourceId%3Dleft"), expected);
        assert_eq!(parse("#!::r=cam,m=publish,t=q83v,sourceId=left"), expected);
        assert_eq!(
            parse("%23%21%3A%3Ar%3Dcam,m%3Dpublish,t%3Dq83v,sourceId%3Dleft"),
            expected
        );
        assert_eq!(parse("#!::m=publish,r=cam?t=q83v&sourceId=left"), expected);
    }

    #[test]
    fn access_control_without_a_mode_and_with_request_plays() {
        let expected = (Action::Play, "acme/cam".to_owned(), vec![]);
        assert_eq!(parse("#!::r=acme/cam"), expected);
        assert_eq!(parse("#!::r=acme/cam,m=request"), expected);
        assert_eq!(parse("acme/cam?m=request"), expected);
    }

    #[test]
    fn what_names_no_stream_is_refused() {
        for bad in [
            "",
            "?t=x",
            "#!::",
            "#!::m=publish",
            "#!::r",
            "#!::r=",
            &"x".repeat(600),
        ] {
            assert_eq!(Request::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_stream_ids_never_panic(tail in ".{0,80}") {
            Request::parse(&tail);
            Request::parse(&format!("#!::{tail}"));
        }
    }
}
