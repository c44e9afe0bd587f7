//! From where, and with which token: a ladder of (URL, token) pairs, each tried when the one before is
//! refused. The event's own pair first; then the URL that Zoom's API gives now, with the download token
//! that comes along, then with the grant's access token.

use domain::ids::{FileId, MeetingUuid, ZoomUser};
use domain::seal::{self, Source};
use domain::webhook::event;
use grants::{AccessToken, GrantError};
use jiff::Timestamp;
use secrecy::SecretString;
use zoom::{ApiError, Download, DownloadError, MeetingRecordings};

use crate::verdict::{self, Refusal, Verdict};
use crate::{RecordingDownloader, TransferError};

/// How long a download token that Zoom's API gives may be used, in seconds: longer than any transfer.
const TOKEN_LIFETIME_SECONDS: u32 = 24 * 3600;

/// The file whose source is looked for.
pub(crate) struct Wanted<'a> {
    pub(crate) zoom_user: &'a ZoomUser,
    pub(crate) meeting: &'a MeetingUuid,
    pub(crate) file: &'a FileId,
    pub(crate) sealed: Option<&'a seal::Sealed>,
    /// Transfers begun, this one included.
    pub(crate) attempt: u32,
}

/// Whether the next rung may do better. What is not about this URL and this token will not change by
/// trying others.
fn climbs(error: &DownloadError) -> bool {
    matches!(
        error,
        DownloadError::Unauthorized
            | DownloadError::Forbidden
            | DownloadError::HtmlInsteadOfFile
            | DownloadError::NotFound
            | DownloadError::Gone
            | DownloadError::HostRefused(_)
    )
}

impl RecordingDownloader {
    /// Begins the download on the first rung that holds.
    pub(crate) async fn begin(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<Result<Download, Verdict>, TransferError> {
        let now = self.clock.now();
        let mut refused = Verdict::fail("no_source");
        if let Some(Source {
            url,
            token: Some(token),
        }) = self.unseal(wanted).await?
        {
            match self
                .zoom()
                .download(&self.hosts, &url, Some(&token), None)
                .await
            {
                Ok(download) => return Ok(Ok(download)),
                Err(error) if climbs(&error) => {
                    refused = verdict::of_download(&error, wanted.attempt, now)
                }
                Err(error) => return Ok(Err(verdict::of_download(&error, wanted.attempt, now))),
            }
        }
        let (token, listed) = match self.listed(wanted).await {
            Ok(found) => found,
            Err(why) => return Ok(Err(self.without_api(why, refused, wanted.attempt, now))),
        };
        let Some(url) = event::download_url(&listed.object, wanted.meeting, wanted.file) else {
            return Ok(Err(refused));
        };
        for bearer in [listed.download_access_token.as_ref(), Some(&token.token)]
            .into_iter()
            .flatten()
        {
            match self
                .zoom()
                .download(&self.hosts, &url, Some(bearer), None)
                .await
            {
                Ok(download) => return Ok(Ok(download)),
                Err(error) if climbs(&error) => {
                    refused = verdict::of_download(&error, wanted.attempt, now)
                }
                Err(error) => return Ok(Err(verdict::of_download(&error, wanted.attempt, now))),
            }
        }
        Ok(Err(refused))
    }

    async fn unseal(&self, wanted: &Wanted<'_>) -> Result<Option<Source>, TransferError> {
        let Some(sealed) = wanted.sealed else {
            return Ok(None);
        };
        let keys = self.queue_key.versions().await?;
        let mut opened = seal::open(&keys, wanted.meeting, sealed);
        // It may have been sealed under a key that is newer than the one we know.
        if opened.is_err()
            && let Some(keys) = self.queue_key.read_again().await?
        {
            opened = seal::open(&keys, wanted.meeting, sealed);
        }
        if opened.is_err() {
            tracing::warn!("the sealed source does not open; Zoom is asked for another");
        }
        Ok(opened.ok())
    }

    /// What Zoom's API says of the meeting now, and the token that it was asked with.
    async fn listed(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<(AccessToken, MeetingRecordings), NotListed> {
        let token = self.grants.access_token(wanted.zoom_user).await?;
        let ask = |token: SecretString| async move {
            self.zoom()
                .meeting_recordings(&token, wanted.meeting, TOKEN_LIFETIME_SECONDS)
                .await
        };
        match ask(token.token.clone()).await {
            Err(ApiError::Unauthorized) => {
                let token = self.grants.another_token(wanted.zoom_user, &token).await?;
                let listed = ask(token.token.clone()).await?;
                Ok((token, listed))
            }
            listed => Ok((token, listed?)),
        }
    }

    /// The verdict when Zoom's API does not help. What is for good with the API leaves the verdict to the
    /// rung before; an outage is no answer.
    fn without_api(
        &self,
        why: NotListed,
        refused: Verdict,
        attempt: u32,
        now: Timestamp,
    ) -> Verdict {
        let no_rung_before =
            matches!(&refused, Verdict::Fail(refusal) if refusal.reason == "no_source");
        match why {
            NotListed::Grant(
                GrantError::None | GrantError::Ending | GrantError::ReauthorizationRequired,
            ) => {
                if no_rung_before {
                    Verdict::fail("reauthorization_required")
                } else {
                    refused
                }
            }
            NotListed::Grant(error) => Verdict::retry("grant_unavailable", error),
            NotListed::Api(error @ (ApiError::NotFound { .. } | ApiError::NoPermission { .. })) => {
                if no_rung_before {
                    verdict::not_listed(&error, attempt)
                } else {
                    refused
                }
            }
            NotListed::Api(ApiError::RateLimited(limit)) => Verdict::Retry(Refusal {
                reason: "rate_limited",
                detail: "by Zoom's API".to_owned(),
                after: verdict::wait(&limit, now),
            }),
            NotListed::Api(error) => Verdict::retry("zoom_api", error),
        }
    }
}

/// Why Zoom's API did not list the meeting.
#[derive(Debug, thiserror::Error)]
enum NotListed {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Api(#[from] ApiError),
}
