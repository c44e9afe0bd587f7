//! What the end of the last link ends: queued, running and continued transfers, and what they left.

use jiff::{SignedDuration, Timestamp};
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, Recording};
use reqwest::Method;
use serde_json::json;
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::recordings::{folder, recording_path};
use support::zoom_users::ADA;
use support::{MIB, System};

async fn on_demand() -> System {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    system
}

fn video(size: u64) -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", size)])
}

async fn disconnect(system: &System, app_user: &str) {
    for link in system.app.links(app_user).await {
        let path = format!("/v1/links/{}", link["id"].as_str().unwrap());
        assert_eq!(system.app.call(Method::DELETE, &path, app_user).await.status, 204);
    }
}

/// Runs the ending job for an end at this time, as its delayed messages do.
async fn end_transfers(system: &System, recording: &Recording, ended_at: Timestamp) {
    let zoom_user = json!({"account_id": recording.account_id, "user_id": recording.host_id});
    let job = json!({"v": 1, "job": "end_transfers", "zoom_user": zoom_user, "ended_at": ended_at});
    system.send_message(&system.queues().jobs, &job.to_string()).await;
    system.process_queues().await;
}

/// Asserts that nothing of a recording is left but its items without source.
async fn assert_removed(system: &System, recording: &Recording, case: &str) {
    assert_eq!(system.objects(&folder(recording)).await.len(), 0, "{case}");
    assert_eq!(system.open_uploads().await, 0, "{case}");
    let items = system.table_items(&system.tables().recordings).await;
    for left in ["\"source\": ", "\"upload\": ", "notification#"] {
        assert!(!items.iter().any(|item| item.contains(left)), "{case}: {left}");
    }
}

fn content_requests(system: &System) -> usize {
    system.zoom().requests().iter().filter(|r| r.path.starts_with("/ssrweb/")).count()
}

#[tokio::test]
async fn queued_file_is_not_fetched_after_disconnect() {
    let system = on_demand().await;
    let (downloader, recording) =
        Downloader::for_recording(&system, "alice", video(17 * MIB)).await;
    disconnect(&system, "alice").await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    assert_eq!(content_requests(&system), 0);
    system.process_queues().await;
    assert_removed(&system, &recording, "").await;
    assert_eq!(system.app.get(&recording_path(&recording), "alice").await.status, 404);
}

#[tokio::test]
async fn interrupted_transfer_ends_with_the_link() {
    for is_delivered in [true, false] {
        let case = format!("delivered again: {is_delivered}");
        let system = on_demand().await;
        let (downloader, recording) =
            Downloader::for_recording(&system, "alice", video(33 * MIB)).await;
        let rejected =
            NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(2);
        let armed = system.zoom().arm(rejected).unwrap();
        assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Retry, "{case}");
        system.zoom().clear_faults(Some(armed));
        assert_eq!(system.open_uploads().await, 1, "{case}");
        disconnect(&system, "alice").await;
        system.zoom().clear_requests();
        // The function removes what it left; for a killed one the ending job does.
        if is_delivered {
            assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done, "{case}");
            assert_eq!(system.open_uploads().await, 0, "{case}");
        }
        system.process_queues().await;
        assert_eq!(content_requests(&system), 0, "{case}");
        assert_removed(&system, &recording, &case).await;
    }
}

#[tokio::test]
async fn object_completed_after_the_end_is_removed() {
    for size in [MIB, 17 * MIB] {
        let system = on_demand().await;
        let (downloader, recording) =
            Downloader::for_recording(&system, "alice", video(size)).await;
        // The object is complete, and the write that says so fails.
        let completes = if size > 8 * MIB { "CompleteMultipartUpload" } else { "PutObject" };
        let lost = AwsFault::connection_closed().after_effect();
        system.faults().fail_until_cleared(Service::S3, completes, lost);
        assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Retry, "{size}");
        system.faults().clear_all();
        assert_eq!(system.objects(&folder(&recording)).await.len(), 1, "{size}");
        disconnect(&system, "alice").await;
        system.process_queues().await;
        assert_removed(&system, &recording, &size.to_string()).await;
    }
}

#[tokio::test]
async fn ending_job_keeps_what_was_stored_before() {
    let system = on_demand().await;
    let before_storing = system.stack.clock().now();
    let (downloader, recording) = Downloader::for_recording(&system, "alice", video(MIB)).await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.process_queues().await;
    system.advance(SignedDuration::from_secs(1));
    disconnect(&system, "alice").await;
    system.process_queues().await;
    system.assert_stored(&recording, "stored before the end").await;

    end_transfers(&system, &recording, before_storing).await;
    assert_removed(&system, &recording, "stored after the end").await;
}

#[tokio::test]
async fn ending_job_keeps_what_a_new_link_fetched() {
    let system = on_demand().await;
    let ended_at = system.stack.clock().now();
    disconnect(&system, "alice").await;
    system.process_queues().await;
    system.link("bob", ADA).await;
    let (downloader, recording) = Downloader::for_recording(&system, "bob", video(MIB)).await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    end_transfers(&system, &recording, ended_at).await;
    system.assert_stored(&recording, "").await;
    assert_eq!(system.view("bob", &recording).await["status"], "stored");
}

#[tokio::test]
async fn new_link_fetches_what_the_end_interrupted() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let failing = system.fail(Point::Content, Fault::Status { status: 418 });
    let recording = system.record(video(17 * MIB)).await;
    disconnect(&system, "alice").await;
    system.process_queues().await;
    assert_removed(&system, &recording, "").await;
    system.zoom().clear_faults(Some(failing));
    system.link("alice", ADA).await;
    system.assert_stored(&recording, "").await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
}

#[tokio::test]
async fn disconnect_keeps_transfers_of_another_link() {
    let system = on_demand().await;
    system.link("bob", ADA).await;
    let (downloader, recording) = Downloader::for_recording(&system, "bob", video(MIB)).await;
    disconnect(&system, "alice").await;
    system.process_queues().await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
}
