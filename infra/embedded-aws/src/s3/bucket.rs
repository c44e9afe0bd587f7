//! The objects and unfinished uploads of a bucket.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use s3s::{S3Error, S3Result, dto::PublicAccessBlockConfiguration, s3_error};

use super::{conditions::WriteCondition, lifecycle::Lifecycle, object::Object, upload::Upload};

#[derive(Default)]
pub(super) struct Bucket {
    contents: Mutex<Contents>,
}

#[derive(Default)]
pub(super) struct Contents {
    /// By key.
    pub(super) objects: BTreeMap<String, Arc<Object>>,
    /// By upload id.
    pub(super) uploads: BTreeMap<String, Upload>,
    /// Number of uploads ever created.
    pub(super) created_uploads: u64,
    /// Stored and returned; nothing here is public anyway.
    pub(super) public_access_block: Option<PublicAccessBlockConfiguration>,
    pub(super) lifecycle: Lifecycle,
}

impl Bucket {
    /// Locks the contents. No bytes are read or written under this lock.
    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock()
    }

    /// Deletes the objects that have expired by the bucket's rules.
    pub(super) fn expire(&self, now: Timestamp) {
        let contents = &mut *self.contents();
        contents.lifecycle.expire(&mut contents.objects, now);
    }

    pub(super) fn object(&self, key: &str) -> S3Result<Arc<Object>> {
        let object = self.contents().objects.get(key).cloned();
        object.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }
}

impl Contents {
    /// Puts the object under its key if the condition holds.
    pub(super) fn put(&mut self, object: Object, condition: &WriteCondition) -> S3Result<()> {
        let current = self.objects.get(&object.key);
        condition.check(current.map(|current| current.etag.as_str()))?;
        self.objects.insert(object.key.clone(), Arc::new(object));
        Ok(())
    }

    pub(super) fn upload(&self, id: &str, key: &str) -> S3Result<&Upload> {
        let upload = self.uploads.get(id).filter(|upload| upload.key == key);
        upload.ok_or_else(no_such_upload)
    }

    pub(super) fn upload_mut(&mut self, id: &str, key: &str) -> S3Result<&mut Upload> {
        let upload = self.uploads.get_mut(id).filter(|upload| upload.key == key);
        upload.ok_or_else(no_such_upload)
    }
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
         aborted or completed."
    )
}
