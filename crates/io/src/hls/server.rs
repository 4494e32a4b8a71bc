//! The listener: accepts connections, finds out which HTTP they speak.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stagecast_core::figures::HlsFigures;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::doors::Doors;
use super::service::Service;
use super::streams::Streams;
use super::threads::Threads;
use super::wire::Wire;
use super::{HlsConfig, http1, http2, prefixed};
use crate::tcp;

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A connection must say something within this time.
const GREETING: Duration = Duration::from_secs(10);
/// How often sources that went live are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// After a failure of `accept`, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// A player's connection, one of so many.
pub(super) struct Guest {
    pub(super) remote: SocketAddr,
    pub(super) service: Arc<Service>,
    _permit: OwnedSemaphorePermit,
}

/// The HLS server of an engine; it stops with the runtime.
pub struct Server {
    port: u16,
    streams: Arc<Streams>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Bind the port and begin to serve.
    pub fn start(config: &HlsConfig, doors: Arc<dyn Doors>, runtime: &Handle) -> io::Result<Self> {
        let _in_runtime = runtime.enter();
        let acceptor = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
            _ => None,
        };
        let (port, listeners) = tcp::bind(&config.bind, config.port, BACKLOG)?;
        let streams = Arc::new(Streams::new(Arc::clone(&doors), config.clone()));
        let service = Arc::new(Service::new(doors, Arc::clone(&streams)));
        let room = Arc::new(Semaphore::new(config.max_connections));
        let threads = Arc::new(Threads::start()?);
        for listener in listeners {
            let accepting = accept(
                listener,
                acceptor.clone(),
                Arc::clone(&service),
                Arc::clone(&room),
                Arc::clone(&threads),
            );
            runtime.spawn(accepting);
        }
        if config.always {
            let streams = Arc::clone(&streams);
            runtime.spawn(async move {
                let mut look = tokio::time::interval(LOOK);
                loop {
                    look.tick().await;
                    streams.start_live();
                }
            });
        }
        Ok(Self { port, streams })
    }

    /// The bound port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Players of all sources that are segmented.
    pub fn figures(&self) -> Vec<HlsFigures> {
        self.streams.figures()
    }
}

/// Offers HTTP/2 and HTTP/1.1.
fn acceptor(certificate: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let mut config = tcp::tls_config(certificate, key)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    service: Arc<Service>,
    room: Arc<Semaphore>,
    threads: Arc<Threads>,
) {
    loop {
        // As many connections as the settings allow: others wait in the kernel's queue.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (socket, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!("hls accept: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let guest = Guest {
            remote,
            service: Arc::clone(&service),
            _permit: permit,
        };
        let acceptor = acceptor.clone();
        threads.serve(socket, async move |socket| {
            trace(greet(socket, acceptor, guest).await);
        });
    }
}

/// A player that goes away in the middle is no fault of anybody.
fn trace(served: io::Result<()>) {
    if let Err(error) = served {
        tracing::trace!("hls connection: {error}");
    }
}

async fn greet(socket: TcpStream, acceptor: Option<TlsAcceptor>, guest: Guest) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let Some(acceptor) = acceptor else {
        return speak(socket, guest).await;
    };
    let socket = timeout(GREETING, acceptor.accept(socket)).await??;
    if socket.get_ref().1.alpn_protocol() == Some(b"h2") {
        return http2::serve(socket, guest).await;
    }
    serve_http1(socket, Vec::new(), guest);
    Ok(())
}

/// In a task of its own: a small one without the greeting, for as long as a player stays.
fn serve_http1(socket: impl Wire + Send + 'static, read: Vec<u8>, guest: Guest) {
    tokio::spawn(async move { trace(http1::serve(socket, read, guest).await) });
}

/// Without TLS the first bytes tell: HTTP/2 with prior knowledge, or HTTP/1.1.
async fn speak(mut socket: TcpStream, guest: Guest) -> io::Result<()> {
    let mut read = Vec::with_capacity(2048);
    while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
        if timeout(GREETING, socket.read_buf(&mut read)).await?? == 0 {
            return Ok(());
        }
    }
    if read.starts_with(PREFACE) {
        return http2::serve(prefixed::Prefixed::new(read, socket), guest).await;
    }
    serve_http1(socket, read, guest);
    Ok(())
}
