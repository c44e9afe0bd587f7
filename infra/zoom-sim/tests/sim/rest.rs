use jiff::Timestamp;
use reelay_zoom_sim::{
    Fault, NewFault, NewFile, NewRecording, Point, RecordingChange, Selection, Simulator,
};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{ADA, BEN, NORTHWIND, at, client, get_json, sim};

fn when(text: &str) -> Timestamp {
    text.parse().expect("timestamp")
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("object")
        .keys()
        .map(String::as_str)
        .collect()
}

fn silent(host: &str) -> NewRecording {
    NewRecording {
        send: false,
        ..NewRecording::of(host)
    }
}

fn token(sim: &Simulator, user: &str) -> String {
    sim.control().authorize(user).expect("user").access_token
}

#[tokio::test]
async fn users_me_tells_both_ids() {
    let sim = sim().await;
    let (status, me) = get_json(&sim, "v2/users/me", &token(&sim, BEN)).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&me["id"], &me["account_id"]),
        (&BEN.into(), &NORTHWIND.into())
    );
    assert_eq!(me["type"], 2);
    assert_eq!(me["status"], "active");
    for key in [
        "display_name",
        "pmi",
        "timezone",
        "created_at",
        "last_login_time",
        "phone_numbers",
        "cluster",
        "plan_united_type",
    ] {
        assert!(me.get(key).is_some(), "{key}");
    }
    let (status, refused) = get_json(&sim, "v2/users/me", "nonsense").await;
    assert_eq!(
        (status, &refused["code"], &refused["message"]),
        (401, &124.into(), &"Invalid access token.".into())
    );
}

#[tokio::test]
async fn lists_have_windows_pages_and_an_order() {
    let sim = sim().await;
    let control = sim.control();
    for (day, host) in [
        ("2026-01-03", ADA),
        ("2026-01-01", ADA),
        ("2026-01-02", BEN),
        ("2026-01-02", ADA),
        ("2026-02-20", ADA),
    ] {
        let start_time = Some(when(&format!("{day}T09:00:00Z")));
        control
            .create_recording(NewRecording {
                start_time,
                ..silent(host)
            })
            .expect("created");
    }
    let token = token(&sim, ADA);
    let path = "v2/users/me/recordings?from=2026-01-01&to=2026-01-31&page_size=2";
    let (_, first) = get_json(&sim, path, &token).await;
    assert_eq!(
        (
            &first["total_records"],
            &first["page_size"],
            &first["page_count"]
        ),
        (&3.into(), &2.into(), &2.into())
    );
    let days = |list: &Value| -> Vec<String> {
        list["meetings"]
            .as_array()
            .expect("list")
            .iter()
            .map(|one| one["start_time"].as_str().expect("time")[..10].to_owned())
            .collect()
    };
    assert_eq!(days(&first), ["2026-01-03", "2026-01-02"]);
    let next = first["next_page_token"].as_str().expect("token");
    let (_, second) = get_json(&sim, &format!("{path}&next_page_token={next}"), &token).await;
    assert_eq!(days(&second), ["2026-01-01"]);
    assert_eq!(second["next_page_token"], "");

    // Too wide: trimmed to the month before `to`.
    let (_, wide) = get_json(
        &sim,
        "v2/users/me/recordings?from=2025-01-01&to=2026-02-25",
        &token,
    )
    .await;
    assert_eq!(
        (&wide["from"], days(&wide)),
        (&"2026-01-25".into(), vec!["2026-02-20".into()])
    );
    let (_, today) = get_json(&sim, "v2/users/me/recordings", &token).await;
    assert_eq!(today["meetings"], Value::Array(vec![]));

    control.advance(15 * 60);
    let (status, expired) = get_json(&sim, &format!("{path}&next_page_token={next}"), &token).await;
    assert_eq!((status, &expired["code"]), (400, &300.into()));
}

#[tokio::test]
async fn files_look_like_zooms() {
    let sim = sim().await;
    let files = vec![
        NewFile::new("MP4", 1000),
        NewFile {
            omit: vec!["id".into(), "file_size".into()],
            ..NewFile::new("TIMELINE", 93)
        },
    ];
    let created = sim
        .control()
        .create_recording(silent(ADA).with_files(files))
        .expect("created")
        .recording;
    let path = format!(
        "v2/meetings/{}/recordings?include_fields=download_access_token&ttl=60",
        created.meeting_id
    );
    let (_, found) = get_json(&sim, &path, &token(&sim, ADA)).await;
    assert_eq!(found["uuid"], created.uuid.as_str());
    assert!(
        found["download_access_token"]
            .as_str()
            .expect("token")
            .contains('.')
    );
    let [video, timeline] = found["recording_files"]
        .as_array()
        .expect("list")
        .as_slice()
    else {
        panic!("two files")
    };
    let mut expected = vec![
        "id",
        "meeting_id",
        "recording_start",
        "recording_end",
        "file_type",
        "file_extension",
        "file_size",
        "play_url",
        "download_url",
        "status",
        "recording_type",
    ];
    let mut found = keys(video);
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert!(
        video["download_url"]
            .as_str()
            .expect("URL")
            .starts_with(&at(&sim, "rec/download/"))
    );
    for left_out in ["id", "file_size", "play_url"] {
        assert!(timeline.get(left_out).is_none(), "{left_out}");
    }
}

#[tokio::test]
async fn uuids_are_encoded_once_or_twice() {
    let sim = sim().await;
    let token = token(&sim, ADA);
    let (slash, plus) = ("/ajSynthUUID1234567890==", "Ab/cd+SynthUUID1234567==");
    for uuid in [slash, plus] {
        sim.control()
            .create_recording(NewRecording {
                uuid: Some(uuid.into()),
                ..silent(ADA)
            })
            .expect("created");
    }
    let cases = [
        ("%252FajSynthUUID1234567890%253D%253D", 200),
        ("%2FajSynthUUID1234567890%3D%3D", 404),
        ("Ab%2Fcd%2BSynthUUID1234567%3D%3D", 200),
        ("Ab%252Fcd%252BSynthUUID1234567%253D%253D", 200),
    ];
    for (encoded, expected) in cases {
        assert_eq!(
            get_json(&sim, &format!("v2/meetings/{encoded}/recordings"), &token)
                .await
                .0,
            expected,
            "{encoded}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_3301() {
    let sim = sim().await;
    let control = sim.control();
    let token = token(&sim, ADA);
    let code = async |name: &str| {
        get_json(&sim, &format!("v2/meetings/{name}/recordings"), &token)
            .await
            .1["code"]
            .clone()
    };
    let processing = control
        .create_recording(NewRecording {
            processing: true,
            ..silent(ADA)
        })
        .expect("created")
        .recording;
    assert_eq!(code(&processing.meeting_id.to_string()).await, 3301);
    control.complete(&processing.key).expect("known");
    assert_eq!(code(&processing.meeting_id.to_string()).await, Value::Null);
    control
        .change_recording(
            &processing.key,
            RecordingChange::Trash,
            &Selection::default(),
        )
        .expect("known");
    assert_eq!(code(&processing.meeting_id.to_string()).await, 3301);
    let colleagues = control
        .create_recording(silent(BEN))
        .expect("created")
        .recording;
    assert_eq!(
        code(&colleagues.meeting_id.to_string()).await,
        3301,
        "a colleague's"
    );
    assert_eq!(code("r1").await, 3301, "handles are not Zoom's");
}

#[tokio::test]
async fn the_trash_is_a_list_of_its_own() {
    let sim = sim().await;
    let control = sim.control();
    let token = token(&sim, ADA);
    let whole = control
        .create_recording(silent(ADA))
        .expect("created")
        .recording;
    let part = control
        .create_recording(silent(ADA))
        .expect("created")
        .recording;
    control
        .change_recording(&whole.key, RecordingChange::Trash, &Selection::default())
        .expect("known");
    let one = Selection {
        files: Some(vec![part.files[0].id.clone()]),
        ..Selection::default()
    };
    control
        .change_recording(&part.key, RecordingChange::Trash, &one)
        .expect("known");
    let list = async |query: &str| {
        let (_, list) = get_json(&sim, &format!("v2/users/me/recordings?{query}"), &token).await;
        list["meetings"].as_array().expect("list").clone()
    };
    let trashed = list("trash=true").await;
    assert_eq!(
        (trashed.len(), &trashed[0]["uuid"]),
        (1, &whole.uuid.as_str().into())
    );
    assert!(trashed[0]["recording_files"][0]["deleted_time"].is_string());
    let files = list("trash=true&trash_type=recording_file").await;
    assert_eq!(
        (
            files.len(),
            files[0]["recording_files"].as_array().map(Vec::len)
        ),
        (1, Some(1))
    );
    let present = list("").await;
    assert_eq!(
        (
            present.len(),
            present[0]["recording_files"].as_array().map(Vec::len)
        ),
        (1, Some(3))
    );
}

#[tokio::test]
async fn rate_limits_carry_dates() {
    let sim = sim().await;
    let token = token(&sim, ADA);
    sim.control().clock().set(when("2026-01-01T22:00:00Z"));
    sim.control().advance(0);
    let daily = Fault::RateLimited {
        retry_after_seconds: Some(7200),
    };
    sim.control()
        .arm(NewFault::times(Point::ListRecordings, daily, 1).about(ADA))
        .expect("armed");
    // The clock was set back, so the token is from the future, which Zoom would not mind either.
    let url = at(&sim, "v2/users/me/recordings");
    let limited = client()
        .get(&url)
        .bearer_auth(&token)
        .send()
        .await
        .expect("answer");
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(
        limited.headers()["retry-after"]
            .to_str()
            .expect("text")
            .starts_with("2026-01-02T00:00:")
    );
    assert_eq!(limited.headers()["x-ratelimit-type"], "Daily-limit");
    assert_eq!(limited.headers()["x-ratelimit-category"], "Medium");
    assert_eq!(limited.json::<Value>().await.expect("JSON")["code"], 429);
    let next = client()
        .get(&url)
        .bearer_auth(&token)
        .send()
        .await
        .expect("answer");
    assert_eq!(
        (
            next.status(),
            next.headers()["x-ratelimit-type"].to_str().ok()
        ),
        (StatusCode::OK, Some("QPS"))
    );
}
