//! Notes about app users who are being erased: whose recordings they had. Once their links are gone nothing else
//! says so. They are made by the operator's tool, before, and deleted by it, after.

use aws_sdk_dynamodb::types::AttributeValue;
use reelay_domain::ids::{AppUserId, ZoomUser};

use super::LinkTable;
use reelay_runtime::AwsError;

/// A Zoom user whose recordings an app user had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingErasure {
    /// Under this name, as the recordings are stored.
    pub zoom_user: ZoomUser,
    /// What Zoom called the same user last; links are kept under this.
    pub current_zoom_user: ZoomUser,
}

impl LinkTable {
    /// Notes that a Zoom user's recordings are to be erased for an app user's sake.
    pub async fn add_pending_erasure(
        &self,
        user: &AppUserId,
        leaving: &PendingErasure,
    ) -> Result<(), AwsError> {
        let current_zoom_user = AttributeValue::S(leaving.current_zoom_user.key());
        self.client
            .put_item()
            .table_name(&self.table)
            .item("zoom_user", partition(user))
            .item("entry", AttributeValue::S(leaving.zoom_user.key()))
            .item("current_zoom_user", current_zoom_user)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Links", &error))
    }

    /// What was noted and not yet done.
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
                key.and_then(|key| ZoomUser::from_key(key).ok())
                    .ok_or_else(|| {
                        AwsError::unexpected_response("Query Links", "a note does not read")
                    })
            };
            found.push(PendingErasure {
                zoom_user: name("entry")?,
                current_zoom_user: name("current_zoom_user")?,
            });
        }
        Ok(found)
    }

    /// Deletes a note: it is done.
    pub async fn remove_pending_erasure(
        &self,
        user: &AppUserId,
        leaving: &PendingErasure,
    ) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("zoom_user", partition(user))
            .key("entry", AttributeValue::S(leaving.zoom_user.key()))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))
    }
}

/// No Zoom user's key is like it: these have one `#`.
fn partition(user: &AppUserId) -> AttributeValue {
    AttributeValue::S(format!("leaving##{user}"))
}
