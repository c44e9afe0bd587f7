//! Events that could not be parsed. Those about a linked user are moved under the user's prefix, where an erasure
//! finds them. `reelay unparsed` lists them. The bucket's lifecycle rules delete them.

use reelay_domain::ids::ZoomUser;
use reelay_domain::webhook::event::EventError;
use reelay_domain::webhook::unparsed::find_zoom_user;
use reelay_domain::{object_key, source_cipher};
use reelay_runtime::metrics::{self, Metric};
use serde_json::Value;

use crate::{EventProcessor, ProcessError};

impl EventProcessor {
    /// Files a redacted event that lacks a required field.
    pub(crate) async fn file_unparsed(
        &self,
        event: &Value,
        error: &EventError,
    ) -> Result<(), ProcessError> {
        let text = event.to_string().into_bytes();
        let user = find_zoom_user(&text);
        if !self.is_kept(user.as_ref()).await? {
            return Ok(());
        }
        let key = object_key::unparsed_event(user.as_ref(), &text);
        self.bucket.put_json(&key, text).await?;
        tracing::error!(key, %error, "event could not be parsed");
        Ok(())
    }

    /// Files an encrypted body that is no event.
    pub(crate) async fn file_encrypted(&self, key: &str) -> Result<(), ProcessError> {
        // Filing deletes the object last: if it is missing, an earlier delivery filed it.
        let Some(bytes) = self.bucket.read(key).await? else {
            tracing::warn!(key, "stored event not found: filed before, or expired");
            return Ok(());
        };
        let keys = self.queue_key.versions().await?;
        let body =
            source_cipher::decrypt_body(&keys, &bytes).map_err(|_| ProcessError::NotDecrypted)?;
        let user = find_zoom_user(&body);
        let is_kept = self.is_kept(user.as_ref()).await?;
        match &user {
            // An event that names no user stays under `events/unparsed/`.
            None => tracing::error!(key, "event could not be parsed"),
            Some(user) if is_kept => {
                let filed = object_key::encrypted_event(Some(user), &bytes);
                self.bucket.put(&filed, "application/octet-stream", bytes).await?;
                tracing::error!(key = filed, "event could not be parsed");
            }
            Some(_) => {}
        }
        if user.is_some() {
            self.bucket.delete(key).await?;
        }
        Ok(())
    }

    /// Whether an event about this user is kept: unless the user is not linked.
    async fn is_kept(&self, user: Option<&ZoomUser>) -> Result<bool, ProcessError> {
        let is_linked = match user {
            Some(user) => self.links.snapshot(user).await?.receivers().next().is_some(),
            None => true,
        };
        let (metric, reason) = match (user, is_linked) {
            (_, false) => (Metric::EventsAboutUnknownHosts, "unlinked"),
            (Some(_), true) => (Metric::EventsUnparsed, "linked_user"),
            (None, true) => (Metric::EventsUnparsed, "unknown_user"),
        };
        metrics::count(metric, reason);
        Ok(is_linked)
    }
}
