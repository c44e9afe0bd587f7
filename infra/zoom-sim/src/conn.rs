//! Connections that a handler can close or reset.
//!
//! An HTTP framework always sends a response. To lose one, a handler sets the state of its connection, in
//! which the next write or flush fails.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const OPEN: u8 = 0;
const CLOSE: u8 = 1;
const CLOSE_ONCE_SENT: u8 = 2;
const RESET_ONCE_SENT: u8 = 3;

/// The state of one connection, shared with its handlers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conn(Arc<AtomicU8>);

impl Conn {
    /// Closes it before the next byte is written.
    pub(crate) fn close(&self) {
        self.0.store(CLOSE, Ordering::Relaxed);
    }

    /// Closes it as soon as the kernel has everything that was written.
    pub(crate) fn close_once_sent(&self) {
        self.0.store(CLOSE_ONCE_SENT, Ordering::Relaxed);
    }

    /// Resets it as soon as the kernel has everything that was written.
    pub(crate) fn reset_once_sent(&self) {
        self.0.store(RESET_ONCE_SENT, Ordering::Relaxed);
    }
}

pub(crate) struct FaultListener(pub(crate) TcpListener);

impl Listener for FaultListener {
    type Io = FaultStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultStream, SocketAddr) {
        // axum's implementation logs and retries failed accepts.
        let (stream, addr) = <TcpListener as Listener>::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        (FaultStream { stream, conn: Conn::default() }, addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, FaultListener>> for Conn {
    fn connect_info(stream: IncomingStream<'_, FaultListener>) -> Self {
        stream.io().conn.clone()
    }
}

pub(crate) struct FaultStream {
    stream: TcpStream,
    conn: Conn,
}

impl FaultStream {
    /// hyper flushes its stream only when its own buffer is empty.
    fn check_flush(&self) -> io::Result<()> {
        match self.conn.0.load(Ordering::Relaxed) {
            OPEN => Ok(()),
            RESET_ONCE_SENT => {
                self.stream.set_zero_linger()?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl AsyncRead for FaultStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FaultStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.conn.0.load(Ordering::Relaxed) == CLOSE {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_flush()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
