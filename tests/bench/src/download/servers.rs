//! The two sides of a download, in a process of their own: a source that makes bytes out of nothing, and
//! an S3 that keeps none. Both cost as little as they can, for they share the machine with who is measured.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;

/// Where the servers listen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// `https`, or `http`.
    pub(crate) source: String,
    /// `https`, or `http`.
    pub(crate) sink: String,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Serves until the process is ended; prints the addresses first.
///
/// # Errors
/// If no port can be had.
pub(crate) async fn serve(certificate: Option<Certificate>) -> std::io::Result<()> {
    let acceptor = certificate
        .map(|certificate| certificate.server())
        .transpose()
        .map_err(std::io::Error::other)?
        .map(|config| TlsAcceptor::from(Arc::new(config)));
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let source = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addresses = Addresses {
        source: format!("{scheme}://{}", source.local_addr()?),
        sink: format!("{scheme}://{}", sink.local_addr()?),
    };
    println!("{}", serde_json::to_string(&addresses)?);
    let source = tokio::spawn(accept(source, acceptor.clone(), give));
    let sink = tokio::spawn(accept(sink, acceptor, take));
    let _ = tokio::join!(source, sink);
    Ok(())
}

async fn accept<F, R>(listener: TcpListener, acceptor: Option<TlsAcceptor>, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => connection(stream, answer).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream, answer).await;
                    }
                }
            }
        });
    }
}

async fn connection<S, F, R>(stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(answer(request).await) });
    // A client that goes away in the middle is its own business.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// `GET /<size>/<bytes per second and connection, 0 = as fast as can be>`, with or without `Range`.
async fn give(request: Request<Incoming>) -> Answer {
    let numbers: Vec<u64> =
        request.uri().path().split('/').filter_map(|part| part.parse().ok()).collect();
    let [size, rate] = numbers[..] else {
        return status(StatusCode::NOT_FOUND);
    };
    let range = request.headers().get("range").and_then(|range| {
        let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let first: u64 = first.parse().ok()?;
        let last: u64 = last.parse().unwrap_or(u64::MAX);
        (first < size).then_some((first, last.min(size - 1)))
    });
    let answer = Response::builder()
        .header("content-type", "video/mp4")
        .header("etag", "\"synthetic\"")
        .header("accept-ranges", "bytes");
    let (answer, length) = match range {
        None => (answer, size),
        Some((first, last)) => (
            answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes {first}-{last}/{size}")),
            last - first + 1,
        ),
    };
    let from_start = range.is_none_or(|(first, _)| first == 0);
    built(answer.body(Blocks::new(length, rate, from_start).boxed()))
}

/// As much of S3 as an upload needs. What it is sent it reads to the end and forgets.
async fn take(request: Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let (head, mut body) = request.into_parts();
    // The checksum that came along: in a header, or in the trailer, which is the end of the body.
    let mut checksums: Vec<(String, String)> = head
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-amz-checksum-"))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let mut end: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return status(StatusCode::BAD_REQUEST);
        };
        if let Ok(data) = frame.into_data() {
            let last = &data[data.len().saturating_sub(512)..];
            end.extend_from_slice(last);
            let surplus = end.len().saturating_sub(512);
            end.drain(..surplus);
        }
    }
    for line in end.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        if let Some((name, value)) = line.trim().split_once(':')
            && name.starts_with("x-amz-checksum-")
        {
            checksums.push((name.to_owned(), value.to_owned()));
        }
    }
    let xml = |text: String| built(Response::builder().body(Full::from(text).boxed()));
    match head.method {
        Method::POST if has("uploads") => {
            xml("<InitiateMultipartUploadResult><Bucket>bench</Bucket><Key>k</Key>\
             <UploadId>one</UploadId></InitiateMultipartUploadResult>"
                .to_owned())
        }
        Method::POST => {
            let proven = checksums.iter().find(|(name, _)| name == "x-amz-checksum-crc64nvme").map(
                |(_, value)| {
                    format!(
                        "<ChecksumCRC64NVME>{value}</ChecksumCRC64NVME>\
                         <ChecksumType>FULL_OBJECT</ChecksumType>"
                    )
                },
            );
            xml(format!(
                "<CompleteMultipartUploadResult><Bucket>bench</Bucket><Key>k</Key>\
                 <ETag>\"synthetic\"</ETag>{}</CompleteMultipartUploadResult>",
                proven.unwrap_or_default()
            ))
        }
        Method::PUT => {
            let mut answer = Response::builder().header("etag", "\"synthetic\"");
            for (name, value) in &checksums {
                if name != "x-amz-checksum-type" && name != "x-amz-checksum-algorithm" {
                    answer = answer.header(name, value);
                }
            }
            built(answer.body(Empty::new().boxed()))
        }
        Method::DELETE => status(StatusCode::NO_CONTENT),
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn status(status: StatusCode) -> Answer {
    built(Response::builder().status(status).body(Empty::new().boxed()))
}

fn built(answer: Result<Answer, hyper::http::Error>) -> Answer {
    // All parts are of our own making.
    answer.unwrap_or_default()
}

/// How much goes out at once.
const BLOCK: usize = 256 * 1024;

/// The same block again and again, the first of a file with an MP4's beginning.
static REPEATED: [u8; BLOCK] = repeated();

const fn repeated() -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    let mut at = 0;
    let mut state = 1u32;
    while at < BLOCK {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        block[at] = (state >> 24) as u8;
        at += 1;
    }
    block
}

struct Blocks {
    left: u64,
    sent: u64,
    rate: u64,
    begun: Instant,
    beginning: Option<Bytes>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Blocks {
    fn new(length: u64, rate: u64, from_start: bool) -> Self {
        let beginning =
            (from_start && length >= 16).then(|| Bytes::from_static(b"\0\0\0\x10ftypisom\0\0\0\0"));
        Self { left: length, sent: 0, rate, begun: Instant::now(), beginning, pause: None }
    }
}

impl Body for Blocks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.rate > 0 {
            let due = Duration::from_secs_f64(self.sent as f64 / self.rate as f64);
            let at = self.begun + due;
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let data = match self.beginning.take() {
            Some(beginning) => beginning,
            None => {
                // A throttled connection sends in small steps, so that its pace is even.
                let most = if self.rate > 0 { BLOCK / 4 } else { BLOCK };
                let length = usize::try_from(self.left).unwrap_or(most).min(most);
                Bytes::from_static(&REPEATED[..length])
            }
        };
        self.left -= data.len() as u64;
        self.sent += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
