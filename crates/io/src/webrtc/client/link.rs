//! The sockets of one client: a UDP socket per address family and, when asked
//! for, TCP connections with RFC 4571 framing (ICE-TCP, RFC 6544, active side).
//!
//! A UDP socket is bound to the unspecified address, so one descriptor serves
//! every interface; the address ICE must name as local is the one the kernel
//! routes a destination from. Datagrams carry the kernel's receive time, so
//! that a busy client does not count its own queue as the network's delay.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime};

use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use socket2::{SockAddr, SockRef};
use str0m::net::{Protocol, Transmit};

/// Receive buffer asked of the kernel: a keyframe of 1 MB must fit while the thread is busy.
const RECV_BUFFER: usize = 2 << 20;
/// TCP bytes held while the peer does not read; more means a stuck peer and is dropped.
const TCP_BACKLOG: usize = 1 << 20;
/// Sockets per client: IPv4, IPv6 and this many TCP connections.
const MAX_TCP: usize = 6;
/// Mio tokens a client occupies.
pub(super) const TOKENS: usize = 2 + MAX_TCP;

/// One datagram, where it came from and when the kernel took it in.
pub(super) struct Datagram {
    pub protocol: Protocol,
    pub source: SocketAddr,
    pub local: SocketAddr,
    pub len: usize,
    pub arrived: SystemTime,
}

/// All sockets of one client.
#[derive(Default)]
pub(super) struct Links {
    udp: [Option<UdpLink>; 2],
    tcp: Vec<TcpLink>,
}

struct UdpLink {
    socket: UdpSocket,
    port: u16,
    /// Destination IP to the local IP it is routed from; a handful at most.
    routes: Vec<(IpAddr, IpAddr)>,
}

struct TcpLink {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    connected: bool,
    dead: bool,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
}

/// The local address the kernel sends from to reach `remote`; `None` without a route.
pub(super) fn route(remote: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect((remote, 9)).ok()?;
    let local = socket.local_addr().ok()?.ip();
    (!local.is_unspecified()).then_some(local)
}

impl Links {
    /// Opens the UDP socket for `remote`'s family if need be; returns the local
    /// candidate address towards `remote`, `None` when there is no route or it is known already.
    pub fn open_udp(&mut self, remote: IpAddr) -> io::Result<Option<SocketAddr>> {
        let Some(local) = route(remote) else {
            return Ok(None);
        };
        let slot = &mut self.udp[usize::from(remote.is_ipv6())];
        if slot.is_none() {
            *slot = Some(UdpLink::bind(remote.is_ipv6())?);
        }
        let link = slot.as_mut().expect("set just above");
        let known = link.routes.iter().any(|(_, from)| *from == local);
        if !link.routes.iter().any(|(to, _)| *to == remote) {
            link.routes.push((remote, local));
        }
        Ok((!known).then_some(SocketAddr::new(local, link.port)))
    }

    /// Starts a TCP connection to a passive candidate; returns the local address.
    pub fn open_tcp(&mut self, remote: SocketAddr) -> io::Result<Option<SocketAddr>> {
        if self.tcp.len() == MAX_TCP {
            return Ok(None);
        }
        let stream = TcpStream::connect(remote)?;
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr()?;
        self.tcp.push(TcpLink {
            stream,
            local,
            remote,
            connected: false,
            dead: false,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
        });
        Ok(Some(local))
    }

    /// Registers every socket under `base..base + TOKENS`.
    pub fn register(&mut self, registry: &Registry, base: usize) -> io::Result<()> {
        for (i, link) in self.udp.iter_mut().enumerate() {
            if let Some(link) = link {
                registry.register(&mut link.socket, Token(base + i), Interest::READABLE)?;
            }
        }
        for (i, link) in self.tcp.iter_mut().enumerate() {
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut link.stream, Token(base + 2 + i), both)?;
        }
        Ok(())
    }

    pub fn deregister(&mut self, registry: &Registry) {
        for link in self.udp.iter_mut().flatten() {
            let _ = registry.deregister(&mut link.socket);
        }
        for link in &mut self.tcp {
            let _ = registry.deregister(&mut link.stream);
        }
    }

    /// Reads one datagram from socket `index`; `None` when it has no more.
    pub fn receive(&mut self, index: usize, buffer: &mut [u8]) -> Option<Datagram> {
        if index < 2 {
            return self.udp[index].as_mut()?.receive(buffer);
        }
        self.tcp.get_mut(index - 2)?.receive(buffer)
    }

    /// Sends, or drops as the network may: a full socket buffer is loss.
    pub fn send(&mut self, transmit: &Transmit) {
        match transmit.proto {
            Protocol::Udp => {
                let index = usize::from(transmit.destination.is_ipv6());
                if let Some(link) = &self.udp[index] {
                    let _ = link
                        .socket
                        .send_to(&transmit.contents, transmit.destination);
                }
            }
            Protocol::Tcp => {
                let found = self
                    .tcp
                    .iter_mut()
                    .find(|l| l.remote == transmit.destination && l.local == transmit.source);
                if let Some(link) = found {
                    link.send(&transmit.contents);
                }
            }
            _ => {}
        }
    }

    /// Whether every socket is a TCP connection that has failed.
    pub fn all_dead(&self) -> bool {
        self.udp.iter().all(Option::is_none) && self.tcp.iter().all(|l| l.dead)
    }
}

impl UdpLink {
    fn bind(v6: bool) -> io::Result<Self> {
        let any: IpAddr = if v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        let options = SockRef::from(&socket);
        let _ = options.set_recv_buffer_size(RECV_BUFFER);
        let _ = options.set_send_buffer_size(RECV_BUFFER);
        stamp_on_receive(&socket);
        let port = socket.local_addr()?.port();
        Ok(Self {
            socket: UdpSocket::from_std(socket),
            port,
            routes: Vec::new(),
        })
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<Datagram> {
        loop {
            let (len, source, arrived) = match receive_stamped(&self.socket, buffer) {
                Ok(v) => v,
                // An ICMP error of an earlier send: the next datagram may be fine.
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return None,
            };
            let from = self.routes.iter().find(|(to, _)| *to == source.ip());
            let Some((_, local)) = from else { continue };
            let local = SocketAddr::new(*local, self.port);
            return Some(Datagram {
                protocol: Protocol::Udp,
                source,
                local,
                len,
                arrived,
            });
        }
    }
}

impl TcpLink {
    fn send(&mut self, contents: &[u8]) {
        let full = self.outgoing.len() + contents.len() + 2 > TCP_BACKLOG;
        if self.dead || full || contents.len() > usize::from(u16::MAX) {
            return;
        }
        self.outgoing.extend((contents.len() as u16).to_be_bytes());
        self.outgoing.extend(contents);
        self.flush();
    }

    fn flush(&mut self) {
        if !self.connected {
            self.connected = self.stream.peer_addr().is_ok();
            if !self.connected {
                self.dead |= matches!(self.stream.take_error(), Ok(Some(_)) | Err(_));
                return;
            }
        }
        while !self.outgoing.is_empty() {
            let (front, _) = self.outgoing.as_slices();
            match self.stream.write(front) {
                Ok(0) => self.dead = true,
                Ok(n) => {
                    self.outgoing.drain(..n);
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => self.dead = true,
            }
            return;
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<Datagram> {
        self.flush();
        loop {
            if let Some(len) = self.take_frame(buffer) {
                return Some(Datagram {
                    protocol: Protocol::Tcp,
                    source: self.remote,
                    local: self.local,
                    len,
                    arrived: SystemTime::now(),
                });
            }
            if self.dead || !self.connected {
                return None;
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => self.dead = true,
                Ok(n) => self.incoming.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.dead |= e.kind() != ErrorKind::WouldBlock;
                    return None;
                }
            }
        }
    }

    fn take_frame(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let header = self.incoming.first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*header));
        let frame = self.incoming.get(2..2 + len)?;
        let kept = len.min(buffer.len());
        buffer[..kept].copy_from_slice(&frame[..kept]);
        self.incoming.drain(..2 + len);
        Some(kept)
    }
}

fn stamp_on_receive(socket: &std::net::UdpSocket) {
    let on: libc::c_int = 1;
    // SAFETY: `on` lives through the call and its size is passed; the descriptor is open.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// `recvmsg` with `SCM_TIMESTAMPNS`; falls back to now when the kernel gave no stamp.
fn receive_stamped(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, SystemTime)> {
    #[repr(align(8))]
    struct Control([MaybeUninit<u8>; 64]);
    let mut control = Control([MaybeUninit::uninit(); 64]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut len = 0;
    let mut arrived = None;
    // SAFETY: every pointer in `message` refers to a live local of the stated size, the kernel
    // writes at most these sizes, and the CMSG macros stay inside `msg_controllen`.
    let ((), source) = unsafe {
        SockAddr::try_init(|address, address_len| {
            let mut message: libc::msghdr = zeroed();
            message.msg_name = address.cast();
            message.msg_namelen = *address_len;
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = control.0.len();
            let n = libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0);
            if n < 0 {
                return Err(io::Error::last_os_error());
            }
            len = n as usize;
            *address_len = message.msg_namelen;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if let Some(header) = header.as_ref()
                && header.cmsg_level == libc::SOL_SOCKET
                && header.cmsg_type == libc::SCM_TIMESTAMPNS
            {
                let stamp: libc::timespec = libc::CMSG_DATA(header)
                    .cast::<libc::timespec>()
                    .read_unaligned();
                arrived = Some(stamp);
            }
            Ok(())
        })?
    };
    let source = source.as_socket().ok_or(ErrorKind::InvalidData)?;
    let arrived = arrived.map_or_else(SystemTime::now, |stamp| {
        SystemTime::UNIX_EPOCH + Duration::new(stamp.tv_sec as u64, stamp.tv_nsec as u32)
    });
    Ok((len, source, arrived))
}
