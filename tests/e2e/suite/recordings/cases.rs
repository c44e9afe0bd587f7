//! Inputs from the field that were reported in public: `tests/fixtures/zoom_cases`, each with the right result. Those
//! of Zoom's list stand in `grants/listing.rs`.

use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::Response;
use jiff::SignedDuration;
use reelay_zoom_sim::RecordingChange;
use reelay_zoom_sim::{ErrorForm, Fault, NewFile, NewRecording, Point, Recording, Selection};
use serde_json::{Value, json};
use support::zoom_users::ADA;
use support::{System, TestServer};

use super::odd_events::{completed, post, silent};
use super::{kinds, linked, of_ada};

/// The recording's and the file's id in all fixtures.
const UUID: &str = "Zm9v+bar/bazQUJDREVGRw==";
const FILE: &str = "11111111-2222-4333-8444-555555555501";

/// Reads a fixture, for the simulator's user. Its URLs lead nowhere: files come from Zoom's API.
macro_rules! fixture {
    ($name:literal, $recording:expr) => {
        adapted(include_str!(concat!("../../../fixtures/zoom_cases/", $name, ".json")), $recording)
    };
}

fn adapted(fixture: &str, recording: &Recording) -> Value {
    let fixture = fixture
        .replace("AcctAAAAAAAAAAAAAAAAAA", &recording.account_id)
        .replace("UserBBBBBBBBBBBBBBBBBB", &recording.host_id)
        .replace("\"download_token\": \"synthetic.download.token\"", "\"x\": 0");
    serde_json::from_str(&fixture).unwrap()
}

/// The recording of the fixtures at Zoom, with one file.
fn at_zoom(system: &System, file: NewFile) -> Recording {
    let id = file.id.clone().or_else(|| Some(FILE.to_owned()));
    let start_time = Some("2026-10-05T09:00:00Z".parse().unwrap());
    let new = of_ada(vec![NewFile { id, ..file }]);
    silent(system, NewRecording { uuid: Some(UUID.to_owned()), start_time, ..new })
}

fn mp4() -> NewFile {
    NewFile::new("MP4", 1_048_576)
}

#[tokio::test]
async fn case_07_null_among_files_is_skipped() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    post(&system, fixture!("07_null_among_files", &recording)).await;
    system.assert_stored(&recording, "").await;
    assert_eq!(system.view("alice", &recording).await["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn case_08_numeric_file_id_becomes_its_digits() {
    let system = linked().await;
    let recording = at_zoom(&system, NewFile { id: Some("4815162342".into()), ..mp4() });
    post(&system, fixture!("08_numeric_file_id", &recording)).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["id"], &file["status"]), (&json!("4815162342"), &json!("stored")));
}

#[tokio::test]
async fn case_09_duration_zero_is_unknown() {
    let system = System::with(&[("MinimumMinutes", "5")]).await;
    system.link("alice", ADA).await;
    let recording = at_zoom(&system, mp4());
    let events = fixture!("09_duration_zero", &recording)["events"].clone();
    post(&system, &events[0]).await;
    let seen = system.view("alice", &recording).await;
    assert_eq!((&seen["status"], &seen["duration_minutes"]), (&json!("stored"), &json!(31)));
    for event in events.as_array().unwrap() {
        post(&system, event).await;
    }
    assert_eq!(system.view("alice", &recording).await["status"], "stored");
}

#[tokio::test]
async fn case_10_recording_without_files_is_empty() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    post(&system, fixture!("10_no_files", &recording)).await;
    assert_eq!(system.view("alice", &recording).await["status"], "empty");
    assert_eq!(kinds(&system, "alice")["detected"], 1);
}

#[tokio::test]
async fn case_12_change_has_the_time_of_its_payload() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    post(&system, fixture!("07_null_among_files", &recording)).await;
    let changes = fixture!("12_time_in_payload", &recording);
    let seen = async || system.view("alice", &recording).await;
    post(&system, &changes[0]).await;
    assert_eq!(seen().await["topic"], "New title");
    for (change, state) in [(&changes[1], "trashed"), (&changes[2], "present")] {
        system.advance(SignedDuration::from_secs(1));
        post(&system, change).await;
        assert_eq!(seen().await["zoom_state"], state);
    }
    // Its time is older than that of the next event.
    let mut older = changes[0].clone();
    older["payload"]["time_stamp"] = json!(1_791_192_750_000_i64);
    older["payload"]["object"]["topic"] = json!("Older title");
    post(&system, older).await;
    assert_eq!(seen().await["topic"], "New title");
}

#[tokio::test]
async fn case_15_file_at_another_host_waits_for_the_operator() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    let unknown = system.fail(Point::MeetingRecordings, Fault::Status { status: 404 });
    let mut event = fixture!("15_unlisted_download_host", &recording);
    event["download_token"] = json!("synthetic.download.token");
    post(&system, event).await;
    system.maintain_after(SignedDuration::from_hours(12)).await;
    let file = system.first_file(&recording).await;
    assert_eq!(
        (&file["status"], &file["reason"]),
        (&json!("queued"), &json!("download_host_not_allowed"))
    );
    assert!(file["next_attempt_at"].is_string(), "{file}");
    system.zoom().clear_faults(Some(unknown));
    system.maintain_after(SignedDuration::from_hours(7)).await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn case_21_size_that_never_matches_is_stored_with_both_sizes() {
    let system = linked().await;
    let served = NewFile { declared_size: Some(4_194_304), ..NewFile::new("MP4", 4_193_280) };
    let recording = at_zoom(&system, served);
    post(&system, fixture!("21_declared_size_wrong", &recording)["event"].clone()).await;
    assert_eq!(system.first_file(&recording).await["reason"], "length_differs");
    system.maintain_after(SignedDuration::from_mins(40)).await;
    assert_eq!(system.first_file(&recording).await["status"], "queued");
    system.maintain_after(SignedDuration::from_mins(60)).await;
    let file = system.first_file(&recording).await;
    let sizes = (&file["status"], &file["size"], &file["bytes_stored"]);
    assert_eq!(sizes, (&json!("stored"), &json!(4_194_304), &json!(4_193_280)));
}

#[tokio::test]
async fn case_28_recovered_recording_is_stored_once_available() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    let not_found = Fault::ErrorCode { status: 404, code: 3301, form: ErrorForm::Api };
    system.fail(Point::MeetingRecordings, not_found);
    let events = fixture!("28_recovered", &recording);
    let mut first = events[0].clone();
    first["event"] = json!("recording.completed");
    post(&system, first).await;
    post(&system, &events[0]).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("queued"), &json!("not_found")));
    system.maintain_after(SignedDuration::from_hours(1)).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("failed"), &json!("trashed")));
    post(&system, &events[1]).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("queued"), &json!("not_found")));
    system.zoom().clear_faults(None);
    system.maintain_after(SignedDuration::from_hours(1)).await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn case_29_event_without_time_is_processed() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    post(&system, fixture!("29_no_event_time", &recording)).await;
    system.assert_stored(&recording, "").await;
    // It has the time of its receipt.
    let mut older = fixture!("07_null_among_files", &recording);
    older["payload"]["object"]["topic"] = json!("Older topic");
    post(&system, older).await;
    assert_eq!(system.view("alice", &recording).await["topic"], "Synthetic weekly sync");
}

/// Posts an event whose file is at a host that responds like this, and which Zoom's API lists, too.
async fn at_broken_host(
    system: &System,
    respond: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static,
) -> (Recording, TestServer) {
    let host = TestServer::start(Ipv4Addr::LOCALHOST, move |_, _| respond()).await;
    let recording = at_zoom(system, mp4());
    let mut event = completed(system, &recording);
    event["download_token"] = json!("synthetic.download.token");
    event["payload"]["object"]["recording_files"][0]["download_url"] =
        json!(format!("http://{}/rec/webhook_download/synthetic", host.address));
    post(system, event).await;
    (recording, host)
}

#[tokio::test]
async fn case_redirect_loop_at_the_event_url_falls_back_to_the_api() {
    let system = linked().await;
    let redirect = || {
        let response = Response::builder().status(302).header("location", "?again");
        response.body(Body::empty()).unwrap()
    };
    let (recording, _host) = at_broken_host(&system, redirect).await;
    system.assert_stored(&recording, "at once").await;
}

#[tokio::test]
async fn case_outage_of_the_event_url_falls_back_to_the_api() {
    let system = linked().await;
    let down = || Response::builder().status(503).body(Body::empty()).unwrap();
    let (recording, host) = at_broken_host(&system, down).await;
    system.process_and_retry().await;
    system.maintain_after(SignedDuration::from_mins(15)).await;
    system.assert_stored(&recording, "").await;
    assert!(host.connections() > 0);
}

#[tokio::test]
async fn case_backfill_fetches_files_that_were_gone() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    let gone = system.fail(Point::Download, Fault::Status { status: 410 });
    post(&system, completed(&system, &recording)).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("failed"), &json!("gone")));
    system.zoom().clear_faults(Some(gone));
    let day = recording.start_time.strftime("%Y-%m-%d").to_string();
    let body = json!({"from": day, "to": day}).to_string();
    system.advance(SignedDuration::from_secs(1));
    assert_eq!(system.app.post("/v1/backfill", "alice", body).await.status, 202);
    system.process_queues().await;
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn case_batch_recovery_fetches_trashed_files() {
    let system = linked().await;
    let recording = at_zoom(&system, mp4());
    let silently = Selection { silent: true, ..Selection::default() };
    let change = |change| {
        system.zoom().change_recording(&recording.key, change, &silently).unwrap();
    };
    let event = completed(&system, &recording);
    change(RecordingChange::Trash);
    let batch = |name: &str, object: Value| {
        json!({
            "event": format!("recording.{name}"), "event_ts": system.app.now().as_millisecond(),
            "payload": {"account_id": recording.account_id, "object": object},
        })
    };
    post(&system, event).await;
    system.advance(SignedDuration::from_secs(1));
    post(&system, batch("batch_trashed", json!({"meeting_uuids": [UUID]}))).await;
    system.maintain_after(SignedDuration::from_hours(1)).await;
    let file = system.first_file(&recording).await;
    assert_eq!((&file["status"], &file["reason"]), (&json!("failed"), &json!("trashed")));
    change(RecordingChange::Recover);
    let files = json!({"meetings": [{"meeting_uuid": UUID, "recording_file_ids": [FILE]}]});
    post(&system, batch("batch_recovered", files)).await;
    system.assert_stored(&recording, "").await;
}
