//! Moves Zoom's copy of stored recordings to the trash (`TrashAtZoomAfterDays`): only recordings whose stored and
//! verified files equal those that Zoom shows at that moment. Never deletes.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{MeetingUuid, RecordingId, ZoomUser};
use reelay_domain::link::LinkStatus;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::observation::{ObservationSource, ObservedAt};
use reelay_domain::recording::ZoomState;
use reelay_domain::scope;
use reelay_domain::time::saturating_add;
use reelay_domain::webhook::meeting;
use reelay_grants::{AccessToken, GrantError};
use reelay_runtime::AwsError;
use reelay_store::recordings::{FileKey, RecordingWithFiles};
use reelay_zoom::{ApiError, MeetingRecordings};
use serde_json::{Value, json};

use crate::observations::ListedChange;
use crate::{JobError, Reconciler};

/// Minimum and maximum interval between attempts while something keeps Zoom's copy.
const MIN_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
const MAX_INTERVAL: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Minimum time until the expiry of an object that counts as stored: S3 may already have queued it for removal.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// Reasons that end the attempts: nothing is left to move, the user has restored it, or the operator wants none.
const NOT_PRESENT: &str = "not_present_at_zoom";
const TURNED_OFF: &str = "turned_off";

impl Reconciler {
    /// Enqueues the job of a recording whose copy at Zoom is due, and returns when to check again.
    pub(crate) async fn enqueue_due_trash(
        &self,
        loaded: &RecordingWithFiles,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, AwsError> {
        let Some(due) = self.trash_at(loaded) else { return Ok(None) };
        if due > now {
            return Ok(Some(due));
        }
        let zoom_user = loaded.zoom_user.clone();
        let meeting_uuid = loaded.item.observed.metadata.meeting_uuid.clone();
        let tenant = loaded.zoom_user.account_id.as_str();
        let job = Job::TrashAtZoom { zoom_user, meeting_uuid };
        self.jobs.send(&JobMessage::scheduled(job), tenant).await?;
        // The reason to keep it may last, such as a file that the operator's filter skips.
        let interval = now.duration_since(due).clamp(MIN_INTERVAL, MAX_INTERVAL);
        Ok(Some(saturating_add(now, interval)))
    }

    /// When Zoom's copy is moved: at the saved time, or later if `TrashAtZoomAfterDays` was raised. `None`: never.
    fn trash_at(&self, loaded: &RecordingWithFiles) -> Option<Timestamp> {
        let planned = Timestamp::from_millisecond(loaded.item.trash_at?).ok()?;
        let days = SignedDuration::from_hours(24 * i64::from(self.trash_after_days));
        let stored_at = loaded.recording().stored_at();
        let by_days = stored_at.map_or(planned, |at| saturating_add(at, days));
        (self.trash_after_days > 0).then_some(planned.max(by_days))
    }

    /// Moves Zoom's copy to the trash, unless there is a reason to keep it. Safe to repeat.
    pub(crate) async fn trash_at_zoom(
        &self,
        zoom_user: &ZoomUser,
        meeting_uuid: &MeetingUuid,
    ) -> Result<(), JobError> {
        let id = RecordingId::from_uuid(meeting_uuid);
        match self.try_to_trash(zoom_user, meeting_uuid, &id).await {
            Ok(Ok(object)) => {
                tracing::info!(recording = %id, "recording moved to Zoom's trash");
                let change = vec![ListedChange::Trashed(object)];
                self.queue(zoom_user, change, ObservationSource::List, self.clock.now()).await?;
                Ok(self.recordings.end_trash_checks(zoom_user, &id).await?)
            }
            Ok(Err(reason)) => {
                tracing::info!(recording = %id, reason, "recording kept at Zoom");
                if matches!(reason, NOT_PRESENT | TURNED_OFF) {
                    self.recordings.end_trash_checks(zoom_user, &id).await?;
                }
                Ok(())
            }
            Err(JobError::Zoom(ApiError::RateLimited(limit))) => {
                let until = limit.limited_until(self.clock.now());
                Ok(self.recordings.set_not_before(&zoom_user.account_id, until).await?)
            }
            // These errors concern one user or recording. A later check tries again.
            Err(
                error @ (JobError::Zoom(
                    ApiError::NotFound { .. } | ApiError::Forbidden { .. } | ApiError::MissingScope,
                )
                | JobError::Grant(
                    GrantError::Moved
                    | GrantError::NotFound
                    | GrantError::Revoking
                    | GrantError::ReauthorizationRequired,
                )),
            ) => {
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
    ) -> Result<Result<Value, &'static str>, JobError> {
        let now = self.clock.now();
        if self.trash_after_days == 0 {
            return Ok(Err(TURNED_OFF));
        }
        let snapshot = self.grants.links().snapshot(zoom_user).await?;
        if !snapshot.links.iter().any(|link| link.status == LinkStatus::Active) {
            return Ok(Err("no_active_link"));
        }
        if !snapshot.grant.is_some_and(|grant| scope::allows_trash(grant.scope.as_deref())) {
            return Ok(Err("scope_missing"));
        }
        let limited_until = self.recordings.not_before(&zoom_user.account_id).await?;
        if limited_until.is_some_and(|until| until > now) {
            return Ok(Err("rate_limited"));
        }
        let state = self.recordings.item(zoom_user, id).await?.map(|item| item.observed.zoom_state);
        if state.is_none_or(|state| state.unwrap_or_default() != ZoomState::Present) {
            return Ok(Err(NOT_PRESENT));
        }
        let MeetingRecordings { mut object, .. } = self.details(zoom_user, meeting_uuid).await?;
        object["uuid"] = json!(meeting_uuid);
        object["host_id"] = json!(zoom_user.user_id);
        let time = ObservedAt { at: now, is_own: true, source: ObservationSource::Details };
        let details = meeting::parse_meeting(zoom_user.clone(), &object, time);
        let Some(details) = details.filter(|details| details.ignored_files == 0) else {
            return Ok(Err("details_not_understood"));
        };
        // Read again after the request, so that a concurrent observation counts.
        let Some(loaded) = self.recordings.load(zoom_user, id).await? else {
            return Ok(Err(NOT_PRESENT));
        };
        let reason = match loaded.recording().reason_to_keep(&details.observation) {
            None if !self.keep_objects(&loaded, now).await? => Some("object_differs"),
            reason => reason,
        };
        if let Some(reason) = reason {
            // An earlier attempt may have been interrupted. Zoom has just shown its copy.
            if loaded.item.trashed_by_reelay {
                self.recordings.unmark_trashed(zoom_user, id).await?;
            }
            self.let_objects_expire(&loaded).await?;
            return Ok(Err(reason));
        }
        // State first: from now on no scheduled erasure deletes the stored copy.
        if !self.recordings.mark_trashed(zoom_user, id, now).await? {
            self.let_objects_expire(&loaded).await?;
            return Ok(Err(NOT_PRESENT));
        }
        match self.request_trash(zoom_user, meeting_uuid).await {
            Ok(()) => {
                for (key, _) in expiring(&loaded) {
                    // Otherwise checks find the object, and come again.
                    if let Err(error) = self.recordings.keep_for_ever(&key).await {
                        tracing::warn!(%error, "checks of an object that no longer expires not ended");
                    }
                }
                Ok(Ok(object))
            }
            Err(error) => {
                // Otherwise Zoom may have moved its copy.
                let is_refused = matches!(
                    error,
                    JobError::Grant(_)
                        | JobError::Zoom(
                            ApiError::NotFound { .. }
                                | ApiError::Forbidden { .. }
                                | ApiError::MissingScope
                                | ApiError::Rejected { .. }
                                | ApiError::RateLimited(_)
                                | ApiError::Unauthorized
                        )
                );
                if is_refused {
                    self.recordings.unmark_trashed(zoom_user, id).await?;
                }
                // Someone may have moved or deleted Zoom's copy after the details were read.
                if is_refused && !matches!(error, JobError::Zoom(ApiError::NotFound { .. })) {
                    self.let_objects_expire(&loaded).await?;
                }
                Err(error)
            }
        }
    }

    async fn request_trash(
        &self,
        zoom_user: &ZoomUser,
        meeting_uuid: &MeetingUuid,
    ) -> Result<(), JobError> {
        let zoom = self.grants.zoom();
        let request =
            async |token: &AccessToken| zoom.trash_recordings(&token.token, meeting_uuid).await;
        let token = self.grants.access_token(zoom_user).await?;
        match request(&token).await {
            Err(ApiError::Unauthorized) => {
                let token = self.grants.replace_token(zoom_user, &token).await?;
                Ok(request(&token).await?)
            }
            trashed => Ok(trashed?),
        }
    }

    /// Removes the expiry tags of intact objects, then checks again that each has the verified size and checksum.
    /// `false` if an object is missing, differs or expires soon.
    async fn keep_objects(
        &self,
        loaded: &RecordingWithFiles,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let margin = saturating_add(now, EXPIRY_MARGIN).as_millisecond();
        if loaded.files.iter().any(|file| file.object_expires_at.is_some_and(|at| at < margin))
            || !self.are_objects_intact(loaded).await?
        {
            return Ok(false);
        }
        for file in &loaded.files {
            if let Some(object) = &file.key {
                self.bucket.remove_tags(object).await?;
            }
        }
        // No object was deleted before its tag was removed.
        self.are_objects_intact(loaded).await
    }

    /// Undoes [`Self::keep_objects`]: Zoom keeps its copy. S3 counts `RetentionDays` from the object's creation.
    async fn let_objects_expire(&self, loaded: &RecordingWithFiles) -> Result<(), AwsError> {
        for (_, object) in expiring(loaded) {
            if self.bucket.has_object(object).await? {
                self.bucket.tag_as_expiring(object).await?;
            }
        }
        Ok(())
    }

    async fn are_objects_intact(&self, loaded: &RecordingWithFiles) -> Result<bool, AwsError> {
        for file in &loaded.files {
            let (Some(object), Some(crc)) = (&file.key, &file.crc64nvme) else { return Ok(false) };
            if !self.bucket.is_intact(object, file.bytes_stored, crc).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The files whose objects expire, and these objects.
fn expiring(loaded: &RecordingWithFiles) -> impl Iterator<Item = (FileKey, &str)> {
    let files = loaded.files.iter().filter(|file| file.object_expires_at.is_some());
    files.filter_map(|file| {
        let key = FileKey {
            zoom_user: loaded.zoom_user.clone(),
            recording: RecordingId::from_uuid(&loaded.item.observed.metadata.meeting_uuid),
            file: file.observed.metadata.id.clone(),
        };
        Some((key, file.key.as_deref()?))
    })
}
