//! Logs outlive an erasure by up to 30 days, so they must not name a person.

use reelay_zoom_sim::NewRecording;
use reqwest::Method;
use serde_json::{Value, json};
use support::System;
use support::zoom_users::ADA;

use super::run::Log;
use super::search::SecretSearch;

/// An app user id that is a person's address.
const APP_USER: &str = "alice@example.test";

#[tokio::test]
async fn logs_name_no_person() {
    let log = Log::default();
    let _guard = log.record();
    let system = System::with(&[("EraseAfterUnlinkDays", "0")]).await;
    let link = system.link(APP_USER, ADA).await;
    let recording = system.record(NewRecording::of(ADA)).await;
    system.add_transcript(&recording).await;
    let path = format!("/v1/links/{}", link["id"].as_str().unwrap());
    assert_eq!(system.app.call(Method::DELETE, &path, APP_USER).await.status, 204);
    let maintenance = json!({"v": 1, "job": "run_maintenance"}).to_string();
    system.send_message(&system.queues().jobs, &maintenance).await;
    system.process_queues().await;
    assert_eq!(system.list_objects().await, []);
    system.link(APP_USER, ADA).await;

    let mut search = SecretSearch::default();
    search.add("the app user", APP_USER);
    search.add("the display name", link["zoom"]["display_name"].as_str().unwrap());
    search.add("the topic", &recording.topic);
    search.add("the e-mail address", &recording.host_email);
    let lines = log.lines();
    // The lines that a function logs at its default level.
    let logged = lines.iter().filter(|line| {
        let line: Value = serde_json::from_slice(line).unwrap();
        !matches!(line["level"].as_str().unwrap(), "TRACE" | "DEBUG")
    });
    let logged: Vec<u8> = logged.flatten().copied().collect();
    assert!(String::from_utf8_lossy(&logged).contains("FilesStored"));
    assert_eq!(search.found_in(&logged), [""; 0]);
}
