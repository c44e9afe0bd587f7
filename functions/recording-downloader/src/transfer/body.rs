//! Response bodies from Zoom, with stall detection.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body as _;
use reelay_zoom::DownloadBody;
use tokio::time::Sleep;

use super::content;
use super::error::TransferError;
use super::timing::{StallDetector, StallLimit};

/// A response body that fails with [`TransferError::Stalled`] when it is too slow.
pub(crate) struct ResponseBody {
    body: DownloadBody,
    peeked: Bytes,
    detector: StallDetector,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(crate) fn new(body: DownloadBody, stall: StallLimit) -> Self {
        Self { body, peeked: Bytes::new(), detector: StallDetector::new(stall), timer: None }
    }

    /// Reads the first bytes without consuming them: [`content::HEAD_LENGTH`], or fewer if the body is shorter.
    pub(crate) async fn peek(&mut self) -> Result<&[u8], TransferError> {
        let mut head = BytesMut::new();
        while head.len() < content::HEAD_LENGTH
            && let Some(chunk) = self.chunk().await?
        {
            // Usually the first chunk suffices and needs no copy.
            if head.is_empty() && chunk.len() >= content::HEAD_LENGTH {
                self.peeked = chunk;
                return Ok(&self.peeked);
            }
            head.extend_from_slice(&chunk);
        }
        self.peeked = head.freeze();
        Ok(&self.peeked)
    }

    /// The bytes that [`Self::peek`] read.
    pub(crate) fn peeked(&self) -> &[u8] {
        &self.peeked
    }

    /// Reads the next chunk; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, TransferError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, TransferError>> {
        if self.peeked.has_remaining() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.peeked))));
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(TransferError::Network(error)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Frames without data are trailers, which are ignored.
                    if let Ok(data) = frame.into_data() {
                        self.detector.receive(Instant::now(), data.len() as u64);
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Pending => match self.detector.wait(Instant::now()) {
                    None => return Poll::Ready(Err(TransferError::Stalled)),
                    Some(check_at) => ready!(self.poll_timer(check_at, cx)),
                },
            }
        }
    }

    /// Wakes the task at `deadline`; ready if that has passed.
    fn poll_timer(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

/// Divides a body into parts, with one part in memory at a time.
pub(crate) struct PartReader {
    body: ResponseBody,
    part_size: usize,
    rest: Bytes,
}

impl PartReader {
    pub(crate) fn new(body: ResponseBody, part_size: u64) -> Self {
        Self {
            body,
            part_size: usize::try_from(part_size).unwrap_or(usize::MAX),
            rest: Bytes::new(),
        }
    }

    /// Reads the next part: shorter than the part size only at the end, empty after it.
    pub(crate) async fn next_part(&mut self) -> Result<Bytes, TransferError> {
        let mut part = BytesMut::new();
        while part.len() < self.part_size {
            if self.rest.is_empty() {
                match self.body.chunk().await? {
                    Some(chunk) => self.rest = chunk,
                    None => break,
                }
                // Allocated once, so that the buffer is never moved while it grows.
                if part.capacity() == 0 {
                    part.reserve(self.part_size);
                }
            }
            let length = self.rest.len().min(self.part_size - part.len());
            part.extend_from_slice(&self.rest.split_to(length));
        }
        Ok(part.freeze())
    }
}
