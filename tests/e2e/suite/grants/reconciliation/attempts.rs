//! Attempts that a reconciliation grants to failed files.

use reelay_zoom_sim::{Fault, NewFile, NewRecording, Point};
use support::zoom_users::ADA;

use super::super::{Scene, small};
use super::hours;

#[tokio::test]
async fn failed_file_gets_one_attempt_after_growing_pauses() {
    let scene = Scene::with(&[("RetryDays", "1")]).await;
    scene.link("alice", ADA).await;
    let gone = scene.fail(Point::Download, Fault::Status { status: 410 });
    let recording = scene.record(small(ADA)).await;
    assert_eq!(scene.first_file(&recording).await["reason"], "gone");
    let attempts = async || scene.first_file(&recording).await["attempts"].as_u64().unwrap();
    let mut tries = vec![attempts().await];
    let mut run = async || {
        scene.reconcile_after(hours(25)).await;
        tries.push(attempts().await);
        assert_eq!(scene.first_file(&recording).await["status"], "failed");
    };
    for _ in 0..4 {
        run().await;
    }
    assert_eq!(scene.notified_recordings("recording.failed").await.len(), 1);
    // The app is notified of another reason.
    scene.zoom().clear_faults(Some(gone));
    scene.fail(Point::Download, Fault::Status { status: 401 });
    for _ in 0..4 {
        run().await;
    }
    // After one day, two, and four.
    let granted: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(granted, [1, 0, 1, 0, 0, 0, 1, 0]);
    let failed = scene.notified_recordings("recording.failed").await;
    let reasons: Vec<_> = failed.iter().map(|data| data["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["gone", "token_refused"]);
}

#[tokio::test]
async fn granted_attempt_stores_the_file() {
    let scene = Scene::linked(&["alice"]).await;
    let gone = scene.fail(Point::Download, Fault::Status { status: 410 });
    let recording = scene.record(small(ADA)).await;
    assert_eq!(scene.first_file(&recording).await["status"], "failed");
    scene.zoom().clear_faults(Some(gone));
    scene.reconcile_after(hours(25)).await;
    scene.assert_stored(&recording, "granted").await;
    assert_eq!(scene.differences("alice").await[0]["reason"], "gone");
    assert_eq!(scene.notified_recordings("recording.stored").await.len(), 1);
}

#[tokio::test]
async fn granted_attempts_store_a_file_whose_size_stays_different() {
    let scene = Scene::with(&[("RetryDays", "1")]).await;
    scene.link("alice", ADA).await;
    let outage = scene.fail(Point::Download, Fault::Status { status: 410 });
    let odd = NewFile { declared_size: Some(107), ..NewFile::new("MP4", 100) };
    let recording = scene.record(NewRecording::of(ADA).with_files(vec![odd])).await;
    assert_eq!(scene.first_file(&recording).await["reason"], "gone");
    scene.zoom().clear_faults(Some(outage));
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.first_file(&recording).await["reason"], "length_differs");
    for _ in 0..2 {
        scene.reconcile_after(hours(25)).await;
    }
    scene.assert_stored(&recording, "at the second attempt").await;
}
