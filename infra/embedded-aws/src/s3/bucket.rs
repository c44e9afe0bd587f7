//! A bucket: an index in memory, and the files from which it is built again at start.
//!
//! ```text
//! <bucket>/bucket.json                     when it was made, lifecycle rules, public access block
//! <bucket>/blobs/<random>                  bytes of objects and of parts
//! <bucket>/objects/<SHA-256 of key>.json   what an object is and which files it consists of
//! <bucket>/uploads/<id>/upload.json        a multipart upload
//! <bucket>/uploads/<id>/<number>.json      a part of it
//! ```
//!
//! No file name comes from a client, so `p` and `p/q` live side by side and `../x` leads nowhere. An
//! object appears, changes and goes by the rename or removal of one small file; files in `blobs` that
//! nothing names are remains of a process that died, and are swept at start. Nothing is flushed to the
//! disk: what is written survives the process, not a power failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use s3s::{S3Error, S3Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    blob::Blob,
    conditions::WriteCondition,
    object::{Millis, Object, Segment, Sidecar, now},
    upload::{self, Upload},
};
use crate::files;

pub(super) struct Bucket {
    directory: PathBuf,
    pub(super) created: Millis,
    contents: Mutex<Contents>,
}

#[derive(Default)]
pub(super) struct Contents {
    pub(super) objects: BTreeMap<String, Arc<Object>>,
    /// By upload id.
    pub(super) uploads: BTreeMap<String, Upload>,
    /// As the client wrote it; kept, shown, never acted upon.
    pub(super) lifecycle: Option<String>,
    /// Kept and shown: nothing here is public anyway.
    pub(super) public_access: Option<PublicAccess>,
}

/// The four switches that keep a bucket from being opened to everybody.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct PublicAccess {
    pub(super) block_public_acls: bool,
    pub(super) ignore_public_acls: bool,
    pub(super) block_public_policy: bool,
    pub(super) restrict_public_buckets: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    created: Millis,
    lifecycle: Option<String>,
    #[serde(default)]
    public_access: Option<PublicAccess>,
}

impl Bucket {
    pub(super) fn create(directory: PathBuf) -> io::Result<Self> {
        for part in ["blobs", "objects", "uploads"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let bucket = Self {
            directory,
            created: now(),
            contents: Mutex::default(),
        };
        bucket.save(&bucket.contents())?;
        Ok(bucket)
    }

    /// `None`: the directory is what is left of a bucket that was being created or deleted.
    pub(super) fn load(directory: PathBuf) -> io::Result<Option<Self>> {
        let Some(saved) = files::read_json::<Saved>(&directory.join("bucket.json"))? else {
            return Ok(None);
        };
        let blobs = directory.join("blobs");
        let mut contents = Contents {
            lifecycle: saved.lifecycle,
            public_access: saved.public_access,
            ..Contents::default()
        };
        let mut named = BTreeSet::new();
        let mut finished = BTreeSet::new();
        for entry in fs::read_dir(directory.join("objects"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                fs::remove_file(path)?;
                continue;
            }
            let Some(sidecar) = files::read_json::<Sidecar>(&path)? else {
                continue;
            };
            named.extend(sidecar.segments.iter().map(|(name, _)| name.clone()));
            finished.extend(sidecar.facts.upload_id.clone());
            let segments = sidecar.segments.iter().map(|(name, size)| Segment {
                blob: Blob::existing(&blobs, name),
                size: *size,
            });
            let object = Object {
                key: sidecar.key.clone(),
                segments: segments.collect(),
                facts: sidecar.facts,
            };
            contents.objects.insert(sidecar.key, Arc::new(object));
        }
        for entry in fs::read_dir(directory.join("uploads"))? {
            let path = entry?.path();
            let upload = upload::load(&path, &blobs)?;
            match upload.filter(|upload| !finished.contains(&upload.id)) {
                Some(upload) => {
                    named.extend(upload.parts.values().map(|part| part.segment.blob.name()));
                    contents.uploads.insert(upload.id.clone(), upload);
                }
                None => fs::remove_dir_all(path)?,
            }
        }
        for entry in fs::read_dir(&blobs)? {
            let entry = entry?;
            if !named.contains(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Some(Self {
            directory,
            created: saved.created,
            contents: Mutex::new(contents),
        }))
    }

    /// Removes the bucket if it holds nothing.
    pub(super) fn remove(&self) -> io::Result<bool> {
        let contents = self.contents();
        if !contents.objects.is_empty() || !contents.uploads.is_empty() {
            return Ok(false);
        }
        // First the file by which it is a bucket: a death in between leaves remains, not half a bucket.
        fs::remove_file(self.directory.join("bucket.json"))?;
        fs::remove_dir_all(&self.directory)?;
        Ok(true)
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.directory.join("blobs")
    }

    pub(super) fn upload_directory(&self, id: &str) -> PathBuf {
        self.directory.join("uploads").join(id)
    }

    /// Everything in the bucket. Held for short: no bytes of objects move under this lock.
    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        // Index and files are changed file first, so a panic in between leaves a valid index.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn object(&self, key: &str) -> S3Result<Arc<Object>> {
        self.contents()
            .objects
            .get(key)
            .cloned()
            .ok_or_else(|| s3s::s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    /// Makes the object the one of its key, if the condition holds, and lets go of the one before.
    pub(super) fn commit(
        &self,
        contents: &mut Contents,
        object: Object,
        condition: &WriteCondition,
    ) -> S3Result<()> {
        let current = contents.objects.get(&object.key);
        condition.check(current.map(|current| current.facts.etag.as_str()))?;
        files::write_json(&self.sidecar(&object.key), &object.sidecar())
            .map_err(S3Error::internal_error)?;
        for segment in &object.segments {
            segment.blob.keep();
        }
        if let Some(replaced) = contents
            .objects
            .insert(object.key.clone(), Arc::new(object))
        {
            discard(&replaced.segments);
        }
        Ok(())
    }

    /// Removes the object; it is no error if there is none.
    pub(super) fn delete(&self, contents: &mut Contents, key: &str) -> S3Result<()> {
        if contents.objects.contains_key(key) {
            fs::remove_file(self.sidecar(key)).map_err(S3Error::internal_error)?;
            if let Some(deleted) = contents.objects.remove(key) {
                discard(&deleted.segments);
            }
        }
        Ok(())
    }

    pub(super) fn set_lifecycle(&self, lifecycle: Option<String>) -> io::Result<()> {
        let mut contents = self.contents();
        contents.lifecycle = lifecycle;
        self.save(&contents)
    }

    pub(super) fn set_public_access(&self, block: Option<PublicAccess>) -> io::Result<()> {
        let mut contents = self.contents();
        contents.public_access = block;
        self.save(&contents)
    }

    fn save(&self, contents: &Contents) -> io::Result<()> {
        let saved = Saved {
            created: self.created,
            lifecycle: contents.lifecycle.clone(),
            public_access: contents.public_access,
        };
        files::write_json(&self.directory.join("bucket.json"), &saved)
    }

    fn sidecar(&self, key: &str) -> PathBuf {
        let name = hex::encode(Sha256::digest(key.as_bytes()));
        self.directory.join("objects").join(name + ".json")
    }
}

fn discard(segments: &[Segment]) {
    for segment in segments {
        segment.blob.discard();
    }
}

/// All buckets below `directory`.
pub(super) fn load_all(directory: &Path) -> io::Result<BTreeMap<String, Arc<Bucket>>> {
    fs::create_dir_all(directory)?;
    let mut buckets = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match Bucket::load(entry.path())? {
            Some(bucket) => {
                buckets.insert(name, Arc::new(bucket));
            }
            None => fs::remove_dir_all(entry.path())?,
        }
    }
    Ok(buckets)
}
