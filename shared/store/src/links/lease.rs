//! The lease on a grant's tokens: whoever refreshes, revokes or checks them is alone in doing so, over
//! all instances of all functions.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::ZoomUser;
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::{Grant, LinkTable, NewTokens, read};
use reelay_runtime::{AwsError, random};

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    owner: String,
    /// The grant as it was when the lease was taken.
    pub grant: Grant,
}

/// Why a lease was not had, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// DynamoDB did not do it.
    #[error(transparent)]
    Table(#[from] AwsError),
    /// Somebody else holds it, or the grant is not what it was: read again.
    #[error("somebody else works on the grant")]
    Taken,
}

impl LinkTable {
    /// Takes the lease on a grant's tokens, as long as they are of this version.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] if it is held, or the tokens are others by now.
    pub async fn acquire_lease(
        &self,
        zoom_user: &ZoomUser,
        version: u64,
        now: Timestamp,
        lasting: SignedDuration,
    ) -> Result<Lease, LeaseError> {
        let owner = format!("{:032x}", u128::from_be_bytes(random::bytes()));
        let answer = self
            .grant_item(zoom_user)
            .update_expression("SET lease_owner = :owner, lease_until = :until")
            .condition_expression(
                "version = :version AND (attribute_not_exists(lease_until) OR lease_until < :now)",
            )
            .expression_attribute_values(":owner", AttributeValue::S(owner.clone()))
            .expression_attribute_values(":until", milliseconds(now + lasting))
            .expression_attribute_values(":now", milliseconds(now))
            .expression_attribute_values(":version", AttributeValue::N(version.to_string()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match answer {
            Ok(updated) => Ok(Lease {
                owner,
                grant: read(updated.attributes.unwrap_or_default())?,
            }),
            Err(error) => Err(lost(error)),
        }
    }

    /// Saves the pair that a refresh brought, and gives the lease back. Nobody uses a pair that is not
    /// saved. When the consent was stays as it is: a refresh that succeeds came before whatever consent
    /// ends its pair, however late its answer is saved.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] if a consent brought other tokens meanwhile; those are the ones that count.
    pub async fn save_refreshed(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
        new: &NewTokens,
    ) -> Result<(), LeaseError> {
        let tokens = to_attribute_value(&new.tokens)
            .map_err(|_| AwsError::unexpected_response("Links", "value can't be an attribute"))?;
        self.grant_item(zoom_user)
            .update_expression(
                "SET tokens = :tokens, access_expires_at = :expires, version = :next \
                 REMOVE lease_owner, lease_until",
            )
            .condition_expression("lease_owner = :owner AND version = :version")
            .expression_attribute_values(":owner", AttributeValue::S(lease.owner.clone()))
            .expression_attribute_values(
                ":version",
                AttributeValue::N(lease.grant.version.to_string()),
            )
            .expression_attribute_values(
                ":next",
                AttributeValue::N((lease.grant.version + 1).to_string()),
            )
            .expression_attribute_values(":tokens", tokens)
            .expression_attribute_values(
                ":expires",
                AttributeValue::N(new.access_expires_at.to_string()),
            )
            .send()
            .await
            .map(|_| ())
            .map_err(lost)
    }

    /// Gives the lease back without a change.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] if it is somebody else's by now.
    pub async fn release_lease(
        &self,
        zoom_user: &ZoomUser,
        lease: &Lease,
    ) -> Result<(), LeaseError> {
        self.grant_item(zoom_user)
            .update_expression("REMOVE lease_owner, lease_until")
            .condition_expression("lease_owner = :owner")
            .expression_attribute_values(":owner", AttributeValue::S(lease.owner.clone()))
            .send()
            .await
            .map(|_| ())
            .map_err(lost)
    }

    fn grant_item(&self, zoom_user: &ZoomUser) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(zoom_user.key()))
            .key("entry", AttributeValue::S("grant".to_owned()))
    }
}

fn lost(error: aws_sdk_dynamodb::error::SdkError<UpdateItemError>) -> LeaseError {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(_)) => LeaseError::Taken,
        _ => AwsError::from_sdk("UpdateItem Links", &error).into(),
    }
}

fn milliseconds(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.as_millisecond().to_string())
}
