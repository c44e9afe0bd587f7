//! Download candidates of a file: the encrypted source from the event, then what Zoom's API returns, first with
//! the API's download token and then with the grant's access token.

use std::sync::Arc;

use reelay_domain::ids::{FileId, MeetingUuid, ZoomUser};
use reelay_domain::source_cipher::{self, DownloadSource, EncryptedSource};
use reelay_domain::upload::SourceKind;
use reelay_domain::webhook::meeting as zoom_meeting;
use reelay_grants::{AccessToken, GrantError, Grants};
use reelay_store::recordings::{FileItem, FileKey};
use reelay_zoom::{ApiError, MeetingRecordings};
use secrecy::SecretString;

use crate::context::Context;
use crate::transfer::{Candidate, Listing, SourceResolver, TransferError};

/// Requested lifetime of the API's download token, in seconds: longer than any transfer.
const DOWNLOAD_TOKEN_TTL_SECONDS: u32 = 24 * 3600;

/// Creates the resolver for a file.
pub(crate) async fn resolver(
    context: &Context,
    key: &FileKey,
    item: &FileItem,
    meeting: &MeetingUuid,
) -> Result<SourceResolver, TransferError> {
    let is_processing = item.observed.metadata.is_processing == Some(true);
    let event = match &item.observed.source {
        // While Zoom processes a file, it may serve only a part of it.
        Some(source) if !is_processing => decrypt(context, meeting, source).await?,
        _ => None,
    };
    let listing =
        list(Arc::clone(&context.grants), key.zoom_user.clone(), meeting.clone(), key.file.clone());
    let zoom = context.grants.zoom();
    let (hosts, settings) = (&context.hosts, &context.settings);
    Ok(SourceResolver::new(zoom, hosts, settings, event, listing, item.attempt > 1))
}

/// Decrypts the source from the event. `None` if that fails or the event had no token.
async fn decrypt(
    context: &Context,
    meeting: &MeetingUuid,
    encrypted: &EncryptedSource,
) -> Result<Option<Candidate>, TransferError> {
    let keys = context.queue_key.versions().await?;
    let mut decrypted = source_cipher::decrypt(&keys, meeting, encrypted);
    // The source may be encrypted with a newer key than the cached one, so the key is read again.
    if decrypted.is_err()
        && let Some(keys) = context.queue_key.reread().await?
    {
        decrypted = source_cipher::decrypt(&keys, meeting, encrypted);
    }
    let Ok(DownloadSource { url, token }) = decrypted else {
        tracing::warn!("source decryption failed; Zoom's API is called instead");
        return Ok(None);
    };
    Ok(token.map(|token| Candidate { url, token, kind: SourceKind::Webhook }))
}

/// Looks the file up in Zoom's API.
async fn list(
    grants: Arc<Grants>,
    zoom_user: ZoomUser,
    meeting: MeetingUuid,
    file: FileId,
) -> Result<Listing, TransferError> {
    let (access, recordings) = meeting_recordings(&grants, &zoom_user, &meeting).await?;
    let Some(listed) = zoom_meeting::find_listed_file(&recordings.object, &meeting, &file) else {
        return Ok(Listing::default());
    };
    if listed.metadata.is_processing == Some(true) {
        return Err(TransferError::Processing);
    }
    let declared_size = listed.metadata.size;
    let Some(url) = listed.url else {
        return Ok(Listing { candidates: Vec::new(), declared_size });
    };
    let tokens = recordings.download_access_token.into_iter();
    let candidates = tokens.chain([access.token]).map(|token| Candidate {
        url: url.clone(),
        token,
        kind: SourceKind::Rest,
    });
    Ok(Listing { candidates: candidates.collect(), declared_size })
}

/// Requests the meeting's recordings. Also returns the access token that Zoom accepted.
async fn meeting_recordings(
    grants: &Grants,
    zoom_user: &ZoomUser,
    meeting: &MeetingUuid,
) -> Result<(AccessToken, MeetingRecordings), TransferError> {
    let request = |token: SecretString| async move {
        grants.zoom().get_meeting_recordings(&token, meeting, DOWNLOAD_TOKEN_TTL_SECONDS).await
    };
    // The user may have moved to another account since the file was recorded.
    let zoom_user = &grants.links().current_key(zoom_user).await?;
    let mut access = grants.access_token(zoom_user).await?;
    let mut response = request(access.token.clone()).await;
    if matches!(response, Err(ApiError::Unauthorized)) {
        access = grants.replace_token(zoom_user, &access).await?;
        response = request(access.token.clone()).await;
    }
    Ok((access, response.map_err(TransferError::Api)?))
}

impl From<GrantError> for TransferError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::NotFound | GrantError::Revoking | GrantError::ReauthorizationRequired => {
                Self::NoGrant
            }
            error => Self::GrantUnavailable(error.to_string()),
        }
    }
}
