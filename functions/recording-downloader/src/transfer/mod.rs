//! One file from Zoom to S3: as fast as the slower side allows, in flat memory, and proven.
//!
//! This is the engine without the function around it. It knows a source, a bucket, and a [`Host`] that
//! remembers what must outlive it; it knows no queue and no table. [`Standalone`] is a host for benchmarks.
//!
//! - The first request asks for the first part. From its answer the whole length and the validator are
//!   known; its body *is* the first part.
//! - If the server honours ranges, several connections fetch parts at the same time, each response body
//!   passed straight into its UploadPart ([`body`]). If not, one stream is cut into parts, one of which is
//!   in memory. What fits into one part goes by one PutObject.
//! - What lies at S3 is known from S3 ([`upload::Upload::parts`]); what the upload is *of* is known from the
//!   host. Whoever goes on compares both with what Zoom has now.

mod body;
mod pace;
mod parts;
mod plan;
mod proof;
mod run;
mod settings;
mod source;
mod standalone;
mod stream;
mod upload;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use reelay_runtime::AwsError;
use reelay_store::bucket::Bucket;
use reelay_store::recordings::{LeaseError, UploadState};
use reelay_zoom::{DownloadError, DownloadHosts, ZoomClient};

pub use self::body::BodyError;
pub use self::pace::{ProgressRule, StallRule};
pub use self::plan::{MIB, MOST_PARTS, Parts, SMALLEST_PART, part_size};
pub use self::settings::Settings;
pub use self::source::Rung;
pub use self::standalone::Standalone;

use self::pace::Allowance;
use self::run::Run;
use self::source::Source;
use self::upload::{Target, Upload};
use crate::ladder::Unlisted;

/// What is to be stored, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Object key.
    pub key: String,
    /// `Content-Type` of the object.
    pub content_type: String,
    /// Metadata of the object.
    pub metadata: Vec<(String, String)>,
    /// In lower case; tells what the file should begin with.
    pub extension: String,
    /// Bytes that Zoom declares.
    pub declared: Option<u64>,
    /// Whether the file must have exactly the declared length.
    pub exact: bool,
    /// Whether an owner before us may have left an upload that it did not note.
    pub strays: bool,
}

/// What lies in the bucket now, as S3 verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub bytes: u64,
    /// Base64 CRC-64/NVME of the whole object.
    pub crc64nvme: String,
    /// Whether the file begins as its type does; `None` for a type of which nothing is known.
    pub recognised: Option<bool>,
    /// Bytes that Zoom declares now, if it was asked again.
    pub declared: Option<u64>,
}

/// How a transfer ended.
#[derive(Debug)]
pub enum Outcome {
    /// In the bucket, proven.
    Stored(Stored),
    /// Time was up. What is done lies at S3, and whoever comes next goes on.
    HandOver {
        /// Bytes of parts that were finished in this run.
        moved: u64,
        /// Whether it was one stream, because the server gives no ranges: the next run begins at its beginning.
        stream: bool,
    },
    /// There is no file, or none that can be proven.
    Refused(Cause),
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// There is nowhere to fetch it from.
    #[error("there is no source")]
    NoSource,
    /// Zoom's API does not tell where to fetch it from.
    #[error(transparent)]
    Unlisted(Unlisted),
    /// No source gives it; this is what the last one that was asked answered.
    #[error(transparent)]
    Download(DownloadError),
    /// It did not come to its end.
    #[error(transparent)]
    Body(BodyError),
    /// It has not the length that Zoom declares.
    #[error("Zoom declared {declared} bytes and gave {received}")]
    Length {
        /// As declared.
        declared: u64,
        /// As given.
        received: u64,
    },
    /// The server has given ranges, and gives none any more.
    #[error("the server no longer gives ranges")]
    NoRange,
    /// It was another file each time.
    #[error("the file keeps changing")]
    Changing,
    /// The upload is gone, and there is no object.
    #[error("the upload is gone")]
    UploadGone,
    /// S3 makes no object of the parts.
    #[error("S3 does not accept the parts: {0}")]
    NotProven(String),
}

/// What keeps a transfer from ending, one way or the other: nothing of Zoom's.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A call to AWS.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The file is somebody else's now. Whoever meets this touches nothing more.
    #[error("the lease on the file was lost to another transfer")]
    Lost,
}

impl From<LeaseError> for TransferError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Table(failure) => Self::Aws(failure),
            LeaseError::Lost => Self::Lost,
        }
    }
}

/// Why a step was not done.
#[derive(Debug)]
pub enum Halt {
    /// Zoom's side.
    Cause(Cause),
    /// Our side.
    Ours(TransferError),
    /// Another file lies there now.
    Changed,
}

impl<E: Into<TransferError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Ours(error.into())
    }
}

/// Who remembers what must outlive a run, and knows where to fetch the file from. Everything but `rung` and
/// `declared_now` fails with [`TransferError::Lost`] if the file is somebody else's now.
#[async_trait]
pub trait Host: Sync {
    /// The `number`-th place to fetch the file from, counted from 0; `None` if there are no more.
    async fn rung(&self, number: usize) -> Result<Option<Rung>, Halt>;

    /// The length that Zoom declares now, if it can be had.
    async fn declared_now(&self) -> Option<u64>;

    /// An upload exists.
    async fn begun(&self, upload: &UploadState) -> Result<(), TransferError>;

    /// All parts are there, and this is the checksum of the whole; the upload is about to be completed.
    async fn summed(&self, crc64nvme: &str) -> Result<(), TransferError>;

    /// Makes sure that the file is still ours.
    async fn hold(&self) -> Result<(), TransferError>;

    /// The upload is no more.
    async fn dropped(&self) -> Result<(), TransferError>;

    /// So many bytes lie at S3.
    async fn progress(&self, bytes: u64) -> Result<(), TransferError>;
}

/// One file's transfer.
pub struct Transfer<'a> {
    /// Zoom, over HTTP.
    pub zoom: &'a ZoomClient,
    /// Where downloads may lead.
    pub hosts: &'a DownloadHosts,
    /// Where the file goes.
    pub bucket: &'a Bucket,
    /// How.
    pub settings: &'a Settings,
    /// What.
    pub order: &'a Order,
    /// Who remembers.
    pub host: &'a dyn Host,
}

impl Transfer<'_> {
    /// Runs until the file is stored, time is up, or it cannot be had. `kept` is the upload that an earlier
    /// run has begun. A quarter of the time until the deadline, at most [`Settings::reserve`], is left over.
    ///
    /// A run that is dropped at any moment, or fails, leaves what the next one can go on with.
    ///
    /// # Errors
    /// If AWS fails, or the file is somebody else's now.
    pub async fn run(
        &self,
        kept: Option<UploadState>,
        deadline: Option<Instant>,
    ) -> Result<Outcome, TransferError> {
        let allowance = Allowance::new(Instant::now(), deadline, self.settings.reserve);
        let target = Target {
            bucket: self.bucket,
            order: self.order,
            part_checksums: self.settings.part_checksums,
        };
        let (moved, stream) = (AtomicU64::new(0), AtomicBool::new(false));
        let working = async {
            let source = Source::new(self.zoom, self.hosts, self.settings, self.host).await?;
            let run = Run {
                settings: self.settings,
                host: self.host,
                source,
                target,
                allowance: Mutex::new(allowance),
                moved: &moved,
                stream: &stream,
            };
            run.work(kept).await
        };
        let ended = match allowance.cutoff() {
            None => working.await,
            Some(cutoff) => match tokio::time::timeout_at(cutoff.into(), working).await {
                Ok(ended) => ended,
                Err(_) => Ok(Outcome::HandOver {
                    moved: moved.load(Ordering::Relaxed),
                    stream: stream.load(Ordering::Relaxed),
                }),
            },
        };
        match ended {
            Ok(outcome) => Ok(outcome),
            Err(Halt::Cause(cause)) => Ok(Outcome::Refused(cause)),
            Err(Halt::Changed) => Ok(Outcome::Refused(Cause::Changing)),
            Err(Halt::Ours(error)) => Err(error),
        }
    }

    /// Aborts an upload that will not be gone on with.
    ///
    /// # Errors
    /// If AWS fails, or the file is somebody else's now.
    pub async fn abandon(&self, kept: &UploadState) -> Result<(), TransferError> {
        self.host.hold().await?;
        let target = Target {
            bucket: self.bucket,
            order: self.order,
            part_checksums: self.settings.part_checksums,
        };
        let id = kept.id.clone();
        Upload { target, id }.abort().await?;
        self.host.dropped().await
    }
}
