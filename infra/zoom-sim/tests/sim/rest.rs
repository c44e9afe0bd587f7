use jiff::Timestamp;
use reelay_zoom_sim::{
    Fault, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection, Simulator,
};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{ADA, BEN, NORTHWIND, at, get, get_json, header, list, sim};

fn timestamp(text: &str) -> Timestamp {
    text.parse().expect("timestamp")
}

/// Creates a recording without an event.
fn create(sim: &Simulator, new: NewRecording) -> Recording {
    let new = NewRecording { silent: true, ..new };
    let created = sim.control().create_recording(new);
    created.expect("created").recording
}

fn token(sim: &Simulator, user: &str) -> String {
    sim.control().authorize(user).expect("user").access_token
}

#[tokio::test]
async fn users_me_returns_both_ids() {
    let sim = sim().await;
    let (status, me) = get_json(&sim, "v2/users/me", &token(&sim, BEN)).await;
    assert_eq!((status, &me["id"]), (200, &BEN.into()));
    assert_eq!(me["account_id"], NORTHWIND);
    assert_eq!((&me["type"], &me["status"]), (&2.into(), &"active".into()));
    let keys = "display_name pmi timezone created_at last_login_time phone_numbers cluster plan_united_type";
    for key in keys.split(' ') {
        assert!(me.get(key).is_some(), "{key}");
    }
    let (status, error) = get_json(&sim, "v2/users/me", "nonsense").await;
    assert_eq!((status, &error["code"]), (401, &124.into()));
    assert_eq!(error["message"], "Invalid access token.");
}

#[tokio::test]
async fn lists_have_windows_and_pages() {
    let sim = sim().await;
    for (day, host) in [
        ("2026-01-03", ADA),
        ("2026-01-01", ADA),
        ("2026-01-02", BEN),
        ("2026-01-02", ADA),
        ("2026-02-20", ADA),
    ] {
        let start_time = Some(timestamp(&format!("{day}T09:00:00Z")));
        let new = NewRecording { start_time, ..NewRecording::of(host) };
        create(&sim, new);
    }
    let token = token(&sim, ADA);
    let days = |page: &Value| -> Vec<String> {
        let meetings = list(&page["meetings"]).iter();
        let day = |meeting: &Value| meeting["start_time"].as_str().expect("time")[..10].to_owned();
        meetings.map(day).collect()
    };
    let get = async |query: &str| {
        get_json(&sim, &format!("v2/users/me/recordings?{query}"), &token).await
    };
    let query = "from=2026-01-01&to=2026-01-31&page_size=2";
    let (_, first) = get(query).await;
    let numbers = ["total_records", "page_size", "page_count"].map(|key| first[key].as_u64());
    assert_eq!(numbers, [Some(3), Some(2), Some(2)]);
    assert_eq!(days(&first), ["2026-01-03", "2026-01-02"]);
    let next = first["next_page_token"].as_str().expect("token");
    let next = format!("{query}&next_page_token={next}");
    let (_, second) = get(&next).await;
    assert_eq!(days(&second), ["2026-01-01"]);
    assert_eq!(second["next_page_token"], "");

    let (_, wide) = get("from=2025-01-01&to=2026-02-25").await;
    assert_eq!(wide["from"], "2026-01-25", "a month before `to`");
    assert_eq!(days(&wide), ["2026-02-20"]);
    let (_, today) = get("").await;
    assert!(days(&today).is_empty());
    let (status, error) = get("from=yesterday").await;
    assert_eq!((status, &error["code"]), (400, &300.into()));

    sim.control().advance(15 * 60);
    let (status, expired) = get(&next).await;
    assert_eq!((status, &expired["code"]), (400, &300.into()));
}

#[tokio::test]
async fn list_has_faults_and_sources() {
    let sim = sim().await;
    for (day, is_note) in [("2026-01-03", false), ("2026-01-02", true), ("2026-01-01", false)] {
        let start_time = Some(timestamp(&format!("{day}T09:00:00Z")));
        create(&sim, NewRecording { start_time, is_note, ..NewRecording::of(ADA) });
    }
    let token = token(&sim, ADA);
    let get = async |fault: Option<Fault>, query: &str| {
        if let Some(fault) = fault {
            sim.control().arm(NewFault::times(Point::ListRecordings, fault, 1)).expect("armed");
        }
        let path = format!("v2/users/me/recordings?from=2026-01-01&to=2026-01-03&{query}");
        let (status, page) = get_json(&sim, &path, &token).await;
        assert_eq!(status, 200);
        let next = page["next_page_token"].as_str().expect("token").to_owned();
        (list(&page["meetings"]).len(), page["total_records"].as_u64(), next)
    };
    let none = String::new();
    assert_eq!(get(None, "").await, (3, Some(3), none.clone()));
    for (source, count) in [("cloud_recording_only", 2), ("my_notes_recording_only", 1)] {
        let page = get(None, &format!("recording_source_type={source}")).await;
        assert_eq!(page, (count, Some(count as u64), none.clone()), "{source}");
    }
    let omit = Fault::OmitMeetings { count: 2 };
    assert_eq!(get(Some(omit), "").await, (1, Some(3), none.clone()));
    assert_eq!(get(Some(Fault::ExclusiveTo), "").await, (2, Some(2), none));
    let (_, _, first) = get(Some(Fault::RepeatPageToken), "page_size=1").await;
    let (count, _, second) =
        get(Some(Fault::RepeatPageToken), &format!("page_size=1&next_page_token={first}")).await;
    assert_eq!((count, second), (1, first));
    let elsewhere = NewFault::always(Point::UsersMe, Fault::ExclusiveTo);
    assert!(sim.control().arm(elsewhere).is_err());
}

#[tokio::test]
async fn meeting_returns_files_like_zoom() {
    let sim = sim().await;
    let timeline =
        NewFile { omit: vec!["id".into(), "file_size".into()], ..NewFile::new("TIMELINE", 93) };
    let files = vec![NewFile::new("MP4", 1000), timeline];
    let created = create(&sim, NewRecording::of(ADA).with_files(files));
    let query = "include_fields=download_access_token&ttl=60";
    let path = format!("v2/meetings/{}/recordings?{query}", created.meeting_id);
    let (_, meeting) = get_json(&sim, &path, &token(&sim, ADA)).await;
    assert_eq!(meeting["uuid"], created.uuid.as_str());
    let token = meeting["download_access_token"].as_str().expect("token");
    assert_eq!(token.split('.').count(), 3);
    let [video, timeline] = list(&meeting["recording_files"]) else {
        panic!("two files: {meeting}")
    };
    let mut keys: Vec<_> = video.as_object().expect("object").keys().collect();
    keys.sort_unstable();
    let expected = "download_url file_extension file_size file_type id meeting_id play_url \
                    recording_end recording_start recording_type status";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    let url = video["download_url"].as_str().expect("URL");
    assert!(url.starts_with(&at(&sim, "rec/download/")));
    for omitted in ["id", "file_size", "play_url"] {
        assert!(timeline.get(omitted).is_none(), "{omitted}");
    }
}

#[tokio::test]
async fn uuids_with_slashes_need_two_encodings() {
    let sim = sim().await;
    let token = token(&sim, ADA);
    for uuid in
        ["/ajSynthUUID1234567890==", "ab//cdSynthUUID12345678==", "Ab/cd+SynthUUID1234567=="]
    {
        let uuid = Some(uuid.into());
        let new = NewRecording { uuid, ..NewRecording::of(ADA) };
        create(&sim, new);
    }
    for (encoded, status) in [
        ("%252FajSynthUUID1234567890%253D%253D", 200),
        ("%2FajSynthUUID1234567890%3D%3D", 404),
        ("Ab%2Fcd%2BSynthUUID1234567%3D%3D", 200),
        ("Ab%252Fcd%252BSynthUUID1234567%253D%253D", 200),
        ("ab%252F%252FcdSynthUUID12345678%253D%253D", 200),
        ("ab%2F%2FcdSynthUUID12345678%3D%3D", 404),
    ] {
        let path = format!("v2/meetings/{encoded}/recordings");
        assert_eq!(get_json(&sim, &path, &token).await.0, status, "{encoded}");
    }
}

#[tokio::test]
async fn unavailable_recordings_have_code_3301() {
    let sim = sim().await;
    let control = sim.control();
    let token = token(&sim, ADA);
    let code = async |name: &str| {
        let path = format!("v2/meetings/{name}/recordings");
        get_json(&sim, &path, &token).await.1["code"].clone()
    };
    let new = NewRecording { processing: true, ..NewRecording::of(ADA) };
    let recording = create(&sim, new);
    let number = recording.meeting_id.to_string();
    assert_eq!(code(&number).await, 3301, "in processing");
    control.complete(&recording.key).expect("recording");
    assert_eq!(code(&number).await, Value::Null);
    let all = Selection::default();
    control.change_recording(&recording.key, RecordingChange::Trash, &all).expect("recording");
    assert_eq!(code(&number).await, 3301, "trashed");
    let other = create(&sim, NewRecording::of(BEN));
    assert_eq!(code(&other.meeting_id.to_string()).await, 3301, "a colleague's");
    assert_eq!(code("r1").await, 3301, "keys are unknown to Zoom");
}

#[tokio::test]
async fn trash_is_listed_apart() {
    let sim = sim().await;
    // Without dates the list covers the day, on which the recordings began an hour ago.
    sim.control().clock().set(timestamp("2026-01-01T22:00:00Z"));
    let token = token(&sim, ADA);
    let whole = create(&sim, NewRecording::of(ADA));
    let part = create(&sim, NewRecording::of(ADA));
    let one_file = Some(vec![part.files[0].id.clone()]);
    for (recording, files) in [(&whole, None), (&part, one_file)] {
        let selection = Selection { files, ..Selection::default() };
        let change = RecordingChange::Trash;
        let changed = sim.control().change_recording(&recording.key, change, &selection);
        changed.expect("recording");
    }
    for (query, uuid, files) in [
        ("", &part.uuid, 3),
        ("trash=true", &whole.uuid, 4),
        ("trash=true&trash_type=recording_file", &part.uuid, 1),
    ] {
        let (_, page) = get_json(&sim, &format!("v2/users/me/recordings?{query}"), &token).await;
        let meetings = list(&page["meetings"]);
        assert_eq!((meetings.len(), &meetings[0]["uuid"]), (1, &uuid.as_str().into()));
        let shown = list(&meetings[0]["recording_files"]);
        assert_eq!(shown.len(), files, "{query}");
        assert_eq!(shown[0]["deleted_time"].is_string(), !query.is_empty());
    }
}

#[tokio::test]
async fn daily_limit_has_a_date() {
    let sim = sim().await;
    let token = token(&sim, ADA);
    sim.control().clock().set(timestamp("2026-01-01T22:00:00Z"));
    let daily = Fault::RateLimited { retry_after_seconds: Some(7200) };
    let fault = NewFault::times(Point::ListRecordings, daily, 1).only_for(ADA);
    sim.control().arm(fault).expect("possible");
    let url = at(&sim, "v2/users/me/recordings");
    let limited = get(&url, &token).await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&limited, "retry-after").starts_with("2026-01-02T00:00:"));
    assert_eq!(header(&limited, "x-ratelimit-type"), "Daily-limit");
    assert_eq!(header(&limited, "x-ratelimit-category"), "Medium");
    assert_eq!(limited.json::<Value>().await.expect("JSON")["code"], 429);
    let next = get(&url, &token).await;
    assert_eq!((next.status(), header(&next, "x-ratelimit-type")), (StatusCode::OK, "QPS"));
}
