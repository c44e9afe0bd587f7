//! HTTP/1.1 server on loopback with a bounded shutdown.

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

/// Time that running requests have to end at shutdown. A long poll of 20 s is cut off.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes hyper close the connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("connection closed on purpose")]
pub(crate) struct ConnectionClosed;

/// Handler of requests with cheap clones.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    type Body: http_body_util::BodyExt<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    fn handle(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, ConnectionClosed>> + Send;
}

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Binds a free port of 127.0.0.1.
pub(crate) async fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until `stop` becomes true; the task ends after the last connection.
pub(crate) fn serve(
    listener: TcpListener,
    handler: impl Handler,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, handler.clone(), stop.clone()));
                    }
                    Err(error) => {
                        // Most likely out of file descriptors: retry after a pause.
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
            while connections.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            connections.shutdown().await;
        }
    })
}

async fn serve_connection(
    stream: TcpStream,
    handler: impl Handler,
    mut stop: watch::Receiver<bool>,
) {
    // Otherwise a small response waits up to 40 ms for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let service = hyper::service::service_fn(move |request| {
        let handler = handler.clone();
        async move { handler.handle(request).await }
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

/// Completes when `stop` becomes true or its sender is dropped.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The returned guard must not be held across an await.
    let _ = stop.wait_for(|stop| *stop).await;
}
