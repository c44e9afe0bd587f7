//! Multipart uploads, by S3's rules.
//!
//! Parts are files; completing an upload names them in the order that the client gives and moves no
//! byte. The checksum of the whole is combined from the parts', each of which was computed when the part
//! arrived, so it is about the bytes that are on disk and not about what a client says of them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use md5::{Digest, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result, dto::CompletedPart, s3_error};
use serde::{Deserialize, Serialize};

use super::{
    blob::{Blob, Received},
    checksum::{Algorithm, Sums, sums_of},
    object::{Description, Facts, Millis, Object, Segment, now},
};
use crate::files;

/// Every part but the last must have this size.
pub(super) const MIN_PART: u64 = 5 * 1024 * 1024;
pub(super) const MAX_PARTS: i32 = 10_000;

#[derive(Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) initiated: Millis,
    /// `None`: the client named none, so S3 computes CRC64NVME and takes any from the client.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) composite: bool,
    pub(super) description: Description,
    #[serde(skip)]
    pub(super) parts: BTreeMap<i32, Part>,
}

pub(super) struct Part {
    pub(super) segment: Segment,
    pub(super) facts: PartFacts,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PartFacts {
    file: String,
    size: u64,
    #[serde(with = "hex::serde")]
    md5: [u8; 16],
    pub(super) sums: Sums,
    pub(super) modified: Millis,
}

impl PartFacts {
    pub(super) fn etag(&self) -> String {
        hex::encode(self.md5)
    }
}

/// What a client demands of the object that its parts become.
pub(super) struct Demand {
    pub(super) sums: Sums,
    pub(super) size: Option<u64>,
}

impl Upload {
    /// The algorithm whose sums the upload shows and leaves on the object.
    pub(super) fn shown_algorithm(&self) -> Algorithm {
        self.algorithm.unwrap_or(Algorithm::Crc64Nvme)
    }

    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        files::write_json(&directory.join("upload.json"), self)
    }

    /// Takes a part in, in place of one with the same number.
    pub(super) fn put_part(
        &mut self,
        directory: &Path,
        number: i32,
        received: Received,
    ) -> io::Result<()> {
        let facts = PartFacts {
            file: received.blob.name(),
            size: received.size,
            md5: received.md5,
            sums: received.sums,
            modified: now(),
        };
        files::write_json(&part_file(directory, number), &facts)?;
        received.blob.keep();
        let segment = Segment {
            size: received.size,
            blob: received.blob,
        };
        if let Some(replaced) = self.parts.insert(number, Part { segment, facts }) {
            replaced.segment.blob.discard();
        }
        Ok(())
    }

    /// The object that the listed parts make, if the list and the client's demands are right.
    pub(super) fn assemble(&self, listed: &[CompletedPart], demand: &Demand) -> S3Result<Object> {
        let chosen = self.choose(listed)?;
        let size = chosen.iter().map(|part| part.segment.size).sum();
        if demand.size.is_some_and(|wanted| wanted != size) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header does not match what was computed."
            ));
        }
        let algorithm = self.shown_algorithm();
        let parts_sums = || {
            chosen.iter().map(|part| {
                let sum = part.facts.sums.get(algorithm);
                (sum.unwrap_or_default(), part.segment.size)
            })
        };
        let sum = if self.composite {
            algorithm.composite(parts_sums().map(|(sum, _)| sum))?
        } else {
            algorithm.full_object(parts_sums())?
        };
        let mut sums = Sums::default();
        sums.set(algorithm, sum);
        for wanted in demand.sums.algorithms() {
            if sums.get(wanted) != demand.sums.get(wanted) {
                return Err(self.wrong_sum(wanted));
            }
        }
        let mut md5 = Md5::new();
        for part in &chosen {
            md5.update(part.facts.md5);
        }
        Ok(Object {
            key: self.key.clone(),
            segments: chosen.iter().map(|part| part.segment.clone()).collect(),
            facts: Facts {
                size,
                etag: format!("{}-{}", hex::encode(md5.finalize()), chosen.len()),
                sums,
                composite: self.composite,
                modified: now(),
                description: self.description.clone(),
                upload_id: Some(self.id.clone()),
            },
        })
    }

    fn choose(&self, listed: &[CompletedPart]) -> S3Result<Vec<&Part>> {
        if listed.is_empty() {
            return Err(s3_error!(
                MalformedXML,
                "A completion lists at least one part"
            ));
        }
        let number = |part: &CompletedPart| part.part_number.unwrap_or_default();
        if !listed.is_sorted_by(|one, next| number(one) < number(next)) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        // With checksums of the client's choice S3 wants no gaps. (It answers 500; we name the fault.)
        let mut expected = 1..;
        if self.algorithm.is_some()
            && listed
                .iter()
                .any(|part| Some(number(part)) != expected.next())
        {
            return Err(s3_error!(
                InvalidRequest,
                "Parts of an upload with checksums must be numbered 1, 2, 3 and so on"
            ));
        }
        let chosen = listed
            .iter()
            .map(|wanted| self.choose_one(number(wanted), wanted))
            .collect::<S3Result<Vec<_>>>()?;
        let all_but_last = chosen.iter().rev().skip(1);
        if all_but_last
            .into_iter()
            .any(|part| part.segment.size < MIN_PART)
        {
            return Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size"
            ));
        }
        Ok(chosen)
    }

    fn choose_one(&self, number: i32, wanted: &CompletedPart) -> S3Result<&Part> {
        let part = self.parts.get(&number).ok_or_else(invalid_part)?;
        let etag = wanted.e_tag.as_ref().map(s3s::dto::ETag::value);
        if etag.is_none_or(|etag| etag != part.facts.etag()) {
            return Err(invalid_part());
        }
        let sums = sums_of!(wanted);
        if sums
            .algorithms()
            .any(|algorithm| sums.get(algorithm) != part.facts.sums.get(algorithm))
        {
            return Err(invalid_part());
        }
        if self.composite && sums.get(self.shown_algorithm()).is_none() {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidRequest,
                format!(
                    "The upload was created using a {} checksum. The complete request must include the \
                     checksum for each part. It was missing for part {number} in the request.",
                    self.shown_algorithm().name().to_lowercase(),
                ),
            ));
        }
        Ok(part)
    }

    fn wrong_sum(&self, wanted: Algorithm) -> S3Error {
        if wanted == self.shown_algorithm() {
            s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                wanted.name()
            )
        } else {
            s3_error!(
                InvalidRequest,
                "The upload uses the checksum {}, not {}",
                self.shown_algorithm().name(),
                wanted.name()
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

fn part_file(directory: &Path, number: i32) -> PathBuf {
    directory.join(format!("{number}.json"))
}

/// `None`: the directory is what is left of an upload that was being made or removed.
pub(super) fn load(directory: &Path, blobs: &Path) -> io::Result<Option<Upload>> {
    let Some(mut upload) = files::read_json::<Upload>(&directory.join("upload.json"))? else {
        return Ok(None);
    };
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".json")?.parse().ok());
        let Some(number) = number else {
            continue;
        };
        if let Some(facts) = files::read_json::<PartFacts>(&path)? {
            let segment = Segment {
                blob: Blob::existing(blobs, &facts.file),
                size: facts.size,
            };
            upload.parts.insert(number, Part { segment, facts });
        }
    }
    Ok(Some(upload))
}

/// Removes the record of an upload. What named no object goes with it.
pub(super) fn remove(directory: &Path, upload: &Upload, object: Option<&Object>) -> io::Result<()> {
    // First the file by which it is an upload, as with buckets.
    fs::remove_file(directory.join("upload.json"))?;
    for part in upload.parts.values() {
        let kept = object.is_some_and(|object| {
            let mut segments = object.segments.iter();
            segments.any(|segment| std::sync::Arc::ptr_eq(&segment.blob, &part.segment.blob))
        });
        if !kept {
            part.segment.blob.discard();
        }
    }
    fs::remove_dir_all(directory)
}
