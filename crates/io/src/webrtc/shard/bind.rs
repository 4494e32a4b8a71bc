//! The sockets of the media port: UDP on every thread, TCP on the first.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;

use crate::engine::EngineConfig;
use crate::webrtc::udp::UdpSocket;

/// Sockets of one thread.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) listeners: Vec<TcpListener>,
}

/// Bind the media port for `count` threads: UDP on each, TCP on the first.
pub fn bind(config: &EngineConfig, count: usize) -> io::Result<(u16, Vec<Sockets>)> {
    // With "any port", TCP may find UDP's choice taken: try another.
    let attempts = if config.port == 0 { 16 } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for _ in 0..attempts {
        match bind_all(config, count) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_all(config: &EngineConfig, count: usize) -> io::Result<(u16, Vec<Sockets>)> {
    let mut port = config.port;
    if config.udp && port != 0 {
        refuse_taken_port(config)?;
    }
    let mut all: Vec<Sockets> = (0..count).map(|_| Sockets::default()).collect();
    for sockets in &mut all {
        for &ip in config.bind.iter().filter(|_| config.udp) {
            match UdpSocket::bind(SocketAddr::new(ip, port)) {
                Ok(socket) => {
                    port = socket.local_addr()?.port();
                    sockets.udp.push(socket);
                }
                // A machine without IPv6 serves IPv4.
                Err(_) if ip.is_ipv6() && !sockets.udp.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
    }
    for &ip in config.bind.iter().filter(|_| config.tcp) {
        match TcpListener::bind(SocketAddr::new(ip, port)) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                all[0].listeners.push(listener);
            }
            // The IPv6 wildcard may already cover IPv4, or IPv6 be missing.
            Err(_) if !all[0].listeners.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok((port, all))
}

/// `SO_REUSEPORT` would let two servers share a port and lose half the packets each.
fn refuse_taken_port(config: &EngineConfig) -> io::Result<()> {
    for &ip in &config.bind {
        match std::net::UdpSocket::bind(SocketAddr::new(ip, config.port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && ip.is_ipv4() => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}
