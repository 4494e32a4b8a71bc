//! A connection as the kernel has it, under TLS or not.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection that a player speaks HTTP/1.1 on.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// The socket.
    fn tcp(&self) -> &TcpStream;

    /// The next questions will be answered at once: what is received is acknowledged by the answers.
    ///
    /// The kernel finds that out by itself, but forgets it whenever an answer takes longer than its
    /// patience, as each one does that waits for a part. It then sends a packet for each question.
    fn expect_questions(&self) {
        // It is none of its duties: without, it costs a packet more.
        let _ = self.tcp().set_quickack(false);
    }
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}
