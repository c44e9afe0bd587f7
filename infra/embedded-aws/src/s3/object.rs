//! What the store knows of an object, and how that is written down.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use s3s::dto::{ChecksumType, ETag, Metadata, Timestamp};
use serde::{Deserialize, Serialize};

use super::{blob::Blob, checksum::Sums};

/// Milliseconds since 1970.
pub(super) type Millis = u64;

pub(super) fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// S3 tells times in whole seconds.
pub(super) fn timestamp(millis: Millis) -> Timestamp {
    (UNIX_EPOCH + Duration::from_secs(millis / 1000)).into()
}

/// What a client says about an object when it makes one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) content_type: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// The fields that the inputs of PutObject, CopyObject and CreateMultipartUpload share.
macro_rules! description_of {
    ($input:expr) => {
        $crate::s3::object::Description {
            content_type: $input.content_type.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $crate::s3::object::lasting_encoding(
                $input.content_encoding.as_deref(),
            ),
            content_language: $input.content_language.clone(),
            cache_control: $input.cache_control.clone(),
            metadata: $input
                .metadata
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
        }
    };
}
pub(super) use description_of;

/// `aws-chunked` describes the request and not the object.
pub(super) fn lasting_encoding(encoding: Option<&str>) -> Option<String> {
    let codings = encoding?.split(',').map(str::trim);
    let lasting: Vec<_> = codings.filter(|coding| *coding != "aws-chunked").collect();
    (!lasting.is_empty()).then(|| lasting.join(","))
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

#[derive(Debug)]
pub(super) struct Object {
    pub(super) key: String,
    /// One, or one for each part of an upload.
    pub(super) segments: Vec<Segment>,
    pub(super) facts: Facts,
}

/// The part of an object that is data rather than files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) size: u64,
    /// Without quotation marks.
    pub(super) etag: String,
    pub(super) sums: Sums,
    /// Whether `sums` are sums of the parts' sums.
    pub(super) composite: bool,
    pub(super) modified: Millis,
    pub(super) description: Description,
    /// The upload that made the object: if the process dies before it removes the upload, the next start
    /// does.
    pub(super) upload_id: Option<String>,
}

impl Facts {
    pub(super) fn etag_dto(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    pub(super) fn checksum_type(&self) -> ChecksumType {
        checksum_type(self.composite)
    }
}

pub(super) fn checksum_type(composite: bool) -> ChecksumType {
    ChecksumType::from_static(if composite {
        ChecksumType::COMPOSITE
    } else {
        ChecksumType::FULL_OBJECT
    })
}

/// The file beside the bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct Sidecar {
    pub(super) key: String,
    /// (name of the file, its size)
    pub(super) segments: Vec<(String, u64)>,
    pub(super) facts: Facts,
}

impl Object {
    pub(super) fn sidecar(&self) -> Sidecar {
        Sidecar {
            key: self.key.clone(),
            segments: self
                .segments
                .iter()
                .map(|s| (s.blob.name(), s.size))
                .collect(),
            facts: self.facts.clone(),
        }
    }
}
