//! The breaker of the app's webhook, shared by all instances.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use jiff::SignedDuration;
use reelay_domain::delivery::Breaker;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::{MAX_ATTEMPTS, NotificationTable, TABLE};
use crate::item::{from_item, number, to_item};

const OWNER: &str = "breaker#webhook";
const ENTRY: &str = "breaker";

/// Time after the last change after which the state of a closed breaker is forgotten. An open one is kept.
const TTL: SignedDuration = SignedDuration::from_hours(24);

/// The item.
#[derive(Debug, Default, Serialize, Deserialize)]
struct BreakerItem {
    #[serde(flatten)]
    breaker: Breaker,
    /// Host of the webhook. The state of another host does not count.
    host: String,
    /// Incremented with every write.
    revision: u64,
    /// Time to live, epoch seconds; absent while the breaker is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl NotificationTable {
    /// Reads the breaker of the app's webhook consistently. `host`: the webhook's host, or `None` for any.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn breaker(&self, host: Option<&str>) -> Result<Breaker, AwsError> {
        let item = self.breaker_item().await?;
        Ok(self.current(&item, host).unwrap_or_default())
    }

    /// Applies a change to the breaker of the app's webhook, and writes it only if it makes a difference. Returns the
    /// new state.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn change_breaker(
        &self,
        host: &str,
        change: impl Fn(&mut Breaker),
    ) -> Result<Breaker, AwsError> {
        for _ in 0..MAX_ATTEMPTS {
            let item = self.breaker_item().await?;
            let before = self.current(&item, Some(host)).unwrap_or_default();
            let mut breaker = before.clone();
            change(&mut breaker);
            if breaker == before {
                return Ok(breaker);
            }
            let known = item.map_or(0, |item| item.revision);
            let item = BreakerItem {
                expires_at: (!breaker.is_open()).then(|| (self.clock.now() + TTL).as_second()),
                breaker: breaker.clone(),
                host: host.to_owned(),
                revision: known + 1,
            };
            let key = [("owner", OWNER.to_owned()), ("entry", ENTRY.to_owned())];
            let put = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(to_item(TABLE, key, &item)?))
                .condition_expression("attribute_not_exists(entry) OR revision = :known")
                .expression_attribute_values(":known", number(known));
            match put.send().await {
                Ok(_) => return Ok(breaker),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(_)) => {}
                    _ => return Err(AwsError::from_sdk("PutItem Notifications", &error)),
                },
            }
        }
        Err(AwsError::unexpected_response("PutItem Notifications", "too many conflicts"))
    }

    /// The state, unless it is another host's or too old.
    fn current(&self, item: &Option<BreakerItem>, host: Option<&str>) -> Option<Breaker> {
        let now = self.clock.now().as_second();
        let item = item.as_ref().filter(|item| item.expires_at.is_none_or(|at| at > now));
        item.filter(|item| host.is_none_or(|host| host == item.host)).map(|it| it.breaker.clone())
    }

    async fn breaker_item(&self) -> Result<Option<BreakerItem>, AwsError> {
        let item = self.item(OWNER.to_owned(), ENTRY.to_owned()).await?;
        item.map(|item| from_item(TABLE, item)).transpose()
    }
}
