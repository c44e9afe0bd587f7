//! Recordings of all linked Zoom users of an app user.

use std::time::Duration;

use futures_util::future::try_join_all;
use http::StatusCode;
use jiff::Timestamp;
use reelay_domain::cursor::{self, Position};
use reelay_domain::ids::{AppUserId, RecordingId, ZoomUser};
use reelay_domain::link::Link;
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::{FileStatus, RecordingView};
use reelay_runtime::AwsError;
use reelay_runtime::http::query::Query;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::bucket::PRESIGNED_URL_TTL;
use reelay_store::recordings::{FileKey, RecordingWithFiles};
use serde::Serialize;
use serde_json::json;

use crate::{ApiError, AppApi};

/// Page size without `limit`.
const DEFAULT_LIMIT: usize = 25;

#[derive(Serialize)]
struct Page {
    recordings: Vec<RecordingView>,
    next_cursor: Option<String>,
}

/// A key under which a link covers recordings.
struct Covered {
    zoom_user: ZoomUser,
    /// For a link that was cut off: only recordings that ended before.
    reads_until: Option<Timestamp>,
}

impl AppApi {
    /// Lists one page, newest first, merged over all linked Zoom users.
    pub(crate) async fn list_recordings(
        &self,
        user: &AppUserId,
        query: &Query,
    ) -> Result<Response<Body>, ApiError> {
        let limit = limit(query)?;
        let cursor = query.single("cursor").map_err(|_| Problem::CursorInvalid)?;
        let after = match cursor {
            Some(cursor) => Some(self.open_cursor(user, cursor).await?),
            None => None,
        };

        let covered = self.covered(user).await?;
        // One more item than the page shows whether there is a next page.
        let pages = covered
            .iter()
            .map(|covered| self.newest(&covered.zoom_user, after.as_ref(), limit + 1));
        let mut found: Vec<Position> = try_join_all(pages).await?.into_iter().flatten().collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        let more = found.len() > limit;
        found.truncate(limit);

        let last = found.last().filter(|_| more).cloned();
        let next_cursor = match last {
            Some(position) => {
                Some(cursor::encode(&self.state_key.versions().await?, user, &position))
            }
            None => None,
        };
        let recordings =
            try_join_all(found.into_iter().map(|position| self.view(position, &covered))).await?;
        let recordings = recordings.into_iter().flatten().collect();
        Ok(response::json(StatusCode::OK, &Page { recordings, next_cursor }))
    }

    /// Shows a recording, with presigned URLs for its stored files.
    pub(crate) async fn recording(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
    ) -> Result<Response<Body>, ApiError> {
        let (_, loaded) = self.find(user, id).await?;
        let mut view = loaded.recording().view(self.bucket.name());
        let now = self.clock.now();
        let expires_at = url_expiry(now);
        for file in view.files.iter_mut().filter(|file| file.status == FileStatus::Stored) {
            let Some(key) = &file.key else { continue };
            // Presigned URLs appear only in this response, never in logs or notifications.
            file.url = Some((&self.bucket.presigned_url(key, now).await?).into());
            file.url_expires_at = Some(expires_at);
        }
        Ok(response::json(StatusCode::OK, &view))
    }

    /// Enqueues downloads of the files of a recording that are not stored.
    pub(crate) async fn download(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
    ) -> Result<Response<Body>, ApiError> {
        let accepted = || response::json(StatusCode::ACCEPTED, &json!({"status": "accepted"}));
        let (covered, loaded) = self.find(user, id).await?;
        // All that a link can read after it was cut off is stored.
        if covered.reads_until.is_some() {
            return Ok(accepted());
        }
        let recording = RecordingId::from_uuid(&loaded.item.observed.metadata.meeting_uuid);
        let now = self.clock.now();
        self.recordings.request(&loaded.zoom_user, &recording, now).await?;
        let mut messages = Vec::new();
        for file in &loaded.files {
            let key = FileKey {
                zoom_user: loaded.zoom_user.clone(),
                recording: recording.clone(),
                file: file.observed.metadata.id.clone(),
            };
            let wanted = match file.status {
                FileStatus::Queued => true,
                // The request overrides the operator's filter.
                FileStatus::Failed | FileStatus::Skipped => {
                    self.recordings.queue_again(&key, file.status, now).await?
                }
                // With an expired lease its message may be lost.
                FileStatus::Transferring => {
                    file.lease_until.is_none_or(|until| until < now.as_millisecond())
                }
                FileStatus::Stored => false,
            };
            if wanted {
                let FileKey { zoom_user, recording, file } = key;
                messages.push(DownloadMessage::new(zoom_user, recording, file));
            }
        }
        self.downloads.send_all(&messages, loaded.zoom_user.account_id.as_str()).await?;
        let sent = messages.iter().map(|message| &message.file_id);
        self.recordings.mark_sent(&loaded.zoom_user, &recording, sent).await?;
        Ok(accepted())
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

    /// The keys under which the user's links cover recordings.
    async fn covered(&self, user: &AppUserId) -> Result<Vec<Covered>, ApiError> {
        let links = self.links.visible_links(user).await?;
        let keys = |link: &Link| {
            let reads_until = link.reads_until();
            let covered = link.zoom_users().cloned();
            covered.map(|zoom_user| Covered { zoom_user, reads_until }).collect::<Vec<_>>()
        };
        Ok(links.iter().flat_map(keys).collect())
    }

    /// Loads what the link may read of a recording: all of it, or, after the link was cut off, the files that were
    /// stored before.
    async fn load(
        &self,
        covered: &Covered,
        id: &RecordingId,
    ) -> Result<Option<RecordingWithFiles>, AwsError> {
        let Some(mut loaded) = self.recordings.load(&covered.zoom_user, id).await? else {
            return Ok(None);
        };
        // Zoom has only told of a change so far.
        if loaded.item.observed.is_start_provisional && loaded.files.is_empty() {
            return Ok(None);
        }
        let Some(until) = covered.reads_until else {
            return Ok(Some(loaded));
        };
        loaded.files.retain(|file| file.stored_at.is_some_and(|at| at < until.as_millisecond()));
        Ok((!loaded.files.is_empty()).then_some(loaded))
    }

    /// The positions of a Zoom user's newest recordings in the common order.
    async fn newest(
        &self,
        zoom_user: &ZoomUser,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Vec<Position>, ApiError> {
        let items = self.recordings.newest(zoom_user, after, limit).await?;
        let zoom_user = zoom_user.key();
        let position = |start_order| Position { start_order, zoom_user: zoom_user.clone() };
        Ok(items.into_iter().map(|item| position(item.start_order)).collect())
    }

    async fn view(
        &self,
        position: Position,
        covered: &[Covered],
    ) -> Result<Option<RecordingView>, ApiError> {
        let id = position.start_order.split_once('#').and_then(|(_, id)| id.parse().ok());
        let covered = covered.iter().find(|it| it.zoom_user.key() == position.zoom_user);
        let (Some(id), Some(covered)) = (id, covered) else {
            return Ok(None);
        };
        let loaded = self.load(covered, &id).await?;
        Ok(loaded.map(|loaded| loaded.recording().view(self.bucket.name())))
    }

    async fn open_cursor(&self, user: &AppUserId, text: &str) -> Result<Position, ApiError> {
        let decoded = self
            .state_key
            .verify_with_reread(|keys| cursor::decode(keys, user, text), |_| true)
            .await?;
        Ok(decoded.map_err(|_| Problem::CursorInvalid)?)
    }
}

fn url_expiry(now: Timestamp) -> Timestamp {
    let lifetime = Duration::from_secs(PRESIGNED_URL_TTL.as_secs());
    let at = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Reads `limit`.
pub(crate) fn limit(query: &Query) -> Result<usize, Problem> {
    let invalid = Problem::RequestInvalid("limit must be a number from 1 to 100.");
    match query.single("limit").map_err(|_| invalid.clone())? {
        None => Ok(DEFAULT_LIMIT),
        Some(text) => Some(text)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|limit| (1..=100).contains(limit))
            .ok_or(invalid),
    }
}
