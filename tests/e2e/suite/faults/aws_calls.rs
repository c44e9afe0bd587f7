//! Every call of an AWS service, refused, cut, or done and said to have failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{NewFile, NewRecording};
use reqwest::Method;
use support::people::ADA;
use support::{System, store, zoom};

use super::{MIB, assert_whole, linked, linked_with_inbox, of_ada, recording_id, two_small, view};

/// What can become of a call. The SDK repeats what was cut, and gives up what was refused.
fn mishaps() -> [(&'static str, AwsFault); 4] {
    let refused = || AwsFault::error(400, "AccessDeniedException");
    [
        ("refused", refused()),
        ("done and said to be refused", refused().after_effect()),
        ("cut", AwsFault::connection_closed()),
        ("done and cut", AwsFault::connection_closed().after_effect()),
    ]
}

/// Lambda's own calls for the functions: what becomes of those is not the functions' doing.
fn is_pollers(operation: &str) -> bool {
    matches!(
        operation,
        "ReceiveMessage" | "DeleteMessageBatch" | "ChangeMessageVisibility" | "GetQueueAttributes"
    )
}

type Calls = BTreeMap<(Service, String), u64>;

/// Counts the functions' calls until faults are cleared.
fn count_calls(system: &System) -> Arc<Mutex<Calls>> {
    let calls: Arc<Mutex<Calls>> = Arc::default();
    let noted = Arc::clone(&calls);
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            if !is_pollers(operation) {
                *noted
                    .lock()
                    .unwrap()
                    .entry((service, operation.to_owned()))
                    .or_default() += 1;
            }
            None
        });
    calls
}

/// Spoils the `nth` call of an operation. Time then goes on by more than a lease, as it would before SQS
/// delivers again. Gives whether it happened.
fn spoil(
    system: &System,
    service: Service,
    operation: &str,
    nth: u64,
    fault: AwsFault,
) -> Arc<AtomicU64> {
    let (count, wanted) = (Arc::new(AtomicU64::new(0)), operation.to_owned());
    let (counted, clock, zoom) = (
        Arc::clone(&count),
        system.stack.clock().clone(),
        system.zoom().clone(),
    );
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |called, operation| {
            if called != service
                || operation != wanted
                || counted.fetch_add(1, Ordering::SeqCst) + 1 != nth
            {
                return None;
            }
            clock.advance(SignedDuration::from_secs(331));
            zoom.advance(331);
            Some(fault.clone())
        });
    count
}

/// Completes recordings, one for each call that the way of one takes and that is in `range`, spoils that
/// call, and looks whether the end is the same as ever.
async fn whichever_call_is_spoiled(
    mishap: usize,
    files: Vec<NewFile>,
    wanted: impl Fn(Service, &str) -> bool,
) {
    let (name, fault) = mishaps()[mishap].clone();
    let (system, inbox) = linked_with_inbox().await;
    let faults = system.stack.engines().faults();
    // Twice, for what an instance reads once (its secrets) is read again only after a while.
    zoom::complete(&system, of_ada(files.clone())).await;
    system.work().await;
    system.stack.advance(SignedDuration::from_secs(331));
    let recording = zoom::complete(&system, of_ada(files.clone())).await;
    let calls = count_calls(&system);
    system.work().await;
    faults.clear_all();
    assert_whole(&system, &recording, "nothing spoiled").await;
    let calls = calls.lock().unwrap().clone();
    let mut spoiled = 0;
    for ((service, operation), count) in calls
        .iter()
        .filter(|((service, operation), _)| wanted(*service, operation))
    {
        for nth in 1..=*count {
            let case = format!("{service:?} {operation} {nth} of {count} {name}");
            let recording = zoom::complete(&system, of_ada(files.clone())).await;
            let happened = spoil(&system, *service, operation, nth, fault.clone());
            system.work().await;
            faults.clear_all();
            spoiled += u64::from(happened.load(Ordering::SeqCst) >= nth);

            let manifest = assert_whole(&system, &recording, &case).await;
            assert_eq!(manifest["recording"]["status"], "stored", "{case}");
            let seen = view(&system, &recording.uuid).await;
            assert_eq!(seen["status"], "stored", "{case}: {seen}");
            assert_eq!(
                seen["files"].as_array().unwrap().len(),
                files.len(),
                "{case}"
            );
            let expected = [
                ("recording.detected", 1),
                ("recording.file_stored", files.len()),
                ("recording.stored", 1),
            ];
            assert_eq!(
                inbox.facts(&recording),
                expected
                    .map(|(kind, count)| (kind.to_owned(), count))
                    .into(),
                "{case}"
            );
        }
    }
    let total: u64 = calls
        .iter()
        .filter(|((service, operation), _)| wanted(*service, operation))
        .map(|(_, count)| count)
        .sum();
    // Files are worked off side by side, so a call or two may be spared in another order.
    assert!(
        total > 0 && spoiled * 10 >= total * 9,
        "{spoiled} of {calls:?}"
    );
}

/// Two parts.
fn large() -> Vec<NewFile> {
    vec![NewFile::new("MP4", 8 * MIB + 1)]
}

#[tokio::test]
async fn whichever_aws_call_is_refused_the_recording_ends_the_same() {
    whichever_call_is_spoiled(0, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_aws_call_is_done_and_said_to_be_refused_the_recording_ends_the_same() {
    whichever_call_is_spoiled(1, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_aws_call_is_cut_the_recording_ends_the_same() {
    whichever_call_is_spoiled(2, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_aws_call_is_done_and_cut_the_recording_ends_the_same() {
    whichever_call_is_spoiled(3, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_call_of_a_multipart_upload_is_refused_the_object_is_whole() {
    for mishap in [0, 1] {
        whichever_call_is_spoiled(mishap, large(), |service, _| service == Service::S3).await;
    }
}

#[tokio::test]
async fn whichever_call_of_a_multipart_upload_is_cut_the_object_is_whole() {
    for mishap in [2, 3] {
        whichever_call_is_spoiled(mishap, large(), |service, _| service == Service::S3).await;
    }
}

#[tokio::test]
async fn whichever_aws_call_of_confirming_is_spoiled_the_link_is_active_after_a_repeat() {
    for (name, fault) in mishaps() {
        let (system, inbox) = linked_with_inbox().await;
        let faults = system.stack.engines().faults();
        let claim = system.consent(&mut system.browser(), "first", ADA).await;
        system.stack.advance(SignedDuration::from_secs(331));
        let calls = count_calls(&system);
        assert_eq!(system.app.confirm("first", &claim).await.status, 200);
        faults.clear_all();
        let calls = calls.lock().unwrap().clone();
        assert!(calls.len() >= 3, "{calls:?}");
        for ((service, operation), count) in &calls {
            for nth in 1..=*count {
                let case = format!("{service:?} {operation} {nth} of {count} {name}");
                let user = format!("{service:?}-{operation}-{nth}");
                let claim = system.consent(&mut system.browser(), &user, ADA).await;
                spoil(&system, *service, operation, nth, fault.clone());
                let first = system.app.confirm(&user, &claim).await;
                faults.clear_all();
                assert!(
                    first.status == 200 || first.status >= 500,
                    "{case}: {first:?}"
                );
                let again = system.app.confirm(&user, &claim).await;
                assert_eq!(again.status, 200, "{case}: {first:?}, then {again:?}");
                assert_eq!(system.app.links(&user).await, [again.json()], "{case}");
                system.work().await;
                let told: BTreeSet<_> = inbox
                    .told()
                    .into_iter()
                    .filter(|told| told.json()["data"]["app_user_id"] == user.as_str())
                    .map(|told| told.id)
                    .collect();
                assert_eq!(told.len(), 1, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn the_first_read_of_a_secret_may_fail() {
    let (system, inbox) = linked_with_inbox().await;
    let recording = zoom::complete(&system, of_ada(two_small())).await;
    // The downloader has read none so far.
    system.stack.engines().faults().fail_next(
        Service::SecretsManager,
        "GetSecretValue",
        2,
        AwsFault::error(400, "AccessDeniedException"),
    );
    system.work().await;
    assert_whole(&system, &recording, "").await;
    assert_eq!(inbox.facts(&recording)["recording.file_stored"], 2);
}

#[tokio::test]
async fn an_event_that_can_never_be_processed_ends_in_the_dead_letter_queue_without_a_credential() {
    let system = linked().await;
    system.stack.engines().faults().fail_until_cleared(
        Service::DynamoDb,
        "*",
        AwsFault::error(400, "AccessDeniedException"),
    );
    zoom::complete(&system, NewRecording::of(ADA)).await;
    system.work().await;
    let queue = &system.stack.config().queues.events_dlq;
    let messages = store::peek(&system.stack, queue).await;
    assert_eq!(messages.len(), 1);
    for credential in zoom::credentials(&system) {
        assert!(!messages[0].contains(&credential), "{credential}");
    }
    // A person moves it back when DynamoDB is there again.
    system.stack.engines().faults().clear_all();
    store::send(
        &system.stack,
        &system.stack.config().queues.events,
        &messages[0],
    )
    .await;
    system.work().await;
    assert_eq!(store::files(&system.stack).await.len(), 4);
}

#[tokio::test]
async fn a_file_whose_last_delivery_died_can_be_asked_for_again() {
    let system = linked().await;
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 1_000)])).await;
    // From the transfer's beginning to the message's end DynamoDB takes no update.
    let begun = AtomicU64::new(0);
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| match (service, operation) {
            (Service::S3, "PutObject") => {
                begun.fetch_add(1, Ordering::SeqCst);
                None
            }
            (Service::DynamoDb, "UpdateItem") if begun.load(Ordering::SeqCst) > 0 => {
                Some(AwsFault::error(400, "AccessDeniedException"))
            }
            _ => None,
        });
    system.work().await;
    system.stack.engines().faults().clear_all();
    assert_eq!(store::dead(&system.stack).await.len(), 1);
    assert_ne!(view(&system, &recording.uuid).await["status"], "stored");
    system.stack.advance(SignedDuration::from_hours(1));
    let path = format!("/v1/recordings/{}/download", recording_id(&recording));
    assert_eq!(
        system.app.call(Method::POST, &path, "alice").await.status,
        202
    );
    system.work().await;
    assert_eq!(view(&system, &recording.uuid).await["status"], "stored");
    assert_whole(&system, &recording, "").await;
}
