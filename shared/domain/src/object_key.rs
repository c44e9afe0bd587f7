//! Object keys in the recordings bucket:
//! `recordings/{account_id}/{user_id}/{yyyy}/{mm}/{dd}/{recording_id}/{file_id}.{ext}`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::ids::{FileId, RecordingId, ZoomUser};

/// Returns the prefix of all keys of one Zoom user's recordings.
pub fn zoom_user_prefix(user: &ZoomUser) -> String {
    format!("recordings/{}/{}/", user.account_id, user.user_id)
}

/// Returns the folder of a recording. Its date is the UTC date of the first start time seen, and never
/// changes.
fn folder(user: &ZoomUser, recording: &RecordingId, first_start: Timestamp) -> String {
    let date = first_start.to_zoned_datetime(TimeZone::UTC).date();
    format!(
        "{}{:04}/{:02}/{:02}/{recording}",
        zoom_user_prefix(user),
        date.year(),
        date.month(),
        date.day()
    )
}

/// Returns the key of a file.
pub fn file(
    user: &ZoomUser,
    recording: &RecordingId,
    first_start: Timestamp,
    file: &FileId,
    extension: &str,
) -> String {
    format!("{}/{file}.{extension}", folder(user, recording, first_start))
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
    format!("{}/manifest.json", folder(user, recording, first_start))
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
    }
}
