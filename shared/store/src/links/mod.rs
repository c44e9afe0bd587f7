//! The Links table: grants and links.
//!
//! Partition key `zoom_user`, sort key `entry`: `grant`, `link#<app user>`, `outbox#<notification>`, `job#<generation>`, and what
//! remains of them: `marking`, `removed#<app user>`, `moved`, `erasure`. One consistent query by the ids of a webhook
//! returns the grant and all its links. [`reelay_domain::link`] decides which changes are valid. Every change
//! is one transaction, conditioned on the grant's `generation`, which it increments ([`change`]). An app
//! user's links are found by pointers ([`pointers`]).
//!
//! Two sparse indexes: `by-next-check`, in shards, over items with a maintenance check ([`checks`]);
//! and `by-user-id` over grants, to find a Zoom user who has changed accounts.

mod account_move;
mod backfills;
mod change;
mod checks;
mod ending;
mod erasures;
mod events;
mod exchanges;
mod lease;
mod marking;
mod pending_jobs;
mod pointers;
mod receipt;
mod reconciliations;
mod refreshes;
mod removed;
mod spare;
mod write;

use aws_sdk_dynamodb::Client;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::claim::Claim;
use reelay_domain::coverage::Coverage;
use reelay_domain::erasure::KeepAfterRemoval;
use reelay_domain::ids::{AppUserId, LinkId, UserId, ZoomUser};
use reelay_domain::link::{
    ChangeError, EmailAddress, GrantState, GrantStatus, Link, LinkIssue, LinkStatus,
};
use reelay_domain::message::Notification;
use reelay_domain::time::utc_date;
use serde::{Deserialize, Serialize};

pub use self::backfills::RequestedBackfill;
pub use self::erasures::Erasure;
pub use self::lease::{Lease, LeaseError};
pub use self::marking::MarkingItem;
pub use self::pending_jobs::PendingJobs;
pub use self::pointers::Pointer;
pub use self::reconciliations::ReconciliationItem;
pub use self::removed::RemovedLink;
use crate::conflicts;
use crate::item::{Item, from_item, text, text_of, to_item, zoom_user_of};
use crate::outbox::NotificationPublisher;
use crate::sessions::ClaimItem;
use crate::vault::EncryptedTokens;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};

/// The item of a grant: a Zoom user's encrypted tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Status.
    #[serde(default)]
    pub status: GrantStatus,
    /// Encrypted for [`crate::vault::TokenOwner::Grant`]; absent once the grant has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<EncryptedTokens>,
    /// Expiry of the access token, epoch seconds.
    pub access_expires_at: i64,
    /// Granted scopes, if Zoom returned them.
    #[serde(default)]
    pub scope: Option<String>,
    /// Zoom client that the tokens were issued to; no other client can refresh them.
    pub client_id: String,
    /// Time of the first rejected refresh of this pair, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<i64>,
    /// Time of the consent's code exchange, epoch milliseconds; a refresh does not change it. Of two consents,
    /// the tokens of the later one are valid at Zoom.
    pub obtained_at: i64,
    /// Key of the exchange. A job that completes it again must not restore its first pair, which may have been
    /// refreshed since.
    pub exchange: String,
    /// Day of the next maintenance check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_day: Option<Date>,
    /// Zoom's user id, the key of the index `by-user-id`.
    pub user_id: UserId,
    /// Incremented with every new pair of tokens.
    pub version: u64,
    /// Incremented with every change of the grant or its links.
    pub generation: u64,
    /// Owner of the lease on the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// Expiry of the lease, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
}

/// A new pair of tokens, encrypted for the grant.
#[derive(Debug, Clone)]
pub struct NewTokens {
    /// The encrypted pair.
    pub tokens: EncryptedTokens,
    /// Time of the consent's code exchange, epoch milliseconds.
    pub obtained_at: i64,
    /// Key of the exchange.
    pub exchange: String,
    /// Expiry of the access token, epoch seconds.
    pub access_expires_at: i64,
    /// Granted scopes.
    pub scope: Option<String>,
    /// Zoom client that the tokens were issued to.
    pub client_id: String,
}

/// A consent, to be stored.
#[derive(Debug)]
pub struct Consent<'a> {
    /// The Zoom user who consented.
    pub zoom_user: &'a ZoomUser,
    /// The display name at Zoom.
    pub display_name: &'a str,
    /// The e-mail address at Zoom.
    pub email: Option<&'a EmailAddress>,
    /// The new pair. Storing the consent completes its exchange.
    pub tokens: NewTokens,
    /// The app user who started it.
    pub begun_by: &'a AppUserId,
    /// The link to create; `None` if the consent only serves existing links.
    pub link: Option<PendingLink<'a>>,
}

/// A pending link.
#[derive(Debug)]
pub struct PendingLink<'a> {
    /// The claim that the browser carries to the app.
    pub claim: &'a Claim,
    /// The item of the claim.
    pub claim_item: &'a ClaimItem,
}

/// Outcome of a confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// The link is active. The outbox entries remain to be published, and the jobs to be enqueued.
    Active(Box<Link>, Vec<OutboxEntry>, Vec<PendingJobs>),
    /// The link is gone, or the connect token has been used for another link.
    Expired,
}

/// A committed change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// State before the change.
    pub before: GrantState,
    /// State after the change.
    pub after: GrantState,
    /// Unpublished notifications, including those of this change. See [`LinkTable::publish_outbox`].
    pub outbox: Vec<OutboxEntry>,
    /// Jobs that are not enqueued, including those of this change. See [`LinkTable::enqueue_pending_jobs`].
    pub jobs: Vec<PendingJobs>,
}

/// The unpublished notifications of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    entry: String,
    notifications: Vec<Notification>,
    next_check_day: Date,
}

impl OutboxEntry {
    /// `None` if there are no notifications. A check is due at once, in case publishing fails.
    fn new(notifications: Vec<Notification>, now: Timestamp) -> Option<Self> {
        // Notification ids are unique, so entries never overwrite each other.
        let entry = format!("outbox#{}", notifications.first()?.id);
        Some(Self { entry, notifications, next_check_day: utc_date(now) })
    }

    fn item(&self, zoom_user: &ZoomUser) -> Result<Item, AwsError> {
        entry_item(zoom_user, &self.entry, self)
    }
}

/// Error of a change. Nothing was written, and a retry is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A DynamoDB call failed.
    #[error(transparent)]
    Table(#[from] AwsError),
    /// The change is not valid in the current state.
    #[error(transparent)]
    Rejected(#[from] ChangeError),
    /// Too many concurrent changes of the same grant.
    #[error("too many concurrent changes of the grant")]
    Contended,
}

/// A grant with its links and outbox, read by one consistent query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantSnapshot {
    /// The grant, if there is one.
    pub grant: Option<Grant>,
    /// All links, pending ones included.
    pub links: Vec<Link>,
    /// The pair of a marked grant. It may have expired.
    pub marking: Option<MarkingItem>,
    /// Unpublished notifications.
    pub outbox: Vec<OutboxEntry>,
    /// Jobs that are not enqueued.
    pub jobs: Vec<PendingJobs>,
    /// Links that were removed and whose recordings may still be stored.
    pub removed: Vec<RemovedLink>,
    /// The Zoom user's key in another account, to which grant and links moved.
    pub moved_to: Option<ZoomUser>,
    /// The scheduled erasure of the recordings.
    pub erasure: Option<Erasure>,
}

impl GrantSnapshot {
    /// The links to whose app users new recordings are routed.
    pub fn receivers(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.is_receiving())
    }

    /// The app users who may see this Zoom user's recordings, or at least the earlier ones.
    pub fn app_users(&self) -> impl Iterator<Item = &AppUserId> {
        self.links.iter().filter(|link| link.status.is_visible()).map(|link| &link.app_user)
    }

    /// Whether the key has links, removed links or an erasure.
    pub fn leads_to_app_users(&self) -> bool {
        !self.links.is_empty() || !self.removed.is_empty() || self.erasure.is_some()
    }

    /// The generation after the next change.
    fn next_generation(&self, now: Timestamp) -> u64 {
        match &self.grant {
            Some(grant) => grant.generation + 1,
            None => initial_count(now),
        }
    }

    /// The state that [`reelay_domain::link`] reasons about.
    pub fn grant_state(&self) -> GrantState {
        GrantState {
            grant: self.grant.as_ref().map(|grant| grant.status),
            links: self.links.clone(),
            marking: self.marking.as_ref().map(|item| item.marking.clone()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LinkItem {
    link_id: LinkId,
    app_user_id: AppUserId,
    display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<EmailAddress>,
    status: LinkStatus,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consented_at: Option<Timestamp>,
    activated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut_off_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inactive_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issue: Option<LinkIssue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_event_at: Option<Timestamp>,
    #[serde(default)]
    coverage: Coverage,
    /// Day on which the link's claim expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_check_day: Option<Date>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous_zoom_users: Vec<ZoomUser>,
}

/// Sort key of [`MovedItem`].
const MOVED: &str = "moved";

/// The key to which the grant and the links of this key moved.
#[derive(Serialize, Deserialize)]
struct MovedItem {
    to: ZoomUser,
}

/// The Links table.
#[derive(Debug)]
pub struct LinkTable {
    client: Client,
    table: String,
    keep: KeepAfterRemoval,
    /// Time before its confirmation from which a link fetches recordings.
    activation_window: SignedDuration,
}

impl LinkTable {
    /// The table that `LINKS_TABLE` names.
    ///
    /// # Errors
    /// If the variable is absent, or `BACKFILL_DAYS` or the days after which recordings are erased are invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: conflicts::client(environment),
            table: environment.variables.required("LINKS_TABLE")?.to_owned(),
            keep: erasures::keep_after_removal(&environment.variables)?,
            activation_window: pending_jobs::activation_window(&environment.variables)?,
        })
    }

    /// Reads the grant, all links and the outbox of a Zoom user consistently.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn snapshot(&self, zoom_user: &ZoomUser) -> Result<GrantSnapshot, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :user")
            .expression_attribute_values(":user", text(zoom_user.key()))
            .into_paginator()
            .items()
            .send();
        let mut snapshot = GrantSnapshot::default();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Links", &error))?;
            let entry = text_of(&item, "entry");
            match entry.and_then(|entry| entry.split('#').next()) {
                Some("grant") => snapshot.grant = Some(from_item(TABLE, item)?),
                Some(marking::ENTRY) => snapshot.marking = Some(from_item(TABLE, item)?),
                Some(pending_jobs::ENTRY) => snapshot.jobs.push(from_item(TABLE, item)?),
                Some("outbox") => snapshot.outbox.push(from_item(TABLE, item)?),
                Some("removed") => snapshot.removed.push(from_item(TABLE, item)?),
                Some(erasures::ERASURE) => snapshot.erasure = Some(from_item(TABLE, item)?),
                Some(MOVED) => snapshot.moved_to = Some(from_item::<MovedItem>(TABLE, item)?.to),
                _ => snapshot.links.push(read_link(item)?),
            }
        }
        Ok(snapshot)
    }

    /// Reads consistently the links whose app users receive the recordings of a Zoom user.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn receivers(&self, zoom_user: &ZoomUser) -> Result<Vec<Link>, AwsError> {
        let links = self.covering_links(zoom_user).await?;
        Ok(links.into_iter().filter(Link::is_receiving).collect())
    }

    /// Publishes outbox entries, then deletes them. A crash in between repeats the notifications with the same ids.
    ///
    /// # Errors
    /// If an SQS or DynamoDB call fails. The entries stay in the outbox.
    pub async fn publish_outbox(
        &self,
        notifications: &NotificationPublisher,
        zoom_user: &ZoomUser,
        outbox: &[OutboxEntry],
    ) -> Result<(), AwsError> {
        let entries = outbox.iter().flat_map(|entry| entry.notifications.iter().cloned());
        let unpublished: Vec<Notification> = entries.collect();
        notifications.publish(&unpublished, zoom_user.account_id.as_str()).await?;
        for entry in outbox {
            self.client
                .delete_item()
                .table_name(&self.table)
                .key("zoom_user", text(zoom_user.key()))
                .key("entry", text(entry.entry.clone()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))?;
        }
        Ok(())
    }
}

/// Initial version and generation of a new grant. Epoch milliseconds exceed those of any earlier grant of
/// this Zoom user, so that stale readers notice the replacement and notification sequences keep rising.
fn initial_count(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(1)
}

fn link_entry(app_user: &AppUserId) -> String {
    format!("link#{app_user}")
}

/// Name of the table in errors.
const TABLE: &str = "Links";

/// An item of a Zoom user, in the index of the checks if it has the day of one.
fn entry_item<T: Serialize>(
    zoom_user: &ZoomUser,
    entry: &str,
    value: &T,
) -> Result<Item, AwsError> {
    let key = [("zoom_user", zoom_user.key()), ("entry", entry.to_owned())];
    let mut item = to_item(TABLE, key, value)?;
    if item.contains_key("next_check_day") {
        item.insert("next_check_shard".to_owned(), checks::shard(zoom_user));
    }
    Ok(item)
}

fn link_item(link: &Link) -> Result<Item, AwsError> {
    let item = LinkItem {
        link_id: link.id.clone(),
        app_user_id: link.app_user.clone(),
        display_name: link.display_name.clone(),
        email: link.email.clone(),
        status: link.status,
        created_at: link.created_at,
        consented_at: link.consented_at,
        activated_at: link.activated_at,
        pending_until: link.pending_until,
        cut_off_at: link.cut_off_at,
        inactive_since: link.inactive_since,
        issue: link.issue,
        last_event_at: link.last_event_at,
        coverage: link.coverage.clone(),
        next_check_day: link.pending_until.map(utc_date),
        previous_zoom_users: link.previous_zoom_users.clone(),
    };
    entry_item(&link.zoom_user, &link_entry(&link.app_user), &item)
}

fn read_link(item: Item) -> Result<Link, AwsError> {
    let zoom_user = zoom_user_of(TABLE, &item)?;
    let item: LinkItem = from_item(TABLE, item)?;
    Ok(Link {
        id: item.link_id,
        app_user: item.app_user_id,
        zoom_user,
        display_name: item.display_name,
        email: item.email,
        status: item.status,
        created_at: item.created_at,
        consented_at: item.consented_at,
        activated_at: item.activated_at,
        pending_until: item.pending_until,
        cut_off_at: item.cut_off_at,
        inactive_since: item.inactive_since,
        issue: item.issue,
        last_event_at: item.last_event_at,
        coverage: item.coverage,
        previous_zoom_users: item.previous_zoom_users,
    })
}
