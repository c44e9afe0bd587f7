//! A meeting in Zoom's list.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::ids::MeetingUuid;
use crate::time::utc_date;
use crate::webhook::value::integer;

/// Maximum time that Zoom takes to process an ended recording (Zoom, "Cloud recording processing"). The list does
/// not say when a recording completed, only when it ended.
pub(super) const MAX_PROCESSING_TIME: SignedDuration = SignedDuration::from_hours(24);

/// The fields of a meeting in Zoom's list that a listing needs, parsed leniently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedMeeting {
    pub(super) uuid: Option<String>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    files: u64,
    /// Number of files that Zoom counts, if it says so.
    recording_count: Option<u64>,
    /// Number of listed files that Zoom does not count.
    summaries: u64,
    is_processing: bool,
    total_size: u64,
}

impl ListedMeeting {
    /// Reads a meeting. A field that is absent or odd counts as unknown.
    pub fn parse(meeting: &Value) -> Self {
        let files = meeting.get("recording_files").and_then(Value::as_array);
        let files = || files.into_iter().flatten().filter(|file| file.is_object());
        let started_at = time(meeting, "start_time")
            .or_else(|| files().filter_map(|file| time(file, "recording_start")).min());
        let ended_at = files().filter_map(|file| time(file, "recording_end")).max().or_else(|| {
            let minutes = meeting.get("duration").and_then(Value::as_i64).unwrap_or(0);
            let minutes = i32::try_from(minutes).unwrap_or(0);
            started_at?.checked_add(SignedDuration::from_mins(minutes.into())).ok()
        });
        Self {
            uuid: meeting.get("uuid").and_then(Value::as_str).map(str::to_owned),
            started_at,
            ended_at,
            files: files().count() as u64,
            recording_count: meeting.get("recording_count").and_then(integer).and_then(unsigned),
            summaries: files().filter(|file| has_text(file, "file_type", SUMMARY)).count() as u64,
            is_processing: files().any(|file| has_text(file, "status", "processing")),
            total_size: files()
                .filter_map(|file| file.get("file_size").and_then(integer).and_then(unsigned))
                .fold(0, u64::saturating_add),
        }
    }

    /// Returns the UUID of the meeting instance, if it is valid.
    pub fn uuid(&self) -> Option<MeetingUuid> {
        self.uuid.as_ref()?.parse().ok()
    }

    /// Number of files, as far as Zoom says it. Some files stand in the meeting's details alone.
    pub fn files(&self) -> u64 {
        self.files.max(self.recording_count.map_or(0, |count| count + self.summaries))
    }

    /// Size of the listed files in bytes, as far as Zoom says it.
    pub fn size(&self) -> u64 {
        self.total_size
    }

    /// Whether only the meeting's details name all files: participants' audio does not stand in the list. Zoom counts
    /// it, and leaves summaries out of the count. A file that is processing may have become several.
    pub fn needs_details(&self) -> bool {
        let named = self.files - self.summaries;
        self.is_processing || self.recording_count.is_some_and(|count| count != named)
    }

    /// Whether Zoom counts as many files as this. `files` includes participants' audio and leaves out summaries.
    pub fn has_count(&self, files: u64) -> bool {
        self.recording_count == Some(files)
    }

    /// Whether Zoom still processes a file.
    pub fn is_processing(&self) -> bool {
        self.is_processing
    }

    /// Returns the day of the start (UTC).
    pub fn start_day(&self) -> Option<Date> {
        self.started_at.map(utc_date)
    }

    /// Returns the end of the last file, or of the meeting.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// Whether the recording may have completed since a time.
    pub fn may_have_completed_since(&self, since: Timestamp) -> bool {
        super::may_have_completed_since(self.ended_at, since)
    }
}

/// Type of the files that Zoom leaves out of `recording_count`.
pub const SUMMARY: &str = "SUMMARY";

fn unsigned(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

fn has_text(value: &Value, name: &str, wanted: &str) -> bool {
    value.get(name).and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case(wanted))
}

fn time(value: &Value, name: &str) -> Option<Timestamp> {
    value.get(name)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn uncounted_files_need_details() {
        let file = |kind: &str| json!({"file_type": kind, "status": "completed", "file_size": 10});
        let processing = json!({"file_type": "MP4", "status": "processing"});
        for (count, files, needs_details, number) in [
            (json!(2), vec![file("MP4"), file("M4A")], false, 2),
            (json!(1), vec![file("MP4"), file("SUMMARY")], false, 2),
            // One participant's audio, which a summary must not hide.
            (json!(2), vec![file("MP4"), file("SUMMARY")], true, 3),
            (json!("1"), vec![file("MP4")], false, 1),
            (json!(1), vec![processing], true, 1),
            (Value::Null, vec![file("MP4")], false, 1),
        ] {
            let meeting = json!({"recording_count": count, "recording_files": files});
            let listed = ListedMeeting::parse(&meeting);
            assert_eq!(
                (listed.needs_details(), listed.files()),
                (needs_details, number),
                "{meeting}"
            );
        }
    }
}
