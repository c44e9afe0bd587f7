//! Pending erasures of app users: whose recordings an app user had. After the removal of the links nothing
//! else records that. The operator tool adds them before an erasure and removes them after it.

use aws_sdk_dynamodb::types::AttributeValue;
use reelay_domain::ids::{AppUserId, ZoomUser};

use super::LinkTable;
use reelay_runtime::AwsError;

/// A Zoom user whose recordings are to be erased for an app user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingErasure {
    /// The Zoom user under which the recordings are stored.
    pub zoom_user: ZoomUser,
    /// The same person after account moves; links are stored under this one.
    pub current_zoom_user: ZoomUser,
}

impl LinkTable {
    /// Adds a pending erasure.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn add_pending_erasure(
        &self,
        user: &AppUserId,
        erasure: &PendingErasure,
    ) -> Result<(), AwsError> {
        let current_zoom_user = AttributeValue::S(erasure.current_zoom_user.key());
        self.client
            .put_item()
            .table_name(&self.table)
            .item("zoom_user", partition(user))
            .item("entry", AttributeValue::S(erasure.zoom_user.key()))
            .item("current_zoom_user", current_zoom_user)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Links", &error))
    }

    /// Reads the pending erasures of an app user.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn pending_erasures(
        &self,
        user: &AppUserId,
    ) -> Result<Vec<PendingErasure>, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("zoom_user = :user")
            .expression_attribute_values(":user", partition(user))
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::from_sdk("Query Links", &error))?;
            let name = |attribute: &str| {
                let key = item.get(attribute).and_then(|value| value.as_s().ok());
                key.and_then(|key| ZoomUser::from_key(key).ok()).ok_or_else(|| {
                    AwsError::unexpected_response(
                        "Query Links",
                        "failed to deserialize a pending erasure",
                    )
                })
            };
            found.push(PendingErasure {
                zoom_user: name("entry")?,
                current_zoom_user: name("current_zoom_user")?,
            });
        }
        Ok(found)
    }

    /// Removes a completed erasure.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn remove_pending_erasure(
        &self,
        user: &AppUserId,
        erasure: &PendingErasure,
    ) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("zoom_user", partition(user))
            .key("entry", AttributeValue::S(erasure.zoom_user.key()))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))
    }
}

/// Distinct from the key of any Zoom user, which contains one `#`.
fn partition(user: &AppUserId) -> AttributeValue {
    AttributeValue::S(format!("pending-erasures##{user}"))
}
