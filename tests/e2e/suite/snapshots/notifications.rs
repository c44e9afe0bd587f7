//! Notifications, and the reasons of failures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reelay_zoom_sim::{
    DeliveryState, Fault, NewFault, Point, Recording, RecordingChange, Selection,
};
use reqwest::Method;
use serde_json::{Value, json};
use support::zoom_users::ADA;
use support::{AppWebhook, System};

use super::{Transcript, disconnect, one_file};

#[tokio::test]
async fn notifications() {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    let bus = system.subscribe_to_bus().await;
    let (zoom, mut seen) = (system.zoom(), Transcript::default());
    let link = system.link("alice", ADA).await;
    let recording = system.record(one_file()).await;
    seen.hide_recording(&recording);
    let all = Selection::default();
    zoom.advance(1);
    let renamed = zoom.rename(&recording.key, "Renamed", &all).unwrap();
    system.await_deliveries(&renamed).await;
    for disposal in [
        RecordingChange::Trash,
        RecordingChange::Recover,
        RecordingChange::Trash,
        RecordingChange::Delete,
    ] {
        system.process_queues().await;
        zoom.advance(1);
        let disposed = zoom.change_recording(&recording.key, disposal, &all).unwrap();
        system.await_deliveries(&disposed).await;
    }
    system.process_queues().await;
    let gone = NewFault::always(Point::Download, Fault::Status { status: 410 });
    zoom.arm(gone).unwrap();
    let failing = system.complete_recording(one_file()).await;
    system.process_queues().await;
    seen.hide_recording(&failing);
    disconnect(&system, "alice", &link).await;
    system.process_queues().await;

    system.link("alice", ADA).await;
    let url = zoom.settings().deauthorize_url;
    zoom.change_settings(|config| config.deauthorize_url = None);
    let silent = zoom.deauthorize(ADA).unwrap();
    let delivery = zoom.wait_for_attempts(silent, 1).await.unwrap();
    assert_eq!(delivery.state, DeliveryState::Dropped);
    zoom.change_settings(|config| config.deauthorize_url = url);
    let body = json!({"from": "2026-01-01", "to": "2026-01-02"}).to_string();
    let token = system.app.api_token("alice");
    let backfill = system.app.call_with(Method::POST, "/v1/backfill", Some(&token), Some(body));
    assert_eq!(backfill.await.status, 202);
    system.process_queues().await;

    system.link("alice", ADA).await;
    let deauthorized = zoom.deauthorize(ADA).unwrap();
    zoom.wait_for_attempts(deauthorized, 1).await.unwrap();
    system.process_queues().await;

    let mut first = BTreeMap::new();
    for notified in app_webhook.received() {
        let body = notified.json();
        let variant = [&body["type"], &body["data"]["change"], &body["data"]["removed_reason"]];
        let variant: Vec<_> = variant.iter().filter_map(|value| value.as_str()).collect();
        first.entry(variant.join(" ")).or_insert(notified);
    }
    for (title, notified) in first {
        seen.title(&title);
        writeln!(seen.text, "webhook-id: {}", notified.id).unwrap();
        writeln!(seen.text, "webhook-signature: {}", notified.signature).unwrap();
        seen.json(&notified.json());
    }
    let events = system.peek_messages(&bus).await;
    let events = events.iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
    let mut activated = events.filter(|event| event["detail-type"] == "link.activated");
    let event = activated.next().unwrap();
    seen.title("the same on the event bus");
    seen.json(&json!({"source": event["source"], "detail-type": event["detail-type"], "detail": event["detail"]}));
    seen.assert("notifications");
}

/// The status and reason that the API shows, and the reasons that the app is notified of.
async fn failure(system: &System, recording: &Recording) -> String {
    let seen = system.view("alice", recording).await;
    let received = system.stack.demo_app().unwrap().received();
    let notified: Vec<_> = received
        .iter()
        .filter(|one| one.kind == "recording.failed")
        .filter(|one| one.body["data"]["recording"]["meeting_uuid"] == recording.uuid)
        .map(|one| one.body["data"]["reason"].as_str().unwrap().to_owned())
        .collect();
    let file = &seen["files"][0];
    format!("{}, {}, {}, notified {notified:?}", seen["status"], file["status"], file["reason"])
}

#[tokio::test]
async fn failure_reasons() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let mut seen = Transcript::default();
    let status = |status| Fault::Status { status };
    let redirect = |to: &str| Fault::Redirect { to: to.into() };
    for (title, point, fault) in [
        ("401", Point::Download, status(401)),
        ("403 from the CDN", Point::Content, status(403)),
        ("404", Point::Download, status(404)),
        ("410", Point::Download, status(410)),
        ("418 from the CDN", Point::Content, status(418)),
        ("500 from the CDN", Point::Content, status(500)),
        ("HTML page", Point::Download, Fault::Html),
        ("closed connection", Point::Content, Fault::Close),
        ("truncated body", Point::Content, Fault::Truncate { after: 10 }),
        ("length differs", Point::Content, Fault::ContentLength { length: 999 }),
        ("foreign redirect", Point::Download, redirect("https://elsewhere.test/")),
        ("redirect loop", Point::Download, redirect("?again")),
    ] {
        let armed = system.zoom().arm(NewFault::always(point, fault)).unwrap();
        let recording = system.record(one_file()).await;
        writeln!(seen.text, "{title}: {}", failure(&system, &recording).await).unwrap();
        system.zoom().clear_faults(Some(armed));
    }
    for (title, disposal) in
        [("trashed", RecordingChange::Trash), ("deleted", RecordingChange::Delete)]
    {
        let recording = system.complete_recording(one_file()).await;
        let zoom = system.zoom();
        zoom.advance(1);
        let disposed = zoom.change_recording(&recording.key, disposal, &Selection::default());
        system.await_deliveries(&disposed.unwrap()).await;
        system.process_queues().await;
        writeln!(seen.text, "{title}: {}", failure(&system, &recording).await).unwrap();
    }
    for option in [("FileTypes", "chat"), ("MinimumMinutes", "60")] {
        let system = System::with(&[option]).await;
        system.link("alice", ADA).await;
        let recording = system.record(one_file()).await;
        let failure = failure(&system, &recording).await;
        writeln!(seen.text, "{option:?}: {failure}").unwrap();
    }
    seen.assert("failure_reasons");
}
