//! Multipart uploads.
//!
//! Parts are blobs; completion lists them in order and copies no byte. The checksum of the object is
//! combined from those of the parts, which were computed from the stored bytes.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{ChecksumType, CompletedPart, Timestamp},
    s3_error,
};

use super::{
    blob::Received,
    checksum::{Algorithm, Checksums, checksums_of},
    object::{Description, Object, Segment},
};

/// Minimal size of each part except the last.
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
pub(super) const MAX_PARTS: i32 = 10_000;

pub(super) struct Upload {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) initiated_at: Timestamp,
    /// Number of the upload in order of creation: the resolution of `initiated_at` is a second.
    pub(super) sequence: u64,
    /// `None`: the client named none. S3 then computes CRC64NVME and accepts any from the client.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) checksum_type: ChecksumType,
    pub(super) description: Description,
    /// By part number.
    pub(super) parts: BTreeMap<i32, Part>,
}

pub(super) struct Part {
    pub(super) segment: Segment,
    md5: [u8; 16],
    pub(super) checksums: Checksums,
    pub(super) modified_at: Timestamp,
}

impl Part {
    pub(super) fn new(received: Received, modified_at: Timestamp) -> Self {
        Self {
            segment: Segment { blob: received.blob, size: received.size },
            md5: received.md5,
            checksums: received.checksums,
            modified_at,
        }
    }

    pub(super) fn etag(&self) -> String {
        hex::encode(self.md5)
    }
}

/// Size and checksum of the object that the client expects.
pub(super) struct ExpectedObject {
    pub(super) checksums: Checksums,
    pub(super) size: Option<u64>,
}

impl Upload {
    /// The algorithm of the checksums in responses and of the object.
    pub(super) fn object_algorithm(&self) -> Algorithm {
        self.algorithm.unwrap_or(Algorithm::Crc64Nvme)
    }

    pub(super) fn is_composite(&self) -> bool {
        self.checksum_type.as_str() == ChecksumType::COMPOSITE
    }

    /// Builds the object from the listed parts.
    pub(super) fn assemble(
        &self,
        listed: &[CompletedPart],
        expected: &ExpectedObject,
    ) -> S3Result<Object> {
        let parts = self.select(listed)?;
        let size = parts.iter().map(|part| part.segment.size).sum();
        if expected.size.is_some_and(|expected| expected != size) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header does not match what was computed."
            ));
        }
        let algorithm = self.object_algorithm();
        let part_checksums = parts.iter().map(|part| {
            let checksum = part.checksums.get(algorithm).unwrap_or_default();
            (checksum, part.segment.size)
        });
        let checksum = if self.is_composite() {
            algorithm.composite(part_checksums.map(|(checksum, _)| checksum))?
        } else {
            algorithm.full_object(part_checksums)?
        };
        let mut checksums = Checksums::default();
        checksums.set(algorithm, checksum);
        for other in expected.checksums.algorithms() {
            if checksums.get(other) != expected.checksums.get(other) {
                return Err(self.checksum_mismatch(other));
            }
        }
        let mut md5 = Md5::new();
        for part in &parts {
            md5.update(part.md5);
        }
        Ok(Object {
            key: self.key.clone(),
            segments: parts.iter().map(|part| part.segment.clone()).collect(),
            size,
            etag: format!("{}-{}", hex::encode(md5.finalize()), parts.len()),
            checksums,
            checksum_type: self.checksum_type.clone(),
            // An object is as old as its upload
            // ([S3](https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html)).
            modified_at: self.initiated_at.clone(),
            description: self.description.clone(),
        })
    }

    fn select(&self, listed: &[CompletedPart]) -> S3Result<Vec<&Part>> {
        if listed.is_empty() {
            return Err(s3_error!(MalformedXML, "A completion lists at least one part"));
        }
        let number = |part: &CompletedPart| part.part_number.unwrap_or_default();
        if !listed.is_sorted_by(|part, next| number(part) < number(next)) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        // With a checksum algorithm S3 requires consecutive numbers. It returns 500, this store 400.
        let mut consecutive = 1..;
        if self.algorithm.is_some()
            && listed.iter().any(|part| Some(number(part)) != consecutive.next())
        {
            return Err(s3_error!(
                InvalidRequest,
                "Parts of an upload with checksums must be numbered 1, 2, 3 and so on"
            ));
        }
        let parts = listed.iter().map(|part| self.select_one(number(part), part));
        let parts = parts.collect::<S3Result<Vec<_>>>()?;
        let mut all_but_last = parts.iter().rev().skip(1);
        if all_but_last.any(|part| part.segment.size < MIN_PART_BYTES) {
            return Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size"
            ));
        }
        Ok(parts)
    }

    fn select_one(&self, number: i32, listed: &CompletedPart) -> S3Result<&Part> {
        let part = self.parts.get(&number).ok_or_else(invalid_part)?;
        let etag = listed.e_tag.as_ref().map(s3s::dto::ETag::value);
        let checksums = checksums_of!(listed);
        let mut algorithms = checksums.algorithms();
        if etag.is_none_or(|etag| etag != part.etag())
            || algorithms.any(|algorithm| checksums.get(algorithm) != part.checksums.get(algorithm))
        {
            return Err(invalid_part());
        }
        let algorithm = self.object_algorithm();
        if self.is_composite() && checksums.get(algorithm).is_none() {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidRequest,
                format!(
                    "The upload was created using a {} checksum. The complete request must include the \
                     checksum for each part. It was missing for part {number} in the request.",
                    algorithm.name().to_lowercase(),
                ),
            ));
        }
        Ok(part)
    }

    fn checksum_mismatch(&self, algorithm: Algorithm) -> S3Error {
        if algorithm == self.object_algorithm() {
            s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            )
        } else {
            s3_error!(
                InvalidRequest,
                "The upload uses the checksum {}, not {}",
                self.object_algorithm().name(),
                algorithm.name()
            )
        }
    }
}

fn invalid_part() -> S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or \
         the specified entity tag may not match the part's entity tag."
    )
}
