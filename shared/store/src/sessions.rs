//! The Sessions table: everything that lives for minutes and is used once. Authorization attempts,
//! claims, spent connect tokens, and exchanges that were interrupted.
//!
//! Keys are hashes, so reading the table gives nothing that a browser could present. DynamoDB removes
//! expired items when it finds time; expiry is always checked here.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::claim::Claim;
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::signed_state::Nonce;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use sha2::{Digest as _, Sha256};

use crate::vault::EncryptedTokens;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};

/// An authorization attempt, from the app's button to Zoom's redirect back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who began, as the app's connect token said.
    pub app_user: AppUserId,
    /// Where the browser goes in the end; checked before it was stored.
    pub return_to: String,
    /// What Zoom was told, to be repeated at the exchange.
    pub redirect_uri: String,
    /// SHA-256 of the browser's cookie.
    pub browser_hash: String,
    /// PKCE challenge; tells under which key the verifier was derived.
    pub code_challenge: String,
    /// The connect token's `jti`, to be spent when the link becomes active.
    pub jti: Option<SingleUseJti>,
    /// When the attempt ends, epoch seconds.
    pub expires_at: i64,
}

/// A `jti` and how long it has to be remembered once spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleUseJti {
    /// Key of the item that says "spent".
    pub key: String,
    /// When the token that carried it is dead anyway, epoch seconds.
    pub expires_at: i64,
}

impl SingleUseJti {
    /// `jti` is unique per app user, as far as Reelay demands.
    pub fn new(app_user: &AppUserId, jti: &str, token_expires_at: Timestamp) -> Self {
        let mut hash = Sha256::new();
        hash.update(app_user.as_str());
        hash.update([0]);
        hash.update(jti);
        Self {
            key: format!("jti#{}", URL_SAFE_NO_PAD.encode(hash.finalize())),
            expires_at: (token_expires_at + reelay_domain::jwt::LEEWAY).as_second(),
        }
    }
}

/// A claim, waiting for the app's confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimItem {
    /// Who began.
    pub app_user: AppUserId,
    /// Whose consent it stands for.
    pub zoom_user: ZoomUser,
    /// The connect token's `jti`.
    pub jti: Option<SingleUseJti>,
    /// Whether it was confirmed; the right user may repeat that until it expires.
    pub confirmed: bool,
    /// Epoch seconds.
    pub expires_at: i64,
}

/// An authorization whose code was exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeItem {
    /// Who began.
    pub app_user: AppUserId,
    /// How far it came.
    #[serde(flatten)]
    pub stage: ExchangeStage,
    /// When it came so far, epoch milliseconds.
    pub begun_at: i64,
    /// Epoch seconds; the sweep must be done by then.
    pub expires_at: i64,
}

/// How far an exchange came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeStage {
    /// Zoom is being asked. If it stays at that, the answer is lost, or never came.
    Begun {},
    /// The tokens are saved before anything else is tried with them; whose they are is not known yet.
    Tokens {
        /// Sealed for [`crate::vault::TokenOwner::Exchange`] with this item's key.
        sealed: EncryptedTokens,
        /// When Zoom gave them, epoch milliseconds.
        obtained_at: i64,
        /// When the access token ends, epoch seconds.
        access_expires_at: i64,
        /// Granted scopes.
        scope: Option<String>,
    },
    /// The tokens are with the grant of this Zoom user; the link may wait for its confirmation.
    Linked {
        /// Whose.
        zoom_user: ZoomUser,
    },
}

/// An exchange whose tokens are with no grant yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenExchange {
    /// Its key.
    pub key: String,
    /// What is known of it.
    pub item: ExchangeItem,
}

/// What came of spending a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumeOutcome {
    /// It was there, and belongs to this browser. It is gone now.
    Consumed(Session),
    /// It is not there: used before, or expired.
    NotFound,
    /// It belongs to another browser, and stays.
    WrongBrowser,
}

/// The table.
#[derive(Debug)]
pub struct SessionTable {
    client: Client,
    table: String,
}

/// How long an interrupted exchange is kept for the sweep.
const EXCHANGE_KEPT: SignedDuration = SignedDuration::from_hours(24);

impl SessionTable {
    /// The table that `SESSIONS_TABLE` names.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.dynamodb(),
            table: environment.variables.required("SESSIONS_TABLE")?.to_owned(),
        })
    }

    /// The table's name, for transactions that span tables.
    pub(crate) fn name(&self) -> &str {
        &self.table
    }

    /// Opens a session under a nonce that was never used.
    pub async fn open_session(&self, nonce: &Nonce, session: &Session) -> Result<(), AwsError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(with_id(session_key(nonce), session)?))
            .condition_expression("attribute_not_exists(id)")
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Sessions", &error))
    }

    /// Spends a session, if it is there and belongs to the browser: one conditional delete, so that of
    /// two callbacks with one state exactly one gets it.
    pub async fn consume(
        &self,
        nonce: &Nonce,
        browser_hash: Option<&str>,
        now: Timestamp,
    ) -> Result<ConsumeOutcome, AwsError> {
        let answer = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(session_key(nonce)))
            .condition_expression("browser_hash = :browser")
            // No hash is empty, so a request without a cookie matches no session.
            .expression_attribute_values(
                ":browser",
                AttributeValue::S(browser_hash.unwrap_or("-").to_owned()),
            )
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(deleted) => {
                let session: Session = read(deleted.attributes.unwrap_or_default())?;
                Ok(if session.expires_at > now.as_second() { ConsumeOutcome::Consumed(session) } else { ConsumeOutcome::NotFound })
            }
            Err(error) => match error.as_service_error() {
                Some(aws_sdk_dynamodb::operation::delete_item::DeleteItemError::ConditionalCheckFailedException(
                    failed,
                )) => match failed.item().filter(|item| !item.is_empty()) {
                    None => Ok(ConsumeOutcome::NotFound),
                    Some(item) => {
                        let session: Session = read(item.clone())?;
                        Ok(if session.expires_at > now.as_second() { ConsumeOutcome::WrongBrowser } else { ConsumeOutcome::NotFound })
                    }
                },
                _ => Err(AwsError::from_sdk("DeleteItem Sessions", &error)),
            },
        }
    }

    /// Whether a `jti` is spent.
    pub async fn is_jti_consumed(&self, jti: &SingleUseJti) -> Result<bool, AwsError> {
        Ok(self.get_item(jti.key.clone()).await?.is_some())
    }

    /// An exchange, however old.
    pub async fn exchange(&self, key: &str) -> Result<Option<ExchangeItem>, AwsError> {
        self.get_item(key.to_owned()).await?.map(read).transpose()
    }

    /// The exchanges whose tokens are with no grant yet: those of this very moment, and those that were
    /// interrupted. Each is read consistently; that one is missing from the index for an instant is not
    /// excluded.
    pub async fn open_exchanges(&self) -> Result<Vec<OpenExchange>, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(OPEN_EXCHANGES)
            .key_condition_expression("#open = :exchange")
            .expression_attribute_names("#open", OPEN)
            .expression_attribute_values(":exchange", AttributeValue::S("exchange".to_owned()))
            .into_paginator()
            .items()
            .send();
        let mut open = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Sessions", &error))?;
            let Some(key) = item.get("id").and_then(|id| id.as_s().ok()) else {
                continue;
            };
            match self.exchange(key).await? {
                None => {}
                Some(ExchangeItem {
                    stage: ExchangeStage::Linked { .. },
                    ..
                }) => {}
                Some(item) => open.push(OpenExchange {
                    key: key.clone(),
                    item,
                }),
            }
        }
        Ok(open)
    }

    /// Takes an interrupted exchange's tokens for oneself, as long as nobody else has them: a refresh
    /// token is good once. `false` if somebody has.
    pub async fn acquire_exchange_lease(
        &self,
        key: &str,
        now: Timestamp,
        lasting: SignedDuration,
    ) -> Result<bool, AwsError> {
        let taken = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(key.to_owned()))
            .update_expression("SET lease_until = :until")
            .condition_expression(
                "attribute_exists(id) AND (attribute_not_exists(lease_until) OR lease_until < :now)",
            )
            .expression_attribute_values(
                ":until",
                AttributeValue::N((now + lasting).as_millisecond().to_string()),
            )
            .expression_attribute_values(
                ":now",
                AttributeValue::N(now.as_millisecond().to_string()),
            )
            .send()
            .await;
        match taken {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(AwsError::from_sdk("UpdateItem Sessions", &error)),
        }
    }

    /// Forgets an exchange that is finished.
    pub async fn delete_exchange(&self, key: &str) -> Result<(), AwsError> {
        self.delete(key.to_owned()).await
    }

    /// Notes how far an exchange has come. Whoever does so is alone with it, or writes the same.
    pub async fn save_exchange(&self, key: &str, exchange: &ExchangeItem) -> Result<(), AwsError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(exchange_item(key, exchange)?))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Sessions", &error))
    }

    /// The claim, if it is there and has not expired.
    pub async fn find_claim(
        &self,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Option<ClaimItem>, AwsError> {
        let item = self.get_item(claim_key(claim)).await?;
        let claim: Option<ClaimItem> = item.map(read).transpose()?;
        Ok(claim.filter(|claim| claim.expires_at > now.as_second()))
    }

    /// Burns a claim: somebody had it who must not.
    pub async fn invalidate_claim(&self, claim: &Claim) -> Result<(), AwsError> {
        self.delete(claim_key(claim)).await
    }

    async fn delete(&self, id: String) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Sessions", &error))
    }

    async fn get_item(&self, id: String) -> Result<Option<Item>, AwsError> {
        self.client
            .get_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id))
            .consistent_read(true)
            .send()
            .await
            .map(|answer| answer.item)
            .map_err(|error| AwsError::from_sdk("GetItem Sessions", &error))
    }
}

pub(crate) type Item = std::collections::HashMap<String, AttributeValue>;

/// The key of an exchange, derived from the nonce of its session.
pub fn exchange_key(nonce: &Nonce) -> String {
    format!("exchange#{}", nonce.session_key())
}

/// When an exchange that begins now must be finished.
pub fn exchange_expiry(now: Timestamp) -> i64 {
    (now + EXCHANGE_KEPT).as_second()
}

fn session_key(nonce: &Nonce) -> String {
    format!("session#{}", nonce.session_key())
}

pub(crate) fn claim_key(claim: &Claim) -> String {
    format!("claim#{}", claim.session_key())
}

/// The attribute that puts an exchange into the index of open ones.
const OPEN: &str = "open";

const OPEN_EXCHANGES: &str = "open-exchanges";

/// An exchange's item. It is in the index until its tokens are with a grant.
pub(crate) fn exchange_item(key: &str, exchange: &ExchangeItem) -> Result<Item, AwsError> {
    let mut item = with_id(key.to_owned(), exchange)?;
    if !matches!(exchange.stage, ExchangeStage::Linked { .. }) {
        item.insert(OPEN.to_owned(), AttributeValue::S("exchange".to_owned()));
    }
    Ok(item)
}

pub(crate) fn with_id<T: Serialize>(id: String, value: &T) -> Result<Item, AwsError> {
    let mut item: Item = to_item(value)
        .map_err(|_| AwsError::unexpected_response("PutItem", "value can't be an item"))?;
    item.insert("id".to_owned(), AttributeValue::S(id));
    Ok(item)
}

/// Stored items are input too: one that makes no sense is an error that names it.
fn read<T: serde::de::DeserializeOwned>(item: Item) -> Result<T, AwsError> {
    let id = item
        .get("id")
        .and_then(|id| id.as_s().ok())
        .and_then(|id| id.split('#').next())
        .unwrap_or("?")
        .to_owned();
    from_item(item).map_err(|error| {
        AwsError::unexpected_response("Sessions", format!("{id} item does not read: {error}"))
    })
}
