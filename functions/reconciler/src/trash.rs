//! Moves Zoom's copy of stored recordings to the trash (`TrashAtZoomAfterDays`): only what is stored and verified, and
//! equals what Zoom shows at that moment. Never deletes.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{MeetingUuid, RecordingId, ZoomUser};
use reelay_domain::link::LinkStatus;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::observation::{ObservationSource, ObservedAt};
use reelay_domain::recording::ZoomState;
use reelay_domain::time::saturating_add;
use reelay_domain::webhook::meeting;
use reelay_grants::AccessToken;
use reelay_runtime::AwsError;
use reelay_store::recordings::{FileKey, RecordingItem, RecordingWithFiles};
use reelay_zoom::{ApiError, MeetingRecordings};
use serde_json::{Value, json};

use crate::observations::ListedChange;
use crate::{JobError, Reconciler};

/// Interval between attempts while something keeps Zoom's copy.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Reason that ends the attempts: nothing is left to move, or the user has restored it.
const NOT_PRESENT: &str = "not_present_at_zoom";

impl Reconciler {
    /// Enqueues the job of a recording whose copy at Zoom is due, and returns when to check again.
    pub(crate) async fn enqueue_due_trash(
        &self,
        zoom_user: &ZoomUser,
        item: &RecordingItem,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, AwsError> {
        let Some(trash_at) = item.trash_at.and_then(|at| Timestamp::from_millisecond(at).ok())
        else {
            return Ok(None);
        };
        if trash_at > now {
            return Ok(Some(trash_at));
        }
        let meeting_uuid = item.observed.metadata.meeting_uuid.clone();
        let job = Job::TrashAtZoom { zoom_user: zoom_user.clone(), meeting_uuid };
        self.jobs.send(&JobMessage::new(job), zoom_user.account_id.as_str()).await?;
        Ok(Some(saturating_add(now, RETRY_INTERVAL)))
    }

    /// Moves Zoom's copy to the trash, unless something speaks for keeping it. Safe to repeat.
    pub(crate) async fn trash_at_zoom(
        &self,
        zoom_user: &ZoomUser,
        meeting_uuid: &MeetingUuid,
    ) -> Result<(), JobError> {
        let id = RecordingId::from_uuid(meeting_uuid);
        let requested_at = self.clock.now();
        match self.try_to_trash(zoom_user, meeting_uuid, &id, requested_at).await {
            Ok(Ok(object)) => {
                tracing::info!(recording = %id, "recording moved to Zoom's trash");
                let change = vec![ListedChange::Trashed(object)];
                self.queue(zoom_user, change, ObservationSource::List, requested_at).await?;
                Ok(self.recordings.end_trash_checks(zoom_user, &id).await?)
            }
            Ok(Err(NOT_PRESENT)) => Ok(self.recordings.end_trash_checks(zoom_user, &id).await?),
            Ok(Err(reason)) => {
                tracing::info!(recording = %id, reason, "recording kept at Zoom");
                Ok(())
            }
            // Facts about the user or the recording. The next daily check tries again.
            Err(JobError::Zoom(
                error @ (ApiError::NotFound { .. }
                | ApiError::Forbidden { .. }
                | ApiError::MissingScope),
            )) => {
                tracing::warn!(recording = %id, %error, "recording kept at Zoom");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns Zoom's object of the recording, or why it is kept.
    async fn try_to_trash(
        &self,
        zoom_user: &ZoomUser,
        meeting_uuid: &MeetingUuid,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<Result<Value, &'static str>, JobError> {
        let links = self.grants.links().covering_links(zoom_user).await?;
        if !links.iter().any(|link| link.status == LinkStatus::Active) {
            return Ok(Err("no_active_link"));
        }
        let Some(loaded) = self.recordings.load(zoom_user, id).await? else {
            return Ok(Err("unknown_recording"));
        };
        if loaded.recording().zoom_state != ZoomState::Present {
            return Ok(Err(NOT_PRESENT));
        }
        if !self.keep_objects(id, &loaded).await? {
            return Ok(Err("object_differs"));
        }
        let MeetingRecordings { mut object, .. } = self.details(zoom_user, meeting_uuid).await?;
        object["uuid"] = json!(meeting_uuid);
        object["host_id"] = json!(zoom_user.user_id);
        let time = ObservedAt { at: now, is_own: true, source: ObservationSource::Details };
        let details = meeting::parse_meeting(zoom_user.clone(), &object, time);
        let Some(details) = details.filter(|details| details.ignored_files == 0) else {
            return Ok(Err("details_not_understood"));
        };
        // After the request: what was observed meanwhile counts.
        let Some(loaded) = self.recordings.load(zoom_user, id).await? else {
            return Ok(Err("unknown_recording"));
        };
        if let Some(reason) = loaded.recording().reason_to_keep(&details.observation) {
            return Ok(Err(reason));
        }
        // State first: from now on nothing erases the stored copy unasked once Zoom's is gone.
        if !self.recordings.mark_trashed(zoom_user, id).await? {
            return Ok(Err(NOT_PRESENT));
        }
        let zoom = self.grants.zoom();
        let request =
            async |token: &AccessToken| zoom.trash_recordings(&token.token, meeting_uuid).await;
        let token = self.grants.access_token(zoom_user).await?;
        match request(&token).await {
            Err(ApiError::Unauthorized) => {
                let token = self.grants.replace_token(zoom_user, &token).await?;
                request(&token).await?;
            }
            trashed => trashed?,
        }
        Ok(Ok(object))
    }

    /// Makes the objects last for ever, then checks that S3 has each with the size and checksum that were verified.
    async fn keep_objects(
        &self,
        id: &RecordingId,
        loaded: &RecordingWithFiles,
    ) -> Result<bool, AwsError> {
        for file in &loaded.files {
            let (Some(object), Some(crc)) = (&file.key, &file.crc64nvme) else { return Ok(false) };
            if file.object_expires_at.is_some() {
                self.bucket.remove_tags(object).await?;
                let key = FileKey {
                    zoom_user: loaded.zoom_user.clone(),
                    recording: id.clone(),
                    file: file.observed.metadata.id.clone(),
                };
                self.recordings.keep_for_ever(&key).await?;
            }
            if !self.bucket.is_intact(object, file.bytes_stored, crc).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
