//! Reconciliations: one item per grant with the time of the next run and the report of the last one.
//!
//! The item stands under a key of its own, because the links are read with every event. The index
//! `by-next-reconciliation` has a fixed number of shards.

use aws_sdk_dynamodb::types::ReturnValue;
use futures_util::future::try_join_all;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::ZoomUser;
use reelay_domain::reconciliation::{ReconciledCounts, Report};
use reelay_domain::time::utc_date;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};

use super::{LinkTable, TABLE};
use crate::item::{from_item, number, set_attributes, text, text_of, to_attribute, to_item};

/// Sort key of the item.
pub(super) const ENTRY: &str = "reconciliation";

const BY_NEXT_RECONCILIATION: &str = "by-next-reconciliation";

/// Number of partitions of the index. A maintenance run reads each of them.
const SHARDS: i64 = 4;

/// Maximum number of due items that one maintenance run reads.
const MAX_DUE: i64 = 1_000;

/// Time after which an unfinished run is superseded by a new one: its message may be lost.
const RUN_TTL: SignedDuration = SignedDuration::from_hours(6);

/// The reconciliations of one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconciliationItem {
    /// Number of the last run that was begun.
    pub run_number: u64,
    /// Time of the next run; of a run that has begun, its own.
    pub next_at: Timestamp,
    /// First day (UTC) that runs have read without a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back_to: Option<Date>,
    /// Report of the last run that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Partition of the index.
    reconcile_shard: i64,
    /// When a maintenance run begins the next run, epoch milliseconds.
    reconcile_at: i64,
}

/// Attributes that the end of a run changes.
#[derive(Serialize)]
struct Finished<'a> {
    next_at: Timestamp,
    read_back_to: Date,
    report: &'a Report,
    reconcile_shard: i64,
    reconcile_at: i64,
}

impl ReconciliationItem {
    fn new(next_at: Timestamp) -> Self {
        let reconcile_at = next_at.as_millisecond();
        Self {
            run_number: 0,
            next_at,
            read_back_to: None,
            report: None,
            reconcile_shard: shard(reconcile_at),
            reconcile_at,
        }
    }

    /// Whether the next run is due.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.reconcile_at <= now.as_millisecond()
    }
}

/// The milliseconds distribute the items evenly.
fn shard(reconcile_at: i64) -> i64 {
    reconcile_at.rem_euclid(SHARDS)
}

const PREFIX: &str = "reconciliation##";

/// Distinct from the key of any Zoom user, which contains one `#`.
pub(super) fn partition(zoom_user: &ZoomUser) -> String {
    format!("{PREFIX}{}", zoom_user.key())
}

/// Partition key of the counts, one item a UTC day. Zoom users' keys contain one `#`.
const COUNTS: &str = "reconciled##";

/// Time after which DynamoDB deletes a day's counts.
const COUNTS_TTL: SignedDuration = SignedDuration::from_hours(48);

impl LinkTable {
    /// Counts a Zoom user whose lists were compared. Returns the counts of the day.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn count_reconciled(
        &self,
        lacks_events: bool,
        now: Timestamp,
    ) -> Result<ReconciledCounts, AwsError> {
        let updated = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(COUNTS))
            .key("entry", text(utc_date(now).to_string()))
            .update_expression(
                "SET expires_at = :expiry ADD compared :one, without_events :without",
            )
            .expression_attribute_values(":expiry", number((now + COUNTS_TTL).as_second()))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":without", number(u8::from(lacks_events)))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("UpdateItem Links", &error))?;
        from_item(TABLE, updated.attributes.unwrap_or_default())
    }

    /// Reads the reconciliations of a Zoom user consistently.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn reconciliation(
        &self,
        zoom_user: &ZoomUser,
    ) -> Result<Option<ReconciliationItem>, AwsError> {
        let item = self.item(partition(zoom_user), ENTRY.to_owned()).await?;
        item.map(|item| from_item(TABLE, item)).transpose()
    }

    /// Schedules the first run, unless the Zoom user has runs already.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn schedule_reconciliation(
        &self,
        zoom_user: &ZoomUser,
        at: Timestamp,
    ) -> Result<(), AwsError> {
        let key = [("zoom_user", partition(zoom_user)), ("entry", ENTRY.to_owned())];
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(TABLE, key, &ReconciliationItem::new(at))?))
            .condition_expression("attribute_not_exists(entry)");
        match put.send().await {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Err(AwsError::from_sdk("PutItem Links", &error))
            }
            _ => Ok(()),
        }
    }

    /// Zoom users whose next run is due. The index is eventually consistent, so the item decides.
    ///
    /// # Errors
    /// If a DynamoDB call fails.
    pub async fn due_reconciliations(&self, now: Timestamp) -> Result<Vec<ZoomUser>, AwsError> {
        let shards = (0..SHARDS).map(|shard| async move {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_NEXT_RECONCILIATION)
                .key_condition_expression("reconcile_shard = :shard AND reconcile_at <= :now")
                .expression_attribute_values(":shard", number(shard))
                .expression_attribute_values(":now", number(now.as_millisecond()))
                .limit(i32::try_from(MAX_DUE / SHARDS).unwrap_or(i32::MAX));
            let page = query.send().await;
            page.map_err(|error| AwsError::from_sdk("Query Links by-next-reconciliation", &error))
        });
        let pages = try_join_all(shards).await?;
        let items = pages.into_iter().flat_map(|page| page.items.unwrap_or_default());
        let zoom_users = items.filter_map(|item| {
            let zoom_user = text_of(&item, "zoom_user")
                .and_then(|key| ZoomUser::from_key(key.strip_prefix(PREFIX)?).ok());
            if zoom_user.is_none() {
                // A malformed key must not stop the other reconciliations.
                tracing::error!("an item with a due reconciliation has an invalid key");
            }
            zoom_user
        });
        Ok(zoom_users.collect())
    }

    /// Begins the next run, due or not. Returns its number, or `None` if another run was begun since the item was
    /// read. A run that does not end is due again after six hours.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn begin_reconciliation(
        &self,
        zoom_user: &ZoomUser,
        item: &ReconciliationItem,
        now: Timestamp,
    ) -> Result<Option<u64>, AwsError> {
        let again = now.saturating_add(RUN_TTL).unwrap_or(now).as_millisecond();
        let updated = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(partition(zoom_user)))
            .key("entry", text(ENTRY))
            .update_expression(
                "SET run_number = :next, reconcile_shard = :shard, reconcile_at = :again",
            )
            .condition_expression("run_number = :seen")
            .expression_attribute_values(":seen", number(item.run_number))
            .expression_attribute_values(":next", number(item.run_number + 1))
            .expression_attribute_values(":shard", number(shard(again)))
            .expression_attribute_values(":again", number(again))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(Some(item.run_number + 1)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(None)
            }
            Err(error) => Err(AwsError::from_sdk("UpdateItem Links", &error)),
        }
    }

    /// Saves the report of a run and schedules the next one, unless a later run was begun.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn finish_reconciliation(
        &self,
        zoom_user: &ZoomUser,
        run: u64,
        report: &Report,
        read_back_to: Date,
        next_at: Timestamp,
    ) -> Result<(), AwsError> {
        let reconcile_at = next_at.as_millisecond();
        let finished = Finished {
            next_at,
            read_back_to,
            report,
            reconcile_shard: shard(reconcile_at),
            reconcile_at,
        };
        self.end_run(zoom_user, run, &finished).await
    }

    /// Schedules the next run after one that could not read the lists, unless a later run was begun.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn defer_reconciliation(
        &self,
        zoom_user: &ZoomUser,
        run: u64,
        next_at: Timestamp,
    ) -> Result<(), AwsError> {
        #[derive(Serialize)]
        struct Deferred {
            next_at: Timestamp,
            reconcile_shard: i64,
            reconcile_at: i64,
        }
        let reconcile_at = next_at.as_millisecond();
        let deferred = Deferred { next_at, reconcile_shard: shard(reconcile_at), reconcile_at };
        self.end_run(zoom_user, run, &deferred).await
    }

    async fn end_run(
        &self,
        zoom_user: &ZoomUser,
        run: u64,
        changes: &impl Serialize,
    ) -> Result<(), AwsError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("zoom_user", text(partition(zoom_user)))
            .key("entry", text(ENTRY));
        let (expression, update) = set_attributes(TABLE, update, changes)?;
        let updated = update
            .update_expression(expression)
            .condition_expression("run_number = :run")
            .expression_attribute_values(":run", to_attribute(&run)?)
            .send()
            .await;
        super::checks::ignore_failed_condition(updated)
    }

    /// Deletes the reconciliations of a Zoom user without a grant.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn delete_reconciliation(&self, zoom_user: &ZoomUser) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("zoom_user", text(partition(zoom_user)))
            .key("entry", text(ENTRY))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("DeleteItem Links", &error))
    }
}
