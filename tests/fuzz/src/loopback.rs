//! HTTP server on the loopback interface, for parsers that are only reachable through an HTTP client.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

pub(crate) type Received = Request<Bytes>;
pub(crate) type Reply = Response<Bytes>;

/// Creates a response without headers.
pub(crate) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    let mut reply = Response::new(Bytes::from(body.into()));
    *reply.status_mut() = status.try_into().unwrap();
    reply
}

/// Adds a header if HTTP can carry its value.
pub(crate) fn add_header(reply: &mut Reply, name: &'static str, value: &[u8]) {
    let value = value.trim_ascii();
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(value)
    {
        let name = HeaderName::from_static(name);
        reply.headers_mut().append(name, value);
    }
}

/// Starts a server that runs until the process ends; returns its port.
pub(crate) fn serve(respond: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let respond = Arc::new(respond);
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let respond = Arc::clone(&respond);
                let service = service_fn(move |request: Request<Incoming>| {
                    let respond = Arc::clone(&respond);
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.map(|body| body.to_bytes());
                        let request = Request::from_parts(parts, body.unwrap_or_default());
                        Ok::<_, Infallible>(respond(&request).map(Full::new))
                    }
                });
                let server = http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    port
}
