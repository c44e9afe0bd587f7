//! Fake HTTP servers.

use std::fmt;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// A server on loopback. It stops when it is dropped.
pub(crate) struct Fake {
    url: String,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    /// Starts a server that passes headers and body of each request to `respond`.
    pub(crate) async fn with<F>(respond: F) -> Self
    where
        F: Fn(&HeaderMap, &[u8]) -> (u16, &'static str, String) + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let (status, content_type, text) = respond(&headers, &body);
            async move {
                let status = StatusCode::from_u16(status).unwrap();
                (status, [(header::CONTENT_TYPE, content_type)], text).into_response()
            }
        });
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, serving }
    }

    /// Starts a server that always sends the same response.
    pub(crate) async fn responding(status: u16, body: Value) -> Self {
        Self::with(move |_, _| (status, "application/json", body.to_string())).await
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Reserves a port that refuses connections.
    pub(crate) fn closed() -> Closed {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Closed(socket)
    }
}

/// A bound port without a listener.
pub(crate) struct Closed(TcpSocket);

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0.local_addr().unwrap())
    }
}
