use serde_json::{Value, json};

use super::*;
use crate::observation::{ObservationSource, ObservedAt, ObservedRecording};
use crate::recording::File;
use crate::webhook::meeting;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn zoom_user() -> ZoomUser {
    ZoomUser::from_key("A#u").unwrap()
}

fn file(id: &str, size: u64) -> Value {
    json!({"id": id, "file_type": "MP4", "file_size": size, "status": "completed"})
}

fn listing(count: u64, files: Vec<Value>) -> Value {
    json!({
        "uuid": "m==", "topic": "t", "start_time": "2026-01-01T09:00:00Z", "duration": 30,
        "recording_count": count, "recording_files": files,
    })
}

fn observe(meeting: &Value) -> Observation {
    let at = at("2026-01-02T09:00:00Z");
    let time = ObservedAt { at, is_own: true, source: ObservationSource::List };
    meeting::parse_meeting(zoom_user(), meeting, time).unwrap().observation
}

/// The recording that an observation leaves, with all files stored.
fn known(meeting: &Value) -> Recording {
    let observation = observe(meeting);
    let observed = ObservedRecording::new(&observation);
    let files = observation.files.into_iter().map(|file| File {
        bytes_stored: file.metadata.size.unwrap_or(0),
        metadata: file.metadata,
        status: FileStatus::Stored,
        reason: None,
        stored_at: None,
        declared_when_stored: None,
        key: None,
        crc64nvme: None,
        attempts: 1,
        expirations: 0,
        next_attempt_at: None,
    });
    Recording {
        zoom_user: zoom_user(),
        metadata: observed.metadata,
        zoom_state: ZoomState::Present,
        sequence: 1,
        updated_at: Timestamp::UNIX_EPOCH,
        files: files.collect(),
    }
}

fn reasons(comparison: &Comparison) -> Vec<(Option<&str>, &str)> {
    let differences = comparison.differences.iter();
    differences.map(|it| (it.file_id.as_ref().map(FileId::as_str), it.reason.as_str())).collect()
}

fn compared(meeting: &Value, known: Option<&Recording>) -> Comparison {
    compare(&ListedMeeting::parse(meeting), &observe(meeting), known)
}

#[test]
fn equal_recording_needs_nothing() {
    let meeting = listing(2, vec![file("a", 1), file("b", 2)]);
    let known = known(&meeting);
    assert_eq!(compared(&meeting, Some(&known)), Comparison::default());
    assert_eq!(stored(&known), Amount { recordings: 1, files: 2, bytes: 3 });
}

#[test]
fn each_difference_has_its_reason() {
    let before = known(&listing(2, vec![file("a", 1), file("b", 2)]));
    let found =
        compared(&listing(3, vec![file("a", 1), file("b", 3), file("c", 4)]), Some(&before));
    assert_eq!(reasons(&found), [(Some("b"), "size"), (Some("c"), "file_missing")]);
    assert_eq!(found.files.iter().map(FileId::as_str).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(found.missing, Found { recordings: 0, files: 1 });

    let found = compared(&listing(2, vec![file("a", 1), file("b", 2)]), None);
    assert_eq!(reasons(&found), [(None, "recording_missing")]);
    assert_eq!((found.missing, found.is_unknown), (Found { recordings: 1, files: 2 }, true));

    let mut renamed = listing(2, vec![file("a", 1), file("b", 2)]);
    renamed["topic"] = json!("other");
    let trashed = Recording { zoom_state: ZoomState::Trashed, ..before.clone() };
    let found = compared(&renamed, Some(&trashed));
    assert_eq!(reasons(&found), [(None, "state"), (None, "topic")]);
    assert!(found.is_renamed && found.is_recovered && found.files.is_empty());
}

#[test]
fn failed_file_is_not_observed_again() {
    let meeting = listing(1, vec![file("a", 1)]);
    let mut known = known(&meeting);
    (known.files[0].status, known.files[0].reason) = (FileStatus::Failed, Some("gone".into()));
    let found = compared(&meeting, Some(&known));
    assert_eq!(reasons(&found), [(Some("a"), "gone")]);
    assert_eq!((found.files.len(), found.failed.len()), (0, 1));
}

#[test]
fn uncounted_files_need_details_until_they_are_known() {
    let meeting = listing(2, vec![file("a", 1)]);
    let alone = known(&meeting);
    let found = compared(&meeting, Some(&alone));
    assert!(found.needs_details);
    assert_eq!((reasons(&found), found.missing.files), (vec![(None, "file_missing")], 1));
    let mut both = known(&listing(2, vec![file("a", 1), file("audio", 2)]));
    assert_eq!(compared(&meeting, Some(&both)), Comparison::default());
    // Zoom counts the file but does not list it.
    both.files[1].status = FileStatus::Failed;
    assert_eq!(compared(&meeting, Some(&both)).failed.len(), 1);
}

/// An older month a run is read until the activation window, without a gap.
#[test]
fn older_months_are_read_once() {
    let coverage = Coverage::since(at("2026-06-01T00:00:00Z"));
    let mut now = at("2026-10-01T00:00:00Z");
    let (mut saved, mut firsts) = (None, Vec::new());
    for _ in 0..6 {
        let run = Progress::new(&coverage, saved, now).unwrap();
        assert_eq!(run.left.iter().filter(|list| **list == List::Trash).count(), 1);
        firsts.push(run.from);
        saved = Some(DayRange { from: run.read_back_to, to: run.to });
        now += SignedDuration::from_hours(24);
    }
    // 22 August less 27 days each, down to 54 hours before the window.
    let expected = ["2026-07-26", "2026-06-29", "2026-06-02", "2026-05-29"].map(day);
    assert_eq!(firsts[..4], expected);
    assert_eq!(firsts[4..], ["2026-08-26", "2026-08-27"].map(day), "only the recent days");
    // After 60 days without a run, the days that none has read are read again.
    now += SignedDuration::from_hours(24 * 60);
    let run = Progress::new(&coverage, saved, now).unwrap();
    assert_eq!((run.from, run.read_back_to), (day("2026-09-30"), day("2026-09-30")));
    assert_eq!(Progress::new(&Coverage::default(), None, now), None);
}

#[test]
fn fresh_link_is_read_from_its_window() {
    let now = at("2026-10-05T12:00:00Z");
    let run = Progress::new(&Coverage::since(at("2026-10-03T12:00:00Z")), None, now).unwrap();
    assert_eq!((run.from, run.to, run.left.len()), (day("2026-10-01"), day("2026-10-05"), 2));
}

#[test]
fn quiet_user_is_reconciled_weekly() {
    let now = at("2026-10-05T12:00:00Z");
    let ago = |days: i64| now - SignedDuration::from_hours(24 * days);
    for (covered, recorded, every, hours) in [
        (3, None, 24, Some(24)),
        (40, None, 24, Some(168)),
        (40, Some(29), 24, Some(24)),
        (40, Some(30), 24, Some(168)),
        (40, None, 1_000, Some(1_000)),
        (3, None, 0, None),
    ] {
        let coverage = Coverage::since(ago(covered));
        let mut run = Progress::new(&coverage, None, now).unwrap();
        if let Some(recorded) = recorded {
            let start = json!({"uuid": "m", "start_time": ago(recorded)});
            run.note(&ListedMeeting::parse(&start), true, ago(covered), now);
        }
        let interval = run.interval(every, &coverage, now).map(|it| it.as_hours());
        assert_eq!(interval, hours, "{covered} {recorded:?}");
    }
}

#[test]
fn three_unannounced_recordings_lack_events() {
    let now = at("2026-10-05T12:00:00Z");
    let hours_ago = |hours: i64| now - SignedDuration::from_hours(hours);
    let lacks = |recordings: &[(i64, bool)]| {
        let mut run = Progress::new(&Coverage::since(hours_ago(900)), None, now).unwrap();
        for (hours, is_announced) in recordings {
            let meeting = json!({"uuid": "m", "start_time": hours_ago(*hours)});
            run.note(&ListedMeeting::parse(&meeting), *is_announced, hours_ago(500), now);
        }
        (run.lacks_events(), run.has_event())
    };
    assert_eq!(lacks(&[(30, false), (40, false), (50, false)]), (true, false));
    assert_eq!(lacks(&[(60, true), (50, false), (40, false), (30, false)]), (true, false));
    assert_eq!(lacks(&[(30, true), (40, false), (50, false), (60, false)]), (false, true));
    assert_eq!(lacks(&[(30, false), (40, true), (50, false), (60, false)]), (false, false));
    // Too fresh, or before the consent.
    assert_eq!(lacks(&[(23, false), (40, false), (50, false)]), (false, false));
    assert_eq!(lacks(&[(30, false), (40, false), (501, false)]), (false, false));
}

#[test]
fn attempts_follow_after_one_two_four_days() {
    let failed_at = at("2026-10-05T12:00:00Z");
    for (granted, days) in [(0, 1), (1, 2), (2, 4), (4, 16), (5, 30), (63, 30), (64, 30)] {
        let due = failed_at + SignedDuration::from_hours(24 * days);
        assert!(is_attempt_due(failed_at, granted, due), "{granted}");
        assert!(
            !is_attempt_due(failed_at, granted, due - SignedDuration::from_secs(1)),
            "{granted}"
        );
    }
}

#[test]
fn first_runs_spread_over_the_interval() {
    let now = at("2026-10-05T12:00:00Z");
    let hours = |n: u32| {
        let zoom_user = ZoomUser::from_key(&format!("A#u{n}")).unwrap();
        first_run(&zoom_user, 24, now).duration_since(now).as_hours()
    };
    let mut hours: Vec<i64> = (0..500).map(hours).collect();
    assert!(hours.iter().all(|hour| (0..24).contains(hour)));
    hours.sort_unstable();
    hours.dedup();
    assert_eq!(hours.len(), 24);
}

#[test]
fn report_is_limited() {
    let meeting = listing(1, vec![file("a", 1)]);
    let comparison = compared(&meeting, None);
    let mut totals = Totals::default();
    for _ in 0..150 {
        totals.add(Amount { recordings: 1, files: 1, bytes: 1 }, Amount::default(), &comparison);
    }
    assert_eq!((totals.differences.len(), totals.differences_total), (100, 150));
    assert_eq!((totals.zoom.bytes, totals.found_missing.files), (150, 150));
}

#[test]
fn totals_of_a_run_are_sums() {
    let (found, trashed) = (observe(&listing(1, vec![file("a", 1)])), "t==".parse().unwrap());
    let amount = |n| Amount { recordings: n, files: n, bytes: n };
    let mut totals = Totals::default();
    totals.add(amount(3), amount(2), &compared(&listing(1, vec![file("a", 1)]), None));
    let mut later = Totals::default();
    later.add_trashed(RecordingId::from_uuid(&trashed));
    later.add(amount(10), amount(20), &Comparison::default());
    totals += &later;
    assert_eq!((totals.zoom, totals.stored), (amount(13), amount(22)));
    assert_eq!(totals.found_missing, Found { recordings: 1, files: 1 });
    let of = totals.differences.iter().map(|it| (&it.recording_id, it.reason.as_str()));
    let expected = [found.recording_id(), RecordingId::from_uuid(&trashed)];
    assert!(of.eq([(&expected[0], "recording_missing"), (&expected[1], "state")]));
    assert_eq!(totals.differences_total, 2);
}

#[test]
fn events_missing_of_many_users_are_no_fact_about_one() {
    for (compared, without_events, expected) in [
        (1, 1, false),
        (5, 5, false),
        (6, 6, true),
        (100, 6, true),
        (120, 6, false),
        (1_000, 51, true),
    ] {
        let counts = ReconciledCounts { compared, without_events };
        assert_eq!(counts.is_widespread(), expected, "{without_events} of {compared}");
    }
}
