//! The port: handshakes, and which connection a datagram is for.
//!
//! Nothing is kept for a caller before its cookie came back, so that a false address costs an answer
//! and no memory.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use stagecast_core::srt::{Cookies, Opening, Refusal, Request, induction_answer, refusal};
use stagecast_proto::srt::handshake::{CONCLUSION, Handshake};
use stagecast_proto::srt::{Packet, control};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::SrtConfig;
use super::connection::{self, Caller, Context};
use crate::engine::{Engine, EngineError, random};

/// Longest datagram on an Ethernet.
const DATAGRAM: usize = 1500;
/// Datagrams that wait for their connection; more are lost, and asked for again.
const INBOX: usize = 4096;
/// Receive buffer of the port: a second of some publishers.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Bind and serve on the engine's network threads until it closes; the bound port.
pub fn start(config: &SrtConfig, engine: &Engine) -> Result<u16, EngineError> {
    if config
        .passphrase
        .as_ref()
        .is_some_and(|p| !(10..=79).contains(&p.len()))
    {
        let message = "srt.passphrase needs 10 to 79 characters";
        return Err(EngineError::Config(message.into()));
    }
    let context = Arc::new(Context {
        frames: engine.frames(),
        door: engine.doorkeeper(),
        closing: engine.runtime().closing(),
        latency_ms: config.latency_ms,
        passphrase: config.passphrase.clone(),
        stall_timeout: Duration::from_millis(config.stall_timeout_ms),
    });
    let _guard = engine.runtime().handle().enter();
    let (port, sockets) = bind(&config.bind, config.port)
        .map_err(|e| EngineError::Config(format!("cannot bind SRT port {}: {e}", config.port)))?;
    for socket in sockets {
        let (done, finished) = mpsc::unbounded_channel();
        let listener = Listener {
            socket: Arc::new(socket),
            context: Arc::clone(&context),
            cookies: Cookies::new(random(), Instant::now()),
            max_connections: config.max_connections,
            peers: HashMap::new(),
            callers: HashMap::new(),
            done,
        };
        tokio::spawn(listener.run(finished));
    }
    Ok(port)
}

fn bind(addresses: &[IpAddr], mut port: u16) -> io::Result<(u16, Vec<UdpSocket>)> {
    let mut sockets = Vec::new();
    for &ip in addresses {
        match bind_one(SocketAddr::new(ip, port)) {
            Ok(socket) => {
                port = socket.local_addr()?.port();
                sockets.push(socket);
            }
            // A machine without IPv6 serves IPv4.
            Err(_) if ip.is_ipv6() && !sockets.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::other("no address to bind"));
    }
    Ok((port, sockets))
}

fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // As much as the system allows.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

struct Peer {
    remote: SocketAddr,
    /// Its own name for itself.
    socket: u32,
    inbox: mpsc::Sender<Vec<u8>>,
}

struct Listener {
    socket: Arc<UdpSocket>,
    context: Arc<Context>,
    cookies: Cookies,
    max_connections: usize,
    /// By our name for them.
    peers: HashMap<u32, Peer>,
    /// Our names, by address and theirs.
    callers: HashMap<(SocketAddr, u32), u32>,
    done: mpsc::UnboundedSender<u32>,
}

impl Listener {
    async fn run(mut self, mut finished: mpsc::UnboundedReceiver<u32>) {
        let mut closing = self.context.closing.clone();
        let mut buffer = [0; DATAGRAM];
        loop {
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((len, remote)) => self.on_datagram(&buffer[..len], remote),
                    // An answer of ICMP to something sent earlier.
                    Err(error) => tracing::debug!(%error, "srt: cannot receive"),
                },
                Some(id) = finished.recv() => {
                    if let Some(peer) = self.peers.remove(&id) {
                        self.callers.remove(&(peer.remote, peer.socket));
                    }
                }
                () = closing.wait() => return,
            }
        }
    }

    fn on_datagram(&mut self, datagram: &[u8], remote: SocketAddr) {
        match Packet::parse(datagram) {
            Some(Packet::Control(control)) if control.kind == control::HANDSHAKE => {
                if let Some(asked) = Handshake::parse(control.body) {
                    self.on_handshake(&asked, datagram, remote);
                }
            }
            Some(packet) => {
                let peer = self.peers.get(&packet.socket());
                // Who knows a number must also come from where it belongs to.
                if let Some(peer) = peer.filter(|peer| peer.remote == remote) {
                    let _ = peer.inbox.try_send(datagram.to_vec());
                }
            }
            None => {}
        }
    }

    fn on_handshake(&mut self, asked: &Handshake<'_>, datagram: &[u8], remote: SocketAddr) {
        let now = Instant::now();
        let encrypted = self.context.passphrase.is_some();
        let cookie = self.cookies.give(remote, now);
        if let Some(answer) = induction_answer(asked, cookie, encrypted) {
            self.answer(&answer, remote);
            return;
        }
        if asked.kind != CONCLUSION || !self.cookies.is_good(asked.cookie, remote, now) {
            return;
        }
        let known = self.callers.get(&(remote, asked.socket));
        if let Some(peer) = known.and_then(|id| self.peers.get(id)) {
            // Our answer was lost; the connection repeats it.
            let _ = peer.inbox.try_send(datagram.to_vec());
            return;
        }
        match self.open(asked, datagram, remote) {
            Ok(()) => {}
            Err(why) => {
                tracing::info!(%remote, ?why, "srt: refused");
                self.answer(&refusal(asked, why), remote);
            }
        }
    }

    fn open(
        &mut self,
        asked: &Handshake<'_>,
        datagram: &[u8],
        remote: SocketAddr,
    ) -> Result<(), Refusal> {
        if self.peers.len() >= self.max_connections {
            return Err(Refusal::Busy);
        }
        let opening = Opening::read(asked, self.context.passphrase.as_deref())?;
        let request = Request::parse(&opening.stream_id).ok_or(Refusal::Code(1400))?;
        let mut id = 0;
        while id == 0 || self.peers.contains_key(&id) {
            id = u32::from_be_bytes(random()) & 0x3fff_ffff;
        }
        let (inbox, datagrams) = mpsc::channel(INBOX);
        let socket = opening.peer_socket;
        self.callers.insert((remote, socket), id);
        self.peers.insert(
            id,
            Peer {
                remote,
                socket,
                inbox,
            },
        );
        let caller = Caller {
            id,
            remote,
            request,
            opening,
            conclusion: datagram.to_vec(),
            socket: Arc::clone(&self.socket),
        };
        let (context, done) = (Arc::clone(&self.context), self.done.clone());
        tokio::spawn(async move {
            connection::run(caller, datagrams, &context).await;
            // The listener may have ended first.
            let _ = done.send(id);
        });
        Ok(())
    }

    /// A lost answer is asked for again.
    fn answer(&self, datagram: &[u8], remote: SocketAddr) {
        let _ = self.socket.try_send_to(datagram, remote);
    }
}
