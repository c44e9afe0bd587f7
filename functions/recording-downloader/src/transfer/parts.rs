//! Several connections at the same time, each with one part on its way.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reelay_runtime::random;
use reelay_store::recordings::UploadState;
use reelay_zoom::DownloadError;

use super::body::{Feed, FeedError};
use super::pace::ProgressWatch;
use super::plan::Parts;
use super::run::{Run, halt};
use super::source::{Answer, Identity, Mismatch};
use super::upload::{SendError, StoredPart, Upload};
use super::{Cause, Halt, Outcome, TransferError};

impl Run<'_> {
    /// Stores a file of which `first` is the first part.
    pub(super) async fn in_parts(
        &self,
        first: Answer,
        total: u64,
        part_size: u64,
    ) -> Result<Outcome, Halt> {
        let parts = Parts::new(total, part_size).ok_or(Halt::Cause(Cause::NoRange))?;
        let recognised = self.recognised(first.body.peeked());
        let (upload, kept) = self
            .begin_upload(&first, Some(total), part_size, recognised)
            .await?;
        self.fill(&upload, &kept, parts, BTreeMap::new(), first)
            .await
    }

    /// Sends all parts that are missing; `first` is the answer for the first of them.
    pub(super) async fn fill(
        &self,
        upload: &Upload<'_>,
        kept: &UploadState,
        parts: Parts,
        mut done: BTreeMap<u32, StoredPart>,
        first: Answer,
    ) -> Result<Outcome, Halt> {
        let expected = Identity {
            length: parts.length(),
            validator: kept.validator.clone(),
            kind: kept.source,
        };
        let missing = parts.missing(|number| done.get(&number).map(|part| part.length));
        let mut bytes: u64 = done.values().map(|part| part.length).sum();
        let mut progress = ProgressWatch::new(self.settings.progress, Instant::now(), bytes);
        let (mut missing, mut first) = (missing.into_iter(), Some(first));
        let mut sending = FuturesUnordered::new();
        let mut halted = None;
        loop {
            // Whenever a connection is free, and there is time.
            while sending.len() < self.settings.connections
                && halted.is_none()
                && self.allowance().another_part(Instant::now())
                && let Some(number) = missing.next()
            {
                sending.push(self.part(upload, parts, number, &expected, first.take()));
            }
            let Some(sent) = sending.next().await else {
                break;
            };
            match sent {
                Ok((number, part)) => {
                    bytes += part.length;
                    self.moved.fetch_add(part.length, Ordering::Relaxed);
                    done.insert(number, part);
                    if progress.is_due(Instant::now(), bytes, Some(parts.length())) {
                        self.note(bytes).await?;
                    }
                }
                Err(Halt::Ours(TransferError::Lost)) => return Err(TransferError::Lost.into()),
                // What is in flight comes to its end, and need not be fetched again. That the file has
                // changed outweighs whatever else went wrong.
                Err(error) => {
                    if halted.is_none() || matches!(error, Halt::Changed) {
                        halted = Some(error);
                    }
                }
            }
        }
        drop(sending);
        match halted {
            Some(Halt::Changed) => {
                self.drop_upload(upload).await?;
                Err(Halt::Changed)
            }
            Some(error) => {
                self.note(bytes).await?;
                Err(error)
            }
            None if done.len() < parts.count() as usize => {
                self.note(bytes).await?;
                Ok(Outcome::HandOver {
                    moved: self.moved.load(Ordering::Relaxed),
                    stream: false,
                })
            }
            None => {
                self.finish(upload, &done, parts.length(), kept.recognised)
                    .await
            }
        }
    }

    /// Notes progress. The number is for a progress bar; that the lease is ours is for correctness.
    pub(super) async fn note(&self, bytes: u64) -> Result<(), TransferError> {
        match self.host.progress(bytes).await {
            Err(TransferError::Aws(failure)) => {
                tracing::warn!(error = %failure, "progress not noted");
                Ok(())
            }
            noted => noted,
        }
    }

    /// Sends one part, a few times if it must be.
    async fn part(
        &self,
        upload: &Upload<'_>,
        parts: Parts,
        number: u32,
        expected: &Identity,
        mut first: Option<Answer>,
    ) -> Result<(u32, StoredPart), Halt> {
        let mut pause = self.settings.part_pause;
        let mut tries = 1;
        loop {
            let begun = Instant::now();
            let sent = self
                .send(upload, parts, number, expected, first.take())
                .await;
            match sent {
                Ok(part) => {
                    self.allowance().measured(begun.elapsed());
                    return Ok((number, part));
                }
                Err(Failed { halt, passes: true }) if tries < self.settings.part_tries => {
                    tracing::info!(part = number, why = ?halt, "a part is fetched again");
                    tokio::time::sleep(with_jitter(pause)).await;
                    pause *= 2;
                    tries += 1;
                }
                Err(Failed { halt, .. }) => return Err(halt),
            }
        }
    }

    async fn send(
        &self,
        upload: &Upload<'_>,
        parts: Parts,
        number: u32,
        expected: &Identity,
        open: Option<Answer>,
    ) -> Result<StoredPart, Failed> {
        let range = parts.range_of(number);
        let answer = match open {
            Some(answer) => answer,
            None => match self.source.open(range).await {
                // It has become shorter.
                Err(Halt::Cause(Cause::Download(DownloadError::RangeNotSatisfiable {
                    ..
                }))) => {
                    return Err(Halt::Changed.into());
                }
                answer => answer?,
            },
        };
        expected.check(&answer).map_err(|mismatch| match mismatch {
            Mismatch::Changed => Halt::Changed,
            Mismatch::NoRange => Halt::Cause(Cause::NoRange),
        })?;
        let length = parts.length_of(number);
        let feed = Feed::new(
            self.source.way(),
            answer,
            range,
            length,
            Some(expected.clone()),
        );
        match upload.send(number, &feed, length).await {
            Ok(part) => Ok(part),
            Err(SendError::S3(failure)) if failure.code() == "NoSuchUpload" => {
                // Somebody has ended it: whoever has the file now, or an operator.
                self.host.hold().await?;
                self.host.dropped().await?;
                Err(Halt::Cause(Cause::UploadGone).into())
            }
            // The SDK had wanted the bytes again, and they were refused: the next try climbs the ladder.
            Err(error @ SendError::Source(FeedError::Refused(_))) => Err(Failed {
                halt: halt(error),
                passes: true,
            }),
            Err(error) => Err(halt(error).into()),
        }
    }
}

/// A part that was not sent.
struct Failed {
    halt: Halt,
    /// Whether it may well be sent in a moment.
    passes: bool,
}

impl<E: Into<Halt>> From<E> for Failed {
    fn from(error: E) -> Self {
        let halt = error.into();
        let passes = matches!(
            halt,
            Halt::Cause(
                Cause::Body(_)
                    | Cause::NoRange
                    | Cause::Download(
                        DownloadError::Network(_)
                            | DownloadError::ServerError {
                                retry_after: None,
                                ..
                            }
                            | DownloadError::RangeMismatch
                            | DownloadError::UnexpectedEncoding
                    )
            )
        );
        Self { halt, passes }
    }
}

fn with_jitter(pause: Duration) -> Duration {
    let [byte] = random::bytes::<1>();
    pause.mul_f64(0.5 + f64::from(byte) / 255.0)
}
