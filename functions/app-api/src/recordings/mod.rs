//! Recordings of all linked Zoom users of an app user.

mod deletion;
mod download;
mod list;

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use reelay_domain::ids::{AppUserId, LinkId, RecordingId, ZoomUser};
use reelay_domain::recording::{FileAccess, FileStatus, RecordingView};
use reelay_runtime::AwsError;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::bucket::PRESIGNED_URL_TTL;
use reelay_store::recordings::RecordingWithFiles;

pub(crate) use self::list::limit;
use crate::{ApiError, AppApi};

/// A key under which links of the app user cover recordings.
struct Covered {
    zoom_user: ZoomUser,
    link_ids: Vec<LinkId>,
    /// If all these links were cut off: the time before which a file must have been stored.
    reads_until: Option<Timestamp>,
}

impl AppApi {
    /// Shows a recording, with presigned URLs for its stored files.
    pub(crate) async fn recording(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
    ) -> Result<Response<Body>, ApiError> {
        let (covered, loaded) = self.find(user, id).await?;
        let recording = loaded.recording();
        let mut view = self.view_recording(&loaded, &covered);
        let now = self.clock.now();
        let expires_at = url_expiry(now);
        for file in view.files.iter_mut().filter(|file| file.status == FileStatus::Stored) {
            let Some(key) = &file.key else { continue };
            let disposition = recording.content_disposition(&file.id);
            // Presigned URLs appear only in this response, never in logs or notifications.
            let url = self.bucket.presigned_url(key, &disposition, now).await?;
            file.access =
                Some(FileAccess { url: Some((&url).into()), url_expires_at: Some(expires_at) });
        }
        Ok(response::json(StatusCode::OK, &view))
    }

    /// Finds a recording among those of the user's linked Zoom users.
    async fn find(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
    ) -> Result<(Covered, RecordingWithFiles), ApiError> {
        let id = id.as_ref().ok_or(Problem::RecordingNotFound)?;
        for covered in self.covered(user).await? {
            if let Some(loaded) = self.load(&covered, id).await? {
                return Ok((covered, loaded));
            }
        }
        Err(Problem::RecordingNotFound.into())
    }

    /// Finds a recording under every key that the user's links cover.
    async fn find_all(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
    ) -> Result<Vec<RecordingWithFiles>, ApiError> {
        let id = id.as_ref().ok_or(Problem::RecordingNotFound)?;
        let mut found = Vec::new();
        for covered in self.covered(user).await? {
            found.extend(self.load(&covered, id).await?);
        }
        match found.is_empty() {
            true => Err(Problem::RecordingNotFound.into()),
            false => Ok(found),
        }
    }

    /// The keys under which the user's links cover recordings.
    async fn covered(&self, user: &AppUserId) -> Result<Vec<Covered>, ApiError> {
        let mut keys: Vec<Covered> = Vec::new();
        for link in self.links.visible_links(user).await? {
            for zoom_user in link.zoom_users() {
                match keys.iter_mut().find(|known| known.zoom_user == *zoom_user) {
                    Some(known) => {
                        known.link_ids.push(link.id.clone());
                        let both = known.reads_until.zip(link.reads_until());
                        known.reads_until = both.map(|(a, b)| a.max(b));
                    }
                    None => keys.push(Covered {
                        zoom_user: zoom_user.clone(),
                        link_ids: vec![link.id.clone()],
                        reads_until: link.reads_until(),
                    }),
                }
            }
        }
        Ok(keys)
    }

    /// The recording as the API shows it, without URLs.
    fn view_recording(&self, loaded: &RecordingWithFiles, covered: &Covered) -> RecordingView {
        let mut view = loaded.recording().view(self.bucket.name());
        view.link_ids = Some(covered.link_ids.clone());
        for file in &mut view.files {
            file.access = Some(FileAccess::default());
        }
        view
    }

    /// Loads the files of a recording that the link may read: all, or, after the link was cut off, those that were
    /// stored before, without what was observed since.
    async fn load(
        &self,
        covered: &Covered,
        id: &RecordingId,
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        let Some(mut loaded) = self.recordings.load(&covered.zoom_user, id).await? else {
            return Ok(None);
        };
        // So far Zoom has only reported a change of the recording.
        if loaded.item.observed.is_start_provisional && loaded.files.is_empty() {
            return Ok(None);
        }
        let Some(until) = covered.reads_until else {
            return Ok(Some(loaded));
        };
        loaded.files.retain(|file| file.stored_at.is_some_and(|at| at < until.as_millisecond()));
        loaded.item.observed.forget_since(until);
        loaded.item.updated_at = loaded.item.updated_at.min(until.as_millisecond());
        Ok((!loaded.files.is_empty()).then_some(loaded))
    }
}

fn url_expiry(now: Timestamp) -> Timestamp {
    let lifetime = Duration::from_secs(PRESIGNED_URL_TTL.as_secs());
    let at = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
