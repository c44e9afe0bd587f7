//! HTTP service of S3: s3s with fault injection and call counts.
//!
//! Only s3s knows the operation of a request, after routing. It then calls the access check, which counts the
//! call and injects the fault.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use reelay_clock::Clock;
use s3s::{
    Body, HttpError, S3Error, S3ErrorCode, S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    config::{S3Config, StaticConfigProvider},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

use super::{signing_time, store::Store};
use crate::{
    faults::{Effect, Fault, Faults, Service},
    server::{ConnectionClosed, Handler},
};

/// Bytes of a rejected body that are read, so that the client gets the response and not a broken pipe.
const MAX_DRAIN_BYTES: u64 = 256 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct S3HttpService {
    service: S3Service,
    clock: Clock,
}

impl S3HttpService {
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        faults: Faults,
        access_key_id: &str,
        secret: &str,
    ) -> Self {
        let mut builder = S3ServiceBuilder::new(store);
        // s3s knows the system's time alone. `signing_time` checks the times instead.
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(SimpleAuth::from_single(access_key_id, secret));
        builder.set_access(FaultInjection { faults });
        Self { service: builder.build(), clock }
    }
}

/// The injected fault of one request, set by [`FaultInjection`] through the request's extensions.
#[derive(Clone, Default)]
struct InjectedFault(Arc<OnceLock<Fault>>);

struct FaultInjection {
    faults: Faults,
}

#[async_trait]
impl S3Access for FaultInjection {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let operation = context.s3_op().name().to_owned();
        let Some(fault) = self.faults.admit(Service::S3, &operation) else {
            return Ok(());
        };
        let after_effect = fault.after_effect;
        if let Some(injected) = context.extensions_mut().get::<InjectedFault>() {
            // s3s checks each request once.
            let _ = injected.0.set(fault);
        }
        if after_effect {
            Ok(())
        } else {
            // Stops s3s. `handle` replaces the error.
            Err(s3_error!(InternalError))
        }
    }
}

impl Handler for S3HttpService {
    type Body = Body;

    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, ConnectionClosed> {
        let (mut parts, body) = request.into_parts();
        let fault = InjectedFault::default();
        parts.extensions.insert(fault.clone());
        let body = SharedBody(Arc::new(Mutex::new(body)));
        if let Err(error) = signing_time::check(&parts, &self.clock) {
            body.drain().await;
            return rejected(error);
        }
        let request = Request::from_parts(parts, Body::http_body(body.clone()));
        let response = self.service.call(request).await;
        body.drain().await;
        match fault.0.get() {
            Some(fault) => injected(&fault.effect).await,
            None => response.map_err(|error| failed(&error)),
        }
    }
}

fn failed(error: &HttpError) -> ConnectionClosed {
    tracing::error!(?error, "S3 engine failed");
    ConnectionClosed
}

async fn injected(effect: &Effect) -> Result<Response<Body>, ConnectionClosed> {
    match effect {
        // `Faults` admits no conflict of transactions here.
        Effect::CloseConnection | Effect::TransactionConflict { .. } => Err(ConnectionClosed),
        // hyper drops this future when the client closes the connection.
        Effect::Hang => std::future::pending().await,
        Effect::Error { status, code, message } => {
            let code =
                S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
            let mut error = S3Error::with_message(code, message.clone());
            let status = StatusCode::from_u16(*status);
            error.set_status_code(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            rejected(error)
        }
    }
}

fn rejected(error: S3Error) -> Result<Response<Body>, ConnectionClosed> {
    error.to_http_response().map_err(|error| {
        tracing::error!(%error, "S3 error not serialized");
        ConnectionClosed
    })
}

/// A request body that can be drained after s3s has dropped it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Incoming>>);

impl SharedBody {
    fn with<T>(&self, read: impl FnOnce(Pin<&mut Incoming>) -> T) -> T {
        read(Pin::new(&mut *self.0.lock()))
    }

    async fn drain(&self) {
        if self.with(|body| body.is_end_stream()) {
            return;
        }
        let drain = async {
            let mut read = 0;
            while let Some(Ok(frame)) = poll_fn(|cx| self.with(|body| body.poll_frame(cx))).await {
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > MAX_DRAIN_BYTES {
                    break;
                }
            }
        };
        // A client that stops sending is disconnected.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain).await;
    }
}

impl hyper::body::Body for SharedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.with(|body| body.poll_frame(cx)).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}
