//! Notifications by webhook and event bus.

use std::collections::{BTreeMap, BTreeSet};

use reelay_zoom_sim::NewRecording;
use serde_json::Value;

use super::{counts, kinds, linked, notified, of_ada, three};

#[tokio::test]
async fn late_file_publishes_recording_stored_again() {
    let system = linked().await;
    let recording = system.record(of_ada(three())).await;
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 3), ("stored", 1)])
    );
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    system.await_deliveries(&created).await;
    system.process_queues().await;
    system.assert_bucket_holds(&[&recording]).await;
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 4), ("stored", 2)])
    );

    let notified = notified(&system, "alice");
    let ids: BTreeSet<_> = notified.iter().map(|(_, id, _)| id).collect();
    let sequences: BTreeSet<_> =
        notified.iter().map(|(.., data)| data["sequence"].as_u64().unwrap()).collect();
    assert_eq!(
        (ids.len(), sequences.len()),
        (notified.len(), notified.len()),
        "ids or sequences repeat"
    );
    assert!(ids.iter().all(|id| id.starts_with("msg_") && id.len() == 47), "{ids:?}");
    assert_eq!(notified[0].0, "recording.detected");
    assert_eq!(notified.last().unwrap().0, "recording.stored");
    assert_eq!(notified.last().unwrap().2["recording"]["files"].as_array().unwrap().len(), 4);
    let late = &system.latest(&recording).files[3];
    assert!(notified.iter().any(|(kind, _, data)| kind == "recording.file_stored" && data["file"]["id"] == late.id));

    // Notifications contain no URL and no credential.
    let text = format!("{notified:?}");
    for field in ["\"url", "_url\"", "X-Amz-Signature"] {
        assert!(!text.contains(field), "{field}: {text}");
    }
    system.assert_no_credentials(&[text]);
}

#[tokio::test]
async fn event_bus_receives_same_notifications() {
    let system = linked().await;
    let bus = system.subscribe_to_bus().await;
    system.record(of_ada(three())).await;
    let mut on_bus = BTreeMap::new();
    for event in system.peek_messages(&bus).await {
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["source"], "reelay");
        assert_eq!(event["detail-type"], event["detail"]["type"]);
        let fields: Vec<_> = event["detail"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        assert_eq!(fields, ["data", "id", "timestamp", "type"]);
        on_bus.insert(
            event["detail"]["id"].as_str().unwrap().to_owned(),
            event["detail"]["data"].clone(),
        );
    }
    let notified: BTreeMap<_, _> =
        notified(&system, "alice").into_iter().map(|(_, id, data)| (id, data)).collect();
    assert_eq!(notified.len(), 5);
    assert_eq!(on_bus, notified);
}

/// SQS rejects a message with such a character.
#[tokio::test]
async fn topic_with_noncharacters_is_stored_and_notified() {
    let system = linked().await;
    let topic = "Synthetic \u{fffe}\u{ffff} topic \u{1}";
    let new = NewRecording { topic: Some(topic.into()), ..of_ada(three()) };
    let recording = system.record(new).await;
    system.assert_bucket_holds(&[&recording]).await;
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 3), ("stored", 1)])
    );
    for (_, _, data) in notified(&system, "alice") {
        assert_eq!(data["recording"]["topic"], topic);
    }
}
