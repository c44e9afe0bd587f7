use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::observation::ObservationSource;
use crate::webhook::event::{event_time, parse_envelope};

fn completed() -> Value {
    serde_json::from_slice(include_bytes!(
        "../../../../../tests/fixtures/zoom/recording_completed.json"
    ))
    .unwrap()
}

fn parse(event: &Value) -> Result<ParsedMeeting, EventError> {
    parse_event(event, event_time(event, Timestamp::UNIX_EPOCH))
}

/// The parsed event with one value replaced.
fn parse_with(pointer: &str, value: Value) -> ParsedMeeting {
    let mut event = completed();
    *event.pointer_mut(pointer).unwrap() = value;
    parse(&event).unwrap()
}

fn parse_files(files: Value, participants: Value) -> ParsedMeeting {
    let mut event = completed();
    event["payload"]["object"]["recording_files"] = files;
    event["payload"]["object"]["participant_audio_files"] = participants;
    parse(&event).unwrap()
}

#[test]
fn recording_completed_is_parsed() {
    let Observation { host, details, files, .. } = parse(&completed()).unwrap().observation;
    assert_eq!(host.key(), "AcctAAAAAAAAAAAAAAAAAA#UserBBBBBBBBBBBBBBBBBB");
    let expected = RecordingDetails {
        meeting_id: Some("81234567890".into()),
        topic: Some("Synthetic weekly sync".into()),
        kind: Some(RecordingKind::Meeting),
        start_time: Some("2026-01-01T09:00:00Z".parse().unwrap()),
        timezone: Some("Europe/Berlin".into()),
        duration_minutes: Some(31),
    };
    assert_eq!(details, expected);
    let files: Vec<_> = files
        .iter()
        .map(|FileObservation { metadata, .. }| {
            let recording_type = metadata.recording_type.as_deref();
            (metadata.file_type(), metadata.extension(), metadata.size, recording_type)
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
    let transcript = parse(&serde_json::from_slice(body).unwrap()).unwrap().observation;
    assert_eq!(transcript.files.len(), 1);
    assert_eq!(transcript.files[0].metadata.extension(), "vtt");
    let whole = parse(&completed()).unwrap().observation;
    assert_eq!(transcript.meeting_uuid, whole.meeting_uuid);
}

#[test]
fn odd_value_costs_only_that_value() {
    let whole = parse(&completed()).unwrap();
    let object = completed()["payload"]["object"].clone();
    for (name, _) in object.as_object().unwrap() {
        if ["uuid", "host_id"].contains(&name.as_str()) {
            continue;
        }
        for odd in [json!(null), json!({"a": 1}), json!([[]]), json!(true), json!(-1), json!("")] {
            let parsed = parse_with(&format!("/payload/object/{name}"), odd.clone()).observation;
            assert_eq!(parsed.meeting_uuid, whole.observation.meeting_uuid, "{name} {odd}");
            let is_list = name.ends_with("_files");
            assert_eq!(parsed.files == whole.observation.files, !is_list, "{name} {odd}");
        }
    }
    let file = object["recording_files"][0].clone();
    for (name, _) in file.as_object().unwrap() {
        for odd in [json!(null), json!({"a": 1}), json!([[]]), json!(true), json!(-1), json!("")] {
            let pointer = format!("/payload/object/recording_files/0/{name}");
            let parsed = parse_with(&pointer, odd.clone()).observation;
            assert_eq!(parsed.files.len(), 4, "{name} {odd}");
        }
    }
}

#[test]
fn overlong_topic_is_cut_and_other_text_is_absent() {
    let long = json!("ä".repeat(100_000));
    let parsed = parse_with("/payload/object/topic", long.clone()).observation;
    assert_eq!(parsed.details.topic, Some("ä".repeat(512)));
    for (pointer, read) in [
        ("/payload/object/timezone", (|it| it.details.timezone.clone()) as fn(&Observation) -> _),
        ("/payload/object/recording_files/0/file_type", |it| {
            it.files[0].metadata.file_type.clone()
        }),
        ("/payload/object/recording_files/0/recording_type", |it| {
            it.files[0].metadata.recording_type.clone()
        }),
        ("/payload/object/participant_audio_files/0/file_name", |it| {
            it.files[3].metadata.participant.clone()
        }),
    ] {
        assert!(read(&parsed).is_some(), "{pointer}");
        let parsed = parse_with(pointer, long.clone()).observation;
        assert_eq!(read(&parsed), None, "{pointer}");
    }
}

#[test]
fn entry_that_is_no_file_is_counted_and_skipped() {
    let file = completed()["payload"]["object"]["recording_files"][0].clone();
    let parsed = parse_files(json!([null, file, 7, "x", []]), json!([null]));
    assert_eq!((parsed.observation.files.len(), parsed.ignored_files), (1, 5));
    let parsed = parse_files(json!(null), json!({}));
    assert_eq!((parsed.observation.files.len(), parsed.ignored_files), (0, 0));
}

#[test]
fn missing_and_invalid_ids_are_derived() {
    let timeline = json!({"meeting_id": "x", "recording_start": "2026-01-01T09:00:10Z", "file_type": "TIMELINE"});
    let id = |file: Value| {
        parse_files(json!([file]), json!(null)).observation.files[0].metadata.id.to_string()
    };
    let derived = id(timeline.clone());
    assert_eq!(derived, "x-FFWGSdBLJNBuSwYEhU7mDz", "object keys contain it");
    for (given, expected) in [
        (json!("../x"), derived.as_str()),
        (json!(""), &derived),
        (json!(null), &derived),
        (json!(4_815_162_342_u64), "4815162342"),
        (json!("f-1"), "f-1"),
    ] {
        let mut file = timeline.clone();
        file["id"] = given.clone();
        assert_eq!(id(file), expected, "{given}");
    }
}

#[test]
fn duplicate_ids_are_one_file_and_equal_files_without_id_are_several() {
    let mut file = json!({"recording_start": "2026-01-01T09:00:10Z", "file_type": "M4A"});
    let parsed = parse_files(json!([]), json!([file, file, file]));
    assert_eq!(parsed.observation.files.len(), 3);
    assert_eq!(parsed, parse_files(json!([]), json!([file, file, file])), "deterministic");
    file["id"] = json!("f");
    assert_eq!(parse_files(json!([file, file]), json!([file])).observation.files.len(), 1);
}

#[test]
fn only_processing_files_wait() {
    for (status, is_processing) in [
        (json!("completed"), false),
        (json!("PROCESSING"), true),
        (json!("something new"), false),
        (json!(null), false),
    ] {
        let parsed = parse_with("/payload/object/recording_files/0/status", status.clone());
        let file = &parsed.observation.files[0].metadata;
        assert_eq!(file.is_processing, Some(is_processing), "{status}");
    }
}

#[test]
fn zero_is_unknown_and_numbers_may_be_texts() {
    for (pointer, read) in [
        ("/payload/object/duration", (|it| it.details.duration_minutes) as fn(&Observation) -> _),
        ("/payload/object/recording_files/0/file_size", |it| it.files[0].metadata.size),
    ] {
        for (value, expected) in [
            (json!(0), None),
            (json!("0"), None),
            (json!(-3), None),
            (json!("12"), Some(12)),
            (json!(12.0), Some(12)),
        ] {
            let parsed = parse_with(pointer, value.clone());
            assert_eq!(read(&parsed.observation), expected, "{pointer} {value}");
        }
    }
}

#[test]
fn error_names_the_malformed_field() {
    for (pointer, value, field) in [
        ("/payload/object/host_id", "../../etc", "payload.object.host_id"),
        ("/payload/object/uuid", "with space", "payload.object.uuid"),
    ] {
        let mut event = completed();
        *event.pointer_mut(pointer).unwrap() = json!(value);
        assert_eq!(parse(&event).unwrap_err(), EventError::Field(field));
    }
    // A UUID is opaque and always encoded in paths, so slashes are valid.
    assert_eq!(
        parse_with("/payload/object/uuid", json!("/a//b==")).observation.meeting_uuid.as_str(),
        "/a//b=="
    );
    // The meeting names the account, too.
    let mut event = completed();
    event["payload"]["account_id"] = json!("../../etc");
    assert!(parse(&event).is_ok());
    event["payload"]["object"]["account_id"] = json!(null);
    assert_eq!(parse(&event).unwrap_err(), EventError::Field("payload.account_id"));
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
    assert!(file.url.unwrap().expose_secret().ends_with("/rec/download/SYNTHETIC.AAAA"));
    assert!(find_listed_file(&list["meetings"][0], &uuid, &"other".parse().unwrap()).is_none());
}

#[test]
fn start_before_1970_is_ignored() {
    let parsed = parse_with("/payload/object/start_time", json!("-000001-01-01T00:00:00Z"));
    assert_eq!(parsed.observation.details.start_time, None);
}

#[test]
fn invalid_extension_is_ignored() {
    for bad in ["../../x", "m p4", "verylongextension", "é"] {
        assert_eq!(extension(bad), None, "{bad}");
    }
    assert_eq!(extension("MP4").as_deref(), Some("mp4"));
}

proptest! {
    #[test]
    fn parsing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((_, event)) = parse_envelope(&body) {
            let source = ObservationSource::Event;
            let _ = parse_event(&event, ObservedAt { at: Timestamp::UNIX_EPOCH, is_own: true, source });
        }
    }
}
