//! What the app is told, by webhook and by event bus.

use std::collections::{BTreeMap, BTreeSet};

use reelay_zoom_sim::NewRecording;
use serde_json::Value;
use support::people::ADA;
use support::{store, zoom};

use super::{assert_bucket_holds, counts, kinds, latest, linked, stored, three, told};

#[tokio::test]
async fn the_app_is_told_each_fact_once_and_again_when_a_late_file_completes_the_set() {
    let system = linked().await;
    let recording = stored(&system, NewRecording::of(ADA).with_files(three())).await;
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 3), ("stored", 1)])
    );
    let created = system.zoom().add_transcript(&recording.key, None).unwrap();
    zoom::arrived(&system, &created).await;
    system.work().await;
    assert_bucket_holds(&system, &[&recording]).await;
    assert_eq!(
        kinds(&system, "alice"),
        counts([("detected", 1), ("file_stored", 4), ("stored", 2)])
    );

    let told = told(&system, "alice");
    let ids: BTreeSet<_> = told.iter().map(|(_, id, _)| id).collect();
    let sequences: BTreeSet<_> = told
        .iter()
        .map(|(.., data)| data["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(
        (ids.len(), sequences.len()),
        (told.len(), told.len()),
        "each fact has its own id and number"
    );
    assert!(
        ids.iter()
            .all(|id| id.starts_with("msg_") && id.len() == 47),
        "{ids:?}"
    );
    assert_eq!(told[0].0, "recording.detected");
    assert_eq!(told.last().unwrap().0, "recording.stored");
    assert_eq!(
        told.last().unwrap().2["recording"]["files"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    let late = &latest(&system, &recording).files[3];
    assert!(told.iter().any(|(kind, _, data)| kind == "recording.file_stored" && data["file"]["id"] == late.id));

    // Never anything that opens a file.
    let text = format!("{told:?}");
    assert!(
        !text.contains("url") && !text.contains("X-Amz-Signature"),
        "{text}"
    );
    for credential in zoom::credentials(&system) {
        assert!(!text.contains(&credential), "{credential}");
    }
}

#[tokio::test]
async fn the_event_bus_gets_the_same_facts_under_the_same_ids() {
    let system = linked().await;
    let bus = store::listen_to_bus(&system.stack).await;
    stored(&system, NewRecording::of(ADA).with_files(three())).await;
    let mut on_bus = BTreeMap::new();
    for event in store::peek(&system.stack, &bus).await {
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
    let told: BTreeMap<_, _> = told(&system, "alice")
        .into_iter()
        .map(|(_, id, data)| (id, data))
        .collect();
    assert_eq!(told.len(), 5);
    assert_eq!(on_bus, told);
}
