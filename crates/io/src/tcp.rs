//! Listening over TCP, with or without TLS: what RTMP and HLS have in common.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Listeners on all addresses, on one port, with so many connections waiting to be accepted; addresses of
/// a family that the machine lacks are left out. To be called on the network runtime.
pub fn bind(
    addresses: &[IpAddr],
    mut port: u16,
    backlog: i32,
) -> io::Result<(u16, Vec<TcpListener>)> {
    let mut listeners = Vec::new();
    for &address in addresses {
        match listener(SocketAddr::new(address, port), backlog) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if addresses.len() > 1 && lacks_family(address, &error) => {}
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no address to bind",
        ));
    }
    Ok((port, listeners))
}

/// No sockets of the family, or IPv6 switched off.
fn lacks_family(address: IpAddr, error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => true,
        Some(libc::EADDRNOTAVAIL) => address.is_ipv6(),
        _ => false,
    }
}

/// For IPv6 without IPv4, which has a listener of its own.
fn listener(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// TLS with a certificate chain and a key from PEM files; the error is for a person.
pub fn tls_config(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let shown = certificate.display();
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| format!("cannot read the certificate {shown}: {e}"))?;
    let key_der = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| format!("cannot read the key {}: {e}", key.display()))?;
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, key_der)
        })
        .map_err(|e| format!("the certificate {shown} cannot be used: {e}"))
}
