//! From where, and with which token: a ladder of (URL, token) pairs, each tried when the one before is
//! refused. The event's own pair first; then the URL that Zoom's API gives now, with the download token
//! that comes along, then with the grant's access token.

use reelay_domain::ids::{FileId, MeetingUuid, ZoomUser};
use reelay_domain::source_cipher::{self, DownloadSource};
use reelay_domain::webhook::event;
use reelay_grants::{AccessToken, GrantError};
use reelay_store::recordings::SourceKind;
use reelay_zoom::{ApiError, MeetingRecordings};
use secrecy::SecretString;
use tokio::sync::OnceCell;

use crate::RecordingDownloader;
use crate::transfer::{Cause, Halt, Rung, TransferError};

/// How long a download token that Zoom's API gives may be used, in seconds: longer than any transfer.
const TOKEN_LIFETIME_SECONDS: u32 = 24 * 3600;

/// Why Zoom's API does not tell where a file is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// The user has to connect again, or has left.
    #[error("there is no grant to ask with")]
    NoGrant,
    /// The grant could not be used; try again.
    #[error("the grant is not available: {0}")]
    GrantUnavailable(String),
    /// Zoom's API.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Unlisted {
    /// Whether asking again later would give the same, so that the rung before has the last word. An outage
    /// is no answer.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NoGrant | Self::Api(ApiError::NotFound { .. } | ApiError::Forbidden { .. })
        )
    }
}

impl From<GrantError> for Unlisted {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::NotFound | GrantError::Revoking | GrantError::ReauthorizationRequired => {
                Self::NoGrant
            }
            error => Self::GrantUnavailable(error.to_string()),
        }
    }
}

/// What Zoom's API says of the file.
struct Listed {
    rungs: Vec<Rung>,
    declared: Option<u64>,
}

/// The ladder to one file. Zoom's API is asked once, and only when somebody climbs so high.
pub(crate) struct Ladder<'a> {
    pub(crate) function: &'a RecordingDownloader,
    pub(crate) zoom_user: &'a ZoomUser,
    pub(crate) meeting: &'a MeetingUuid,
    pub(crate) file: &'a FileId,
    pub(crate) sealed: Option<&'a source_cipher::EncryptedSource>,
    event: OnceCell<Option<Rung>>,
    listed: OnceCell<Result<Listed, Unlisted>>,
}

impl<'a> Ladder<'a> {
    pub(crate) fn new(
        function: &'a RecordingDownloader,
        zoom_user: &'a ZoomUser,
        meeting: &'a MeetingUuid,
        file: &'a FileId,
        sealed: Option<&'a source_cipher::EncryptedSource>,
    ) -> Self {
        Self {
            function,
            zoom_user,
            meeting,
            file,
            sealed,
            event: OnceCell::new(),
            listed: OnceCell::new(),
        }
    }

    /// The `number`-th rung, counted from 0; `None` above the last.
    pub(crate) async fn rung(&self, number: usize) -> Result<Option<Rung>, Halt> {
        let event = self.event.get_or_try_init(|| self.unseal()).await?;
        if number == 0
            && let Some(rung) = event
        {
            return Ok(Some(rung.clone()));
        }
        let below = usize::from(event.is_some());
        match self.listed().await {
            Ok(listed) => Ok(listed.rungs.get(number - below).cloned()),
            Err(why) if why.is_final() && below > 0 => Ok(None),
            Err(why) => Err(Halt::Cause(Cause::Unlisted(why.clone()))),
        }
    }

    /// The length that Zoom's API declares.
    pub(crate) async fn declared(&self) -> Option<u64> {
        match self.listed().await {
            Ok(listed) => listed.declared,
            Err(why) => {
                tracing::info!(%why, "the declared size is not read again");
                None
            }
        }
    }

    async fn unseal(&self) -> Result<Option<Rung>, TransferError> {
        let Some(sealed) = self.sealed else {
            return Ok(None);
        };
        let keys = self.function.queue_key.versions().await?;
        let mut opened = source_cipher::decrypt(&keys, self.meeting, sealed);
        // It may have been sealed under a key that is newer than the one we know.
        if opened.is_err()
            && let Some(keys) = self.function.queue_key.reread().await?
        {
            opened = source_cipher::decrypt(&keys, self.meeting, sealed);
        }
        match opened {
            Ok(DownloadSource { url, token }) => Ok(token.map(|token| Rung {
                url,
                bearer: Some(token),
                kind: SourceKind::Webhook,
            })),
            Err(_) => {
                tracing::warn!("the sealed source does not open; Zoom is asked for another");
                Ok(None)
            }
        }
    }

    async fn listed(&self) -> &Result<Listed, Unlisted> {
        self.listed
            .get_or_init(|| async {
                let (access, listed) = self.ask().await?;
                let Some(file) = event::find_listed_file(&listed.object, self.meeting, self.file)
                else {
                    return Ok(Listed {
                        rungs: Vec::new(),
                        declared: None,
                    });
                };
                let tokens = listed.download_access_token.into_iter();
                let rungs = tokens.chain([access.token]).map(|token| Rung {
                    url: file.url.clone(),
                    bearer: Some(token),
                    kind: SourceKind::Rest,
                });
                Ok(Listed {
                    rungs: rungs.collect(),
                    declared: file.size,
                })
            })
            .await
    }

    /// What Zoom's API says of the meeting now, and the token that it was asked with.
    async fn ask(&self) -> Result<(AccessToken, MeetingRecordings), Unlisted> {
        let grants = &self.function.grants;
        let token = grants.access_token(self.zoom_user).await?;
        let ask = |token: SecretString| async move {
            grants
                .zoom()
                .get_meeting_recordings(&token, self.meeting, TOKEN_LIFETIME_SECONDS)
                .await
        };
        match ask(token.token.clone()).await {
            Err(ApiError::Unauthorized) => {
                let token = grants.replace_token(self.zoom_user, &token).await?;
                let listed = ask(token.token.clone()).await?;
                Ok((token, listed))
            }
            listed => Ok((token, listed?)),
        }
    }
}
