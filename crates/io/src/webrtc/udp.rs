//! UDP the way a forwarding server needs it: many datagrams a system call, the
//! local address of each, and runs of equal-sized datagrams to one peer in one
//! message (generic segmentation offload, Linux `UDP_SEGMENT`).
//!
//! Everything unsafe about sockets is in this file.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};
use stagecast_core::outbox::{Outbox, Path, Run};

/// Datagrams taken from the kernel at once.
pub const RECEIVE_BATCH: usize = 64;
/// Largest datagram taken whole; WebRTC stays below the Ethernet MTU.
const RECEIVE_SIZE: usize = 2048;
/// Room for one packet-info control message.
const CONTROL_SIZE: usize = 128;
/// Messages given to the kernel at once.
const SEND_BATCH: usize = 64;

/// A bound, non-blocking UDP socket that shares its port with other threads.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    v6: bool,
    gso: bool,
}

impl UdpSocket {
    /// Bind `address`; sockets of other threads may bind it too (`SO_REUSEPORT`).
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = open(address)?;
        // As much as the system allows; `doctor` says how to allow more.
        for size in [16 << 20, 4 << 20, 1 << 20] {
            if socket.set_recv_buffer_size(size).is_ok() {
                break;
            }
        }
        for size in [16 << 20, 4 << 20, 1 << 20] {
            if socket.set_send_buffer_size(size).is_ok() {
                break;
            }
        }
        socket.bind(&address.into())?;
        // Setting and clearing the option tells whether the kernel knows it.
        let gso = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 1200).is_ok()
            && set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let v6 = address.is_ipv6();
        Ok(Self { socket, v6, gso })
    }

    /// The bound address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Whether it carries addresses of this family.
    pub fn carries(&self, address: &SocketAddr) -> bool {
        self.v6 == address.is_ipv6()
    }

    /// Whether runs go out as one message.
    pub fn has_gso(&self) -> bool {
        self.gso
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A socket for what one peer sends to one of our addresses, which others that are bound to its port
/// then get no more. It is only received from.
#[derive(Debug)]
pub struct PeerSocket(Socket);

impl PeerSocket {
    /// For what `remote` sends to `local`.
    pub fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<Self> {
        let socket = open(local)?;
        socket.set_recv_buffer_size(1 << 20)?;
        socket.bind(&local.into())?;
        socket.connect(&remote.into())?;
        Ok(Self(socket))
    }
}

impl AsRawFd for PeerSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A socket that is not bound yet and tells to which of our addresses a datagram came.
fn open(address: SocketAddr) -> io::Result<Socket> {
    let v6 = address.is_ipv6();
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    if v6 {
        socket.set_only_v6(true)?;
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    } else {
        set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    Ok(socket)
}

fn set_option(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Buffers for receive calls. What the kernel is given points into it and is made once: clearing it for
/// every call would cost more than the call.
pub struct Receiver {
    buffers: Box<Buffers>,
    received: Vec<Received>,
}

struct Buffers {
    data: [[u8; RECEIVE_SIZE]; RECEIVE_BATCH],
    names: [libc::sockaddr_storage; RECEIVE_BATCH],
    control: [[u64; CONTROL_SIZE / 8]; RECEIVE_BATCH],
    vectors: [libc::iovec; RECEIVE_BATCH],
    messages: [libc::mmsghdr; RECEIVE_BATCH],
}

// SAFETY: the pointers in it are to itself only, and move with the box that owns all of it.
unsafe impl Send for Receiver {}

/// Where a datagram came from and to.
#[derive(Debug, Clone, Copy)]
struct Received {
    source: SocketAddr,
    local: Option<IpAddr>,
    len: usize,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("received", &self.received.len())
            .finish_non_exhaustive()
    }
}

impl Default for Receiver {
    fn default() -> Self {
        let layout = Layout::new::<Buffers>();
        // SAFETY: the layout is not empty, the memory is a fresh allocation of it, and all-zero is a
        // valid value of each array's elements. Made in place, because it is too large for a stack.
        #[allow(clippy::cast_ptr_alignment)] // The layout says how it is aligned.
        let mut buffers = unsafe {
            let memory = alloc_zeroed(layout).cast::<Buffers>();
            if memory.is_null() {
                handle_alloc_error(layout);
            }
            Box::from_raw(memory)
        };
        let Buffers {
            data,
            names,
            control,
            vectors,
            messages,
        } = &mut *buffers;
        for (i, message) in messages.iter_mut().enumerate() {
            vectors[i].iov_base = data[i].as_mut_ptr().cast();
            vectors[i].iov_len = RECEIVE_SIZE;
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            message.msg_hdr.msg_controllen = CONTROL_SIZE;
            message.msg_hdr.msg_name = (&raw mut names[i]).cast();
            message.msg_hdr.msg_iov = &raw mut vectors[i];
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control[i].as_mut_ptr().cast();
        }
        Self {
            buffers,
            received: Vec::with_capacity(RECEIVE_BATCH),
        }
    }
}

impl Receiver {
    /// Take what waits, up to a batch; zero when nothing does.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        for message in &mut self.buffers.messages[..self.received.len()] {
            // The kernel wrote here what it used.
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            message.msg_hdr.msg_controllen = CONTROL_SIZE;
        }
        self.received.clear();
        // SAFETY: every pointer in `messages` is into the box, to buffers of the stated length.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.buffers.messages.as_mut_ptr(),
                RECEIVE_BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        for (i, message) in self
            .buffers
            .messages
            .iter()
            .enumerate()
            .take(count as usize)
        {
            // SAFETY: the kernel filled the name of every received message.
            let source = unsafe { address_of(&self.buffers.names[i]) };
            // SAFETY: the kernel set the control length to what it wrote.
            let local = unsafe { local_address(&message.msg_hdr) };
            let whole = message.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let len = if whole { message.msg_len as usize } else { 0 };
            let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            self.received.push(Received {
                len: if source.is_some() { len } else { 0 },
                source: source.unwrap_or(nobody),
                local,
            });
        }
        Ok(count as usize)
    }

    /// Datagram `i` of the last call: from where, to which of our addresses, what.
    /// One that was too long for us is empty.
    pub fn datagram(&mut self, i: usize) -> (SocketAddr, Option<IpAddr>, &mut [u8]) {
        let received = self.received[i];
        (
            received.source,
            received.local,
            &mut self.buffers.data[i][..received.len],
        )
    }
}

/// SAFETY: `name` must hold an address that the kernel wrote, or zeroes.
unsafe fn address_of(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: zero-initialised, so reading any of it is fine; the family tells the layout.
    unsafe {
        let storage = &raw const *name;
        match i32::from((*storage).ss_family) {
            libc::AF_INET => {
                let v4 = &*storage.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6 = &*storage.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// SAFETY: `header` must come from a successful receive call whose buffers still live.
unsafe fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the CMSG macros walk within `msg_controllen`, which the kernel set.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while !cmsg.is_null() {
            let data = libc::CMSG_DATA(cmsg);
            match ((*cmsg).cmsg_level, (*cmsg).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = ptr::read_unaligned(data.cast::<libc::in_pktinfo>());
                    let ip = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                    return Some(ip.into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = ptr::read_unaligned(data.cast::<libc::in6_pktinfo>());
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
        None
    }
}

/// What became of a flush.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Messages the kernel took; a run is one.
    pub messages: u64,
    /// Datagrams in them.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams it did not take: full buffer, no route.
    pub dropped: u64,
}

/// Send the UDP runs of an outbox, each through the socket of its family.
pub fn send(outbox: &Outbox, sockets: &[UdpSocket]) -> Sent {
    let mut sent = Sent::default();
    // Most turns send nothing, and what follows clears kilobytes.
    if outbox.runs().is_empty() {
        return sent;
    }
    for socket in sockets {
        let mut batch = Batch {
            socket,
            arena: outbox.arena(),
            messages: [None; SEND_BATCH],
            count: 0,
        };
        let ours = |run: &&Run| !run.path.tcp && socket.carries(&run.path.remote);
        for run in outbox.runs().iter().filter(ours) {
            let message = Message::of(run);
            if socket.gso {
                batch.add(message, &mut sent);
            } else {
                message.singles().for_each(|one| batch.add(one, &mut sent));
            }
        }
        batch.flush(&mut sent);
    }
    sent
}

/// Messages on their way to one socket.
struct Batch<'a> {
    socket: &'a UdpSocket,
    arena: &'a [u8],
    messages: [Option<Message>; SEND_BATCH],
    count: usize,
}

impl Batch<'_> {
    fn add(&mut self, message: Message, sent: &mut Sent) {
        self.messages[self.count] = Some(message);
        self.count += 1;
        if self.count == SEND_BATCH {
            self.flush(sent);
        }
    }

    fn flush(&mut self, sent: &mut Sent) {
        let messages = &self.messages[..mem::take(&mut self.count)];
        let mut next = 0;
        while next < messages.len() {
            match send_messages(self.socket, self.arena, &messages[next..]) {
                Ok(0) => break,
                Ok(count) => {
                    let taken = messages[next..next + count].iter().flatten();
                    taken.for_each(|message| sent.took(message));
                    next += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // This message cannot go as it is (no offload on the route, no
                    // route): try its datagrams one by one, then go on.
                    for one in messages[next].iter().flat_map(Message::singles) {
                        match send_messages(self.socket, self.arena, &[Some(one)]) {
                            Ok(1) => sent.took(&one),
                            _ => sent.dropped += 1,
                        }
                    }
                    next += 1;
                }
            }
        }
        let rest = messages[next..].iter().flatten();
        sent.dropped += rest.map(|m| m.count as u64).sum::<u64>();
    }
}

impl Sent {
    fn took(&mut self, message: &Message) {
        self.messages += 1;
        self.datagrams += message.count as u64;
        self.bytes += message.len() as u64;
    }
}

/// A run as one message to the kernel: at most two pieces of the arena.
#[derive(Debug, Clone, Copy)]
struct Message {
    path: Path,
    pieces: [(usize, usize); 2],
    segment: usize,
    count: usize,
}

impl Message {
    fn of(run: &Run) -> Self {
        let (start, end) = (run.bytes.start, run.bytes.end);
        let mut pieces = [(start, end), (end, end)];
        match &run.tail {
            Some(tail) if tail.start == end => pieces[0].1 = tail.end,
            Some(tail) => pieces[1] = (tail.start, tail.end),
            None => {}
        }
        Self {
            path: run.path,
            pieces,
            segment: run.segment,
            count: run.count(),
        }
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(|(start, end)| end - start).sum()
    }

    /// Each of its datagrams as a message.
    fn singles(&self) -> impl Iterator<Item = Self> + use<> {
        let message = *self;
        let step = message.segment.max(1);
        let ranges = message.pieces.into_iter().flat_map(move |(start, end)| {
            (start..end)
                .step_by(step)
                .map(move |at| (at, end.min(at + step)))
        });
        ranges.map(move |piece| Self {
            pieces: [piece, (piece.1, piece.1)],
            segment: piece.1 - piece.0,
            count: 1,
            ..message
        })
    }
}

/// One `sendmmsg`: the number of runs taken.
fn send_messages(socket: &UdpSocket, arena: &[u8], batch: &[Option<Message>]) -> io::Result<usize> {
    let count = batch.len().min(SEND_BATCH);
    if count == 0 {
        return Ok(0);
    }
    // Only what a message uses is written; clearing all would cost more than a seal.
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; SEND_BATCH];
    let mut control = [const { MaybeUninit::<[u64; CONTROL_SIZE / 8]>::uninit() }; SEND_BATCH];
    let mut vectors = [const { MaybeUninit::<[libc::iovec; 2]>::uninit() }; SEND_BATCH];
    // SAFETY: all-zero is a valid `mmsghdr`.
    let mut messages: [libc::mmsghdr; SEND_BATCH] = unsafe { mem::zeroed() };
    for (i, run) in batch.iter().take(count).flatten().enumerate() {
        let vector = run.pieces.map(|(start, end)| libc::iovec {
            iov_base: arena[start..end].as_ptr().cast_mut().cast(),
            iov_len: end - start,
        });
        let header = &mut messages[i].msg_hdr;
        header.msg_namelen = write_address(&mut names[i], run.path.remote);
        header.msg_name = names[i].as_mut_ptr().cast();
        header.msg_iovlen = 1 + usize::from(vector[1].iov_len > 0);
        header.msg_iov = vectors[i].write(vector).as_mut_ptr();
        header.msg_control = control[i].as_mut_ptr().cast();
        header.msg_controllen = CONTROL_SIZE;
        let segment = (run.count > 1).then_some(run.segment as u16);
        // SAFETY: the control buffer has room for both messages.
        let used = unsafe { write_control(header, run.path.local, segment) };
        header.msg_controllen = used;
        if used == 0 {
            header.msg_control = ptr::null_mut();
        }
    }
    // SAFETY: every pointer in the first `count` messages is to a live buffer.
    let taken = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count as u32,
            libc::MSG_DONTWAIT,
        )
    };
    if taken < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(taken as usize)
    }
}

fn write_address(name: &mut MaybeUninit<libc::sockaddr_storage>, address: SocketAddr) -> u32 {
    let storage = name.as_mut_ptr();
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*v4.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: `sockaddr_storage` has room for any address.
            unsafe { storage.cast::<libc::sockaddr_in>().write(raw) };
            size_of::<libc::sockaddr_in>() as u32
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: `sockaddr_storage` has room for any address.
            unsafe { storage.cast::<libc::sockaddr_in6>().write(raw) };
            size_of::<libc::sockaddr_in6>() as u32
        }
    }
}

/// Write source address and segment size; the length used.
///
/// SAFETY: `header` must have a control buffer of `CONTROL_SIZE` bytes, aligned to 8.
unsafe fn write_control(
    header: &mut libc::msghdr,
    local: Option<IpAddr>,
    segment: Option<u16>,
) -> usize {
    let mut used = 0;
    // SAFETY: two messages need at most 64 bytes; the buffer has 128.
    unsafe {
        let mut put = |level: i32, kind: i32, bytes: *const u8, len: usize| {
            // The buffer is of u64 and `used` a multiple of eight: aligned.
            #[allow(clippy::cast_ptr_alignment)]
            let cmsg = header
                .msg_control
                .cast::<u8>()
                .add(used)
                .cast::<libc::cmsghdr>();
            (*cmsg).cmsg_level = level;
            (*cmsg).cmsg_type = kind;
            (*cmsg).cmsg_len = libc::CMSG_LEN(len as u32) as usize;
            ptr::copy_nonoverlapping(bytes, libc::CMSG_DATA(cmsg), len);
            used += libc::CMSG_SPACE(len as u32) as usize;
        };
        match local {
            Some(IpAddr::V4(ip)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from(ip).to_be(),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let len = size_of::<libc::in_pktinfo>();
                put(
                    libc::IPPROTO_IP,
                    libc::IP_PKTINFO,
                    (&raw const info).cast(),
                    len,
                );
            }
            Some(IpAddr::V6(ip)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    ipi6_ifindex: 0,
                };
                let len = size_of::<libc::in6_pktinfo>();
                put(
                    libc::IPPROTO_IPV6,
                    libc::IPV6_PKTINFO,
                    (&raw const info).cast(),
                    len,
                );
            }
            None => {}
        }
        if let Some(size) = segment {
            put(
                libc::SOL_UDP,
                libc::UDP_SEGMENT,
                (&raw const size).cast(),
                2,
            );
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (a, b) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
        let to = b.local_addr().unwrap();
        (a, b, to)
    }

    fn path(remote: SocketAddr, local: Option<IpAddr>) -> Path {
        Path {
            remote,
            local,
            tcp: false,
        }
    }

    fn receive_all(socket: &UdpSocket, want: usize) -> Vec<Vec<u8>> {
        let mut receiver = Receiver::default();
        let mut out = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while out.len() < want && Instant::now() < deadline {
            let count = receiver.receive(socket).unwrap();
            for i in 0..count {
                let (_, local, bytes) = receiver.datagram(i);
                assert_eq!(local, Some(Ipv4Addr::LOCALHOST.into()));
                out.push(bytes.to_vec());
            }
        }
        out
    }

    #[test]
    fn runs_of_equal_and_odd_sizes_arrive_as_they_were_pushed() {
        let (a, b, to) = pair();
        let sizes = [1200, 1200, 1200, 700, 1200, 40, 40, 1000, 1200, 1200];
        let datagrams: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(i, &n)| vec![i as u8; n])
            .collect();
        let mut outbox = Outbox::default();
        for datagram in &datagrams {
            outbox.push(path(to, None), datagram);
        }
        let sent = send(&outbox, &[a]);
        assert_eq!((sent.datagrams, sent.dropped), (10, 0));
        assert_eq!(receive_all(&b, 10), datagrams);
    }

    #[test]
    fn datagram_comes_from_the_address_that_was_asked_for() {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let a = UdpSocket::bind(any).unwrap();
        let (_, b, to) = pair();
        let mut outbox = Outbox::default();
        outbox.push(path(to, Some(Ipv4Addr::LOCALHOST.into())), b"hello");
        assert_eq!(send(&outbox, &[a]).datagrams, 1);
        assert_eq!(receive_all(&b, 1), [b"hello".to_vec()]);
    }

    #[test]
    fn oversized_datagram_is_seen_as_empty() {
        let (a, b, to) = pair();
        let mut outbox = Outbox::default();
        outbox.push(path(to, None), &[7; RECEIVE_SIZE + 1]);
        outbox.push(path(to, None), b"next");
        send(&outbox, &[a]);
        assert_eq!(receive_all(&b, 2), [Vec::new(), b"next".to_vec()]);
    }
}
