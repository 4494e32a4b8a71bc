//! One state of a media playlist, as bytes: made once, shared by all who ask.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use stagecast_core::hls::View;
use stagecast_proto::hls::with_query;

use crate::engine::lock;

/// Queries (tokens) whose bytes a version keeps; those of others are made for each request.
const MAX_QUERIES: usize = 256;

/// A playlist as it is sent.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) plain: Bytes,
    gzip: OnceLock<Option<Bytes>>,
    /// Entity tags: plain, and compressed.
    tags: Option<[Arc<str>; 2]>,
}

impl Body {
    pub(super) fn new(text: String, tag: Option<String>) -> Self {
        Self {
            plain: text.into(),
            gzip: OnceLock::new(),
            tags: tag.map(|tag| ["", "-gz"].map(|form| format!("\"{tag}{form}\"").into())),
        }
    }

    /// Its entity tag in the form that is sent.
    pub(super) fn tag(&self, packed: bool) -> Option<&Arc<str>> {
        self.tags.as_ref().map(|tags| &tags[usize::from(packed)])
    }

    /// Compressed, when that makes it smaller.
    pub(super) fn gzip(&self) -> Option<&Bytes> {
        let compress = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(4));
            encoder.write_all(&self.plain).ok()?;
            let packed = encoder.finish().ok()?;
            (packed.len() < self.plain.len()).then(|| packed.into())
        };
        self.gzip.get_or_init(compress).as_ref()
    }
}

/// A rendition at one moment.
#[derive(Debug)]
pub(super) struct Version {
    /// Whose; tells its entity tags from those of others with the same number.
    epoch: u64,
    /// Grows by one a version.
    number: u64,
    pub(super) view: View,
    /// With marks for the query: whole, and as a delta update.
    texts: [OnceLock<String>; 2],
    /// Without a query: what most ask for.
    bare: [OnceLock<Arc<Body>>; 2],
    others: Mutex<HashMap<(bool, String), Arc<Body>>>,
}

impl Version {
    pub(super) fn new(epoch: u64, number: u64, view: View) -> Self {
        Self {
            epoch,
            number,
            view,
            texts: Default::default(),
            bare: Default::default(),
            others: Mutex::default(),
        }
    }

    /// What follows it.
    pub(super) fn next(&self, view: View) -> Self {
        Self::new(self.epoch, self.number + 1, view)
    }

    /// The playlist with `query` behind every address.
    pub(super) fn body(&self, delta: bool, query: &str) -> Arc<Body> {
        let text = || self.texts[usize::from(delta)].get_or_init(|| self.view.playlist(delta));
        let make = || {
            let form = if delta { "-d" } else { "" };
            let tag = format!("{:x}-{}{form}", self.epoch, self.number);
            Arc::new(Body::new(with_query(text(), query), Some(tag)))
        };
        if query.is_empty() {
            return Arc::clone(self.bare[usize::from(delta)].get_or_init(make));
        }
        let mut others = lock(&self.others);
        if let Some(body) = others.get(&(delta, query.to_owned())) {
            return Arc::clone(body);
        }
        let body = make();
        if others.len() < MAX_QUERIES {
            others.insert((delta, query.to_owned()), Arc::clone(&body));
        }
        body
    }
}
