//! The end of the last link: it ends queued, running and continued transfers, and removes their leftovers.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_store::recordings::RecordingTable;
use reelay_zoom_sim::{Fault, NewFault, Point, Recording};
use serde_json::json;
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::recordings::{folder, object_key, recording_id, recording_path, video};
use support::zoom_users::ADA;
use support::{DelayedMessages, MIB, System};

async fn on_demand() -> System {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    system
}

/// A linked system and the downloader of a new file.
async fn with_queued_file(size: u64) -> (System, Downloader, Recording) {
    let system = on_demand().await;
    let (downloader, recording) = Downloader::for_recording(&system, "alice", video(size)).await;
    (system, downloader, recording)
}

/// Runs the ending job once more, as its delayed messages do.
async fn end_transfers(system: &System, recording: &Recording) {
    let zoom_user = json!({"account_id": recording.account_id, "user_id": recording.host_id});
    let job = json!({"v": 1, "job": "end_transfers", "zoom_user": zoom_user});
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
    system.requests("/ssrweb/")
}

#[tokio::test]
async fn ended_transfer_is_queued_again_by_its_redelivery() {
    let (system, downloader, recording) = with_queued_file(MIB).await;
    // A new link was confirmed during the transfer; the invocation was killed after it had marked the file.
    let table = &system.tables().recordings;
    let scan = system.sdk().dynamodb().scan().table_name(table).send().await.unwrap();
    let is_file = |entry: &AttributeValue| entry.as_s().unwrap().contains("#file#");
    let mut item = scan.items.unwrap().into_iter().find(|item| is_file(&item["entry"])).unwrap();
    for (name, value) in [("status", "failed"), ("reason", "link_ended")] {
        item.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
    }
    let put = system.sdk().dynamodb().put_item().table_name(table).set_item(Some(item));
    put.send().await.unwrap();
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.process_queues().await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn queued_file_is_not_fetched_after_disconnect() {
    let (system, downloader, recording) = with_queued_file(17 * MIB).await;
    system.app.disconnect_all("alice").await;
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
        let (system, downloader, recording) = with_queued_file(33 * MIB).await;
        let rejected =
            NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(2);
        let armed = system.zoom().arm(rejected).unwrap();
        assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done, "{case}");
        system.zoom().clear_faults(Some(armed));
        assert_eq!(system.open_uploads().await, 1, "{case}");
        system.app.disconnect_all("alice").await;
        system.zoom().clear_requests();
        // A running function removes its own leftovers; for a killed one the ending job does.
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
async fn object_of_a_file_that_is_not_stored_is_removed() {
    for (size, completes) in [(MIB, "PutObject"), (17 * MIB, "CompleteMultipartUpload")] {
        let (system, downloader, recording) = with_queued_file(size).await;
        // The object is complete, and the item does not say so.
        let lost = AwsFault::connection_closed().after_effect();
        system.faults().fail_until_cleared(Service::S3, completes, lost);
        assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done, "{size}");
        system.faults().clear_all();
        assert_eq!(system.objects(&folder(&recording)).await.len(), 1, "{size}");
        system.app.disconnect_all("alice").await;
        system.process_queues().await;
        assert_removed(&system, &recording, completes).await;
    }
}

#[tokio::test]
async fn object_completed_after_the_end_is_removed_by_delayed_job() {
    let (system, _, recording) = with_queued_file(MIB).await;
    let delayed = DelayedMessages::of(&system, &system.queues().jobs);
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    assert_removed(&system, &recording, "at once").await;
    // A killed invocation's last request reaches S3.
    let key = object_key(&recording, &recording.files[0]);
    let put = system.sdk().s3().put_object().bucket(&system.config().bucket).key(key);
    put.body(ByteStream::from_static(b"late")).send().await.unwrap();
    let jobs = delayed.deliver(&system).await;
    // Zoom's event about the revocation may have led to the same jobs again.
    let seconds = jobs.iter().filter(|job| job.body.contains("end_transfers"));
    assert_eq!(seconds.map(|job| job.seconds).take(2).collect::<Vec<_>>(), [30, 900]);
    system.process_queues().await;
    assert_removed(&system, &recording, "later").await;
}

#[tokio::test]
async fn ending_job_keeps_what_was_stored_before() {
    let (system, downloader, recording) = with_queued_file(MIB).await;
    system.link("bob", ADA).await;
    // The jobs of Alice's end run after Bob has linked, and must keep the files that were stored for him.
    system.app.disconnect_all("alice").await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.advance(SignedDuration::from_mins(5));
    system.app.disconnect_all("bob").await;
    system.process_queues().await;
    end_transfers(&system, &recording).await;
    system.assert_stored(&recording, "stored before the end").await;

    // The state that a transfer leaves if it ends before it reads the links again.
    let update = system.sdk().dynamodb().update_item().table_name(&system.tables().recordings);
    let zoom_user = format!("{}#{}", recording.account_id, recording.host_id);
    let entry = format!("rec#{}#file#{}", recording_id(&recording), recording.files[0].id);
    let later = system.app.now().as_millisecond() + 1;
    let update = update
        .key("zoom_user", AttributeValue::S(zoom_user))
        .key("entry", AttributeValue::S(entry))
        .update_expression("SET stored_at = :later")
        .expression_attribute_values(":later", AttributeValue::N(later.to_string()));
    update.send().await.unwrap();
    end_transfers(&system, &recording).await;
    assert_removed(&system, &recording, "stored after the end").await;
}

#[tokio::test]
async fn ending_job_keeps_files_of_a_new_link() {
    let system = on_demand().await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    system.link("bob", ADA).await;
    let (downloader, recording) = Downloader::for_recording(&system, "bob", video(MIB)).await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.zoom().clear_requests();
    end_transfers(&system, &recording).await;
    assert_eq!(content_requests(&system), 0, "fetched again");
    system.assert_stored(&recording, "").await;
    assert_eq!(system.view("bob", &recording).await["status"], "stored");
}

#[tokio::test]
async fn interrupted_ending_job_keeps_no_file_from_a_new_link() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let failing = system.fail(Point::Content, Fault::Status { status: 418 });
    let recording = system.record(video(MIB)).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    // The job that runs once more takes the file over and is killed.
    let table =
        RecordingTable::new(system.stack.function_environment("event-processor").unwrap()).unwrap();
    let zoom_user = ZoomUser {
        account_id: recording.account_id.parse().unwrap(),
        user_id: recording.host_id.parse().unwrap(),
    };
    let (key, item) = table.files(&zoom_user).await.unwrap().remove(0);
    let (now, lease) = (system.app.now(), SignedDuration::from_secs(60));
    assert!(table.take_over_lease(&key, &item, "ending#1", now, lease).await.unwrap());
    system.zoom().clear_faults(Some(failing));
    system.link("alice", ADA).await;
    system.maintain_after(SignedDuration::from_hours(1)).await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn file_that_nobody_requested_stays_queued() {
    let system = on_demand().await;
    let recording = system.record(video(MIB)).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    assert_removed(&system, &recording, "").await;
    // A failed file would be fetched by a later reconciliation.
    let items = system.table_items(&system.tables().recordings).await;
    assert!(items.iter().any(|item| item.contains("\"status\": S(\"queued\")")), "{items:#?}");
}

#[tokio::test]
async fn new_link_fetches_interrupted_files() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let failing = system.fail(Point::Content, Fault::Status { status: 418 });
    let recording = system.record(video(17 * MIB)).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    assert_removed(&system, &recording, "").await;
    system.zoom().clear_faults(Some(failing));
    system.link("alice", ADA).await;
    system.assert_stored(&recording, "").await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
}

#[tokio::test]
async fn disconnect_keeps_transfers_of_another_link() {
    let (system, downloader, recording) = with_queued_file(MIB).await;
    system.link("bob", ADA).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    assert_eq!(content_requests(&system), 0, "taken from the queued transfer");
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn end_reaches_transfers_of_the_previous_account() {
    let (system, downloader, recording) = with_queued_file(33 * MIB).await;
    downloader.kill_in_upload(&system, "m").await;
    system.zoom().move_user(ADA, "AccountElsewhere00001").unwrap();
    // An event of the new account leads to the move.
    system.record(video(MIB)).await;
    let link = &system.app.links("alice").await[0];
    assert_eq!(link["zoom"]["account_id"], "AccountElsewhere00001");
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    assert_removed(&system, &recording, "").await;
}

#[tokio::test]
async fn file_that_was_stored_before_the_last_link_ended_is_in_the_manifest() {
    let (system, _) = System::linked("on-demand").await;
    let (downloader, recording) = Downloader::for_recording(&system, "alice", video(1_000)).await;
    let failed = AwsFault::error(500, "InternalServerError");
    system.faults().fail_next(Service::DynamoDb, "TransactWriteItems", 3, failed);
    assert_ne!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done, "not published");
    system.app.disconnect_all("alice").await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    let manifest = system.manifest(&recording).await;
    assert_eq!(manifest["recording"]["files"][0]["status"], "stored");
}
