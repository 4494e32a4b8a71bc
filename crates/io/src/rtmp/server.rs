//! Listening: sockets, the number of connections, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::RtmpConfig;
use super::connection::{self, Context};
use crate::engine::{Engine, EngineError};
use crate::tcp;

const BACKLOG: i32 = 256;
/// After accepting failed, for instance because there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// A peer that vanished is noticed by this, should it stay silent within the stall timeout.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Bound ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    /// RTMP.
    pub plain: Option<u16>,
    /// RTMPS.
    pub tls: Option<u16>,
}

/// Bind and serve on the engine's network threads until it closes.
pub fn start(config: &RtmpConfig, engine: &Engine) -> Result<Ports, EngineError> {
    let context = Arc::new(Context {
        frames: engine.frames(),
        door: engine.doorkeeper(),
        closing: engine.runtime().closing(),
        connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        stall_timeout: Duration::from_millis(config.stall_timeout_ms),
    });
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let _guard = engine.runtime().handle().enter();
    let mut ports = Ports::default();
    let listen = |port: u16, tls: Option<TlsAcceptor>| -> Result<u16, EngineError> {
        let name = if tls.is_some() { "RTMPS" } else { "RTMP" };
        let (port, listeners) = tcp::bind(&config.bind, port, BACKLOG)
            .map_err(|e| EngineError::Config(format!("cannot bind {name} port {port}: {e}")))?;
        for listener in listeners {
            let (context, permits) = (Arc::clone(&context), Arc::clone(&permits));
            tokio::spawn(accept(listener, tls.clone(), context, permits));
        }
        Ok(port)
    };
    if let Some(port) = config.port {
        ports.plain = Some(listen(port, None)?);
    }
    if let Some(tls) = &config.tls {
        let made = tcp::tls_config(&tls.certificate, &tls.key).map_err(EngineError::Config)?;
        let acceptor = TlsAcceptor::from(Arc::new(made));
        ports.tls = Some(listen(tls.port, Some(acceptor))?);
    }
    Ok(ports)
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    context: Arc<Context>,
    permits: Arc<Semaphore>,
) {
    let mut closing = context.closing.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.wait() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                // One too many is closed at once: an encoder then tries again by itself.
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                    tracing::warn!(%remote, "rtmp: too many connections");
                    continue;
                };
                let context = Arc::clone(&context);
                tokio::spawn(serve(stream, remote, tls.clone(), context, permit));
            }
            Err(error) => {
                tracing::warn!(%error, "rtmp: cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<TlsAcceptor>,
    context: Arc<Context>,
    _permit: OwnedSemaphorePermit,
) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    // Neither is needed to go on.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return connection::run(stream, "rtmp", remote, &context).await;
    };
    match tokio::time::timeout(context.connect_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection::run(stream, "rtmps", remote, &context).await,
        Ok(Err(error)) => tracing::debug!(%remote, %error, "rtmps: TLS handshake failed"),
        Err(_) => tracing::debug!(%remote, "rtmps: TLS handshake took too long"),
    }
}
