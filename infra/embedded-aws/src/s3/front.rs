//! S3's port: s3s, with faults in front and a count of calls.
//!
//! Which operation a request means is known only to s3s, after routing. It asks for access then, and that
//! is where a call is counted and an injected fault takes hold.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use s3s::{
    Body, HttpError, S3Error, S3ErrorCode, S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

use super::Store;
use crate::{
    faults::{Fault, Faults, Reply, Service},
    server::{Answer, ConnectionCut},
};

/// How much of a refused body is read, so that the client sees the refusal and not a broken pipe.
const DRAIN_BYTES: u64 = 256 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct S3Front {
    service: S3Service,
}

impl S3Front {
    pub(crate) fn new(store: Store, faults: Faults, access_key_id: &str, secret: &str) -> Self {
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(access_key_id, secret));
        builder.set_access(Gate { faults });
        Self {
            service: builder.build(),
        }
    }
}

/// What is to become of one call; filled by [`Gate`], which sees the request's extensions only.
#[derive(Clone, Default)]
struct Fate(Arc<OnceLock<Fault>>);

struct Gate {
    faults: Faults,
}

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let operation = context.s3_op().name().to_owned();
        let Some(fault) = self.faults.admit(Service::S3, &operation) else {
            return Ok(());
        };
        let refused = !fault.after_effect;
        if let Some(fate) = context.extensions_mut().get::<Fate>() {
            // A call is asked about once.
            let _ = fate.0.set(fault);
        }
        // Any error stops s3s here; `answer` replaces it.
        if refused {
            Err(s3_error!(InternalError))
        } else {
            Ok(())
        }
    }
}

impl Answer for S3Front {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, ConnectionCut> {
        let (mut parts, body) = request.into_parts();
        let fate = Fate::default();
        parts.extensions.insert(fate.clone());
        let body = SharedBody(Arc::new(Mutex::new(body)));
        let request = Request::from_parts(parts, Body::http_body(body.clone()));
        let response = self.service.call(request).await;
        let response = match fate.0.get() {
            Some(fault) => injected(&fault.reply),
            None => response.map_err(|error| broken(&error)),
        };
        body.drain().await;
        response
    }
}

fn broken(error: &HttpError) -> ConnectionCut {
    tracing::error!(?error, "S3 engine failed");
    ConnectionCut
}

fn injected(reply: &Reply) -> Result<Response<Body>, ConnectionCut> {
    match reply {
        Reply::ConnectionCut => Err(ConnectionCut),
        Reply::Error {
            status,
            code,
            message,
        } => {
            let code =
                S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
            let mut error = S3Error::with_message(code, message.clone());
            let status = StatusCode::from_u16(*status);
            error.set_status_code(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            error.to_http_response().map_err(|error| {
                tracing::error!(%error, "fault cannot be told");
                ConnectionCut
            })
        }
    }
}

/// A request body that can still be read after s3s has lost interest in it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Incoming>>);

impl SharedBody {
    fn with<T>(&self, read: impl FnOnce(Pin<&mut Incoming>) -> T) -> T {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        read(Pin::new(&mut body))
    }

    async fn drain(&self) {
        if self.with(|body| body.is_end_stream()) {
            return;
        }
        let drain = async {
            let mut read = 0;
            while let Some(Ok(frame)) = poll_fn(|cx| self.with(|body| body.poll_frame(cx))).await {
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > DRAIN_BYTES {
                    break;
                }
            }
        };
        // A client that sends no more is cut off; there is nobody to tell.
        let _ = tokio::time::timeout(DRAIN_TIME, drain).await;
    }
}

impl hyper::body::Body for SharedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.with(|body| body.poll_frame(cx))
            .map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}
