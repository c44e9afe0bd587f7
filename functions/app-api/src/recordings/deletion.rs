//! Deletion of a recording.

use http::StatusCode;
use reelay_domain::erasure::is_only_copy;
use reelay_domain::ids::{AppUserId, RecordingId};
use reelay_domain::message::{DeletedRecording, JobMessage};
use reelay_domain::time::utc_date;
use reelay_runtime::http::query::Query;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};

use crate::{ApiError, AppApi};

impl AppApi {
    /// Deletes a recording for ever: a marker replaces it at once, and jobs remove its bytes.
    pub(crate) async fn delete_recording(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
        query: &Query,
    ) -> Result<Response<Body>, ApiError> {
        let is_only_copy_meant = match query.single("only_copy") {
            Ok(None) => false,
            Ok(Some("true")) => true,
            _ => return Err(Problem::RequestInvalid("only_copy can only be true.").into()),
        };
        let (_, loaded) = self.find(user, id).await?;
        let (zoom_user, observed) = (&loaded.zoom_user, &loaded.item.observed);
        let links = self.links.covering_links(zoom_user).await?;
        if links.iter().any(|link| link.status.is_visible() && link.app_user != *user) {
            return Err(Problem::RecordingShared.into());
        }
        let zoom_state = observed.zoom_state.unwrap_or_default();
        if is_only_copy(loaded.item.trashed_by_reelay, zoom_state) && !is_only_copy_meant {
            return Err(Problem::OnlyCopy.into());
        }

        let deleted = DeletedRecording {
            id: RecordingId::from_uuid(&observed.metadata.meeting_uuid),
            date: utc_date(observed.key_start()),
        };
        let tenant = zoom_user.account_id.as_str();
        let [at_once, later @ ..] = JobMessage::sweep_recording(zoom_user, &deleted);
        // First, so that a crash in between leaves no bytes behind. Without a marker the job does nothing.
        for (message, delay_seconds) in &later {
            self.jobs.send_delayed(message, tenant, *delay_seconds).await?;
        }
        self.recordings.mark_erased(zoom_user, &deleted.id).await?;
        self.jobs.send(&at_once.0, tenant).await?;
        Ok(response::empty(StatusCode::NO_CONTENT))
    }
}
