//! Reconciliation: recordings without an event are fetched and reported.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{
    ErrorForm, Fault, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection,
};
use serde_json::{Value, json};
use support::recordings::recording_id;
use support::zoom_users::ADA;

use super::{Scene, backfill, small, unannounced};

const LIST: &str = "/users/me/recordings";

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

impl Scene {
    /// Lets time pass, begins the runs that are due, and lets them end.
    async fn reconcile_after(&self, duration: SignedDuration) {
        self.maintain_after(duration).await;
        self.finish_runs().await;
    }

    /// Lets the runs read their lists, one a second.
    pub(super) async fn finish_runs(&self) {
        let url = format!("{}/_dev/clock", self.stack.url());
        let request = reqwest::Client::new().post(url).json(&json!({"advance_seconds": 60}));
        assert_eq!(request.send().await.unwrap().status(), 200);
        self.process_queues().await;
    }

    pub(super) async fn report(&self, app_user: &str) -> Value {
        let id = self.link_id(app_user).await;
        let path = format!("/v1/links/{}/reconciliation", id.as_str().unwrap());
        let response = self.app.get(&path, app_user).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// Differences of the last report: recording, file, reason.
    async fn differences(&self, app_user: &str) -> Vec<Value> {
        let report = self.report(app_user).await;
        let differences = report["differences"].as_array().unwrap().clone();
        assert_eq!(report["differences_total"], differences.len());
        differences
    }

    async fn notified_recordings(&self, kind: &str) -> Vec<Value> {
        let events = self.peek_messages(&self.bus).await;
        let events = events.iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
        let of_kind = events.filter(|event| event["detail"]["type"] == kind);
        of_kind.map(|event| event["detail"]["data"].clone()).collect()
    }

    fn queued(&self, recording: &Recording) -> usize {
        self.fetch_count(&recording.files[0].id)
    }
}

#[tokio::test]
async fn missed_recording_is_fetched_and_reported() {
    let scene = Scene::linked(&["alice"]).await;
    let before = scene.report("alice").await;
    assert_eq!((&before["reconciled_at"], &before["from"]), (&Value::Null, &Value::Null));
    assert!(before["next_at"].is_string(), "{before}");
    assert_eq!(scene.app.links("alice").await[0]["last_reconciled_at"], Value::Null);

    let announced = scene.record(small(ADA)).await;
    scene.advance(hours(5));
    let missed = unannounced(&scene, hours(1));
    scene.reconcile_after(hours(20)).await;
    scene.assert_stored(&missed, "missed").await;
    let report = scene.report("alice").await;
    assert_eq!(report["found_missing"], json!({"recordings": 1, "files": 1}), "{report}");
    assert_eq!(report["zoom"], json!({"recordings": 2, "files": 2, "bytes": 200}));
    assert_eq!(report["stored"], json!({"recordings": 1, "files": 1, "bytes": 100}));
    let difference = json!({
        "recording_id": recording_id(&missed), "file_id": null, "reason": "recording_missing",
    });
    assert_eq!(report["differences"], json!([difference]));
    assert_eq!(report["link_id"], scene.link_id("alice").await);
    let link = &scene.app.links("alice").await[0];
    assert!(link["last_reconciled_at"].is_string(), "{link}");

    // The next run finds no difference, and queues nothing.
    let fetched = (scene.queued(&announced), scene.queued(&missed));
    scene.reconcile_after(hours(25)).await;
    let report = scene.report("alice").await;
    assert_eq!(report["stored"], report["zoom"], "{report}");
    assert_eq!(report["differences"], json!([]));
    assert_eq!((scene.queued(&announced), scene.queued(&missed)), fetched);
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn odd_key_in_the_index_stops_no_reconciliation() {
    let scene = Scene::linked(&["alice"]).await;
    let odd = json!({
        "zoom_user": {"S": "odd"}, "entry": {"S": "odd"},
        "reconcile_shard": {"N": "0"}, "reconcile_at": {"N": "0"},
    });
    scene.stack.engines().import_items(&scene.tables().links, vec![odd]).unwrap();
    let missed = unannounced(&scene, hours(1));
    scene.reconcile_after(hours(25)).await;
    scene.assert_stored(&missed, "missed").await;
}

#[tokio::test]
async fn known_recordings_cost_no_event() {
    let scene = Scene::linked(&["alice"]).await;
    for _ in 0..3 {
        scene.record(small(ADA)).await;
    }
    scene.reconcile_after(hours(25)).await;
    scene.zoom().clear_requests();
    let sent = scene.faults().calls(Service::Sqs, "SendMessageBatch");
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.faults().calls(Service::Sqs, "SendMessageBatch"), sent);
    // Two lists: one window, because the link is new, and the trash.
    assert_eq!(scene.requests(LIST), 2);
    assert_eq!(scene.requests("/v2/meetings/"), 0);
}

#[tokio::test]
async fn recordings_without_consent_are_not_fetched() {
    let scene = Scene::open().await;
    unannounced(&scene, hours(24 * 10));
    scene.link("alice", ADA).await;
    scene.advance(hours(24));
    scene.disconnect_first("alice").await;
    scene.settle().await;
    scene.advance(hours(24));
    // A recording between a disconnect and a new link.
    unannounced(&scene, hours(1));
    scene.advance(hours(24 * 10));
    scene.link("alice", ADA).await;
    assert_eq!(scene.report("alice").await["reconciled_at"], Value::Null);
    for _ in 0..3 {
        scene.reconcile_after(hours(25)).await;
    }
    let report = scene.report("alice").await;
    assert!(report["reconciled_at"].is_string(), "{report}");
    assert_eq!(report["zoom"]["recordings"], 0, "{report}");
    assert!(scene.app.recordings("alice").await.is_empty());
}

#[tokio::test]
async fn backfilled_days_are_reconciled() {
    let scene = Scene::linked(&["alice"]).await;
    let day = |age: i64| (scene.app.now() - hours(24 * age)).strftime("%Y-%m-%d").to_string();
    let body = json!({"from": day(100), "to": day(90)}).to_string();
    assert_eq!(scene.app.post("/v1/backfill", "alice", body).await.status, 202);
    scene.process_queues().await;
    let inside = unannounced(&scene, hours(24 * 95));
    let outside = unannounced(&scene, hours(24 * 80));
    // Three older months, one a run.
    for _ in 0..4 {
        scene.reconcile_after(hours(25)).await;
    }
    scene.assert_stored(&inside, "inside").await;
    assert_eq!(scene.queued(&outside), 0);
}

#[tokio::test]
async fn changes_without_event_are_notified() {
    let scene = Scene::linked(&["alice"]).await;
    let [renamed, trashed] = [scene.record(small(ADA)).await, scene.record(small(ADA)).await];
    let silent = Selection { silent: true, ..Selection::default() };
    scene.zoom().rename(&renamed.key, "Another topic", &silent).unwrap();
    let change = |change| scene.zoom().change_recording(&trashed.key, change, &silent).unwrap();
    change(RecordingChange::Trash);
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &renamed).await["topic"], "Another topic");
    assert_eq!(scene.view("alice", &trashed).await["zoom_state"], "trashed");
    let reasons: Vec<_> =
        scene.differences("alice").await.iter().map(|it| it["reason"].clone()).collect();
    assert_eq!(reasons, ["topic", "state"]);

    change(RecordingChange::Recover);
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &trashed).await["zoom_state"], "present");
    let mut changes: Vec<_> = scene
        .notified_recordings("recording.changed")
        .await
        .iter()
        .map(|data| data["change"].as_str().unwrap().to_owned())
        .collect();
    changes.sort();
    assert_eq!(changes, ["recovered", "renamed", "trashed"]);
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.differences("alice").await, [] as [Value; 0]);
}

#[tokio::test]
async fn late_file_is_fetched() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    let url = scene.zoom().settings().webhook_url;
    scene.zoom().change_settings(|config| config.webhook_url = None);
    let late = scene.zoom().add_transcript(&recording.key, None).unwrap().recording;
    scene.zoom().change_settings(|config| config.webhook_url = url);
    scene.reconcile_after(hours(25)).await;
    let difference = json!({
        "recording_id": recording_id(&recording), "file_id": late.files[1].id,
        "reason": "file_missing",
    });
    assert_eq!(scene.differences("alice").await, [difference]);
    scene.assert_stored(&recording, "with transcript").await;
    assert_eq!(scene.queued(&recording), 1);
}

#[tokio::test]
async fn late_file_is_fetched_after_an_account_change() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    // Older than what the move reads from Zoom's list.
    scene.advance(hours(5 * 24));
    scene.zoom().move_user(ADA, "AcctElsewhere000000001").unwrap();
    scene.record(small(ADA)).await;
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &recording).await["files"].as_array().unwrap().len(), 1);
    scene.zoom().change_settings(|config| config.webhooks_enabled = false);
    scene.zoom().add_transcript(&recording.key, None).unwrap();
    scene.reconcile_after(hours(25)).await;
    let seen = scene.view("alice", &recording).await;
    assert_eq!((&seen["status"], seen["files"].as_array().unwrap().len()), (&json!("stored"), 2));
    assert_eq!(scene.dead_jobs().await, [""; 0]);
    // Each notification about the later copy is newer than those about the first one.
    let sequences = async |kind| {
        let notified = scene.notified_recordings(kind).await.into_iter();
        let about = notified.filter(|data| data["recording"]["meeting_uuid"] == recording.uuid);
        about.map(|data| data["sequence"].as_u64().unwrap()).collect::<BTreeSet<_>>()
    };
    let (detected, stored) =
        (sequences("recording.detected").await, sequences("recording.stored").await);
    assert!(detected.last() > stored.first(), "{detected:?} {stored:?}");
}

#[tokio::test]
async fn recovery_is_found_after_an_account_change() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    let selection = Selection::default();
    let zoom = scene.zoom();
    zoom.change_recording(&recording.key, RecordingChange::Trash, &selection).unwrap();
    scene.settle().await;
    scene.advance(hours(5 * 24));
    zoom.move_user(ADA, "AcctElsewhere000000001").unwrap();
    scene.record(small(ADA)).await;
    let silent = Selection { silent: true, ..Selection::default() };
    zoom.change_recording(&recording.key, RecordingChange::Recover, &silent).unwrap();
    scene.reconcile_after(hours(25)).await;
    let seen = scene.view("alice", &recording).await;
    assert_eq!((&seen["status"], &seen["zoom_state"]), (&json!("stored"), &json!("present")));
}

#[tokio::test]
async fn failed_file_gets_one_attempt_after_growing_pauses() {
    let scene = Scene::with(&[("RetryDays", "1")]).await;
    scene.link("alice", ADA).await;
    let gone = scene.fail(Point::Download, Fault::Status { status: 410 });
    let recording = scene.record(small(ADA)).await;
    assert_eq!(scene.first_file(&recording).await["reason"], "gone");
    let attempts = async || scene.first_file(&recording).await["attempts"].as_u64().unwrap();
    let mut tries = vec![attempts().await];
    let mut run = async || {
        scene.reconcile_after(hours(25)).await;
        tries.push(attempts().await);
        assert_eq!(scene.first_file(&recording).await["status"], "failed");
    };
    for _ in 0..4 {
        run().await;
    }
    assert_eq!(scene.notified_recordings("recording.failed").await.len(), 1);
    // The app is notified of another reason.
    scene.zoom().clear_faults(Some(gone));
    scene.fail(Point::Download, Fault::Status { status: 401 });
    for _ in 0..4 {
        run().await;
    }
    // After one day, two, and four.
    let granted: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(granted, [1, 0, 1, 0, 0, 0, 1, 0]);
    let failed = scene.notified_recordings("recording.failed").await;
    let reasons: Vec<_> = failed.iter().map(|data| data["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["gone", "token_refused"]);
}

#[tokio::test]
async fn granted_attempt_stores_the_file() {
    let scene = Scene::linked(&["alice"]).await;
    let gone = scene.fail(Point::Download, Fault::Status { status: 410 });
    let recording = scene.record(small(ADA)).await;
    assert_eq!(scene.first_file(&recording).await["status"], "failed");
    scene.zoom().clear_faults(Some(gone));
    scene.reconcile_after(hours(25)).await;
    scene.assert_stored(&recording, "granted").await;
    assert_eq!(scene.differences("alice").await[0]["reason"], "gone");
    assert_eq!(scene.notified_recordings("recording.stored").await.len(), 1);
}

#[tokio::test]
async fn granted_attempts_store_a_file_whose_size_stays_different() {
    let scene = Scene::with(&[("RetryDays", "1")]).await;
    scene.link("alice", ADA).await;
    let outage = scene.fail(Point::Download, Fault::Status { status: 410 });
    let odd = NewFile { declared_size: Some(107), ..NewFile::new("MP4", 100) };
    let recording = scene.record(NewRecording::of(ADA).with_files(vec![odd])).await;
    assert_eq!(scene.first_file(&recording).await["reason"], "gone");
    scene.zoom().clear_faults(Some(outage));
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.first_file(&recording).await["reason"], "length_differs");
    for _ in 0..2 {
        scene.reconcile_after(hours(25)).await;
    }
    scene.assert_stored(&recording, "at the second attempt").await;
}

#[tokio::test]
async fn error_about_one_user_becomes_an_issue() {
    let scene = Scene::linked(&["alice"]).await;
    let fault = scene.fail(
        Point::ListRecordings,
        Fault::ErrorCode { status: 400, code: 200, form: ErrorForm::Api },
    );
    for _ in 0..3 {
        scene.reconcile_after(hours(25)).await;
    }
    assert_eq!(scene.app.links("alice").await[0]["issue"], "plan_without_cloud_recording");
    let report = scene.report("alice").await;
    assert_eq!(report["reconciled_at"], Value::Null);
    // The alarm about grants that are not reconciled counts runs that are overdue.
    let next_at: Timestamp = report["next_at"].as_str().unwrap().parse().unwrap();
    assert!(next_at > scene.app.now(), "{report}");
    scene.zoom().clear_faults(Some(fault));
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.app.links("alice").await[0]["issue"], Value::Null);
    assert!(scene.report("alice").await["reconciled_at"].is_string());
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn rate_limited_run_continues() {
    // Zoom may name a time that has passed.
    for retry_after_seconds in [5, 0] {
        let scene = Scene::linked(&["alice"]).await;
        let missed = unannounced(&scene, hours(1));
        let limit = Fault::RateLimited { retry_after_seconds: Some(retry_after_seconds) };
        let armed = scene.fail(Point::ListRecordings, limit);
        scene.zoom().clear_requests();
        scene.reconcile_after(hours(25)).await;
        let requests = scene.requests("/users/me/recordings");
        assert!((2..10).contains(&requests), "{requests} requests in a minute");
        scene.zoom().clear_faults(Some(armed));
        scene.finish_runs().await;
        scene.assert_stored(&missed, "missed").await;
        assert!(scene.report("alice").await["reconciled_at"].is_string());
    }
}

#[tokio::test]
async fn run_ends_although_lists_stay_short_or_the_trash_is_refused() {
    let refused = Fault::Status { status: 403 };
    for fault in [
        NewFault::always(Point::ListRecordings, Fault::OmitMeetings { count: 1 }),
        // The window is read before.
        NewFault::always(Point::ListRecordings, refused).skip_first(1),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        let recordings = [1, 2].map(|hour| unannounced(&scene, hours(hour)));
        scene.zoom().arm(fault).unwrap();
        scene.reconcile_after(hours(25)).await;
        assert!(scene.report("alice").await["reconciled_at"].is_string());
        assert_eq!(scene.app.links("alice").await[0]["issue"], Value::Null);
        assert_eq!(scene.dead_jobs().await, [""; 0]);
        scene.assert_stored(&recordings[0], "").await;
    }
}

#[tokio::test]
async fn changes_that_a_backfill_finds_are_notified() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    let silent = Selection { silent: true, ..Selection::default() };
    let zoom = scene.zoom();
    zoom.change_recording(&recording.key, RecordingChange::Trash, &Selection::default()).unwrap();
    scene.settle().await;
    zoom.change_recording(&recording.key, RecordingChange::Recover, &silent).unwrap();
    zoom.rename(&recording.key, "Another topic", &silent).unwrap();
    scene.advance(hours(1));
    backfill(&scene, "alice", 2).await;
    let mut changes: Vec<_> = scene
        .notified_recordings("recording.changed")
        .await
        .iter()
        .map(|data| data["change"].as_str().unwrap().to_owned())
        .collect();
    changes.sort();
    assert_eq!(changes, ["recovered", "renamed", "trashed"]);
    let manifest = scene.manifest(&recording).await;
    assert_eq!(manifest["recording"]["topic"], "Another topic");
}

#[tokio::test]
async fn missing_events_become_an_issue_until_one_arrives() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(hours(2));
    for _ in 0..3 {
        unannounced(&scene, SignedDuration::from_mins(40));
        scene.advance(hours(1));
    }
    scene.reconcile_after(hours(24)).await;
    scene.reconcile_after(hours(25)).await;
    let issue = async || scene.app.links("alice").await[0]["issue"].clone();
    assert_eq!(issue().await, "events_not_arriving");
    scene.assert_notified("alice", [("activated", 1), ("issue", 1)]).await;
    // A successful listing alone proves nothing about events.
    backfill(&scene, "alice", 2).await;
    assert_eq!(issue().await, "events_not_arriving");
    scene.record(small(ADA)).await;
    assert_eq!(issue().await, Value::Null);
    scene.assert_notified("alice", [("activated", 1), ("issue", 2)]).await;
}

#[tokio::test]
async fn report_of_another_user_is_not_found() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.link_id("alice").await;
    for (path, user) in [
        (format!("/v1/links/{}/reconciliation", id.as_str().unwrap()), "mallory"),
        ("/v1/links/x/reconciliation".to_owned(), "alice"),
    ] {
        scene.app.get(&path, user).await.assert_problem(404, "link_not_found", &path);
    }
}

#[tokio::test]
async fn zero_hours_disable_the_schedule() {
    let scene = Scene::with(&[("ReconcileEveryHours", "0")]).await;
    scene.link("alice", ADA).await;
    scene.zoom().clear_requests();
    scene.reconcile_after(hours(24 * 30)).await;
    assert_eq!(scene.requests(LIST), 0);
    assert_eq!(scene.report("alice").await["next_at"], Value::Null);
}

#[tokio::test]
async fn schedule_ends_with_the_grant() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.record(small(ADA)).await;
    scene.reconcile_after(hours(25)).await;
    let left = scene.table_items(&scene.tables().links).await;
    assert!(left.iter().any(|item| item.contains("reconciliation##")), "{left:?}");
    scene.disconnect_first("alice").await;
    scene.settle().await;
    scene.reconcile_after(hours(24 * 8)).await;
    let left = scene.table_items(&scene.tables().links).await;
    assert!(!left.iter().any(|item| item.contains("reconciliation##")), "{left:?}");
    assert_eq!(scene.queued(&recording), 1);
}

#[tokio::test]
async fn participant_audio_of_the_details_is_stored_before_recording_stored() {
    let scene = Scene::linked(&["alice"]).await;
    let start_time = Some(scene.app.now() - hours(24 * 5));
    let new = NewRecording { participant_audio: 2, start_time, silent: true, ..small(ADA) };
    let recording = scene.zoom().create_recording(new).unwrap().recording;
    backfill(&scene, "alice", 10).await;
    scene.assert_stored(&recording, "audio").await;
    let stored = scene.notified_recordings("recording.stored").await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0]["recording"]["files"].as_array().unwrap().len(), 3);
    // The list shows only the video, and the count of all.
    scene.zoom().clear_requests();
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.differences("alice").await, [] as [Value; 0]);
    assert_eq!(scene.requests("/v2/meetings/"), 0);
}

#[tokio::test]
async fn processing_file_of_the_list_is_read_from_details() {
    let scene = Scene::linked(&["alice"]).await;
    let processing = NewFile { status: Some("processing".into()), ..NewFile::new("MP4", 400) };
    let start_time = Some(scene.app.now() - hours(24 * 5));
    let new = NewRecording { start_time, silent: true, ..NewRecording::of(ADA) };
    let recording = scene.zoom().create_recording(new.with_files(vec![processing])).unwrap();
    scene.zoom().clear_requests();
    backfill(&scene, "alice", 10).await;
    assert!(scene.requests("/v2/meetings/") > 0);
    let seen = scene.view("alice", &recording.recording).await;
    assert_eq!(seen["files"].as_array().unwrap().len(), 1, "{seen}");
}

#[tokio::test]
async fn erasure_removes_the_report() {
    let scene = Scene::with(&[("EraseAfterUnlinkDays", "0")]).await;
    scene.link("alice", ADA).await;
    scene.record(small(ADA)).await;
    scene.reconcile_after(hours(25)).await;
    assert!(scene.report("alice").await["reconciled_at"].is_string());
    let reports = async || {
        let items = scene.table_items(&scene.tables().links).await;
        items.iter().filter(|item| item.contains("reconciliation##")).count()
    };
    assert_eq!(reports().await, 1);
    scene.disconnect_first("alice").await;
    scene.settle().await;
    scene.run_maintenance().await;
    assert_eq!(reports().await, 0);
    assert!(scene.stored_files().await.is_empty());
}

#[tokio::test]
async fn lost_batch_change_is_reconciled() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = unannounced(&scene, hours(1));
    let silently = Selection { silent: true, ..Selection::default() };
    scene.zoom().change_recording(&recording.key, RecordingChange::Trash, &silently).unwrap();
    let secret = scene.webhook_secret();
    let batch = json!({
        "event": "recording.batch_trashed",
        "event_ts": scene.app.now().as_millisecond(),
        "payload": {
            "account_id": recording.account_id,
            "object": {"meeting_uuids": [recording.uuid]},
        },
    });
    let posted = scene.post_event("/zoom/webhook", batch.to_string().as_bytes(), &secret).await;
    assert_eq!(posted, 200);
    // The event names no host, and its meeting is not known in time.
    scene.advance(SignedDuration::from_mins(11));
    scene.process_queues().await;
    let file = &recording.files[0];
    let files = [(file.id.as_str(), "MP4", 100, "http://127.0.0.1:9/rec")];
    let (account, host) = (&recording.account_id, &recording.host_id);
    let late = support::zoom::completed_event(account, host, &recording.uuid, &files);
    assert_eq!(scene.post_event("/zoom/webhook", &late, &secret).await, 200);
    scene.process_queues().await;
    assert_eq!(scene.view("alice", &recording).await["zoom_state"], "present");
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.view("alice", &recording).await["zoom_state"], "trashed");
    assert_eq!(scene.dead_letters().await, [""; 0]);
}
