//! Maintenance of files without a message, of stored sources, and of orphaned uploads.

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_store::recordings::{DueCheck, RecordingTable};
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, Recording};
use serde_json::json;
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::recordings::{folder, video};
use support::zoom_users::ADA;
use support::{AppWebhook, MIB, System};

/// Without reconciliation, which reads Zoom's list and grants attempts.
const UNRECONCILED: (&str, &str) = ("ReconcileEveryHours", "0");

async fn advance_and_run_maintenance(system: &System, hours: i64) {
    system.maintain_after(SignedDuration::from_hours(hours)).await;
}

/// The number of recording items with an attribute.
async fn with_attribute(system: &System, name: &str) -> usize {
    let table = &system.tables().recordings;
    let items = system.table_items(table).await;
    let quoted = format!("{name:?}: ");
    items.iter().filter(|item| item.contains(&quoted)).count()
}

async fn assert_stored(
    system: &System,
    app_webhook: &AppWebhook,
    recording: &Recording,
    case: &str,
) {
    system.assert_stored(recording, case).await;
    let seen = system.view("alice", recording).await;
    assert_eq!(seen["status"], "stored", "{case}");
    assert_eq!(app_webhook.counts(recording)["recording.stored"], 1, "{case}");
    assert_eq!(with_attribute(system, "source").await, 0, "{case}");
}

#[tokio::test]
async fn file_with_purged_message_is_enqueued_again() {
    let (system, app_webhook) = System::linked("automatic").await;
    let armed = system.fail(Point::Download, Fault::Status { status: 500 });
    let recording = system.complete_recording(video(1_000)).await;
    // The first attempt failed; the next one waits in a delayed message.
    system.process_queues().await;
    system.zoom().clear_faults(Some(armed));
    let queue = &system.queues().downloads;
    let purge = system.sdk().sqs().purge_queue().queue_url(queue);
    purge.send().await.unwrap();
    assert_eq!(system.queue_depth(queue).await, 0);
    system.zoom().clear_requests();

    // The message may only be late.
    system.maintain_after(SignedDuration::from_mins(10)).await;
    assert_eq!(system.requests("/rec/"), 0);
    system.maintain_after(SignedDuration::from_mins(25)).await;
    assert_stored(&system, &app_webhook, &recording, "").await;
}

#[tokio::test]
async fn abandoned_file_is_enqueued_again_from_any_stage() {
    let (system, app_webhook) = System::linked("on-demand").await;
    for moment in [0, 4, 8, 12] {
        let case = format!("died at moment {moment}");
        // The message is no longer in the queue.
        let (downloader, recording) =
            Downloader::for_recording(&system, "alice", video(17 * MIB)).await;
        let (ended, _) = downloader.deliver_until("m", LONG_INVOCATION, moment).await;
        assert_eq!(ended, Outcome::Killed, "{case}");
        advance_and_run_maintenance(&system, 3).await;
        assert_stored(&system, &app_webhook, &recording, &case).await;
    }
}

#[tokio::test]
async fn on_demand_file_drops_source_after_a_day() {
    let parameters = [("DownloadMode", "on-demand"), UNRECONCILED];
    let (system, app_webhook) = System::linked_with(&parameters).await;
    let recording = system.record(video(1_000)).await;
    system.zoom().clear_requests();
    for (hours, sources) in [(3, 1), (9, 1), (10, 1), (1, 0), (30, 0)] {
        advance_and_run_maintenance(&system, hours).await;
        assert_eq!(with_attribute(&system, "source").await, sources);
        assert_eq!(system.requests("/"), 0, "requested without the app");
    }
    // Only the app's request schedules the file again.
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
    system.request_download(&recording).await;
    let lost = system.take_messages(&system.queues().downloads).await;
    assert_eq!(lost.len(), 1);
    advance_and_run_maintenance(&system, 3).await;
    assert_stored(&system, &app_webhook, &recording, "").await;
    // The file comes from the URL of Zoom's API.
    assert_eq!(system.requests("/rec/webhook_download/"), 0);
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
}

#[tokio::test]
async fn failed_file_stays_failed_until_requested() {
    let (system, app_webhook) = System::linked_with(&[UNRECONCILED]).await;
    let armed = system.fail(Point::Download, Fault::Status { status: 410 });
    let recording = system.record(video(1_000)).await;
    system.zoom().clear_faults(Some(armed));
    system.zoom().clear_requests();
    for (hours, sources) in [(3, 1), (12, 1), (9, 0)] {
        advance_and_run_maintenance(&system, hours).await;
        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["files"][0]["status"], "failed");
        assert_eq!(with_attribute(&system, "source").await, sources);
    }
    assert_eq!(system.requests("/rec/"), 0);
    assert_eq!(app_webhook.counts(&recording)["recording.failed"], 1);
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
    system.request_download(&recording).await;
    system.process_queues().await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn stored_files_are_never_checked() {
    let (system, _inbox) = System::linked("automatic").await;
    let files = (0..3).map(|_| NewFile::new("CHAT", 300)).collect();
    let recording = system.record(NewRecording::of(ADA).with_files(files)).await;
    system.assert_stored(&recording, "").await;
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
    let faults = system.faults();
    faults.reset_calls();
    advance_and_run_maintenance(&system, 3).await;
    let calls = |operation| faults.calls(Service::DynamoDb, operation);
    assert_eq!((calls("GetItem"), calls("UpdateItem"), calls("Scan")), (0, 0, 0));
}

#[tokio::test]
async fn backlog_serves_fresh_and_oldest_files() {
    let system = System::start().await;
    let now = system.app.now();
    // All in one shard.
    let newest = now.as_millisecond() / 16 * 16;
    let items = (0..300).map(|age| {
        json!({
            "zoom_user": {"S": "account#user"}, "entry": {"S": format!("rec#cmVj#file#{age}")},
            "next_check_shard": {"N": "0"}, "next_check_at": {"N": (newest - 16 * age).to_string()},
        })
    });
    let table = &system.tables().recordings;
    system.stack.engines().import_items(table, items.collect()).unwrap();
    let environment = system.stack.function_environment("reconciler").unwrap();
    let recordings = RecordingTable::new(environment).unwrap();
    let due = recordings.due_checks(now).await.unwrap();
    let ages = due.items.iter().map(|due| match due {
        DueCheck::File(key) => key.file.to_string().parse().unwrap(),
        DueCheck::Recording(..) => panic!("{due:?}"),
    });
    // The latest first, then the oldest.
    let expected: Vec<i64> = (0..125).chain((284..300).rev()).collect();
    assert_eq!(ages.collect::<Vec<i64>>(), expected);
    assert_eq!(due.oldest_at.unwrap().as_millisecond(), newest - 16 * 299);
}

async fn begin_upload(system: &System, key: &str) {
    let (s3, bucket) = (system.sdk().s3(), &system.config().bucket);
    let create = s3.create_multipart_upload().bucket(bucket).key(key);
    create.send().await.unwrap();
}

#[tokio::test]
async fn only_orphaned_uploads_are_aborted_after_a_day() {
    let parameters = [("DownloadMode", "on-demand"), ("RetryDays", "7")];
    let (system, app_webhook) = System::linked_with(&parameters).await;
    // An upload that will be resumed: two of five parts are stored.
    let (downloader, recording) =
        Downloader::for_recording(&system, "alice", video(33 * MIB)).await;
    let rejected = NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(2);
    let armed = system.zoom().arm(rejected).unwrap();
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.zoom().clear_faults(Some(armed));
    // Orphaned uploads: of that file, of a stored file, of an unknown file, and of no file.
    let (done, stored) = Downloader::for_recording(&system, "alice", video(1_000)).await;
    assert_eq!(done.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    let key = |recording: &Recording| {
        let id = &recording.files[0].id;
        format!("{}{id}.mp4", folder(recording))
    };
    for key in [
        key(&recording),
        key(&stored),
        key(&stored).replace(".mp4", "0.mp4"),
        "recordings/odd".to_owned(),
    ] {
        begin_upload(&system, &key).await;
    }
    // Zoom fails, so the resumable upload keeps waiting.
    let armed = system.fail(Point::Content, Fault::Status { status: 500 });
    for (hours, uploads) in [(23, 5), (2, 1)] {
        system.advance(SignedDuration::from_hours(hours));
        system.stack.fire_schedules().await.unwrap();
        system.stack.drain().await;
        assert_eq!(system.open_uploads().await, uploads, "{hours} h");
    }
    system.zoom().clear_faults(Some(armed));
    system.zoom().clear_requests();
    system.request_download(&recording).await;
    system.process_queues().await;
    assert_stored(&system, &app_webhook, &recording, "").await;
    assert_eq!(system.requests("/ssrweb/"), 3, "stored parts were fetched again");
    let seen = system.view("alice", &recording).await;
    assert_eq!(seen["files"][0]["status"], json!("stored"));
}
