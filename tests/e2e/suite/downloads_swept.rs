//! What the clock sees to: files that nobody has a message for, sealed sources that rest, uploads that nobody
//! goes on with.

use std::time::Duration;

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, Recording};
use reqwest::Method;
use serde_json::json;
use support::downloader::{Downloader, Ended};
use support::people::ADA;
use support::{Inbox, System, landed, store, zoom};

const MIB: u64 = 1024 * 1024;

/// Longer than any transfer here takes.
const PLENTY: Duration = Duration::from_secs(300);

/// A system in a mode of `DownloadMode`, and an app whose webhook does not mind a clock that is moved.
async fn linked(mode: &str) -> (System, Inbox) {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url), ("DownloadMode", mode)]).await;
    system.link("alice", ADA).await;
    (system, inbox)
}

fn video(size: u64) -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", size)])
}

/// So many hours later the clock strikes.
async fn sweep_after(system: &System, hours: i64) {
    system.stack.advance(SignedDuration::from_hours(hours));
    system.stack.fire_schedules().await.unwrap();
    system.work().await;
}

async fn ask_for(system: &System, recording: &Recording) {
    let path = format!("/v1/recordings/{}/download", landed::id(recording));
    let asked = system.app.call(Method::POST, &path, "alice").await;
    assert_eq!(asked.status, 202);
}

/// The items of the table that have an attribute.
async fn with_attribute(system: &System, name: &str) -> usize {
    let table = &system.stack.config().tables.recordings;
    let items = store::items(&system.stack, table).await;
    let quoted = format!("{name:?}: ");
    items.iter().filter(|item| item.contains(&quoted)).count()
}

/// Requests for files.
fn asked(system: &System, prefix: &str) -> usize {
    let requests = system.zoom().requests();
    let those = requests.iter().filter(|r| r.path.starts_with(prefix));
    those.count()
}

async fn assert_stored(system: &System, inbox: &Inbox, recording: &Recording, case: &str) {
    landed::assert_whole(system, recording, case).await;
    let seen = landed::view(system, "alice", recording).await;
    assert_eq!(seen["status"], "stored", "{case}");
    assert_eq!(inbox.facts(recording)["recording.stored"], 1, "{case}");
    assert_eq!(with_attribute(system, "source").await, 0, "{case}");
}

#[tokio::test]
async fn a_file_whose_message_was_purged_is_sent_for_again() {
    let (system, inbox) = linked("automatic").await;
    let broken = NewFault::always(Point::Download, Fault::Status { status: 500 });
    let armed = system.zoom().arm(broken).unwrap();
    let recording = zoom::complete(&system, video(1_000)).await;
    // Tried once; the message is hidden until the next time.
    system.stack.drain().await;
    system.zoom().clear_faults(Some(armed));
    let queue = &system.stack.config().queues.downloads;
    let purge = system.stack.sdk().sqs().purge_queue().queue_url(queue);
    purge.send().await.unwrap();
    assert_eq!(store::depth(&system.stack, queue).await, 0);
    system.zoom().clear_requests();

    // It might only be late.
    sweep_after(&system, 1).await;
    assert_eq!(asked(&system, "/rec/"), 0);
    sweep_after(&system, 2).await;
    assert_stored(&system, &inbox, &recording, "").await;
}

#[tokio::test]
async fn a_file_whose_owner_and_message_are_gone_is_sent_for_again_wherever_it_stood() {
    let (system, inbox) = linked("on-demand").await;
    for moment in [0, 4, 8, 12] {
        let case = format!("died at moment {moment}");
        // Its message is out of the queue for good.
        let (downloader, recording) = Downloader::of(&system, "alice", video(17 * MIB)).await;
        let (ended, _) = downloader.deliver_until("m", PLENTY, moment).await;
        assert_eq!(ended, Ended::Killed, "{case}");
        sweep_after(&system, 3).await;
        assert_stored(&system, &inbox, &recording, &case).await;
    }
}

#[tokio::test]
async fn what_waits_for_the_apps_call_is_left_alone_and_its_source_does_not_rest_for_more_than_a_day()
 {
    let (system, inbox) = linked("on-demand").await;
    let recording = zoom::complete(&system, video(1_000)).await;
    system.work().await;
    system.zoom().clear_requests();
    for (hours, sources) in [(3, 1), (9, 1), (10, 1), (1, 0), (30, 0)] {
        sweep_after(&system, hours).await;
        assert_eq!(with_attribute(&system, "source").await, sources);
        assert_eq!(asked(&system, "/"), 0, "nobody has asked for it");
    }
    // Nothing brings the clock back to it, but the app.
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
    ask_for(&system, &recording).await;
    let lost = store::take(&system.stack, &system.stack.config().queues.downloads).await;
    assert_eq!(lost.len(), 1);
    sweep_after(&system, 3).await;
    assert_stored(&system, &inbox, &recording, "").await;
    // By the address that Zoom's API gives.
    assert_eq!(asked(&system, "/rec/webhook_download/"), 0);
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
}

#[tokio::test]
async fn what_has_failed_stays_so_until_somebody_asks() {
    let (system, inbox) = linked("automatic").await;
    let refused = NewFault::always(Point::Download, Fault::Status { status: 401 });
    let armed = system.zoom().arm(refused).unwrap();
    let recording = zoom::complete(&system, video(1_000)).await;
    system.work().await;
    system.zoom().clear_faults(Some(armed));
    system.zoom().clear_requests();
    for (hours, sources) in [(3, 1), (12, 1), (9, 0)] {
        sweep_after(&system, hours).await;
        let seen = landed::view(&system, "alice", &recording).await;
        assert_eq!(seen["files"][0]["status"], "failed");
        assert_eq!(with_attribute(&system, "source").await, sources);
    }
    assert_eq!(asked(&system, "/rec/"), 0);
    assert_eq!(inbox.facts(&recording)["recording.failed"], 1);
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
    ask_for(&system, &recording).await;
    system.work().await;
    landed::assert_whole(&system, &recording, "").await;
}

#[tokio::test]
async fn what_is_stored_costs_the_clock_not_even_a_look() {
    let (system, _inbox) = linked("automatic").await;
    let files = (0..3).map(|_| NewFile::new("CHAT", 300)).collect();
    let recording = zoom::complete(&system, NewRecording::of(ADA).with_files(files)).await;
    system.work().await;
    landed::assert_whole(&system, &recording, "").await;
    assert_eq!(with_attribute(&system, "next_check_at").await, 0);
    let faults = system.stack.engines().faults();
    faults.reset_calls();
    sweep_after(&system, 3).await;
    let calls = |operation| faults.calls(Service::DynamoDb, operation);
    assert_eq!(
        (calls("GetItem"), calls("UpdateItem"), calls("Scan")),
        (0, 0, 0)
    );
}

async fn begin_upload(system: &System, key: &str) {
    let (s3, bucket) = (system.stack.sdk().s3(), &system.stack.config().bucket);
    let create = s3.create_multipart_upload().bucket(bucket).key(key);
    create.send().await.unwrap();
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_are_aborted_after_a_day_and_no_others() {
    let (system, inbox) = linked("on-demand").await;
    // One that waits to be gone on with: two of five parts are done.
    let (downloader, recording) = Downloader::of(&system, "alice", video(33 * MIB)).await;
    let refused = NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(2);
    let armed = system.zoom().arm(refused).unwrap();
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Again);
    system.zoom().clear_faults(Some(armed));
    // Strays: of that file, of one that is stored, of one that nobody knows, and of no file.
    let (done, stored) = Downloader::of(&system, "alice", video(1_000)).await;
    assert_eq!(done.deliver("m", PLENTY).await, Ended::Done);
    let key = |recording: &Recording| {
        let id = &recording.files[0].id;
        format!("{}{id}.mp4", landed::folder(recording))
    };
    for key in [
        key(&recording),
        key(&stored),
        key(&stored).replace(".mp4", "0.mp4"),
        "recordings/odd".to_owned(),
    ] {
        begin_upload(&system, &key).await;
    }
    // Zoom gives nothing at the moment, so the one that waits goes on waiting.
    let broken = NewFault::always(Point::Content, Fault::Status { status: 500 });
    let armed = system.zoom().arm(broken).unwrap();
    for (hours, uploads) in [(23, 5), (2, 1)] {
        system.stack.advance(SignedDuration::from_hours(hours));
        system.stack.fire_schedules().await.unwrap();
        system.stack.drain().await;
        assert_eq!(
            store::open_uploads(&system.stack).await,
            uploads,
            "{hours} h"
        );
    }
    system.zoom().clear_faults(Some(armed));
    system.zoom().clear_requests();
    ask_for(&system, &recording).await;
    system.work().await;
    assert_stored(&system, &inbox, &recording, "").await;
    assert_eq!(asked(&system, "/ssrweb/"), 3, "only what was missing");
    let seen = landed::view(&system, "alice", &recording).await;
    assert_eq!(seen["files"][0]["status"], json!("stored"));
}
