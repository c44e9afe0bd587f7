//! Downloads that the app requests.

use std::collections::BTreeSet;

use http::StatusCode;
use reelay_domain::ids::{AppUserId, FileId, RecordingId};
use reelay_domain::message::DownloadMessage;
use reelay_domain::recording::FileStatus;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::recordings::FileKey;
use serde::Deserialize;
use serde_json::json;

use crate::links::parse_body;
use crate::{ApiError, AppApi};

#[derive(Default, Deserialize)]
struct DownloadRequest {
    /// `None`: all files.
    files: Option<BTreeSet<FileId>>,
}

impl DownloadRequest {
    fn parse(body: &Body) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let form = "The body must be empty or JSON: {\"files\": [\"<file id>\", …]}.";
        let request: Self = parse_body(body, &["files"], form)?;
        match &request.files {
            Some(files) if files.is_empty() => {
                Err(Problem::RequestInvalid("`files` must name at least one file."))
            }
            _ => Ok(request),
        }
    }
}

impl AppApi {
    /// Enqueues downloads of a recording's files that are not stored: of all such files, or of those that the request
    /// names.
    pub(crate) async fn download(
        &self,
        user: &AppUserId,
        id: &Option<RecordingId>,
        body: &Body,
    ) -> Result<Response<Body>, ApiError> {
        let request = DownloadRequest::parse(body)?;
        let accepted = || response::json(StatusCode::ACCEPTED, &json!({"status": "accepted"}));
        let (mut covered, mut loaded) = self.find(user, id).await?;
        let recording = RecordingId::from_uuid(&loaded.item.observed.metadata.meeting_uuid);
        let now = self.clock.now();
        if request.files.is_none() && covered.reads_until.is_none() {
            self.recordings.request(&loaded.zoom_user, &recording, now).await?;
            // Read again: an event adds a file either before this, or after it and with the request.
            (covered, loaded) = self.find(user, id).await?;
        }
        if let Some(wanted) = &request.files {
            loaded.files.retain(|file| wanted.contains(&file.observed.metadata.id));
            if loaded.files.len() != wanted.len() {
                let detail = "`files` names a file that this recording does not have.";
                return Err(Problem::RequestInvalid(detail).into());
            }
        }
        // A link that was cut off reads only files that are stored.
        if covered.reads_until.is_some() {
            return Ok(accepted());
        }
        let mut messages = Vec::new();
        for file in &loaded.files {
            let key = FileKey {
                zoom_user: loaded.zoom_user.clone(),
                recording: recording.clone(),
                file: file.observed.metadata.id.clone(),
            };
            let wanted = match file.status {
                FileStatus::Queued if request.files.is_none() => true,
                // The request overrides the operator's filter, and fetches expired files again.
                FileStatus::Queued
                | FileStatus::Failed
                | FileStatus::Skipped
                | FileStatus::Expired => {
                    self.recordings.queue_again(&key, file.status, now).await?
                }
                // If the lease has expired, the message may be lost.
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
        self.recordings.mark_sent(&loaded.zoom_user, &recording, sent, false).await?;
        Ok(accepted())
    }
}
