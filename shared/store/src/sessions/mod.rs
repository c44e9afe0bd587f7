//! The Sessions table: single-use items that live for minutes. Authorization sessions, claims, consumed
//! connect tokens, and exchanges.
//!
//! Keys are hashes, so an item contains nothing that a browser could present. DynamoDB deletes expired items
//! late, so this module always checks the expiry.

mod exchange;
mod spare;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::claim::{self, Claim};
use reelay_domain::ids::{AppUserId, ZoomUser};
use reelay_domain::jwt;
use reelay_domain::signed_state::{self, Nonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use self::exchange::exchange_item;
pub use self::spare::SparePair;
use crate::conflicts;
use crate::item::{Item, from_item, text, to_item};
use crate::vault::EncryptedTokens;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};

/// An authorization session, from the app's button to Zoom's callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The app user of the connect token.
    pub app_user: AppUserId,
    /// The validated URL to which the browser returns.
    pub return_to: String,
    /// `redirect_uri` of the authorization request, to be repeated at the exchange.
    pub redirect_uri: String,
    /// SHA-256 of the browser's cookie.
    pub browser_hash: String,
    /// PKCE challenge; identifies the key from which the verifier was derived.
    pub code_challenge: String,
    /// `jti` of the connect token, consumed when the link becomes active.
    pub jti: Option<SingleUseJti>,
    /// Expiry, epoch seconds.
    pub expires_at: i64,
}

/// A `jti`, and how long its consumption is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleUseJti {
    /// Key of the item that marks it as consumed.
    pub key: String,
    /// Time after which no authorization that started with the token can be confirmed, epoch seconds.
    pub expires_at: i64,
}

/// Maximum time from the consumption of a session to the claim that follows from it; `oauth-callback` has a
/// timeout of 29 s.
const MAX_CALLBACK: SignedDuration = SignedDuration::from_mins(1);

impl SingleUseJti {
    /// Scopes a `jti` to its app user.
    pub fn new(app_user: &AppUserId, jti: &str, token_expires_at: Timestamp) -> Self {
        let mut hash = Sha256::new();
        hash.update(app_user.as_str());
        hash.update([0]);
        hash.update(jti);
        Self {
            key: format!("jti#{}", URL_SAFE_NO_PAD.encode(hash.finalize())),
            expires_at: (token_expires_at
                + jwt::LEEWAY
                + signed_state::TTL
                + MAX_CALLBACK
                + claim::TTL)
                .as_second(),
        }
    }
}

/// The item of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimItem {
    /// The app user who started the link.
    pub app_user: AppUserId,
    /// The Zoom user who consented.
    pub zoom_user: ZoomUser,
    /// `jti` of the connect token.
    pub jti: Option<SingleUseJti>,
    /// Whether it has been confirmed. Its user may repeat the confirmation until it expires.
    pub confirmed: bool,
    /// Expiry, epoch seconds.
    pub expires_at: i64,
}

/// The item of a code exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeItem {
    /// The app user who started the link.
    pub app_user: AppUserId,
    /// Stage.
    #[serde(flatten)]
    pub stage: ExchangeStage,
    /// Time of the last stage change, epoch milliseconds.
    pub begun_at: i64,
    /// Expiry, epoch seconds. A maintenance run completes the exchange before that.
    pub expires_at: i64,
}

/// Stage of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeStage {
    /// The request to Zoom is in flight. If the item stays in this stage, the response was lost.
    Begun {},
    /// The tokens are saved; their Zoom user is not known yet.
    Tokens {
        /// Encrypted for [`crate::vault::TokenOwner::Exchange`] with this item's key.
        encrypted: EncryptedTokens,
        /// Time of the exchange, epoch milliseconds.
        obtained_at: i64,
        /// Expiry of the access token, epoch seconds.
        access_expires_at: i64,
        /// Granted scopes.
        scope: Option<String>,
        /// Zoom client that the tokens were issued to.
        client_id: String,
    },
    /// The grant of this Zoom user has the tokens; the link may be pending.
    Linked {
        /// The Zoom user.
        zoom_user: ZoomUser,
    },
}

/// An exchange whose tokens no grant has yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenExchange {
    /// Key of the exchange.
    pub key: String,
    /// Item of the exchange.
    pub item: ExchangeItem,
}

/// Outcome of consuming a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumeOutcome {
    /// The session belonged to this browser and is deleted now.
    Consumed(Session),
    /// The session has been consumed or has expired.
    NotFound,
    /// The session belongs to another browser, and stays.
    WrongBrowser,
}

/// The Sessions table.
#[derive(Debug)]
pub struct SessionTable {
    client: Client,
    table: String,
}

/// Name of the table in errors.
const TABLE: &str = "Sessions";

/// Retention of an exchange whose tokens a grant has, for repeated jobs. It names the users.
const LINKED_TTL: SignedDuration = SignedDuration::from_hours(24);

/// Time for which an interrupted exchange waits for a job that finishes it, also through an outage of days.
const EXCHANGE_TTL: SignedDuration = SignedDuration::from_hours(7 * 24);

impl SessionTable {
    /// The table that `SESSIONS_TABLE` names.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: conflicts::client(environment),
            table: environment.variables.required("SESSIONS_TABLE")?.to_owned(),
        })
    }

    /// The table's name, for transactions that span tables.
    pub(crate) fn name(&self) -> &str {
        &self.table
    }

    /// Stores a session under a new nonce, which is random.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn open_session(&self, nonce: &Nonce, session: &Session) -> Result<(), AwsError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(with_id(session_key(nonce), session)?))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Sessions", &error))
    }

    /// Consumes a session of this browser. Exactly one of two concurrent callbacks consumes it. `callback`: a random id
    /// of the callback, by which the SDK's repetition of a call whose response was lost meets its own.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn consume(
        &self,
        nonce: &Nonce,
        browser_hash: Option<&str>,
        callback: &str,
        now: Timestamp,
    ) -> Result<ConsumeOutcome, AwsError> {
        let response = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(session_key(nonce)))
            .update_expression("SET consumed_by = :callback")
            .condition_expression(
                "browser_hash = :browser AND \
                 (attribute_not_exists(consumed_by) OR consumed_by = :callback)",
            )
            // No hash is "-", so a request without a cookie matches no session.
            .expression_attribute_values(":browser", text(browser_hash.unwrap_or("-").to_owned()))
            .expression_attribute_values(":callback", text(callback))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let (item, is_ours) = match response {
            Ok(updated) => (updated.attributes, true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    (failed.item().cloned(), false)
                }
                _ => return Err(AwsError::from_sdk("UpdateItem Sessions", &error)),
            },
        };
        let Some(item) = item.filter(|item| !item.is_empty()) else {
            return Ok(ConsumeOutcome::NotFound);
        };
        let is_spent = !is_ours && item.contains_key("consumed_by");
        let session: Session = from_item(TABLE, item)?;
        if is_spent || session.expires_at <= now.as_second() {
            return Ok(ConsumeOutcome::NotFound);
        }
        Ok(if is_ours { ConsumeOutcome::Consumed(session) } else { ConsumeOutcome::WrongBrowser })
    }

    /// Whether a `jti` has been consumed.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn is_jti_consumed(&self, jti: &SingleUseJti) -> Result<bool, AwsError> {
        Ok(self.get_item(jti.key.clone()).await?.is_some())
    }

    /// Finds an unexpired claim.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn find_claim(
        &self,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Option<ClaimItem>, AwsError> {
        let item = self.get_item(claim_key(claim)).await?;
        let claim: Option<ClaimItem> = item.map(|item| from_item(TABLE, item)).transpose()?;
        Ok(claim.filter(|claim| claim.expires_at > now.as_second()))
    }

    /// Invalidates a claim that reached another user.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn invalidate_claim(&self, claim: &Claim) -> Result<(), AwsError> {
        self.delete(claim_key(claim)).await
    }

    async fn delete(&self, id: String) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("id", text(id))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Sessions", &error))
    }

    async fn get_item(&self, id: String) -> Result<Option<Item>, AwsError> {
        self.client
            .get_item()
            .table_name(&self.table)
            .key("id", text(id))
            .consistent_read(true)
            .send()
            .await
            .map(|response| response.item)
            .map_err(|error| AwsError::from_sdk("GetItem Sessions", &error))
    }
}

/// The key of an exchange, derived from the nonce of its session.
pub fn exchange_key(nonce: &Nonce) -> String {
    format!("exchange#{}", nonce.session_key())
}

/// Expiry of an exchange that starts now, epoch seconds.
pub fn exchange_expiry(now: Timestamp) -> i64 {
    (now + EXCHANGE_TTL).as_second()
}

/// Expiry of an exchange whose tokens a grant has since now, epoch seconds.
pub(crate) fn linked_expiry(now: Timestamp) -> i64 {
    (now + LINKED_TTL).as_second()
}

fn session_key(nonce: &Nonce) -> String {
    format!("session#{}", nonce.session_key())
}

pub(crate) fn claim_key(claim: &Claim) -> String {
    format!("claim#{}", claim.session_key())
}

pub(crate) fn claim_item(claim: &Claim, item: &ClaimItem) -> Result<Item, AwsError> {
    with_id(claim_key(claim), item)
}

fn with_id<T: Serialize>(id: String, value: &T) -> Result<Item, AwsError> {
    to_item(TABLE, [("id", id)], value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumed_jti_outlives_every_flow_of_its_token() {
        let token_expires_at = Timestamp::from_second(1_767_225_600).unwrap();
        let jti = SingleUseJti::new(&"alice".parse().unwrap(), "one", token_expires_at);
        // Worst case: the token is used and the session consumed at the last moment, and the callback takes its full
        // timeout.
        let last_use = token_expires_at + jwt::LEEWAY;
        let claimed = last_use + signed_state::TTL + SignedDuration::from_secs(29);
        assert!(jti.expires_at > (claimed + claim::TTL).as_second());
    }
}
