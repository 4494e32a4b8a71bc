//! HTTP/2, by hyper.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::http1::{Date, accepts_gzip, fields};
use super::server::Guest;
use super::service::Service;
use super::visit::Visit;
use super::{Method, Request, Response};

/// Requests of a connection at a time.
const MAX_STREAMS: u32 = 128;

/// Serve a connection until it ends.
pub(super) async fn serve<S>(socket: S, guest: Guest) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (service, remote) = (&guest.service, guest.remote);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let service = Arc::clone(service);
        async move { Ok::<_, std::convert::Infallible>(answer(&service, &request, remote).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(16 << 10)
        .keep_alive_interval(Some(std::time::Duration::from_secs(30)))
        .serve_connection(TokioIo::new(socket), service)
        .await
        .map_err(io::Error::other)
}

async fn answer(
    service: &Service,
    request: &hyper::Request<Incoming>,
    remote: SocketAddr,
) -> hyper::Response<Full<Bytes>> {
    let text = |name: HeaderName| {
        let value = request.headers().get(name)?;
        value.to_str().ok()
    };
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let method = Method::from_name(request.method().as_str());
    let response = if request.body().is_end_stream() {
        let request = Request {
            method,
            target,
            user_agent: text(header::USER_AGENT).unwrap_or_default(),
            origin: text(header::ORIGIN),
            if_none_match: text(header::IF_NONE_MATCH),
            gzip: text(header::ACCEPT_ENCODING).is_some_and(accepts_gzip),
            remote,
        };
        service.answer(request, &mut Visit::new()).await
    } else {
        service.refuse_body()
    };
    convert(&response, method == Method::Head)
}

fn convert(response: &Response, is_head: bool) -> hyper::Response<Full<Bytes>> {
    let bare = matches!(response.kind.status, 204 | 304);
    let body = if is_head || bare {
        Bytes::new()
    } else {
        response.body.clone()
    };
    let mut converted = hyper::Response::new(Full::new(body));
    if let Ok(status) = hyper::StatusCode::from_u16(response.kind.status) {
        *converted.status_mut() = status;
    }
    let headers = converted.headers_mut();
    for (name, value) in fields(response.kind) {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if let Ok(date) = HeaderValue::from_str(&Date(SystemTime::now()).to_string()) {
        headers.insert(header::DATE, date);
    }
    if let Some(Ok(etag)) = response.etag.as_deref().map(HeaderValue::from_str) {
        headers.insert(header::ETAG, etag);
    }
    if !bare {
        headers.insert(header::CONTENT_LENGTH, response.body.len().into());
    }
    converted
}
