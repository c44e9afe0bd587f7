//! An app user whose link becomes active is notified of the known recordings.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{Fault, Point, RecordingChange, Selection};
use support::zoom_users::ADA;
use support::{AppWebhook, DelayedMessages, System};

use super::{linked, one_file, started};

/// The notifications about a stored recording with one file.
const AS_NEW: [&str; 3] = ["recording.detected", "recording.file_stored", "recording.stored"];

/// Type and id of each notification about recordings to an app user, from the `skip`th on.
fn notified(app_webhook: &AppWebhook, app_user: &str, skip: usize) -> Vec<(String, String)> {
    let received = app_webhook.received().into_iter().skip(skip);
    received
        .map(|received| (received.json(), received.id))
        .filter(|(body, _)| body["data"]["app_user_id"] == app_user)
        .map(|(body, id)| (body["type"].as_str().unwrap().to_owned(), id))
        .filter(|(kind, _)| kind.starts_with("recording."))
        .collect()
}

fn types(notified: &[(String, String)]) -> Vec<&str> {
    let mut types: Vec<_> = notified.iter().map(|(kind, _)| kind.as_str()).collect();
    types.sort_unstable();
    types
}

/// Links, and delivers the delayed jobs. Returns what the app user is notified of at once, and in all.
async fn link_and_wait(
    system: &System,
    app_webhook: &AppWebhook,
    app_user: &str,
) -> [Vec<(String, String)>; 2] {
    let before = app_webhook.received().len();
    let delayed = DelayedMessages::of(system, &system.queues().jobs);
    system.link(app_user, ADA).await;
    let at_once = notified(app_webhook, app_user, before);
    system.advance(SignedDuration::from_mins(15));
    let jobs = delayed.deliver(system).await;
    let repeated = jobs.iter().filter(|job| job.body.contains("notify_activation"));
    assert_eq!(repeated.map(|job| job.seconds).collect::<Vec<_>>(), [900]);
    system.process_queues().await;
    [at_once, notified(app_webhook, app_user, before)]
}

/// As [`link_and_wait`], if the delayed job notifies of nothing more.
async fn link(system: &System, app_webhook: &AppWebhook, app_user: &str) -> Vec<(String, String)> {
    let [at_once, in_all] = link_and_wait(system, app_webhook, app_user).await;
    assert_eq!(in_all, at_once, "repeated");
    at_once
}

#[tokio::test]
async fn second_app_user_is_notified_of_stored_recordings() {
    let (system, app_webhook) = linked(&[]).await;
    system.record(one_file()).await;
    let before = app_webhook.received().len();
    let bobs = link(&system, &app_webhook, "bob").await;
    assert_eq!(types(&bobs), AS_NEW);
    assert_eq!(notified(&app_webhook, "alice", before), []);
    // From now on both app users get the same notifications.
    system.record(one_file()).await;
    for user in ["alice", "bob"] {
        let later = notified(&app_webhook, user, before);
        assert_eq!(later.len(), if user == "bob" { 6 } else { 3 }, "{user}");
    }
}

#[tokio::test]
async fn returning_app_user_is_notified_with_new_ids() {
    let (system, app_webhook) = linked(&[]).await;
    system.link("bob", ADA).await;
    system.record(one_file()).await;
    let mut ids: BTreeSet<String> =
        notified(&app_webhook, "bob", 0).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 3);
    for round in 1..=2 {
        system.app.disconnect_all("bob").await;
        system.process_queues().await;
        let again = link(&system, &app_webhook, "bob").await;
        assert_eq!(types(&again), AS_NEW, "{round}");
        ids.extend(again.into_iter().map(|(_, id)| id));
        assert_eq!(ids.len(), 3 + 3 * round, "ids repeat");
    }
}

#[tokio::test]
async fn returning_app_user_is_notified_of_a_recording_without_downloads() {
    let (system, app_webhook) = linked(&[("FileTypes", "M4A")]).await;
    system.link("bob", ADA).await;
    system.record(one_file()).await;
    assert_eq!(types(&notified(&app_webhook, "bob", 0)), ["recording.detected"]);
    system.app.disconnect_all("bob").await;
    system.process_queues().await;
    let again = link(&system, &app_webhook, "bob").await;
    assert_eq!(types(&again), ["recording.detected"]);
}

#[tokio::test]
async fn second_app_user_is_notified_once_of_a_recording_without_downloads() {
    let (system, app_webhook) = linked(&[("DownloadMode", "on-demand")]).await;
    let recording = system.record(one_file()).await;
    let bobs = link(&system, &app_webhook, "bob").await;
    system.add_transcript(&recording).await;
    system.process_queues().await;
    assert_eq!(notified(&app_webhook, "bob", 0), bobs);
    assert_eq!(types(&bobs), ["recording.detected"]);
}

#[tokio::test]
async fn second_app_user_is_notified_once_although_the_event_is_in_progress() {
    let (system, app_webhook) = linked(&[("DownloadMode", "on-demand")]).await;
    system.complete_recording(one_file()).await;
    let rejected = AwsFault::error(400, "AccessDeniedException");
    system.faults().fail_until_cleared(Service::DynamoDb, "TransactWriteItems", rejected);
    system.process_queues().await;
    system.faults().clear_all();
    let queues = system.queues();
    let events = system.take_messages(&queues.events_dlq).await;
    system.link("bob", ADA).await;
    system.send_message(&queues.events, &events[0]).await;
    system.process_queues().await;
    assert_eq!(types(&notified(&app_webhook, "bob", 0)), ["recording.detected"]);
}

#[tokio::test]
async fn returning_last_app_user_is_notified() {
    let (system, app_webhook) = linked(&[]).await;
    system.record(one_file()).await;
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    system.zoom().wait_until_settled().await;
    system.process_queues().await;
    let again = link(&system, &app_webhook, "alice").await;
    assert_eq!(types(&again), AS_NEW);
}

#[tokio::test]
async fn first_app_user_is_notified_once_of_a_backfilled_recording() {
    let (system, app_webhook) = started(&[]).await;
    system.complete_recording(one_file()).await;
    system.process_queues().await;
    let first = link(&system, &app_webhook, "alice").await;
    assert_eq!(types(&first), AS_NEW);
}

#[tokio::test]
async fn recordings_before_the_window_are_not_announced() {
    let (system, app_webhook) = linked(&[]).await;
    system.record(one_file()).await;
    // 48 h, the longest meeting, and the longest processing.
    system.advance(SignedDuration::from_hours(103));
    assert_eq!(link(&system, &app_webhook, "bob").await, []);
    // 48 h and the longest processing, as for what is fetched: the meeting was not of the longest ones.
    system.record(one_file()).await;
    system.advance(SignedDuration::from_hours(73));
    assert_eq!(link(&system, &app_webhook, "carol").await, []);
}

#[tokio::test]
async fn second_app_user_is_notified_of_files_that_stay_failed() {
    let (system, app_webhook) = linked(&[]).await;
    let gone = system.fail(Point::Content, Fault::Status { status: 410 });
    let recording = system.record(one_file()).await;
    system.zoom().clear_faults(Some(gone));
    let trashed = system.zoom().change_recording(
        &recording.key,
        RecordingChange::Trash,
        &Selection::default(),
    );
    system.await_deliveries(&trashed.unwrap()).await;
    system.process_queues().await;
    let [_, bobs] = link_and_wait(&system, &app_webhook, "bob").await;
    assert_eq!(types(&bobs), ["recording.detected", "recording.failed"]);
}
