//! `docs/openapi.yaml` agrees with the system: routes, codes, responses and notifications. The snippet beside it
//! runs; the other languages' run in `tests/api`.

mod bodies;
mod document;
mod routes;
mod schema;
#[expect(unreachable_pub, reason = "it is meant to be copied")]
#[rustfmt::skip] // At most thirty lines.
#[path = "../../../../docs/snippets/reelay.rs"]
mod snippet;

use http::HeaderMap;
use support::recordings::video;
use support::zoom_users::ADA;
use support::{AppWebhook, System};

#[tokio::test]
async fn rust_snippet_links_lists_and_verifies() {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    let secrets = system.config().secrets.clone();
    let reelay = snippet::Reelay {
        api_url: format!("{}/v1", system.stack.url()),
        connect_url: format!("{}/zoom/connect", system.stack.url()),
        app_secret: secrets.app_secret,
        notification_secret: format!("whsec_{}", secrets.notification_secret),
    };
    let mut browser = system.browser();
    let authorize = browser.redirect(&reelay.connect_url("alice")).await;
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&callback).await.claim();
    let link = reelay.confirm("alice", &claim).await.unwrap();
    assert_eq!(link["status"], "active");
    let recording = system.record(video(1_000)).await;
    let recordings = reelay.recordings("alice").await.unwrap();
    assert_eq!(recordings["recordings"][0]["meeting_uuid"], recording.uuid);
    let received = app_webhook.received().remove(0);
    let timestamp = received.timestamp.to_string();
    let headers = [
        ("webhook-id", &received.id),
        ("webhook-timestamp", &timestamp),
        ("webhook-signature", &received.signature),
    ];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let headers = HeaderMap::from_iter(headers);
    reelay.verify(&headers, received.body.as_bytes()).unwrap();
    assert!(reelay.verify(&headers, b"{}").is_err(), "an altered body is accepted");
}
