//! Connections that a handler can cut.
//!
//! HTTP frameworks always answer; a Zoom that goes away does not. So each connection carries a switch
//! that handlers can reach: once it is thrown, the next write fails and the connection is gone.

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

/// The switch of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conn(Arc<AtomicU8>);

impl Conn {
    /// Closes it before another byte is written.
    pub(crate) fn close(&self) {
        self.0.store(CLOSE, Ordering::Relaxed);
    }

    /// Closes it as soon as all that is written has been handed to the system.
    pub(crate) fn close_once_sent(&self) {
        self.0.store(CLOSE_ONCE_SENT, Ordering::Relaxed);
    }

    /// The same, with a TCP reset.
    pub(crate) fn reset_once_sent(&self) {
        self.0.store(RESET_ONCE_SENT, Ordering::Relaxed);
    }
}

pub(crate) struct CutListener(pub(crate) TcpListener);

impl Listener for CutListener {
    type Io = CutStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CutStream, SocketAddr) {
        // axum's own implementation logs and retries failed accepts.
        let (stream, addr) = <TcpListener as Listener>::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
        (
            CutStream {
                stream,
                conn: Conn::default(),
            },
            addr,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, CutListener>> for Conn {
    fn connect_info(stream: IncomingStream<'_, CutListener>) -> Self {
        stream.io().conn.clone()
    }
}

pub(crate) struct CutStream {
    stream: TcpStream,
    conn: Conn,
}

impl CutStream {
    fn check_write(&self) -> io::Result<()> {
        match self.conn.0.load(Ordering::Relaxed) {
            CLOSE => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Ok(()),
        }
    }

    /// hyper flushes its stream only when its own buffer is empty, so here everything has been sent.
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

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_write()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_write()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_flush()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
