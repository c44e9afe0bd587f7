//! The app's webhook: rejections, retries, rotation.

use std::net::Ipv4Addr;

use jiff::SignedDuration;
use reelay_domain::keys::SecretVersions;
use reelay_domain::notification;
use reelay_zoom_sim::NewFile;
use support::zoom_users::ADA;
use support::{AppWebhook, Received, System};

use super::{forbidden_server, of_ada, two_small};

/// Whether a delivery has a valid Standard Webhooks signature.
fn is_signed(system: &System, notified: &Received) -> bool {
    let secrets = SecretVersions::single(system.config().secrets.notification_secret.as_str());
    notification::signature(&secrets, &notified.id, notified.timestamp, &notified.body).unwrap()
        == notified.signature
}

#[tokio::test]
async fn failed_webhook_is_retried_apart_from_event_bus() {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    let bus = system.subscribe_to_bus().await;
    let elsewhere = forbidden_server(Ipv4Addr::LOCALHOST).await;
    app_webhook.respond_next([500, 503]);
    app_webhook.redirect_next(307, &format!("http://{}/", elsewhere.address));
    app_webhook.respond_next([404]);
    system.link("alice", ADA).await;
    let notified = app_webhook.received();
    assert_eq!(notified.len(), 5, "four rejections and a success");
    assert!(
        notified.iter().all(|one| (&one.id, &one.body) == (&notified[0].id, &notified[0].body)),
        "the notification changed"
    );
    assert!(notified.iter().all(|one| is_signed(&system, one)));
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
    assert_eq!(system.peek_messages(&bus).await.len(), 1);
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn message_makes_five_attempts_and_no_dead_letter() {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    let bus = system.subscribe_to_bus().await;
    app_webhook.respond_next([500; 100]);
    system.link("alice", ADA).await;
    assert_eq!(app_webhook.received().len(), 5, "unexpected number of attempts");
    assert_eq!(system.peek_messages(&bus).await.len(), 1);
    assert_eq!(system.queue_depth(&system.queues().notifications).await, 0);
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn failed_notification_does_not_delay_others() {
    let (system, app_webhook) = System::linked("automatic").await;
    let before = app_webhook.received().len();
    app_webhook.respond_next([500; 3]);
    // One file: two files that finish together may both publish `recording.stored`.
    let recording = system.record(of_ada(vec![NewFile::new("MP4", 100)])).await;
    let expected =
        [("recording.detected", 1), ("recording.file_stored", 1), ("recording.stored", 1)];
    assert_eq!(
        app_webhook.counts(&recording),
        expected.map(|(kind, count)| (kind.to_owned(), count)).into()
    );
    assert_eq!(app_webhook.received().len() - before, 3 + 3);
}

#[tokio::test]
async fn both_signatures_are_sent_during_rotation() {
    let (system, app_webhook) = System::linked("automatic").await;
    system
        .rotate_secret("NotificationSecretName", "bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQh")
        .await;
    system.advance(SignedDuration::from_mins(6));
    system.complete_recording(of_ada(two_small())).await;
    system.process_queues().await;
    let notified = app_webhook.received().pop().unwrap();
    let signatures: Vec<_> = notified.signature.split(' ').collect();
    assert_eq!(signatures.len(), 2);
    let with_old = Received { signature: signatures[1].to_owned(), ..notified.clone() };
    assert!(is_signed(&system, &with_old));
    let new = SecretVersions::single("bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQh");
    assert_eq!(
        notification::signature(&new, &notified.id, notified.timestamp, &notified.body).unwrap(),
        signatures[0]
    );
}
