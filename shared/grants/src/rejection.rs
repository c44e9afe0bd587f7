//! Rejected refreshes: marks the grant as revoked by Zoom, or keeps it if a mistake may explain the rejection.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::{AccountId, ZoomUser};
use reelay_domain::link::{GrantChange, GrantState, GrantStatus, Link, LinkStatus};
use reelay_domain::refresh_breaker::{RefreshCounts, Rejection, WINDOW};
use reelay_runtime::AwsError;
use reelay_runtime::metrics::{self, Metric};
use reelay_store::links::{Changed, Lease};

use crate::refresh::IfRejected;
use crate::{GrantError, Grants};

/// Interval at which a busy instance shares the number of its successful refreshes.
const SHARING_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// Successful refreshes that only this instance knows of. They are shared with its next rejected one, or after
/// a minute by its next successful one, so that a success alone costs no call.
#[derive(Debug, Default)]
pub(crate) struct UnsharedSuccesses(Mutex<Option<(Timestamp, RefreshCounts)>>);

impl UnsharedSuccesses {
    /// Adds a success. Returns the counts once they are due to be shared.
    fn add(&self, account: &AccountId, now: Timestamp) -> Option<RefreshCounts> {
        let mut unshared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, mut counts) = unshared
            .take()
            .filter(|(since, _)| now - WINDOW < *since)
            .unwrap_or((now, RefreshCounts::default()));
        counts.add(account, true);
        if since + SHARING_INTERVAL <= now {
            return Some(counts);
        }
        *unshared = Some((since, counts));
        None
    }

    fn take(&self, now: Timestamp) -> RefreshCounts {
        let unshared = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let recent = unshared.filter(|(since, _)| now - WINDOW < *since);
        recent.map(|(_, counts)| counts).unwrap_or_default()
    }
}

impl Grants {
    /// Counts a successful refresh.
    pub(crate) async fn count_success(&self, zoom_user: &ZoomUser) {
        let now = self.clock.now();
        if let Some(counts) = self.successes.add(&zoom_user.account_id, now)
            && let Err(error) = self.links().count_refreshes(&counts, now).await
        {
            tracing::warn!(%error, "successful refreshes not counted");
        }
    }

    /// Marks the grant as revoked by Zoom. If a mistake of the operator or of Zoom may explain the rejection, keeps
    /// the grant and records the time.
    ///
    /// # Errors
    /// [`GrantError::ManyRejected`] or [`GrantError::ClientReplaced`] if the grant is kept.
    pub(crate) async fn apply_rejection(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        rejection: Rejection,
        if_rejected: IfRejected,
    ) -> Result<(), GrantError> {
        let now = self.clock.now();
        let is_suspect = rejection == Rejection::InvalidGrant && if_rejected == IfRejected::Mark;
        let is_open = if is_suspect {
            match self.is_breaker_open(zoom_user, now).await {
                Ok(is_open) => is_open,
                Err(error) => {
                    self.release(zoom_user, lease).await;
                    return Err(error.into());
                }
            }
        } else {
            false
        };
        let (reason, kept) = match rejection {
            Rejection::ClientReplaced => ("client_replaced", GrantError::ClientReplaced),
            _ if is_open => ("many_rejected", GrantError::ManyRejected),
            _ => ("invalid_grant", GrantError::ManyRejected),
        };
        metrics::count(Metric::RefreshesFailed, reason);
        if !rejection.is_final(is_open, lease.grant.failing_since(now), now) {
            self.links().release_failing(zoom_user, lease, now).await?;
            return Err(kept);
        }
        if lease.grant.status == GrantStatus::Revoking {
            // Zoom rejects the tokens, so no request can revoke the grant.
            return self.complete_revocation(zoom_user, lease).await;
        }
        let change = match (if_rejected, rejection) {
            (IfRejected::Deauthorize, Rejection::InvalidGrant | Rejection::GrantEnded) => {
                GrantChange::Deauthorize
            }
            _ => GrantChange::RequireReauthorization { reason: rejection },
        };
        let changed = self.links().change_under_lease(zoom_user, lease, &change, None, now).await?;
        if let Some(changed) = changed {
            tracing::warn!(zoom_user = zoom_user.key(), ?rejection, "grant revoked by Zoom");
            metrics::count_many(
                Metric::LinksReauthorizationRequired,
                "refused_by_zoom",
                count_newly_affected(&changed),
            );
            self.publish(zoom_user, &changed).await?;
        }
        Ok(())
    }

    /// Counts a rejected refresh, and returns whether so many are rejected that a mistake is likely.
    async fn is_breaker_open(
        &self,
        zoom_user: &ZoomUser,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let mut counts = self.successes.take(now);
        counts.add(&zoom_user.account_id, false);
        self.links().count_refreshes(&counts, now).await?;
        Ok(self.links().recent_refreshes(now).await?.is_open())
    }
}

/// Counts the links that require reauthorization because of this change.
fn count_newly_affected(changed: &Changed) -> u64 {
    let count = |state: &GrantState| {
        let is_affected = |link: &&Link| link.status == LinkStatus::ReauthorizationRequired;
        state.links.iter().filter(is_affected).count()
    };
    let newly = count(&changed.after).saturating_sub(count(&changed.before));
    u64::try_from(newly).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_instance_shares_successes_once_a_minute() {
        let (successes, account) = (UnsharedSuccesses::default(), "Account".parse().unwrap());
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        assert_eq!(successes.add(&account, at(0)), None);
        assert_eq!(successes.add(&account, at(59)), None);
        assert_eq!(successes.add(&account, at(60)).unwrap().succeeded, 3);
        assert_eq!(successes.add(&account, at(61)), None);
        assert_eq!(successes.take(at(62)).succeeded, 1);
        assert_eq!(successes.take(at(62)).succeeded, 0);
        // Counts that are older than the window are dropped.
        assert_eq!(successes.add(&account, at(100)), None);
        assert_eq!(successes.add(&account, at(700)), None);
        assert_eq!(successes.take(at(701)).succeeded, 1);
    }
}
