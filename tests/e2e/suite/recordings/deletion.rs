//! Recordings that the app deletes, and recordings that expire.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{Fault, NewFile, NewRecording, Point, Recording};
use reqwest::Method;
use serde_json::json;
use support::app::ApiResponse;
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::recordings::{folder, recording_id, recording_path};
use support::zoom_users::ADA;
use support::{SDK_ATTEMPTS, System};

use super::{counts, kinds};

const DAY: SignedDuration = SignedDuration::from_hours(24);

async fn delete(system: &System, user: &str, recording: &Recording) -> ApiResponse {
    system.app.call(Method::DELETE, &recording_path(recording), user).await
}

fn two_files() -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 700), NewFile::new("M4A", 300)])
}

#[tokio::test]
async fn deleted_recording_never_comes_back() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let kept = system.record(two_files()).await;
    let deleted = system.record(two_files()).await;
    let response = delete(&system, "alice", &deleted).await;
    assert_eq!((response.status, &*response.body), (204, ""));

    let assert_gone = async || {
        let path = recording_path(&deleted);
        system.app.get(&path, "alice").await.assert_problem(404, "recording_not_found", "get");
        delete(&system, "alice", &deleted).await.assert_problem(
            404,
            "recording_not_found",
            "again",
        );
        assert_eq!(system.app.recordings("alice").await.len(), 1);
        assert_eq!(system.objects(&folder(&deleted)).await.len(), 0);
    };
    system.process_queues().await;
    assert_gone().await;
    system.assert_bucket_holds(&[&kept]).await;

    // Neither another event, nor a backfill, nor a reconciliation, nor a new consent brings it back.
    let transcript = system.add_transcript(&deleted).await;
    system.await_deliveries(&transcript).await;
    system.process_queues().await;
    let today = system.app.now().to_string()[..10].to_owned();
    let body = json!({"from": today, "to": today}).to_string();
    assert_eq!(system.app.post("/v1/backfill", "alice", body).await.status, 202);
    system.process_queues().await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    system.link("alice", ADA).await;
    system.maintain_after(DAY * 2).await;
    assert_gone().await;
    let feed = system.app.get("/v1/notifications?limit=100", "alice").await.body;
    assert!(feed.contains(&recording_id(&kept)), "{feed}");
    assert!(!feed.contains(&recording_id(&deleted)), "{feed}");
}

#[tokio::test]
async fn deleting_stops_a_running_transfer() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    // One part: nothing of the file is written before the whole file is there.
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 4 * 1024 * 1024)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", new).await;
    system.fail(Point::Content, Fault::Stall { after: 1024 });
    let deleting = async {
        while system.requests("/ssrweb/") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(delete(&system, "alice", &recording).await.status, 204);
    };
    let (outcome, ()) = tokio::join!(downloader.deliver("m", LONG_INVOCATION), deleting);
    assert_eq!(outcome, Outcome::Done);
    system.zoom().clear_faults(None);
    system.process_queues().await;
    assert_eq!(system.objects("recordings/").await.len(), 0);
    assert_eq!(system.requests("/ssrweb/"), 1);
}

#[tokio::test]
async fn deleting_removes_an_unfinished_upload() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 20 * 1024 * 1024)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", new).await;
    downloader.kill_in_upload(&system, "killed").await;
    assert_eq!(system.open_uploads().await, 1);
    assert_eq!(delete(&system, "alice", &recording).await.status, 204);
    system.process_queues().await;
    assert_eq!(system.open_uploads().await, 0);
    assert_eq!(system.objects("recordings/").await.len(), 0);
}

#[tokio::test]
async fn shared_recording_is_not_deleted() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("bob", ADA).await;
    let recording = system.record(two_files()).await;
    delete(&system, "alice", &recording).await.assert_problem(409, "recording_shared", "alice");
    assert_eq!(system.view("bob", &recording).await["status"], "stored");
    system.app.disconnect_all("bob").await;
    assert_eq!(delete(&system, "alice", &recording).await.status, 204);
}

#[tokio::test]
async fn only_copy_is_deleted_on_request_alone() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let recording = system.record(two_files()).await;
    let table = &system.tables().recordings;
    system
        .sdk()
        .dynamodb()
        .update_item()
        .table_name(table)
        .key("zoom_user", AttributeValue::S(format!("Acct_Northwind00000001#{ADA}")))
        .key("entry", AttributeValue::S(format!("rec#{}", recording_id(&recording))))
        .update_expression("SET trashed_by_reelay = :yes, zoom_state = :trashed")
        .expression_attribute_values(":yes", AttributeValue::Bool(true))
        .expression_attribute_values(":trashed", AttributeValue::S("trashed".into()))
        .send()
        .await
        .unwrap();
    delete(&system, "alice", &recording).await.assert_problem(409, "only_copy", "without");
    let path = recording_path(&recording);
    let delete = async |query: &str| {
        system.app.call(Method::DELETE, &format!("{path}?{query}"), "alice").await
    };
    delete("only_copy=yes").await.assert_problem(400, "request_invalid", "yes");
    assert_eq!(delete("only_copy=true").await.status, 204);
}

#[tokio::test]
async fn recordings_expire_after_retention() {
    let system = System::with(&[("RetentionDays", "2")]).await;
    system.link("alice", ADA).await;
    let recording = system.record(two_files()).await;
    system.assert_stored(&recording, "stored").await;
    system.maintain_after(DAY).await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");

    system.maintain_after(DAY * 3).await;
    let expired = system.view("alice", &recording).await;
    assert_eq!(expired["status"], "expired");
    for file in expired["files"].as_array().unwrap() {
        assert_eq!((&file["status"], &file["key"]), (&json!("expired"), &json!(null)));
    }
    assert_eq!(system.objects("recordings/").await.len(), 0);

    // Reconciliations have run since; only the app's request fetches it again.
    system.request_download(&recording).await;
    system.process_queues().await;
    system.assert_stored(&recording, "requested").await;
    // The app is notified again.
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 4), ("stored", 2)])
    );
    system.maintain_after(DAY * 4).await;
    assert_eq!(system.view("alice", &recording).await["status"], "expired");
}

#[tokio::test]
async fn failed_write_leaves_no_manifest_of_expired_files() {
    let system = System::with(&[("RetentionDays", "2")]).await;
    system.link("alice", ADA).await;
    let one_file = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 700)]);
    let recording = system.record(one_file).await;
    let failed = AwsFault::error(500, "InternalError");
    system.faults().fail_next(Service::S3, "DeleteObject", SDK_ATTEMPTS, failed);
    system.maintain_after(DAY * 4).await;
    assert_eq!(system.view("alice", &recording).await["status"], "expired");
    assert_eq!(system.objects("recordings/").await.len(), 1, "the manifest is left");
    system.maintain_after(SignedDuration::from_hours(1)).await;
    assert_eq!(system.objects("recordings/").await.len(), 0);
}
