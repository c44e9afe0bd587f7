//! Redaction of events before they rest anywhere. An event is rebuilt from its known fields; each file's
//! download URL is encrypted together with the event's download token. Passcodes, play and share URLs, e-mail
//! addresses and unknown fields are therefore not stored.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::known_fields::{EVENT, Shape};
use crate::ids::MeetingUuid;
use crate::keys::SecretVersions;
use crate::source_cipher::{self, DownloadSource};

/// Field that replaces a file's `download_url`. A field of this name in an incoming event is not Reelay's and
/// is removed.
pub const ENCRYPTED_SOURCE: &str = "encrypted_source";

/// Rebuilds an event from its known fields. `salt` returns 16 new random bytes for each file.
pub fn redact(mut event: Value, keys: &SecretVersions, salt: impl FnMut() -> [u8; 16]) -> Value {
    let token = match event.get_mut("download_token").map(Value::take) {
        Some(Value::String(token)) => Some(SecretString::from(token)),
        _ => None,
    };
    let uuid = event.pointer("/payload/object/uuid").and_then(Value::as_str);
    let meeting = uuid.and_then(|uuid| uuid.parse().ok());
    Redaction { keys, meeting, token, salt }.rebuild(event, &EVENT).unwrap_or_default()
}

struct Redaction<'a, S> {
    keys: &'a SecretVersions,
    /// Without it the event cannot be processed, and its download URLs are removed.
    meeting: Option<MeetingUuid>,
    token: Option<SecretString>,
    salt: S,
}

impl<S: FnMut() -> [u8; 16]> Redaction<'_, S> {
    /// `None` if the value does not have this shape.
    fn rebuild(&mut self, value: Value, shape: &Shape) -> Option<Value> {
        match (shape, value) {
            (Shape::Scalar, Value::Object(_) | Value::Array(_)) => None,
            (Shape::Scalar, scalar) => Some(scalar),
            (Shape::Object(fields), Value::Object(object)) => {
                Some(Value::Object(self.rebuild_fields(object, fields)))
            }
            (Shape::File(fields), Value::Object(mut file)) => {
                let source = file.remove("download_url").and_then(|url| self.encrypt(url));
                let mut rebuilt = self.rebuild_fields(file, fields);
                if let Some(source) = source {
                    rebuilt.insert(ENCRYPTED_SOURCE.to_owned(), source);
                }
                Some(Value::Object(rebuilt))
            }
            // An item of another shape becomes null, so that the parser still counts it.
            (Shape::List(item), Value::Array(items)) => {
                let items = items.into_iter();
                Some(items.map(|value| self.rebuild(value, item).unwrap_or_default()).collect())
            }
            _ => None,
        }
    }

    fn rebuild_fields(
        &mut self,
        mut object: Map<String, Value>,
        fields: &[(&str, Shape)],
    ) -> Map<String, Value> {
        let mut rebuilt = Map::new();
        for (name, shape) in fields {
            if let Some(value) = object.remove(*name)
                && let Some(value) = self.rebuild(value, shape)
            {
                rebuilt.insert((*name).to_owned(), value);
            }
        }
        rebuilt
    }

    fn encrypt(&mut self, url: Value) -> Option<Value> {
        let (Value::String(url), Some(meeting)) = (url, &self.meeting) else {
            return None;
        };
        let source = DownloadSource { url: SecretString::from(url), token: self.token.clone() };
        let encrypted = source_cipher::encrypt(self.keys, meeting, &source, (self.salt)());
        // A newtype of a string always serializes.
        serde_json::to_value(encrypted).ok()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::observation::{ObservationSource, ObservedAt};
    use crate::webhook::change::RecordingsChanged;
    use crate::webhook::event::Deauthorized;
    use crate::webhook::event::tests::fixtures;
    use crate::webhook::meeting;

    fn redacted(event: Value) -> Value {
        redact(event, &SecretVersions::single("queue key"), || [7; 16])
    }

    fn events() -> Vec<(String, Value)> {
        let parse = |(name, body): (_, Vec<u8>)| (name, serde_json::from_slice(&body).unwrap());
        fixtures().into_iter().map(parse).collect()
    }

    #[test]
    fn no_credential_survives_redaction() {
        for (name, event) in events() {
            let text = redacted(event).to_string();
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
    fn unknown_fields_are_removed() {
        let secret = || json!({"key": ["SECRET"]});
        let mut event = json!({
            "event": "recording.completed",
            "recording_share_key": "SECRET",
            "payload": {
                "account_id": "A",
                "viewer_pin": "SECRET",
                "object": {
                    "uuid": "u1==",
                    "topic": secret(),
                    "encrypted_source": "SECRET",
                    "recording_files": [{"id": "f", "stream_key": "SECRET", "status": secret()}, secret()],
                    "meeting_uuids": ["u2==", secret()],
                    "meetings": [{"meeting_uuid": "u3==", "SECRET": 1}],
                },
            },
        });
        let expected = json!({
            "event": "recording.completed",
            "payload": {
                "account_id": "A",
                "object": {
                    "uuid": "u1==",
                    "recording_files": [{"id": "f"}, {}],
                    "meeting_uuids": ["u2==", null],
                    "meetings": [{"meeting_uuid": "u3=="}],
                },
            },
        });
        assert_eq!(redacted(event.clone()), expected);
        // An event without a meeting keeps no field that claims to be an encrypted source.
        event["payload"]["object"] =
            json!({"recording_files": [{"encrypted_source": "SECRET", "download_url": "SECRET"}]});
        assert_eq!(redacted(event)["payload"]["object"], json!({"recording_files": [{}]}));
        assert_eq!(redacted(json!(["SECRET"])), Value::Null);
    }

    #[test]
    fn parsed_and_reserved_fields_survive() {
        for (name, event) in events() {
            let after = redacted(event.clone());
            let time = ObservedAt {
                at: Timestamp::UNIX_EPOCH,
                is_own: true,
                source: ObservationSource::Event,
            };
            let files = |event: &Value| {
                let mut parsed = meeting::parse_event(event, time);
                if let Ok(parsed) = &mut parsed {
                    parsed.observation.files.iter_mut().for_each(|file| file.source = None);
                }
                parsed
            };
            assert_eq!(files(&after), files(&event), "{name}");
            assert_eq!(
                RecordingsChanged::parse(&after, time),
                RecordingsChanged::parse(&event, time),
                "{name}"
            );
            assert_eq!(Deauthorized::parse(&after), Deauthorized::parse(&event), "{name}");
        }
        let event = json!({"event": "recording.renamed", "payload": {"time_stamp": 1, "object": {
            "uuid": "u1==", "type": 8, "timezone": "UTC", "total_size": 1, "recording_count": 1,
            "auto_delete": true, "auto_delete_date": "2026-12-31",
            "participant_audio_files": [{
                "file_name": "Audio only - Sample Host", "recording_end": "2026-01-01T09:31:00Z",
                "deleted_time": "2026-01-02T00:00:00Z",
            }],
        }}});
        assert_eq!(redacted(event.clone()), event);
    }

    #[test]
    fn redaction_is_idempotent() {
        for (name, event) in events() {
            let once = redacted(event);
            let keys = SecretVersions::single("queue key");
            let twice = redact(once.clone(), &keys, || panic!("{name}: encrypted twice"));
            let mut without_sources = once;
            for list in ["recording_files", "participant_audio_files"] {
                let files = without_sources.pointer_mut(&format!("/payload/object/{list}"));
                for file in files.and_then(Value::as_array_mut).into_iter().flatten() {
                    file.as_object_mut().unwrap().remove(ENCRYPTED_SOURCE);
                }
            }
            assert_eq!(twice, without_sources, "{name}");
        }
    }

    #[test]
    fn encrypted_source_holds_url_and_token() {
        use secrecy::ExposeSecret as _;
        let keys = SecretVersions::single("queue key");
        let body = include_bytes!("../../../../tests/fixtures/zoom/recording_completed.json");
        let event = redact(serde_json::from_slice(body).unwrap(), &keys, || [7; 16]);
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

    /// The object, or the objects of the array.
    fn objects(value: &mut Value) -> Vec<&mut Map<String, Value>> {
        match value {
            Value::Object(object) => vec![object],
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).collect(),
            _ => Vec::new(),
        }
    }

    proptest! {
        /// An unknown field changes nothing, wherever it stands and whatever it is called.
        #[test]
        fn unknown_field_has_no_effect(
            pointer in prop::sample::select(
                vec!["", "/payload", "/payload/object", "/payload/object/recording_files"]
            ),
            at in any::<prop::sample::Index>(),
            name in "[a-z_]{0,12}(url|token|passcode|secret|email|key|id)?_new",
            is_nested in any::<bool>(),
        ) {
            for (fixture, event) in events() {
                let mut extended = event.clone();
                let parents = extended.pointer_mut(pointer).map(objects).unwrap_or_default();
                if !parents.is_empty() {
                    let value = if is_nested { json!([{"id": "SECRET"}]) } else { json!("SECRET") };
                    let at = at.index(parents.len());
                    parents.into_iter().nth(at).unwrap().insert(name.clone(), value);
                }
                prop_assert_eq!(redacted(extended), redacted(event), "{}", fixture);
            }
        }
    }
}
