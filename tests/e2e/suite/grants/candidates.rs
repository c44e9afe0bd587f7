//! Download candidates in order: the event's token, the API's token, the grant's access token.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewRecording, Point, Recording};
use support::zoom_users::ADA;

use super::{Scene, small};

/// Requests to the event's URL and to the API's URL.
fn download_requests(scene: &Scene) -> (usize, usize) {
    (scene.requests("/rec/webhook_download/"), scene.requests("/rec/download/"))
}

async fn assert_stored(scene: &Scene, recording: &Recording) {
    let files = scene.stored_files().await;
    assert_eq!(files.len(), recording.files.len());
    let file = &recording.files[0];
    let (key, bytes) = files.iter().next().unwrap();
    assert!(key.contains(&file.id));
    assert!(*bytes == file.spec().bytes(0..file.size), "other bytes");
}

#[tokio::test]
async fn expired_event_token_falls_back_to_api() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = scene.complete_recording(small(ADA)).await;
    scene.advance(SignedDuration::from_hours(25));
    scene.process_queues().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((download_requests(&scene), scene.refreshes()), ((1, 1), 1));
}

#[tokio::test]
async fn each_candidate_is_tried_after_rejection() {
    // The fault, its number of occurrences, and the requests to each URL.
    for (fault, times, tried) in [
        (Fault::Status { status: 401 }, 0, (1, 0)),
        (Fault::Status { status: 401 }, 1, (1, 1)),
        (Fault::Status { status: 403 }, 1, (1, 1)),
        (Fault::Status { status: 404 }, 1, (1, 1)),
        (Fault::Status { status: 410 }, 1, (1, 1)),
        (Fault::Html, 1, (1, 1)),
        (Fault::Status { status: 401 }, 2, (1, 2)),
        (Fault::Status { status: 403 }, 2, (1, 2)),
        (Fault::Html, 2, (1, 2)),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        scene.fail_next(Point::Download, fault.clone(), times);
        let recording = scene.complete_recording(small(ADA)).await;
        scene.process_queues().await;
        assert_stored(&scene, &recording).await;
        assert_eq!(download_requests(&scene), tried, "{fault:?} {times} times");
    }
}

#[tokio::test]
async fn access_token_is_used_without_download_token() {
    let scene = Scene::linked(&["alice"]).await;
    scene.zoom().change_settings(|config| config.download_token_seconds = -1);
    let new = NewRecording { silent: true, ..small(ADA) };
    let recording = scene.zoom().create_recording(new).unwrap().recording;
    // The API's response without its download token.
    let (grants, user) = (scene.grants(), scene.zoom_user(ADA));
    let token = grants.access_token(&user).await.unwrap();
    let uuid = recording.uuid.parse().unwrap();
    let listed = grants.zoom().get_meeting_recordings(&token.token, &uuid, 60).await.unwrap();
    assert!(listed.download_access_token.is_some());
    scene.fail_next(
        Point::MeetingRecordings,
        Fault::Respond {
            status: 200,
            content_type: "application/json".into(),
            body: listed.object.to_string(),
        },
        1,
    );
    let id = scene.zoom().complete(&recording.key).unwrap();
    scene.delivered(id).await;
    assert_stored(&scene, &recording).await;
    assert_eq!(download_requests(&scene), (1, 1));
}

#[tokio::test]
async fn rejected_access_token_is_refreshed_once() {
    let scene = Scene::linked(&["alice"]).await;
    scene.fail_next(Point::Download, Fault::Status { status: 401 }, 1);
    scene.fail_next(Point::MeetingRecordings, Fault::Status { status: 401 }, 1);
    let recording = scene.complete_recording(small(ADA)).await;
    scene.process_queues().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((download_requests(&scene), scene.refreshes()), ((1, 1), 1));
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn file_waits_when_no_candidate_works() {
    for (fault, ended, reason) in [
        (Some(Fault::Status { status: 401 }), false, "token_refused"),
        (Some(Fault::Status { status: 403 }), false, "token_refused"),
        (Some(Fault::Html), false, "html_instead_of_file"),
        (Some(Fault::Status { status: 401 }), true, "token_refused"),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        if let Some(fault) = &fault {
            scene.fail(Point::Download, fault.clone());
        }
        if ended {
            scene.remove_silently(ADA).await;
        }
        let recording = scene.complete_recording(small(ADA)).await;
        scene.process_queues().await;
        let path = format!("/v1/recordings/{}", recording_id(&recording));
        let seen = scene.app.get(&path, "alice").await.json();
        assert_eq!(seen["files"][0]["status"], "queued", "{fault:?}");
        assert_eq!(seen["files"][0]["reason"], reason, "{fault:?}");
        let expected: &[&str] = if ended { &["reauthorization_required"] } else { &["active"] };
        scene.assert_status("alice", expected).await;
        assert!(scene.stored_files().await.is_empty());
    }
}

/// The event's own token suffices.
#[tokio::test]
async fn event_download_needs_no_working_grant() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    let recording = scene.complete_recording(small(ADA)).await;
    scene.process_queues().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((download_requests(&scene), scene.refreshes()), ((1, 0), 0));
    scene.assert_status("alice", &["active"]).await;
}

fn recording_id(recording: &Recording) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&recording.uuid)
}
