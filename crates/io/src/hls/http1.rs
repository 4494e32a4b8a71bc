//! HTTP/1.1, as much as players speak of it: requests without bodies, one after the other.
//!
//! Pipelined requests are answered in order. A request with a body, a head that is too long or one
//! that cannot be read ends the connection, and so does a player that takes nothing for some time.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::patience::Patience;
use super::service::Service;
use super::threads::answered;
use super::{CORS, Method, PREFLIGHT, Request, Response, reason};

/// Longest head of a request.
const MAX_HEAD: usize = 16 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// A connection without a request ends after this time.
const IDLE: Duration = Duration::from_secs(60);
/// A head must be complete, and an answer taken, within this time.
const SLOW: Duration = Duration::from_secs(20);

/// What a head says about the connection.
struct Head {
    len: usize,
    close: bool,
    has_body: bool,
}

/// Serve a connection until it ends; `read` is what was read of it already.
pub(super) async fn serve<S>(
    mut socket: S,
    mut read: Vec<u8>,
    remote: SocketAddr,
    service: &Service,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = String::with_capacity(512);
    let mut patience = Patience::new();
    loop {
        let (head, response, is_head) = loop {
            match parse(&read, remote) {
                Ok(Some((head, request))) => {
                    let is_head = request.method == Method::Head;
                    let response = if head.has_body {
                        service.refuse_body()
                    } else {
                        service.answer(request, &mut patience).await
                    };
                    break (head, response, is_head);
                }
                Ok(None) => {}
                Err(status) => return refuse(&mut socket, status).await,
            }
            let limit = if read.is_empty() { IDLE } else { SLOW };
            read.reserve(2048);
            match patience.limit(limit, socket.read_buf(&mut read)).await {
                Some(Ok(0)) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            }
        };
        let close = head.close || head.has_body;
        write_head(&mut out, &response, close);
        let body: &[u8] = if is_head || response.status == 304 || response.status == 204 {
            &[]
        } else {
            &response.body
        };
        let written = write_both(&mut socket, out.as_bytes(), body);
        match patience.limit(SLOW, written).await {
            Some(written) => written?,
            None => return Err(io::ErrorKind::TimedOut.into()),
        }
        answered();
        if close {
            return socket.shutdown().await;
        }
        read.drain(..head.len);
    }
}

/// The request that stands at the start of what was read, once it is whole; a status if there can be
/// none.
fn parse(read: &[u8], remote: SocketAddr) -> Result<Option<(Head, Request<'_>)>, u16> {
    if read.is_empty() {
        return Ok(None);
    }
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(read, &mut headers) {
        Ok(httparse::Status::Complete(len)) => Ok(Some(understand(&parsed, len, remote))),
        Ok(httparse::Status::Partial) if read.len() < MAX_HEAD => Ok(None),
        Ok(httparse::Status::Partial) => Err(431),
        Err(_) => Err(400),
    }
}

fn understand<'a>(
    parsed: &httparse::Request<'_, 'a>,
    len: usize,
    remote: SocketAddr,
) -> (Head, Request<'a>) {
    let mut head = Head {
        len,
        close: parsed.version == Some(0),
        has_body: false,
    };
    let mut request = Request {
        method: Method::from_name(parsed.method.unwrap_or_default()),
        target: origin_form(parsed.path.unwrap_or_default()),
        user_agent: "",
        origin: None,
        if_none_match: None,
        gzip: false,
        remote,
    };
    for header in parsed.headers.iter() {
        let Ok(value) = std::str::from_utf8(header.value) else {
            continue;
        };
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("user-agent") {
            request.user_agent = value;
        } else if is("origin") {
            request.origin = Some(value);
        } else if is("accept-encoding") {
            request.gzip = accepts_gzip(value);
        } else if is("if-none-match") {
            request.if_none_match = Some(value);
        } else if is("connection") {
            let has = |word: &str| {
                value
                    .split(',')
                    .any(|v| v.trim().eq_ignore_ascii_case(word))
            };
            head.close = has("close") || (head.close && !has("keep-alive"));
        } else if is("content-length") {
            head.has_body |= value.trim() != "0";
        } else if is("transfer-encoding") {
            head.has_body = true;
        }
    }
    (head, request)
}

/// The target without scheme and host, which some proxies send.
fn origin_form(target: &str) -> &str {
    match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    }
}

/// Whether gzip may be sent: listed, and not with a weight of zero (RFC 9110 §12.5.3).
pub(super) fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        let named = words
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn write_head(out: &mut String, response: &Response, close: bool) {
    let status = response.status;
    out.clear();
    out.push_str("HTTP/1.1 ");
    push_number(out, status.into());
    for piece in [" ", reason(status), "\r\ndate: "] {
        out.push_str(piece);
    }
    push_date(out, SystemTime::now());
    let mut line = |name: &str, value: &str| {
        for piece in ["\r\n", name, ": ", value] {
            out.push_str(piece);
        }
    };
    for (name, value) in fields(response) {
        line(name, value);
    }
    if let Some(etag) = &response.etag {
        line("etag", etag);
    }
    if status != 204 && status != 304 {
        out.push_str("\r\ncontent-length: ");
        push_number(out, response.body.len() as u64);
    }
    if close {
        out.push_str("\r\nconnection: close");
    }
    out.push_str("\r\n\r\n");
}

fn push_number(out: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

/// A thread writes a date once a second.
fn push_date(out: &mut String, now: SystemTime) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let second = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(at, text)| {
        if *at != second || text.is_empty() {
            *at = second;
            *text = Date(now).to_string();
        }
        out.push_str(text);
    });
}

/// Headers with constant values, for both kinds of HTTP.
pub(super) fn fields(response: &Response) -> impl Iterator<Item = (&'static str, &'static str)> {
    let kind = (response.status != 204 && response.status != 304)
        .then_some(("content-type", response.content_type));
    let preflight = if matches!(response.status, 204 | 405) {
        &PREFLIGHT[..]
    } else {
        &[]
    };
    kind.into_iter()
        .chain([("cache-control", response.cache)])
        .chain(response.gzip.then_some(("content-encoding", "gzip")))
        .chain(response.varies.then_some(("vary", "accept-encoding")))
        .chain((response.status == 503).then_some(("retry-after", "1")))
        .chain(CORS)
        .chain(preflight.iter().copied())
}

async fn refuse<S: AsyncWrite + Unpin>(socket: &mut S, status: u16) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        reason(status)
    );
    timeout(SLOW, socket.write_all(head.as_bytes())).await??;
    socket.shutdown().await
}

/// Both pieces in as few system calls as the socket allows.
async fn write_both<S>(socket: &mut S, mut head: &[u8], mut body: &[u8]) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    while !head.is_empty() {
        let written = if body.is_empty() {
            socket.write(head).await?
        } else {
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            socket.write_vectored(&slices).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head = &head[of_head..];
        body = &body[written - of_head..];
    }
    socket.write_all(body).await?;
    socket.flush().await
}

/// A date as HTTP writes it (RFC 9110 §5.6.7).
pub(super) struct Date(pub(super) SystemTime);

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let seconds = self
            .0
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let days = seconds / 86_400;
        let (year, month, day) = stagecast_proto::hls::media::civil_date(days as i64);
        write!(
            f,
            "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
            DAYS[(days % 7) as usize],
            MONTHS[(month - 1) as usize],
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_has_them() {
        let at = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(Date(at).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        let mut out = String::new();
        for later in [0, 900, 1000] {
            push_date(&mut out, at + Duration::from_millis(later));
        }
        assert_eq!(
            out.replace("Sun, 06 Nov 1994 08:49:3", ""),
            "7 GMT7 GMT8 GMT"
        );
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        let mut out = String::new();
        for number in [0, 7, 10, 65_536, u64::MAX] {
            push_number(&mut out, number);
            out.push(' ');
        }
        assert_eq!(out, "0 7 10 65536 18446744073709551615 ");
    }

    #[test]
    fn gzip_is_sent_to_those_that_take_it() {
        for (value, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
            ("x-gzip", false),
        ] {
            assert_eq!(accepts_gzip(value), takes, "{value}");
        }
    }

    #[test]
    fn target_loses_scheme_and_host() {
        assert_eq!(origin_form("http://h:1/a?b=c://d"), "/a?b=c://d");
        assert_eq!(origin_form("/a?u=http://x/y"), "/a?u=http://x/y");
        assert_eq!(origin_form("http://h"), "/");
    }
}
