//! The Links table: grants and links.
//!
//! Partition key `zoom_user`, sort key `entry`: `grant`, `link#<app user>`, or `outbox#<notification>`.
//! One consistent query by the ids of a webhook gives the grant and all of its links. What may change,
//! and into what, is [`reelay_domain::link`]'s business; every change is one transaction, conditioned on the
//! grant's `generation`, which it raises ([`change`]).
//!
//! Two sparse indexes: `by-next-check`, whose key is a day, over items that somebody has to look after from that
//! day on ([`due`]); and `by-user-id` over grants, to find a Zoom user who has changed accounts.

mod change;
mod due;
mod erasure;
mod lease;
mod leaving;
mod moved;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use jiff::civil::Date;
use reelay_domain::claim::Claim;
use reelay_domain::ids::{AppUserId, LinkId, UserId, ZoomUser};
use reelay_domain::link::{ChangeError, GrantState, GrantStatus, Link, LinkStatus};
use reelay_domain::message::{Notification, NotificationMessage};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

pub use self::lease::{Lease, LeaseError};
pub use self::leaving::PendingErasure;
use crate::queue::Queue;
use crate::sessions::{ClaimItem, Item};
use crate::vault::EncryptedTokens;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};

/// The index over links by app user.
const BY_APP_USER: &str = "by-app-user";

/// A Zoom user's tokens, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Where it stands.
    #[serde(default)]
    pub status: GrantStatus,
    /// Sealed for [`crate::vault::TokenOwner::Grant`]; gone when the grant is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<EncryptedTokens>,
    /// When the access token ends, epoch seconds.
    pub access_expires_at: i64,
    /// Granted scopes, if Zoom named them.
    #[serde(default)]
    pub scope: Option<String>,
    /// When Zoom gave the tokens for a consent, epoch milliseconds; a refresh does not change it. Of two
    /// consents the later one is the one that Zoom honours.
    pub obtained_at: i64,
    /// The exchange that brought them. Whoever finishes it once more must not put back its first pair,
    /// which may have been refreshed since.
    pub exchange: String,
    /// The day from which on somebody has to look after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_day: Option<Date>,
    /// Zoom's user id, for the index over grants by it.
    pub user_id: UserId,
    /// Rises with every new pair of tokens.
    pub version: u64,
    /// Rises with every change of the grant or its links.
    pub generation: u64,
    /// Who is refreshing, revoking or checking the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// Until when, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
}

/// A new pair of tokens, sealed for the grant.
#[derive(Debug, Clone)]
pub struct NewTokens {
    /// The pair.
    pub tokens: EncryptedTokens,
    /// When Zoom gave the first pair of this consent, epoch milliseconds.
    pub obtained_at: i64,
    /// The exchange that brought it.
    pub exchange: String,
    /// When the access token ends, epoch seconds.
    pub access_expires_at: i64,
    /// Granted scopes.
    pub scope: Option<String>,
}

/// What a consent brings.
#[derive(Debug)]
pub struct Consent<'a> {
    /// Whose.
    pub zoom_user: &'a ZoomUser,
    /// As Zoom shows it.
    pub display_name: &'a str,
    /// The new pair; the exchange that it names is finished by this.
    pub tokens: NewTokens,
    /// Who began it.
    pub begun_by: &'a AppUserId,
    /// The link to make, unless the consent is good for existing links only.
    pub link: Option<PendingLink<'a>>,
}

/// A link that waits for the app's confirmation.
#[derive(Debug)]
pub struct PendingLink<'a> {
    /// What the browser carries back.
    pub claim: &'a Claim,
    /// What the claim stands for.
    pub claim_item: &'a ClaimItem,
}

/// What came of a confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// The link is active, and the app is to be told these.
    Active(Box<Link>, Vec<OutboxEntry>),
    /// The link is gone, or the connect token was used for another link in the meantime.
    Expired,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What there was before.
    pub before: GrantState,
    /// What there is now.
    pub after: GrantState,
    /// What the app is still to be told, this change's facts among it: [`LinkTable::publish_outbox`].
    pub outbox: Vec<OutboxEntry>,
}

/// What the app is to be told of one change, and was not told yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    entry: String,
    notifications: Vec<Notification>,
    next_check_day: Date,
}

impl OutboxEntry {
    /// `None` if there is nothing to tell. `now` because it is to be told at once.
    fn of(notifications: Vec<Notification>, now: Timestamp) -> Option<Self> {
        // Ids of notifications are unique, so no change takes another's place.
        let entry = format!("outbox#{}", notifications.first()?.id);
        Some(Self {
            entry,
            notifications,
            next_check_day: due::day(now),
        })
    }

    fn item(&self, zoom_user: &ZoomUser) -> Result<Item, AwsError> {
        keyed(zoom_user, &self.entry, self)
    }
}

/// Why a change was not made. Nothing was written; trying again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// DynamoDB did not do it.
    #[error(transparent)]
    Table(#[from] AwsError),
    /// The rules do not allow it.
    #[error(transparent)]
    Rejected(#[from] ChangeError),
    /// Too many others changed the same grant at the same time.
    #[error("the grant is being changed by others")]
    Contended,
}

/// A grant with its links, as one consistent query saw them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantSnapshot {
    /// The tokens, if there are any.
    pub grant: Option<Grant>,
    /// All links, pending ones included.
    pub links: Vec<Link>,
    /// What the app was not told yet.
    pub outbox: Vec<OutboxEntry>,
}

impl GrantSnapshot {
    /// The app users whom this Zoom user's recordings concern.
    pub fn app_users(&self) -> impl Iterator<Item = &AppUserId> {
        self.links
            .iter()
            .filter(|link| link.status.is_visible())
            .map(|link| &link.app_user)
    }

    /// The grant's generation after one more change.
    fn next_generation(&self, now: Timestamp) -> u64 {
        match &self.grant {
            Some(grant) => grant.generation + 1,
            None => beginning(now),
        }
    }

    /// What `domain` reasons about.
    pub fn grant_state(&self) -> GrantState {
        GrantState {
            grant: self.grant.as_ref().map(|grant| grant.status),
            links: self.links.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LinkItem {
    link_id: LinkId,
    app_user_id: AppUserId,
    display_name: String,
    status: LinkStatus,
    created_at: Timestamp,
    activated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_until: Option<Timestamp>,
    /// From this day on a link that is still pending is to be dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_check_day: Option<Date>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous_zoom_users: Vec<ZoomUser>,
}

/// The table.
#[derive(Debug)]
pub struct LinkTable {
    client: Client,
    table: String,
}

impl LinkTable {
    /// The table that `LINKS_TABLE` names.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.dynamodb(),
            table: environment.variables.required("LINKS_TABLE")?.to_owned(),
        })
    }

    /// The grant and all links of a Zoom user, consistently.
    pub async fn snapshot(&self, zoom_user: &ZoomUser) -> Result<GrantSnapshot, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :user")
            .expression_attribute_values(":user", AttributeValue::S(zoom_user.key()))
            .into_paginator()
            .items()
            .send();
        let mut holding = GrantSnapshot::default();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Links", &error))?;
            let entry = item
                .get("entry")
                .and_then(|entry| entry.as_s().ok())
                .map(String::as_str);
            match entry.and_then(|entry| entry.split('#').next()) {
                Some("grant") => holding.grant = Some(read(item)?),
                Some("outbox") => holding.outbox.push(read(item)?),
                _ => holding.links.push(read_link(item)?),
            }
        }
        Ok(holding)
    }

    /// The links that the app sees of one of its users.
    pub async fn visible_links(&self, app_user: &AppUserId) -> Result<Vec<Link>, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_APP_USER)
            .key_condition_expression("app_user_id = :user")
            .expression_attribute_values(":user", AttributeValue::S(app_user.as_str().to_owned()))
            .into_paginator()
            .items()
            .send();
        let mut links = Vec::new();
        while let Some(item) = pages.next().await {
            links.push(read_link(
                item.map_err(|error| AwsError::from_sdk("Query Links", &error))?,
            )?);
        }
        links.retain(|link| link.status.is_visible());
        Ok(links)
    }

    /// Tells the app what waits in the outbox, then empties it. A crash in between tells it twice, under
    /// the same ids.
    pub async fn publish_outbox(
        &self,
        notifications: &Queue<NotificationMessage>,
        zoom_user: &ZoomUser,
        outbox: &[OutboxEntry],
    ) -> Result<(), AwsError> {
        let messages: Vec<_> = outbox
            .iter()
            .flat_map(|unsent| unsent.notifications.iter().cloned())
            .map(NotificationMessage::new)
            .collect();
        notifications
            .send_all(&messages, zoom_user.account_id.as_str())
            .await?;
        for unsent in outbox {
            self.client
                .delete_item()
                .table_name(&self.table)
                .key("zoom_user", AttributeValue::S(zoom_user.key()))
                .key("entry", AttributeValue::S(unsent.entry.clone()))
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))?;
        }
        Ok(())
    }
}

/// Where a new grant's counts begin: above those of any grant that this Zoom user had before, so that
/// whoever has slept over the end of one takes no other for it, and what is told of a link keeps rising.
fn beginning(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(1)
}

fn link_entry(app_user: &AppUserId) -> String {
    format!("link#{app_user}")
}

fn keyed<T: Serialize>(zoom_user: &ZoomUser, entry: &str, value: &T) -> Result<Item, AwsError> {
    let mut item: Item = to_item(value)
        .map_err(|_| AwsError::unexpected_response("Links", "value can't be an item"))?;
    item.insert("zoom_user".to_owned(), AttributeValue::S(zoom_user.key()));
    item.insert("entry".to_owned(), AttributeValue::S(entry.to_owned()));
    Ok(item)
}

fn link_item(link: &Link) -> Result<Item, AwsError> {
    let item = LinkItem {
        link_id: link.id.clone(),
        app_user_id: link.app_user.clone(),
        display_name: link.display_name.clone(),
        status: link.status,
        created_at: link.created_at,
        activated_at: link.activated_at,
        pending_until: link.pending_until,
        next_check_day: link.pending_until.map(due::day),
        previous_zoom_users: link.previous_zoom_users.clone(),
    };
    keyed(&link.zoom_user, &link_entry(&link.app_user), &item)
}

/// The Zoom users that a page of an index names.
fn zoom_user_of(item: &Item) -> Result<ZoomUser, AwsError> {
    let key = item.get("zoom_user").and_then(|key| key.as_s().ok());
    key.and_then(|key| ZoomUser::from_key(key).ok())
        .ok_or_else(|| AwsError::unexpected_response("Links", "an item's zoom_user does not read"))
}

fn read_link(item: Item) -> Result<Link, AwsError> {
    let zoom_user = zoom_user_of(&item)?;
    let item: LinkItem = read(item)?;
    Ok(Link {
        id: item.link_id,
        app_user: item.app_user_id,
        zoom_user,
        display_name: item.display_name,
        status: item.status,
        created_at: item.created_at,
        activated_at: item.activated_at,
        pending_until: item.pending_until,
        previous_zoom_users: item.previous_zoom_users,
    })
}

/// Stored items are input too: one that makes no sense is an error that names it.
fn read<T: serde::de::DeserializeOwned>(item: Item) -> Result<T, AwsError> {
    from_item(item).map_err(|error| {
        AwsError::unexpected_response("Links", format!("an item does not read: {error}"))
    })
}
