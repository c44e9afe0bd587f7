//! AWS calls per link, event, recording, file and part, compared with the table in `docs/costs.md`.

use std::path::Path;

use jiff::SignedDuration;
use reelay_devstack::FunctionChange;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::Notification;
use reelay_grants::Grants;
use reelay_store::outbox::NotificationPublisher;
use reelay_zoom_sim::{NewFile, NewRecording};
use serde_json::json;
use support::counted::{Counted, Row};
use support::zoom_users::{ADA, BEN, CEM};
use support::{MIB, System};

/// The weighted sum of two rows.
fn combined(one: (f64, &Row), other: (f64, &Row)) -> Row {
    let mut sum = Row::new();
    for (times, row) in [one, other] {
        for (name, count) in row {
            *sum.entry(name.clone()).or_default() += times * count;
        }
    }
    sum.retain(|_, count| *count != 0.0);
    sum
}

/// A system that processes one file at a time and has read its secrets.
async fn warm() -> System {
    let system = System::with_function(FunctionChange {
        binary: "recording-downloader".to_owned(),
        maximum_concurrency: Some(1),
        ..FunctionChange::default()
    })
    .await;
    system.link("alice", ADA).await;
    recording(&system, &[100]).await;
    system
}

/// Calls for a recording with files of these sizes.
async fn recording(system: &System, sizes: &[u64]) -> Row {
    let files = sizes.iter().map(|size| NewFile::new("MP4", *size));
    let new = NewRecording::of(ADA).with_files(files.collect());
    let counted = Counted::begin(system);
    let recording = system.record(new).await;
    let row = counted.end();
    system.assert_stored(&recording, "").await;
    row
}

/// The minimum of three runs: a slow machine writes progress more often.
async fn least(system: &System, sizes: &[u64]) -> Row {
    let mut least = recording(system, sizes).await;
    for _ in 0..2 {
        lower(&mut least, recording(system, sizes).await);
    }
    least
}

/// Lowers each count to that of another row; what it lacks is removed.
fn lower(least: &mut Row, other: Row) {
    least.retain(|name, _| other.contains_key(name));
    for (name, count) in least {
        *count = count.min(other[name]);
    }
}

/// Calls from the app's button to the notification of the active link.
async fn link(system: &System) -> Row {
    let counted = Counted::begin(system);
    system.link("bob", BEN).await;
    let until_active = counted.end();
    // The finish job is delivered 15 minutes after the exchange, and finds it finished.
    let job = json!({"v": 1, "job": "finish_connect", "exchange": "exchange#gone"});
    let jobs = &system.queues().jobs;
    system.send_message(jobs, &job.to_string()).await;
    let counted = Counted::begin(system);
    system.process_queues().await;
    combined((1.0, &until_active), (1.0, &counted.end()))
}

/// Calls for an event about an unlinked host.
async fn unlinked_event(system: &System) -> Row {
    let counted = Counted::begin(system);
    system.complete_recording(NewRecording::of(CEM)).await;
    system.process_queues().await;
    counted.end()
}

fn zoom_user(system: &System, id: &str) -> ZoomUser {
    let users = system.zoom().users();
    let user = users.iter().find(|user| user.id == id).unwrap();
    ZoomUser { account_id: user.account_id.parse().unwrap(), user_id: user.id.parse().unwrap() }
}

/// Calls for the weekly reconciliation of one more quiet user, of whom Zoom lists nothing new, and the requests to Zoom. The
/// runs of two users are compared with the run of one.
async fn reconciliation() -> (Row, usize) {
    let mut runs = Vec::new();
    for users in [&[ADA][..], &[ADA, BEN]] {
        // No app, which would reject notifications of another time.
        let system = System::with(&[("AppWebhookUrl", "")]).await;
        for (app_user, zoom_user) in ["alice", "bob"].into_iter().zip(users) {
            system.link(app_user, zoom_user).await;
        }
        // Older links than the range of a run, so that each list of it is read.
        for days in [50, 8] {
            system.maintain_after(SignedDuration::from_hours(days * 24)).await;
            system.pass(SignedDuration::from_mins(1)).await;
            system.process_queues().await;
        }
        system.advance(SignedDuration::from_hours(8 * 24));
        system.zoom().clear_requests();
        let counted = Counted::begin(&system);
        system.stack.fire_schedules().await.unwrap();
        system.process_queues().await;
        system.pass(SignedDuration::from_mins(1)).await;
        system.process_queues().await;
        runs.push((counted.end(), system.requests("/")));
    }
    let [(one, requests_of_one), (two, requests_of_two)] = &runs[..] else { unreachable!() };
    (combined((1.0, two), (-1.0, one)), requests_of_two - requests_of_one)
}

/// Calls for one notification.
///
/// Each instance reads the state of the webhook's breaker every five seconds at most, so the first one may read it.
async fn notification(system: &System) -> Row {
    let mut least = one_notification(system, "msg_counted_1").await;
    for id in ["msg_counted_2", "msg_counted_3"] {
        lower(&mut least, one_notification(system, id).await);
    }
    least
}

async fn one_notification(system: &System, id: &str) -> Row {
    let environment = system.stack.function_environment("event-processor").unwrap();
    let publisher = NotificationPublisher::new(environment).unwrap();
    let notification = Notification {
        id: id.to_owned(),
        event_type: "recording.detected".to_owned(),
        timestamp: system.app.now(),
        body: json!({
            "type": "recording.detected", "timestamp": "2026-01-01T10:02:03Z", "data": {},
        })
        .to_string(),
        app_user_id: "alice".parse().unwrap(),
        zoom_user: zoom_user(system, ADA),
        recording_id: Some("cmVjb3JkaW5n".parse().unwrap()),
    };
    publisher.publish(&[notification], "tenant").await.unwrap();
    let counted = Counted::begin(system);
    system.process_queues().await;
    counted.end()
}

/// Calls for reading one recording with presigned URLs.
async fn view(system: &System) -> Row {
    let recordings = system.app.recordings("alice").await;
    let id = recordings[0]["id"].as_str().unwrap();
    let counted = Counted::begin(system);
    let path = format!("/v1/recordings/{id}");
    assert_eq!(system.app.get(&path, "alice").await.status, 200);
    counted.end()
}

/// Calls for refreshing an expired access token.
async fn refresh(system: &System) -> Row {
    let environment = system.stack.function_environment("reconciler").unwrap();
    let grants = Grants::new(environment).unwrap();
    let user = zoom_user(system, ADA);
    system.advance(SignedDuration::from_secs(3_700));
    let counted = Counted::begin(system);
    grants.access_token(&user).await.unwrap();
    counted.end()
}

async fn counted() -> Vec<(&'static str, Row)> {
    let system = warm().await;
    let link = link(&system).await;
    let unlinked_event = unlinked_event(&system).await;
    let one_file = least(&system, &[100]).await;
    let two_files = least(&system, &[100, 100]).await;
    let file = combined((1.0, &two_files), (-1.0, &one_file));
    // A transfer of some seconds would read the links again and save its progress.
    let (two_parts, three_parts) =
        (least(&system, &[2 * 8 * MIB - 5]).await, least(&system, &[3 * 8 * MIB - 5]).await);
    let part = combined((1.0, &three_parts), (-1.0, &two_parts));
    let with_parts = combined((1.0, &two_parts), (-2.0, &part));
    let (notification, view) = (notification(&system).await, view(&system).await);
    // Last, because it advances the clock and the demo app rejects future timestamps.
    let refresh = refresh(&system).await;
    let (reconciliation, requests) = reconciliation().await;
    // A token, two windows of the list, an older month, and the trash.
    assert_eq!(requests, 5, "requests to Zoom");
    vec![
        ("link", link),
        ("event of an unlinked host", unlinked_event),
        ("recording", combined((1.0, &one_file), (-1.0, &file))),
        ("small file", file),
        ("multipart upload", combined((1.0, &with_parts), (-1.0, &one_file))),
        ("part", part),
        ("notification", notification),
        ("refresh", refresh),
        ("reconciliation", reconciliation),
        ("view", view),
    ]
}

/// The Markdown table of the page.
fn table(columns: &[(&str, Row)]) -> String {
    let mut rows: Vec<&String> = columns.iter().flat_map(|(_, row)| row.keys()).collect();
    rows.sort();
    rows.dedup();
    let mut text = String::from("|");
    for (column, _) in columns {
        text += &format!(" | {column}");
    }
    text += " |\n|---|";
    text += &"---:|".repeat(columns.len());
    for name in rows {
        text += &format!("\n| {name} |");
        for (_, row) in columns {
            match row.get(name) {
                Some(count) => text += &format!(" {} |", (count * 100.0).round() / 100.0),
                None => text += "  |",
            }
        }
    }
    text
}

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join("docs/costs.md")).unwrap()
}

#[tokio::test]
async fn documented_call_counts_match_actual_calls() {
    let table = table(&counted().await);
    assert!(
        page().contains(&table),
        "the counted table of docs/costs.md is out of date:\n\n{table}\n"
    );
}

#[tokio::test]
async fn recording_calls_grow_only_with_files() {
    let system = warm().await;
    let calls = async |files: usize| {
        let mut row = least(&system, &vec![100; files]).await;
        // Units grow with the recording's size, and messages are sent in batches of ten.
        row.retain(|name, _| !name.contains("units"));
        row
    };
    let (two, three, four) = (calls(2).await, calls(3).await, calls(4).await);
    let file = combined((1.0, &three), (-1.0, &two));
    assert_eq!(combined((1.0, &four), (-1.0, &three)), file);
    assert_eq!(file["S3 PutObject"], 1.0);
}
