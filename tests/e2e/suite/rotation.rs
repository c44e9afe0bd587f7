//! Rotation of the queue key and of the app secret. Other rotations are tested beside their features: `linking`,
//! `webhook::secret`, `grants::client_secret`, `faults::app_webhook`.

use jiff::SignedDuration;
use reelay_zoom_sim::{NewFile, NewRecording};
use reqwest::Method;
use serde_json::json;
use support::System;
use support::zoom_users::ADA;

fn small() -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 100)])
}

/// Downloads from event URLs, and requests to Zoom's API.
fn fetches(system: &System) -> (usize, usize) {
    let requests = system.zoom().requests();
    let count = |part: &str| requests.iter().filter(|it| it.path.contains(part)).count();
    (count("/rec/webhook_download/"), count("/v2/meetings/") + count("/rec/download/"))
}

#[tokio::test]
async fn encrypted_source_survives_queue_key_rotation() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    // One source is in the table and one in the events queue when the key is rotated.
    let in_the_table = system.complete_recording(small()).await;
    system.process_queues().await;
    let in_the_queue = system.complete_recording(small()).await;
    system.rotate_function_secret("webhook", "QUEUE_KEY", &"n".repeat(44)).await;
    system.advance(SignedDuration::from_mins(6));
    let sealed_anew = system.complete_recording(small()).await;
    system.process_queues().await;
    for recording in [&in_the_table, &in_the_queue, &sealed_anew] {
        system.request_download(recording).await;
    }
    system.process_queues().await;
    assert_eq!(system.stored_files().await.len(), 3);
    assert_eq!(fetches(&system), (3, 0));
}

#[tokio::test]
async fn downloader_rereads_key_for_newer_source() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    // Functions cache a key for five minutes: the webhook reads it now, the downloader 200 seconds later.
    system.complete_recording(small()).await;
    system.advance(SignedDuration::from_secs(200));
    system.process_queues().await;
    system.rotate_function_secret("webhook", "QUEUE_KEY", &"n".repeat(44)).await;
    system.advance(SignedDuration::from_secs(101));
    system.complete_recording(small()).await;
    system.process_queues().await;
    assert_eq!(system.stored_files().await.len(), 2);
    assert_eq!(fetches(&system), (2, 0));
}

#[tokio::test]
async fn source_older_than_two_keys_falls_back_to_api() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = system.record(small()).await;
    for key in ["n", "o"] {
        system.rotate_function_secret("webhook", "QUEUE_KEY", &key.repeat(44)).await;
    }
    system.request_download(&recording).await;
    system.process_queues().await;
    assert_eq!(system.stored_files().await.len(), 1);
    assert_eq!(fetches(&system).0, 0);
}

#[tokio::test]
async fn removed_secret_version_expires_within_five_minutes() {
    let system = System::start().await;
    let old = system.app.api_token("alice");
    let links = async |token: &str| system.app.get_with("/v1/links", token).await.status;
    assert_eq!(links(&old).await, 200);
    let new = "n".repeat(44);
    system.rotate_secret("AppSecretName", &new).await;
    let signed = |user| {
        let claims = system.app.claims("reelay:api", user);
        system.app.sign_with(&claims, &jsonwebtoken::Header::default(), &new)
    };
    assert_eq!((links(&signed("alice")).await, links(&old).await), (200, 200));

    system.remove_previous_secret("AppSecretName").await;
    system.advance(SignedDuration::from_secs(301));
    assert_eq!(links(&signed("alice")).await, 200);
    let old = system.app.api_token("alice");
    assert_eq!(links(&old).await, 401);
    let body = json!({"claim": "none"}).to_string();
    let rejected = system.app.call_with(Method::POST, "/v1/links/confirm", Some(&old), Some(body));
    assert_eq!(rejected.await.code(), "token_invalid");
}
