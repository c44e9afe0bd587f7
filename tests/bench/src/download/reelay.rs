//! Reelay's downloader: the function's transfer engine in a process of its own.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use recording_downloader::transfer::{
    Candidate, Journal, Listing, ObjectSpec, Outcome, Settings, SourceResolver, Transfer,
    TransferError,
};
use reelay_domain::upload::{SourceKind, UploadState};
use reelay_runtime::AwsError;
use reelay_runtime::environment::Environment;
use reelay_store::bucket::Bucket;
use reelay_zoom::{DownloadHosts, Endpoints, Timeouts, ZoomClient};
use secrecy::SecretString;

use crate::error::{AnyError, BenchError};

/// Downloads `BENCH_SOURCE` to S3.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run_reelay(
    connections: usize,
    has_part_checksums: bool,
) -> Result<(), BenchError> {
    let settings = Settings { connections, has_part_checksums, ..Settings::default() };
    transfer(&settings).await.map_err(|error| BenchError::client("reelay", error))
}

async fn transfer(settings: &Settings) -> Result<(), AnyError> {
    let environment = Environment::from_process_env()?;
    let size: u64 = environment.variables.parsed("BENCH_SIZE")?;
    let bucket = Bucket::new(&environment)?;
    // Downloads from loopback hosts are allowed only with loopback endpoints.
    let endpoints = Endpoints::parse("http://127.0.0.1:1", "http://127.0.0.1:1")?;
    let hosts = DownloadHosts::parse("127.0.0.1", &endpoints)?;
    let zoom = ZoomClient::new(endpoints, Timeouts::default());
    let object = ObjectSpec {
        key: "reelay".to_owned(),
        now: environment.clock.now(),
        content_type: "video/mp4".to_owned(),
        metadata: Vec::new(),
        tagging: None,
        extension: "mp4".to_owned(),
        declared_size: Some(size),
        is_size_exact: true,
        accepted_size: None,
        is_retry: false,
        is_slow: false,
        is_range_ignored: false,
    };
    let candidate = Candidate {
        url: SecretString::from(environment.variables.required("BENCH_SOURCE")?),
        token: SecretString::from("synthetic"),
        kind: SourceKind::Webhook,
    };
    let no_listing = async { Ok(Listing::default()) };
    let source = SourceResolver::new(&zoom, &hosts, settings, Some(candidate), no_listing, false);
    let journal = FileJournal(environment.variables.optional("BENCH_JOURNAL").map(PathBuf::from));
    let transfer = Transfer {
        source: Arc::new(source),
        bucket: &bucket,
        object: &object,
        settings,
        journal: &journal,
    };
    match transfer.run(journal.upload()?, None).await? {
        Outcome::Stored(stored) if stored.bytes == size => Ok(()),
        outcome => Err(format!("unexpected outcome {outcome:?}").into()),
    }
}

/// Saves the upload in this file, which a process after a killed one resumes. Without a file it saves nothing.
struct FileJournal(Option<PathBuf>);

impl FileJournal {
    /// The upload that an earlier process saved.
    fn upload(&self) -> Result<Option<UploadState>, AnyError> {
        match self.0.as_ref().filter(|path| path.exists()) {
            Some(path) => Ok(Some(serde_json::from_slice(&std::fs::read(path)?)?)),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn save_upload(&self, upload: &UploadState) -> Result<(), TransferError> {
        if let Some(path) = &self.0 {
            let saved = serde_json::to_vec(upload)
                .map_err(std::io::Error::other)
                // A kill must not leave half a file.
                .and_then(|state| std::fs::write(path.with_extension("new"), state))
                .and_then(|()| std::fs::rename(path.with_extension("new"), path));
            saved.map_err(|error| {
                AwsError::unexpected_response("the journal's file", error.to_string())
            })?;
        }
        Ok(())
    }

    async fn save_checksum(&self, _: &str) -> Result<(), TransferError> {
        Ok(())
    }

    async fn save_progress(&self, _: u64) -> Result<(), TransferError> {
        Ok(())
    }

    async fn verify_lease(&self) -> Result<(), TransferError> {
        Ok(())
    }

    async fn clear_upload(&self) -> Result<(), TransferError> {
        Ok(())
    }
}
