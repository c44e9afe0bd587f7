//! The event's token, the API's token, the grant's token: tried in this order.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewFault, NewRecording, Point, Recording};
use support::people::ADA;
use support::{store, zoom};

use super::{Scene, small};

/// How often each kind of download URL was tried: the event's, and the one that REST names.
fn rungs(scene: &Scene) -> (usize, usize) {
    (
        scene.requests("/rec/webhook_download/"),
        scene.requests("/rec/download/"),
    )
}

async fn assert_stored(scene: &Scene, recording: &Recording) {
    let files = store::files(&scene.system.stack).await;
    assert_eq!(files.len(), recording.files.len());
    let file = &recording.files[0];
    let (key, bytes) = files.iter().next().unwrap();
    assert!(key.contains(&file.id));
    assert!(*bytes == file.spec().bytes(0..file.size), "other bytes");
}

#[tokio::test]
async fn an_event_whose_token_has_expired_is_fetched_with_what_zooms_api_gives() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.stack.advance(SignedDuration::from_hours(25));
    scene.system.work().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((rungs(&scene), scene.refreshes()), ((1, 1), 1));
}

#[tokio::test]
async fn each_rung_of_the_ladder_is_tried_when_the_one_before_is_refused() {
    // What refuses, how often, and which URLs were tried in the end.
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
        scene.arm(NewFault::times(Point::Download, fault.clone(), times));
        let recording = zoom::complete(&scene.system, small(ADA)).await;
        scene.system.work().await;
        assert_stored(&scene, &recording).await;
        assert_eq!(rungs(&scene), tried, "{fault:?} {times} times");
    }
}

#[tokio::test]
async fn an_api_that_gives_no_download_token_leaves_the_access_token() {
    let scene = Scene::linked(&["alice"]).await;
    scene
        .system
        .zoom()
        .change_settings(|config| config.download_token_seconds = -1);
    let new = NewRecording {
        silent: true,
        ..small(ADA)
    };
    let recording = scene.system.zoom().create_recording(new).unwrap().recording;
    // What Zoom's API says of it, without the token.
    let (grants, user) = (scene.grants(), scene.zoom_user(ADA));
    let token = grants.access_token(&user).await.unwrap();
    let uuid = recording.uuid.parse().unwrap();
    let listed = grants
        .zoom()
        .get_meeting_recordings(&token.token, &uuid, 60)
        .await
        .unwrap();
    assert!(listed.download_access_token.is_some());
    scene.arm(NewFault::times(
        Point::MeetingRecordings,
        Fault::Respond {
            status: 200,
            content_type: "application/json".into(),
            body: listed.object.to_string(),
        },
        1,
    ));
    let id = scene.system.zoom().complete(&recording.key).unwrap();
    scene.delivered(id).await;
    assert_stored(&scene, &recording).await;
    assert_eq!(rungs(&scene), (1, 1));
}

#[tokio::test]
async fn an_access_token_that_the_api_refuses_is_refreshed_once_and_the_file_comes() {
    let scene = Scene::linked(&["alice"]).await;
    scene.arm(NewFault::times(
        Point::Download,
        Fault::Status { status: 401 },
        1,
    ));
    scene.arm(NewFault::times(
        Point::MeetingRecordings,
        Fault::Status { status: 401 },
        1,
    ));
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((rungs(&scene), scene.refreshes()), ((1, 1), 1));
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_file_that_no_rung_opens_fails_with_the_reason() {
    for (fault, ended, reason) in [
        (Some(Fault::Status { status: 401 }), false, "token_refused"),
        (Some(Fault::Status { status: 403 }), false, "token_refused"),
        (Some(Fault::Html), false, "html_instead_of_file"),
        (Some(Fault::Status { status: 401 }), true, "token_refused"),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        if let Some(fault) = &fault {
            scene.arm(NewFault::always(Point::Download, fault.clone()));
        }
        if ended {
            scene.remove_silently(ADA).await;
        }
        let recording = zoom::complete(&scene.system, small(ADA)).await;
        scene.system.work().await;
        let path = format!("/v1/recordings/{}", recording_id(&recording));
        let seen = scene.system.app.get(&path, "alice").await.json();
        assert_eq!(seen["files"][0]["status"], "failed", "{fault:?}");
        assert_eq!(seen["files"][0]["reason"], reason, "{fault:?}");
        let expected: &[&str] = if ended {
            &["reauthorization_required"]
        } else {
            &["active"]
        };
        scene.assert_status("alice", expected).await;
        assert!(store::files(&scene.system.stack).await.is_empty());
    }
}

/// Zoom honours no token of ours, and the event's own was good: the file comes all the same.
#[tokio::test]
async fn an_event_needs_no_grant_that_works() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((rungs(&scene), scene.refreshes()), ((1, 0), 0));
    scene.assert_status("alice", &["active"]).await;
}

fn recording_id(recording: &Recording) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&recording.uuid)
}
