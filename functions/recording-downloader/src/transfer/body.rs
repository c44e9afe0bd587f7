//! Bytes on their way from Zoom to S3: watched, counted, summed, never gathered.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::{Buf as _, Bytes, BytesMut};
use crc_fast::Digest;
use http_body::{Body, Frame, SizeHint};
use reelay_zoom::{ByteRange, DownloadBody, DownloadError, NetworkError};
use tokio::time::Sleep;

use super::pace::{StallRule, StallWatch, Waiting};
use super::proof;
use super::source::{Answer, Identity, Mismatch, Way};

/// Why a body did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection.
    #[error(transparent)]
    Network(NetworkError),
    /// Too few bytes in too long a time.
    #[error("the body stalled")]
    Stalled,
    /// It ended early.
    #[error("the body is shorter than announced")]
    Short,
    /// It went on.
    #[error("the body is longer than announced")]
    Long,
}

/// A response body whose source is given up when it stalls.
pub(crate) struct WatchedBody {
    body: DownloadBody,
    peeked: Bytes,
    watch: StallWatch,
    timer: Option<Pin<Box<Sleep>>>,
}

impl WatchedBody {
    pub(crate) fn new(body: DownloadBody, stall: StallRule) -> Self {
        Self {
            body,
            peeked: Bytes::new(),
            watch: StallWatch::new(stall),
            timer: None,
        }
    }

    /// The first bytes, [`proof::HEAD`] of them unless the body is shorter. They stay in the body.
    pub(crate) async fn peek(&mut self) -> Result<&[u8], BodyError> {
        let mut head = BytesMut::new();
        while head.len() < proof::HEAD
            && let Some(chunk) = self.chunk().await?
        {
            // As a rule the first chunk is enough, and is taken as it is.
            if head.is_empty() && chunk.len() >= proof::HEAD {
                self.peeked = chunk;
                return Ok(&self.peeked);
            }
            head.extend_from_slice(&chunk);
        }
        self.peeked = head.freeze();
        Ok(&self.peeked)
    }

    /// What was peeked at.
    pub(crate) fn peeked(&self) -> &[u8] {
        &self.peeked
    }

    /// The next bytes, `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        if self.peeked.has_remaining() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.peeked))));
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(BodyError::Network(error)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing to us.
                    if let Ok(data) = frame.into_data() {
                        self.watch.arrived(Instant::now(), data.len() as u64);
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Pending => match self.watch.waiting(Instant::now()) {
                    Waiting::Stalled => return Poll::Ready(Err(BodyError::Stalled)),
                    Waiting::Until(then) => {
                        ready!(self.wait(then, cx));
                    }
                },
            }
        }
    }

    /// Wakes the task at `then`; ready if that is past.
    fn wait(&mut self, then: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let then = tokio::time::Instant::from_std(then);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(then)));
        if timer.deadline() != then {
            timer.as_mut().reset(then);
        }
        timer.as_mut().poll(cx)
    }
}

/// What became of a feed's latest body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fed {
    /// It is not at its end.
    Nothing,
    /// All went through; this is its CRC-64/NVME.
    Whole(u64),
    /// It will not come to its end.
    Broken(FeedError),
}

/// Why bytes did not come from Zoom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedError {
    Body(BodyError),
    Refused(DownloadError),
    Mismatch(Mismatch),
}

/// The bytes of one upload request: a range of the file, or all of it.
///
/// The SDK asks for a body again when S3 refused a request, and makes bodies that it never reads. So a
/// body opens nothing before it is read, the first that is read gets the answer that is open already, and
/// each later one asks Zoom afresh.
pub(crate) struct Feed {
    way: Arc<Way>,
    range: Option<ByteRange>,
    length: u64,
    /// What later answers must be; `None` for a whole file that is known by its length alone.
    expected: Option<Identity>,
    open: Mutex<Option<WatchedBody>>,
    fed: Mutex<Fed>,
}

impl Feed {
    /// The bytes of `answer`, which are `length`.
    pub(crate) fn new(
        way: &Arc<Way>,
        answer: Answer,
        range: Option<ByteRange>,
        length: u64,
        expected: Option<Identity>,
    ) -> Arc<Self> {
        Arc::new(Self {
            way: Arc::clone(way),
            range,
            length,
            expected,
            open: Mutex::new(Some(answer.body)),
            fed: Mutex::new(Fed::Nothing),
        })
    }

    /// A body for the SDK, which may make more of them.
    pub(crate) fn stream(self: &Arc<Self>) -> ByteStream {
        let feed = Arc::clone(self);
        ByteStream::new(SdkBody::retryable(move || {
            SdkBody::from_body_1_x(FeedBody {
                feed: Arc::clone(&feed),
                state: State::Unread,
                left: feed.length,
                sum: proof::digest(),
            })
        }))
    }

    /// What became of the body that was read last.
    pub(crate) fn fed(&self) -> Fed {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Fed> {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(self: Arc<Self>) -> Result<WatchedBody, FeedError> {
        let answer = self
            .way
            .ask(self.range)
            .await
            .map_err(|(_, error)| FeedError::Refused(error))?;
        match &self.expected {
            Some(expected) => expected.check(&answer).map_err(FeedError::Mismatch)?,
            None if answer.download.content_length != Some(self.length) => {
                return Err(FeedError::Mismatch(Mismatch::Changed));
            }
            None => {}
        }
        Ok(answer.body)
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<WatchedBody, FeedError>> + Send>>;

enum State {
    Unread,
    /// In a mutex that is never locked: it makes the body `Sync`, which the SDK wants.
    Opening(Mutex<Opening>),
    Reading(Box<WatchedBody>),
    Ended,
}

struct FeedBody {
    feed: Arc<Feed>,
    state: State,
    left: u64,
    sum: Digest,
}

/// The SDK shows no cause of a body's failure; the feed keeps it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the source of the upload broke off")]
struct BrokeOff;

impl FeedBody {
    fn fail(&mut self, error: FeedError) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        self.state = State::Ended;
        *self.feed.lock() = Fed::Broken(error);
        Poll::Ready(Some(Err(BrokeOff)))
    }

    fn finish(&mut self) {
        *self.feed.lock() = Fed::Whole(self.sum.finalize());
    }
}

impl Body for FeedBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Unread => {
                    *this.feed.lock() = Fed::Nothing;
                    let open = this.feed.open.lock();
                    let open = open.unwrap_or_else(PoisonError::into_inner).take();
                    this.state = match open {
                        Some(body) => State::Reading(Box::new(body)),
                        None => State::Opening(Mutex::new(Box::pin(Arc::clone(&this.feed).open()))),
                    };
                }
                State::Opening(opening) => {
                    let opening = opening.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match ready!(opening.as_mut().poll(cx)) {
                        Ok(body) => this.state = State::Reading(Box::new(body)),
                        Err(error) => return this.fail(error),
                    }
                }
                State::Reading(body) => match ready!(body.poll_chunk(cx)) {
                    Err(error) => return this.fail(FeedError::Body(error)),
                    Ok(None) if this.left > 0 => {
                        return this.fail(FeedError::Body(BodyError::Short));
                    }
                    Ok(None) => {
                        this.state = State::Ended;
                        this.finish();
                        return Poll::Ready(None);
                    }
                    Ok(Some(chunk)) => {
                        let length = chunk.len() as u64;
                        if length > this.left {
                            return this.fail(FeedError::Body(BodyError::Long));
                        }
                        this.sum.update(&chunk);
                        this.left -= length;
                        if this.left == 0 {
                            // The reader knows the length, and may not ask for the end.
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
        SizeHint::with_exact(self.left)
    }
}
