//! A viewer's UDP socket: many datagrams a system call, each with the kernel's
//! time of arrival.
//!
//! Everything unsafe of this crate is here. The time is the kernel's, because a
//! load generator shares the machine with the server: what its own thread waits
//! for its turn is no delay of the server's.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use socket2::{Domain, Protocol, Type};

/// Datagrams taken from the kernel at once.
const BATCH: usize = 32;
/// Largest datagram taken whole; WebRTC stays below the Ethernet MTU.
const DATAGRAM: usize = 2048;
/// With receive offload, a message is up to 64 segments.
const MESSAGE: usize = 65_536;
/// Messages at once with receive offload.
const OFFLOAD_BATCH: usize = 8;
/// Room for a time stamp and a segment size.
const CONTROL: usize = 128;
/// A keyframe's burst must fit, also while the thread waits for its turn.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct Socket {
    socket: socket2::Socket,
}

impl Socket {
    /// Bind any free port of `address`. With `offload` the kernel may hand a run of
    /// datagrams over as one message (`UDP_GRO`), which costs the machine less.
    pub fn bind(address: IpAddr, offload: bool) -> io::Result<Self> {
        let domain = Domain::for_address((address, 0).into());
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let size = RECEIVE_BUFFER as libc::c_int;
        // Past the system's limit, where we may; otherwise up to it.
        if set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size).is_err() {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        if offload {
            set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1)?;
        }
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        Ok(Self { socket })
    }

    /// Where the peer reaches us.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        address
            .as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Hand one datagram to the kernel; what does not fit its queue is lost, as on a wire.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = self.socket.send_to(bytes, &to.into());
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn set(
    socket: &socket2::Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option's value is one int, and its length says so.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Our address towards a peer: the system's choice of route.
pub fn route(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// Let this thread yield to others (`nice`); whether the system did.
pub fn be_nice(level: i32) -> bool {
    // SAFETY: no pointer; process id 0 is the calling thread on Linux.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, level) == 0 }
}

/// One datagram of a batch.
#[derive(Debug)]
pub struct Received<'a> {
    /// Its bytes.
    pub bytes: &'a mut [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// When the kernel took it, Unix nanoseconds.
    pub at: i64,
}

#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Buffers of one thread, for all its sockets.
pub struct Batch {
    size: usize,
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `vectors` and `messages` point into the vectors beside them,
// and are written anew before each use.
unsafe impl Send for Batch {}

impl Batch {
    /// Room for messages of either kind.
    pub fn new(offload: bool) -> Self {
        let (count, size) = if offload {
            (OFFLOAD_BATCH, MESSAGE)
        } else {
            (BATCH, DATAGRAM)
        };
        // SAFETY: all-zero bytes are valid values of these plain C structures.
        let zero = || unsafe { MaybeUninit::zeroed().assume_init() };
        let message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        Self {
            size,
            bytes: vec![0; count * size],
            names: vec![zero(); count],
            controls: (0..count).map(|_| Control([0; CONTROL])).collect(),
            vectors: vec![
                libc::iovec {
                    iov_base: ptr::null_mut(),
                    iov_len: 0
                };
                count
            ],
            messages: vec![message; count],
        }
    }

    /// Take what waits and give each datagram to `take`; whether more may wait.
    pub fn receive(&mut self, socket: &Socket, mut take: impl FnMut(Received<'_>)) -> bool {
        let count = self.messages.len();
        for i in 0..count {
            let start = i * self.size;
            let room = &mut self.bytes[start..start + self.size];
            self.vectors[i] = libc::iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: room.len(),
            };
            let header = &mut self.messages[i].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = ptr::from_mut(&mut self.vectors[i]);
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
        }
        // SAFETY: every header points at live buffers of the lengths given, above.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let got = usize::try_from(got).unwrap_or(0);
        for i in 0..got {
            let (at, segment) = control(&self.messages[i].msg_hdr);
            let Some(from) = address(&self.names[i]) else {
                continue;
            };
            let len = (self.messages[i].msg_len as usize).min(self.size);
            let start = i * self.size;
            let message = &mut self.bytes[start..start + len];
            let segment = segment.filter(|s| *s > 0).unwrap_or(len.max(1));
            for bytes in message.chunks_mut(segment) {
                take(Received { bytes, from, at });
            }
        }
        got == count
    }
}

/// Arrival in Unix nanoseconds, and the size of segments that were joined.
fn control(header: &libc::msghdr) -> (i64, Option<usize>) {
    let (mut at, mut segment) = (0, None);
    // SAFETY: the kernel filled the control buffer and set its length; CMSG_* walk inside it,
    // and values are read unaligned with the type their level and type say.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(this) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (this.cmsg_level, this.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time: libc::timespec = ptr::read_unaligned(data.cast());
                    at = time.tv_sec * 1_000_000_000 + time.tv_nsec;
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size: libc::c_int = ptr::read_unaligned(data.cast());
                    segment = usize::try_from(size).ok();
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    if at == 0 {
        at = crate::clock::unix_nanos();
    }
    (at, segment)
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure the storage holds.
            let v4: &libc::sockaddr_in = unsafe { &*ptr::from_ref(storage).cast() };
            let ip = u32::from_be(v4.sin_addr.s_addr);
            Some(SocketAddrV4::new(ip.into(), u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6: &libc::sockaddr_in6 = unsafe { &*ptr::from_ref(storage).cast() };
            let port = u16::from_be(v6.sin6_port);
            let ip = v6.sin6_addr.s6_addr.into();
            Some(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};

    #[test]
    fn datagrams_come_with_sender_and_time() {
        for offload in [false, true] {
            let socket = Socket::bind(Ipv4Addr::LOCALHOST.into(), offload).unwrap();
            let sender = Socket::bind(Ipv4Addr::LOCALHOST.into(), false).unwrap();
            let before = crate::clock::unix_nanos();
            for n in 0..3u8 {
                sender.send(socket.local_addr().unwrap(), &[n; 40]);
            }
            let mut batch = Batch::new(offload);
            let mut got = Vec::new();
            let end = Instant::now() + Duration::from_secs(5);
            while got.len() < 3 && Instant::now() < end {
                batch.receive(&socket, |r| got.push((r.bytes.to_vec(), r.from, r.at)));
            }
            let first: Vec<u8> = got.iter().map(|g| g.0[0]).collect();
            assert_eq!(first, [0, 1, 2]);
            let from = sender.local_addr().unwrap();
            let recent = |at: i64| at >= before - 1_000_000 && at < before + 5_000_000_000;
            assert!(got.iter().all(|g| g.1 == from && recent(g.2)));
        }
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        let to = (Ipv4Addr::LOCALHOST, 9).into();
        assert!(route(to).unwrap().is_loopback());
    }
}
