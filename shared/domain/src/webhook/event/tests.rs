use super::*;
use proptest::prelude::*;
use serde_json::json;

/// Returns all example events as (name, body).
pub(crate) fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/zoom");
    let mut fixtures: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            Some((path.file_stem()?.to_str()?.to_owned(), std::fs::read(&path).unwrap()))
        })
        .filter(|(_, body)| parse_envelope(body).is_ok())
        .collect();
    fixtures.sort();
    assert!(fixtures.len() >= 10, "the fixtures are missing");
    fixtures
}

fn completed() -> Value {
    serde_json::from_slice(include_bytes!(
        "../../../../../tests/fixtures/zoom/recording_completed.json"
    ))
    .unwrap()
}

#[test]
fn subscribed_events_are_processed() {
    for name in SUBSCRIBED_EVENTS {
        let kind = EventKind::from_name(name);
        let is_processed = matches!(kind, EventKind::FilesCompleted | EventKind::RecordingsChanged);
        assert!(is_processed, "{name} is {kind:?}");
    }
}

#[test]
fn recording_completed_is_parsed() {
    let event = FilesCompleted::parse(&completed()).unwrap();
    assert_eq!(event.host.key(), "AcctAAAAAAAAAAAAAAAAAA#UserBBBBBBBBBBBBBBBBBB");
    assert_eq!(event.event_ts, 1_767_260_000_123);
    assert_eq!(event.recording.meeting_id.as_deref(), Some("81234567890"));
    assert_eq!(event.recording.duration_minutes, Some(31));
    let files: Vec<_> = event
        .files
        .iter()
        .map(|(f, _)| {
            (f.file_type.as_str(), f.extension.as_str(), f.size, f.recording_type.as_deref())
        })
        .collect();
    assert_eq!(
        files,
        [
            ("MP4", "mp4", Some(2_175_742), Some("shared_screen_with_speaker_view")),
            ("M4A", "m4a", Some(434_147), Some("audio_only")),
            ("TIMELINE", "json", Some(93), Some("timeline")),
            ("M4A", "m4a", Some(23), Some("audio_only_each_participant")),
        ]
    );
}

#[test]
fn transcript_completed_has_the_same_shape() {
    let body =
        include_bytes!("../../../../../tests/fixtures/zoom/recording_transcript_completed.json");
    let event = FilesCompleted::parse(&serde_json::from_slice(body).unwrap()).unwrap();
    assert_eq!(event.files.len(), 1);
    assert_eq!(event.files[0].0.extension, "vtt");
    assert_eq!(
        event.recording.meeting_uuid,
        FilesCompleted::parse(&completed()).unwrap().recording.meeting_uuid
    );
}

#[test]
fn timeline_without_id_size_and_status_is_kept() {
    let mut event = completed();
    event["payload"]["object"]["recording_files"] = json!([{"meeting_id": "x", "recording_start": "2026-01-01T09:00:10Z", "file_type": "TIMELINE"}]);
    event["payload"]["object"]["participant_audio_files"] = Value::Null;
    let event = FilesCompleted::parse(&event).unwrap();
    assert_eq!(event.files.len(), 1);
    assert!(event.files[0].0.id.as_str().starts_with("x-"));
    assert_eq!(event.files[0].0.size, None);
}

#[test]
fn processing_and_duplicate_files_are_skipped() {
    let mut event = completed();
    event["payload"]["object"]["recording_files"][0]["status"] = json!("processing");
    let again = event["payload"]["object"]["recording_files"][1].clone();
    event["payload"]["object"]["recording_files"].as_array_mut().unwrap().push(again);
    assert_eq!(FilesCompleted::parse(&event).unwrap().files.len(), 3);
}

#[test]
fn equal_files_without_id_get_distinct_ids() {
    let mut event = completed();
    let file = json!({"recording_start": "2026-01-01T09:00:10Z", "file_type": "M4A", "file_extension": "M4A"});
    event["payload"]["object"]["recording_files"] = json!([]);
    event["payload"]["object"]["participant_audio_files"] = json!([file, file, file]);
    let event_files = FilesCompleted::parse(&event).unwrap();
    assert_eq!(event_files.files.len(), 3);
    assert_eq!(event_files, FilesCompleted::parse(&event).unwrap(), "the ids are deterministic");
}

#[test]
fn numbers_may_be_strings() {
    let mut event = completed();
    event["payload"]["object"]["id"] = json!("81234567890");
    event["payload"]["object"]["duration"] = json!("31");
    event["payload"]["object"]["recording_files"][0]["file_size"] = json!("2175742");
    event["event_ts"] = json!("1767260000123");
    assert_eq!(
        FilesCompleted::parse(&event).unwrap(),
        FilesCompleted::parse(&completed()).unwrap()
    );
}

#[test]
fn error_names_the_malformed_field() {
    for (pointer, field) in [
        ("/payload/account_id", "payload.account_id"),
        ("/payload/object/host_id", "payload.object.host_id"),
        ("/payload/object/uuid", "payload.object.uuid"),
    ] {
        let mut event = completed();
        *event.pointer_mut(pointer).unwrap() = json!("../../etc");
        let result = FilesCompleted::parse(&event);
        if field.ends_with("uuid") {
            // A UUID is opaque and always encoded in paths, so slashes are valid.
            assert!(result.is_ok());
            *event.pointer_mut(pointer).unwrap() = json!("with space");
        }
        assert_eq!(FilesCompleted::parse(&event).unwrap_err(), EventError::Field(field));
    }
}

#[test]
fn all_forms_of_deauthorization_are_parsed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/zoom/");
    for name in [
        "app_deauthorized",
        "app_deauthorized_legacy",
        "app_deauthorized_event_ts_inside",
        "app_deauthorized_event_ts_text",
    ] {
        let body = std::fs::read(format!("{folder}{name}.json")).unwrap();
        let (event_name, event) = parse_envelope(&body).unwrap();
        assert_eq!(EventKind::from_name(&event_name), EventKind::Deauthorized);
        let parsed = Deauthorized::parse(&event).unwrap();
        assert_eq!(
            parsed.zoom_user.key(),
            "AcctAAAAAAAAAAAAAAAAAA#UserBBBBBBBBBBBBBBBBBB",
            "{name}"
        );
        assert_eq!(parsed.client_id.as_deref(), Some("SYNTHclientID000000000"));
    }
    assert!(Deauthorized::parse(&json!({"payload": {"account_id": "A"}})).is_err());
}

#[test]
fn listed_file_is_found_by_id() {
    use secrecy::ExposeSecret as _;
    let list: Value = serde_json::from_slice(include_bytes!(
        "../../../../../tests/fixtures/zoom/user_recordings.json"
    ))
    .unwrap();
    let uuid = "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap();
    let id = "11111111-1111-4111-8111-111111111111".parse().unwrap();
    let file = find_listed_file(&list["meetings"][0], &uuid, &id).unwrap();
    let url = file.url;
    assert!(url.expose_secret().ends_with("/rec/download/SYNTHETIC.AAAA"));
    assert!(find_listed_file(&list["meetings"][0], &uuid, &"other".parse().unwrap()).is_none());
}

#[test]
fn start_before_1970_is_ignored() {
    let mut event = completed();
    event["payload"]["object"]["start_time"] = json!("-000001-01-01T00:00:00Z");
    let completed = FilesCompleted::parse(&event).unwrap();
    assert_eq!(
        completed.recording.start_time,
        "2026-01-01T09:00:10Z".parse().unwrap(),
        "the first file's start is used"
    );
}

#[test]
fn invalid_extension_is_replaced() {
    for bad in ["../../x", "m p4", "", "verylongextension", "é"] {
        assert_eq!(extension(Some(bad), "MP4"), "mp4");
    }
}

#[test]
fn invalid_envelopes_are_rejected() {
    for bad in
        [&b""[..], b"[]", b"{}", b"null", b"\"event\"", br#"{"event":1}"#, br#"{"event":"#, b"\xff"]
    {
        assert_eq!(parse_envelope(bad).unwrap_err(), InvalidEnvelope);
    }
    assert_eq!(parse_envelope(br#"{"event":"x.y"}"#).unwrap().0, "x.y");
}

proptest! {
    #[test]
    fn parsing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((_, event)) = parse_envelope(&body) {
            let _ = FilesCompleted::parse(&event);
        }
    }
}
