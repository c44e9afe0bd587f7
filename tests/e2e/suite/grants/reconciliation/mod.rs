//! Reconciliation: recordings without an event are fetched and reported.

mod attempts;
mod differences;
mod refusals;

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::Recording;
use serde_json::{Value, json};
use support::recordings::recording_id;
use support::zoom_users::ADA;

use super::{Scene, small, unannounced};

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

    /// The changes of the notifications, sorted.
    async fn notified_changes(&self) -> Vec<String> {
        let notified = self.notified_recordings("recording.changed").await.into_iter();
        let mut changes: Vec<_> =
            notified.map(|data| data["change"].as_str().unwrap().to_owned()).collect();
        changes.sort();
        changes
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
