//! Zoom's list of recordings: incomplete lists, and errors that concern one user.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_zoom_sim::{ErrorForm, Fault, NewFault, NewRecording, Point, Recording};
use serde_json::{Value, json};
use support::zoom_users::ADA;

use super::{Scene, backfill, small, unannounced};

pub(super) const LIST: &str = "/users/me/recordings";

pub(super) fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

pub(super) fn error(status: u16, code: u32, form: ErrorForm) -> Fault {
    Fault::ErrorCode { status, code, form }
}

pub(super) fn uuids<'a>(recordings: impl IntoIterator<Item = &'a Recording>) -> BTreeSet<String> {
    recordings.into_iter().map(|recording| recording.uuid.clone()).collect()
}

impl Scene {
    /// The meeting UUIDs that the app user sees.
    pub(super) async fn seen(&self, app_user: &str) -> BTreeSet<String> {
        let recordings = self.app.recordings(app_user).await;
        let uuids = recordings.iter().map(|it| it["meeting_uuid"].as_str().unwrap().to_owned());
        uuids.collect()
    }

    pub(super) async fn issue(&self, app_user: &str) -> Value {
        self.app.links(app_user).await[0]["issue"].clone()
    }

    /// The `data` of each distinct notification of this type to the app user.
    pub(super) async fn published(&self, app_user: &str, kind: &str) -> Vec<Value> {
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
