//! One recording: what its app users see, and that other app users see nothing.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use support::System;
use support::zoom_users::{ADA, BEN};

use super::{assert_problem, create_meeting, process_arrived};

/// Creates and processes a recording; returns its id.
async fn one_recording(system: &System, zoom_user: &str) -> String {
    let id = create_meeting(system, zoom_user, system.app.now());
    process_arrived(system).await;
    id
}

#[tokio::test]
async fn only_single_recording_has_presigned_urls() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let id = one_recording(&system, ADA).await;
    let listed = &system.app.recordings("alice").await[0];
    let given = system.app.get(&format!("/v1/recordings/{id}"), "alice").await;
    assert_eq!(given.status, 200);
    let mut given = given.json();

    let keys: BTreeSet<_> = given.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "bytes_stored duration_minutes files id kind link_ids meeting_id meeting_uuid size start_time status stored_at \
                    timezone topic updated_at zoom zoom_state";
    assert_eq!(keys, expected.split(' ').collect());
    assert_eq!((&given["status"], &given["zoom_state"]), (&json!("stored"), &json!("present")));
    assert_eq!(given["zoom"], json!({"account_id": "Acct_Northwind00000001", "user_id": ADA}));

    let file = given["files"][0].as_object_mut().unwrap();
    let url = file.insert("url".to_owned(), Value::Null).unwrap();
    let until = file.insert("url_expires_at".to_owned(), Value::Null).unwrap();
    let until: Timestamp = until.as_str().unwrap().parse().unwrap();
    let now = system.app.now();
    assert!(now < until && until <= now + SignedDuration::from_hours(1), "{now} {until}");
    assert_eq!(&given, listed, "the list differs by more than URLs");

    let response = reqwest::get(url.as_str().unwrap()).await.unwrap();
    let disposition = response.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
    assert!(disposition.ends_with(".txt"), "{disposition}");
    let bytes = response.bytes().await.unwrap();
    let links = system.app.links("alice").await;
    assert_eq!(given["link_ids"], json!([links[0]["id"]]));
    let key = given["files"][0]["key"].as_str().unwrap();
    assert_eq!(bytes, system.stored_files().await[key]);
}

#[tokio::test]
async fn another_users_recording_is_not_found() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    // Ben is in Ada's Zoom account; Mallory's consent was never confirmed.
    system.link("ben", BEN).await;
    system.consent(&mut system.browser(), "mallory", ADA).await;
    let id = one_recording(&system, ADA).await;
    assert_eq!(system.app.get(&format!("/v1/recordings/{id}"), "alice").await.status, 200);

    let unknown = URL_SAFE_NO_PAD.encode("no such meeting");
    for user in ["ben", "mallory", "nobody"] {
        assert!(system.app.recordings(user).await.is_empty(), "{user}");
        let calls = [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/download")];
        for (method, tail) in calls {
            let call = async |id: &str| {
                system.app.call(method.clone(), &format!("/v1/recordings/{id}{tail}"), user).await
            };
            let (foreign, missing) = (call(&id).await, call(&unknown).await);
            assert_problem(&foreign, 404, "recording_not_found", user);
            // The response does not reveal that the recording exists.
            assert_eq!(foreign.body, missing.body, "{user}");
        }
    }
    assert_eq!(system.queue_depth(&system.queues().downloads).await, 0);
    for id in ["x", "-", &"a".repeat(172), &"a".repeat(173), "manifest.json", &format!("{id}=")] {
        let response = system.app.get(&format!("/v1/recordings/{id}"), "alice").await;
        assert_problem(&response, 404, "recording_not_found", id);
    }
}
