//! The lease on a grant's tokens: at most one instance of any function refreshes, revokes or verifies them.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::GrantStatus;
use reelay_domain::refresh_breaker;
use reelay_domain::time::utc_date;

use super::{Grant, LinkTable, NewTokens, TABLE, checks};
use crate::item::{from_item, number, text, to_attribute};
use reelay_runtime::{AwsError, random};

/// An acquired lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub(super) owner: String,
    /// The grant at the time of the acquisition.
    pub grant: Grant,
}

impl Lease {
    /// Expiry of the lease.
    pub fn until(&self) -> Timestamp {
        let until = self.grant.lease_until.unwrap_or_default();
        Timestamp::from_millisecond(until).unwrap_or(Timestamp::MIN)
    }
}

impl Grant {
    /// Time of the first rejected refresh, if the latest one at `now` was rejected too.
    pub fn failing_since(&self, now: Timestamp) -> Timestamp {
        let since = self.failing_since.and_then(|at| Timestamp::from_millisecond(at).ok());
        since.unwrap_or(now)
    }
}

/// Error of a lease operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// A DynamoDB call failed.
    #[error(transparent)]
    Table(#[from] AwsError),
    /// Another instance holds the lease, or the grant has changed: read it again.
    #[error("another instance holds the lease on the grant")]
    Taken,
}

impl LinkTable {
    /// Acquires the lease on a grant's tokens, if they still have this version.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] if the lease is held, or the tokens have been replaced.
    pub async fn acquire_lease(
        &self,
        zoom_user: &ZoomUser,
        version: u64,
        now: Timestamp,
        duration: SignedDuration,
    ) -> Result<Lease, LeaseError> {
        let owner = random::hex_id();
        let response = self
            .grant_item(zoom_user)
            .update_expression("SET lease_owner = :owner, lease_until = :until")
            // If a response is lost, the SDK repeats the call and finds its own lease.
            .condition_expression(
                "version = :version AND (attribute_not_exists(lease_until) OR lease_until < :now \
                 OR lease_owner = :owner)",
            )
            .expression_attribute_values(":owner", text(owner.clone()))
            .expression_attribute_values(":until", number((now + duration).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":version", number(version))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match response {
            Ok(updated) => Ok(Lease {
                owner,
                grant: from_item(TABLE, updated.attributes.unwrap_or_default())?,
            }),
            Err(error) => Err(lease_error(error)),
        }
    }

    /// Saves the refreshed pair and releases the lease. A pair must be saved before its use. `obtained_at`
    /// stays: a successful refresh precedes any consent that would invalidate its pair at Zoom.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] if a consent has replaced the tokens. Then use the new ones.
    pub async fn save_refreshed(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        new: &NewTokens,
    ) -> Result<(), LeaseError> {
        let tokens = to_attribute(&new.tokens)?;
        self.grant_item(zoom_user)
            .update_expression(
                "SET tokens = :tokens, access_expires_at = :expires, version = :next \
                 REMOVE lease_owner, lease_until, failing_since",
            )
            .condition_expression("lease_owner = :owner AND version = :version")
            .expression_attribute_values(":owner", text(lease.owner.clone()))
            .expression_attribute_values(":version", number(lease.grant.version))
            .expression_attribute_values(":next", number(lease.grant.version + 1))
            .expression_attribute_values(":tokens", tokens)
            .expression_attribute_values(":expires", number(new.access_expires_at))
            .send()
            .await
            .map(|_| ())
            .map_err(lease_error)
    }

    /// Releases the lease without a change.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] if another instance holds it now.
    pub async fn release_lease(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<(), LeaseError> {
        self.grant_item(zoom_user)
            .update_expression("REMOVE lease_owner, lease_until")
            .condition_expression("lease_owner = :owner")
            .expression_attribute_values(":owner", text(lease.owner.clone()))
            .send()
            .await
            .map(|_| ())
            .map_err(lease_error)
    }

    /// Records that Zoom rejects the grant's tokens, and releases the lease. A live grant is checked again when
    /// its marking is overdue.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] if another instance holds it now.
    pub async fn release_failing(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let since = lease.grant.failing_since(now);
        let mut set = "SET failing_since = :since".to_owned();
        let mut update = self.grant_item(zoom_user);
        if lease.grant.status == GrantStatus::Live {
            set += ", next_check_shard = :shard, next_check_day = :day";
            let day = utc_date(since + refresh_breaker::MAX_MARKING_DELAY);
            update = update
                .expression_attribute_values(":shard", checks::shard(zoom_user))
                .expression_attribute_values(":day", to_attribute(&day)?);
        }
        update
            .update_expression(format!("{set} REMOVE lease_owner, lease_until"))
            .condition_expression("lease_owner = :owner")
            .expression_attribute_values(":owner", text(lease.owner.clone()))
            .expression_attribute_values(":since", number(since.as_millisecond()))
            .send()
            .await
            .map(|_| ())
            .map_err(lease_error)
    }

    fn grant_item(&self, zoom_user: &ZoomUser) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text("grant"))
    }
}

fn lease_error(error: aws_sdk_dynamodb::error::SdkError<UpdateItemError>) -> LeaseError {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(_)) => LeaseError::Taken,
        _ => AwsError::from_sdk("UpdateItem Links", &error).into(),
    }
}
