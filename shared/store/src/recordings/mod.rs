//! The Recordings table: recordings, their files, and the facts that were made about them.
//!
//! Partition key `zoom_user`; sort key `rec#<recording>`, `rec#<recording>#file#<file>`, or
//! `fact#<notification id>`. Each change of a file's state is a conditional write, so whoever comes
//! second finds out; a late event never undoes a newer one.

mod account;
mod changing;
mod due;
mod erasing;
mod reading;
mod transfer;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use reelay_domain::ids::{FileId, RecordingId, ZoomUser};
use reelay_domain::message::Notification;
use reelay_domain::recording::{
    File, FileMetadata, FileStatus, Recording, RecordingMetadata, ZoomState,
};
use reelay_domain::source_cipher::EncryptedSource;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_attribute_value, to_item};

use crate::sessions::Item;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};

pub use self::due::{DueCheck, NextCheck};
pub use self::erasing::StoredInventory;
pub use self::transfer::StoredObject;

/// The index over recordings by their start.
const BY_START: &str = "by-start";

/// A recording's own item, without its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingItem {
    /// Start time and id: the sort key of the index by start.
    pub start_order: String,
    /// `account#uuid`: the key of the index by meeting, for events that name no host.
    pub account_meeting: String,
    /// What Zoom says. Its start time is the first that was seen and never changes: it is part of the
    /// object keys.
    #[serde(flatten)]
    pub metadata: RecordingMetadata,
    /// Whether Zoom still has it.
    #[serde(default)]
    pub zoom_state: ZoomState,
    /// Facts made so far.
    #[serde(default)]
    pub sequence: u64,
    /// `event_ts` of the latest event that changed it, epoch milliseconds.
    pub last_event_ts: i64,
    /// Whether its files are fetched: always, or since the app asked.
    #[serde(default)]
    pub requested: bool,
    /// The files for which a message was sent, so that a second event does not send another. A crash
    /// between sending and noting costs one message too many, never one too few.
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        serialize_with = "string_set"
    )]
    pub sent: BTreeSet<FileId>,
}

/// DynamoDB's own set type, which takes additions without reading first.
fn string_set<S: serde::Serializer>(
    ids: &BTreeSet<FileId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde_dynamo::string_set::serialize(ids, serializer)
}

/// A file's item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileItem {
    /// What Zoom says.
    #[serde(flatten)]
    pub metadata: FileMetadata,
    /// Where it is.
    pub status: FileStatus,
    /// Why it failed or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes received so far.
    #[serde(default)]
    pub bytes_stored: u64,
    /// Object key, once stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Base64 CRC-64/NVME, once stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
    /// Where to fetch it, sealed; gone once stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<EncryptedSource>,
    /// When the source was written, epoch milliseconds; there as long as the source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_saved_at: Option<i64>,
    /// When the clock looks after it, if it has to.
    #[serde(flatten)]
    pub next_check: Option<NextCheck>,
    /// `event_ts` of the event that the source is from, epoch milliseconds.
    pub last_event_ts: i64,
    /// When the event that brought it was accepted, epoch milliseconds, if it was to be fetched at once: how
    /// long that took is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<i64>,
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// Until when, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
    /// Transfers begun.
    #[serde(default)]
    pub attempt: u32,
    /// The multipart upload that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadState>,
    /// Whether the stored file begins as its type does; absent for types of which nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recognised: Option<bool>,
}

impl FileItem {
    /// Seconds since the event that brought it was accepted; `None` if that is not to be measured.
    pub fn seconds_since_received(&self, now: Timestamp) -> Option<f64> {
        let milliseconds = now.as_millisecond().checked_sub(self.received_at?)?;
        // Clocks of two machines may differ by a little.
        u32::try_from(milliseconds.max(0))
            .ok()
            .map(|milliseconds| f64::from(milliseconds) / 1000.0)
    }
}

/// Which kind of address a file is fetched from. Validators of different kinds say nothing about each
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The address that came with an event.
    Webhook,
    /// The address that Zoom's API gives.
    Rest,
}

/// A multipart upload, and what it is an upload of. Which of its parts are done, S3 knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadState {
    /// S3's id of it.
    pub id: String,
    /// Bytes of the file; absent if Zoom did not tell: then nobody can go on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// `ETag` or `Last-Modified` of the file at Zoom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<String>,
    /// Where the validator is from.
    pub source: SourceKind,
    /// Bytes of every part but the last.
    pub part_size: u64,
    /// Whether the file begins as its type does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recognised: Option<bool>,
    /// Base64 CRC-64/NVME of the whole, once all parts are there and it is being completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
}

impl From<FileItem> for File {
    fn from(item: FileItem) -> Self {
        Self {
            metadata: item.metadata,
            status: item.status,
            reason: item.reason,
            bytes_stored: item.bytes_stored,
            key: item.key,
            crc64nvme: item.crc64nvme,
        }
    }
}

/// A fact's item.
#[derive(Debug, Serialize, Deserialize)]
struct FactItem {
    #[serde(flatten)]
    notification: Notification,
    expires_at: i64,
}

/// A recording with its files, read consistently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingWithFiles {
    /// Whose.
    pub zoom_user: ZoomUser,
    /// The recording.
    pub item: RecordingItem,
    /// Its files, by id.
    pub files: Vec<FileItem>,
}

impl RecordingWithFiles {
    /// As `domain` reasons about it.
    pub fn recording(&self) -> Recording {
        Recording {
            zoom_user: self.zoom_user.clone(),
            metadata: self.item.metadata.clone(),
            zoom_state: self.item.zoom_state,
            sequence: self.item.sequence,
            files: self.files.iter().cloned().map(File::from).collect(),
        }
    }
}

/// Names one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    /// Whose.
    pub zoom_user: ZoomUser,
    /// Of which recording.
    pub recording: RecordingId,
    /// Which.
    pub file: FileId,
}

impl FileKey {
    fn entry(&self) -> String {
        format!("rec#{}#file#{}", self.recording, self.file)
    }
}

/// What came of writing something new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddOutcome<T> {
    /// It is new.
    AddOutcome,
    /// It was known already, as this.
    AlreadyExists(T),
}

/// What came of claiming a file's transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The transfer is the caller's, until the lease ends.
    Acquired(FileItem),
    /// Somebody else works on it.
    HeldByOther {
        /// Until this time (epoch milliseconds).
        until: i64,
        /// Who.
        owner: String,
    },
    /// Nothing to do: stored, failed or skipped.
    AlreadyFinished(FileItem),
    /// There is no such file.
    FileNotFound,
}

/// A transfer's fence was lost: the lease ran out and somebody else took over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// DynamoDB did not do it.
    #[error(transparent)]
    Table(#[from] AwsError),
    /// Somebody else holds the lease.
    #[error("the lease on the file was lost to another transfer")]
    Lost,
}

/// The table.
#[derive(Debug)]
pub struct RecordingTable {
    client: Client,
    table: String,
}

impl RecordingTable {
    /// The table that `RECORDINGS_TABLE` names.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.dynamodb(),
            table: environment
                .variables
                .required("RECORDINGS_TABLE")?
                .to_owned(),
        })
    }

    /// Draws the next sequence number for a fact about a recording. `None` if there is no such
    /// recording.
    pub async fn next_sequence(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
    ) -> Result<Option<u64>, AwsError> {
        let answer = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("ADD #sequence :one")
            .condition_expression("attribute_exists(entry)")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await;
        match answer {
            Ok(updated) => {
                let drawn = updated
                    .attributes
                    .as_ref()
                    .and_then(|new| new.get("sequence"));
                let drawn = drawn
                    .and_then(|value| value.as_n().ok())
                    .and_then(|text| text.parse().ok());
                drawn.map(Some).ok_or_else(|| {
                    AwsError::unexpected_response("UpdateItem Recordings", "no sequence number")
                })
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(AwsError::from_sdk("UpdateItem Recordings", &error)),
            },
        }
    }

    /// Freezes a fact under its notification's id. If it was frozen before, that is what it stays.
    pub(crate) async fn freeze(
        &self,
        zoom_user: &ZoomUser,
        notification: Notification,
        expires_at: i64,
    ) -> Result<Notification, AwsError> {
        let entry = format!("fact#{}", notification.id);
        let item = FactItem {
            notification,
            expires_at,
        };
        Ok(match self.add(zoom_user, &entry, &item).await? {
            AddOutcome::AddOutcome => item.notification,
            AddOutcome::AlreadyExists(known) => known.notification,
        })
    }

    /// Writes a recording that was not known.
    pub async fn add_recording(
        &self,
        zoom_user: &ZoomUser,
        metadata: &RecordingMetadata,
        event_ts: i64,
        requested: bool,
    ) -> Result<AddOutcome<RecordingItem>, AwsError> {
        let id = RecordingId::from_uuid(&metadata.meeting_uuid);
        let item = RecordingItem {
            start_order: format!("{}#{id}", whole_seconds(metadata.start_time)),
            account_meeting: format!("{}#{}", zoom_user.account_id, metadata.meeting_uuid),
            metadata: metadata.clone(),
            zoom_state: ZoomState::Present,
            sequence: 0,
            last_event_ts: event_ts,
            requested,
            sent: BTreeSet::new(),
        };
        self.add(zoom_user, &recording_entry(&id), &item).await
    }

    /// Brings a recording's changing facts up to date, unless what is stored is from a later event.
    pub async fn refresh_recording(
        &self,
        zoom_user: &ZoomUser,
        metadata: &RecordingMetadata,
        event_ts: i64,
    ) -> Result<(), AwsError> {
        let id = RecordingId::from_uuid(&metadata.meeting_uuid);
        let update = self
            .update(zoom_user, &recording_entry(&id))
            .update_expression(
                "SET topic = :topic, duration_minutes = :duration, last_event_ts = :ts",
            )
            .condition_expression("last_event_ts < :ts")
            .expression_attribute_values(":topic", AttributeValue::S(metadata.topic.clone()))
            .expression_attribute_values(":duration", attribute(&metadata.duration_minutes)?)
            .expression_attribute_values(":ts", number(event_ts));
        conditional(update.send().await).map(|_| ())
    }

    /// Writes a file that was not known.
    pub async fn add_file(
        &self,
        key: &FileKey,
        item: &FileItem,
    ) -> Result<AddOutcome<FileItem>, AwsError> {
        self.add(&key.zoom_user, &key.entry(), item).await
    }

    /// Gives a file that is not stored yet a fresher source; one that had failed is queued again.
    /// `false` if what is there is as fresh, or stored in the meantime.
    pub async fn update_source(
        &self,
        key: &FileKey,
        source: &EncryptedSource,
        event_ts: i64,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self
            .update(&key.zoom_user, &key.entry())
            .update_expression(
                "SET #source = :source, last_event_ts = :ts, source_saved_at = :now, next_check_day = :day, next_check_at = :at",
            )
            .expression_attribute_values(":now", number(now.as_millisecond()));
        let update = due::with_look(update, &NextCheck::first(now))
            .condition_expression("last_event_ts < :ts AND #status IN (:queued, :transferring)")
            .expression_attribute_names("#source", "source")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":source", attribute(source)?)
            .expression_attribute_values(":ts", number(event_ts))
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":transferring", status(FileStatus::Transferring));
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Queues a file that failed once more, with a fresher source if there is one. How long it takes from
    /// its first event says nothing any more.
    pub async fn requeue_failed(
        &self,
        key: &FileKey,
        fresher: Option<(&EncryptedSource, i64)>,
        now: Timestamp,
    ) -> Result<bool, AwsError> {
        let update = self.update(&key.zoom_user, &key.entry());
        let mut update = due::with_look(update, &NextCheck::first(now))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", status(FileStatus::Queued))
            .expression_attribute_values(":failed", status(FileStatus::Failed));
        update = match fresher {
            Some((source, event_ts)) => update
                .update_expression(
                    "SET #status = :queued, #source = :source, last_event_ts = :ts, source_saved_at = :now, \
                     next_check_day = :day, next_check_at = :at REMOVE reason, received_at",
                )
                .expression_attribute_values(":now", number(now.as_millisecond()))
                .condition_expression("#status = :failed AND last_event_ts < :ts")
                .expression_attribute_names("#source", "source")
                .expression_attribute_values(":source", attribute(source)?)
                .expression_attribute_values(":ts", number(event_ts)),
            None => update
                .update_expression(
                    "SET #status = :queued, next_check_day = :day, next_check_at = :at REMOVE reason, received_at",
                )
                .condition_expression("#status = :failed"),
        };
        Ok(conditional(update.send().await)?.is_some())
    }

    /// Notes for which files messages were sent.
    pub async fn mark_sent<'a>(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        files: impl Iterator<Item = &'a FileId>,
    ) -> Result<(), AwsError> {
        let files: Vec<String> = files.map(|file| file.as_str().to_owned()).collect();
        if files.is_empty() {
            return Ok(());
        }
        let update = self
            .update(zoom_user, &recording_entry(id))
            .update_expression("ADD sent :files")
            .condition_expression("attribute_exists(entry)")
            .expression_attribute_values(":files", AttributeValue::Ss(files));
        conditional(update.send().await).map(|_| ())
    }

    /// Marks a recording's files as to be fetched. The clock looks after it in their stead: those that nobody
    /// had asked for so far it may have forgotten.
    pub async fn request(
        &self,
        zoom_user: &ZoomUser,
        id: &RecordingId,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let update = self.update(zoom_user, &recording_entry(id));
        let update = due::with_look(update, &NextCheck::first(now))
            .update_expression("SET requested = :yes, next_check_day = :day, next_check_at = :at")
            .condition_expression("attribute_exists(entry)")
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        conditional(update.send().await).map(|_| ())
    }

    async fn add<T: Serialize + serde::de::DeserializeOwned>(
        &self,
        zoom_user: &ZoomUser,
        entry: &str,
        value: &T,
    ) -> Result<AddOutcome<T>, AwsError> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(keyed(zoom_user, entry, value)?))
            .condition_expression("attribute_not_exists(entry)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(AddOutcome::AddOutcome),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(known)) => Ok(
                    AddOutcome::AlreadyExists(read(known.item().cloned().unwrap_or_default())?),
                ),
                _ => Err(AwsError::from_sdk("PutItem Recordings", &error)),
            },
        }
    }

    fn update(&self, zoom_user: &ZoomUser, entry: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", AttributeValue::S(zoom_user.key()))
            .key("entry", AttributeValue::S(entry.to_owned()))
    }
}

type UpdateAnswer = Result<
    aws_sdk_dynamodb::operation::update_item::UpdateItemOutput,
    aws_sdk_dynamodb::error::SdkError<UpdateItemError>,
>;

/// `None` if the update's condition did not hold.
fn conditional(answer: UpdateAnswer) -> Result<Option<()>, AwsError> {
    match answer {
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

fn keyed<T: Serialize>(zoom_user: &ZoomUser, entry: &str, value: &T) -> Result<Item, AwsError> {
    let mut item: Item = to_item(value)
        .map_err(|_| AwsError::unexpected_response("Recordings", "value can't be an item"))?;
    item.insert("zoom_user".to_owned(), AttributeValue::S(zoom_user.key()));
    item.insert("entry".to_owned(), AttributeValue::S(entry.to_owned()));
    Ok(item)
}

/// A time as the index sorts it: RFC 3339 in UTC, whole seconds, so that texts compare as times.
fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn status(status: FileStatus) -> AttributeValue {
    let name = match status {
        FileStatus::Queued => "queued",
        FileStatus::Transferring => "transferring",
        FileStatus::Stored => "stored",
        FileStatus::Failed => "failed",
        FileStatus::Skipped => "skipped",
    };
    AttributeValue::S(name.to_owned())
}

fn attribute<T: Serialize>(value: &T) -> Result<AttributeValue, AwsError> {
    to_attribute_value(value).map_err(|_| {
        AwsError::unexpected_response("UpdateItem Recordings", "value can't be an attribute")
    })
}

/// Stored items are input too: one that makes no sense is an error that names it.
fn read<T: serde::de::DeserializeOwned>(item: Item) -> Result<T, AwsError> {
    from_item(item).map_err(|error| {
        AwsError::unexpected_response("Recordings", format!("an item does not read: {error}"))
    })
}
