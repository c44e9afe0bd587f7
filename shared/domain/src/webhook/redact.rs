//! What of an event may rest in a queue: everything but credentials. Passcodes, play and share URLs
//! and mail addresses go; each file's download URL and the event's token are sealed together.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::ids::MeetingUuid;
use crate::keys::SecretVersions;
use crate::source_cipher::{self, DownloadSource};

/// The field that takes the place of a file's `download_url`.
pub const ENCRYPTED_SOURCE: &str = "encrypted_source";

const FILE_LISTS: [&str; 3] = [
    "recording_files",
    "participant_audio_files",
    "archive_files",
];

/// Fields that are credentials or personal data without a use here, wherever they stand. An unknown
/// field is kept only if its name does not look like a credential's either.
fn must_go(name: &str) -> bool {
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
            .any(|end| name.ends_with(end))
}

/// Redacts an event in place. `salt` gives 16 fresh random bytes per file.
pub fn redact(event: &mut Value, keys: &SecretVersions, mut salt: impl FnMut() -> [u8; 16]) {
    let token = match event.get_mut("download_token").map(Value::take) {
        Some(Value::String(token)) => Some(SecretString::from(token)),
        _ => None,
    };
    let meeting = event
        .pointer("/payload/object/uuid")
        .and_then(Value::as_str)
        .and_then(|uuid| uuid.parse::<MeetingUuid>().ok());
    // Without a meeting the event can't be acted on; its URLs are dropped like all others.
    if let Some(meeting) = meeting
        && let Some(Value::Object(object)) = event.pointer_mut("/payload/object")
    {
        for list in FILE_LISTS {
            let Some(Value::Array(files)) = object.get_mut(list) else {
                continue;
            };
            for file in files.iter_mut().filter_map(Value::as_object_mut) {
                seal_source(file, keys, &meeting, token.as_ref(), &mut salt);
            }
        }
    }
    remove(event);
}

fn seal_source(
    file: &mut Map<String, Value>,
    keys: &SecretVersions,
    meeting: &MeetingUuid,
    token: Option<&SecretString>,
    salt: &mut impl FnMut() -> [u8; 16],
) {
    // Whatever was called so on arrival is not ours.
    file.remove(ENCRYPTED_SOURCE);
    if let Some(Value::String(url)) = file.remove("download_url") {
        let source = DownloadSource {
            url: SecretString::from(url),
            token: token.cloned(),
        };
        let sealed = source_cipher::encrypt(keys, meeting, &source, salt());
        // A newtype over a string always becomes a JSON string.
        if let Ok(sealed) = serde_json::to_value(sealed) {
            file.insert(ENCRYPTED_SOURCE.to_owned(), sealed);
        }
    }
}

fn remove(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !must_go(name));
            fields.values_mut().for_each(remove);
        }
        Value::Array(items) => items.iter_mut().for_each(remove),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_of_any_example_event_survives() {
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
                assert!(
                    !text.contains(secret),
                    "{name} still holds {secret}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_sealed_source_opens_to_the_files_own_url_and_the_events_token() {
        use secrecy::ExposeSecret as _;
        let keys = SecretVersions::single("queue key");
        let body = include_bytes!("../../../../tests/fixtures/zoom/recording_completed.json");
        let mut event: Value = serde_json::from_slice(body).unwrap();
        redact(&mut event, &keys, || [7; 16]);
        let sealed = event
            .pointer("/payload/object/recording_files/1/encrypted_source")
            .unwrap()
            .clone();
        let sealed: source_cipher::EncryptedSource = serde_json::from_value(sealed).unwrap();
        let source =
            source_cipher::decrypt(&keys, &"Zm9v+bar/bazQUJDREVGRw==".parse().unwrap(), &sealed)
                .unwrap();
        assert!(
            source
                .url
                .expose_secret()
                .ends_with("SYNTHETIC.BBBB/SYNTHETICsuffix")
        );
        assert_eq!(
            source.token.unwrap().expose_secret(),
            "eyJhbGciOiJFUzI1NiJ9.c3ludGhldGlj.c2ln"
        );
        assert_eq!(
            event.pointer("/payload/object/topic").unwrap(),
            "Synthetic weekly sync"
        );
    }
}
