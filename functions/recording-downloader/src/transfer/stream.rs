//! A server without ranges: one stream, cut into parts, one of them in memory.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::body::{BodyError, WatchedBody};
use super::pace::ProgressWatch;
use super::plan::{MOST_PARTS, part_size};
use super::run::Run;
use super::source::Answer;
use super::{Cause, Halt, Outcome};

impl Run<'_> {
    /// Stores what `answer` brings, which is the whole file. It cannot be gone on with by a later run unless
    /// the server gives ranges by then, so nothing of it counts as moved.
    pub(super) async fn in_one_stream(
        &self,
        mut answer: Answer,
        length: Option<u64>,
    ) -> Result<Outcome, Halt> {
        self.stream.store(true, Ordering::Relaxed);
        if let Some(length) = length {
            self.right_length(length)?;
        }
        let recognised = self.recognised(answer.body.peeked());
        let size = part_size(length, self.settings.part_size);
        let mut rest = Bytes::new();
        let mut part = next_part(&mut answer.body, &mut rest, size).await?;
        if (part.len() as u64) < size {
            self.right_length(part.len() as u64)?;
            return self.put_bytes(part).await;
        }
        let (upload, _) = self.begin_upload(&answer, length, size, recognised).await?;
        let mut progress = ProgressWatch::new(self.settings.progress, Instant::now(), 0);
        let (mut done, mut bytes, mut number) = (BTreeMap::new(), 0u64, 0u32);
        while !part.is_empty() {
            number += 1;
            bytes += part.len() as u64;
            let declared = self
                .target
                .order
                .declared
                .filter(|_| self.target.order.exact);
            if u64::from(number) > MOST_PARTS || declared.is_some_and(|declared| bytes > declared) {
                return Err(Halt::Cause(Cause::Body(BodyError::Long)));
            }
            done.insert(number, upload.send_bytes(number, part).await?);
            if progress.is_due(Instant::now(), bytes, length) {
                self.note(bytes).await?;
            }
            part = next_part(&mut answer.body, &mut rest, size).await?;
        }
        self.right_length(bytes)?;
        self.finish(&upload, &done, bytes, recognised).await
    }
}

/// The next part; shorter than `size` only at the end, empty behind it.
async fn next_part(body: &mut WatchedBody, rest: &mut Bytes, size: u64) -> Result<Bytes, Halt> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut part = BytesMut::new();
    while part.len() < size {
        if rest.is_empty() {
            match body.chunk().await {
                Ok(Some(chunk)) => *rest = chunk,
                Ok(None) => break,
                Err(error) => return Err(Halt::Cause(Cause::Body(error))),
            }
            // Once, so that it is never moved to a larger place while it grows.
            if part.capacity() == 0 {
                part.reserve(size);
            }
        }
        let take = rest.len().min(size - part.len());
        part.extend_from_slice(&rest.split_to(take));
    }
    Ok(part.freeze())
}
