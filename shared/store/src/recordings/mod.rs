//! The Recordings table: recordings and their files.
//!
//! Partition key `zoom_user`; sort key `rec#<recording>` (a recording, or the marker of an erased one) or
//! `rec#<recording>#file#<file>`. Every change of a file's status is a conditional write, so a concurrent writer notices
//! it, and a late event never overwrites a newer one.

mod account;
mod checks;
mod ending;
mod erasure;
mod item;
mod observe;
mod read;
mod transfer;
mod trash;
mod write;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::recording::FileStatus;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};
use serde::Serialize;

pub use self::checks::{DueCheck, DueChecks, NextCheck};
pub use self::ending::LINK_ENDED;
pub use self::erasure::StoredInventory;
pub(crate) use self::erasure::{RowKind, StoredRow};
use self::item::AddOutcome;
pub use self::item::{
    Correction, FileItem, FileKey, KnownRecording, LeaseError, LeaseOutcome, ObserveOutcome,
    RecordingItem, RecordingWithFiles, ServedSize,
};
pub use self::read::{ListBounds, ListedRecording};
pub use self::transfer::{ScheduledRetry, StoredObject};
use crate::conflicts;
use crate::item::{from_item, text, to_item};

/// Condition that a recording exists. The marker of an erased recording lacks the attribute.
const RECORDING_EXISTS: &str = "attribute_exists(start_order)";

/// End of the update that queues a file again: removes the traces of earlier failures.
const FORGET_FAILURES: &str = " REMOVE reason, received_at, failures, first_attempt_at, next_attempt_at, served_size, failed_at, \
     granted_attempts, reported_reason";

/// Name of the table in errors.
const TABLE: &str = "Recordings";

/// The index over recordings by their start.
const BY_START: &str = "by-start";

/// The Recordings table.
#[derive(Debug)]
pub struct RecordingTable {
    client: Client,
    table: String,
}

impl RecordingTable {
    /// The table that `RECORDINGS_TABLE` names.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: conflicts::client(environment),
            table: environment.variables.required("RECORDINGS_TABLE")?.to_owned(),
        })
    }

    async fn add<T: Serialize + serde::de::DeserializeOwned>(
        &self,
        zoom_user: &ZoomUser,
        entry: &str,
        value: &T,
    ) -> Result<AddOutcome<T>, AwsError> {
        let key = [("zoom_user", zoom_user.key()), ("entry", entry.to_owned())];
        let item = to_item(TABLE, key, value)?;
        let response = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(entry)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match response {
            Ok(_) => Ok(AddOutcome::Added),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(known)) => {
                    let known = known.item().cloned().unwrap_or_default();
                    if erasure::is_marker(&known) {
                        return Ok(AddOutcome::Erased);
                    }
                    Ok(AddOutcome::AlreadyExists(from_item(TABLE, known)?))
                }
                _ => Err(AwsError::from_sdk("PutItem Recordings", &error)),
            },
        }
    }

    fn update(&self, zoom_user: &ZoomUser, entry: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(zoom_user.key()))
            .key("entry", text(entry))
    }
}

/// `None` if the update's condition failed.
fn conditional(
    response: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
) -> Result<Option<()>, AwsError> {
    match response {
        Ok(_) => Ok(Some(())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
            _ => Err(AwsError::from_sdk("UpdateItem Recordings", &error)),
        },
    }
}

fn recording_entry(id: &RecordingId) -> String {
    format!("rec#{id}")
}

fn status(status: FileStatus) -> AttributeValue {
    let name = match status {
        FileStatus::Queued => "queued",
        FileStatus::Transferring => "transferring",
        FileStatus::Stored => "stored",
        FileStatus::Failed => "failed",
        FileStatus::Skipped => "skipped",
        FileStatus::Expired => "expired",
    };
    text(name)
}
