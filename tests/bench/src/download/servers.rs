//! Source and S3 of a download, in a process of their own. The source generates bytes and S3 discards them, to
//! leave the machine's CPU to the client.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::http::response::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use super::certificate;
use crate::error::BenchError;

/// Bytes that the source sends at once.
const BLOCK_SIZE: usize = 256 * 1024;

/// Content of the file, repeated.
static BLOCK: [u8; BLOCK_SIZE] = pseudorandom_block();

/// Length of the end of a body in which S3 expects a trailer.
const MAX_TRAILER_SIZE: usize = 512;

/// Bytes of files that the source has sent.
static SENT_BYTES: AtomicU64 = AtomicU64::new(0);

/// The parts of the latest multipart upload: size and CRC-64/NVME by number.
static PARTS: Mutex<BTreeMap<u32, (u64, String)>> = Mutex::new(BTreeMap::new());

/// URLs of the servers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) source: String,
    pub(crate) s3: String,
}

type ServerResponse = Response<BoxBody<Bytes, Infallible>>;

/// Prints the addresses and serves until the process is killed. With the folder of a certificate it uses TLS.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn serve(certificate: Option<&Path>) -> Result<(), BenchError> {
    let acceptor = certificate
        .map(certificate::server_config)
        .transpose()?
        .map(|config| TlsAcceptor::from(Arc::new(config)));
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let source = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let s3 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addresses = Addresses {
        source: format!("{scheme}://{}", source.local_addr()?),
        s3: format!("{scheme}://{}", s3.local_addr()?),
    };
    println!("{}", serde_json::to_string(&addresses)?);
    let source = tokio::spawn(accept(source, acceptor.clone(), handle_source));
    let s3 = tokio::spawn(accept(s3, acceptor, handle_s3));
    let _ = tokio::join!(source, s3);
    Ok(())
}

async fn accept<F, R>(listener: TcpListener, acceptor: Option<TlsAcceptor>, handler: F)
where
    F: Fn(Request<Incoming>) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = ServerResponse> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => serve_connection(stream, handler).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve_connection(stream, handler).await;
                    }
                }
            }
        });
    }
}

async fn serve_connection<S, F, R>(stream: S, handler: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = ServerResponse> + Send + 'static,
{
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(handler(request).await) });
    // The client reports a broken connection itself.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// `GET /<size>/<bytes per second and connection, 0 for unlimited>`, with or without `Range`, and `GET /sent`.
async fn handle_source(request: Request<Incoming>) -> ServerResponse {
    if request.uri().path() == "/sent" {
        let sent = SENT_BYTES.load(Ordering::Relaxed).to_string();
        return with_body(Response::builder(), Full::from(sent));
    }
    let numbers: Vec<u64> =
        request.uri().path().split('/').filter_map(|part| part.parse().ok()).collect();
    let [size, rate] = numbers[..] else {
        return empty(StatusCode::NOT_FOUND);
    };
    let range = request.headers().get("range").and_then(|range| {
        let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let first: u64 = first.parse().ok()?;
        let last: u64 = last.parse().unwrap_or(u64::MAX);
        (first < size).then_some((first, last.min(size - 1)))
    });
    let response = Response::builder()
        .header("content-type", "video/mp4")
        .header("etag", "\"synthetic\"")
        .header("accept-ranges", "bytes");
    match range {
        None => with_body(response, FileBody::new(size, rate, true)),
        Some((first, last)) => with_body(
            response
                .status(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes {first}-{last}/{size}")),
            FileBody::new(last - first + 1, rate, first == 0),
        ),
    }
}

/// The S3 requests of an upload. Request bodies are read and discarded.
async fn handle_s3(request: Request<Incoming>) -> ServerResponse {
    let (head, mut body) = request.into_parts();
    let mut end: Vec<u8> = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return empty(StatusCode::BAD_REQUEST);
        };
        if let Ok(data) = frame.into_data() {
            length += data.len() as u64;
            end.extend_from_slice(&data[data.len().saturating_sub(MAX_TRAILER_SIZE)..]);
            end.drain(..end.len().saturating_sub(MAX_TRAILER_SIZE));
        }
    }
    // A checksum is in a header, or in the trailer at the end of an `aws-chunked` body.
    let is_checksum = |name: &str| name.starts_with("x-amz-checksum-");
    let mut checksums: Vec<(String, String)> = head
        .headers
        .iter()
        .filter(|(name, _)| is_checksum(name.as_str()))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    for line in String::from_utf8_lossy(&end).lines() {
        if let Some((name, value)) = line.trim().split_once(':')
            && is_checksum(name)
        {
            checksums.push((name.to_owned(), value.to_owned()));
        }
    }
    let query = head.uri.query().unwrap_or_default();
    let parameter = |name: &str| {
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let checksum = checksums.iter().find(|(name, _)| name == "x-amz-checksum-crc64nvme");
    let checksum = checksum.map(|(_, value)| value.as_str());
    let mut parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    match head.method {
        Method::POST if parameter("uploads").is_some() => {
            parts.clear();
            with_body(
                Response::builder(),
                Full::from(
                    "<InitiateMultipartUploadResult><Bucket>bench</Bucket><Key>k</Key>\
                     <UploadId>one</UploadId></InitiateMultipartUploadResult>",
                ),
            )
        }
        Method::GET => {
            let parts = parts.iter().map(|(number, (size, checksum))| {
                format!(
                    "<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>\"synthetic\"</ETag>\
                     <ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME></Part>"
                )
            });
            let parts = parts.collect::<String>();
            let list = format!(
                "<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>"
            );
            with_body(Response::builder(), Full::from(list))
        }
        Method::POST => {
            let stored: u64 = parts.values().map(|(size, _)| size).sum();
            let expected = head.headers.get("x-amz-mp-object-size");
            if expected.is_some_and(|size| size.as_bytes() != stored.to_string().as_bytes()) {
                return empty(StatusCode::BAD_REQUEST);
            }
            let checksum = checksum.map(|value| {
                format!(
                    "<ChecksumCRC64NVME>{value}</ChecksumCRC64NVME>\
                     <ChecksumType>FULL_OBJECT</ChecksumType>"
                )
            });
            let result = format!(
                "<CompleteMultipartUploadResult><Bucket>bench</Bucket><Key>k</Key>\
                 <ETag>\"synthetic\"</ETag>{}</CompleteMultipartUploadResult>",
                checksum.unwrap_or_default()
            );
            with_body(Response::builder(), Full::from(result))
        }
        Method::PUT => {
            let sent = head.headers.get("x-amz-decoded-content-length");
            let sent = sent.and_then(|size| size.to_str().ok()?.parse().ok()).unwrap_or(length);
            if let (Some(number), Some(checksum)) = (parameter("partNumber"), checksum)
                && let Ok(number) = number.parse()
            {
                parts.insert(number, (sent, checksum.to_owned()));
            }
            let mut response = Response::builder().header("etag", "\"synthetic\"");
            for (name, value) in &checksums {
                if name != "x-amz-checksum-type" && name != "x-amz-checksum-algorithm" {
                    response = response.header(name, value);
                }
            }
            with_body(response, Empty::new())
        }
        Method::DELETE => empty(StatusCode::NO_CONTENT),
        _ => empty(StatusCode::NOT_FOUND),
    }
}

fn empty(status: StatusCode) -> ServerResponse {
    with_body(Response::builder().status(status), Empty::new())
}

fn with_body<B>(response: Builder, body: B) -> ServerResponse
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
{
    // Building fails only with an invalid header, which the client would report as a missing checksum.
    response.body(body.boxed()).unwrap_or_default()
}

/// Pseudorandom bytes of a linear congruential generator, so that no layer can compress them.
const fn pseudorandom_block() -> [u8; BLOCK_SIZE] {
    let mut block = [0u8; BLOCK_SIZE];
    let mut index = 0;
    let mut state = 1u32;
    while index < BLOCK_SIZE {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        block[index] = (state >> 24) as u8;
        index += 1;
    }
    block
}

/// A synthetic file, or a range of it.
struct FileBody {
    remaining: u64,
    sent: u64,
    /// Bytes per second; 0 for unlimited.
    rate: u64,
    started: Instant,
    signature: Option<Bytes>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl FileBody {
    /// At the start of the file the body has the signature of an MP4.
    fn new(length: u64, rate: u64, is_start: bool) -> Self {
        let signature =
            (is_start && length >= 16).then(|| Bytes::from_static(b"\0\0\0\x10ftypisom\0\0\0\0"));
        Self { remaining: length, sent: 0, rate, started: Instant::now(), signature, timer: None }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        // A throttled connection sends small blocks for an even rate.
        let mut max_length = BLOCK_SIZE;
        if self.rate > 0 {
            max_length /= 4;
            let elapsed = Duration::from_secs_f64(self.sent as f64 / self.rate as f64);
            let deadline = self.started + elapsed;
            let timer =
                self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        let data = self.signature.take().unwrap_or_else(|| {
            let length = usize::try_from(self.remaining).unwrap_or(max_length).min(max_length);
            Bytes::from_static(&BLOCK[..length])
        });
        self.remaining -= data.len() as u64;
        self.sent += data.len() as u64;
        SENT_BYTES.fetch_add(data.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
