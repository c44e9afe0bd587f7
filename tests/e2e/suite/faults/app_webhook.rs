//! An app's webhook that refuses, hangs, or comes back.

use std::net::Ipv4Addr;

use jiff::SignedDuration;
use reelay_domain::keys::SecretVersions;
use reelay_domain::notification;
use reelay_zoom_sim::NewFile;
use support::people::ADA;
use support::{Inbox, System, Told, store, zoom};

use super::{Trap, linked_with_inbox, of_ada, two_small};

/// Whether a delivery is signed as Standard Webhooks says, with the secret that the app was given.
fn is_signed(system: &System, told: &Told) -> bool {
    let secrets =
        SecretVersions::single(system.stack.config().secrets.notification_secret.as_str());
    notification::signature(&secrets, &told.id, told.timestamp, &told.body).unwrap()
        == told.signature
}

#[tokio::test]
async fn a_webhook_that_refuses_is_told_again_until_it_takes_it_and_the_bus_is_told_once() {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url)]).await;
    let bus = store::listen_to_bus(&system.stack).await;
    let elsewhere = Trap::on(Ipv4Addr::LOCALHOST).await;
    let redirect = format!(
        "307 Temporary Redirect\r\nlocation: http://{}/",
        elsewhere.address
    );
    inbox.answer_next(&[
        "500 Oh",
        "503 No",
        &redirect,
        "404 Not Found",
        "429 Too Many",
        "302 Found",
        "400 Bad",
    ]);
    system.link("alice", ADA).await;
    let told = inbox.told();
    assert_eq!(told.len(), 8, "seven refusals and the end");
    assert!(
        told.iter()
            .all(|one| (&one.id, &one.body) == (&told[0].id, &told[0].body)),
        "the same fact, frozen"
    );
    assert!(told.iter().all(|one| is_signed(&system, one)));
    assert_eq!(elsewhere.visits(), 0, "redirects are not followed");
    assert_eq!(store::peek(&system.stack, &bus).await.len(), 1);
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_webhook_that_never_takes_it_leaves_the_message_where_a_person_sees_it() {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url)]).await;
    let bus = store::listen_to_bus(&system.stack).await;
    inbox.answer_next(&["500 Oh"; 100]);
    system.link("alice", ADA).await;
    assert_eq!(
        inbox.told().len(),
        15,
        "once for all destinations, then by the queue's own count"
    );
    assert_eq!(store::peek(&system.stack, &bus).await.len(), 1);
    let messages = store::peek(
        &system.stack,
        &system.stack.config().queues.notifications_dlq,
    )
    .await;
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains(&inbox.told()[0].id));
}

#[tokio::test]
async fn one_notification_that_is_refused_does_not_hold_up_the_others() {
    let (system, inbox) = linked_with_inbox().await;
    let before = inbox.told().len();
    inbox.answer_next(&["500 Oh", "500 Oh", "500 Oh"]);
    // One file: those who store the last two at the same time may both tell that the set is complete.
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 100)])).await;
    system.work().await;
    let expected = [
        ("recording.detected", 1),
        ("recording.file_stored", 1),
        ("recording.stored", 1),
    ];
    assert_eq!(
        inbox.facts(&recording),
        expected
            .map(|(kind, count)| (kind.to_owned(), count))
            .into()
    );
    assert_eq!(inbox.told().len() - before, 3 + 3);
}

#[tokio::test]
async fn while_the_notification_secret_turns_over_both_signatures_are_sent() {
    let (system, inbox) = linked_with_inbox().await;
    store::turn_over(
        &system.stack,
        "NotificationSecretName",
        "bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQh",
    )
    .await;
    system.stack.advance(SignedDuration::from_mins(6));
    zoom::complete(&system, of_ada(two_small())).await;
    system.work().await;
    let told = inbox.told().pop().unwrap();
    let signatures: Vec<_> = told.signature.split(' ').collect();
    assert_eq!(signatures.len(), 2);
    let with_old = Told {
        signature: signatures[1].to_owned(),
        ..told.clone()
    };
    assert!(is_signed(&system, &with_old));
    let new = SecretVersions::single("bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQh");
    assert_eq!(
        notification::signature(&new, &told.id, told.timestamp, &told.body).unwrap(),
        signatures[0]
    );
}
