//! Zoom's webhooks: signatures, events and their redaction.

use std::collections::BTreeSet;
use std::fmt::Debug;

use jiff::SignedDuration;
use reelay_domain::keys::SecretVersions;
use reelay_domain::object_key;
use reelay_domain::observation::{FileObservation, ObservedRecording};
use reelay_domain::source_cipher::{self, EncryptedSource};
use reelay_domain::webhook::change::RecordingsChanged;
use reelay_domain::webhook::event::{self, Deauthorized, EventKind};
use reelay_domain::webhook::meeting::{self, ParsedMeeting};
use reelay_domain::webhook::signature::{self, SignatureHeaders};
use reelay_domain::webhook::{endpoint_validation, redact};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::oracle::{self, NOW, fields, is_base64url, text};

const SECRET: &str = "test-secret-token-000";
const OLD_SECRET: &str = "previous secret token";

fn hmac(secret: &str, message: &[&[u8]]) -> String {
    hex::encode(oracle::hmac(secret, message))
}

/// A delivery is accepted if and only if its timestamp consists of digits within five minutes of now and its
/// signature is the HMAC of timestamp and body under a current or previous secret.
pub fn webhook_signature(input: &[u8]) {
    let [timestamp, signature, body] = fields(input);
    let (timestamp, signature) = (text(timestamp), text(signature));
    let secrets = SecretVersions { current: SECRET.into(), previous: Some(OLD_SECRET.into()) };
    let sign = |secret| {
        let tag = hmac(secret, &[b"v0:", timestamp.as_bytes(), b":", body]);
        format!("v0={tag}")
    };
    let is_number =
        (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let is_fresh = is_number && timestamp.parse::<i64>().unwrap().abs_diff(NOW) <= 300;
    for signature in [signature, &sign(SECRET), &sign(OLD_SECRET), &sign("")] {
        let headers = SignatureHeaders { timestamp, signature };
        let signed_by = signature::verify(&secrets, headers, body, oracle::now())
            .ok()
            .map(|secret| secret.expose_secret());
        let expected =
            [SECRET, OLD_SECRET].into_iter().find(|secret| is_fresh && sign(secret) == signature);
        assert_eq!(signed_by, expected, "{timestamp} {signature}");
        let empty = SecretVersions::single("");
        assert!(signature::verify(&empty, headers, body, oracle::now()).is_err());
    }
}

/// Parsed events hold the input's values, and each file has a distinct object key below its host's prefix.
pub fn webhook_event(input: &[u8]) {
    let Ok((name, event)) = event::parse_envelope(input) else {
        let named = serde_json::from_slice::<Value>(input).is_ok_and(|v| v["event"].is_string());
        assert!(!named, "rejected an event with a name");
        return;
    };
    assert_eq!(event["event"], name.as_str());
    // Parse events of every name, because the event processor selects the parser by name only.
    let time = event::event_time(&event, oracle::now());
    assert!(time.at.duration_since(oracle::now()) <= SignedDuration::from_hours(24));
    if let Ok(parsed) = meeting::parse_event(&event, time) {
        assert_parsed(&event, &parsed);
        assert_eq!(meeting::parse_event(&event, time).as_ref(), Ok(&parsed));
    }
    if let Ok(deauthorized) = Deauthorized::parse(&event) {
        let said = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let user = &deauthorized.zoom_user;
        assert_eq!(said("/payload/account_id"), Some(user.account_id.as_str()));
        assert_eq!(said("/payload/user_id"), Some(user.user_id.as_str()));
        assert_eq!(said("/payload/client_id"), deauthorized.client_id.as_deref());
    }
    if EventKind::from_name(&name) == EventKind::EndpointValidation {
        let token = event.pointer("/payload/plainToken").and_then(Value::as_str);
        let token = token.unwrap_or_default();
        let response = endpoint_validation::respond(&SECRET.into(), token);
        assert_eq!(response.plain_token, token);
        assert_eq!(response.encrypted_token, hmac(SECRET, &[token.as_bytes()]));
    }
}

pub(crate) fn assert_parsed(event: &Value, parsed: &ParsedMeeting) {
    let said = |pointer| match event.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let observation = &parsed.observation;
    let host = &observation.host;
    let account = host.account_id.as_str();
    assert!(
        [said("/payload/account_id"), said("/payload/object/account_id")].contains(&account.into())
    );
    assert_eq!(said("/payload/object/host_id"), host.user_id.as_str());
    assert_eq!(said("/payload/object/uuid"), observation.meeting_uuid.as_str());
    let listed: usize = ["recording_files", "participant_audio_files"]
        .iter()
        .filter_map(|list| event["payload"]["object"][list].as_array())
        .map(Vec::len)
        .sum();
    assert!(observation.files.len() + parsed.ignored_files <= listed);

    let recording = observation.recording_id();
    let start = ObservedRecording::new(observation).metadata.start_time;
    let mut keys = BTreeSet::from([object_key::manifest(host, &recording, start)]);
    for FileObservation { metadata, .. } in &observation.files {
        let key = object_key::file(host, &recording, start, &metadata.id, metadata.extension());
        assert_key(&key, account, host.user_id.as_str());
        assert_eq!(metadata.file_type(), metadata.file_type().to_ascii_uppercase());
        // Two files with the same key would overwrite each other.
        assert!(keys.insert(key), "two files have the same key");
    }
}

/// Asserts the form `recordings/{account}/{user}/{yyyy}/{mm}/{dd}/{recording}/{file}.{ext}`.
pub(crate) fn assert_key(key: &str, account: &str, user: &str) {
    let parts: Vec<&str> = key.split('/').collect();
    let ["recordings", a, u, year, month, day, recording, file] = parts.as_slice() else {
        panic!("malformed key {key}");
    };
    assert!(*a == account && *u == user, "{key} is outside its prefix");
    for (number, digits) in [(year, 4), (month, 2), (day, 2)] {
        assert!(
            number.len() == digits && number.bytes().all(|b| b.is_ascii_digit()),
            "{key} has no date"
        );
    }
    let (id, extension) = file.split_once('.').expect("the file has an extension");
    assert!(is_base64url(recording, 172) && is_base64url(id, 64), "{key}");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    assert!((1..=8).contains(&extension.len()) && extension.bytes().all(plain), "{key}");
    assert!(key.len() <= 1024, "S3 allows keys of at most 1024 bytes");
}

/// Redaction keeps known fields alone, keeps the parsed values, and encrypts each file's own URL with the event's
/// token. It is idempotent.
pub fn redaction(input: &[u8]) {
    let Ok(before) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let keys = SecretVersions::single("queue key");
    let mut salts = 0u128;
    let after = redact::redact(before.clone(), &keys, || {
        salts += 1;
        salts.to_be_bytes()
    });
    let (mut secret, mut plain) = (Vec::new(), Vec::new());
    collect_texts(&before, false, &mut secret, &mut plain);
    let redacted = after.to_string();
    for secret in secret {
        // The same text may also occur in a known field.
        let is_allowed_elsewhere = plain.iter().any(|text| text.contains(&secret));
        assert!(
            secret.len() < 8 || is_allowed_elsewhere || !redacted.contains(&secret),
            "{secret} remains in {redacted}"
        );
    }
    assert_only_known_names(&after);

    let again =
        redact::redact(after.clone(), &keys, || panic!("redaction encrypted a source twice"));
    let mut after_without_sources = after.clone();
    remove_member(&mut after_without_sources, redact::ENCRYPTED_SOURCE);
    assert_eq!(again, after_without_sources);

    let time = oracle::observed_at();
    let parsed = |event: &Value| {
        meeting::parse_event(event, time).map(|mut parsed| {
            parsed.observation.files.iter_mut().for_each(|file| file.source = None);
            parsed
        })
    };
    let mut without_sources = before.clone();
    remove_member(&mut without_sources, redact::ENCRYPTED_SOURCE);
    assert_kept(parsed(&without_sources), parsed(&after));
    assert_kept(RecordingsChanged::parse(&before, time), RecordingsChanged::parse(&after, time));
    assert_kept(Deauthorized::parse(&before), Deauthorized::parse(&after));
    assert_sources(&before, &after, &keys);
}

/// Values that parse before redaction also parse after it. Redaction removes fields of the wrong kind, so more values
/// may parse.
fn assert_kept<T: PartialEq + Debug, E: PartialEq + Debug>(
    before: Result<T, E>,
    after: Result<T, E>,
) {
    if before.is_ok() {
        assert_eq!(after, before);
    }
}

/// Names that may occur in a redacted event.
const KNOWN: [&str; 39] = [
    "account_id",
    "archive_files",
    "auto_delete",
    "auto_delete_date",
    "client_id",
    "deauthorization_time",
    "deleted_time",
    "duration",
    "encrypted_source",
    "end_time",
    "event",
    "event_ts",
    "file_extension",
    "file_name",
    "file_size",
    "file_type",
    "host_id",
    "id",
    "meeting_uuid",
    "meeting_uuids",
    "meetings",
    "object",
    "participant_audio_files",
    "payload",
    "recording_count",
    "recording_end",
    "recording_file_ids",
    "recording_files",
    "recording_start",
    "recording_type",
    "start_time",
    "status",
    "time_stamp",
    "timezone",
    "topic",
    "total_size",
    "type",
    "user_id",
    "uuid",
];

/// Collects the texts below unknown names, and all other texts. An incoming `encrypted_source` is not Reelay's.
fn collect_texts(value: &Value, below: bool, secret: &mut Vec<String>, plain: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let is_known = name != redact::ENCRYPTED_SOURCE && KNOWN.contains(&name.as_str());
                if is_known {
                    plain.push(name.clone());
                }
                collect_texts(value, below || !is_known, secret, plain);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| collect_texts(item, below, secret, plain))
        }
        Value::String(text) if below => secret.push(text.clone()),
        Value::String(text) => plain.push(text.clone()),
        Value::Number(number) => plain.push(number.to_string()),
        Value::Bool(_) | Value::Null => {}
    }
}

fn assert_only_known_names(value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                assert!(KNOWN.contains(&name.as_str()), "{name} remains");
                assert_only_known_names(value);
            }
        }
        Value::Array(items) => items.iter().for_each(assert_only_known_names),
        _ => {}
    }
}

fn remove_member(value: &mut Value, name: &str) {
    match value {
        Value::Object(members) => {
            members.remove(name);
            members.values_mut().for_each(|value| remove_member(value, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_member(item, name)),
        _ => {}
    }
}

fn assert_sources(before: &Value, after: &Value, keys: &SecretVersions) {
    let uuid = before.pointer("/payload/object/uuid").and_then(Value::as_str);
    let Some(uuid) = uuid.and_then(|uuid| uuid.parse().ok()) else {
        return;
    };
    let token = before["download_token"].as_str();
    for list in ["recording_files", "participant_audio_files", "archive_files"] {
        let files = |event: &Value| event["payload"]["object"][list].as_array().cloned();
        let (Some(originals), Some(redacted)) = (files(before), files(after)) else {
            continue;
        };
        assert_eq!(originals.len(), redacted.len());
        for (original, file) in originals.iter().zip(&redacted) {
            let encrypted = file.get(redact::ENCRYPTED_SOURCE);
            assert_eq!(encrypted.is_some(), original["download_url"].is_string());
            if let Some(encrypted) = encrypted {
                let encrypted: EncryptedSource = serde_json::from_value(encrypted.clone()).unwrap();
                let source = source_cipher::decrypt(keys, &uuid, &encrypted).unwrap();
                assert_eq!(original["download_url"], source.url.expose_secret());
                assert_eq!(source.token.as_ref().map(|t| t.expose_secret()), token);
            }
        }
    }
}
