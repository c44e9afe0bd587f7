//! All buckets, and the directory of their bytes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use s3s::{S3Result, s3_error};

use super::bucket::Bucket;

pub(crate) struct Store {
    /// Directory of all blobs.
    pub(super) directory: PathBuf,
    buckets: Mutex<BTreeMap<String, Arc<Bucket>>>,
}

impl Store {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), buckets: Mutex::default() }
    }

    pub(super) fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        let buckets = self.buckets.lock();
        let bucket = buckets.get(name).cloned();
        bucket.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    pub(super) fn create(&self, name: &str) -> S3Result<()> {
        let mut buckets = self.buckets.lock();
        if buckets.contains_key(name) {
            return Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it."
            ));
        }
        buckets.insert(name.to_owned(), Arc::default());
        Ok(())
    }
}
