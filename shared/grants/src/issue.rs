//! Issues of links: why Reelay cannot list one Zoom user's recordings.

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantChange, LinkIssue};
use reelay_zoom::CurrentUser;

use crate::{AccessToken, GrantError, Grants};

impl Grants {
    /// Sets the issue of a Zoom user's links, and publishes the change. Idempotent. `token` is the access token of the
    /// failed listing.
    ///
    /// # Errors
    /// [`GrantError::Busy`] if the token has been replaced since; other variants of [`GrantError`].
    pub async fn set_issue(
        &self,
        zoom_user: &ZoomUser,
        token: &AccessToken,
        issue: LinkIssue,
    ) -> Result<(), GrantError> {
        let change = GrantChange::SetIssue { issue: Some(issue) };
        let now = self.clock.now();
        let changed =
            self.links().change_of_version(zoom_user, token.version, &change, now).await?;
        let changed = changed.ok_or(GrantError::Busy)?;
        Ok(self.publish(zoom_user, &changed).await?)
    }

    /// Clears the issue of a Zoom user's links after a successful listing, and publishes the change. Idempotent.
    ///
    /// # Errors
    /// [`GrantError`].
    pub async fn clear_issue(&self, zoom_user: &ZoomUser) -> Result<(), GrantError> {
        let change = GrantChange::SetIssue { issue: None };
        let changed = self.links().change(zoom_user, &change, self.clock.now()).await?;
        Ok(self.publish(zoom_user, &changed).await?)
    }

    /// Returns the owner of the grant's tokens according to Zoom, with a refresh if Zoom rejects them.
    ///
    /// # Errors
    /// [`GrantError`]; [`GrantError::Api`] with [`reelay_zoom::ApiError::NotFound`] if Zoom does not know the user.
    pub async fn owner(&self, zoom_user: &ZoomUser) -> Result<CurrentUser, GrantError> {
        self.token_and_owner(zoom_user).await.map(|(_, owner)| owner)
    }
}
