//! What the app is told of a file's end, and the manifest that lies beside the files.

use reelay_domain::ids::AppUserId;
use reelay_domain::notification::RecordingNotification;
use reelay_domain::object_key;
use reelay_domain::recording::{FileStatus, RecordingStatus};
use reelay_runtime::AwsError;
use reelay_store::recordings::{FileItem, FileKey, RecordingWithFiles};

use crate::{RecordingDownloader, manifest};

impl RecordingDownloader {
    /// Tells the app how the file ended. If with it all wanted files are stored, writes the manifest and
    /// tells that too. Safe to repeat.
    pub(crate) async fn tell(&self, key: &FileKey, item: &FileItem) -> Result<(), AwsError> {
        let holding = self.grants.links().snapshot(&key.zoom_user).await?;
        let app_users: Vec<AppUserId> = holding.app_users().cloned().collect();
        match item.status {
            FileStatus::Stored => {
                let stored = RecordingNotification::FileStored(key.file.clone());
                // What this reads is consistent and comes after our own write, so of those who store the
                // last files at the same time at least one sees them all.
                let overview = self.announce(key, &stored, &app_users).await?;
                if overview.is_some_and(|overview| {
                    overview.recording().status() == RecordingStatus::Stored
                }) {
                    self.write_manifest(key).await?;
                    self.announce(key, &RecordingNotification::Stored, &app_users)
                        .await?;
                }
                Ok(())
            }
            FileStatus::Failed => {
                let fact = RecordingNotification::Failed {
                    file: key.file.clone(),
                    reason: item.reason.clone().unwrap_or_default(),
                    attempt: item.attempt,
                };
                self.announce(key, &fact, &app_users).await.map(|_| ())
            }
            FileStatus::Queued | FileStatus::Transferring | FileStatus::Skipped => Ok(()),
        }
    }

    async fn announce(
        &self,
        key: &FileKey,
        fact: &RecordingNotification,
        to: &[AppUserId],
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        self.outbox
            .publish(&self.recordings, &key.zoom_user, &key.recording, fact, to)
            .await
    }

    /// Writes the manifest, and again while the recording has changed under our hands: a manifest that
    /// was overtaken must not be the last one written.
    async fn write_manifest(&self, key: &FileKey) -> Result<(), AwsError> {
        let mut written = None;
        while let Some(loaded) = self.recordings.load(&key.zoom_user, &key.recording).await? {
            let manifest = manifest::of(&loaded, self.bucket.name());
            if written.as_ref() == Some(&manifest) {
                break;
            }
            let first_start = loaded.item.metadata.start_time;
            let name = object_key::manifest(&key.zoom_user, &key.recording, first_start);
            self.bucket.put_json(&name, manifest.clone()).await?;
            written = Some(manifest);
        }
        Ok(())
    }
}
