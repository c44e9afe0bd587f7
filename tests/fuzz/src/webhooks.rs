//! Zoom's webhooks: signatures, events and redaction.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reelay_domain::keys::SecretVersions;
use reelay_domain::object_key;
use reelay_domain::source_cipher::{self, EncryptedSource};
use reelay_domain::webhook::event::{self, Deauthorized, EventKind, FilesCompleted};
use reelay_domain::webhook::signature::{self, SignatureHeaders};
use reelay_domain::webhook::{endpoint_validation, redact};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sha2::Sha256;

use crate::by_hand::{self, NOW, fields, is_base64url, text};

const SECRET: &str = "test-secret-token-000";
const OLD_SECRET: &str = "the secret token before";

fn hmac(secret: &str, message: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    message.iter().for_each(|part| mac.update(part));
    hex::encode(mac.finalize().into_bytes())
}

/// A request verifies exactly if its timestamp is decimal and within five minutes of now, and its signature
/// is the HMAC of timestamp and body under a live secret.
pub fn webhook_signature(input: &[u8]) {
    let [timestamp, signature, body] = fields(input);
    let (timestamp, signature) = (text(timestamp), text(signature));
    let secrets = SecretVersions {
        current: SECRET.into(),
        previous: Some(OLD_SECRET.into()),
    };
    let by = |secret| {
        let tag = hmac(secret, &[b"v0:", timestamp.as_bytes(), b":", body]);
        format!("v0={tag}")
    };
    let digits =
        (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let fresh = digits && timestamp.parse::<i64>().unwrap().abs_diff(NOW) <= 300;
    for signature in [signature, &by(SECRET), &by(OLD_SECRET), &by("")] {
        let headers = SignatureHeaders {
            timestamp,
            signature,
        };
        let signed_by = signature::verify(&secrets, headers, body, by_hand::now())
            .ok()
            .map(|secret| secret.expose_secret());
        let expected = [SECRET, OLD_SECRET]
            .into_iter()
            .find(|secret| fresh && by(secret) == signature);
        assert_eq!(signed_by, expected, "{timestamp} {signature}");
        let empty = SecretVersions::single("");
        assert!(signature::verify(&empty, headers, body, by_hand::now()).is_err());
    }
}

/// Parsed events are well-formed, and each file has a unique key below its host's prefix.
pub fn webhook_event(input: &[u8]) {
    let Ok((name, event)) = event::parse_envelope(input) else {
        let named = serde_json::from_slice::<Value>(input).is_ok_and(|v| v["event"].is_string());
        assert!(!named, "an event was taken for none");
        return;
    };
    assert_eq!(event["event"], name.as_str());
    // Parse regardless of the name: the event's shape need not match it.
    if let Ok(completed) = FilesCompleted::parse(&event) {
        assert_completed(&event, &completed);
        assert_eq!(FilesCompleted::parse(&event).as_ref(), Ok(&completed));
    }
    if let Ok(deauthorized) = Deauthorized::parse(&event) {
        let said = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let user = &deauthorized.zoom_user;
        assert_eq!(said("/payload/account_id"), Some(user.account_id.as_str()));
        assert_eq!(said("/payload/user_id"), Some(user.user_id.as_str()));
        assert_eq!(
            said("/payload/client_id"),
            deauthorized.client_id.as_deref()
        );
    }
    if EventKind::from_name(&name) == EventKind::EndpointValidation {
        let token = event.pointer("/payload/plainToken").and_then(Value::as_str);
        let token = token.unwrap_or_default();
        let answer = endpoint_validation::respond(&SECRET.into(), token);
        assert_eq!(answer.plain_token, token);
        assert_eq!(answer.encrypted_token, hmac(SECRET, &[token.as_bytes()]));
    }
}

pub(crate) fn assert_completed(event: &Value, completed: &FilesCompleted) {
    let said = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let host = &completed.host;
    assert_eq!(said("/payload/account_id"), Some(host.account_id.as_str()));
    assert_eq!(said("/payload/object/host_id"), Some(host.user_id.as_str()));
    let uuid = &completed.recording.meeting_uuid;
    assert_eq!(said("/payload/object/uuid"), Some(uuid.as_str()));
    let listed: usize = ["recording_files", "participant_audio_files"]
        .iter()
        .filter_map(|list| event["payload"]["object"][list].as_array())
        .map(Vec::len)
        .sum();
    assert!(completed.files.len() <= listed);

    let recording = reelay_domain::ids::RecordingId::from_uuid(uuid);
    let start = completed.recording.start_time;
    let mut keys = BTreeSet::from([object_key::manifest(host, &recording, start)]);
    for (metadata, _) in &completed.files {
        let key = object_key::file(host, &recording, start, &metadata.id, &metadata.extension);
        assert_key(&key, host.account_id.as_str(), host.user_id.as_str());
        assert_eq!(metadata.file_type, metadata.file_type.to_ascii_uppercase());
        // Ids and keys must be unique, or files would overwrite each other.
        assert!(keys.insert(key), "two files have one key");
    }
}

/// Asserts the form `recordings/{account}/{user}/{yyyy}/{mm}/{dd}/{recording}/{file}.{ext}`.
pub(crate) fn assert_key(key: &str, account: &str, user: &str) {
    let parts: Vec<&str> = key.split('/').collect();
    let ["recordings", a, u, year, month, day, recording, file] = parts.as_slice() else {
        panic!("{key} has another form");
    };
    assert!(*a == account && *u == user, "{key} is below another prefix");
    for (number, digits) in [(year, 4), (month, 2), (day, 2)] {
        assert!(
            number.len() == digits && number.bytes().all(|b| b.is_ascii_digit()),
            "{key} has no date"
        );
    }
    let (id, extension) = file.split_once('.').expect("an extension");
    assert!(
        is_base64url(recording, 172) && is_base64url(id, 64),
        "{key}"
    );
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    assert!(
        (1..=8).contains(&extension.len()) && extension.bytes().all(plain),
        "{key}"
    );
    assert!(key.len() <= 1024, "S3 takes keys of 1024 bytes");
}

/// After redaction no credential is left at any depth, the event parses to the same metadata as before, and
/// each file's source decrypts to its URL and the event's token.
pub fn redaction(input: &[u8]) {
    let Ok(before) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let keys = SecretVersions::single("queue key");
    let mut after = before.clone();
    let mut salts = 0u128;
    redact::redact(&mut after, &keys, || {
        salts += 1;
        salts.to_be_bytes()
    });
    let (mut secret, mut plain) = (Vec::new(), Vec::new());
    gather(&before, false, &mut secret, &mut plain);
    let left = after.to_string();
    for secret in secret {
        // A secret text may also occur under a harmless name.
        let elsewhere = plain.iter().any(|text| text.contains(&secret));
        assert!(
            secret.len() < 8 || elsewhere || !left.contains(&secret),
            "{secret} is left in {left}"
        );
    }
    assert_no_name_is_left(&after);

    let mut again = after.clone();
    redact::redact(&mut again, &keys, || {
        panic!("there is nothing left to seal")
    });
    let facts = |event: &Value| {
        FilesCompleted::parse(event).map(|completed| {
            let files: Vec<_> = completed
                .files
                .into_iter()
                .map(|(facts, _)| facts)
                .collect();
            (
                completed.host,
                completed.recording,
                files,
                completed.event_ts,
            )
        })
    };
    let mut unsealed = before.clone();
    take(&mut unsealed, redact::ENCRYPTED_SOURCE);
    assert_eq!(facts(&after), facts(&unsealed));
    assert_eq!(Deauthorized::parse(&after), Deauthorized::parse(&before));
    assert_sources(&before, &after, &keys);
}

/// Field names that a redacted event must not contain, at any depth.
const FORBIDDEN: [&str; 12] = [
    "password",
    "passcode",
    "recording_play_passcode",
    "play_url",
    "share_url",
    "download_url",
    "download_token",
    "download_access_token",
    "host_email",
    "email",
    "operator",
    "authorization",
];

fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.contains(&name.to_ascii_lowercase().as_str())
}

/// Collects all texts of an event: those below a forbidden name, and the others, including names.
fn gather(value: &Value, below: bool, secret: &mut Vec<String>, plain: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                plain.push(name.clone());
                gather(value, below || is_forbidden(name), secret, plain);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| gather(item, below, secret, plain)),
        Value::String(text) if below => secret.push(text.clone()),
        Value::String(text) => plain.push(text.clone()),
        Value::Number(number) => plain.push(number.to_string()),
        Value::Bool(_) | Value::Null => {}
    }
}

fn assert_no_name_is_left(value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                assert!(!is_forbidden(name), "{name} is left");
                assert_no_name_is_left(value);
            }
        }
        Value::Array(items) => items.iter().for_each(assert_no_name_is_left),
        _ => {}
    }
}

fn take(value: &mut Value, name: &str) {
    match value {
        Value::Object(members) => {
            members.remove(name);
            members.values_mut().for_each(|value| take(value, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| take(item, name)),
        _ => {}
    }
}

fn assert_sources(before: &Value, after: &Value, keys: &SecretVersions) {
    let uuid = before
        .pointer("/payload/object/uuid")
        .and_then(Value::as_str);
    let Some(uuid) = uuid.and_then(|uuid| uuid.parse().ok()) else {
        return;
    };
    let token = before["download_token"].as_str();
    for list in [
        "recording_files",
        "participant_audio_files",
        "archive_files",
    ] {
        let files = |event: &Value| event["payload"]["object"][list].as_array().cloned();
        let (Some(were), Some(are)) = (files(before), files(after)) else {
            continue;
        };
        assert_eq!(were.len(), are.len());
        for (was, is) in were.iter().zip(&are) {
            let sealed = is.get(redact::ENCRYPTED_SOURCE);
            assert_eq!(sealed.is_some(), was["download_url"].is_string());
            if let Some(sealed) = sealed {
                let sealed: EncryptedSource = serde_json::from_value(sealed.clone()).unwrap();
                let source = source_cipher::decrypt(keys, &uuid, &sealed).unwrap();
                assert_eq!(was["download_url"], source.url.expose_secret());
                assert_eq!(source.token.as_ref().map(|t| t.expose_secret()), token);
            }
        }
    }
}
