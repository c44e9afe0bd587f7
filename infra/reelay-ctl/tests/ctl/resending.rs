//! `resend`.

use jiff::SignedDuration;
use support::zoom_users::ADA;
use support::{AppWebhook, System};

use crate::run;

async fn linked() -> (System, AppWebhook) {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    system.link("alice", ADA).await;
    (system, app_webhook)
}

#[tokio::test]
async fn notifications_are_sent_again_with_the_same_id_and_body() {
    let (system, app_webhook) = linked().await;
    system.link("bob", ADA).await;
    let bus = system.subscribe_to_bus().await;
    let sent = app_webhook.received();
    let output = run::on(&system, "resend --user alice --dry-run --json").await;
    assert_eq!((output.code, &output.json()["notifications"]), (0, &1.into()), "{output:?}");
    system.process_queues().await;
    assert_eq!(app_webhook.received().len(), sent.len());

    let output = run::on(&system, "resend --user alice").await;
    assert_eq!(output.out.trim(), "1 notification will be sent again.", "{output:?}");
    system.process_queues().await;
    let again = app_webhook.received().split_off(sent.len());
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].id, &again[0].body), (&sent[0].id, &sent[0].body));
    assert_eq!(system.peek_messages(&bus).await.len(), 1);
    let future = system.app.now() + SignedDuration::from_hours(1);
    let output = run::on(&system, &format!("resend --since {future} --json")).await;
    assert_eq!(output.json()["notifications"], 0, "{output:?}");
}

#[tokio::test]
async fn only_undelivered_notifications_are_sent_again() {
    let (system, app_webhook) = linked().await;
    let bus = system.subscribe_to_bus().await;
    app_webhook.respond_next([400; 5]);
    system.link("bob", ADA).await;
    let before = app_webhook.received();
    let output = run::on(&system, "resend --undelivered --json").await;
    assert_eq!(output.json()["notifications"], 1, "{output:?}");
    system.process_queues().await;
    let again = app_webhook.received().split_off(before.len());
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].id, before.last().unwrap().id);
    assert_eq!(system.peek_messages(&bus).await.len(), 1, "the event bus had it");
    let output = run::on(&system, "resend --undelivered --json").await;
    assert_eq!(output.json()["notifications"], 0, "{output:?}");
}

#[tokio::test]
async fn recordings_without_a_link_are_left_out() {
    let (system, app_webhook) = linked().await;
    system.link("bob", ADA).await;
    let video = support::recordings::video(100);
    system.record(video).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    let before = app_webhook.received().len();
    let output = run::on(&system, "resend --user alice --json").await;
    let seen = output.json();
    assert_eq!((&seen["notifications"], &seen["not_covered"]), (&2.into(), &3.into()), "{seen}");
    system.process_queues().await;
    // Order is not promised.
    let mut resent = app_webhook.types().split_off(before);
    resent.sort_unstable();
    assert_eq!(resent, ["link.activated", "link.removed"]);
}
