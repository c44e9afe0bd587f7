//! What of a recording has landed, held against what the simulator has.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reelay_zoom_sim::Recording;
use serde_json::Value;

use crate::{System, store};

/// The recording's id at the API and in keys.
pub fn id(recording: &Recording) -> String {
    URL_SAFE_NO_PAD.encode(&recording.uuid)
}

/// Where its objects lie, with a slash at the end.
pub fn folder(recording: &Recording) -> String {
    let date = recording.start_time.strftime("%Y/%m/%d");
    format!(
        "recordings/{}/{}/{date}/{}/",
        recording.account_id,
        recording.host_id,
        id(recording)
    )
}

/// The recording as an app user sees it.
pub async fn view(system: &System, user: &str, recording: &Recording) -> Value {
    let path = format!("/v1/recordings/{}", id(recording));
    system.app.get(&path, user).await.json()
}

/// Asserts that exactly the files that the simulator has now lie in the bucket, byte by byte, that no upload
/// is left open, and gives the manifest.
pub async fn assert_whole(system: &System, recording: &Recording, case: &str) -> Value {
    let recording = system.zoom().recording(&recording.key).unwrap();
    let folder = folder(&recording);
    let mut found = store::objects(&system.stack, &folder).await;
    let manifest = found.remove(&format!("{folder}manifest.json"));
    let expected: BTreeMap<String, _> = recording
        .all_files()
        .map(|file| {
            let extension = file.file_extension.to_lowercase();
            (format!("{folder}{}.{extension}", file.id), file)
        })
        .collect();
    // Keys first: a difference between bytes would fill pages.
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "{case}"
    );
    for (key, file) in expected {
        let same = found[&key] == file.spec().bytes(0..file.size);
        assert!(same, "{case}: other bytes under {key}");
    }
    assert_eq!(store::open_uploads(&system.stack).await, 0, "{case}");
    let manifest = manifest.unwrap_or_else(|| panic!("{case}: no manifest"));
    serde_json::from_slice(&manifest).unwrap()
}
