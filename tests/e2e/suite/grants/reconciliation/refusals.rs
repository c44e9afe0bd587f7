//! Runs that meet refusals, rate limits, short lists, or the absence of events.

use jiff::{SignedDuration, Timestamp};
use reelay_zoom_sim::{ErrorForm, Fault, NewFault, Point, Selection};
use serde_json::{Value, json};
use support::zoom_users::ADA;

use super::super::{Scene, backfill, small, unannounced};
use super::hours;

#[tokio::test]
async fn error_about_one_user_becomes_an_issue() {
    let scene = Scene::linked(&["alice"]).await;
    let fault = scene.fail(
        Point::ListRecordings,
        Fault::ErrorCode { status: 400, code: 200, form: ErrorForm::Api },
    );
    for _ in 0..3 {
        scene.reconcile_after(hours(25)).await;
    }
    assert_eq!(scene.app.links("alice").await[0]["issue"], "plan_without_cloud_recording");
    let report = scene.report("alice").await;
    assert_eq!(report["reconciled_at"], Value::Null);
    // The alarm about grants that are not reconciled counts runs that are overdue.
    let next_at: Timestamp = report["next_at"].as_str().unwrap().parse().unwrap();
    assert!(next_at > scene.app.now(), "{report}");
    scene.zoom().clear_faults(Some(fault));
    scene.reconcile_after(hours(25)).await;
    assert_eq!(scene.app.links("alice").await[0]["issue"], Value::Null);
    assert!(scene.report("alice").await["reconciled_at"].is_string());
    assert_eq!(scene.dead_jobs().await, [""; 0]);
}

#[tokio::test]
async fn rate_limited_run_continues() {
    // Zoom may name a time that has passed.
    for retry_after_seconds in [5, 0] {
        let scene = Scene::linked(&["alice"]).await;
        let missed = unannounced(&scene, hours(1));
        let limit = Fault::RateLimited { retry_after_seconds: Some(retry_after_seconds) };
        let armed = scene.fail(Point::ListRecordings, limit);
        scene.zoom().clear_requests();
        scene.reconcile_after(hours(25)).await;
        let requests = scene.requests("/users/me/recordings");
        assert!((2..10).contains(&requests), "{requests} requests in a minute");
        scene.zoom().clear_faults(Some(armed));
        scene.finish_runs().await;
        scene.assert_stored(&missed, "missed").await;
        assert!(scene.report("alice").await["reconciled_at"].is_string());
    }
}

#[tokio::test]
async fn run_ends_although_lists_stay_short_or_the_trash_is_refused() {
    let refused = Fault::Status { status: 403 };
    for fault in [
        NewFault::always(Point::ListRecordings, Fault::OmitMeetings { count: 1 }),
        // The window is read before.
        NewFault::always(Point::ListRecordings, refused).skip_first(1),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        let recordings = [1, 2].map(|hour| unannounced(&scene, hours(hour)));
        scene.zoom().arm(fault).unwrap();
        scene.reconcile_after(hours(25)).await;
        assert!(scene.report("alice").await["reconciled_at"].is_string());
        assert_eq!(scene.app.links("alice").await[0]["issue"], Value::Null);
        assert_eq!(scene.dead_jobs().await, [""; 0]);
        scene.assert_stored(&recordings[0], "").await;
    }
}

#[tokio::test]
async fn missing_events_become_an_issue_until_one_arrives() {
    for is_change in [false, true] {
        let scene = Scene::linked(&["alice"]).await;
        scene.advance(hours(2));
        let mut missed = Vec::new();
        for _ in 0..3 {
            missed.push(unannounced(&scene, SignedDuration::from_mins(40)));
            scene.advance(hours(1));
        }
        scene.reconcile_after(hours(24)).await;
        scene.reconcile_after(hours(25)).await;
        let issue = async || scene.app.links("alice").await[0]["issue"].clone();
        assert_eq!(issue().await, "events_not_arriving");
        scene.assert_notified("alice", [("activated", 1), ("issue", 1)]).await;
        // A successful listing alone proves nothing about events.
        backfill(&scene, "alice", 2).await;
        assert_eq!(issue().await, "events_not_arriving");
        if is_change {
            let renamed = scene.zoom().rename(&missed[0].key, "New", &Selection::default());
            scene.await_deliveries(&renamed.unwrap()).await;
            scene.settle().await;
        } else {
            scene.record(small(ADA)).await;
        }
        let link = &scene.app.links("alice").await[0];
        assert!(link["last_event_at"].is_string() && link["issue"].is_null(), "{link}");
        scene.assert_notified("alice", [("activated", 1), ("issue", 2)]).await;
    }
}

#[tokio::test]
async fn events_missing_of_many_users_are_no_issue_of_one() {
    let scene = Scene::linked(&["alice"]).await;
    scene.advance(hours(2));
    for _ in 0..3 {
        unannounced(&scene, SignedDuration::from_mins(40));
        scene.advance(hours(1));
    }
    // Others were compared on the days of the runs.
    let table = &scene.tables().links;
    for days in 0..4 {
        let day = (scene.app.now() + hours(24 * days)).strftime("%Y-%m-%d").to_string();
        let counts = json!({
            "zoom_user": {"S": "reconciled##"}, "entry": {"S": day}, "compared": {"N": "99"},
            "without_events": {"N": "5"},
        });
        scene.stack.engines().import_items(table, vec![counts]).unwrap();
    }
    scene.reconcile_after(hours(24)).await;
    scene.reconcile_after(hours(25)).await;
    assert!(scene.app.links("alice").await[0]["issue"].is_null());
    scene.assert_notified("alice", [("activated", 1)]).await;
}
