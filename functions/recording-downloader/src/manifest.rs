//! `manifest.json`, beside a recording's files: what is there, for those who have the bucket alone.

use reelay_store::recordings::RecordingWithFiles;
use serde_json::{Value, json};

/// The manifest of a recording as it is now. It holds no times of its own, so the same state always
/// gives the same bytes.
pub(crate) fn of(loaded: &RecordingWithFiles, bucket: &str) -> Vec<u8> {
    let mut recording = json!(loaded.recording().view(bucket));
    if let Some(files) = recording.get_mut("files").and_then(Value::as_array_mut) {
        for (file, item) in files.iter_mut().zip(&loaded.files) {
            // What Zoom declared stands beside what was stored: for text files they may differ.
            file["declared_size"] = json!(item.metadata.size);
            // `null` for types of which nothing is known.
            file["type_recognised"] = json!(item.recognised);
        }
    }
    let manifest = json!({"version": 1, "recording": recording});
    let mut text = format!("{manifest:#}").into_bytes();
    text.push(b'\n');
    text
}
