use serde_json::json;

use super::*;

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

#[test]
fn subscribed_events_are_processed() {
    for name in SUBSCRIBED_EVENTS {
        let kind = EventKind::from_name(name);
        let is_processed = matches!(kind, EventKind::FilesCompleted | EventKind::RecordingsChanged);
        assert!(is_processed, "{name} is {kind:?}");
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
        assert_eq!(parsed.at, "2026-01-01T12:00:00Z".parse().ok(), "{name}");
    }
    assert!(Deauthorized::parse(&json!({"payload": {"account_id": "A"}})).is_err());
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

#[test]
fn time_is_the_first_plausible_one() {
    let received_at: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
    let own = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let noon = 1_767_225_600_123_i64;
    for (event, expected) in [
        (json!({"event_ts": noon}), own("2026-01-01T00:00:00.123Z")),
        (json!({"event_ts": noon.to_string()}), own("2026-01-01T00:00:00.123Z")),
        (json!({"event_ts": noon / 1000}), own("2026-01-01T00:00:00Z")),
        (json!({"event_ts": "2025-12-31T23:00:00Z"}), own("2025-12-31T23:00:00Z")),
        (json!({"event_ts": "2024-09-08 15:58:40"}), None),
        (json!({"payload": {"time_stamp": noon}}), own("2026-01-01T00:00:00.123Z")),
        (json!({"event_ts": {}, "payload": {"time_stamp": noon}}), own("2026-01-01T00:00:00.123Z")),
        // A day after the receipt and a millisecond.
        (json!({"event_ts": received_at.as_millisecond() + 86_400_001}), None),
        (json!({"event_ts": 0}), None),
        (json!({"event_ts": -5}), None),
        (json!({}), None),
    ] {
        let time = event_time(&event, received_at);
        assert_eq!(time.is_own.then_some(time.at), expected, "{event}");
        assert_eq!(time.at, expected.unwrap_or(received_at), "{event}");
    }
}
