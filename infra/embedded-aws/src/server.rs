//! The HTTP server below both fronts: loopback, HTTP/1.1, and a shutdown that ends.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How long requests under way may take to end at shutdown. A long poll lasts 20 s, which nobody wants
/// to wait for.
const DRAIN: Duration = Duration::from_secs(1);

/// Told to hyper when a call is to get no answer: hyper then closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(crate) struct ConnectionCut;

/// What answers requests. Its clones are cheap.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    type Body: http_body_util::BodyExt<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, ConnectionCut>> + Send;
}

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A port of this machine that the system chose.
pub(crate) async fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until `stop` becomes true; the task ends when all connections have.
pub(crate) fn serve(
    listener: TcpListener,
    answer: impl Answer,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, answer.clone(), stop.clone()));
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: wait for some to come back.
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let drained = tokio::time::timeout(DRAIN, async {
            while connections.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            connections.shutdown().await;
        }
    })
}

async fn serve_connection(stream: TcpStream, answer: impl Answer, mut stop: watch::Receiver<bool>) {
    // Without this a small answer waits up to 40 ms for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY refused");
    }
    let service = hyper::service::service_fn(move |request| {
        let answer = answer.clone();
        async move { answer.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Ends when the server is to stop, which it is as well when its owner is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard that is returned must not live over another await.
    let _ = stop.wait_for(|stop| *stop).await;
}
