//! All buckets, and the directory of their bytes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use reelay_clock::Clock;
use s3s::{S3Result, dto::Timestamp, s3_error};

use super::{bucket::Bucket, object::whole_seconds};

pub(crate) struct Store {
    /// Directory of all blobs.
    pub(super) directory: PathBuf,
    buckets: Mutex<BTreeMap<String, Arc<Bucket>>>,
    clock: Clock,
}

impl Store {
    pub(crate) fn new(directory: &Path, clock: Clock) -> Self {
        Self { directory: directory.to_owned(), buckets: Mutex::default(), clock }
    }

    /// The time of changes.
    pub(super) fn now(&self) -> Timestamp {
        whole_seconds(self.clock.now())
    }

    pub(super) fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        let buckets = self.buckets.lock();
        let bucket = buckets.get(name).cloned();
        let bucket =
            bucket.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
        bucket.expire(self.clock.now());
        Ok(bucket)
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
