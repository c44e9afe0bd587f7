//! Rows of the downloader's table that need several failures: at the API, at S3, or after earlier events.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{
    Fault, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection,
};
use serde_json::json;
use support::recordings::{folder, video};
use support::zoom_users::ADA;
use support::{MIB, System};

/// A file whose event has no download URL.
fn without_url() -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile {
        omit: vec!["download_url".into()],
        ..NewFile::new("MP4", 1_000)
    }])
}

/// Lets the retries end.
async fn retry_until_failed(system: &System) {
    system.maintain_for(SignedDuration::from_hours(24), SignedDuration::from_hours(6)).await;
}

/// Lets an hour pass, in which several attempts are due.
async fn retry(system: &System) {
    system.maintain_after(SignedDuration::from_hours(1)).await;
}

async fn assert_failed(system: &System, recording: &Recording, reason: &str, case: &str) {
    let seen = system.first_file(recording).await;
    assert_eq!((&seen["status"], &seen["reason"]), (&json!("failed"), &json!(reason)), "{case}");
    assert_eq!(system.open_uploads().await, 0, "{case}");
}

#[tokio::test]
async fn api_outage_after_rejected_token_is_retried() {
    let (system, _inbox) = System::linked("automatic").await;
    let nonsense = Fault::Respond {
        status: 200,
        content_type: "application/json".into(),
        body: "<oops>".into(),
    };
    for fault in
        [Fault::Status { status: 500 }, Fault::Status { status: 503 }, Fault::Close, nonsense]
    {
        let case = format!("{fault:?}");
        // The event's URL is rejected at both deliveries.
        system.fail_next(Point::Download, Fault::Status { status: 401 }, 2);
        system.fail_next(Point::MeetingRecordings, fault, 1);
        let recording = system.record(video(1_000)).await;
        assert_eq!(system.first_file(&recording).await["reason"], "zoom_api", "{case}");
        retry(&system).await;
        system.assert_stored(&recording, &case).await;
    }

    system.fail(Point::Download, Fault::Status { status: 401 });
    system.fail(Point::MeetingRecordings, Fault::Status { status: 500 });
    let recording = system.record(video(1_000)).await;
    retry_until_failed(&system).await;
    assert_failed(&system, &recording, "zoom_api", "for good").await;
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn refresh_outage_is_retried() {
    let (system, _inbox) = System::linked("automatic").await;
    for always in [false, true] {
        system.advance(SignedDuration::from_hours(2));
        let (rejected, down) = (Fault::Status { status: 401 }, Fault::Status { status: 500 });
        if always {
            system.fail(Point::Download, rejected);
            system.fail(Point::TokenRefresh, down);
        } else {
            system.fail_next(Point::Download, rejected, 2);
            system.fail_next(Point::TokenRefresh, down, 1);
        }
        let recording = system.record(video(1_000)).await;
        assert_eq!(system.first_file(&recording).await["reason"], "grant_unavailable");
        if always {
            retry_until_failed(&system).await;
            assert_failed(&system, &recording, "grant_unavailable", "for good").await;
        } else {
            retry(&system).await;
            system.assert_stored(&recording, "once").await;
        }
    }
}

#[tokio::test]
async fn file_without_a_grant_waits_for_the_user() {
    let (system, _inbox) = System::linked("automatic").await;
    let url = system.zoom().settings().deauthorize_url;
    system.zoom().change_settings(|config| config.deauthorize_url = None);
    let id = system.zoom().deauthorize(ADA).unwrap();
    system.zoom().wait_for_attempts(id, 1).await.unwrap();
    system.zoom().change_settings(|config| config.deauthorize_url = url);
    let recording = system.record(without_url()).await;
    let file = system.first_file(&recording).await;
    assert_eq!(
        (&file["status"], &file["reason"]),
        (&json!("queued"), &json!("reauthorization_required"))
    );
    assert_eq!(system.requests("/ssrweb/"), 0);
    retry_until_failed(&system).await;
    assert_failed(&system, &recording, "reauthorization_required", "").await;
}

#[tokio::test]
async fn unlisted_file_fails_after_a_day() {
    let (system, app_webhook) = System::linked("automatic").await;
    // 3301: still processing, or gone.
    let unlisted = Fault::Status { status: 404 };
    let armed = system.zoom().arm(NewFault::always(Point::MeetingRecordings, unlisted)).unwrap();
    let recording = system.record(without_url()).await;
    system.maintain_for(SignedDuration::from_hours(23), SignedDuration::from_hours(1)).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("queued"), &json!("not_found")));
    assert!(file["next_attempt_at"].is_string() && file["attempts"].as_u64() > Some(3), "{file}");
    assert_eq!(app_webhook.counts(&recording).get("recording.failed"), None);
    system.maintain_for(SignedDuration::from_hours(2), SignedDuration::from_hours(1)).await;
    assert_failed(&system, &recording, "not_found", "").await;
    assert_eq!(system.requests("/rec/"), 0);
    // A file that Zoom does not have needs no operator.
    assert_eq!(system.dead_letters().await, [""; 0]);
    system.zoom().clear_faults(Some(armed));
    // It is listed, without a URL.
    let recording = system.record(without_url()).await;
    assert_failed(&system, &recording, "no_source", "").await;
}

#[tokio::test]
async fn missing_listing_outranks_rejected_token() {
    let (system, _inbox) = System::linked("automatic").await;
    for (point, status) in [(Point::Download, 401), (Point::MeetingRecordings, 404)] {
        system.fail(point, Fault::Status { status });
    }
    let recording = system.record(video(1_000)).await;
    assert_eq!(system.first_file(&recording).await["reason"], "not_found");
}

#[tokio::test]
async fn trashed_recording_explains_missing_files() {
    for (disposal, reason) in
        [(RecordingChange::Trash, "trashed"), (RecordingChange::Delete, "deleted")]
    {
        // Zoom responds with a page; a plain 404 must mean the same.
        for plain in [false, true] {
            let case = format!("{reason}, plain: {plain}");
            let (system, app_webhook) = System::linked("on-demand").await;
            let recording = system.record(video(1_000)).await;
            let notified =
                system.zoom().change_recording(&recording.key, disposal, &Selection::default());
            system.await_deliveries(&notified.unwrap()).await;
            system.process_queues().await;
            if plain {
                system.fail(Point::Download, Fault::Status { status: 404 });
            }
            system.zoom().clear_requests();
            system.request_download(&recording).await;
            system.process_queues().await;
            assert_failed(&system, &recording, reason, &case).await;
            // One attempt suffices.
            assert_eq!(system.requests("/rec/"), 1, "{case}");
            assert_eq!(app_webhook.counts(&recording)["recording.failed"], 1, "{case}");
            assert_eq!(system.dead_letters().await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn parts_rejected_by_s3_are_fetched_again() {
    let (system, _inbox) = System::linked("automatic").await;
    let faults = system.faults();
    for code in ["BadDigest", "InvalidPart", "EntityTooSmall"] {
        let rejected = AwsFault::error(400, code);
        faults.fail_next(Service::S3, "CompleteMultipartUpload", 1, rejected);
        system.zoom().clear_requests();
        let recording = system.record(video(9 * MIB)).await;
        assert_eq!(system.first_file(&recording).await["reason"], "not_proven", "{code}");
        retry(&system).await;
        assert_eq!(system.requests("/ssrweb/"), 4, "{code}: both parts again");
        system.assert_stored(&recording, code).await;
    }
    let rejected = AwsFault::error(400, "BadDigest");
    faults.fail_until_cleared(Service::S3, "CompleteMultipartUpload", rejected);
    let recording = system.record(video(9 * MIB)).await;
    retry_until_failed(&system).await;
    assert_failed(&system, &recording, "not_proven", "for good").await;
    let folder = folder(&recording);
    assert!(system.objects(&folder).await.is_empty());
}

/// Fails the second range of each upload.
fn fail_second_ranges(system: &System, uploads: u32) {
    for upload in 1..=uploads {
        // The first range of each upload succeeds and does not count.
        let armed = NewFault::times(Point::Content, Fault::Status { status: 416 }, 1);
        system.zoom().arm(armed.skip_first(upload)).unwrap();
    }
}

#[tokio::test]
async fn changing_file_is_retried_after_three_uploads() {
    let (system, _inbox) = System::linked("automatic").await;
    for (uploads, status) in [(2, "stored"), (3, "queued")] {
        fail_second_ranges(&system, uploads);
        let recording = system.record(video(9 * MIB)).await;
        assert_eq!(system.first_file(&recording).await["status"], status, "{uploads} uploads");
        retry(&system).await;
        system.assert_stored(&recording, "").await;
        system.zoom().clear_faults(None);
    }
    fail_second_ranges(&system, 3 * 40);
    let recording = system.record(video(9 * MIB)).await;
    retry_until_failed(&system).await;
    assert_failed(&system, &recording, "file_changed", "for good").await;
}

#[tokio::test]
async fn lost_range_support_falls_back_to_one_stream() {
    let (system, _inbox) = System::linked("automatic").await;
    let armed = NewFault::always(Point::Content, Fault::IgnoreRange).skip_first(1);
    system.zoom().arm(armed).unwrap();
    let recording = system.record(video(17 * MIB)).await;
    assert_eq!(system.first_file(&recording).await["reason"], "unexpected_answer");
    retry(&system).await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn interrupted_small_body_is_fetched_again() {
    let (system, _inbox) = System::linked("automatic").await;
    for fault in [Fault::Reset { after: 500 }, Fault::Truncate { after: 500 }] {
        let case = format!("{fault:?}");
        system.fail_next(Point::Content, fault, 1);
        let recording = system.record(video(1_000)).await;
        assert_eq!(system.zoom().faults().last().unwrap().hits, 1, "{case}");
        retry(&system).await;
        system.assert_stored(&recording, &case).await;
    }
}
