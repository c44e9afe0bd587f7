//! Redaction of events before they are enqueued. Passcodes, play and share URLs and e-mail addresses are
//! removed; each file's download URL is encrypted together with the event's download token.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::ids::MeetingUuid;
use crate::keys::SecretVersions;
use crate::source_cipher::{self, DownloadSource};

/// Field that replaces a file's `download_url`.
pub const ENCRYPTED_SOURCE: &str = "encrypted_source";

const FILE_LISTS: [&str; 3] = ["recording_files", "participant_audio_files", "archive_files"];

/// Returns whether a field holds a credential or unneeded personal data, at any depth. The suffixes also
/// cover unknown fields that are named like credentials.
fn is_sensitive(name: &str) -> bool {
    const EXACT: [&str; 7] = [
        "password",
        "host_email",
        "operator",
        "email",
        "participant_email",
        "signature",
        "authorization",
    ];
    let name = name.to_ascii_lowercase();
    EXACT.contains(&name.as_str())
        || ["passcode", "password", "secret", "token", "url"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

/// Redacts an event in place. `salt` returns 16 new random bytes for each file.
pub fn redact(event: &mut Value, keys: &SecretVersions, mut salt: impl FnMut() -> [u8; 16]) {
    let token = match event.get_mut("download_token").map(Value::take) {
        Some(Value::String(token)) => Some(SecretString::from(token)),
        _ => None,
    };
    let meeting = event
        .pointer("/payload/object/uuid")
        .and_then(Value::as_str)
        .and_then(|uuid| uuid.parse::<MeetingUuid>().ok());
    // An event without a meeting cannot be processed, so its download URLs are removed like all others.
    if let Some(meeting) = meeting
        && let Some(Value::Object(object)) = event.pointer_mut("/payload/object")
    {
        for list in FILE_LISTS {
            let Some(Value::Array(files)) = object.get_mut(list) else {
                continue;
            };
            for file in files.iter_mut().filter_map(Value::as_object_mut) {
                encrypt_source(file, keys, &meeting, token.as_ref(), &mut salt);
            }
        }
    }
    remove_sensitive(event);
}

fn encrypt_source(
    file: &mut Map<String, Value>,
    keys: &SecretVersions,
    meeting: &MeetingUuid,
    token: Option<&SecretString>,
    salt: &mut impl FnMut() -> [u8; 16],
) {
    // A field of this name in the incoming event is not Reelay's.
    file.remove(ENCRYPTED_SOURCE);
    if let Some(Value::String(url)) = file.remove("download_url") {
        let source = DownloadSource { url: SecretString::from(url), token: token.cloned() };
        let encrypted = source_cipher::encrypt(keys, meeting, &source, salt());
        // A newtype of a string always serializes.
        if let Ok(encrypted) = serde_json::to_value(encrypted) {
            file.insert(ENCRYPTED_SOURCE.to_owned(), encrypted);
        }
    }
}

fn remove_sensitive(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !is_sensitive(name));
            fields.values_mut().for_each(remove_sensitive);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_sensitive),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_survives_redaction() {
        let keys = SecretVersions::single("queue key");
        for (name, body) in crate::webhook::event::tests::fixtures() {
            let mut event: Value = serde_json::from_slice(&body).unwrap();
            redact(&mut event, &keys, || [7; 16]);
            let text = event.to_string();
            for secret in [
                "download.token",
                "eyJ",
                "synthPW",
                "SYNTHETIC",
                "https://",
                "@example.test",
                "00aa",
            ] {
                assert!(!text.contains(secret), "{name} still contains {secret}: {text}");
            }
        }
    }

    #[test]
    fn encrypted_source_holds_url_and_token() {
        use secrecy::ExposeSecret as _;
        let keys = SecretVersions::single("queue key");
        let body = include_bytes!("../../../../tests/fixtures/zoom/recording_completed.json");
        let mut event: Value = serde_json::from_slice(body).unwrap();
        redact(&mut event, &keys, || [7; 16]);
        let encrypted =
            event.pointer("/payload/object/recording_files/1/encrypted_source").unwrap().clone();
        let encrypted: source_cipher::EncryptedSource = serde_json::from_value(encrypted).unwrap();
        let source =
            source_cipher::decrypt(&keys, &"Zm9v+bar/bazQUJDREVGRw==".parse().unwrap(), &encrypted)
                .unwrap();
        assert!(source.url.expose_secret().ends_with("SYNTHETIC.BBBB/SYNTHETICsuffix"));
        assert_eq!(source.token.unwrap().expose_secret(), "eyJhbGciOiJFUzI1NiJ9.c3ludGhldGlj.c2ln");
        assert_eq!(event.pointer("/payload/object/topic").unwrap(), "Synthetic weekly sync");
    }
}
