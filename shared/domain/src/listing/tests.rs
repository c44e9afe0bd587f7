//! Windows, pages and meetings of Zoom's list.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn backfill(from: &str, to: &str) -> Backfill {
    let zoom_user = ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() };
    Backfill {
        zoom_user,
        from: day(from),
        to: day(to),
        completed_since: None,
        request: None,
        progress: None,
    }
}

fn meeting(start: &str, minutes: u32) -> ListedMeeting {
    ListedMeeting::parse(&json!({"uuid": start, "start_time": start, "duration": minutes}))
}

#[test]
fn split_window_reads_the_same_days() {
    let mut progress = Progress::new(day("2026-10-01"), day("2026-10-06"));
    let days = |window: &Window| (window.from.day(), window.to.day());
    assert!(progress.split_window());
    assert_eq!(progress.left.iter().map(days).collect::<Vec<_>>(), [(4, 7), (1, 4)]);
    while progress.split_window() {}
    assert_eq!(
        progress.left.iter().map(days).collect::<Vec<_>>(),
        [(6, 7), (5, 6), (4, 5), (1, 4)]
    );
}

#[test]
fn single_day_window_ends_a_day_later() {
    let [window] = windows(day("2026-10-05"), day("2026-10-05"))[..] else { panic!() };
    assert_eq!((window.from, window.to), (day("2026-10-05"), day("2026-10-06")));
}

#[test]
fn window_at_the_end_of_time_is_finite() {
    assert_eq!(windows(Date::MAX, Date::MAX).len(), 1);
}

proptest! {
    #[test]
    fn windows_cover_all_days_and_overlap(from in -800i32..800, days in 0i32..400) {
        let from = day("2026-01-01").saturating_add(from.days());
        let to = from.saturating_add(days.days());
        let windows = windows(from, to);
        prop_assert_eq!(windows[0].to, to.saturating_add(1.day()));
        prop_assert_eq!(windows.last().unwrap().from, from);
        for window in &windows {
            prop_assert!(window.from < window.to);
            prop_assert!(window.from.saturating_add(1.month()) >= window.to, "{:?}", window);
        }
        for pair in windows.windows(2) {
            prop_assert_eq!(pair[0].from, pair[1].to, "neighbours share a day");
        }
    }

    /// Each meeting that a listing finds, perhaps in two windows, is counted once.
    #[test]
    fn shared_days_are_counted_once(days in 0i32..200, at in 0i32..200) {
        let from = day("2026-01-01");
        let to = from.saturating_add(days.days());
        let start = from.saturating_add(at.min(days).days());
        let backfill = backfill("2026-01-01", &to.to_string());
        let meeting = meeting(&format!("{start}T23:59:59Z"), 1);
        let seen = windows(from, to).into_iter().filter(|it| it.from <= start && start <= it.to);
        prop_assert_eq!(seen.filter(|window| backfill.counts(window, &meeting)).count(), 1);
    }
}

#[test]
fn requested_days_bound_the_start() {
    let backfill = backfill("2026-10-01", "2026-10-05");
    assert!(backfill.wants(&meeting("2026-10-05T23:59:59Z", 600)));
    assert!(!backfill.wants(&meeting("2026-10-06T00:00:00Z", 1)), "read with the day after `to`");
    assert!(backfill.wants(&ListedMeeting::parse(&json!({"start_time": 7}))));
}

#[test]
fn activation_window_includes_late_completions() {
    let now: Timestamp = "2026-10-05T12:00:00Z".parse().unwrap();
    let zoom_user = backfill("2026-10-01", "2026-10-01").zoom_user;
    let backfill = Backfill::since(zoom_user, now - MIN_ACTIVATION_WINDOW, now);
    // 48 hours, 24 hours of processing and a meeting of 30 hours before.
    assert_eq!((backfill.from, backfill.to), (day("2026-10-01"), day("2026-10-05")));
    for (start, minutes, expected) in [
        ("2026-10-05T11:00:00Z", 31, true),
        // Began before the window, ended in it.
        ("2026-10-02T12:00:00Z", 30 * 60, true),
        // Ended before it, and may have been processed in it.
        ("2026-10-02T11:00:00Z", 60, true),
        ("2026-10-02T10:00:00Z", 60, false),
    ] {
        assert_eq!(backfill.wants(&meeting(start, minutes)), expected, "{start}");
    }
    // A recurring meeting can start days before its files.
    let recurring = json!({
        "start_time": "2026-09-01T09:00:00Z", "duration": 30,
        "recording_files": [null, {"recording_end": "2026-10-04T09:30:00Z"}, {"id": 1}],
    });
    let recurring = ListedMeeting::parse(&recurring);
    assert!(backfill.wants(&recurring));
    assert_eq!(recurring.files(), 2);
}

#[test]
fn fewer_meetings_than_announced_are_incomplete() {
    let (first, second) = (meeting("2026-10-05T09:00:00Z", 1), meeting("2026-10-06T09:00:00Z", 1));
    let mut reading = Reading::default();
    assert!(reading.add(&first));
    assert_eq!(reading.end_page(Some(3), Some("a".into())), NextPage::Token("a".into()));
    // Listed twice, because a recording was added between the pages.
    assert!(!reading.add(&first));
    assert!(reading.add(&second));
    let few = NextPage::Incomplete(Incomplete::TooFewMeetings);
    assert_eq!(reading.end_page(Some(2), None), few, "the first page decides");

    for (total, expected) in
        [(None, NextPage::Complete), (Some(1), NextPage::Complete), (Some(2), few)]
    {
        let mut reading = Reading::default();
        reading.add(&first);
        assert_eq!(reading.end_page(total, None), expected, "{total:?}");
    }

    let mut reading = Reading::default();
    reading.add(&first);
    reading.add(&ListedMeeting::parse(&json!({"start_time": 7})));
    assert_eq!(reading.end_page(Some(2), None), NextPage::Complete, "also without a UUID");
}

#[test]
fn repeated_token_ends_the_reading() {
    let mut reading = Reading::default();
    assert_eq!(reading.end_page(None, Some("a".into())), NextPage::Token("a".into()));
    assert_eq!(reading.end_page(None, Some("b".into())), NextPage::Token("b".into()));
    let repeated = NextPage::Incomplete(Incomplete::RepeatedPageToken);
    assert_eq!(reading.end_page(None, Some("a".into())), repeated);
}

#[test]
fn pages_are_limited() {
    let mut reading = Reading::default();
    for page in 1..MAX_PAGES {
        let token = page.to_string();
        assert_eq!(reading.end_page(None, Some(token.clone())), NextPage::Token(token));
    }
    let many = NextPage::Incomplete(Incomplete::TooManyPages);
    assert_eq!(reading.end_page(None, Some("last".into())), many);
}

#[test]
fn incomplete_window_is_read_again_after_the_others() {
    let mut progress = backfill("2026-01-01", "2026-02-10").take_progress();
    let (newest, oldest) = (progress.left[0], progress.left[1]);
    assert!(progress.defer_window());
    assert_eq!(progress.left, [oldest, Window { is_repeated: true, ..newest }]);
    progress.finish_window(Found { recordings: 1, files: 2 }, true);
    assert!(!progress.defer_window(), "nothing else is left");
    progress.finish_window(Found { recordings: 2, files: 3 }, false);
    assert!(progress.left.is_empty() && !progress.is_complete);
    assert_eq!(progress.found, Found { recordings: 3, files: 5 });

    let mut progress = backfill("2026-01-01", "2026-04-10").take_progress();
    for _ in 0..progress.left.len() {
        assert!(progress.defer_window());
    }
    assert!(!progress.defer_window(), "all were read once");
}
