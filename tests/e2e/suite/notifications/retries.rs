//! Failed deliveries: retried by time, each destination apart, held while the app's webhook is down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use reelay_embedded_aws::Service;
use reelay_store::notifications::NotificationTable;
use reelay_zoom_sim::NewRecording;
use serde_json::{Value, json};
use support::zoom_users::{ADA, BEN, CEM};
use support::{AppWebhook, Received, System};

use super::{FEED_DELAY, feed, linked, one_file, started, types};

/// Number of deliveries of each notification.
fn deliveries(received: &[Received]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in received {
        *counts.entry(one.id.clone()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn every_notification_is_enqueued_and_sent_once() {
    let (system, app_webhook) = linked(&[]).await;
    let bus = system.subscribe_to_bus().await;
    let before = app_webhook.received().len();
    let enqueued: Arc<Mutex<usize>> = Arc::default();
    let (count, queue) = (Arc::clone(&enqueued), system.queues().notifications.clone());
    system.faults().observe_with(move |call| {
        if call.service == Service::Sqs && call.operation.starts_with("SendMessage") {
            let request: Value = serde_json::from_slice(call.request).unwrap();
            if request["QueueUrl"] == queue.as_str() {
                *count.lock().unwrap() += request["Entries"].as_array().map_or(1, Vec::len);
            }
        }
    });
    let file = |size| reelay_zoom_sim::NewFile::new("MP4", size);
    system.record(NewRecording::of(ADA).with_files((100..105).map(file).collect())).await;
    let received = app_webhook.received().split_off(before);
    assert_eq!(received.len(), 7, "{:?}", app_webhook.types());
    assert_eq!(deliveries(&received).len(), 7);
    assert_eq!(*enqueued.lock().unwrap(), 7);
    // No repetition of a message or event sends anything again.
    let again = system.zoom().deliveries().into_iter().next_back().unwrap();
    let repeated = system.zoom().duplicate(again.id, true).unwrap();
    system.await_delivery(repeated).await;
    system.process_queues().await;
    system.advance(SignedDuration::from_hours(1));
    system.run_maintenance().await;
    assert_eq!(app_webhook.received().len(), before + 7);
    assert_eq!(system.peek_messages(&bus).await.len(), 7);
}

#[tokio::test]
async fn undelivered_notification_is_retried_for_days() {
    let (system, app_webhook) = started(&[("NotificationRetryDays", "1")]).await;
    let bus = system.subscribe_to_bus().await;
    app_webhook.respond_next([400; 1000]);
    system.link("alice", ADA).await;
    assert_eq!(app_webhook.received().len(), 5);
    let mut times: Vec<Timestamp> = Vec::new();
    let start = system.app.now();
    for _ in 0..27 {
        system.advance(SignedDuration::from_hours(1));
        let before = app_webhook.received().len();
        system.run_maintenance().await;
        let attempts = app_webhook.received().len() - before;
        assert!(attempts <= 1, "a message of maintenance makes one attempt");
        times.extend((attempts == 1).then(|| system.app.now()));
    }
    let hours = |time: &Timestamp| time.duration_since(start).as_hours();
    assert!((9..14).contains(&times.len()), "{times:?}");
    assert_eq!((hours(&times[0]), hours(times.last().unwrap())), (1, 24));
    let gap = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_mins()).max();
    assert!(gap.is_some_and(|gap| (180..=250).contains(&gap)), "{gap:?}");
    let received = app_webhook.received();
    assert!(received.iter().all(|it| (&it.id, &it.body) == (&received[0].id, &received[0].body)));
    assert_eq!(system.peek_messages(&bus).await.len(), 1, "the event bus received it again");
    assert_eq!(types(&feed(&system, "alice").await), ["link.activated"]);
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn failed_event_bus_never_repeats_the_webhook() {
    let (system, app_webhook) = started(&[]).await;
    let bus = system.subscribe_to_bus().await;
    let fault = reelay_embedded_aws::Fault::error(500, "InternalException");
    system.faults().fail_until_cleared(Service::EventBridge, "PutEvents", fault);
    system.link("alice", ADA).await;
    system.faults().clear_all();
    assert_eq!(app_webhook.received().len(), 1);
    system.advance(SignedDuration::from_mins(16));
    system.run_maintenance().await;
    assert_eq!(app_webhook.received().len(), 1);
    assert_eq!(system.peek_messages(&bus).await.len(), 1);
}

#[tokio::test]
async fn failed_read_of_the_breaker_never_repeats_the_event_bus() {
    let (system, app_webhook) = started(&[]).await;
    let bus = system.subscribe_to_bus().await;
    let is_put = AtomicBool::new(false);
    // The next read after the event bus accepted the notification.
    system.faults().decide_with(move |_, operation| match operation {
        "PutEvents" => {
            is_put.store(true, Ordering::Relaxed);
            None
        }
        "GetItem" if is_put.swap(false, Ordering::Relaxed) => {
            Some(reelay_embedded_aws::Fault::error(400, "AccessDeniedException"))
        }
        _ => None,
    });
    system.link("alice", ADA).await;
    assert_eq!(system.peek_messages(&bus).await.len(), 1);
    assert_eq!(app_webhook.received().len(), 1);
}

#[tokio::test]
async fn unusable_secret_never_repeats_the_event_bus() {
    let (system, app_webhook) = started(&[]).await;
    let bus = system.subscribe_to_bus().await;
    system.rotate_secret("NotificationSecretName", "not base64!").await;
    system.remove_previous_secret("NotificationSecretName").await;
    system.link("alice", ADA).await;
    let pass = SignedDuration::from_mins(16);
    for _ in 0..3 {
        system.advance(pass);
        system.run_maintenance().await;
    }
    assert_eq!(system.peek_messages(&bus).await.len(), 1);
    assert_eq!((app_webhook.received().len(), system.dead_letters().await.len()), (0, 0));
    system
        .rotate_secret("NotificationSecretName", "bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQh")
        .await;
    system.maintain_after(SignedDuration::from_hours(7)).await;
    assert_eq!(app_webhook.received().len(), 1);
    assert_eq!(system.peek_messages(&bus).await.len(), 1);
}

#[tokio::test]
async fn retry_after_is_respected() {
    let (system, app_webhook) = started(&[]).await;
    app_webhook.retry_after_next(429, "7200");
    system.link("alice", ADA).await;
    assert_eq!(app_webhook.received().len(), 1);
    for minutes in [60, 59] {
        system.advance(SignedDuration::from_mins(minutes));
        system.run_maintenance().await;
        assert_eq!(app_webhook.received().len(), 1, "too early");
    }
    system.advance(SignedDuration::from_mins(2));
    system.run_maintenance().await;
    assert_eq!(app_webhook.received().len(), 2);
}

#[tokio::test]
async fn odd_items_in_the_index_stop_no_notification() {
    let (system, app_webhook) = started(&[]).await;
    app_webhook.retry_after_next(429, "7200");
    system.link("alice", ADA).await;
    let odd = json!({
        "owner": {"S": "odd"}, "entry": {"S": "odd"}, "due_shard": {"S": "due#0"}, "next_attempt_at": {"N": "0"},
    });
    let unreadable = json!({
        "owner": {"S": "zoom#Account#User"}, "entry": {"S": "msg_odd"}, "due_shard": {"S": "due#0"},
        "next_attempt_at": {"N": "0"},
    });
    let table = &system.tables().notifications;
    system.stack.engines().import_items(table, vec![odd, unreadable]).unwrap();
    system.advance(SignedDuration::from_mins(121));
    system.run_maintenance().await;
    assert_eq!(app_webhook.received().len(), 2);
}

#[tokio::test]
async fn failed_write_keeps_back_no_other_notification() {
    let (system, app_webhook) = linked(&[]).await;
    system.link("bob", ADA).await;
    let before = app_webhook.received().len();
    system.fail_transactions_after_next();
    system.complete_recording(one_file()).await;
    system.process_queues().await;
    let received = app_webhook.received();
    let receivers = received[before..].iter().map(|it| it.json()["data"]["app_user_id"].clone());
    assert_eq!(receivers.collect::<Vec<_>>(), ["alice"]);
}

#[tokio::test]
async fn unsent_message_is_sent_by_maintenance() {
    let (system, app_webhook) = linked(&[]).await;
    system.complete_recording(one_file()).await;
    let before = app_webhook.received().len();
    // Simulates a message that SQS lost, or that a killed function did not send.
    let events = system.take_messages(&system.queues().events).await;
    for event in events {
        system.send_message(&system.queues().events, &event).await;
    }
    system.process_queues().await;
    assert_eq!(app_webhook.received().len(), before + 3);
    let fault = reelay_embedded_aws::Fault::error(500, "InternalError");
    system.faults().fail_until_cleared(Service::Sqs, "SendMessageBatch", fault);
    let claim = system.consent(&mut system.browser(), "bob", BEN).await;
    assert_eq!(system.app.confirm("bob", &claim).await.status, 503);
    system.faults().clear_all();
    system.run_maintenance().await;
    let sent = app_webhook.received().pop().unwrap().json();
    assert_eq!(
        (&sent["type"], &sent["data"]["app_user_id"]),
        (&"link.activated".into(), &"bob".into())
    );
}

#[tokio::test]
async fn recording_is_not_notified_after_the_end_of_the_link() {
    let (system, app_webhook) = linked(&[]).await;
    system.link("bob", ADA).await;
    app_webhook.respond_next([400; 1000]);
    system.record(one_file()).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    app_webhook.recover();
    let before = app_webhook.received().len();
    system.advance(SignedDuration::from_hours(1));
    system.run_maintenance().await;
    let mut sent = BTreeMap::<_, Vec<_>>::new();
    for received in app_webhook.received().split_off(before) {
        let body = received.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        sent.entry(text(&body["data"]["app_user_id"])).or_default().push(text(&body["type"]));
    }
    assert_eq!(sent["alice"], ["link.removed"]);
    assert_eq!(sent["bob"].len(), 3, "{sent:?}");
}

/// Links three app users, fails everything for more than a minute, and returns the system with an open breaker.
async fn down() -> (System, AppWebhook) {
    let (system, app_webhook) = linked(&[]).await;
    system.link("bob", BEN).await;
    system.link("cem", CEM).await;
    app_webhook.respond_next([503; 10_000]);
    for _ in 0..2 {
        for host in [ADA, BEN, CEM] {
            system.record(NewRecording { host_id: host.into(), ..one_file() }).await;
        }
        system.advance(SignedDuration::from_secs(66));
    }
    (system, app_webhook)
}

#[tokio::test]
async fn notifications_wait_while_the_webhook_is_down() {
    let (system, app_webhook) = down().await;
    let bus = system.subscribe_to_bus().await;
    let before = app_webhook.received().len();
    // The state of a breaker does not expire while it is open.
    system.advance(SignedDuration::from_hours(25));
    for _ in 0..3 {
        system.record(one_file()).await;
    }
    assert_eq!(app_webhook.received().len(), before, "sent although the webhook is down");
    assert_eq!(system.peek_messages(&bus).await.len(), 9, "the event bus is up");
    // A few of them probe it.
    system.run_maintenance().await;
    let probes = app_webhook.received().len() - before;
    assert!((1..=4).contains(&probes), "{probes}");

    app_webhook.recover();
    let recovered = app_webhook.received().len();
    system.run_maintenance().await;
    assert!(app_webhook.received().len() <= recovered + 4, "probes come first");
    system.run_maintenance().await;
    // Notifications that failed before the breaker opened are retried on their own schedule.
    system.advance(SignedDuration::from_mins(30));
    system.run_maintenance().await;
    let accepted = deliveries(&app_webhook.received().split_off(recovered));
    assert!(accepted.values().all(|count| *count == 1), "{accepted:?}");
    system.advance(FEED_DELAY);
    let mut expected = Vec::new();
    for user in ["alice", "bob", "cem"] {
        expected.extend(feed(&system, user).await);
    }
    expected.retain(|it| it["type"].as_str().unwrap().starts_with("recording."));
    assert_eq!(expected.len(), 27);
    for notification in expected {
        assert!(accepted.contains_key(notification["id"].as_str().unwrap()), "{notification}");
    }
}

#[tokio::test]
async fn one_app_user_does_not_open_the_breaker() {
    let (system, app_webhook) = linked(&[]).await;
    system.link("bob", BEN).await;
    let bens = NewRecording { host_id: BEN.into(), ..one_file() };
    for _ in 0..3 {
        app_webhook.respond_next([500; 15]);
        system.record(one_file()).await;
        app_webhook.recover();
        system.advance(SignedDuration::from_secs(66));
        let before = app_webhook.received().len();
        system.record(bens.clone()).await;
        assert_eq!(app_webhook.received().len(), before + 3);
    }
}

#[tokio::test]
async fn success_of_another_instance_keeps_the_breaker_closed() {
    let (system, app_webhook) = started(&[]).await;
    let environment = system.stack.function_environment("notifier").unwrap();
    let instance = || notifier::Notifier::new(environment).unwrap();
    let (failing, successful) = (instance(), instance());
    let deliver = async |instance: &notifier::Notifier, body: &str| {
        let record = json!({"messageId": "m", "body": body, "messageAttributes": {},
            "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"});
        instance.handle(serde_json::from_value(json!({"Records": [record]})).unwrap()).await
    };
    let table = NotificationTable::new(environment).unwrap();
    let mut messages = Vec::new();
    for (app_user, zoom_user) in [("alice", ADA), ("bob", BEN), ("cem", CEM)] {
        let claim = system.consent(&mut system.browser(), app_user, zoom_user).await;
        assert_eq!(system.app.confirm(app_user, &claim).await.status, 200);
        messages.extend(system.take_messages(&system.queues().notifications).await);
    }
    let [alice, bob, cem] = &messages[..] else { panic!("{messages:?}") };
    // The successful instance has read the state before the first failure.
    deliver(&successful, bob).await;
    for success in [None, Some(cem), None, None] {
        app_webhook.respond_next([503]);
        deliver(&failing, alice).await;
        assert!(!table.breaker(None).await.unwrap().is_open(), "open for one of three app users");
        system.advance(SignedDuration::from_secs(30));
        if let Some(message) = success {
            deliver(&successful, message).await;
        }
        system.advance(SignedDuration::from_secs(40));
    }
    let statuses: Vec<u16> = app_webhook.received().iter().map(|it| it.status).collect();
    assert_eq!(statuses, [204, 503, 503, 204, 503, 503]);
}
