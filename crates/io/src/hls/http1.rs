//! HTTP/1.1, as much as players speak of it: requests without bodies, one after the other.
//!
//! Pipelined requests are answered in order. A request with a body, a head that is too long or one
//! that cannot be read ends the connection, and so does a player that takes nothing for some time.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::server::Guest;
use super::threads::answered;
use super::visit::Visit;
use super::wire::Wire;
use super::{CORS, Kind, Method, PREFLIGHT, Request, Response, reason};

/// Longest head of a request.
const MAX_HEAD: usize = 16 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// A connection without a request ends after this time.
const IDLE: Duration = Duration::from_secs(60);
/// A head must be complete, and an answer taken, within this time.
const SLOW: Duration = Duration::from_secs(20);
/// To copy a body that is no longer costs less than to have the kernel gather two pieces.
const COPIED: usize = 8 << 10;

thread_local! {
    /// What the next answer of this thread is written into.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static HEADS: RefCell<Heads> = const { RefCell::new(Heads::new()) };
}

/// What a head says about the connection.
struct Head {
    len: usize,
    close: bool,
    has_body: bool,
}

/// Serve a connection until it ends; `read` is what was read of it already.
pub(super) async fn serve<S: Wire>(
    mut socket: S,
    mut read: Vec<u8>,
    guest: Guest,
) -> io::Result<()> {
    let mut visit = Visit::new();
    loop {
        let (head, response, is_head) = loop {
            match parse(&read, guest.remote) {
                Ok(Some((head, request))) => {
                    let is_head = request.method == Method::Head;
                    let response = if head.has_body {
                        guest.service.refuse_body()
                    } else {
                        guest.service.answer(request, &mut visit).await
                    };
                    break (head, response, is_head);
                }
                Ok(None) => {}
                Err(status) => return refuse(&mut socket, status).await,
            }
            let limit = if read.is_empty() { IDLE } else { SLOW };
            read.reserve(2048);
            match visit
                .patience
                .limit(limit, socket.read_buf(&mut read))
                .await
            {
                Some(Ok(0)) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            }
        };
        let close = head.close || head.has_body;
        let mut out = SPARE.take();
        write_head(&mut out, &response, close);
        let mut body: &[u8] =
            if is_head || response.kind.status == 304 || response.kind.status == 204 {
                &[]
            } else {
                &response.body
            };
        if body.len() <= COPIED {
            out.extend_from_slice(std::mem::take(&mut body));
        }
        let written = write_both(&mut socket, &out, body);
        match visit.patience.limit(SLOW, written).await {
            Some(written) => written?,
            None => return Err(io::ErrorKind::TimedOut.into()),
        }
        SPARE.set(out);
        answered();
        if std::mem::take(&mut visit.waited) {
            socket.expect_questions();
        }
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

fn write_head(out: &mut Vec<u8>, response: &Response, close: bool) {
    let status = response.kind.status;
    out.clear();
    HEADS
        .with_borrow_mut(|heads| out.extend_from_slice(heads.of(response.kind, SystemTime::now())));
    if let Some(etag) = &response.etag {
        out.extend_from_slice(b"\r\netag: ");
        out.extend_from_slice(etag.as_bytes());
    }
    if status != 204 && status != 304 {
        out.extend_from_slice(b"\r\ncontent-length: ");
        push_number(out, response.body.len() as u64);
    }
    if close {
        out.extend_from_slice(b"\r\nconnection: close");
    }
    out.extend_from_slice(b"\r\n\r\n");
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
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
    out.extend_from_slice(&digits[at..]);
}

/// Heads of answers up to what differs from one to the next, as they were written this second.
struct Heads {
    second: u64,
    written: Vec<(Kind, Vec<u8>)>,
}

impl Heads {
    const fn new() -> Self {
        Self {
            second: 0,
            written: Vec::new(),
        }
    }

    fn of(&mut self, kind: Kind, now: SystemTime) -> &[u8] {
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.second != second {
            self.second = second;
            self.written.clear();
        }
        let known = self.written.iter().position(|(of, _)| *of == kind);
        let at = known.unwrap_or_else(|| {
            let status = kind.status;
            let mut head = format!(
                "HTTP/1.1 {status} {}\r\ndate: {}",
                reason(status),
                Date(now)
            );
            for (name, value) in fields(kind) {
                for piece in ["\r\n", name, ": ", value] {
                    head.push_str(piece);
                }
            }
            self.written.push((kind, head.into_bytes()));
            self.written.len() - 1
        });
        &self.written[at].1
    }
}

/// Headers with constant values, for both kinds of HTTP.
pub(super) fn fields(kind: Kind) -> impl Iterator<Item = (&'static str, &'static str)> {
    let body =
        (kind.status != 204 && kind.status != 304).then_some(("content-type", kind.content_type));
    let preflight = if matches!(kind.status, 204 | 405) {
        &PREFLIGHT[..]
    } else {
        &[]
    };
    body.into_iter()
        .chain([("cache-control", kind.cache)])
        .chain(kind.gzip.then_some(("content-encoding", "gzip")))
        .chain(kind.varies.then_some(("vary", "accept-encoding")))
        .chain((kind.status == 503).then_some(("retry-after", "1")))
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
    while !head.is_empty() && !body.is_empty() {
        let slices = [IoSlice::new(head), IoSlice::new(body)];
        let written = socket.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head = &head[of_head..];
        body = &body[written - of_head..];
    }
    socket
        .write_all(if head.is_empty() { body } else { head })
        .await?;
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

    fn refusal(status: u16) -> Kind {
        Kind {
            status,
            content_type: "text/plain",
            cache: "no-store",
            gzip: false,
            varies: false,
        }
    }

    #[test]
    fn dates_are_written_as_http_has_them() {
        let at = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(Date(at).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        let mut heads = Heads::new();
        let lines = [0, 900, 1000].map(|later| {
            let head = heads.of(refusal(404), at + Duration::from_millis(later));
            let head = String::from_utf8_lossy(head).into_owned();
            head.lines().nth(1).unwrap_or_default().to_owned()
        });
        assert_eq!(
            lines,
            [37, 37, 38].map(|second| format!("date: Sun, 06 Nov 1994 08:49:{second} GMT"))
        );
    }

    #[test]
    fn heads_of_one_kind_are_written_once_a_second_and_others_by_themselves() {
        let mut heads = Heads::new();
        for status in [404, 400, 404, 503] {
            let head = heads.of(refusal(status), UNIX_EPOCH);
            let expected = format!("HTTP/1.1 {status} {}\r\n", reason(status));
            assert!(head.starts_with(expected.as_bytes()));
        }
        assert_eq!(heads.written.len(), 3);
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        let mut out = Vec::new();
        for number in [0, 7, 10, 65_536, u64::MAX] {
            push_number(&mut out, number);
            out.push(b' ');
        }
        assert_eq!(out, b"0 7 10 65536 18446744073709551615 ");
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
