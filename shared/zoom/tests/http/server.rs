//! Test servers: wiremock for HTTP; raw TCP for cut bodies, resets, stalls and invalid HTTP, which
//! wiremock cannot produce.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Starts a server with one responder for every request.
pub(crate) async fn serve(responder: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(responder).mount(&server).await;
    server
}

pub(crate) fn response(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> ResponseTemplate {
    let template = ResponseTemplate::new(status).set_body_bytes(body);
    headers.iter().fold(template, |template, (name, value)| template.append_header(*name, *value))
}

pub(crate) async fn received(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

pub(crate) async fn only_request(server: &MockServer) -> Request {
    let mut requests = received(server).await;
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Path and query of a request.
pub(crate) fn target(request: &Request) -> &str {
    &request.url[url::Position::BeforePath..]
}

pub(crate) fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    Some(request.headers.get(name)?.to_str().unwrap())
}

/// What a raw server does after its response bytes.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Close,
    Reset,
    /// Keeps the connection open without sending.
    Stall,
}

/// Starts a server that reads one request per connection and writes `bytes`. Returns the base URL.
pub(crate) async fn serve_raw(bytes: &[u8], end: End) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let bytes = bytes.to_vec();
    tokio::spawn(async move {
        let mut stalled = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let mut read = 0;
            // A TLS ClientHello (0x16) has no blank line; its first bytes suffice.
            while request[0] != 0x16 && !request[..read].windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut request[read..]).await {
                    Ok(n) if n > 0 => read += n,
                    _ => break,
                }
            }
            stream.write_all(&bytes).await.unwrap();
            match end {
                End::Close => {}
                End::Reset => stream.set_zero_linger().unwrap(),
                End::Stall => stalled.push(stream),
            }
        }
    });
    base
}

/// The same with an https URL, for a server that does not speak TLS.
pub(crate) async fn serve_raw_as_https(bytes: &[u8], end: End) -> String {
    serve_raw(bytes, end).await.replace("http:", "https:")
}

/// Returns the base URL of a port without a listener.
pub(crate) fn closed_port() -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", socket.local_addr().unwrap());
    // Bound until the process ends, so that no other test's server gets the port.
    std::mem::forget(socket);
    base
}

/// A listener that fails the test if a client connects to it.
pub(crate) struct UntouchedPort(std::net::TcpListener);

impl UntouchedPort {
    pub(crate) fn open() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        let error = self.0.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}
