//! Recordings as stored and as the API shows them, compared with the simulator's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reelay_zoom_sim::{NewFile, NewRecording, Recording, RecordingFile};
use reqwest::Method;
use serde_json::Value;

use crate::System;
use crate::zoom_users::ADA;

/// A new recording of Ada's: one video of this size.
pub fn video(size: u64) -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", size)])
}

/// A recording's id in the API and in object keys.
pub fn recording_id(recording: &Recording) -> String {
    URL_SAFE_NO_PAD.encode(&recording.uuid)
}

/// The API path of a recording.
pub fn recording_path(recording: &Recording) -> String {
    format!("/v1/recordings/{}", recording_id(recording))
}

/// The prefix of a recording's object keys, with a slash at the end.
pub fn folder(recording: &Recording) -> String {
    let (account, host) = (&recording.account_id, &recording.host_id);
    let date = recording.start_time.strftime("%Y/%m/%d");
    format!("recordings/{account}/{host}/{date}/{}/", recording_id(recording))
}

/// A file's object key.
pub fn object_key(recording: &Recording, file: &RecordingFile) -> String {
    let extension = file.file_extension.to_lowercase();
    format!("{}{}.{extension}", folder(recording), file.id)
}

/// A file's bytes.
pub fn bytes(file: &RecordingFile) -> Vec<u8> {
    file.spec().bytes(0..file.size).to_vec()
}

/// A file's CRC-64/NVME as S3 shows it.
pub fn crc(file: &RecordingFile) -> String {
    STANDARD.encode(file.spec().crc64_nvme().to_be_bytes())
}

impl System {
    /// The recording as `GET /v1/recordings/{id}` shows it.
    pub async fn view(&self, user: &str, recording: &Recording) -> Value {
        self.app.get(&recording_path(recording), user).await.json()
    }

    /// The recording's first file, as the API shows it to Alice.
    pub async fn first_file(&self, recording: &Recording) -> Value {
        self.view("alice", recording).await["files"][0].clone()
    }

    /// Requests a download as Alice's app.
    pub async fn request_download(&self, recording: &Recording) {
        let path = format!("{}/download", recording_path(recording));
        let response = self.app.call(Method::POST, &path, "alice").await;
        assert_eq!(response.status, 202, "{response:?}");
    }

    /// The recording as the simulator has it now, late files included.
    pub fn latest(&self, recording: &Recording) -> Recording {
        self.zoom().recording(&recording.key).unwrap()
    }

    /// The manifest beside a recording's files.
    pub async fn manifest(&self, recording: &Recording) -> Value {
        let folder = folder(recording);
        let objects = self.objects(&folder).await;
        let manifest = objects.get(&format!("{folder}manifest.json"));
        let manifest = manifest.unwrap_or_else(|| panic!("no manifest in {folder}"));
        serde_json::from_slice(manifest).unwrap()
    }

    /// Asserts that the bucket holds exactly these recordings' files, byte by byte.
    pub async fn assert_bucket_holds(&self, recordings: &[&Recording]) {
        let mut expected = BTreeMap::new();
        for recording in recordings {
            let recording = self.latest(recording);
            for file in recording.all_files() {
                expected.insert(object_key(&recording, file), bytes(file));
            }
        }
        assert_same_objects(&self.stored_files().await, &expected, "");
    }

    /// Asserts that exactly the recording's files lie in its folder, byte by byte. Returns the manifest.
    pub async fn assert_files(&self, recording: &Recording, case: &str) -> Value {
        let recording = self.latest(recording);
        let mut found = self.objects(&folder(&recording)).await;
        found.retain(|key, _| !key.ends_with("/manifest.json"));
        let files = recording.all_files();
        let expected = files.map(|file| (object_key(&recording, file), bytes(file))).collect();
        assert_same_objects(&found, &expected, case);
        self.manifest(&recording).await
    }

    /// As [`Self::assert_files`], and asserts that no upload is open.
    pub async fn assert_stored(&self, recording: &Recording, case: &str) -> Value {
        let manifest = self.assert_files(recording, case).await;
        assert_eq!(self.open_uploads().await, 0, "{case}");
        manifest
    }
}

/// Compares keys first, and then bytes without printing them.
fn assert_same_objects(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    case: &str,
) {
    assert!(
        found.keys().eq(expected.keys()),
        "{case}: {:?} instead of {:?}",
        found.keys(),
        expected.keys()
    );
    for (key, bytes) in found {
        assert!(*bytes == expected[key], "{case}: other bytes under {key}");
    }
}
