//! Zoom's list of recordings: incomplete lists, and errors that concern one user.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{ErrorForm, Fault, NewFault, NewRecording, Point, Recording};
use serde_json::{Value, json};
use support::DelayedMessages;
use support::zoom_users::{ADA, BEN};

use super::marking_revoked::invalid_grant;
use super::{ACCESS_TOKEN_ENDS, Scene, backfill, small, unannounced};

const LIST: &str = "/users/me/recordings";

/// Attempts of the AWS SDK for one call.
const SDK_ATTEMPTS: u64 = 3;

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn error(status: u16, code: u32, form: ErrorForm) -> Fault {
    Fault::ErrorCode { status, code, form }
}

fn uuids<'a>(recordings: impl IntoIterator<Item = &'a Recording>) -> BTreeSet<String> {
    recordings.into_iter().map(|recording| recording.uuid.clone()).collect()
}

impl Scene {
    /// The meeting UUIDs that the app user sees.
    async fn seen(&self, app_user: &str) -> BTreeSet<String> {
        let recordings = self.app.recordings(app_user).await;
        let uuids = recordings.iter().map(|it| it["meeting_uuid"].as_str().unwrap().to_owned());
        uuids.collect()
    }

    async fn issue(&self, app_user: &str) -> Value {
        self.app.links(app_user).await[0]["issue"].clone()
    }

    /// The `data` of each distinct notification of this type to the app user.
    async fn published(&self, app_user: &str, kind: &str) -> Vec<Value> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        for event in self.peek_messages(&self.bus).await {
            let event: Value = serde_json::from_str(&event).unwrap();
            let detail = &event["detail"];
            if detail["type"] == kind
                && detail["data"]["app_user_id"] == app_user
                && seen.insert(detail["id"].to_string())
            {
                found.push(detail["data"].clone());
            }
        }
        found
    }

    /// The result of the app user's only backfill: recordings, files, and whether it is complete.
    pub(super) async fn completed(&self, app_user: &str) -> (u64, u64, bool) {
        let published = self.published(app_user, "backfill.completed").await;
        let [data] = &published[..] else { panic!("{published:?}") };
        (
            data["recordings"].as_u64().unwrap(),
            data["files"].as_u64().unwrap(),
            data["complete"].as_bool().unwrap(),
        )
    }
}

#[tokio::test]
async fn case_01_note_recordings_are_not_listed() {
    let scene = Scene::open().await;
    let hour = SignedDuration::from_hours(1);
    let note =
        NewRecording { start_time: Some(scene.app.now() - hour), is_note: true, ..small(ADA) };
    let note = scene.zoom().create_recording(note).unwrap().recording;
    let meeting = unannounced(&scene, hour);
    scene.link("alice", ADA).await;
    backfill(&scene, "alice", 3).await;
    assert_eq!(scene.seen("alice").await, uuids([&meeting]));
    assert_eq!(scene.fetch_count(&note.files[0].id), 0);
    assert_eq!(scene.completed("alice").await, (1, 1, true));
}

#[tokio::test]
async fn case_02_free_plan_becomes_link_issue() {
    for (status, code, form, issue) in [
        (400, 200, ErrorForm::Api, "plan_without_cloud_recording"),
        (400, 200, ErrorForm::Result, "plan_without_cloud_recording"),
        (400, 4711, ErrorForm::Api, "scope_missing"),
        (401, 4711, ErrorForm::Api, "scope_missing"),
        (403, 403, ErrorForm::Api, "access_denied"),
        (200, 200, ErrorForm::Result, "access_denied"),
    ] {
        let case = format!("{status} {code} {form:?}");
        let scene = Scene::linked(&["alice", "bob"]).await;
        let stored = scene.record(small(ADA)).await;
        assert_eq!(scene.issue("alice").await, Value::Null, "{case}");
        let fault = scene.fail(Point::ListRecordings, error(status, code, form));
        scene.zoom().clear_requests();
        backfill(&scene, "alice", 200).await;
        assert_eq!(scene.requests(LIST), 1, "{case}: the error ends the job");
        backfill(&scene, "alice", 1).await;
        for user in ["alice", "bob"] {
            assert_eq!(scene.issue(user).await, issue, "{case}");
            // The second failure changes nothing.
            scene.assert_notified(user, [("activated", 1), ("issue", 1)]).await;
            let published = scene.published(user, "link.issue").await;
            assert_eq!(published[0]["link"]["issue"], issue, "{case}");
            scene.assert_status(user, &["active"]).await;
        }
        let results = scene.published("alice", "backfill.completed").await;
        assert_eq!(results.len(), 2, "{case}");
        assert!(results.iter().all(|result| result["complete"] == false), "{case}");
        assert_eq!(scene.dead_jobs().await, [""; 0], "{case}");
        assert_eq!(scene.seen("alice").await, uuids([&stored]), "{case}");

        scene.zoom().clear_faults(Some(fault));
        backfill(&scene, "alice", 1).await;
        assert_eq!(scene.issue("bob").await, Value::Null, "{case}");
        scene.assert_notified("bob", [("activated", 1), ("issue", 2)]).await;
    }
}

#[tokio::test]
async fn case_03_short_list_is_read_again() {
    let scene = Scene::linked(&["alice"]).await;
    let recordings = [1, 2, 3].map(|age| unannounced(&scene, days(age)));
    scene.zoom().clear_requests();
    scene.fail_next(Point::ListRecordings, Fault::OmitMeetings { count: 1 }, 1);
    backfill(&scene, "alice", 10).await;
    assert_eq!(scene.seen("alice").await, uuids(&recordings));
    assert_eq!(scene.completed("alice").await, (3, 3, true));
    assert_eq!(scene.requests(LIST), 2);
}

#[tokio::test]
async fn case_03_persistently_short_list_is_reported() {
    let scene = Scene::linked(&["alice"]).await;
    let recordings = [1, 40, 41].map(|age| unannounced(&scene, days(age)));
    let short = NewFault::always(Point::ListRecordings, Fault::OmitMeetings { count: 1 });
    scene.zoom().arm(short).unwrap();
    backfill(&scene, "alice", 50).await;
    // Each list omits one recording, and all others are found.
    assert_eq!(scene.seen("alice").await, uuids([&recordings[1]]));
    assert_eq!(scene.completed("alice").await, (1, 1, false));
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn case_03_incomplete_window_delays_no_other() {
    let scene = Scene::linked(&["alice"]).await;
    let recordings = [1, 2, 40].map(|age| unannounced(&scene, days(age)));
    // All readings of the newest window's first job, and none later.
    scene.fail_next(Point::ListRecordings, Fault::OmitMeetings { count: 1 }, 3);
    backfill(&scene, "alice", 50).await;
    assert_eq!(scene.seen("alice").await, uuids(&recordings));
    assert_eq!(scene.completed("alice").await, (3, 3, true));
}

#[tokio::test]
async fn case_04_repeated_page_token_ends_the_reading() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = unannounced(&scene, days(1));
    scene.zoom().clear_requests();
    let fault = scene.fail(Point::ListRecordings, Fault::RepeatPageToken);
    backfill(&scene, "alice", 2).await;
    assert_eq!(scene.seen("alice").await, uuids([&recording]));
    assert_eq!(scene.completed("alice").await, (1, 1, false));
    // Two pages, three readings, and twelve deliveries.
    assert_eq!(scene.requests(LIST), 2 * 3 * 12);
    assert_eq!(scene.dead_jobs().await, [""; 0]);

    scene.zoom().clear_faults(Some(fault));
    scene.fail_next(Point::ListRecordings, Fault::RepeatPageToken, 2);
    backfill(&scene, "alice", 2).await;
    let results = scene.published("alice", "backfill.completed").await;
    let complete: Vec<_> = results.iter().map(|result| &result["complete"]).collect();
    assert_eq!(complete.len(), 2);
    assert!(complete.contains(&&json!(true)), "{results:?}");
}

#[tokio::test]
async fn case_05_last_day_is_read_if_to_is_exclusive() {
    let scene = Scene::with(&[("DownloadMode", "on-demand")]).await;
    scene.link("alice", ADA).await;
    scene.fail(Point::ListRecordings, Fault::ExclusiveTo);
    // One recording on each day, also on the days that two windows share.
    let recordings: Vec<_> = (0..80).map(|age| unannounced(&scene, days(age))).collect();
    let day = |age: i64| (scene.app.now() - days(age)).strftime("%Y-%m-%d").to_string();
    let request = async |from: i64, to: i64| {
        let body = json!({"from": day(from), "to": day(to)}).to_string();
        assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
        scene.process_queues().await;
    };
    request(7, 7).await;
    assert_eq!(scene.seen("alice").await, uuids([&recordings[7]]));
    request(79, 0).await;
    assert_eq!(scene.seen("alice").await, uuids(&recordings));
    let results = scene.published("alice", "backfill.completed").await;
    let counted = results.iter().map(|result| result["recordings"].as_u64().unwrap());
    assert_eq!(counted.max(), Some(80), "shared days are counted once");
    assert!(results.iter().all(|result| result["complete"] == true));
}

#[tokio::test]
async fn backfill_reads_only_requested_days() {
    let scene = Scene::linked(&["alice"]).await;
    let [later, wanted, _earlier] = [6, 7, 8].map(|age| unannounced(&scene, days(age)));
    let day = wanted.start_time.strftime("%Y-%m-%d").to_string();
    let body = json!({"from": day, "to": day}).to_string();
    assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
    scene.process_queues().await;
    // `later` is on the list, because the window ends a day after `to`.
    assert_eq!(scene.seen("alice").await, uuids([&wanted]));
    assert_eq!(scene.fetch_count(&later.files[0].id), 0);
}

#[tokio::test]
async fn case_13_error_code_form_is_read_like_code() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = unannounced(&scene, days(1));
    let refreshes = scene.refreshes();
    for (status, code) in [(401, 401), (200, 124), (200, 401), (200, 300), (200, 503)] {
        scene.fail_next(Point::ListRecordings, error(status, code, ErrorForm::Result), 1);
    }
    backfill(&scene, "alice", 2).await;
    assert_eq!(scene.seen("alice").await, uuids([&recording]));
    assert!(scene.refreshes() > refreshes, "a rejected token was not refreshed");
    assert_eq!(scene.completed("alice").await, (1, 1, true));
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn case_25_unknown_user_is_verified_and_keeps_all() {
    let scene = Scene::linked(&["alice"]).await;
    let stored = scene.record(small(ADA)).await;
    let files = scene.stored_files().await.len();
    let missing = unannounced(&scene, days(1));
    // `users/me` knows the user, so the list is requested again later.
    scene.fail_next(Point::ListRecordings, error(404, 1001, ErrorForm::Api), 1);
    backfill(&scene, "alice", 2).await;
    assert_eq!(scene.seen("alice").await, uuids([&stored, &missing]));
    scene.assert_notified("alice", [("activated", 1)]).await;

    let faults = [Point::ListRecordings, Point::UsersMe]
        .map(|point| scene.fail(point, error(404, 1001, ErrorForm::Api)));
    backfill(&scene, "alice", 2).await;
    assert_eq!(scene.issue("alice").await, "zoom_user_not_found");
    scene.assert_notified("alice", [("activated", 1), ("issue", 1)]).await;
    scene.assert_status("alice", &["active"]).await;
    assert_eq!(scene.seen("alice").await, uuids([&stored, &missing]));
    assert_eq!(scene.stored_files().await.len(), files + 1);
    assert_eq!(scene.dead_jobs().await, [""; 0]);

    for fault in faults {
        scene.zoom().clear_faults(Some(fault));
    }
    backfill(&scene, "alice", 2).await;
    assert_eq!(scene.issue("alice").await, Value::Null);
}

#[tokio::test]
async fn refusal_of_the_list_that_stays_becomes_the_issue() {
    for (status, code, issue) in [
        (404, 1001, "zoom_user_not_found"),
        (404, 2300, "access_denied"),
        (401, 104, "access_denied"),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        let refusal = scene.fail(Point::ListRecordings, error(status, code, ErrorForm::Api));
        backfill(&scene, "alice", 2).await;
        assert_eq!(scene.issue("alice").await, issue, "{code}");
        assert_eq!(scene.dead_jobs().await, [""; 0], "{code}");
        scene.zoom().clear_faults(Some(refusal));
        backfill(&scene, "alice", 2).await;
        assert_eq!(scene.issue("alice").await, Value::Null, "{code}");
    }
}

#[tokio::test]
async fn rate_limited_backfill_waits_without_attempts() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = unannounced(&scene, days(1));
    let delayed = DelayedMessages::of(&scene, &scene.queues().jobs);
    scene.zoom().clear_requests();
    let limit = Fault::RateLimited { retry_after_seconds: Some(3_600) };
    scene.fail_next(Point::ListRecordings, limit, 1);
    backfill(&scene, "alice", 200).await;
    assert_eq!(scene.requests(LIST), 1);
    // Until the limit has passed, each message only continues in another one.
    for _ in 0..14 {
        let waiting = delayed.deliver(&scene).await;
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].seconds, 900);
        scene.process_queues().await;
    }
    assert_eq!(scene.requests(LIST), 1);
    scene.advance(SignedDuration::from_secs(3_601));
    delayed.deliver(&scene).await;
    scene.process_queues().await;
    assert_eq!(scene.seen("alice").await, uuids([&recording]));
    assert_eq!(scene.completed("alice").await, (1, 1, true));
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn interrupted_backfill_repeats_one_window() {
    let scene = Scene::with(&[("DownloadMode", "on-demand")]).await;
    scene.link("alice", ADA).await;
    let recordings: Vec<_> = (1..12).map(|n| unannounced(&scene, days(30 * n))).collect();
    scene.zoom().clear_requests();
    let failing = NewFault::times(Point::ListRecordings, Fault::Status { status: 500 }, 1);
    scene.zoom().arm(failing.skip_first(5)).unwrap();
    // The continuation message is lost once, after its window was read.
    let lost = reelay_embedded_aws::Fault::error(500, "InternalError");
    let body = json!({"from": recordings[10].start_time.strftime("%Y-%m-%d").to_string(),
        "to": scene.app.now().strftime("%Y-%m-%d").to_string()});
    let response = scene.app.post("/v1/backfill", "alice", body.to_string()).await;
    assert_eq!(response.status, 202);
    scene.faults().fail_next(Service::Sqs, "SendMessage", SDK_ATTEMPTS, lost);
    scene.process_queues().await;
    assert_eq!(scene.seen("alice").await, uuids(&recordings));
    assert_eq!(scene.completed("alice").await, (11, 11, true));
    // 331 days in windows of 27 days, one failed request, and one window that was read twice.
    assert_eq!(scene.requests(LIST), 13 + 1 + 1);
}

#[tokio::test]
async fn backfill_completes_after_last_zoom_user() {
    let scene = Scene::linked(&["alice"]).await;
    scene.link("alice", BEN).await;
    for zoom_user in [ADA, BEN] {
        let start_time = Some(scene.app.now() - days(10));
        let new = NewRecording { start_time, silent: true, ..small(zoom_user) };
        scene.zoom().create_recording(new).unwrap();
    }
    let limited = Fault::RateLimited { retry_after_seconds: Some(60) };
    let limited = NewFault::times(Point::ListRecordings, limited, 1).only_for(BEN);
    scene.zoom().arm(limited).unwrap();
    let delayed = DelayedMessages::of(&scene, &scene.queues().jobs);
    let today = scene.app.now().strftime("%Y-%m-%d").to_string();
    let from = (scene.app.now() - days(12)).strftime("%Y-%m-%d").to_string();
    let body = json!({"from": from, "to": today}).to_string();
    let response = scene.app.post("/v1/backfill", "alice", body).await.json();
    assert_eq!(response["status"], "accepted");
    scene.process_queues().await;
    assert_eq!(scene.published("alice", "backfill.completed").await, [] as [Value; 0]);

    scene.advance(SignedDuration::from_secs(61));
    for later in delayed.deliver(&scene).await {
        assert!(later.seconds >= 60);
    }
    // The invocation that ends the backfill fails before it publishes `backfill.completed`.
    let down = reelay_embedded_aws::Fault::error(500, "InternalError");
    scene.faults().fail_next(Service::Sqs, "SendMessage", SDK_ATTEMPTS, down);
    scene.process_queues().await;
    let published = scene.published("alice", "backfill.completed").await;
    assert_eq!(
        published,
        [json!({
            "app_user_id": "alice", "backfill_id": response["backfill_id"], "from": from,
            "to": today, "recordings": 2, "files": 2, "complete": true,
        })]
    );
    let left = scene.table_items(&scene.tables().links).await;
    assert!(!left.iter().any(|item| item.contains("backfill##")), "{left:?}");
}

#[tokio::test]
async fn backfill_without_active_link_is_rejected() {
    let scene = Scene::open().await;
    let body = json!({"from": "2026-01-01", "to": "2026-01-02"}).to_string();
    let request = async || scene.app.post("/v1/backfill", "alice", body.clone()).await;
    request().await.assert_problem(409, "no_active_link", "without a link");
    scene.consent(&mut scene.browser(), "alice", ADA).await;
    request().await.assert_problem(409, "no_active_link", "with a pending link");
    scene.link("alice", ADA).await;
    assert_eq!(request().await.status, 202);
    scene.process_queues().await;
    scene.advance(ACCESS_TOKEN_ENDS);
    scene.fail_next(Point::TokenRefresh, invalid_grant(), 1);
    scene.assert_refresh_finds_revocation().await;
    request().await.assert_problem(409, "no_active_link", "with an ended grant");
}

#[tokio::test]
async fn backfill_ends_with_its_link() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    unannounced(&scene, days(10));
    let today = scene.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": "2026-01-01", "to": today}).to_string();
    assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
    scene.disconnect_first("alice").await;
    scene.zoom().clear_requests();
    scene.settle().await;
    // Bob's link keeps the grant, but he requested no backfill.
    assert_eq!(scene.requests(LIST), 0);
    assert_eq!(scene.completed("alice").await, (0, 0, false));
    assert!(scene.seen("bob").await.is_empty());
}

#[tokio::test]
async fn backfill_ends_with_its_consent() {
    let scene = Scene::linked(&["alice"]).await;
    let old = unannounced(&scene, days(10));
    let today = scene.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": "2026-01-01", "to": today}).to_string();
    assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
    // The app user connects again before the job runs.
    let jobs = scene.take_messages(&scene.queues().jobs).await;
    scene.disconnect_first("alice").await;
    scene.settle().await;
    scene.advance(SignedDuration::from_mins(1));
    scene.link("alice", ADA).await;
    for job in jobs {
        scene.send_message(&scene.queues().jobs, &job).await;
    }
    scene.settle().await;
    assert!(scene.seen("alice").await.is_empty(), "{} was fetched", old.uuid);
    assert_eq!(scene.completed("alice").await, (0, 0, false));
}

#[tokio::test]
async fn details_of_a_meeting_that_no_link_covers_are_ignored() {
    let scene = Scene::linked(&["alice"]).await;
    for (age, expected) in [(days(10), 0), (days(1), 1)] {
        let recording = unannounced(&scene, age);
        let zoom_user = json!({"account_id": recording.account_id, "user_id": recording.host_id});
        let job = json!({
            "v": 1, "job": "read_details", "zoom_user": zoom_user, "meeting_uuid": recording.uuid,
        });
        scene.send_message(&scene.queues().jobs, &job.to_string()).await;
        scene.process_queues().await;
        assert_eq!(scene.seen("alice").await.len(), expected);
    }
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn activation_fetches_meeting_that_ended_in_window() {
    let scene = Scene::open().await;
    let new = |hours: i64, duration_minutes: u32| {
        let start_time = Some(scene.app.now() - SignedDuration::from_hours(hours));
        let new = NewRecording { start_time, silent: true, ..small(ADA) };
        let new = NewRecording { duration_minutes: Some(duration_minutes), ..new };
        scene.zoom().create_recording(new).unwrap().recording
    };
    let long = new(70, 25 * 60);
    new(100, 25 * 60);
    scene.link("alice", ADA).await;
    assert_eq!(scene.seen("alice").await, uuids([&long]));
}

#[tokio::test]
async fn activation_backfill_survives_crash_after_confirmation() {
    let scene = Scene::open().await;
    let missed = unannounced(&scene, SignedDuration::from_hours(10));
    let claim = scene.consent(&mut scene.browser(), "alice", ADA).await;
    let down = reelay_embedded_aws::Fault::error(500, "InternalError");
    scene.faults().fail_until_cleared(Service::Sqs, "SendMessageBatch", down);
    assert_eq!(scene.app.confirm("alice", &claim).await.status, 503);
    scene.faults().clear_all();
    scene.assert_status("alice", &["active"]).await;
    scene.process_queues().await;
    assert!(scene.seen("alice").await.is_empty());
    // The app does not confirm again: the maintenance run enqueues the pending job.
    scene.send_job(json!({"v": 1, "job": "run_maintenance"})).await;
    scene.settle().await;
    assert_eq!(scene.seen("alice").await, uuids([&missed]));
    assert!(scene.snapshot(ADA).await.jobs.is_empty());
}

#[tokio::test]
async fn revived_link_fetches_missed_recordings() {
    // Without reconciliation, which would also fetch the missed recordings.
    let scene = Scene::with(&[("ReconcileEveryHours", "0")]).await;
    scene.link("alice", ADA).await;
    scene.advance(days(10));
    scene.fail_next(Point::TokenRefresh, invalid_grant(), 1);
    scene.assert_refresh_finds_revocation().await;
    scene.advance(days(5));
    let missed = unannounced(&scene, days(4));
    unannounced(&scene, days(8));
    scene.grants().revive(&scene.zoom_user(ADA)).await.unwrap();
    // The instance that revived the grant enqueued nothing.
    scene.send_job(json!({"v": 1, "job": "run_maintenance"})).await;
    scene.settle().await;
    scene.assert_status("alice", &["active"]).await;
    assert_eq!(scene.seen("alice").await, uuids([&missed]));
}

#[tokio::test]
async fn reconnecting_ends_an_issue() {
    let scene = Scene::with(&[("ReconcileEveryHours", "0")]).await;
    scene.link("alice", ADA).await;
    let fault = scene.fail(Point::ListRecordings, error(400, 4711, ErrorForm::Api));
    let missed = unannounced(&scene, days(1));
    backfill(&scene, "alice", 3).await;
    assert_eq!(scene.issue("alice").await, "scope_missing");
    scene.zoom().clear_faults(Some(fault));
    scene.link("alice", ADA).await;
    scene.settle().await;
    assert_eq!(scene.issue("alice").await, Value::Null);
    assert_eq!(scene.seen("alice").await, uuids([&missed]));
}

#[tokio::test]
async fn list_does_not_restart_the_attempts_of_a_waiting_file() {
    let scene = Scene::linked(&["alice"]).await;
    scene.fail(Point::Download, Fault::Status { status: 404 });
    let recording = scene.record(small(ADA)).await;
    scene.pass(SignedDuration::from_hours(3)).await;
    let before = scene.first_file(&recording).await;
    assert_eq!(before["reason"], "not_found");
    backfill(&scene, "alice", 1).await;
    let after = scene.first_file(&recording).await;
    assert_eq!(after["attempts"], before["attempts"]);
    assert_eq!(after["next_attempt_at"], before["next_attempt_at"]);
}
