//! Reads the details of a meeting's recording: they name files that are neither in an event nor in the list.

use reelay_domain::ids::{FileId, MeetingUuid, ZoomUser};
use reelay_domain::link::active_coverage;
use reelay_domain::listing::ListedMeeting;
use reelay_domain::message::{Job, JobMessage};
use reelay_domain::observation::ObservationSource;
use reelay_domain::webhook::meeting;
use reelay_grants::{AccessToken, GrantError};
use reelay_runtime::metrics::{self, Metric};
use reelay_zoom::{ApiError, MeetingRecordings};
use serde_json::json;

use crate::attempt::Attempt;
use crate::observations::ListedChange;
use crate::{JobError, Reconciler};

/// Number of deliveries, over about a day, after which a recording that Zoom does not find counts as deleted. Zoom
/// sends the same response for one that is still being processed.
const MAX_NOT_FOUND_RECEIVES: u32 = 43;

/// Requested lifetime of the response's download token, in seconds. It is not used.
const UNUSED_TOKEN_TTL: u32 = 0;

/// A meeting, to read its details.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    pub(crate) meeting_uuid: MeetingUuid,
    /// Files that are not observed.
    pub(crate) omitted: Vec<FileId>,
}

impl Details {
    pub(crate) fn job(self, zoom_user: ZoomUser) -> JobMessage {
        let Self { meeting_uuid, omitted } = self;
        JobMessage::new(Job::ReadDetails { zoom_user, meeting_uuid, omitted })
    }
}

impl Reconciler {
    /// Enqueues jobs that read the details of meetings.
    pub(crate) async fn queue_details(
        &self,
        zoom_user: &ZoomUser,
        details: Vec<Details>,
    ) -> Result<(), JobError> {
        let jobs = details.into_iter().map(|details| details.job(zoom_user.clone()));
        let jobs: Vec<JobMessage> = jobs.collect();
        Ok(self.jobs.send_all(&jobs, zoom_user.account_id.as_str()).await?)
    }

    /// Reads the details of a meeting and queues them. Does nothing without an active link. Safe to repeat.
    pub(crate) async fn read_details(
        &self,
        zoom_user: ZoomUser,
        details: Details,
        attempt: Attempt,
    ) -> Result<(), JobError> {
        let snapshot = self.grants.links().snapshot(&zoom_user).await?;
        if snapshot.grant.is_none()
            && let Some(zoom_user) = snapshot.moved_to
        {
            return self.queue_details(&zoom_user, vec![details]).await;
        }
        let Some(coverage) = active_coverage(&snapshot.links) else {
            metrics::count(Metric::DetailsIgnored, "no_active_link");
            return Ok(());
        };
        let (account, requested_at) = (&zoom_user.account_id, self.clock.now());
        let mut until = self.recordings.not_before(account).await?;
        until = until.filter(|until| *until > requested_at);
        if until.is_none() {
            match self.details(&zoom_user, &details.meeting_uuid).await {
                Ok(MeetingRecordings { mut object, .. }) => {
                    let host = object.get("host_id").and_then(|host| host.as_str());
                    if host.is_some_and(|host| host != zoom_user.user_id.as_str()) {
                        metrics::count(Metric::DetailsIgnored, "another_host");
                        return Ok(());
                    }
                    // The job may be older than the links.
                    if !coverage.includes(&ListedMeeting::parse(&object)) {
                        metrics::count(Metric::DetailsIgnored, "not_covered");
                        return Ok(());
                    }
                    object["uuid"] = json!(details.meeting_uuid);
                    meeting::retain_files(&mut object, |id| !details.omitted.contains(id));
                    let change = vec![ListedChange::Files(object)];
                    let source = ObservationSource::Details;
                    return self.queue(&zoom_user, change, source, requested_at).await;
                }
                Err(JobError::Grant(
                    // After a move the recordings of the last days are read under the new key.
                    GrantError::Moved
                    | GrantError::NotFound
                    | GrantError::Revoking
                    | GrantError::ReauthorizationRequired,
                )) => {
                    metrics::count(Metric::DetailsIgnored, "no_grant");
                    return Ok(());
                }
                Err(JobError::Zoom(ApiError::RateLimited(limit))) => {
                    let limited_until = limit.limited_until(self.clock.now());
                    self.recordings.set_not_before(account, limited_until).await?;
                    until = Some(limited_until);
                }
                Err(JobError::Zoom(ApiError::NotFound { .. }))
                    if attempt.receive_count >= MAX_NOT_FOUND_RECEIVES =>
                {
                    metrics::count(Metric::DetailsIgnored, "not_found");
                    return Ok(());
                }
                // The next listing sets the link's issue.
                Err(JobError::Zoom(ApiError::Forbidden { .. } | ApiError::MissingScope)) => {
                    metrics::count(Metric::DetailsIgnored, "denied");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let JobMessage { job, .. } = details.job(zoom_user.clone());
        self.defer(job, account, attempt, until.unwrap_or_default()).await
    }

    pub(crate) async fn details(
        &self,
        zoom_user: &ZoomUser,
        meeting: &MeetingUuid,
    ) -> Result<MeetingRecordings, JobError> {
        let zoom = self.grants.zoom();
        let request = async |token: &AccessToken| {
            zoom.get_meeting_recordings(&token.token, meeting, UNUSED_TOKEN_TTL).await
        };
        let token = self.grants.access_token(zoom_user).await?;
        match request(&token).await {
            Err(ApiError::Unauthorized) => {
                let token = self.grants.replace_token(zoom_user, &token).await?;
                Ok(request(&token).await?)
            }
            details => Ok(details?),
        }
    }
}
