//! Scheduled erasure of recordings without a link, and markers that keep them from coming back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use jiff::{SignedDuration, Timestamp};
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{NewFile, NewRecording, Recording, RecordingChange, Selection};
use serde_json::{Value, json};
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::recordings::{folder, object_key, recording_id, recording_path};
use support::zoom_users::{ADA, BEN};
use support::{DelayedMessages, System};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A system whose notifications are read from the event bus, which accepts any clock.
async fn system_with(parameters: &[(&str, &str)]) -> (System, String) {
    let system = System::with(&[&[("AppWebhookUrl", "")], parameters].concat()).await;
    let bus = system.subscribe_to_bus().await;
    (system, bus)
}

async fn linked(parameters: &[(&str, &str)]) -> (System, String, Recording) {
    let (system, bus) = system_with(parameters).await;
    system.link("alice", ADA).await;
    let recording = system.record(two_files(ADA)).await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
    (system, bus, recording)
}

fn two_files(host: &str) -> NewRecording {
    NewRecording::of(host).with_files(vec![NewFile::new("MP4", 700), NewFile::new("M4A", 300)])
}

async fn run_job(system: &System, job: Value) {
    let mut job = job;
    job["v"] = json!(1);
    system.send_message(&system.queues().jobs, &job.to_string()).await;
    system.process_queues().await;
}

async fn run_maintenance(system: &System) {
    run_job(system, json!({"job": "run_maintenance"})).await;
    assert_eq!(system.peek_messages(&system.queues().jobs_dlq).await, [""; 0]);
}

async fn disconnect(system: &System, user: &str) {
    system.app.disconnect_all(user).await;
    system.process_queues().await;
    system.zoom().wait_until_settled().await;
    system.process_queues().await;
}

async fn deauthorize(system: &System, zoom_user: &str) {
    let id = system.zoom().deauthorize(zoom_user).unwrap();
    system.await_delivery(id).await;
    system.process_queues().await;
}

/// The link in the latest `link.removed` notification. A queue may deliver them in another order.
async fn removed_link(system: &System, bus: &str) -> Value {
    let events = system.peek_messages(bus).await;
    let events = events.iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
    let removals = events.filter(|event| event["detail"]["type"] == "link.removed");
    let time = |event: &Value| event["detail"]["timestamp"].as_str().unwrap().to_owned();
    removals.max_by_key(time).unwrap()["detail"]["data"]["link"].clone()
}

/// Everything in the tables ([`System::lasting_items`]), the bucket and the queues that contains one of these texts.
pub(crate) async fn traces(system: &System, texts: &[&str]) -> Vec<String> {
    let queues = system.queues();
    let mut found = system.lasting_items().await;
    for (key, bytes) in system.objects("").await {
        found.push(format!("bucket: {key} {}", String::from_utf8_lossy(&bytes)));
    }
    for queue in [
        &queues.events,
        &queues.events_dlq,
        &queues.downloads,
        &queues.downloads_dlq,
        &queues.notifications,
        &queues.notifications_dlq,
        &queues.jobs,
        &queues.jobs_dlq,
    ] {
        let messages = system.peek_messages(queue).await;
        found.extend(messages.into_iter().map(|message| format!("{queue}: {message}")));
    }
    found.retain(|place| texts.iter().any(|text| place.contains(text)));
    found
}

/// All identifiers of Alice and Ada, and of their recording.
fn identifiers(recording: &Recording) -> [String; 6] {
    [
        "alice".to_owned(),
        ADA.to_owned(),
        recording.topic.clone(),
        recording.uuid.clone(),
        recording_id(recording),
        recording.host_email.clone(),
    ]
}

async fn assert_erased(system: &System, recording: &Recording) {
    let identifiers = identifiers(recording);
    let found = traces(system, &identifiers.each_ref().map(String::as_str)).await;
    assert_eq!(found, [""; 0]);
    assert_eq!(system.open_uploads().await, 0);
}

#[tokio::test]
async fn deauthorized_recordings_are_erased_when_due() {
    let (system, bus, recording) = linked(&[("EraseAfterDeauthorizationDays", "10")]).await;
    let removed_at = system.app.now();
    deauthorize(&system, ADA).await;
    let link = removed_link(&system, &bus).await;
    assert_eq!(link["status"], "removed");
    assert_eq!(link["removed_reason"], "deauthorized");
    let erase_at: Timestamp = link["erase_at"].as_str().unwrap().parse().unwrap();
    let kept = erase_at.duration_since(removed_at);
    assert!(kept >= DAY * 10 && kept < DAY * 10 + SignedDuration::from_mins(1), "{kept}");

    system.advance(DAY * 9);
    run_maintenance(&system).await;
    assert_eq!(system.stored_files().await.len(), 2);
    system.advance(DAY);
    run_maintenance(&system).await;
    assert_eq!(system.list_objects().await, []);
    assert_erased(&system, &recording).await;
    let receipts = system.table_items(&system.tables().links).await;
    let receipt = receipts.iter().find(|it| it.contains("recordings_after_deauthorization"));
    assert!(receipt.unwrap().contains("\"recordings\": N(\"1\")"), "{receipts:?}");
    // No erasure is due any more.
    run_maintenance(&system).await;
}

#[tokio::test]
async fn unlinked_recordings_are_erased_when_due() {
    let parameters = [("EraseAfterUnlinkDays", "3"), ("EraseAfterDeauthorizationDays", "")];
    let (system, bus, recording) = linked(&parameters).await;
    system.link("bob", ADA).await;
    disconnect(&system, "alice").await;
    // Bob's link still covers the recordings.
    let link = removed_link(&system, &bus).await;
    assert_eq!(
        (&link["removed_reason"], &link["erase_at"]),
        (&json!("disconnected"), &Value::Null)
    );
    system.advance(DAY * 4);
    run_maintenance(&system).await;
    assert_eq!(system.view("bob", &recording).await["status"], "stored");
    // The deauthorization that Zoom reports after Reelay's own revocation counts as the end of the link.
    disconnect(&system, "bob").await;
    let link = removed_link(&system, &bus).await;
    assert_eq!(link["removed_reason"], "disconnected");
    assert!(link["erase_at"].is_string(), "{link}");
    system.advance(DAY * 3);
    run_maintenance(&system).await;
    assert_erased(&system, &recording).await;
    assert_eq!(traces(&system, &["bob"]).await, [""; 0]);
}

#[tokio::test]
async fn erasure_due_long_ago_is_done_beside_an_odd_item() {
    let (system, _bus, recording) = linked(&[("EraseAfterUnlinkDays", "3")]).await;
    disconnect(&system, "alice").await;
    let odd = json!({
        "zoom_user": {"S": "odd"}, "entry": {"S": "odd"},
        "next_check_shard": {"N": "0"}, "next_check_day": {"S": "2026-01-01"},
    });
    system.stack.engines().import_items(&system.tables().links, vec![odd]).unwrap();
    // The schedules were paused.
    system.advance(DAY * 400);
    system.run_maintenance().await;
    assert_erased(&system, &recording).await;
}

#[tokio::test]
async fn erasures_of_accounts_that_name_each_other_are_completed() {
    let (system, _bus, recording) = linked(&[("EraseAfterUnlinkDays", "3")]).await;
    system.link("bob", ADA).await;
    let home = recording.account_id.as_str();
    for (app_user, account) in [("alice", "AcctElsewhere000000001"), ("bob", home)] {
        system.zoom().move_user(ADA, account).unwrap();
        system.record(two_files(ADA)).await;
        disconnect(&system, app_user).await;
    }
    system.advance(DAY * 4);
    for _ in 0..3 {
        run_maintenance(&system).await;
    }
    assert_erased(&system, &recording).await;
    assert_eq!(traces(&system, &["bob"]).await, [""; 0]);
}

#[tokio::test]
async fn recordings_are_kept_without_parameters() {
    let (system, bus, _recording) = linked(&[]).await;
    deauthorize(&system, ADA).await;
    assert_eq!(removed_link(&system, &bus).await["erase_at"], Value::Null);
    system.advance(DAY * 400);
    run_maintenance(&system).await;
    assert_eq!(system.stored_files().await.len(), 2);
}

#[tokio::test]
async fn linking_again_cancels_erasure_and_keeps_the_link() {
    let (system, _bus, recording) = linked(&[("EraseAfterUnlinkDays", "3")]).await;
    let before = system.app.links("alice").await[0].clone();
    disconnect(&system, "alice").await;
    system.advance(DAY);
    // A consent that is never confirmed changes nothing.
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    system.advance(SignedDuration::from_mins(11));
    assert_eq!(system.app.confirm("alice", &claim).await.status, 410);
    run_maintenance(&system).await;
    system.zoom().wait_until_settled().await;
    system.process_queues().await;

    let after = system.link("alice", ADA).await;
    for same in ["id", "created_at", "zoom"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    system.advance(DAY * 4);
    run_maintenance(&system).await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
    assert_eq!(system.stored_files().await.len(), 2);
}

#[tokio::test]
async fn linking_again_after_deauthorization_keeps_the_link() {
    let (system, bus, _recording) = linked(&[]).await;
    let before = system.app.links("alice").await[0].clone();
    deauthorize(&system, ADA).await;
    assert_eq!(removed_link(&system, &bus).await["created_at"], before["created_at"]);
    system.advance(DAY);
    let after = system.link("alice", ADA).await;
    for same in ["id", "created_at", "zoom"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert_ne!(after["activated_at"], before["activated_at"]);
}

#[tokio::test]
async fn erased_recording_never_comes_back() {
    let (system, _bus, recording) = linked(&[("EraseAfterUnlinkDays", "0")]).await;
    disconnect(&system, "alice").await;
    // Claims and exchanges expire.
    system.advance(DAY);
    run_maintenance(&system).await;
    assert_erased(&system, &recording).await;

    // A new link reads the last days from Zoom's list.
    system.link("alice", ADA).await;
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let (from, to) = (day(system.app.now() - DAY * 10), day(system.app.now()));
    let body = json!({"from": from, "to": to}).to_string();
    assert_eq!(system.app.post("/v1/backfill", "alice", body).await.status, 202);
    // Zoom repeats the event, adds a transcript, and reports changes.
    for delivery in system.zoom().deliveries() {
        if delivery.body.contains("recording.completed") {
            let again = system.zoom().duplicate(delivery.id, true).unwrap();
            system.await_delivery(again).await;
        }
    }
    system.add_transcript(&recording).await;
    let (zoom, all) = (system.zoom(), Selection::default());
    let renamed = zoom.rename(&recording.key, "Another topic", &all).unwrap();
    system.await_deliveries(&renamed).await;
    for change in [RecordingChange::Trash, RecordingChange::Recover] {
        let changed = zoom.change_recording(&recording.key, change, &all).unwrap();
        system.await_deliveries(&changed).await;
    }
    system.process_queues().await;
    run_maintenance(&system).await;
    assert_eq!(system.app.recordings("alice").await, [Value::Null; 0]);
    assert_eq!(system.view("alice", &recording).await["code"], "recording_not_found");
    assert_eq!(system.list_objects().await, []);
    let found = traces(&system, &[&recording_id(&recording), &recording.uuid]).await;
    assert_eq!(found, [""; 0]);

    // Another recording is stored as ever.
    let later = system.record(two_files(ADA)).await;
    assert_eq!(system.view("alice", &later).await["status"], "stored");
}

/// Links Ada again before the `nth` AWS call of an erasure. Returns whether the recordings had been marked as erased
/// before. `None` if the erasure makes fewer calls.
async fn linked_during_erasure(nth: usize) -> Option<(System, bool)> {
    let (system, _bus, first) = linked(&[("EraseAfterUnlinkDays", "0")]).await;
    let second = system.record(two_files(ADA)).await;
    disconnect(&system, "alice").await;
    let claim = system.consent(&mut system.browser(), "bob", ADA).await;
    let (reached, mut is_reached) = tokio::sync::mpsc::unbounded_channel();
    let (linked, is_linked) = std::sync::mpsc::channel();
    let (calls, is_linked) = (AtomicUsize::new(0), Mutex::new(is_linked));
    let is_marked = Arc::new(AtomicBool::new(false));
    let marked = Arc::clone(&is_marked);
    system.faults().decide_with(move |service, operation| {
        if matches!(service, Service::DynamoDb | Service::S3) {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            if call < nth && operation == "TransactWriteItems" {
                marked.store(true, Ordering::SeqCst);
            }
            if call == nth {
                reached.send(()).unwrap();
                is_linked.lock().unwrap().recv().unwrap();
            }
        }
        None
    });
    let environment = system.stack.function_environment("reconciler").unwrap();
    let eraser = reelay_store::erasure::Eraser::new(environment).unwrap();
    let (account_id, user_id) = (first.account_id.parse().unwrap(), first.host_id.parse().unwrap());
    let ada = reelay_domain::ids::ZoomUser { account_id, user_id };
    let now = system.app.now();
    let mut pass =
        tokio::spawn(
            async move { eraser.run_pass(&ada, now, &mut Default::default()).await.unwrap() },
        );
    tokio::select! {
        _ = &mut pass => return None,
        Some(()) = is_reached.recv() => {}
    }
    assert_eq!(system.app.confirm("bob", &claim).await.status, 200);
    linked.send(()).unwrap();
    pass.await.unwrap();
    system.faults().clear_all();
    system.process_queues().await;
    run_maintenance(&system).await;

    // Each recording is kept with all its files, or erased with all of them.
    for recording in [&first, &second] {
        let objects = system.objects(&folder(recording)).await.len();
        match system.app.get(&recording_path(recording), "bob").await {
            view if view.status == 200 => assert_eq!(objects, 3, "call {nth}: {view:?}"),
            view => assert_eq!((view.status, objects), (404, 0), "call {nth}: {view:?}"),
        }
    }
    Some((system, is_marked.load(Ordering::SeqCst)))
}

// Bob links while the erasure is held in another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn link_during_erasure_leaves_no_half_erased_recording() {
    let (mut nth, mut kept) = (0, Vec::new());
    while let Some((system, is_marked)) = linked_during_erasure(nth + 1).await {
        nth += 1;
        kept.push(system.app.recordings("bob").await.len());
        assert_eq!(kept.last(), Some(if is_marked { &0 } else { &2 }), "call {nth}");
    }
    assert_eq!(kept.first(), Some(&2), "{kept:?}");
    assert_eq!(kept.last(), Some(&0), "{kept:?}");
}

#[tokio::test]
async fn only_copy_is_kept_by_the_schedule() {
    let (system, _bus, only_copy) = linked(&[("EraseAfterUnlinkDays", "0")]).await;
    let other = system.record(two_files(ADA)).await;
    // The state after Reelay has trashed Zoom's copy.
    let update = system.sdk().dynamodb().update_item().table_name(&system.tables().recordings);
    let zoom_user = format!("{}#{}", only_copy.account_id, only_copy.host_id);
    let entry = format!("rec#{}", recording_id(&only_copy));
    let update = update
        .key("zoom_user", AttributeValue::S(zoom_user))
        .key("entry", AttributeValue::S(entry))
        .update_expression("SET trashed_by_reelay = :yes, zoom_state = :trashed")
        .expression_attribute_values(":yes", AttributeValue::Bool(true))
        .expression_attribute_values(":trashed", AttributeValue::S("trashed".to_owned()));
    update.send().await.unwrap();
    disconnect(&system, "alice").await;
    for _ in 0..2 {
        run_maintenance(&system).await;
        assert_eq!(system.objects(&folder(&other)).await.len(), 0);
        assert_eq!(system.objects(&folder(&only_copy)).await.len(), 3);
        system.advance(DAY);
    }
    // An app user who links again sees the recording.
    system.link("alice", ADA).await;
    assert_eq!(system.view("alice", &only_copy).await["status"], "stored");
}

#[tokio::test]
async fn transfer_that_outlives_erasure_leaves_nothing() {
    let (system, _bus) =
        system_with(&[("EraseAfterUnlinkDays", "0"), ("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let large = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 20 << 20)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", large).await;
    downloader.kill_in_upload(&system, "m").await;
    let delayed = DelayedMessages::of(&system, &system.queues().jobs);
    disconnect(&system, "alice").await;
    run_maintenance(&system).await;
    assert_eq!(system.open_uploads().await, 0);
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    assert_eq!(system.list_objects().await, []);
    // Another invocation had sent its last request to S3 before the erasure.
    let key = object_key(&recording, &recording.files[0]);
    let put = system.sdk().s3().put_object().bucket(&system.config().bucket).key(key);
    put.body(ByteStream::from_static(b"late")).send().await.unwrap();
    let delivered = delayed.deliver(&system).await;
    assert!(delivered.iter().any(|job| job.body.contains("sweep_erased") && job.seconds == 900));
    system.process_queues().await;
    system.advance(DAY);
    assert_erased(&system, &recording).await;
}

#[tokio::test]
async fn colleagues_recordings_are_untouched() {
    let (system, _bus, _recording) = linked(&[("EraseAfterUnlinkDays", "0")]).await;
    system.link("bob", BEN).await;
    let bens = system.record(two_files(BEN)).await;
    disconnect(&system, "alice").await;
    system.advance(DAY);
    run_maintenance(&system).await;
    assert_eq!(traces(&system, &["alice", ADA]).await, [""; 0]);
    assert_eq!(system.view("bob", &bens).await["status"], "stored");
    assert_eq!(system.stored_files().await.len(), 2);
}
