//! Reasons why a transfer does not store a file.

use reelay_runtime::AwsError;
use reelay_zoom::{ApiError, DownloadError, NetworkError};

/// Reason why a transfer did not store the file. The table in `disposition.rs` says what follows from each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// An AWS request failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Another invocation holds the file's lease; this one must not change anything.
    #[error("lease on the file was lost to another invocation")]
    LeaseLost,
    /// No link may have the file any more.
    #[error("the last link to the Zoom user ended")]
    LinkEnded,
    /// Neither the event nor Zoom's API has a download URL.
    #[error("no download URL is known")]
    NoSource,
    /// Zoom still processes the file.
    #[error("Zoom still processes the file")]
    Processing,
    /// The user has no usable grant, so the API cannot be called.
    #[error("no usable grant to look up the download URL")]
    NoGrant,
    /// No access token is available now.
    #[error("access token unavailable: {0}")]
    GrantUnavailable(String),
    /// Zoom's API did not return the download URL.
    #[error(transparent)]
    Api(ApiError),
    /// Every candidate was rejected; this is the last error.
    #[error(transparent)]
    Download(DownloadError),
    /// The connection failed while the body was received.
    #[error(transparent)]
    Network(NetworkError),
    /// The body arrived more slowly than the stall limit.
    #[error("response body stalled")]
    Stalled,
    /// The body ended early.
    #[error("response body is shorter than announced")]
    BodyTooShort,
    /// The body did not end.
    #[error("response body is longer than announced")]
    BodyTooLong,
    /// The file does not have the size that Zoom declared.
    #[error("Zoom declared {declared} bytes and sent {received}")]
    SizeMismatch {
        /// Declared size in bytes.
        declared: u64,
        /// Received size in bytes.
        received: u64,
    },
    /// The host sent the whole file although a range was requested.
    #[error("download host ignored the requested range")]
    RangeIgnored,
    /// The file at Zoom is no longer the one that the upload holds.
    #[error("file changed at Zoom during the transfer")]
    SourceChanged,
    /// The multipart upload does not exist, and neither does the object.
    #[error("multipart upload no longer exists")]
    UploadGone,
    /// S3 did not complete the upload; holds S3's error code.
    #[error("S3 rejected the uploaded parts: {0}")]
    PartsRejected(String),
    /// The invocation's time ended before a part was uploaded.
    #[error("no part was uploaded before the deadline")]
    NoProgress,
    /// The invocation's time ended during a stream, which cannot be resumed.
    #[error("file without range support was not received before the deadline")]
    StreamTooSlow,
}

impl TransferError {
    /// Whether the same part may succeed shortly.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Network(_)
            | Self::Stalled
            | Self::BodyTooShort
            | Self::BodyTooLong
            | Self::RangeIgnored => true,
            Self::Download(error) => matches!(
                error,
                DownloadError::Network(_)
                    | DownloadError::ServerError { retry_after: None, .. }
                    | DownloadError::RangeMismatch
                    | DownloadError::UnexpectedEncoding
            ),
            _ => false,
        }
    }

    /// Whether Zoom's API does not find the file.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(ApiError::NotFound { .. }))
    }

    /// Whether a failed API lookup would fail again, so that the error of the previous candidate stands.
    pub(super) fn is_final_lookup(&self) -> bool {
        matches!(
            self,
            Self::NoGrant | Self::Api(ApiError::NotFound { .. } | ApiError::Forbidden { .. })
        )
    }
}

/// Whether the URL or its token may just have expired.
pub(super) fn is_expiry(error: &DownloadError) -> bool {
    matches!(
        error,
        DownloadError::Unauthorized
            | DownloadError::Forbidden
            | DownloadError::HtmlInsteadOfFile
            | DownloadError::UnexpectedStatus { .. }
    )
}

/// Whether another URL or token may succeed where this one was rejected. A server error may pass at once, so it
/// counts only if an earlier attempt failed, too.
pub(super) fn tries_next_candidate(error: &DownloadError, is_retry: bool) -> bool {
    match error {
        DownloadError::Unauthorized
        | DownloadError::Forbidden
        | DownloadError::HtmlInsteadOfFile
        | DownloadError::NotFound
        | DownloadError::Gone
        | DownloadError::DisallowedUrl(_)
        | DownloadError::TooManyRedirects
        | DownloadError::InvalidRedirect
        | DownloadError::UnexpectedStatus { .. } => true,
        DownloadError::ServerError { .. } => is_retry,
        DownloadError::RateLimited(_)
        | DownloadError::Network(_)
        | DownloadError::RangeNotSatisfiable { .. }
        | DownloadError::RangeMismatch
        | DownloadError::UnexpectedEncoding => false,
    }
}
