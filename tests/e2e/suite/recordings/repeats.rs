//! Repeated events and messages.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault, Service};
use serde_json::Value;
use support::System;
use support::zoom_users::ADA;

use super::{assert_once, linked, object_writes, of_ada, three};

#[tokio::test]
async fn duplicate_event_changes_nothing() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let (first, before) = (system.zoom().deliveries().last().unwrap().id, object_writes(&system));
    for same_request_id in [true, false] {
        let id = system.zoom().duplicate(first, same_request_id).unwrap();
        system.zoom().wait_for_attempts(id, 1).await;
        system.process_queues().await;
    }
    assert_eq!(object_writes(&system), before, "objects were written again");
    assert_once(&system, &recording).await;
}

#[tokio::test]
async fn repeated_event_with_new_urls_changes_nothing() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    let before = object_writes(&system);
    system.advance(SignedDuration::from_secs(5));
    let twin = system.zoom().complete(&recording.key).unwrap();
    system.zoom().wait_for_attempts(twin, 1).await;
    let bodies: Vec<Value> =
        system.zoom().deliveries().iter().map(|d| serde_json::from_str(&d.body).unwrap()).collect();
    assert_ne!(bodies[0]["download_token"], bodies[1]["download_token"]);
    let url = "/payload/object/recording_files/0/download_url";
    assert_ne!(bodies[0].pointer(url), bodies[1].pointer(url));
    system.process_queues().await;
    assert_eq!(object_writes(&system), before, "objects were written again");
    assert_once(&system, &recording).await;
}

#[tokio::test]
async fn queued_duplicates_are_fetched_once() {
    let system = linked().await;
    let recording = system.complete_recording(of_ada(three())).await;
    let first = system.zoom().deliveries().last().unwrap().id;
    let more = [
        system.zoom().duplicate(first, true).unwrap(),
        system.zoom().complete(&recording.key).unwrap(),
    ];
    for id in more {
        system.zoom().wait_for_attempts(id, 1).await;
    }
    system.process_queues().await;
    assert_once(&system, &recording).await;
}

#[tokio::test]
async fn duplicate_sqs_deliveries_change_nothing() {
    // On demand, so that the download messages can be copied.
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = system.complete_recording(of_ada(three())).await;
    let queues = &system.queues();
    let events = system.peek_messages(&queues.events).await;
    system.process_queues().await;
    system.request_download(&recording).await;
    let downloads = system.peek_messages(&queues.downloads).await;
    assert_eq!((events.len(), downloads.len()), (1, 3));
    system.process_queues().await;
    assert_once(&system, &recording).await;
    for (queue, messages) in [(&queues.events, &events), (&queues.downloads, &downloads)] {
        for message in messages {
            system.send_message(queue, message).await;
        }
        system.process_queues().await;
        assert_once(&system, &recording).await;
    }
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn redelivery_after_a_download_request_publishes_detected() {
    let system = linked().await;
    let recording = system.complete_recording(of_ada(three())).await;
    // The event's files are written, and its notification is not.
    let rejected = Fault::error(400, "AccessDeniedException");
    system.faults().fail_until_cleared(Service::DynamoDb, "TransactWriteItems", rejected);
    system.process_queues().await;
    system.faults().clear_all();
    system.request_download(&recording).await;
    system.process_queues().await;
    let queues = system.queues();
    let events = system.take_messages(&queues.events_dlq).await;
    assert_eq!(events.len(), 1);
    system.send_message(&queues.events, &events[0]).await;
    system.process_queues().await;
    assert_once(&system, &recording).await;
}
