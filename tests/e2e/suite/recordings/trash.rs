//! `TrashAtZoomAfterDays`: Zoom's copy is moved to the trash once everything is stored, and only then.

use jiff::SignedDuration;
use reelay_zoom_sim::{
    ErrorForm, Fault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection,
};
use serde_json::{Value, json};
use support::System;
use support::recordings::object_key;
use support::zoom_users::ADA;

const DAY: SignedDuration = SignedDuration::from_hours(24);

async fn linked(parameters: &[(&str, &str)]) -> System {
    let trash = [("TrashAtZoomAfterDays", "7"), ("AppWebhookUrl", "")];
    let system = System::with(&[&trash, parameters].concat()).await;
    system.link("alice", ADA).await;
    system
}

async fn stored(system: &System) -> Recording {
    let files = vec![NewFile::new("MP4", 700), NewFile::new("M4A", 300)];
    system.record(NewRecording::of(ADA).with_files(files)).await
}

/// The changes in the app's notifications.
async fn changes(system: &System) -> Vec<String> {
    system.advance(SignedDuration::from_mins(1));
    let feed = system.app.get("/v1/notifications?limit=100", "alice").await.json();
    let notifications = feed["notifications"].as_array().unwrap().clone();
    let change = |it: Value| it["data"]["change"].as_str().map(str::to_owned);
    notifications.into_iter().filter_map(change).collect()
}

fn trash_requests(system: &System) -> usize {
    let requests = system.zoom().requests();
    requests.iter().filter(|it| it.method == "DELETE" && it.path.contains("/meetings/")).count()
}

#[tokio::test]
async fn complete_copy_is_moved_to_the_trash() {
    let system = linked(&[("RetentionDays", "10")]).await;
    let recording = stored(&system).await;
    system.maintain_after(DAY * 6).await;
    assert_eq!(trash_requests(&system), 0);
    system.maintain_after(DAY * 2).await;
    assert_eq!(trash_requests(&system), 1);
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "trashed");
    // Zoom's event and Reelay's own observation are one notification.
    assert_eq!(changes(&system).await, ["trashed_by_reelay"]);

    // The only copy does not expire.
    system.maintain_after(DAY * 8).await;
    system.assert_bucket_holds(&[&recording]).await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");

    // A user who restores Zoom's copy wants to keep it.
    let selection = Selection::default();
    let recovered =
        system.zoom().change_recording(&recording.key, RecordingChange::Recover, &selection);
    system.await_deliveries(&recovered.unwrap()).await;
    system.process_queues().await;
    system.maintain_after(DAY * 10).await;
    assert_eq!(trash_requests(&system), 1);
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "present");
    // It is no longer the only copy.
    let path = support::recordings::recording_path(&recording);
    let deleted = system.app.call(reqwest::Method::DELETE, &path, "alice").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
}

#[tokio::test]
async fn incomplete_copy_is_kept_at_zoom() {
    let system = linked(&[("FileTypes", "MP4,M4A")]).await;
    let skipped =
        NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 9), NewFile::new("CHAT", 9)]);
    system.record(skipped).await;
    let with_missing_object = stored(&system).await;
    let key = object_key(&with_missing_object, &with_missing_object.files[0]);
    let s3 = system.sdk().s3();
    s3.delete_object().bucket(&system.config().bucket).key(key).send().await.unwrap();
    // Zoom has a file without an event.
    let with_more_files = stored(&system).await;
    system.zoom().set_webhook_url("http://127.0.0.1:9/");
    system.zoom().add_transcript(&with_more_files.key, None).unwrap();
    system.maintain_after(DAY * 9).await;
    assert_eq!(trash_requests(&system), 0);
    for recording in [&with_missing_object, &with_more_files] {
        assert_eq!(system.view("alice", recording).await["zoom_state"], "present");
    }
    assert_eq!(changes(&system).await, [""; 0]);
}

#[tokio::test]
async fn missing_scope_or_failed_request_keeps_the_copy_until_it_works() {
    let system = linked(&[]).await;
    let recording = stored(&system).await;
    let missing = Fault::ErrorCode { status: 400, code: 4711, form: ErrorForm::Api };
    let armed = system.fail(Point::TrashRecording, missing);
    system.maintain_after(DAY * 8).await;
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "present");
    assert_eq!(system.dead_letters().await, [""; 0]);
    system.zoom().clear_faults(Some(armed));
    // A failed job is repeated by a later check.
    system.fail_next(Point::TrashRecording, Fault::Status { status: 503 }, 1);
    system.maintain_after(DAY * 2).await;
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "present");
    system.maintain_after(DAY * 4).await;
    assert_eq!(system.view("alice", &recording).await["zoom_state"], "trashed");
    let path = support::recordings::recording_path(&recording);
    let response = system.app.call(reqwest::Method::DELETE, &path, "alice").await;
    response.assert_problem(409, "only_copy", "trashed by Reelay");
    let links = json!(system.app.links("alice").await);
    assert_eq!(links[0]["issue"], json!(null));
}

#[tokio::test]
async fn refused_trash_keeps_the_expiry() {
    let system = linked(&[("RetentionDays", "10")]).await;
    let recording = stored(&system).await;
    system.fail(Point::TrashRecording, Fault::Status { status: 403 });
    system.maintain_after(DAY * 8).await;
    assert!(trash_requests(&system) > 0);
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
    system.maintain_after(DAY * 5).await;
    assert_eq!(system.view("alice", &recording).await["status"], "expired");
    assert_eq!(system.objects("recordings/").await.len(), 0);
}

#[tokio::test]
async fn interrupted_trash_is_undone_while_the_copy_is_kept() {
    let system = linked(&[("RetentionDays", "10"), ("ReconcileEveryHours", "0")]).await;
    let recording = stored(&system).await;
    system.fail_next(Point::TrashRecording, Fault::Status { status: 503 }, 1);
    system.maintain_after(DAY * 8).await;
    // Zoom has a file without an event.
    system.zoom().set_webhook_url("http://127.0.0.1:9/");
    system.zoom().add_transcript(&recording.key, None).unwrap();
    system.maintain_after(DAY).await;
    system.maintain_after(DAY * 4).await;
    assert_eq!(system.view("alice", &recording).await["status"], "expired");
    let path = support::recordings::recording_path(&recording);
    let deleted = system.app.call(reqwest::Method::DELETE, &path, "alice").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
}

#[tokio::test]
async fn copy_restored_at_once_may_be_trashed_by_the_user() {
    let system = linked(&[]).await;
    let recording = stored(&system).await;
    system.maintain_after(DAY * 8).await;
    for change in [RecordingChange::Recover, RecordingChange::Trash] {
        system.advance(SignedDuration::from_mins(1));
        let changed = system.zoom().change_recording(&recording.key, change, &Selection::default());
        system.await_deliveries(&changed.unwrap()).await;
        system.process_queues().await;
    }
    assert_eq!(changes(&system).await, ["trashed_by_reelay", "recovered", "trashed"]);
}
