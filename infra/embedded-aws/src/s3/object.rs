//! An object and its metadata.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use s3s::dto::{ChecksumType, ETag, Metadata, Timestamp};

use super::{
    blob::{Blob, Slice},
    checksum::Checksums,
};

/// A time in whole seconds, the resolution of S3.
pub(super) fn whole_seconds(at: jiff::Timestamp) -> Timestamp {
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    (UNIX_EPOCH + Duration::from_secs(seconds)).into()
}

/// Metadata that the client sets when it creates an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Description {
    pub(super) content_type: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
}

/// The [`Description`] in the input of PutObject or CreateMultipartUpload.
macro_rules! description_of {
    ($input:expr) => {
        $crate::s3::object::Description {
            content_type: $input.content_type.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $crate::s3::object::stored_encoding(
                $input.content_encoding.as_deref(),
            ),
            content_language: $input.content_language.clone(),
            cache_control: $input.cache_control.clone(),
            metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
            tags: $crate::s3::object::tags($input.tagging.as_deref()),
        }
    };
}
pub(super) use description_of;

/// The tags of `x-amz-tagging`, a query string.
pub(super) fn tags(tagging: Option<&str>) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(tagging.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// Content codings without `aws-chunked`, which describes the request and not the object.
pub(super) fn stored_encoding(encoding: Option<&str>) -> Option<String> {
    let codings = encoding?.split(',').map(str::trim);
    let stored: Vec<_> = codings.filter(|coding| *coding != "aws-chunked").collect();
    (!stored.is_empty()).then(|| stored.join(","))
}

impl Description {
    pub(super) fn metadata_dto(&self) -> Option<Metadata> {
        let metadata: Metadata = self.metadata.clone().into_iter().collect();
        (!metadata.is_empty()).then_some(metadata)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) blob: Arc<Blob>,
    pub(super) size: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) key: String,
    /// One segment, or one for each part of a multipart upload.
    pub(super) segments: Vec<Segment>,
    pub(super) size: u64,
    /// Without quotation marks.
    pub(super) etag: String,
    pub(super) checksums: Checksums,
    pub(super) checksum_type: ChecksumType,
    pub(super) modified_at: Timestamp,
    pub(super) description: Description,
}

impl Object {
    pub(super) fn etag_dto(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    /// The slices of blobs that hold the bytes of `range`.
    pub(super) fn slices(&self, range: Range<u64>) -> Vec<Slice> {
        let mut slices = Vec::new();
        let mut start = 0;
        for segment in &self.segments {
            let end = start + segment.size;
            let from = range.start.max(start);
            let to = range.end.min(end);
            if from < to {
                slices.push(Slice {
                    blob: Arc::clone(&segment.blob),
                    offset: from - start,
                    length: to - from,
                });
            }
            start = end;
        }
        slices
    }
}
