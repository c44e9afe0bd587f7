//! `manifest.json`, which describes a recording to readers of the bucket.

use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::object_key;
use reelay_domain::recording::FileStatus;
use reelay_runtime::AwsError;
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::recordings::{RecordingTable, RecordingWithFiles};

/// Writes the manifest of a recording, or deletes it if no file is stored. Repeats until the recording does not
/// change during the write, so that the last version written is the current one.
///
/// # Errors
/// If an AWS call fails.
pub async fn refresh(
    table: &RecordingTable,
    bucket: &Bucket,
    zoom_user: &ZoomUser,
    id: &RecordingId,
) -> Result<(), AwsError> {
    let mut written = None;
    while let Some(recording) = table.load(zoom_user, id).await? {
        let manifest = render(&recording, bucket.name());
        if written.as_ref() == Some(&manifest) {
            break;
        }
        let key = object_key::manifest(zoom_user, id, recording.item.observed.key_start());
        match &manifest {
            Some(manifest) => bucket.put_json(&key, manifest.clone()).await?,
            None => bucket.delete(&key).await?,
        }
        written = Some(manifest);
    }
    Ok(())
}

/// Renders the manifest; `None` if no file is stored. It contains no time of writing, so equal states give equal
/// bytes.
fn render(recording: &RecordingWithFiles, bucket: &str) -> Option<Vec<u8>> {
    if recording.files.iter().all(|file| file.status != FileStatus::Stored) {
        return None;
    }
    let mut view = json!(recording.recording().view(bucket));
    // Notifications follow the manifest and change it.
    if let Some(view) = view.as_object_mut() {
        view.remove("updated_at");
    }
    let recognised = |id: &Value| {
        let mut files = recording.files.iter();
        files.find(|file| id == file.observed.metadata.id.as_str())?.recognised
    };
    if let Some(files) = view.get_mut("files").and_then(Value::as_array_mut) {
        for file in files {
            file["type_recognised"] = json!(recognised(&file["id"]));
        }
    }
    let manifest = json!({"version": 1, "recording": view});
    Some(format!("{manifest:#}\n").into_bytes())
}
