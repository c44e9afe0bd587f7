//! State of an unfinished multipart upload, kept between invocations.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Kind of URL that a file is downloaded from. Validators of different kinds are not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The URL from a webhook event.
    Webhook,
    /// The URL from Zoom's REST API.
    Rest,
}

/// An S3 multipart upload and the version of the file that it holds. S3's `ListParts` says which parts are
/// uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadState {
    /// Upload id from S3.
    pub id: String,
    /// When the upload was created, from which S3 counts the age of its object
    /// ([S3](https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html)).
    pub created_at: Timestamp,
    /// File size in bytes; absent if Zoom did not send it, and then the upload cannot be resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// `ETag` or `Last-Modified` of the file at Zoom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<String>,
    /// Kind of source that sent the validator.
    pub source: SourceKind,
    /// Size of every part but the last, in bytes.
    pub part_size: u64,
    /// Whether the first bytes match the file type; absent for types without a known signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recognised: Option<bool>,
    /// Base64 CRC-64/NVME of the whole file; set before the upload is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
}
