//! The fields of Zoom's events that may rest in a queue, a bucket or a table: those that [`super::event`] and
//! [`super::change`] parse, and those reserved for later features. Redaction removes all others.

/// Value that a known field may have. Another kind of value is removed.
#[derive(Debug)]
pub(super) enum Shape {
    /// A string, number, boolean or null.
    Scalar,
    /// An object with these fields.
    Object(&'static [(&'static str, Shape)]),
    /// An array.
    List(&'static Shape),
    /// An object with these fields that also has a `download_url`, which is encrypted.
    File(&'static [(&'static str, Shape)]),
}

use Shape::{File, List, Object, Scalar};

/// A whole event. Its `download_token` is encrypted with each file's URL.
pub(super) const EVENT: Shape =
    Object(&[("event", Scalar), ("event_ts", Scalar), ("payload", Object(PAYLOAD))]);

/// `user_id`, `client_id` and `deauthorization_time` stand in `app_deauthorized`; `time_stamp` in
/// `recording.renamed`. Some senders put `event_ts` here.
const PAYLOAD: &[(&str, Shape)] = &[
    ("account_id", Scalar),
    ("client_id", Scalar),
    ("deauthorization_time", Scalar),
    ("event_ts", Scalar),
    ("object", Object(MEETING)),
    ("time_stamp", Scalar),
    ("user_id", Scalar),
];

/// A meeting, in events and in Zoom's lists. `meeting_uuids` and `meetings` stand in batch events.
const MEETING: &[(&str, Shape)] = &[
    ("account_id", Scalar),
    ("archive_files", List(&File(FILE))),
    ("auto_delete", Scalar),
    ("auto_delete_date", Scalar),
    ("deleted_time", Scalar),
    ("duration", Scalar),
    ("end_time", Scalar),
    ("host_id", Scalar),
    ("id", Scalar),
    ("meeting_uuids", List(&Scalar)),
    ("meetings", List(&Object(BATCH_MEETING))),
    ("participant_audio_files", List(&File(FILE))),
    ("recording_count", Scalar),
    ("recording_files", List(&File(FILE))),
    ("start_time", Scalar),
    ("timezone", Scalar),
    ("topic", Scalar),
    ("total_size", Scalar),
    ("type", Scalar),
    ("uuid", Scalar),
];

const BATCH_MEETING: &[(&str, Shape)] =
    &[("meeting_uuid", Scalar), ("recording_file_ids", List(&Scalar))];

/// A file. `file_name` distinguishes participants' tracks.
const FILE: &[(&str, Shape)] = &[
    ("deleted_time", Scalar),
    ("file_extension", Scalar),
    ("file_name", Scalar),
    ("file_size", Scalar),
    ("file_type", Scalar),
    ("id", Scalar),
    ("recording_end", Scalar),
    ("recording_start", Scalar),
    ("recording_type", Scalar),
    ("status", Scalar),
];
