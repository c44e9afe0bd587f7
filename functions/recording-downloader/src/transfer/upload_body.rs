//! Request bodies for S3 that stream Zoom's response bodies without buffering them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use crc_fast::Digest;
use http_body::{Body, Frame, SizeHint};
use reelay_zoom::ByteRange;

use super::body::ResponseBody;
use super::checksum;
use super::error::TransferError;
use super::response::{FileVersion, Response};
use super::source::SourceResolver;

/// Body of one upload request: a range of the file, or all of it.
///
/// The SDK creates a new body for each retry, and creates some bodies that it never reads. The open response
/// therefore serves the first body that is actually read; each later one requests the range again.
pub(crate) struct UploadBody {
    source: Arc<SourceResolver>,
    range: Option<ByteRange>,
    length: u64,
    /// Version of the file that a repeated request must find; `None` if only the file's length is known.
    version: Option<FileVersion>,
    response: Mutex<Option<ResponseBody>>,
    result: Mutex<Option<Result<u64, TransferError>>>,
}

impl UploadBody {
    /// Creates the body from `response`, whose body has `length` bytes.
    pub(crate) fn new(
        source: &Arc<SourceResolver>,
        response: Response,
        range: Option<ByteRange>,
        length: u64,
        version: Option<FileVersion>,
    ) -> Arc<Self> {
        Arc::new(Self {
            source: Arc::clone(source),
            range,
            length,
            version,
            response: Mutex::new(Some(response.body)),
            result: Mutex::new(None),
        })
    }

    /// Length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Creates a body that the SDK can retry.
    pub(crate) fn stream(self: &Arc<Self>) -> ByteStream {
        let upload = Arc::clone(self);
        ByteStream::new(SdkBody::retryable(move || {
            SdkBody::from_body_1_x(SingleRead {
                upload: Arc::clone(&upload),
                state: State::Unread,
                remaining: upload.length,
                digest: checksum::digest(),
            })
        }))
    }

    /// Takes the result of the latest read: the CRC-64/NVME of all bytes, or the error that ended it. `None` if
    /// the body was not read to the end.
    pub(crate) fn take_result(&self) -> Option<Result<u64, TransferError>> {
        lock(&self.result).take()
    }

    async fn reopen(self: Arc<Self>) -> Result<ResponseBody, TransferError> {
        let response = match &self.version {
            Some(version) => self.source.open_version(self.range, version).await?,
            None => self.source.open(self.range).await?,
        };
        if self.version.is_none() && response.head.content_length != Some(self.length) {
            return Err(TransferError::SourceChanged);
        }
        Ok(response.body)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Reopening = Pin<Box<dyn Future<Output = Result<ResponseBody, TransferError>> + Send>>;

enum State {
    Unread,
    /// The mutex is never locked; it makes the future `Sync`, as the SDK requires.
    Opening(Mutex<Reopening>),
    Reading(Box<ResponseBody>),
    Ended,
}

/// One read of an [`UploadBody`].
struct SingleRead {
    upload: Arc<UploadBody>,
    state: State,
    remaining: u64,
    digest: Digest,
}

/// Reports to the SDK that the body failed. The SDK does not return the cause; [`UploadBody::take_result`] does.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("source of the upload failed")]
struct SourceFailed;

impl SingleRead {
    fn fail(&mut self, error: TransferError) -> Poll<Option<Result<Frame<Bytes>, SourceFailed>>> {
        self.state = State::Ended;
        *lock(&self.upload.result) = Some(Err(error));
        Poll::Ready(Some(Err(SourceFailed)))
    }

    fn finish(&mut self) {
        *lock(&self.upload.result) = Some(Ok(self.digest.finalize()));
    }
}

impl Body for SingleRead {
    type Data = Bytes;
    type Error = SourceFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceFailed>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Unread => {
                    *lock(&this.upload.result) = None;
                    let open = lock(&this.upload.response).take();
                    this.state = match open {
                        Some(body) => State::Reading(Box::new(body)),
                        None => {
                            let reopening = Arc::clone(&this.upload).reopen();
                            State::Opening(Mutex::new(Box::pin(reopening)))
                        }
                    };
                }
                State::Opening(reopening) => {
                    let reopening = reopening.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match ready!(reopening.as_mut().poll(cx)) {
                        Ok(body) => this.state = State::Reading(Box::new(body)),
                        Err(error) => return this.fail(error),
                    }
                }
                State::Reading(body) => match ready!(body.poll_chunk(cx)) {
                    Err(error) => return this.fail(error),
                    Ok(None) if this.remaining > 0 => {
                        return this.fail(TransferError::BodyTooShort);
                    }
                    Ok(None) => {
                        this.state = State::Ended;
                        this.finish();
                        return Poll::Ready(None);
                    }
                    Ok(Some(chunk)) => {
                        let length = chunk.len() as u64;
                        if length > this.remaining {
                            return this.fail(TransferError::BodyTooLong);
                        }
                        this.digest.update(&chunk);
                        this.remaining -= length;
                        if this.remaining == 0 {
                            // The SDK knows the length, so it might not poll again for the end.
                            this.finish();
                        }
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
