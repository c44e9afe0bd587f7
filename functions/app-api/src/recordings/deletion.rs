//! Deletion of a recording.

use http::StatusCode;
use reelay_domain::ids::{AppUserId, RecordingId};
use reelay_domain::link::Link;
use reelay_domain::message::{DeletedRecording, JobMessage};
use reelay_domain::time::utc_date;
use reelay_runtime::http::query::Query;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::recordings::RecordingWithFiles;

use crate::{ApiError, AppApi};

impl AppApi {
    /// Deletes a recording for ever: a marker replaces it at once, and jobs remove its bytes. A Zoom user who moved accounts
    /// may have it under two keys.
    pub(crate) async fn delete_recording(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
        query: &Query,
    ) -> Result<Response<Body>, ApiError> {
        let is_only_copy_meant = match query.single("only_copy") {
            Ok(None) => false,
            Ok(Some("true")) => true,
            _ => {
                return Err(Problem::RequestInvalid("`only_copy` must be `true` or absent.").into());
            }
        };
        let copies = self.find_all(user, id).await?;
        for copy in &copies {
            let links = self.links.covering_links(&copy.zoom_user).await?;
            // A link that was cut off reads only what was stored before.
            let may_read = |link: &Link| {
                link.reads_until().is_none_or(|until| {
                    let until = until.as_millisecond();
                    copy.files.iter().any(|file| file.stored_at.is_some_and(|at| at < until))
                })
            };
            if links.iter().any(|link| link.app_user != *user && may_read(link)) {
                return Err(Problem::RecordingShared.into());
            }
            if copy.item.trashed_by_reelay && !is_only_copy_meant {
                return Err(Problem::OnlyCopy.into());
            }
        }
        for copy in &copies {
            self.delete_copy(copy, is_only_copy_meant).await?;
        }
        Ok(response::empty(StatusCode::NO_CONTENT))
    }

    async fn delete_copy(
        &self,
        copy: &RecordingWithFiles,
        is_only_copy_meant: bool,
    ) -> Result<(), ApiError> {
        let (zoom_user, observed) = (&copy.zoom_user, &copy.item.observed);
        let deleted = DeletedRecording {
            id: RecordingId::from_uuid(&observed.metadata.meeting_uuid),
            date: utc_date(observed.key_start()),
        };
        let tenant = zoom_user.account_id.as_str();
        let [at_once, later @ ..] = JobMessage::sweep_recording(zoom_user, &deleted);
        // Enqueue the delayed jobs first, so that a crash in between leaves no bytes behind. Without a marker they do
        // nothing.
        for (message, delay_seconds) in &later {
            self.jobs.send_delayed(message, tenant, *delay_seconds).await?;
        }
        // Zoom's copy may have been trashed since the check.
        if !self.recordings.mark_erased(zoom_user, &deleted.id, is_only_copy_meant).await? {
            return Err(Problem::OnlyCopy.into());
        }
        Ok(self.jobs.send(&at_once.0, tenant).await?)
    }
}
