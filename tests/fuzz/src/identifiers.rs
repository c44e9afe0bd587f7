//! Identifiers and the object keys derived from them.

use jiff::Timestamp;
use reelay_domain::ids::{
    AccountId, AppUserId, FileId, InvalidId, LinkId, MeetingUuid, RecordingId, UserId, ZoomUser,
};
use reelay_domain::object_key;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::oracle::{fields, is_base64url, text};
use crate::webhooks::assert_key;

/// Each identifier is accepted if and only if it is well-formed, and round-trips through text and JSON. Object
/// keys stay below their user's prefix and are distinct.
pub fn identifiers(input: &[u8]) {
    let [account, user, uuid, app_user, file, start] = fields(input).map(text);
    let app_user_id = |t: &str| {
        (1..=128).contains(&t.len())
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~@:+=|-".contains(&b))
    };
    let graphic = |t: &str| {
        (1..=128).contains(&t.len()) && t.bytes().all(|b| (b'!'..=b'~').contains(&b) && b != b'#')
    };
    let account = check::<AccountId>(account, is_base64url(account, 64));
    let user = check::<UserId>(user, is_base64url(user, 64));
    check::<RecordingId>(uuid, is_base64url(uuid, 172));
    check::<LinkId>(uuid, is_base64url(uuid, 64));
    let uuid = check::<MeetingUuid>(uuid, graphic(uuid));
    let app_user = check::<AppUserId>(app_user, app_user_id(app_user));
    let known = check::<FileId>(file, is_base64url(file, 64));

    if let Ok(parsed) = ZoomUser::from_key(text(input)) {
        assert_eq!(parsed.key(), text(input));
    }
    let (Some(account_id), Some(user_id)) = (account, user) else {
        return;
    };
    let zoom_user = ZoomUser { account_id, user_id };
    assert_eq!(ZoomUser::from_key(&zoom_user.key()).as_ref(), Ok(&zoom_user));
    if let Some(app_user) = app_user {
        let link = LinkId::derive(&app_user, &zoom_user);
        assert!(link.belongs_to(&app_user) && is_base64url(link.as_str(), 64));
        let other: AppUserId = format!("{}x", &app_user.as_str()[1..]).parse().unwrap();
        assert!(other == app_user || !link.belongs_to(&other));
    }
    let Some(uuid) = uuid else {
        return;
    };
    let recording = check::<RecordingId>(RecordingId::from_uuid(&uuid).as_str(), true).unwrap();
    let derived = FileId::derive(&uuid, start, file, "");
    assert!(derived.as_str().starts_with("x-") && is_base64url(derived.as_str(), 24));
    assert!(start == file || derived != FileId::derive(&uuid, file, start, ""));
    // Events have no start time before 1970; `webhook_event` asserts that.
    let start = start.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
    let start = start.max(Timestamp::UNIX_EPOCH);
    for file in [Some(derived), known].into_iter().flatten() {
        let key = object_key::file(&zoom_user, &recording, start, &file, "mp4");
        assert_key(&key, zoom_user.account_id.as_str(), zoom_user.user_id.as_str());
        assert_ne!(key, object_key::manifest(&zoom_user, &recording, start));
    }
}

fn check<T>(text: &str, is_valid: bool) -> Option<T>
where
    T: std::str::FromStr<Err = InvalidId> + ToString + Serialize + DeserializeOwned + PartialEq,
{
    let parsed = text.parse::<T>();
    assert_eq!(parsed.is_ok(), is_valid, "{text}");
    let json = Value::from(text);
    assert_eq!(serde_json::from_value::<T>(json.clone()).is_ok(), is_valid);
    match parsed {
        Ok(id) => {
            assert_eq!(id.to_string(), text);
            assert_eq!(serde_json::to_value(&id).unwrap(), json);
            Some(id)
        }
        Err(error) => {
            // The error must not contain the input.
            assert_eq!(Some(error), "".parse::<T>().err());
            None
        }
    }
}
