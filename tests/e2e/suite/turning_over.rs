//! Keys and secrets turn over while what was made under the old ones is still on its way. The state key and
//! the app secret are in `linking` too, the webhook secret in `webhook::secret`, the client secret in
//! `reelay_grants::client_secret`, the notification secret in `faults::app_webhook`.

use jiff::SignedDuration;
use reelay_zoom_sim::{NewFile, NewRecording, Recording};
use reqwest::Method;
use serde_json::json;
use support::people::ADA;
use support::{System, store, zoom};

fn small() -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 100)])
}

async fn turn_over_queue_key(system: &System, value: &str) {
    let environment = system.stack.function_environment("webhook").unwrap();
    let id = environment.variables.required("QUEUE_KEY").unwrap();
    let put = system.stack.sdk().secretsmanager().put_secret_value();
    let put = put.secret_id(id).secret_string(value);
    put.send().await.unwrap();
}

/// How often a file was fetched by what its event brought, and how often Zoom's API was asked for more.
fn ways(system: &System) -> (usize, usize) {
    let requests = system.zoom().requests();
    let count = |part: &str| requests.iter().filter(|it| it.path.contains(part)).count();
    (
        count("/rec/webhook_download/"),
        count("/v2/meetings/") + count("/rec/download/"),
    )
}

async fn request_download(system: &System, recording: &Recording) {
    let listed = system.app.recordings("alice").await;
    let mut listed = listed.iter();
    let found = listed.find(|it| it["meeting_uuid"] == recording.uuid);
    let id = found.unwrap()["id"].as_str().unwrap();
    let path = format!("/v1/recordings/{id}/download");
    assert_eq!(
        system.app.call(Method::POST, &path, "alice").await.status,
        202
    );
}

#[tokio::test]
async fn a_file_sealed_before_the_queue_key_turns_over_is_fetched_after_it() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    // One lies in the table, and one in the events queue, when the key turns over.
    let in_the_table = zoom::complete(&system, small()).await;
    system.work().await;
    let in_the_queue = zoom::complete(&system, small()).await;
    turn_over_queue_key(&system, &"n".repeat(44)).await;
    system.stack.advance(SignedDuration::from_mins(6));
    let sealed_anew = zoom::complete(&system, small()).await;
    system.work().await;
    for recording in [&in_the_table, &in_the_queue, &sealed_anew] {
        request_download(&system, recording).await;
    }
    system.work().await;
    assert_eq!(store::files(&system.stack).await.len(), 3);
    assert_eq!(ways(&system), (3, 0));
}

#[tokio::test]
async fn a_file_sealed_under_a_key_newer_than_the_downloader_knows_is_fetched_by_what_its_event_brought()
 {
    let system = System::start().await;
    system.link("alice", ADA).await;
    // Each function keeps the key for five minutes after it read it: the webhook reads now, and the
    // downloader 200 seconds later.
    zoom::complete(&system, small()).await;
    system.stack.advance(SignedDuration::from_secs(200));
    system.work().await;
    turn_over_queue_key(&system, &"n".repeat(44)).await;
    system.stack.advance(SignedDuration::from_secs(101));
    zoom::complete(&system, small()).await;
    system.work().await;
    assert_eq!(store::files(&system.stack).await.len(), 2);
    assert_eq!(ways(&system), (2, 0));
}

#[tokio::test]
async fn a_file_sealed_two_keys_ago_is_fetched_by_what_zooms_api_gives() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let recording = zoom::complete(&system, small()).await;
    system.work().await;
    for key in ["n", "o"] {
        turn_over_queue_key(&system, &key.repeat(44)).await;
    }
    request_download(&system, &recording).await;
    system.work().await;
    assert_eq!(store::files(&system.stack).await.len(), 1);
    assert_eq!(ways(&system).0, 0);
}

#[tokio::test]
async fn the_old_version_is_dead_within_five_minutes_of_losing_its_stage() {
    let system = System::start().await;
    let old = system.app.api_token("alice");
    let links = async |token: &str| {
        let answer = system
            .app
            .call_with(Method::GET, "/v1/links", Some(token), None);
        answer.await.status
    };
    assert_eq!(links(&old).await, 200);
    let new = "n".repeat(44);
    store::turn_over(&system.stack, "AppSecretName", &new).await;
    let signed = |user| {
        let claims = system.app.claims("reelay:api", user);
        system
            .app
            .sign_with(&claims, &jsonwebtoken::Header::default(), &new)
    };
    assert_eq!(
        (links(&signed("alice")).await, links(&old).await),
        (200, 200)
    );

    store::end_previous(&system.stack, "AppSecretName").await;
    system.stack.advance(SignedDuration::from_secs(301));
    assert_eq!(links(&signed("alice")).await, 200);
    let old = system.app.api_token("alice");
    assert_eq!(links(&old).await, 401);
    let body = json!({"claim": "none"}).to_string();
    let refused = system
        .app
        .call_with(Method::POST, "/v1/links/confirm", Some(&old), Some(body));
    assert_eq!(refused.await.code(), "token_invalid");
}
