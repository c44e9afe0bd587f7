//! Events and messages that come twice.

use jiff::SignedDuration;
use reelay_zoom_sim::NewRecording;
use serde_json::Value;
use support::people::ADA;
use support::{System, store, zoom};

use super::{assert_once, download, linked, stored, three, writes};

#[tokio::test]
async fn a_duplicate_event_changes_nothing() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    let (first, before) = (
        system.zoom().deliveries().last().unwrap().id,
        writes(&system),
    );
    for same_request_id in [true, false] {
        let id = system.zoom().duplicate(first, same_request_id).unwrap();
        system.zoom().wait_for_attempts(id, 1).await;
        system.work().await;
    }
    assert_eq!(writes(&system), before, "nothing was written again");
    assert_once(&system, &recording).await;
}

#[tokio::test]
async fn a_twin_event_with_other_urls_and_another_token_changes_nothing() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    let before = writes(&system);
    system.stack.advance(SignedDuration::from_secs(5));
    let twin = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(twin, 1).await;
    let bodies: Vec<Value> = system
        .zoom()
        .deliveries()
        .iter()
        .map(|d| serde_json::from_str(&d.body).unwrap())
        .collect();
    assert_ne!(bodies[0]["download_token"], bodies[1]["download_token"]);
    let url = "/payload/object/recording_files/0/download_url";
    assert_ne!(bodies[0].pointer(url), bodies[1].pointer(url));
    system.work().await;
    assert_eq!(writes(&system), before, "nothing was written again");
    assert_once(&system, &recording).await;
}

#[tokio::test]
async fn duplicates_and_twins_that_wait_together_are_fetched_once() {
    let system = linked().await;
    let recording = zoom::complete(&system, NewRecording::of(ADA).with_files(three())).await;
    let first = system.zoom().deliveries().last().unwrap().id;
    let more = [
        system.zoom().duplicate(first, true).unwrap(),
        system.zoom().complete(&recording.key).unwrap(),
    ];
    for id in more {
        system.zoom().wait_for_attempts(id, 1).await;
    }
    system.work().await;
    assert_once(&system, &recording).await;
}

#[tokio::test]
async fn messages_that_sqs_delivers_twice_change_nothing() {
    // On demand, so that the downloads' messages can be looked at before they are worked off.
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = zoom::complete(&system, NewRecording::of(ADA).with_files(three())).await;
    let queues = &system.stack.config().queues;
    let events = store::peek(&system.stack, &queues.events).await;
    system.work().await;
    download(&system, &recording).await;
    let downloads = store::peek(&system.stack, &queues.downloads).await;
    assert_eq!((events.len(), downloads.len()), (1, 3));
    system.work().await;
    assert_once(&system, &recording).await;
    for (queue, messages) in [(&queues.events, &events), (&queues.downloads, &downloads)] {
        for message in messages {
            store::send(&system.stack, queue, message).await;
        }
        system.work().await;
        assert_once(&system, &recording).await;
    }
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}
