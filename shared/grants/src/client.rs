//! Zoom clients: a grant's tokens work only with the client that they were issued to.

use reelay_runtime::secrets::ZoomCredentials;
use reelay_zoom::{ClientCredentials, RefreshError, RevokeError, TokenPair};
use secrecy::SecretString;

use crate::{GrantError, Grants};

/// An OAuth error that may say that the client's credentials are wrong.
trait OAuthError {
    fn is_invalid_client(&self) -> bool;
}

impl OAuthError for RefreshError {
    fn is_invalid_client(&self) -> bool {
        matches!(self, Self::InvalidClient)
    }
}

impl OAuthError for RevokeError {
    fn is_invalid_client(&self) -> bool {
        matches!(self, Self::InvalidClient)
    }
}

impl Grants {
    /// Requests the next pair as the client that the refresh token was issued to.
    ///
    /// # Errors
    /// As [`Self::call_as_client`].
    pub(crate) async fn refresh_as(
        &self,
        client_id: &str,
        refresh_token: &SecretString,
    ) -> Result<Result<TokenPair, RefreshError>, GrantError> {
        let request =
            |credentials| async move { self.zoom().refresh(&credentials, refresh_token).await };
        self.call_as_client(client_id, request).await
    }

    /// Revokes a token as the client that it was issued to.
    ///
    /// # Errors
    /// As [`Self::call_as_client`].
    pub(crate) async fn revoke_as(
        &self,
        client_id: &str,
        access_token: &SecretString,
    ) -> Result<Result<(), RevokeError>, GrantError> {
        let request =
            |credentials| async move { self.zoom().revoke(&credentials, access_token).await };
        self.call_as_client(client_id, request).await
    }

    /// Calls Zoom with the credentials of this client, and once more with credentials that are read again. Zoom
    /// rejects a client before it consumes a token.
    ///
    /// # Errors
    /// [`GrantError::ClientReplaced`] if another client is configured and no credentials of this one work.
    async fn call_as_client<T, E: OAuthError, Call>(
        &self,
        client_id: &str,
        call: impl Fn(ClientCredentials) -> Call,
    ) -> Result<Result<T, E>, GrantError>
    where
        Call: Future<Output = Result<T, E>>,
    {
        let mut rejected = None;
        let mut known = self.secret.credentials_of(client_id).await?;
        for is_last in [false, true] {
            if let Some(ZoomCredentials { client_id, client_secret }) = known {
                match call(ClientCredentials { client_id, client_secret }).await {
                    Err(error) if error.is_invalid_client() => rejected = Some(error),
                    result => return Ok(result),
                }
            }
            known =
                if is_last { None } else { self.secret.credentials_of_reread(client_id).await? };
        }
        match rejected {
            Some(error) if self.credentials().await?.client_id == client_id => Ok(Err(error)),
            _ => Err(GrantError::ClientReplaced),
        }
    }
}
