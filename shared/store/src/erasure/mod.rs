//! Erasure of everything that is stored under a Zoom user's key, for the reconciler and the operator's tool.
//!
//! An item `erasure` in the Links table allows it ([`Erasure`]); a new link of the Zoom user deletes that
//! item. Each recording is replaced by a marker in one transaction that checks it. A marker stays for ever, so the
//! files, uploads and objects of a marked recording can be deleted at any time, including those that a running
//! transfer stores later.

mod objects;

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan as _};
use reelay_domain::erasure::ErasureTotals;
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::message::DeletedRecording;
use reelay_domain::object_key;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};

use self::objects::StoredObject;
use crate::bucket::Bucket;
use crate::links::{Erasure, LinkTable};
use crate::notifications::{NotificationTable, WrittenNotification};
use crate::recordings::{RecordingTable, RowKind, StoredRow};

/// Delay in seconds until the leftovers of interrupted invocations are removed: Lambda's maximum duration, and SQS's
/// maximum delay.
pub const SWEEP_DELAY_SECONDS: i32 = 900;

/// Maximum number of recordings that one pass marks, so that it ends well within a function's timeout.
const MAX_RECORDINGS_PER_PASS: usize = 1000;

/// Recordings that are marked in one transaction, which has at most 100 items (DynamoDB): two markers each, and a check.
const BATCH: usize = 49;

/// Outcome of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasurePass {
    /// All data is erased, with the pointers that led to it.
    Complete,
    /// Something was erased; another pass is needed.
    Continue,
    /// The erasure waits: it is not due, a link is pending, or other keys of the Zoom user come first.
    Waiting,
    /// Number of recordings that are kept, because only Reelay has a copy. The erasure is tried again a day later.
    OnlyCopies(usize),
    /// There is no such erasure: a link covers the recordings.
    Cancelled,
}

/// The erasure of Zoom users' keys.
#[derive(Debug)]
pub struct Eraser {
    links: LinkTable,
    recordings: RecordingTable,
    notifications: NotificationTable,
    bucket: Bucket,
}

impl Eraser {
    /// Uses `LINKS_TABLE`, `RECORDINGS_TABLE`, `NOTIFICATIONS_TABLE` and `BUCKET`.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            links: LinkTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            notifications: NotificationTable::new(environment)?,
            bucket: Bucket::new(environment)?,
        })
    }

    /// Runs one pass of a due erasure and adds what it erased to `totals`. Safe to repeat.
    ///
    /// # Errors
    /// If an AWS call fails.
    pub async fn run_pass(
        &self,
        zoom_user: &ZoomUser,
        now: Timestamp,
        totals: &mut ErasureTotals,
    ) -> Result<ErasurePass, AwsError> {
        let Some(erasure) = self.links.erasure(zoom_user).await? else {
            return Ok(ErasurePass::Cancelled);
        };
        if !erasure.is_due(now) {
            return Ok(ErasurePass::Waiting);
        }
        if !self.links.covering_links(zoom_user).await?.is_empty() {
            self.links.cancel_erasure(zoom_user, &erasure).await?;
            return Ok(ErasurePass::Cancelled);
        }
        let mut pass = ErasureTotals::default();
        let ended = self.erase(zoom_user, &erasure, now, &mut pass).await;
        *totals += pass;
        match ended? {
            // A running transfer may store more, so another pass is needed, even if the rest are only copies.
            ErasurePass::Complete | ErasurePass::OnlyCopies(_)
                if pass != ErasureTotals::default() =>
            {
                Ok(ErasurePass::Continue)
            }
            ErasurePass::Complete => match self.links.forget_removed(zoom_user, &erasure).await? {
                Some(0)
                    if self.links.complete_erasure(zoom_user, &erasure, totals, now).await? =>
                {
                    Ok(ErasurePass::Complete)
                }
                Some(0) | None => Ok(ErasurePass::Waiting),
                // Notifications that were published for them since this pass began need another pass.
                Some(_) => Ok(ErasurePass::Continue),
            },
            ErasurePass::OnlyCopies(kept) => {
                let tomorrow = now.checked_add(24.hours()).unwrap_or(Timestamp::MAX);
                self.links.defer_erasure(zoom_user, &erasure, tomorrow).await?;
                Ok(ErasurePass::OnlyCopies(kept))
            }
            other => Ok(other),
        }
    }

    async fn erase(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
        now: Timestamp,
        totals: &mut ErasureTotals,
    ) -> Result<ErasurePass, AwsError> {
        let stored = self.read(zoom_user).await?;
        let kept: BTreeSet<&RecordingId> = match erasure.is_requested() {
            true => BTreeSet::new(),
            false => stored.recordings(|row| row.is_only_copy).collect(),
        };
        // An object without an item gets a marker too, so that no item can appear for it.
        let known: BTreeSet<&RecordingId> = stored.recordings(|_| true).collect();
        let unknown = stored.objects.iter().filter_map(|object| object.recording.as_ref());
        let unmarked: BTreeSet<&RecordingId> = stored
            .recordings(|row| !row.is_erased)
            .chain(unknown.filter(|id| !known.contains(id)))
            .filter(|id| !kept.contains(id))
            .collect();
        let mut erased: BTreeSet<&RecordingId> = stored.recordings(|row| row.is_erased).collect();
        let unmarked: Vec<&RecordingId> = unmarked.into_iter().collect();
        let mut is_rest = unmarked.len() > MAX_RECORDINGS_PER_PASS;
        for batch in unmarked[..unmarked.len().min(MAX_RECORDINGS_PER_PASS)].chunks(BATCH) {
            if self.mark(zoom_user, erasure, batch).await? {
                totals.recordings += batch.len() as u64;
                erased.extend(batch);
            } else {
                is_rest = true;
            }
        }
        self.delete(zoom_user, &stored, &erased, totals).await?;
        if !self.links.is_erasing(zoom_user, erasure).await? {
            return Ok(ErasurePass::Cancelled);
        }
        // Events that arrived before this pass precede any new link.
        let events = objects::list(&self.bucket, &object_key::event_prefix(zoom_user)).await?;
        let events: Vec<_> = events.iter().filter(|event| event.modified < now).collect();
        objects::delete(&self.bucket, &events, totals).await?;
        // `link.removed` contains ids alone and is kept, so that the app is notified of the end.
        let is_of_ended_links = |it: WrittenNotification<'_>| {
            it.recording.is_none() && !it.is_link_removed && it.stamp < now
        };
        totals.notifications +=
            self.notifications.delete_of_zoom_user(zoom_user, is_of_ended_links).await?;
        match kept.len() {
            _ if is_rest => Ok(ErasurePass::Continue),
            0 => Ok(ErasurePass::Complete),
            kept => Ok(ErasurePass::OnlyCopies(kept)),
        }
    }

    /// Removes the leftovers of a Zoom user's marked recordings, or of one of them if it is marked. Safe at any time.
    ///
    /// # Errors
    /// If an AWS call fails.
    pub async fn sweep(
        &self,
        zoom_user: &ZoomUser,
        recording: Option<&DeletedRecording>,
    ) -> Result<ErasureTotals, AwsError> {
        let stored = match recording {
            None => self.read(zoom_user).await?,
            Some(DeletedRecording { id, date }) => {
                let rows = self.recordings.stored_rows_of(zoom_user, id).await?;
                self.with_objects(object_key::recording_prefix(zoom_user, id, *date), rows).await?
            }
        };
        let erased: BTreeSet<_> = stored.recordings(|row| row.is_erased).collect();
        if let Some(DeletedRecording { id, .. }) = recording.filter(|it| erased.contains(&it.id)) {
            self.recordings.mark_erased_of_user(&zoom_user.user_id, id).await?;
        }
        let mut totals = ErasureTotals::default();
        self.delete(zoom_user, &stored, &erased, &mut totals).await?;
        Ok(totals)
    }

    async fn read(&self, zoom_user: &ZoomUser) -> Result<Stored, AwsError> {
        let rows = self.recordings.stored_rows(zoom_user).await?;
        self.with_objects(object_key::zoom_user_prefix(zoom_user), rows).await
    }

    async fn with_objects(&self, prefix: String, rows: Vec<StoredRow>) -> Result<Stored, AwsError> {
        let objects = objects::list(&self.bucket, &prefix).await?;
        Ok(Stored { prefix, rows, objects })
    }

    /// Replaces recordings by markers. `false` if the erasure was cancelled, or a concurrent write conflicted.
    async fn mark(
        &self,
        zoom_user: &ZoomUser,
        erasure: &Erasure,
        ids: &[&RecordingId],
    ) -> Result<bool, AwsError> {
        let mut items = vec![self.links.erasure_check(zoom_user, erasure)?];
        for id in ids {
            items.extend(self.recordings.markers(zoom_user, id)?);
        }
        self.links.transact(items).await
    }

    /// Deletes the items and objects of marked recordings.
    async fn delete(
        &self,
        zoom_user: &ZoomUser,
        stored: &Stored,
        erased: &BTreeSet<&RecordingId>,
        totals: &mut ErasureTotals,
    ) -> Result<(), AwsError> {
        let is_erased =
            |id: &Option<RecordingId>| id.as_ref().is_some_and(|id| erased.contains(id));
        let rows = |kind: RowKind| {
            let rows = stored.rows.iter().filter(move |row| row.kind == kind);
            rows.filter(|row| is_erased(&row.recording))
        };
        totals.files += self.recordings.delete_rows(rows(RowKind::File)).await?;
        let is_about_erased =
            |it: WrittenNotification<'_>| it.recording.is_some_and(|id| erased.contains(id));
        totals.notifications +=
            self.notifications.delete_of_zoom_user(zoom_user, is_about_erased).await?;
        for upload in self.bucket.open_uploads(&stored.prefix, Timestamp::MAX).await? {
            if is_erased(&object_key::recording_of(&upload.key)) {
                self.bucket.abort_upload(&upload).await?;
                totals.uploads += 1;
            }
        }
        let objects = stored.objects.iter().filter(|object| is_erased(&object.recording));
        objects::delete(&self.bucket, &objects.collect::<Vec<_>>(), totals).await
    }
}

/// Everything under a key, or everything of one recording.
struct Stored {
    /// Prefix of the objects.
    prefix: String,
    rows: Vec<StoredRow>,
    objects: Vec<StoredObject>,
}

impl Stored {
    /// The recordings whose items satisfy a condition.
    fn recordings(
        &self,
        is_wanted: impl Fn(&StoredRow) -> bool,
    ) -> impl Iterator<Item = &RecordingId> {
        let rows = self.rows.iter().filter(|row| row.kind == RowKind::Recording);
        rows.filter(move |row| is_wanted(row)).filter_map(|row| row.recording.as_ref())
    }
}
