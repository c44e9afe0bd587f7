//! Reconciliation: compares Zoom's lists of a user with the stored recordings, and reports the differences.
//!
//! It counts only what an active link covers: recordings that completed since its activation window, and the days
//! that the app requested a backfill for.

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::coverage::{Coverage, DayRange};
use crate::ids::{FileId, RecordingId, ZoomUser};
use crate::listing::{self, Found, List, ListedMeeting, SUMMARY, Window};
use crate::observation::Observation;
use crate::recording::{FileStatus, Recording, RecordingStatus, ZoomState};
use crate::time::{saturating_add, utc_date};

/// Days that every run reads.
const RECENT_DAYS: i32 = 40;

/// Time without a recording after which a Zoom user is reconciled weekly.
const QUIET_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Interval of a quiet Zoom user.
const QUIET_INTERVAL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Maximum differences in a report.
const MAX_DIFFERENCES: usize = 100;

/// Time from the end of a recording within which an event about it must arrive.
const EVENT_DEADLINE: SignedDuration = SignedDuration::from_hours(24);

/// Number of recordings in a row without an event after which events count as not arriving.
const MAX_UNANNOUNCED: usize = 3;

/// Maximum days from a file's failure to its next attempt.
const MAX_ATTEMPT_DAYS: i64 = 30;

/// Returns the time of the first run: within the interval, by a hash of the Zoom user, so that the runs of all users
/// spread over it. `every_hours` is `ReconcileEveryHours`.
pub fn first_run(zoom_user: &ZoomUser, every_hours: u32, now: Timestamp) -> Timestamp {
    let hash = Sha256::digest(zoom_user.key());
    let [a, b, c, d, ..] = hash[..] else { return now };
    let seconds =
        u64::from(u32::from_be_bytes([a, b, c, d])) % (u64::from(every_hours.max(1)) * 3600);
    saturating_add(now, SignedDuration::from_secs(i64::try_from(seconds).unwrap_or_default()))
}

/// Returns the interval after which a run is overdue, as `ReconcileEveryHours` says; `None` for 0.
pub fn interval(every_hours: u32) -> Option<SignedDuration> {
    (every_hours > 0).then(|| SignedDuration::from_hours(every_hours.into()))
}

/// Zoom users whose lists were compared in a day, with those of whom events do not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct ReconciledCounts {
    /// Compared users.
    pub compared: u64,
    /// Those of whom events do not arrive.
    pub without_events: u64,
}

/// Number of users up to which missing events are taken for facts about these users.
const FEW_USERS: u64 = 5;

impl ReconciledCounts {
    /// Whether events do not arrive of more than 5 % of the users, which is no fact about one of them.
    pub fn is_widespread(self) -> bool {
        self.without_events > FEW_USERS && self.without_events * 20 > self.compared
    }
}

/// Whether a failed file that Zoom still lists is due for another attempt: 1, 2, 4, … at most 30 days after it failed.
/// `granted` is the number of attempts that reconciliations granted before.
pub fn is_attempt_due(failed_at: Timestamp, granted: u32, now: Timestamp) -> bool {
    let days = 2_i64.saturating_pow(granted).min(MAX_ATTEMPT_DAYS);
    now >= saturating_add(failed_at, SignedDuration::from_hours(24 * days))
}

/// A run for one Zoom user, with its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Owner of the grant.
    pub zoom_user: ZoomUser,
    /// Number of the run. A later one supersedes it.
    pub run: u64,
    /// Progress of earlier invocations; `None` before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl Reconciliation {
    /// Splits the window that is next. `false` if that is impossible.
    pub fn split_window(&mut self) -> bool {
        let Some(progress) = &mut self.progress else { return false };
        let Some(List::Window(window)) = progress.left.first() else { return false };
        let Some(halves) = window.split() else { return false };
        progress.left.splice(..1, halves.map(List::Window));
        true
    }
}

/// Progress of a run: the lists that are left, and the totals so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Lists that have not been read, in the order of reading.
    pub left: Vec<List>,
    /// First day that the run reads.
    from: Date,
    /// Last day.
    to: Date,
    /// First day that this run and earlier ones have read without a gap.
    pub read_back_to: Date,
    /// Totals so far.
    #[serde(flatten)]
    pub totals: Totals,
    /// End of the newest recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest_at: Option<Timestamp>,
    /// The newest recordings that an event should have announced, the newest first.
    #[serde(default)]
    due_events: Vec<DueEvent>,
}

/// A recording that an event should have announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DueEvent {
    ended_at: Timestamp,
    is_announced: bool,
}

impl Progress {
    /// Creates a run: the recent days, the trash, and one older month until everything covered has been read.
    /// `read` is what earlier runs have read without a gap. `None` if nothing is covered.
    pub fn new(coverage: &Coverage, read: Option<DayRange>, now: Timestamp) -> Option<Self> {
        let first_day = coverage.first_day()?;
        let to = utc_date(now);
        let recent = to.saturating_sub(RECENT_DAYS.days()).max(first_day).min(to);
        // After a long pause the days in between have not been read, so the older months are read again.
        let read = read.filter(|read| read.to >= recent);
        let read = read.map_or(recent, |read| read.from.min(recent));
        let older = (read > first_day).then(|| Window::before(read, first_day));
        let windows = listing::windows(recent, to).into_iter().map(List::Window);
        Some(Self {
            left: windows.chain([List::Trash]).chain(older.map(List::Window)).collect(),
            from: older.map_or(recent, |older| older.from),
            to,
            read_back_to: older.map_or(read, |older| older.from),
            totals: Totals::default(),
            newest_at: None,
            due_events: Vec::new(),
        })
    }

    /// Whether a meeting of this window is counted there. See [`Window::counts`].
    pub fn counts(&self, window: &Window, meeting: &ListedMeeting) -> bool {
        window.counts(self.to, meeting)
    }

    /// Notes when a meeting ended, and whether an event announced it. Events count from `since`.
    pub fn note(
        &mut self,
        meeting: &ListedMeeting,
        is_announced: bool,
        since: Timestamp,
        now: Timestamp,
    ) {
        let Some(ended_at) = meeting.ended_at() else { return };
        self.newest_at = self.newest_at.max(Some(ended_at));
        if ended_at >= since && saturating_add(ended_at, EVENT_DEADLINE) <= now {
            self.due_events.push(DueEvent { ended_at, is_announced });
            self.due_events.sort_unstable_by_key(|event| std::cmp::Reverse(event.ended_at));
            self.due_events.truncate(MAX_UNANNOUNCED);
        }
    }

    /// Whether no event announced any of the newest recordings.
    pub fn lacks_events(&self) -> bool {
        self.due_events.len() == MAX_UNANNOUNCED
            && self.due_events.iter().all(|event| !event.is_announced)
    }

    /// Whether an event announced the newest recording that is due.
    pub fn has_event(&self) -> bool {
        self.due_events.first().is_some_and(|event| event.is_announced)
    }

    /// Returns the interval until the next run: as `ReconcileEveryHours` says, or a week for a user who was quiet for
    /// 30 days. `None`: never.
    pub fn interval(
        &self,
        every_hours: u32,
        coverage: &Coverage,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        let interval = interval(every_hours)?;
        let active_at = self.newest_at.max(coverage.since);
        let is_quiet = active_at.is_none_or(|at| saturating_add(at, QUIET_AFTER) <= now);
        Some(if is_quiet { interval.max(QUIET_INTERVAL) } else { interval })
    }

    /// Returns the report of a run that has read all lists.
    pub fn into_report(self, now: Timestamp) -> Report {
        Report { reconciled_at: now, from: self.from, to: self.to, totals: self.totals }
    }
}

/// Number and size of recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Recordings.
    pub recordings: u64,
    /// Files.
    pub files: u64,
    /// Size in bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.recordings += more.recordings;
        self.files += more.files;
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Listed by Zoom.
    pub zoom: Amount,
    /// Of these, stored.
    pub stored: Amount,
    /// Unknown before this run.
    pub found_missing: Found,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// Number of all differences.
    pub differences_total: u64,
}

impl Totals {
    /// Adds a recording that is in Zoom's trash and was not known to be there.
    pub fn add_trashed(&mut self, recording_id: RecordingId) {
        let reason = "state".to_owned();
        let differences = vec![Difference { recording_id, file_id: None, reason }];
        let comparison = Comparison { differences, ..Comparison::default() };
        self.add(Amount::default(), Amount::default(), &comparison);
    }

    /// Adds the comparison of one meeting.
    pub fn add(&mut self, zoom: Amount, stored: Amount, comparison: &Comparison) {
        self.zoom += zoom;
        self.stored += stored;
        self.found_missing += comparison.missing;
        self.differences_total += comparison.differences.len() as u64;
        let remaining = MAX_DIFFERENCES.saturating_sub(self.differences.len());
        self.differences.extend(comparison.differences.iter().take(remaining).cloned());
    }
}

impl std::ops::AddAssign<&Self> for Totals {
    fn add_assign(&mut self, more: &Self) {
        self.zoom += more.zoom;
        self.stored += more.stored;
        self.found_missing += more.found_missing;
        self.differences_total += more.differences_total;
        let remaining = MAX_DIFFERENCES.saturating_sub(self.differences.len());
        self.differences.extend(more.differences.iter().take(remaining).cloned());
    }
}

/// A difference between Zoom's list and the stored recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The recording.
    pub recording_id: RecordingId,
    /// The file; `None` if the difference concerns the recording.
    pub file_id: Option<FileId>,
    /// `recording_missing`, `file_missing`, `size`, `type`, `topic`, `state`, or why the file failed.
    pub reason: String,
}

/// The saved result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When the run ended.
    pub reconciled_at: Timestamp,
    /// First day (UTC) that it read.
    pub from: Date,
    /// Last day (UTC).
    pub to: Date,
    /// Its totals.
    #[serde(flatten)]
    pub totals: Totals,
}

/// How a listed meeting differs from the stored recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// The differences.
    pub differences: Vec<Difference>,
    /// Unknown recordings and files.
    pub missing: Found,
    /// Whether the recording is unknown, so that the meeting is observed with all files.
    pub is_unknown: bool,
    /// Whether only the meeting's details name all files.
    pub needs_details: bool,
    /// Whether the topic differs.
    pub is_renamed: bool,
    /// Whether the recording was in the trash or deleted.
    pub is_recovered: bool,
    /// Known recording: the files to observe.
    pub files: Vec<FileId>,
    /// Known recording: failed files that Zoom still lists.
    pub failed: Vec<FileId>,
}

/// Compares a meeting of Zoom's list with the known recording.
pub fn compare(
    listed: &ListedMeeting,
    observed: &Observation,
    known: Option<&Recording>,
) -> Comparison {
    let recording_id = observed.recording_id();
    let difference = |file_id: Option<FileId>, reason: &str| Difference {
        recording_id: recording_id.clone(),
        file_id,
        reason: reason.to_owned(),
    };
    let mut result = Comparison::default();
    let Some(known) = known else {
        result.differences.push(difference(None, "recording_missing"));
        result.missing = Found { recordings: 1, files: listed.files() };
        result.needs_details = listed.needs_details();
        result.is_unknown = !result.needs_details;
        return result;
    };
    if known.zoom_state != ZoomState::Present {
        result.is_recovered = true;
        result.differences.push(difference(None, "state"));
    }
    let topic = &observed.details.topic;
    if topic.is_some() && *topic != known.metadata.topic {
        result.is_renamed = true;
        result.differences.push(difference(None, "topic"));
    }
    let known_files: HashMap<&FileId, _> =
        known.files.iter().map(|file| (&file.metadata.id, file)).collect();
    for file in observed.files.iter().map(|file| &file.metadata) {
        let id = &file.id;
        let reason = match known_files.get(id) {
            None => {
                result.missing.files += 1;
                Some("file_missing")
            }
            Some(known) if known.status == FileStatus::Failed => {
                result.failed.push(id.clone());
                let reason = known.reason.as_deref().unwrap_or("failed");
                result.differences.push(difference(Some(id.clone()), reason));
                continue;
            }
            Some(known) => {
                let known = &known.metadata;
                if known.is_processing == Some(true) && file.is_processing == Some(false) {
                    result.files.push(id.clone());
                    continue;
                }
                let differs = |known: &Option<String>, listed: &Option<String>| {
                    listed.is_some() && listed != known
                };
                if file.size.is_some() && file.size != known.size {
                    Some("size")
                } else if differs(&known.file_type, &file.file_type)
                    || differs(&known.recording_type, &file.recording_type)
                {
                    Some("type")
                } else {
                    None
                }
            }
        };
        if let Some(reason) = reason {
            result.files.push(id.clone());
            result.differences.push(difference(Some(id.clone()), reason));
        }
    }
    // Participants' audio does not stand in the list.
    let counted = known.files.iter().filter(|file| file.metadata.file_type() != SUMMARY).count();
    let unlisted = listed.files().saturating_sub(known.files.len() as u64);
    if unlisted > 0 && !listed.is_processing() && result.files.is_empty() {
        result.needs_details = true;
        result.missing.files += unlisted;
        result.differences.push(difference(None, "file_missing"));
    } else if listed.has_count(counted as u64) {
        let listed = |id: &FileId| observed.files.iter().any(|file| file.metadata.id == *id);
        for file in known.files.iter().filter(|file| !listed(&file.metadata.id)) {
            if file.status == FileStatus::Failed {
                result.failed.push(file.metadata.id.clone());
                let reason = file.reason.as_deref().unwrap_or("failed");
                result.differences.push(difference(Some(file.metadata.id.clone()), reason));
            }
        }
    }
    result
}

/// Returns the stored amount of a known recording.
pub fn stored(known: &Recording) -> Amount {
    let stored = known.files.iter().filter(|file| file.status == FileStatus::Stored);
    Amount {
        recordings: u64::from(known.status() == RecordingStatus::Stored),
        files: stored.clone().count() as u64,
        bytes: stored.map(|file| file.bytes_stored).sum(),
    }
}

#[cfg(test)]
mod tests;
