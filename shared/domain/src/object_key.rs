//! Object keys in the recordings bucket:
//! `recordings/{account_id}/{user_id}/{yyyy}/{mm}/{dd}/{recording_id}/{file_id}.{ext}`, and
//! `events/{account_id}/{user_id}/{random}.json` for events that are too large for a queue, and `….unparsed` or
//! `….encrypted`, named by their content, for events that could not be parsed.

use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use crate::ids::{FileId, RecordingId, ZoomUser};
use crate::time::utc_date;

/// Returns the prefix of all keys of one Zoom user's recordings.
pub fn zoom_user_prefix(user: &ZoomUser) -> String {
    format!("recordings/{}/{}/", user.account_id, user.user_id)
}

/// Returns the prefix of all keys of large events about one Zoom user.
pub fn event_prefix(user: &ZoomUser) -> String {
    format!("events/{}/{}/", user.account_id, user.user_id)
}

/// Returns the key of a large event. `host` is absent if the event names none.
pub fn event(host: Option<&ZoomUser>, random: [u8; 16]) -> String {
    event_key(host, "events/unknown/", random, "json")
}

/// Returns the key of a redacted event that could not be parsed. Filing it twice writes one object.
pub fn unparsed_event(host: Option<&ZoomUser>, content: &[u8]) -> String {
    event_key(host, UNPARSED, digest(content), "unparsed")
}

/// Returns the key of an event that is no JSON, encrypted. Filing it twice writes one object.
pub fn encrypted_event(host: Option<&ZoomUser>, content: &[u8]) -> String {
    event_key(host, UNPARSED, digest(content), "encrypted")
}

fn digest(content: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(content).into();
    std::array::from_fn(|n| digest[n])
}

/// Whether the object is an event that could not be parsed.
pub fn is_unparsed(key: &str) -> bool {
    key.starts_with("events/") && (key.ends_with(".unparsed") || key.ends_with(".encrypted"))
}

/// Prefix of events that could not be parsed and name no user. The bucket's lifecycle rules name it.
const UNPARSED: &str = "events/unparsed/";

fn event_key(
    host: Option<&ZoomUser>,
    without_host: &str,
    name: [u8; 16],
    extension: &str,
) -> String {
    let prefix = host.map_or_else(|| without_host.to_owned(), event_prefix);
    format!("{prefix}{:032x}.{extension}", u128::from_be_bytes(name))
}

/// Returns the recording in whose folder an object lies. `None` for other objects.
pub fn recording_of(key: &str) -> Option<RecordingId> {
    parse_file(key).map(|(_, recording, _)| recording)
}

/// Returns the prefix of all keys of one recording. `date` is the UTC date of its first start time.
pub fn recording_prefix(user: &ZoomUser, recording: &RecordingId, date: Date) -> String {
    let (year, month, day) = (date.year(), date.month(), date.day());
    format!("{}{year:04}/{month:02}/{day:02}/{recording}/", zoom_user_prefix(user))
}

/// Returns the folder of a recording. Its date is the UTC date of the first start time seen, and never
/// changes.
fn folder(user: &ZoomUser, recording: &RecordingId, first_start: Timestamp) -> String {
    recording_prefix(user, recording, utc_date(first_start))
}

/// Returns the key of a file.
pub fn file(
    user: &ZoomUser,
    recording: &RecordingId,
    first_start: Timestamp,
    file: &FileId,
    extension: &str,
) -> String {
    format!("{}{file}.{extension}", folder(user, recording, first_start))
}

/// Parses a file's key. `None` for keys of other objects.
pub fn parse_file(key: &str) -> Option<(ZoomUser, RecordingId, FileId)> {
    let mut segments = key.strip_prefix("recordings/")?.split('/');
    let mut next = || segments.next();
    let user = ZoomUser { account_id: next()?.parse().ok()?, user_id: next()?.parse().ok()? };
    let (_year, _month, _day) = (next()?, next()?, next()?);
    let recording = next()?.parse().ok()?;
    // An extension may contain dots; a file id cannot.
    let (file, _extension) = next()?.split_once('.')?;
    let file = file.parse().ok()?;
    next().is_none().then_some((user, recording, file))
}

/// Returns the key of the manifest, which is in the same folder as the files.
pub fn manifest(user: &ZoomUser, recording: &RecordingId, first_start: Timestamp) -> String {
    format!("{}manifest.json", folder(user, recording, first_start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_the_contract() {
        let user =
            ZoomUser { account_id: "AcctA".parse().unwrap(), user_id: "UserB".parse().unwrap() };
        let recording: RecordingId = "Wm05dg".parse().unwrap();
        let start: Timestamp = "2026-01-01T01:30:00+02:00".parse().unwrap();
        assert_eq!(
            file(&user, &recording, start, &"f-1".parse().unwrap(), "mp4"),
            "recordings/AcctA/UserB/2025/12/31/Wm05dg/f-1.mp4"
        );
        let key = file(&user, &recording, start, &"f-1".parse().unwrap(), "tar.gz");
        let parsed = (user.clone(), recording.clone(), "f-1".parse().unwrap());
        assert_eq!(parse_file(&key), Some(parsed));
        for other in [
            "events/1.json",
            "recordings/AcctA/UserB/2025/12/31/Wm05dg/",
            "recordings/AcctA/UserB/2025/12/31/Wm05dg/f-1",
            "recordings/AcctA/UserB/2025/12/31/Wm05dg/f-1.mp4/more",
            "recordings//UserB/2025/12/31/Wm05dg/f-1.mp4",
        ] {
            assert_eq!(parse_file(other), None, "{other}");
        }
        assert_eq!(
            manifest(&user, &recording, start),
            "recordings/AcctA/UserB/2025/12/31/Wm05dg/manifest.json"
        );
        assert_eq!(recording_of(&manifest(&user, &recording, start)), Some(recording));
        let key = event(Some(&user), [1; 16]);
        assert_eq!(key, "events/AcctA/UserB/01010101010101010101010101010101.json");
        assert!(key.starts_with(&event_prefix(&user)));
        assert!(event(None, [1; 16]).starts_with("events/unknown/"));
        assert!(!is_unparsed(&key));
        assert!(is_unparsed(&unparsed_event(Some(&user), b"{}")));
        assert!(is_unparsed(&encrypted_event(None, b"{}")));
        assert_eq!(encrypted_event(None, b"1"), encrypted_event(None, b"1"));
        assert_ne!(encrypted_event(None, b"1"), encrypted_event(None, b"2"));
    }
}
