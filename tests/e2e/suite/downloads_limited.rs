//! Zoom's rate limits: which requests wait, and for how long.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};
use serde_json::json;
use support::recordings::recording_path;
use support::zoom_users::{ADA, BEN, CEM};
use support::{AppWebhook, DelayedMessages, MIB, System};

fn small(host: &str) -> NewRecording {
    NewRecording::of(host).with_files(vec![NewFile::new("MP4", 1_000)])
}

/// Requests for files, to Zoom and to the CDN.
fn file_requests(system: &System) -> usize {
    system.requests("/rec/") + system.requests("/ssrweb/")
}

/// Three linked users, and an app webhook that accepts an advanced clock.
async fn linked() -> (System, AppWebhook) {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    for (user, zoom_user) in [("alice", ADA), ("bob", BEN), ("cem", CEM)] {
        system.link(user, zoom_user).await;
    }
    (system, app_webhook)
}

#[tokio::test]
async fn rate_limited_account_sends_no_requests() {
    let in_an_hour = |format: &str| {
        let then = jiff::Timestamp::now() + SignedDuration::from_hours(1);
        then.strftime(format).to_string()
    };
    let come_back = |retry_after: String| Fault::RetryAfter { status: 429, retry_after };
    let hour = SignedDuration::from_secs(3_601);
    for (fault, over) in [
        (come_back("3600".to_owned()), hour),
        (come_back(in_an_hour("%Y-%m-%dT%H:%M:%SZ")), hour),
        (come_back(in_an_hour("%a, %d %b %Y %H:%M:%S GMT")), hour),
        // Without a time the daily limit lasts until midnight UTC.
        (Fault::DailyLimit, SignedDuration::from_hours(24)),
    ] {
        let case = format!("{fault:?}");
        let (system, _inbox) = linked().await;
        let limit = NewFault::times(Point::Download, fault, 1);
        system.zoom().arm(limit).unwrap();
        let adas = system.complete_recording(small(ADA)).await;
        system.process_queues().await;
        system.zoom().clear_requests();
        // Files of the same account wait; other accounts' files do not.
        let bens = system.complete_recording(small(BEN)).await;
        system.process_queues().await;
        assert_eq!(file_requests(&system), 0, "{case}");
        let cems = system.complete_recording(small(CEM)).await;
        system.process_queues().await;
        assert_eq!(file_requests(&system), 2, "{case}");
        system.assert_stored(&cems, &case).await;
        // Only the file that met the limit used an attempt.
        let ben = system.app.get(&recording_path(&bens), "bob").await.json();
        assert_eq!(ben["files"][0]["attempts"], 0, "{case}");
        assert_eq!(system.first_file(&adas).await["attempts"], 1, "{case}");

        system.maintain_after(over + SignedDuration::from_mins(1)).await;
        for recording in [&adas, &bens] {
            system.assert_stored(recording, &case).await;
        }
    }
}

#[tokio::test]
async fn unspecified_rate_limit_lasts_ten_seconds() {
    for fault in [
        Fault::RateLimited { retry_after_seconds: None },
        Fault::Status { status: 429 },
        Fault::RetryAfter { status: 429, retry_after: "soon".to_owned() },
    ] {
        let case = format!("{fault:?}");
        let (system, _inbox) = linked().await;
        let delayed = DelayedMessages::watch(&system);
        let limit = NewFault::times(Point::Download, fault, 1);
        system.zoom().arm(limit).unwrap();
        let recording = system.record(small(ADA)).await;
        system.advance(SignedDuration::from_secs(10));
        let seconds: Vec<u64> =
            delayed.deliver(&system).await.into_iter().map(|later| later.seconds).collect();
        assert!(seconds == [10], "{case}: {seconds:?} s");
        system.process_queues().await;
        system.assert_stored(&recording, &case).await;
    }
}

#[tokio::test]
async fn hours_of_rate_limit_cost_one_attempt() {
    let (system, _inbox) = linked().await;
    let limit = Fault::RateLimited { retry_after_seconds: Some(6 * 3_600) };
    system.zoom().arm(NewFault::times(Point::Download, limit, 1)).unwrap();
    let recording = system.record(small(ADA)).await;
    system.zoom().clear_requests();
    system.maintain_for(SignedDuration::from_mins(354), SignedDuration::from_mins(59)).await;
    assert_eq!(file_requests(&system), 0);
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["attempts"]), (&json!("queued"), &json!(1)));
    system.maintain_after(SignedDuration::from_mins(7)).await;
    system.assert_stored(&recording, "").await;
    assert_eq!(system.first_file(&recording).await["attempts"], 2);
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn endless_rate_limit_fails_and_is_retriable() {
    let (system, app_webhook) = linked().await;
    let limit = Fault::RetryAfter { status: 429, retry_after: "800".to_owned() };
    let armed = system.zoom().arm(NewFault::always(Point::Download, limit)).unwrap();
    let recording = system.record(small(ADA)).await;
    let hour = SignedDuration::from_hours(1);
    system.maintain_for(23 * hour, 23 * hour).await;
    assert_eq!(system.first_file(&recording).await["status"], "queued");
    system.maintain_after(2 * hour).await;
    let seen = system.first_file(&recording).await;
    assert_eq!((&seen["status"], &seen["reason"]), (&json!("failed"), &json!("rate_limited")));
    assert_eq!(app_webhook.counts(&recording)["recording.failed"], 1);
    assert_eq!(system.dead_letters().await, [""; 0]);

    system.zoom().clear_faults(Some(armed));
    system.advance(SignedDuration::from_secs(801));
    system.request_download(&recording).await;
    system.process_queues().await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn file_that_waits_a_minute_says_until_when() {
    let (system, _inbox) = linked().await;
    let limit = Fault::RateLimited { retry_after_seconds: Some(60) };
    system.fail_next(Point::Download, limit, 1);
    system.record(small(ADA)).await;
    // Of the same account, so it is not requested.
    let recording = system.record(small(ADA)).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["attempts"]), (&json!("queued"), &json!(0)));
    assert!(file["next_attempt_at"].is_string(), "{file}");
}

#[tokio::test]
async fn rate_limit_mid_file_fetches_nothing_twice() {
    for at_the_api in [false, true] {
        let case = format!("at the API: {at_the_api}");
        let (system, _inbox) = linked().await;
        let limit = Fault::RateLimited { retry_after_seconds: Some(60) };
        if at_the_api {
            // The event's URL is rejected before and after the wait.
            let rejected = Fault::Status { status: 401 };
            system.fail_next(Point::Download, rejected, 2);
        }
        let point = if at_the_api { Point::MeetingRecordings } else { Point::Content };
        let skip = u32::from(!at_the_api);
        let armed = NewFault::times(point, limit, 1).skip_first(skip);
        system.zoom().arm(armed).unwrap();
        system.zoom().clear_requests();
        let new = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 9 * MIB)]);
        let recording = system.record(new).await;
        let seen = system.first_file(&recording).await;
        assert_eq!(seen["status"], "queued", "{case}");
        system.maintain_after(SignedDuration::from_hours(1)).await;
        system.assert_stored(&recording, &case).await;
        let requests = system.zoom().requests();
        let served =
            requests.iter().filter(|r| r.path.starts_with("/ssrweb/") && r.status == Some(206));
        assert_eq!(served.count(), 2, "{case}");
    }
}
