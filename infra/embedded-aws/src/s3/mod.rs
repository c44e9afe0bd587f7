//! S3: the protocol by s3s, the store by us.
//!
//! s3s parses requests, checks signatures (headers, presigned URLs, chunks) and writes answers. The store
//! keeps [objects in files](bucket) and follows S3's rules for [uploads](upload), [checksums](body) and
//! [conditions](conditions) closely enough that a client which is wrong here is wrong at AWS.
//!
//! Not here: versions, access control, tags, encryption settings, requests for parts of an object by part
//! number, copies of parts, events. s3s answers `NotImplemented` to calls for them. Encryption and storage
//! class headers are taken and forgotten; a bucket says of itself what AWS's say that were told nothing. The
//! public access block is kept and shown.

mod blob;
mod body;
mod bucket;
mod checksum;
mod conditions;
mod front;
mod listing;
mod multipart;
mod object;
mod operations;
mod reads;
mod upload;
mod writes;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use s3s::{S3Error, S3Result, s3_error};

use self::bucket::Bucket;
pub(crate) use self::front::S3Front;

/// All buckets.
pub(crate) struct Store {
    directory: PathBuf,
    region: String,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
}

impl Store {
    pub(crate) fn open(directory: &Path, region: &str) -> io::Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            region: region.to_owned(),
            buckets: RwLock::new(bucket::load_all(directory)?),
        })
    }

    fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets
            .get(name)
            .cloned()
            .ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    fn create_bucket(&self, name: &str) -> S3Result<()> {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        if buckets.contains_key(name) {
            return Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it."
            ));
        }
        // s3s admits only names by S3's rules, which are safe names of directories as well.
        let bucket = Bucket::create(self.directory.join(name)).map_err(S3Error::internal_error)?;
        buckets.insert(name.to_owned(), Arc::new(bucket));
        Ok(())
    }

    fn delete_bucket(&self, name: &str) -> S3Result<()> {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .get(name)
            .ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
        if !bucket.remove().map_err(S3Error::internal_error)? {
            return Err(s3_error!(
                BucketNotEmpty,
                "The bucket you tried to delete is not empty"
            ));
        }
        buckets.remove(name);
        Ok(())
    }

    fn bucket_list(&self) -> Vec<(String, Arc<Bucket>)> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets
            .iter()
            .map(|(name, bucket)| (name.clone(), Arc::clone(bucket)))
            .collect()
    }
}
