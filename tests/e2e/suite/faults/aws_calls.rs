//! Failures of every AWS call: rejected, dropped, or executed with a lost response.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{NewFile, NewRecording};
use support::zoom_users::ADA;
use support::{MIB, System};

use super::{linked, of_ada, two_small};

/// The ways in which a call fails. The SDK retries dropped calls and returns rejected ones.
fn failures_of_calls() -> [(&'static str, AwsFault); 4] {
    let rejected = || AwsFault::error(400, "AccessDeniedException");
    [
        ("rejected", rejected()),
        ("executed and reported as rejected", rejected().after_effect()),
        ("dropped", AwsFault::connection_closed()),
        ("executed with a lost response", AwsFault::connection_closed().after_effect()),
    ]
}

/// Lambda's own polling calls, which the functions do not make.
fn is_polling(operation: &str) -> bool {
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
    system.faults().decide_with(move |service, operation| {
        if !is_polling(operation) {
            *noted.lock().unwrap().entry((service, operation.to_owned())).or_default() += 1;
        }
        None
    });
    calls
}

/// Fails the `nth` call of an operation and advances the clock beyond a lease, as SQS would before the next
/// delivery. Returns the count of calls.
fn fail_nth(
    system: &System,
    service: Service,
    operation: &str,
    nth: u64,
    fault: AwsFault,
) -> Arc<AtomicU64> {
    let (count, wanted) = (Arc::new(AtomicU64::new(0)), operation.to_owned());
    let (counted, clock) = (Arc::clone(&count), system.stack.clock().clone());
    system.faults().decide_with(move |called, operation| {
        if called != service
            || operation != wanted
            || counted.fetch_add(1, Ordering::SeqCst) + 1 != nth
        {
            return None;
        }
        clock.advance(SignedDuration::from_secs(331));
        Some(fault.clone())
    });
    count
}

/// Counts the calls of one recording, then fails each of them for a new recording and asserts the same result.
async fn recording_survives(
    failure: usize,
    files: Vec<NewFile>,
    wanted: impl Fn(Service, &str) -> bool,
) {
    let (name, fault) = failures_of_calls()[failure].clone();
    let (system, app_webhook) = System::linked("automatic").await;
    let faults = system.faults();
    // The second recording does not read secrets, which instances cache.
    system.complete_recording(of_ada(files.clone())).await;
    system.process_queues().await;
    system.advance(SignedDuration::from_secs(331));
    let recording = system.complete_recording(of_ada(files.clone())).await;
    let calls = count_calls(&system);
    system.process_queues().await;
    faults.clear_all();
    system.assert_files(&recording, "no failure").await;
    let calls = calls.lock().unwrap().clone();
    let mut failed_calls = 0;
    for ((service, operation), count) in
        calls.iter().filter(|((service, operation), _)| wanted(*service, operation))
    {
        for nth in 1..=*count {
            let case = format!("{service:?} {operation} {nth} of {count} {name}");
            let recording = system.complete_recording(of_ada(files.clone())).await;
            let happened = fail_nth(&system, *service, operation, nth, fault.clone());
            system.process_and_retry().await;
            faults.clear_all();
            failed_calls += u64::from(happened.load(Ordering::SeqCst) >= nth);

            let manifest = system.assert_files(&recording, &case).await;
            assert_eq!(manifest["recording"]["status"], "stored", "{case}");
            let seen = system.view("alice", &recording).await;
            assert_eq!(seen["status"], "stored", "{case}: {seen}");
            assert_eq!(seen["files"].as_array().unwrap().len(), files.len(), "{case}");
            let expected = [
                ("recording.detected", 1),
                ("recording.file_stored", files.len()),
                ("recording.stored", 1),
            ];
            assert_eq!(
                app_webhook.counts(&recording),
                expected.map(|(kind, count)| (kind.to_owned(), count)).into(),
                "{case}"
            );
        }
    }
    let total: u64 = calls
        .iter()
        .filter(|((service, operation), _)| wanted(*service, operation))
        .map(|(_, count)| count)
        .sum();
    // Files are processed concurrently, so a few calls may not occur in another order.
    assert!(total > 0 && failed_calls * 10 >= total * 9, "{failed_calls} of {calls:?}");
}

/// Two parts.
fn large() -> Vec<NewFile> {
    vec![NewFile::new("MP4", 8 * MIB + 1)]
}

#[tokio::test]
async fn recording_survives_any_rejected_aws_call() {
    recording_survives(0, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn recording_survives_any_misreported_aws_call() {
    recording_survives(1, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn recording_survives_any_dropped_aws_call() {
    recording_survives(2, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn recording_survives_any_lost_aws_response() {
    recording_survives(3, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn multipart_upload_survives_any_rejected_call() {
    for failure in [0, 1] {
        recording_survives(failure, large(), |service, _| service == Service::S3).await;
    }
}

#[tokio::test]
async fn multipart_upload_survives_any_dropped_call() {
    for failure in [2, 3] {
        recording_survives(failure, large(), |service, _| service == Service::S3).await;
    }
}

#[tokio::test]
async fn confirmation_survives_any_aws_failure() {
    for (name, fault) in failures_of_calls() {
        let (system, app_webhook) = System::linked("automatic").await;
        let faults = system.faults();
        let claim = system.consent(&mut system.browser(), "first", ADA).await;
        system.advance(SignedDuration::from_secs(331));
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
                fail_nth(&system, *service, operation, nth, fault.clone());
                let first = system.app.confirm(&user, &claim).await;
                faults.clear_all();
                assert!(first.status == 200 || first.status >= 500, "{case}: {first:?}");
                let again = system.app.confirm(&user, &claim).await;
                assert_eq!(again.status, 200, "{case}: {first:?}, then {again:?}");
                assert_eq!(system.app.links(&user).await, [again.json()], "{case}");
                system.process_queues().await;
                let notified: BTreeSet<_> = app_webhook
                    .received()
                    .into_iter()
                    .filter(|notified| notified.json()["data"]["app_user_id"] == user.as_str())
                    .map(|notified| notified.id)
                    .collect();
                assert_eq!(notified.len(), 1, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn first_secret_read_may_fail() {
    let (system, app_webhook) = System::linked("automatic").await;
    let recording = system.complete_recording(of_ada(two_small())).await;
    // The downloader has not read a secret yet.
    system.faults().fail_next(
        Service::SecretsManager,
        "GetSecretValue",
        2,
        AwsFault::error(400, "AccessDeniedException"),
    );
    system.process_and_retry().await;
    system.assert_files(&recording, "").await;
    assert_eq!(app_webhook.counts(&recording)["recording.file_stored"], 2);
}

#[tokio::test]
async fn unprocessable_event_reaches_dlq_without_credentials() {
    let system = linked().await;
    system.faults().fail_until_cleared(
        Service::DynamoDb,
        "*",
        AwsFault::error(400, "AccessDeniedException"),
    );
    system.complete_recording(NewRecording::of(ADA)).await;
    system.process_queues().await;
    let queue = &system.queues().events_dlq;
    let messages = system.peek_messages(queue).await;
    assert_eq!(messages.len(), 1);
    system.assert_no_credentials(&messages);
    // The operator redrives the message after the outage.
    system.faults().clear_all();
    system.send_message(&system.queues().events, &messages[0]).await;
    system.process_queues().await;
    assert_eq!(system.stored_files().await.len(), 4);
}

#[tokio::test]
async fn file_can_be_requested_after_killed_last_delivery() {
    let system = linked().await;
    let recording = system.complete_recording(of_ada(vec![NewFile::new("MP4", 1_000)])).await;
    // DynamoDB rejects updates from the transfer's first write to the message's end.
    let begun = AtomicU64::new(0);
    system.faults().decide_with(move |service, operation| match (service, operation) {
        (Service::S3, "PutObject") => {
            begun.fetch_add(1, Ordering::SeqCst);
            None
        }
        (Service::DynamoDb, "UpdateItem") if begun.load(Ordering::SeqCst) > 0 => {
            Some(AwsFault::error(400, "AccessDeniedException"))
        }
        _ => None,
    });
    system.process_queues().await;
    system.faults().clear_all();
    assert_eq!(system.dead_letters().await.len(), 1);
    assert_ne!(system.view("alice", &recording).await["status"], "stored");
    system.advance(SignedDuration::from_hours(1));
    system.request_download(&recording).await;
    system.process_queues().await;
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
    system.assert_files(&recording, "").await;
}
