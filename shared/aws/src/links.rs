//! The Links table: grants and links.
//!
//! Partition key `zoom_user`, sort key `entry`: `grant`, or `link#<app user>`. One consistent query by
//! the ids of a webhook gives the grant and all of its links. Every change of grant or links is one
//! transaction, conditioned on the grant's `generation`, which it raises.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use domain::claim::Claim;
use domain::ids::{AppUserId, LinkId, ZoomUser};
use domain::link::{Link, LinkStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::AwsFailure;
use crate::environment::{ConfigError, Environment};
use crate::sessions::{ClaimItem, Item, SessionTable, claim_key, with_id};
use crate::vault::SealedTokens;

/// The index over links by app user.
const BY_APP_USER: &str = "by-app-user";

/// How often a change is tried again that lost against another. Each loss means that somebody else's
/// change went through, so this many in a row are not expected.
const MOST_ATTEMPTS: usize = 8;

/// A Zoom user's tokens, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Sealed for [`crate::vault::TokenOwner::Grant`].
    pub tokens: SealedTokens,
    /// When the access token ends, epoch seconds.
    pub access_expires_at: i64,
    /// Granted scopes, if Zoom named them.
    pub scope: Option<String>,
    /// Rises with every new pair of tokens.
    pub version: u64,
    /// Rises with every change of the grant or its links.
    pub generation: u64,
}

/// What a consent brings.
#[derive(Debug)]
pub struct Consent<'a> {
    /// Whose.
    pub zoom_user: &'a ZoomUser,
    /// As Zoom shows it.
    pub display_name: &'a str,
    /// The new pair, sealed for the grant.
    pub tokens: SealedTokens,
    /// When the access token ends, epoch seconds.
    pub access_expires_at: i64,
    /// Granted scopes.
    pub scope: Option<String>,
    /// The interrupted-exchange item that this finishes.
    pub exchange_key: &'a str,
    /// The link to make, unless the consent is good for existing links only.
    pub link: Option<PendingLink<'a>>,
}

/// A link that waits for the app's confirmation.
#[derive(Debug)]
pub struct PendingLink<'a> {
    /// Whose.
    pub app_user: &'a AppUserId,
    /// What the browser carries back.
    pub claim: &'a Claim,
    /// What the claim stands for.
    pub claim_item: &'a ClaimItem,
}

/// What came of a confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// The link is active.
    Active(Link),
    /// The link is gone, or the connect token was used for another link in the meantime.
    NoLonger,
}

/// A change that lost against others too often. Nothing was written; trying again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// DynamoDB did not do it.
    #[error(transparent)]
    Table(#[from] AwsFailure),
    /// Too many others changed the same grant at the same time.
    #[error("the grant is being changed by others")]
    Contended,
}

/// A grant with its links, as one consistent query saw them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// The tokens, if there are any.
    pub grant: Option<Grant>,
    /// All links, pending ones included.
    pub links: Vec<Link>,
}

impl Holding {
    /// The app users whom this Zoom user's recordings concern.
    pub fn app_users(&self) -> impl Iterator<Item = &AppUserId> {
        self.links
            .iter()
            .filter(|link| link.status.is_visible())
            .map(|link| &link.app_user)
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
    pub async fn holding(&self, zoom_user: &ZoomUser) -> Result<Holding, AwsFailure> {
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
        let mut holding = Holding::default();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsFailure::of("Query Links", &error))?;
            match item
                .get("entry")
                .and_then(|entry| entry.as_s().ok())
                .map(String::as_str)
            {
                Some("grant") => holding.grant = Some(read(item)?),
                _ => holding.links.push(read_link(item)?),
            }
        }
        Ok(holding)
    }

    /// The links that the app sees of one of its users.
    pub async fn links_of(&self, app_user: &AppUserId) -> Result<Vec<Link>, AwsFailure> {
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
                item.map_err(|error| AwsFailure::of("Query Links", &error))?,
            )?);
        }
        links.retain(|link| link.status.is_visible());
        Ok(links)
    }

    /// Stores a consent: the grant's new tokens, a pending link with its claim, and the end of the
    /// interrupted exchange, all or nothing. A link that exists keeps its state: linking again must
    /// not take away what works.
    pub async fn store_consent(
        &self,
        sessions: &SessionTable,
        consent: &Consent<'_>,
        now: Timestamp,
    ) -> Result<(), LinkError> {
        for _ in 0..MOST_ATTEMPTS {
            let holding = self.holding(consent.zoom_user).await?;
            let items = self.consent_items(sessions, consent, &holding, now)?;
            if self.transact("TransactWriteItems consent", items).await? {
                return Ok(());
            }
        }
        Err(LinkError::Contended)
    }

    fn consent_items(
        &self,
        sessions: &SessionTable,
        consent: &Consent<'_>,
        holding: &Holding,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, AwsFailure> {
        let before = holding.grant.as_ref();
        let grant = Grant {
            tokens: consent.tokens.clone(),
            access_expires_at: consent.access_expires_at,
            scope: consent.scope.clone(),
            version: before.map_or(0, |grant| grant.version) + 1,
            generation: before.map_or(0, |grant| grant.generation) + 1,
        };
        let mut items = vec![self.put_grant(consent.zoom_user, &grant, before)?];
        items.push(delete(sessions.name(), "id", consent.exchange_key)?);
        if let Some(pending) = &consent.link {
            let known = holding
                .links
                .iter()
                .find(|link| link.app_user == *pending.app_user);
            let link = Link {
                id: LinkId::of(pending.app_user, consent.zoom_user),
                app_user: pending.app_user.clone(),
                zoom_user: consent.zoom_user.clone(),
                display_name: consent.display_name.to_owned(),
                status: known.map_or(LinkStatus::Pending, |link| link.status),
                created_at: known.map_or(now, |link| link.created_at),
                activated_at: known.and_then(|link| link.activated_at),
            };
            items.push(self.put_link(&link)?);
            let claim = with_id(claim_key(pending.claim), pending.claim_item)?;
            let put = Put::builder()
                .table_name(sessions.name())
                .set_item(Some(claim));
            items.push(
                TransactWriteItem::builder()
                    .put(built(put.build())?)
                    .build(),
            );
        }
        Ok(items)
    }

    /// Confirms a claim for its own user: the link becomes active, the connect token's `jti` is spent,
    /// the claim is marked so that a repetition gets the same answer.
    pub async fn confirm(
        &self,
        sessions: &SessionTable,
        claim: &Claim,
        mut item: ClaimItem,
        now: Timestamp,
    ) -> Result<Confirmed, LinkError> {
        for _ in 0..MOST_ATTEMPTS {
            let holding = self.holding(&item.zoom_user).await?;
            let Some(link) = holding
                .links
                .iter()
                .find(|link| link.app_user == item.app_user)
            else {
                return Ok(Confirmed::NoLonger);
            };
            let Some(grant) = &holding.grant else {
                return Ok(Confirmed::NoLonger);
            };
            if item.confirmed {
                return Ok(Confirmed::Active(link.clone()));
            }
            let active = Link {
                status: LinkStatus::Active,
                activated_at: link.activated_at.or(Some(now)),
                ..link.clone()
            };
            let mut items = vec![
                self.raise_generation(&item.zoom_user, grant.generation)?,
                self.put_link(&active)?,
                mark_confirmed(sessions.name(), claim)?,
            ];
            if let Some(jti) = &item.jti {
                items.push(spend_jti(sessions.name(), &jti.key, jti.expires_at)?);
            }
            if self.transact("TransactWriteItems confirm", items).await? {
                return Ok(Confirmed::Active(active));
            }
            // Somebody else changed something. It may have been this very claim: then the next round
            // finds it confirmed. If the jti is spent for another link, this one never will be active.
            match sessions.claim(claim, now).await? {
                Some(again) => item = again,
                None => return Ok(Confirmed::NoLonger),
            }
            if let Some(jti) = item.jti.as_ref().filter(|_| !item.confirmed)
                && sessions.is_spent(jti).await?
            {
                return Ok(Confirmed::NoLonger);
            }
        }
        Err(LinkError::Contended)
    }

    fn put_grant(
        &self,
        zoom_user: &ZoomUser,
        grant: &Grant,
        before: Option<&Grant>,
    ) -> Result<TransactWriteItem, AwsFailure> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(keyed(zoom_user, "grant", grant)?));
        let put = match before {
            None => put.condition_expression("attribute_not_exists(entry)"),
            Some(before) => put
                .condition_expression("generation = :generation")
                .expression_attribute_values(":generation", number(before.generation)),
        };
        Ok(TransactWriteItem::builder()
            .put(built(put.build())?)
            .build())
    }

    fn raise_generation(
        &self,
        zoom_user: &ZoomUser,
        from: u64,
    ) -> Result<TransactWriteItem, AwsFailure> {
        let update = Update::builder()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(zoom_user.key()))
            .key("entry", AttributeValue::S("grant".to_owned()))
            .update_expression("SET generation = :next")
            .condition_expression("generation = :generation")
            .expression_attribute_values(":generation", number(from))
            .expression_attribute_values(":next", number(from + 1));
        Ok(TransactWriteItem::builder()
            .update(built(update.build())?)
            .build())
    }

    fn put_link(&self, link: &Link) -> Result<TransactWriteItem, AwsFailure> {
        let item = LinkItem {
            link_id: link.id.clone(),
            app_user_id: link.app_user.clone(),
            display_name: link.display_name.clone(),
            status: link.status,
            created_at: link.created_at,
            activated_at: link.activated_at,
        };
        let item = keyed(&link.zoom_user, &format!("link#{}", link.app_user), &item)?;
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        Ok(TransactWriteItem::builder()
            .put(built(put.build())?)
            .build())
    }

    /// Writes all items or none. `false` if a condition did not hold, or another transaction was in
    /// the way: read again, and try again.
    async fn transact(
        &self,
        call: &'static str,
        items: Vec<TransactWriteItem>,
    ) -> Result<bool, AwsFailure> {
        match self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await
        {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled
                        .cancellation_reasons()
                        .iter()
                        .filter_map(|reason| reason.code())
                        .all(|code| {
                            matches!(
                                code,
                                "None" | "ConditionalCheckFailed" | "TransactionConflict"
                            )
                        }) =>
                {
                    Ok(false)
                }
                _ => Err(AwsFailure::of(call, &error)),
            },
        }
    }
}

fn mark_confirmed(table: &str, claim: &Claim) -> Result<TransactWriteItem, AwsFailure> {
    let update = Update::builder()
        .table_name(table)
        .key("id", AttributeValue::S(claim_key(claim)))
        .update_expression("SET confirmed = :yes")
        .condition_expression("confirmed = :no")
        .expression_attribute_values(":yes", AttributeValue::Bool(true))
        .expression_attribute_values(":no", AttributeValue::Bool(false));
    Ok(TransactWriteItem::builder()
        .update(built(update.build())?)
        .build())
}

fn spend_jti(table: &str, key: &str, expires_at: i64) -> Result<TransactWriteItem, AwsFailure> {
    let put = Put::builder()
        .table_name(table)
        .item("id", AttributeValue::S(key.to_owned()))
        .item("expires_at", AttributeValue::N(expires_at.to_string()))
        .condition_expression("attribute_not_exists(id)");
    Ok(TransactWriteItem::builder()
        .put(built(put.build())?)
        .build())
}

fn delete(table: &str, key: &str, value: &str) -> Result<TransactWriteItem, AwsFailure> {
    let delete = Delete::builder()
        .table_name(table)
        .key(key, AttributeValue::S(value.to_owned()));
    Ok(TransactWriteItem::builder()
        .delete(built(delete.build())?)
        .build())
}

fn keyed<T: Serialize>(zoom_user: &ZoomUser, entry: &str, value: &T) -> Result<Item, AwsFailure> {
    let mut item: Item =
        to_item(value).map_err(|_| AwsFailure::answer("Links", "value can't be an item"))?;
    item.insert("zoom_user".to_owned(), AttributeValue::S(zoom_user.key()));
    item.insert("entry".to_owned(), AttributeValue::S(entry.to_owned()));
    Ok(item)
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn built<T, E>(result: Result<T, E>) -> Result<T, AwsFailure> {
    result.map_err(|_| AwsFailure::answer("TransactWriteItems", "item could not be built"))
}

fn read_link(item: Item) -> Result<Link, AwsFailure> {
    let key = item
        .get("zoom_user")
        .and_then(|key| key.as_s().ok())
        .cloned()
        .unwrap_or_default();
    let zoom_user = ZoomUser::from_key(&key)
        .map_err(|_| AwsFailure::answer("Links", "an item's zoom_user does not read"))?;
    let item: LinkItem = read(item)?;
    Ok(Link {
        id: item.link_id,
        app_user: item.app_user_id,
        zoom_user,
        display_name: item.display_name,
        status: item.status,
        created_at: item.created_at,
        activated_at: item.activated_at,
    })
}

/// Stored items are input too: one that makes no sense is an error that names it.
fn read<T: serde::de::DeserializeOwned>(item: Item) -> Result<T, AwsFailure> {
    from_item(item)
        .map_err(|error| AwsFailure::answer("Links", format!("an item does not read: {error}")))
}
