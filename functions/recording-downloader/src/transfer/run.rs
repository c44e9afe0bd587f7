//! One run: begin, or go on with what an earlier run has begun.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::recordings::UploadState;
use reelay_zoom::{ByteRange, ContentRange, DownloadError};

use super::body::{Feed, FeedError};
use super::pace::Allowance;
use super::plan::{Parts, part_size};
use super::source::{Answer, Identity, Mismatch, Source};
use super::upload::{Completed, SendError, StoredPart, Target, Upload};
use super::{Cause, Halt, Host, Outcome, Settings, Stored, TransferError, proof};

/// A file that changes under our hands is begun anew so often, then left to the queue.
const MOST_BEGINNINGS: u32 = 3;

/// An answer may tell us to ask otherwise; a server that does so more often is left to the queue.
const MOST_QUESTIONS: u32 = 3;

/// What is common to the steps of one run.
pub(super) struct Run<'a> {
    pub(super) settings: &'a Settings,
    pub(super) host: &'a dyn Host,
    pub(super) source: Source<'a>,
    pub(super) target: Target<'a>,
    pub(super) allowance: Mutex<Allowance>,
    /// Bytes of parts that this run has finished.
    pub(super) moved: &'a AtomicU64,
    /// Whether the file comes in one stream.
    pub(super) stream: &'a AtomicBool,
}

/// What an answer to the first request makes of the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The answer is the whole file, of this length.
    Whole(u64),
    /// The answer is the first part of a file of this length, and others can be had.
    Parts(u64),
    /// The answer is the whole file, too large or too long for one request; of this length, if it is told.
    Stream(Option<u64>),
    /// To be asked again, with what is known of the length now; with a range, or rather without.
    AskAgain { length: Option<u64>, range: bool },
}

/// `asked` is how many bytes the request was for, `None` for all of them.
fn shape(asked: Option<u64>, range: Option<ContentRange>, length: Option<u64>, part: u64) -> Shape {
    match (range, length) {
        (Some(range), _) => match (range.total, asked) {
            (Some(total), _) if range.length() == total => Shape::Whole(total),
            (Some(total), Some(asked)) if part_size(Some(total), asked) == asked => {
                Shape::Parts(total)
            }
            (Some(total), _) => Shape::AskAgain {
                length: Some(total),
                range: true,
            },
            (None, _) => Shape::AskAgain {
                length: None,
                range: false,
            },
        },
        (None, Some(length)) if length <= part => Shape::Whole(length),
        // We asked for all of it because Zoom had declared little.
        (None, Some(length)) if asked.is_none() => Shape::AskAgain {
            length: Some(length),
            range: true,
        },
        (None, length) => Shape::Stream(length),
    }
}

impl Run<'_> {
    pub(super) async fn work(&self, kept: Option<UploadState>) -> Result<Outcome, Halt> {
        if kept.is_none() && self.target.order.strays {
            self.target.abort_strays().await?;
        }
        let mut kept = kept;
        for _ in 0..MOST_BEGINNINGS {
            let ended = match kept.take() {
                Some(kept) => self.go_on(kept).await,
                None => self.begin().await,
            };
            match ended {
                Err(Halt::Changed) => self.says_over_again("source_changed"),
                ended => return ended,
            }
        }
        Err(Halt::Cause(Cause::Changing))
    }

    fn says_over_again(&self, why: &'static str) {
        metrics::count(Metric::UploadsRestarted, why);
        tracing::warn!(key = self.target.order.key, why, "the upload starts over");
    }

    async fn begin(&self) -> Result<Outcome, Halt> {
        let (mut length, mut ranged) = (self.target.order.declared, true);
        for _ in 0..MOST_QUESTIONS {
            let part = part_size(length, self.settings.part_size);
            let asked = (ranged && length.is_none_or(|length| length > part)).then_some(part);
            let range = asked.and_then(|asked| ByteRange::new(0, asked.checked_sub(1)?));
            let answer = match self.source.open(range).await {
                // No range of nothing.
                Err(Halt::Cause(Cause::Download(DownloadError::RangeNotSatisfiable {
                    total: Some(0),
                }))) if asked.is_some() => {
                    self.right_length(0)?;
                    return self.put_bytes(Bytes::new()).await;
                }
                answer => answer?,
            };
            let (content_range, content_length) = (
                answer.download.content_range,
                answer.download.content_length,
            );
            match shape(asked, content_range, content_length, part) {
                Shape::Whole(length) => return self.put(answer, range, length).await,
                Shape::Parts(total) => {
                    self.right_length(total)?;
                    return self.in_parts(answer, total, part).await;
                }
                Shape::Stream(length) => return self.in_one_stream(answer, length).await,
                Shape::AskAgain {
                    length: known,
                    range,
                } => (length, ranged) = (known, range),
            }
        }
        Err(Halt::Cause(Cause::NoRange))
    }

    /// Refuses a length that the file must not have.
    pub(super) fn right_length(&self, received: u64) -> Result<(), Halt> {
        match self.target.order.declared {
            Some(declared) if self.target.order.exact && declared != received => {
                Err(Halt::Cause(Cause::Length { declared, received }))
            }
            _ => Ok(()),
        }
    }

    /// What Zoom declares now of a file whose length is another than it had declared: it may have learnt.
    async fn declared_now(&self, received: u64) -> Option<u64> {
        match self.target.order.declared {
            Some(declared) if declared != received => self.host.declared_now().await,
            _ => None,
        }
    }

    async fn put(
        &self,
        answer: Answer,
        range: Option<ByteRange>,
        length: u64,
    ) -> Result<Outcome, Halt> {
        self.right_length(length)?;
        if length == 0 {
            return self.put_bytes(Bytes::new()).await;
        }
        let recognised = self.recognised(answer.body.peeked());
        let declared = self.declared_now(length).await;
        let expected = answer.download.content_range.map(|_| Identity {
            length,
            validator: answer.validator.clone(),
            kind: answer.kind,
        });
        let feed = Feed::new(self.source.way(), answer, range, length, expected);
        let crc = self.target.put(&feed, length).await.map_err(halt)?;
        Ok(Outcome::Stored(Stored {
            bytes: length,
            crc64nvme: proof::to_base64(crc),
            recognised,
            declared,
        }))
    }

    /// Stores a file that is in memory, all of it.
    pub(super) async fn put_bytes(&self, bytes: Bytes) -> Result<Outcome, Halt> {
        let (length, recognised) = (bytes.len() as u64, self.recognised(&bytes));
        let declared = self.declared_now(length).await;
        let crc = self.target.put_bytes(bytes).await?;
        Ok(Outcome::Stored(Stored {
            bytes: length,
            crc64nvme: proof::to_base64(crc),
            recognised,
            declared,
        }))
    }

    pub(super) fn recognised(&self, head: &[u8]) -> Option<bool> {
        proof::is_recognised(&self.target.order.extension, head)
    }

    /// Begins a multipart upload, and has it remembered at once.
    pub(super) async fn begin_upload(
        &self,
        answer: &Answer,
        length: Option<u64>,
        part_size: u64,
        recognised: Option<bool>,
    ) -> Result<(Upload<'_>, UploadState), Halt> {
        let upload = self.target.begin().await?;
        let kept = UploadState {
            id: upload.id.clone(),
            length,
            validator: answer.validator.clone(),
            source: answer.kind,
            part_size,
            recognised,
            crc64nvme: None,
        };
        if let Err(error) = self.host.begun(&kept).await {
            // Nobody else knows of it. Should it have been noted after all, the next owner finds that it is
            // gone.
            if let Err(failure) = upload.abort().await {
                tracing::warn!(error = %failure, "an upload that could not be noted is left");
            }
            return Err(error.into());
        }
        Ok((upload, kept))
    }

    async fn go_on(&self, kept: UploadState) -> Result<Outcome, Halt> {
        let upload = Upload {
            target: self.target,
            id: kept.id.clone(),
        };
        let Some(mut done) = upload.parts().await? else {
            if let Some(stored) = self.completed_before(&kept).await? {
                return Ok(Outcome::Stored(stored));
            }
            self.host.dropped().await?;
            self.says_over_again("upload_gone");
            return self.begin().await;
        };
        let Some(parts) = kept
            .length
            .and_then(|length| Parts::new(length, kept.part_size))
        else {
            // A stream of unknown length cannot be entered in its middle.
            self.drop_upload(&upload).await?;
            self.says_over_again("no_range");
            return self.begin().await;
        };
        done.retain(|number, part| part.length == parts.length_of(*number) && part.length > 0);
        let missing = parts.missing(|number| done.get(&number).map(|part| part.length));
        let Some(range) = missing.first().and_then(|first| parts.range_of(*first)) else {
            return self
                .finish(&upload, &done, parts.length(), kept.recognised)
                .await;
        };
        let answer = match self.source.open(Some(range)).await {
            Err(Halt::Cause(Cause::Download(DownloadError::RangeNotSatisfiable { .. }))) => {
                self.drop_upload(&upload).await?;
                return Err(Halt::Changed);
            }
            answer => answer?,
        };
        let expected = Identity {
            length: parts.length(),
            validator: kept.validator.clone(),
            kind: kept.source,
        };
        match expected.check(&answer) {
            Ok(()) => {
                metrics::count(Metric::UploadsResumed, "ok");
                self.fill(&upload, &kept, parts, done, answer).await
            }
            Err(Mismatch::Changed) => {
                self.drop_upload(&upload).await?;
                Err(Halt::Changed)
            }
            Err(Mismatch::NoRange) => {
                self.drop_upload(&upload).await?;
                self.says_over_again("no_range");
                let length = answer.download.content_length;
                self.in_one_stream(answer, length).await
            }
        }
    }

    /// Whether an earlier run has completed the upload, and died before it could say so.
    async fn completed_before(&self, kept: &UploadState) -> Result<Option<Stored>, Halt> {
        let crc = kept.crc64nvme.as_deref().and_then(proof::from_base64);
        let (Some(length), Some(crc)) = (kept.length, crc) else {
            return Ok(None);
        };
        if !self.target.holds(length, crc).await? {
            return Ok(None);
        }
        Ok(Some(self.stored(length, crc, kept.recognised).await))
    }

    async fn stored(&self, bytes: u64, crc: u64, recognised: Option<bool>) -> Stored {
        Stored {
            bytes,
            crc64nvme: proof::to_base64(crc),
            recognised,
            declared: self.declared_now(bytes).await,
        }
    }

    /// Makes the object of all its parts.
    pub(super) async fn finish(
        &self,
        upload: &Upload<'_>,
        done: &BTreeMap<u32, StoredPart>,
        length: u64,
        recognised: Option<bool>,
    ) -> Result<Outcome, Halt> {
        let crc = proof::combined(done.values().map(|part| (part.crc, part.length)));
        // By this an owner after us knows the object, should we not come to say what it is. It is the last
        // look whether the file is still ours, too.
        self.host.summed(&proof::to_base64(crc)).await?;
        match upload.complete(done, length, crc).await? {
            Completed::Done => {}
            Completed::NoSuchUpload if self.target.holds(length, crc).await? => {}
            Completed::NoSuchUpload => {
                self.host.dropped().await?;
                return Err(Halt::Cause(Cause::UploadGone));
            }
            Completed::NotProven(code) => {
                self.drop_upload(upload).await?;
                return Err(Halt::Cause(Cause::NotProven(code)));
            }
        }
        Ok(Outcome::Stored(self.stored(length, crc, recognised).await))
    }

    /// Gives up an upload: only while the file is ours, and so that an owner after us knows it.
    pub(super) async fn drop_upload(&self, upload: &Upload<'_>) -> Result<(), TransferError> {
        self.host.hold().await?;
        upload.abort().await?;
        self.host.dropped().await
    }

    pub(super) fn allowance(&self) -> MutexGuard<'_, Allowance> {
        // Plain values, valid after any panic.
        self.allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it means for the transfer that a request with Zoom's bytes in it failed.
pub(super) fn halt(error: SendError) -> Halt {
    match error {
        SendError::S3(failure) => failure.into(),
        SendError::Source(FeedError::Body(error)) => Halt::Cause(Cause::Body(error)),
        SendError::Source(FeedError::Refused(error)) => Halt::Cause(Cause::Download(error)),
        SendError::Source(FeedError::Mismatch(Mismatch::Changed)) => Halt::Changed,
        SendError::Source(FeedError::Mismatch(Mismatch::NoRange)) => Halt::Cause(Cause::NoRange),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{MIB, SMALLEST_PART};
    use super::*;

    fn range(length: u64, total: Option<u64>) -> Option<ContentRange> {
        Some(ContentRange {
            first: 0,
            last: length - 1,
            total,
        })
    }

    fn again(length: Option<u64>, range: bool) -> Shape {
        Shape::AskAgain { length, range }
    }

    #[test]
    fn the_first_answer_decides_how_the_file_travels() {
        const PART: u64 = SMALLEST_PART;
        let huge = 100_000 * MIB;
        for (asked, content_range, content_length, expected) in [
            (
                Some(PART),
                range(PART, Some(3 * PART)),
                Some(PART),
                Shape::Parts(3 * PART),
            ),
            (
                Some(PART),
                range(PART, Some(PART)),
                Some(PART),
                Shape::Whole(PART),
            ),
            (Some(PART), range(9, Some(9)), None, Shape::Whole(9)),
            (Some(PART), range(PART, None), None, again(None, false)),
            (
                Some(PART),
                range(PART, Some(huge)),
                Some(PART),
                again(Some(huge), true),
            ),
            (
                Some(PART),
                None,
                Some(3 * PART),
                Shape::Stream(Some(3 * PART)),
            ),
            (Some(PART), None, Some(5), Shape::Whole(5)),
            (Some(PART), None, None, Shape::Stream(None)),
            (None, None, Some(5), Shape::Whole(5)),
            (None, None, Some(3 * PART), again(Some(3 * PART), true)),
            (None, None, None, Shape::Stream(None)),
        ] {
            let found = shape(asked, content_range, content_length, PART);
            assert_eq!(
                found, expected,
                "{asked:?} {content_range:?} {content_length:?}"
            );
        }
    }
}
