//! What a request gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagecast_core::hls::Found;
use stagecast_proto::hls::request::{File, Path, Query, percent_decode};
use stagecast_proto::hls::with_query;

use super::channel::Channel;
use super::doors::{Ask, Doors};
use super::gate::{Gate, Refused};
use super::stream::Stream;
use super::streams::Streams;
use super::version::{Body, Version};
use super::visit::Visit;
use super::{Kind, Method, Request, Response};
use crate::engine::random;

/// How long the first players wait until there is something to play.
const START: Duration = Duration::from_secs(10);
/// A blocked request gives up after so many target durations (RFC 8216bis §6.2.5.2).
const PATIENCE: u32 = 3;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const MP4: &str = "video/mp4";
const TEXT: &str = "text/plain; charset=utf-8";

/// A name never means something else, so what it names may be kept for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// What a player asked for by number stays true.
const BLOCKED: &str = "public, max-age=12";
/// What comes next may come at any time.
const SHORT: &str = "public, max-age=1";
const NEVER: &str = "no-store";

/// Answers requests; shared by all connections.
pub(super) struct Service {
    gate: Arc<Gate>,
    pub(super) streams: Arc<Streams>,
    sessions: AtomicU64,
}

impl Response {
    fn refuse(status: u16, message: &str) -> Self {
        let kind = Kind {
            status,
            content_type: TEXT,
            cache: if status == 404 { SHORT } else { NEVER },
            gzip: false,
            varies: false,
        };
        Self {
            kind,
            etag: None,
            body: Bytes::copy_from_slice(message.as_bytes()),
        }
    }

    fn media(bytes: Bytes) -> Self {
        let kind = Kind {
            status: 200,
            content_type: MP4,
            cache: FOR_EVER,
            gzip: false,
            varies: false,
        };
        Self {
            kind,
            etag: None,
            body: bytes,
        }
    }
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        Self::refuse(refused.status, &refused.message)
    }
}

fn not_found(what: &str) -> Response {
    Response::refuse(404, what)
}

impl Service {
    pub(super) fn new(doors: Arc<dyn Doors>, streams: Arc<Streams>) -> Self {
        Self {
            gate: Arc::new(Gate::new(doors)),
            streams,
            sessions: AtomicU64::new(u64::from_be_bytes(random())),
        }
    }

    /// The answer to a request; what `HEAD` leaves out is left out by the caller.
    pub(super) async fn answer(&self, request: Request<'_>, visit: &mut Visit) -> Response {
        match request.method {
            Method::Get | Method::Head => {}
            Method::Options => {
                return Response::refuse(204, "");
            }
            Method::Other => return Response::refuse(405, "Use GET, HEAD or OPTIONS."),
        }
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((request.target, ""));
        let Some(path) = Path::parse(path) else {
            return not_found("There is no such file.");
        };
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(error) => return Response::refuse(400, &error.to_string()),
        };
        self.serve(request, path, query, visit)
            .await
            .unwrap_or_else(|refusal| refusal)
    }

    /// The answer to a request that has a body.
    pub(super) fn refuse_body(&self) -> Response {
        let _ = self;
        Response::refuse(413, "Requests have no body here.")
    }

    async fn serve(
        &self,
        request: Request<'_>,
        path: Path<'_>,
        query: Query<'_>,
        visit: &mut Visit,
    ) -> Result<Response, Response> {
        let now = Instant::now();
        let stream = if let Some(known) = visit.look(&request, path.playback, &query.rest, now) {
            known
        } else {
            let found = self.find(&request, path, &query).await?;
            visit.keep(&request, path.playback, &query.rest, now, &found);
            found
        };
        match path.file {
            File::Multivariant => self.multivariant(&request, &stream, &query).await,
            File::Media(name) => {
                let session = query.session.unwrap_or_default();
                let ip = request.remote.ip();
                stream.viewers.seen(session, ip, request.user_agent, now);
                media(&request, &stream, name, &query, visit).await
            }
            File::Init(name, number) => {
                let channel = channel(&stream, name)?;
                let version = channel.newest();
                found(version.view.init(number))
            }
            File::Segment(name, number) => segment(&stream, name, number).await,
            File::Part(name, number) => {
                let channel = channel(&stream, name)?;
                wait_for_part(&channel, number, visit).await
            }
        }
    }

    /// What somebody asks for, if the control plane says that they may.
    async fn find(
        &self,
        request: &Request<'_>,
        path: Path<'_>,
        query: &Query<'_>,
    ) -> Result<Arc<Stream>, Response> {
        let ip = request.remote.ip();
        let key = (path.playback, query.rest.as_str(), ip, request.origin);
        let ask = || Ask {
            path: percent_decode(path.playback),
            query: query.parameters(),
            remote: ip,
            origin: request.origin.map(str::to_owned),
        };
        let admitted = self.gate.check(key, ask).await?;
        let source = admitted.source;
        let stream = match path.file {
            File::Multivariant | File::Media(_) => self.streams.open(&source, admitted.ladder),
            _ => self.streams.find(&source),
        };
        stream.ok_or_else(|| not_found("The stream is not live."))
    }

    async fn multivariant(
        &self,
        request: &Request<'_>,
        stream: &Stream,
        query: &Query<'_>,
    ) -> Result<Response, Response> {
        let mut listing = stream.listing.subscribe();
        let ready = tokio::time::timeout(START, listing.wait_for(Option::is_some)).await;
        let text = match ready {
            Ok(Ok(listing)) => listing.clone(),
            _ => None,
        };
        let text = text.ok_or_else(|| Response::refuse(503, "The stream has not begun."))?;
        // Counted, not random: it tells players apart and opens nothing.
        let session = match query.session {
            Some(session) => session.to_owned(),
            None => format!("{:x}", self.sessions.fetch_add(1, Ordering::Relaxed)),
        };
        let body = Body::new(with_query(&text, &query.rest_with_session(&session)), None);
        Ok(playlist(request, &body, NEVER))
    }
}

fn channel(stream: &Stream, name: &str) -> Result<Arc<Channel>, Response> {
    stream
        .channel(name)
        .ok_or_else(|| not_found("The stream has no such rendition."))
}

/// A playlist in the form that the player takes.
fn playlist(request: &Request, body: &Body, cache: &'static str) -> Response {
    let packed = request.gzip.then(|| body.gzip()).flatten();
    let etag = body.tag(packed.is_some()).cloned();
    let known = |tag: &str| {
        request
            .if_none_match
            .is_some_and(|known| known.trim() == "*" || known.contains(tag))
    };
    let kind = Kind {
        status: 200,
        content_type: PLAYLIST,
        cache,
        gzip: packed.is_some(),
        varies: true,
    };
    if etag.as_deref().is_some_and(known) {
        let (status, gzip) = (304, false);
        return Response {
            kind: Kind {
                status,
                gzip,
                ..kind
            },
            etag,
            body: Bytes::new(),
        };
    }
    Response {
        kind,
        etag,
        body: packed.unwrap_or(&body.plain).clone(),
    }
}

async fn media(
    request: &Request<'_>,
    stream: &Stream,
    name: &str,
    query: &Query<'_>,
    visit: &mut Visit,
) -> Result<Response, Response> {
    let channel = begun(stream, name).await?;
    if channel.stale.load(Ordering::Relaxed) {
        return Err(not_found("The rendition has stopped; take another one."));
    }
    let mut version = channel.newest();
    let mut cache = SHORT;
    if let Some(segment) = query.msn {
        cache = BLOCKED;
        if !version.view.ended && version.view.is_absurd(segment, query.part) {
            return Err(Response::refuse(
                400,
                "_HLS_msn or _HLS_part is too far ahead.",
            ));
        }
        if !version.view.has(segment, query.part) {
            let there = |version: &Version| version.view.has(segment, query.part);
            version = wait(&channel, there, visit).await?;
        }
    }
    let body = version.body(query.skip, &query.rest);
    Ok(playlist(request, &body, cache))
}

/// A rendition that has something to play, for which the first players wait.
async fn begun(stream: &Stream, name: &str) -> Result<Arc<Channel>, Response> {
    if stream.listing.borrow().is_none() {
        let mut listing = stream.listing.subscribe();
        // What comes of it is seen below.
        let _ = tokio::time::timeout(START, listing.wait_for(Option::is_some)).await;
    }
    channel(stream, name)
}

/// The first version that `is_it`.
async fn wait(
    channel: &Channel,
    is_it: impl Fn(&Version) -> bool,
    visit: &mut Visit,
) -> Result<Arc<Version>, Response> {
    visit.waited = true;
    let mut versions = channel.versions();
    let target = versions.borrow().view.target_duration;
    let limit = Duration::from_secs(u64::from(target * PATIENCE));
    let version = versions.wait_for(|version| is_it(version));
    match visit.patience.limit(limit, version).await {
        Some(Ok(version)) => Ok(Arc::clone(&version)),
        _ => Err(Response::refuse(503, "The stream did not go on in time.")),
    }
}

async fn wait_for_part(
    channel: &Channel,
    number: u64,
    visit: &mut Visit,
) -> Result<Response, Response> {
    let version = channel.newest();
    match version.view.part(number) {
        Found::Later => {
            let there = |version: &Version| !matches!(version.view.part(number), Found::Later);
            let version = wait(channel, there, visit).await?;
            found(version.view.part(number))
        }
        other => found(other),
    }
}

async fn segment(stream: &Stream, name: &str, number: u64) -> Result<Response, Response> {
    let channel = channel(stream, name)?;
    let version = channel.newest();
    match (version.view.segment(number), &stream.disk) {
        (Found::Old, Some(disk)) => match disk.read(name, number).await {
            Ok(bytes) => Ok(Response::media(bytes)),
            Err(_) => Err(not_found("The segment is gone.")),
        },
        (other, _) => found(other),
    }
}

fn found(found: Found) -> Result<Response, Response> {
    match found {
        Found::Bytes(bytes) => Ok(Response::media(bytes)),
        _ => Err(not_found("There is no such segment, or no longer.")),
    }
}
