//! Rows of the table of failures that need more than one answer to go wrong: at the API, at S3, in what Zoom
//! has told before. The others are in `downloads` and `faults`.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{
    Fault, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection,
};
use reqwest::Method;
use serde_json::{Value, json};
use support::people::ADA;
use support::{Inbox, System, landed, store, zoom};

const MIB: u64 = 1024 * 1024;

async fn linked() -> (System, Inbox) {
    linked_in("automatic").await
}

/// An app whose webhook does not mind a clock that is moved.
async fn linked_in(mode: &str) -> (System, Inbox) {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url), ("DownloadMode", mode)]).await;
    system.link("alice", ADA).await;
    (system, inbox)
}

fn video(size: u64) -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", size)])
}

/// A file of which the event says only that it is there.
fn without_an_address() -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile {
        omit: vec!["download_url".into()],
        ..NewFile::new("MP4", 1_000)
    }])
}

async fn file(system: &System, recording: &Recording) -> Value {
    landed::view(system, "alice", recording).await["files"][0].clone()
}

async fn assert_failed(system: &System, recording: &Recording, reason: &str, case: &str) {
    let seen = file(system, recording).await;
    assert_eq!(
        (&seen["status"], &seen["reason"]),
        (&json!("failed"), &json!(reason)),
        "{case}"
    );
    assert_eq!(store::open_uploads(&system.stack).await, 0, "{case}");
}

fn requests(system: &System, prefix: &str) -> usize {
    let requests = system.zoom().requests();
    let those = requests.iter().filter(|r| r.path.starts_with(prefix));
    those.count()
}

async fn ask_for(system: &System, recording: &Recording) {
    let path = format!("/v1/recordings/{}/download", landed::id(recording));
    let asked = system.app.call(Method::POST, &path, "alice").await;
    assert_eq!(asked.status, 202);
}

#[tokio::test]
async fn an_api_that_is_down_while_a_token_is_refused_is_asked_again_by_the_queue() {
    let (system, _inbox) = linked().await;
    let nonsense = Fault::Respond {
        status: 200,
        content_type: "application/json".into(),
        body: "<oops>".into(),
    };
    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::Close,
        nonsense,
    ] {
        let case = format!("{fault:?}");
        // The event's address, at both deliveries.
        let refused = NewFault::times(Point::Download, Fault::Status { status: 401 }, 2);
        system.zoom().arm(refused).unwrap();
        let down = NewFault::times(Point::MeetingRecordings, fault, 1);
        system.zoom().arm(down).unwrap();
        let recording = zoom::complete(&system, video(1_000)).await;
        let drained = system.stack.drain_without_pauses().await;
        assert_eq!(drained.failed, 1, "{case}");
        landed::assert_whole(&system, &recording, &case).await;
    }
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());

    let refused = NewFault::always(Point::Download, Fault::Status { status: 401 });
    system.zoom().arm(refused).unwrap();
    let down = NewFault::always(Point::MeetingRecordings, Fault::Status { status: 500 });
    system.zoom().arm(down).unwrap();
    let recording = zoom::complete(&system, video(1_000)).await;
    system.work().await;
    assert_failed(&system, &recording, "zoom_api", "for good").await;
    assert_eq!(store::dead(&system.stack).await.len(), 1);
}

#[tokio::test]
async fn a_grant_that_cannot_be_refreshed_now_is_waited_for() {
    let (system, _inbox) = linked().await;
    for always in [false, true] {
        system.stack.advance(SignedDuration::from_hours(2));
        let arm = |point, status, times| {
            let fault = Fault::Status { status };
            let fault = match times {
                Some(times) => NewFault::times(point, fault, times),
                None => NewFault::always(point, fault),
            };
            system.zoom().arm(fault).unwrap();
        };
        arm(Point::Download, 401, (!always).then_some(2));
        arm(Point::TokenRefresh, 500, (!always).then_some(1));
        let recording = zoom::complete(&system, video(1_000)).await;
        let drained = system.stack.drain_without_pauses().await;
        if always {
            assert_failed(&system, &recording, "grant_unavailable", "for good").await;
        } else {
            assert_eq!(drained.failed, 1);
            landed::assert_whole(&system, &recording, "once").await;
        }
    }
}

#[tokio::test]
async fn what_neither_event_nor_api_can_open_ends_when_the_user_has_left() {
    let (system, _inbox) = linked().await;
    let url = system.zoom().settings().deauthorize_url;
    system
        .zoom()
        .change_settings(|config| config.deauthorize_url = None);
    let id = system.zoom().deauthorize(ADA).unwrap();
    system.zoom().wait_for_attempts(id, 1).await.unwrap();
    system
        .zoom()
        .change_settings(|config| config.deauthorize_url = url);
    let recording = zoom::complete(&system, without_an_address()).await;
    system.work().await;
    assert_failed(&system, &recording, "reauthorization_required", "").await;
    assert_eq!(requests(&system, "/ssrweb/"), 0);
}

#[tokio::test]
async fn what_zoom_does_not_list_is_looked_for_three_times() {
    let (system, _inbox) = linked().await;
    // 3301: still processed, or gone.
    let unlisted = Fault::Status { status: 404 };
    for (fault, reason) in [
        (
            NewFault::always(Point::MeetingRecordings, unlisted.clone()),
            "not_found",
        ),
        // The third time it is listed, but without an address there as well.
        (
            NewFault::times(Point::MeetingRecordings, unlisted, 2),
            "no_source",
        ),
    ] {
        let armed = system.zoom().arm(fault).unwrap();
        system.zoom().clear_requests();
        let recording = zoom::complete(&system, without_an_address()).await;
        system.work().await;
        assert_failed(&system, &recording, reason, reason).await;
        assert_eq!(requests(&system, "/v2/meetings/"), 3, "{reason}");
        assert_eq!(requests(&system, "/rec/"), 0, "{reason}");
        system.zoom().clear_faults(Some(armed));
    }
    // What Zoom has not, no person needs to look into.
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn where_a_token_is_refused_and_nothing_is_listed_the_token_has_the_last_word() {
    let (system, _inbox) = linked().await;
    for (point, status) in [(Point::Download, 401), (Point::MeetingRecordings, 404)] {
        let armed = NewFault::always(point, Fault::Status { status });
        system.zoom().arm(armed).unwrap();
    }
    let recording = zoom::complete(&system, video(1_000)).await;
    system.work().await;
    assert_failed(&system, &recording, "token_refused", "").await;
}

#[tokio::test]
async fn what_zoom_has_told_of_a_recording_explains_why_its_files_are_not_found() {
    for (disposal, reason) in [
        (RecordingChange::Trash, "trashed"),
        (RecordingChange::Delete, "deleted"),
    ] {
        // The address answers as Zoom's does, by a page; or with a plain 404.
        for plain in [false, true] {
            let case = format!("{reason}, plain: {plain}");
            let (system, inbox) = linked_in("on-demand").await;
            let recording = zoom::complete(&system, video(1_000)).await;
            system.work().await;
            let told =
                system
                    .zoom()
                    .change_recording(&recording.key, disposal, &Selection::default());
            zoom::arrived(&system, &told.unwrap()).await;
            system.work().await;
            if plain {
                let missing = NewFault::always(Point::Download, Fault::Status { status: 404 });
                system.zoom().arm(missing).unwrap();
            }
            system.zoom().clear_requests();
            ask_for(&system, &recording).await;
            system.work().await;
            assert_failed(&system, &recording, reason, &case).await;
            // Once is enough to see it.
            assert_eq!(requests(&system, "/rec/"), 1, "{case}");
            assert_eq!(inbox.facts(&recording)["recording.failed"], 1, "{case}");
            assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn parts_that_s3_does_not_accept_are_never_an_object_and_are_fetched_again() {
    let (system, _inbox) = linked().await;
    let faults = system.stack.engines().faults();
    for code in ["BadDigest", "InvalidPart", "EntityTooSmall"] {
        let refused = AwsFault::error(400, code);
        faults.fail_next(Service::S3, "CompleteMultipartUpload", 1, refused);
        system.zoom().clear_requests();
        let recording = zoom::complete(&system, video(9 * MIB)).await;
        let drained = system.stack.drain_without_pauses().await;
        assert_eq!(drained.failed, 1, "{code}");
        assert_eq!(requests(&system, "/ssrweb/"), 4, "{code}: both parts again");
        landed::assert_whole(&system, &recording, code).await;
    }
    let refused = AwsFault::error(400, "BadDigest");
    faults.fail_until_cleared(Service::S3, "CompleteMultipartUpload", refused);
    let recording = zoom::complete(&system, video(9 * MIB)).await;
    system.work().await;
    assert_failed(&system, &recording, "not_proven", "for good").await;
    let folder = landed::folder(&recording);
    assert!(store::objects(&system.stack, &folder).await.is_empty());
}

/// Strikes the second range of each of so many uploads.
fn shorter_each_time(system: &System, uploads: u32) {
    for upload in 1..=uploads {
        // Of each upload one range passes, and what strikes before is not counted.
        let armed = NewFault::times(Point::Content, Fault::Status { status: 416 }, 1);
        system.zoom().arm(armed.skip_first(upload)).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_keeps_changing_is_left_to_the_queue_after_three_uploads() {
    let (system, _inbox) = linked().await;
    for (uploads, failed) in [(2, 0), (3, 1)] {
        shorter_each_time(&system, uploads);
        let recording = zoom::complete(&system, video(9 * MIB)).await;
        let drained = system.stack.drain_without_pauses().await;
        assert_eq!(drained.failed, failed, "{uploads} uploads");
        landed::assert_whole(&system, &recording, "").await;
        system.zoom().clear_faults(None);
    }
    shorter_each_time(&system, 3 * 8);
    let recording = zoom::complete(&system, video(9 * MIB)).await;
    system.work().await;
    assert_failed(&system, &recording, "file_changed", "for good").await;
}

#[tokio::test]
async fn a_server_that_gives_no_more_ranges_in_mid_file_is_read_in_one_stream_by_the_next_delivery()
{
    let (system, _inbox) = linked().await;
    let armed = NewFault::always(Point::Content, Fault::IgnoreRange).skip_first(1);
    system.zoom().arm(armed).unwrap();
    let recording = zoom::complete(&system, video(17 * MIB)).await;
    let drained = system.stack.drain_without_pauses().await;
    assert_eq!(drained.failed, 1);
    landed::assert_whole(&system, &recording, "").await;
}

#[tokio::test]
async fn a_small_body_that_is_reset_or_cut_is_fetched_again() {
    let (system, _inbox) = linked().await;
    for fault in [Fault::Reset { after: 500 }, Fault::Truncate { after: 500 }] {
        let case = format!("{fault:?}");
        let armed = NewFault::times(Point::Content, fault, 1);
        system.zoom().arm(armed).unwrap();
        let recording = zoom::complete(&system, video(1_000)).await;
        system.work().await;
        assert_eq!(system.zoom().faults().last().unwrap().hits, 1, "{case}");
        landed::assert_whole(&system, &recording, &case).await;
    }
}
