//! Changes of a grant and its links, each one transaction.

use jiff::Timestamp;
use reelay_domain::claim::Claim;
use reelay_domain::coverage::Coverage;
use reelay_domain::ids::{AppUserId, LinkId, ZoomUser};
use reelay_domain::link::{ChangeError, GrantChange, Link, LinkNotification, LinkStatus};

use super::write::{Extras, consume_jti, mark_confirmed, put};
use super::{
    Changed, Confirmation, Consent, GrantSnapshot, Lease, LinkError, LinkTable, NewTokens,
    OutboxEntry, PendingJobs, receipt,
};
use crate::sessions::{
    ClaimItem, ExchangeItem, ExchangeStage, SessionTable, claim_item, exchange_item, linked_expiry,
};

/// Maximum attempts of a change. Each failed attempt means that a concurrent change was committed.
pub(super) const MAX_ATTEMPTS: usize = 12;

impl LinkTable {
    /// Commits a change of the grant and its links.
    ///
    /// # Errors
    /// Returns [`LinkError`]; nothing was written.
    pub async fn change(
        &self,
        zoom_user: &ZoomUser,
        change: &GrantChange,
        now: Timestamp,
    ) -> Result<Changed, LinkError> {
        for _ in 0..MAX_ATTEMPTS {
            let snapshot = self.snapshot(zoom_user).await?;
            if let Some(changed) =
                self.attempt(zoom_user, &snapshot, change, Extras::default(), now).await?
            {
                return Ok(changed);
            }
        }
        Err(LinkError::Contended)
    }

    /// Commits a change that concerns the tokens of one version. `None` if the tokens have been replaced since.
    ///
    /// # Errors
    /// Returns [`LinkError`]; nothing was written.
    pub async fn change_of_version(
        &self,
        zoom_user: &ZoomUser,
        version: u64,
        change: &GrantChange,
        now: Timestamp,
    ) -> Result<Option<Changed>, LinkError> {
        for _ in 0..MAX_ATTEMPTS {
            let snapshot = self.snapshot(zoom_user).await?;
            if snapshot.grant.as_ref().is_none_or(|grant| grant.version != version) {
                return Ok(None);
            }
            if let Some(changed) =
                self.attempt(zoom_user, &snapshot, change, Extras::default(), now).await?
            {
                return Ok(Some(changed));
            }
        }
        Err(LinkError::Contended)
    }

    /// Commits a change that follows from Zoom's response to the holder of a lease, perhaps with a new pair.
    /// `None` if another instance holds the lease, or the tokens have been replaced.
    ///
    /// # Errors
    /// [`LinkError`]. Nothing was written.
    pub async fn change_under_lease(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        change: &GrantChange,
        tokens: Option<&NewTokens>,
        now: Timestamp,
    ) -> Result<Option<Changed>, LinkError> {
        for _ in 0..MAX_ATTEMPTS {
            let snapshot = self.snapshot(zoom_user).await?;
            let is_leased = snapshot.grant.as_ref().is_some_and(|grant| {
                grant.version == lease.grant.version
                    && grant.lease_owner.as_ref() == Some(&lease.owner)
            });
            if !is_leased {
                return Ok(None);
            }
            let extras = Extras { tokens, lease: Some(lease), extra_writes: Vec::new() };
            if let Some(changed) = self.attempt(zoom_user, &snapshot, change, extras, now).await? {
                return Ok(Some(changed));
            }
        }
        Err(LinkError::Contended)
    }

    /// Stores a consent in one transaction: the grant's new tokens, a pending link with its claim, and the
    /// completion of the exchange. An existing link keeps its state.
    ///
    /// # Errors
    /// Returns [`LinkError`]; nothing was written.
    pub async fn store_consent(
        &self,
        sessions: &SessionTable,
        consent: &Consent<'_>,
        now: Timestamp,
    ) -> Result<Changed, LinkError> {
        let mut link = consent.link.as_ref().map(|pending| Link {
            id: LinkId::derive(consent.begun_by, consent.zoom_user),
            app_user: consent.begun_by.clone(),
            zoom_user: consent.zoom_user.clone(),
            display_name: consent.display_name.to_owned(),
            status: LinkStatus::Pending,
            created_at: now,
            consented_at: None,
            activated_at: None,
            pending_until: Timestamp::from_second(pending.claim_item.expires_at).ok(),
            cut_off_at: None,
            coverage: Coverage::default(),
            inactive_since: None,
            issue: None,
            email: consent.email.cloned(),
            last_event_at: None,
            previous_zoom_users: Vec::new(),
        });
        let obtained_at = Timestamp::from_millisecond(consent.tokens.obtained_at).unwrap_or(now);
        for _ in 0..MAX_ATTEMPTS {
            let snapshot = self.snapshot(consent.zoom_user).await?;
            let removed = snapshot.removed.iter().find(|it| it.app_user_id == *consent.begun_by);
            if let (Some(removed), Some(link)) = (removed, &mut link) {
                removed.restore(link);
            }
            // The grant has newer tokens if a later consent was stored first, or if this consent's tokens were
            // adopted before: they may have been refreshed since.
            let superseded = snapshot.grant.as_ref().is_some_and(|grant| {
                grant.obtained_at > consent.tokens.obtained_at
                    || grant.exchange == consent.tokens.exchange
            });
            let change = GrantChange::Consent { link: link.clone(), superseded, obtained_at };
            let linked = ExchangeItem {
                app_user: consent.begun_by.clone(),
                stage: ExchangeStage::Linked { zoom_user: consent.zoom_user.clone() },
                begun_at: now.as_millisecond(),
                expires_at: linked_expiry(now),
            };
            let linked = exchange_item(&consent.tokens.exchange, &linked)?;
            let withdrawn = self.withdrawn_exchange(&consent.tokens.exchange)?;
            let mut extra_writes = vec![put(sessions.name(), linked)?, withdrawn];
            if let Some(pending) = &consent.link {
                extra_writes
                    .push(put(sessions.name(), claim_item(pending.claim, pending.claim_item)?)?);
            }
            let tokens = Some(&consent.tokens).filter(|_| !superseded);
            let extras = Extras { tokens, lease: None, extra_writes };
            if let Some(changed) =
                self.attempt(consent.zoom_user, &snapshot, &change, extras, now).await?
            {
                return Ok(changed);
            }
        }
        Err(LinkError::Contended)
    }

    /// Confirms a claim for its app user: activates the link, consumes the connect token's `jti`, and marks the
    /// claim as confirmed, so that a repeated call has the same result.
    ///
    /// # Errors
    /// Returns [`LinkError`]; nothing was written.
    pub async fn confirm(
        &self,
        sessions: &SessionTable,
        claim: &Claim,
        mut item: ClaimItem,
        now: Timestamp,
    ) -> Result<Confirmation, LinkError> {
        let change = GrantChange::Confirm { app_user: item.app_user.clone() };
        for _ in 0..MAX_ATTEMPTS {
            let snapshot = self.snapshot(&item.zoom_user).await?;
            let own_link =
                |links: &[Link]| links.iter().find(|link| link.app_user == item.app_user).cloned();
            if item.confirmed {
                // A pending link belongs to a newer consent, which this claim does not confirm.
                return Ok(
                    match own_link(&snapshot.links).filter(|link| link.status.is_visible()) {
                        Some(link) => {
                            Confirmation::Active(Box::new(link), snapshot.outbox, snapshot.jobs)
                        }
                        None => Confirmation::Expired,
                    },
                );
            }
            let mut extra_writes = vec![mark_confirmed(sessions.name(), claim)?];
            if let Some(jti) = &item.jti {
                extra_writes.push(consume_jti(sessions.name(), &jti.key, jti.expires_at)?);
            }
            if own_link(&snapshot.links).is_some() {
                self.point(std::iter::once(&item.app_user), &item.zoom_user).await?;
            }
            let extras = Extras { extra_writes, ..Extras::default() };
            match self.attempt(&item.zoom_user, &snapshot, &change, extras, now).await {
                Ok(Some(changed)) => {
                    return Ok(match own_link(&changed.after.links) {
                        Some(link) => {
                            Confirmation::Active(Box::new(link), changed.outbox, changed.jobs)
                        }
                        None => Confirmation::Expired,
                    });
                }
                Ok(None) => {}
                Err(LinkError::Rejected(
                    ChangeError::LinkNotFound | ChangeError::GrantRevoking,
                )) => {
                    return Ok(Confirmation::Expired);
                }
                Err(error) => return Err(error),
            }
            // A concurrent change was committed first. If it confirmed this claim, the next attempt returns
            // its result. If it consumed the `jti` for another link, this claim can no longer be confirmed.
            match sessions.find_claim(claim, now).await? {
                Some(current) => item = current,
                None => return Ok(Confirmation::Expired),
            }
            if let Some(jti) = item.jti.as_ref().filter(|_| !item.confirmed)
                && sessions.is_jti_consumed(jti).await?
            {
                return Ok(Confirmation::Expired);
            }
        }
        Err(LinkError::Contended)
    }

    /// Tries once to commit the change and `extra_writes` in one transaction. Returns `None` if a concurrent
    /// change was committed since the snapshot.
    async fn attempt(
        &self,
        zoom_user: &ZoomUser,
        snapshot: &GrantSnapshot,
        change: &GrantChange,
        extras: Extras<'_>,
        now: Timestamp,
    ) -> Result<Option<Changed>, LinkError> {
        let before = snapshot.grant_state();
        let after = before.apply(change, now)?;
        let after = before.with_coverage(after, self.activation_window, now);
        let generation = snapshot.next_generation(now);
        let removal = self.removal(change, &before, &after, now);
        let notifications = before.notifications(&after);
        let activated = notifications.iter().filter_map(|notification| match notification {
            LinkNotification::Activated(link) => Some(link.app_user.clone()),
            _ => None,
        });
        let activated: Vec<AppUserId> = activated.collect();
        let notifications = notifications
            .iter()
            .map(|notification| notification.render(generation, &removal, now))
            .collect();
        let entry = OutboxEntry::new(notifications, now);
        let window = now.checked_sub(self.activation_window).ok();
        let job = before
            .backfill_since(&after, self.activation_window, now)
            .or(window.filter(|_| before.is_reconnected_with_issue(change)))
            .map(|since| PendingJobs::new(zoom_user, since, activated, false, generation, now));
        let unchanged =
            before == after && extras.tokens.is_none() && extras.extra_writes.is_empty();
        if !unchanged {
            let grant = snapshot.grant.as_ref();
            let mut items = Vec::new();
            if grant.is_some() || after.grant.is_some() {
                items.push(
                    self.grant_item_after(zoom_user, grant, &after, &extras, generation, now)?,
                );
            }
            items.extend(self.link_items(zoom_user, &before, &after)?);
            items.extend(self.marking_item(zoom_user, snapshot, &after)?);
            items.extend(self.removed_items(zoom_user, &before, &after, &removal, now)?);
            items.extend(self.erasure_items(&before, &after, &removal)?);
            if let Some(entry) = &entry {
                items.push(put(&self.table, entry.item(zoom_user)?)?);
            }
            if let Some(job) = &job {
                items.push(put(&self.table, job.item(zoom_user)?)?);
            }
            if let Some(receipt) = receipt::receipt(change, &before, &after, now) {
                items.push(put(&self.table, receipt)?);
            }
            items.extend(extras.extra_writes);
            if !self.transact(items).await? {
                return Ok(None);
            }
        }
        let outbox = snapshot.outbox.iter().cloned().chain(entry).collect();
        let jobs = snapshot.jobs.iter().cloned().chain(job).collect();
        Ok(Some(Changed { before, after, outbox, jobs }))
    }
}
