//! Revival of grants that were marked as revoked by mistake, the operator's or Zoom's.

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{ChangeError, GrantChange, GrantStatus, Marking};
use reelay_store::links::{Lease, LinkError, NewTokens};
use reelay_store::save::save_or_divert;
use reelay_store::vault::TokenOwner;
use reelay_zoom::RefreshError;

use crate::{GrantError, Grants, LEASE_TTL};

/// Result of [`Grants::revive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevivalOutcome {
    /// The grant is live, and the links that the marking had changed are active.
    Revived {
        /// Number of these links.
        links: usize,
        /// Time of the marking, at which they stopped being active.
        marked_at: Timestamp,
    },
    /// Zoom rejects the pair: the grant has ended.
    Rejected,
    /// The grant is not marked, or a consent, disconnect or deauthorization came since.
    NotMarked,
}

impl Grants {
    /// Refreshes the pair of a marked grant and restores exactly the links that the marking changed.
    ///
    /// # Errors
    /// [`GrantError`]. The grant stays marked.
    pub async fn revive(&self, zoom_user: &ZoomUser) -> Result<RevivalOutcome, GrantError> {
        let snapshot = self.links().snapshot(zoom_user).await?;
        self.publish_pending(zoom_user, &snapshot.outbox).await?;
        let now = self.clock.now();
        let (Some(grant), Some(marking)) = (snapshot.grant, snapshot.marking) else {
            return Ok(RevivalOutcome::NotMarked);
        };
        if grant.status != GrantStatus::ReauthorizationRequired
            || grant.version != marking.version
            || marking.is_expired(now)
        {
            return Ok(RevivalOutcome::NotMarked);
        }
        let lease = self.links().acquire_lease(zoom_user, grant.version, now, LEASE_TTL).await?;
        let owner = TokenOwner::Grant(zoom_user.clone());
        let response = async {
            let (tokens, key) = tokio::try_join!(
                self.vault().decrypt(&owner, &marking.tokens),
                self.vault().prepare(&owner)
            )?;
            Ok((self.refresh_as(&marking.client_id, &tokens.refresh_token).await?, key))
        };
        let revived = match response.await {
            Ok((Ok(pair), key)) => {
                let new = self.new_tokens(&pair, &key, &lease.grant)?;
                let saved = save_or_divert(
                    &self.clock,
                    lease.until(),
                    || self.save_revived(zoom_user, &lease, &new),
                    |error| matches!(error, GrantError::Link(LinkError::Rejected(_))),
                    || self.save_spare_pair(zoom_user, &lease, &new),
                );
                saved.await?.ok_or(GrantError::Busy)?
            }
            Ok((Err(RefreshError::InvalidGrant | RefreshError::GrantEnded), _)) => {
                if !self.adopt_spare_pair(zoom_user, &lease).await? {
                    self.release(zoom_user, &lease).await;
                    return Ok(RevivalOutcome::Rejected);
                }
                true
            }
            Ok((Err(error), _)) => {
                self.release(zoom_user, &lease).await;
                return Err(error.into());
            }
            Err(error) => {
                self.release(zoom_user, &lease).await;
                return Err(error);
            }
        };
        if !revived {
            return Ok(RevivalOutcome::NotMarked);
        }
        tracing::info!(zoom_user = zoom_user.key(), "grant revived");
        let Marking { links, marked_at, .. } = marking.marking;
        Ok(RevivalOutcome::Revived { links: links.len(), marked_at })
    }

    /// Saves the pair of a marked grant, restores its links and publishes the change. Returns `false` if the grant
    /// was ended or replaced first.
    pub(crate) async fn save_revived(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        new: &NewTokens,
    ) -> Result<bool, GrantError> {
        let (change, now) = (GrantChange::Revive, self.clock.now());
        let changed =
            self.links().change_under_lease(zoom_user, lease, &change, Some(new), now).await;
        match changed {
            Ok(Some(changed)) => {
                // The pair is saved: unpublished notifications stay in the outbox.
                if let Err(error) = self.publish(zoom_user, &changed).await {
                    tracing::warn!(%error, "notifications not published; they stay in the outbox");
                }
                Ok(true)
            }
            Ok(None) | Err(LinkError::Rejected(ChangeError::NotMarked)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
