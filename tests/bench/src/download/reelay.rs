//! Reelay's downloader: the function's transfer engine in a process of its own.

use std::sync::Arc;

use async_trait::async_trait;
use recording_downloader::transfer::{
    Candidate, Journal, Listing, ObjectSpec, Outcome, Settings, SourceResolver, Transfer,
    TransferError,
};
use reelay_domain::upload::{SourceKind, UploadState};
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
    let transfer = Transfer {
        source: Arc::new(source),
        bucket: &bucket,
        object: &object,
        settings,
        journal: &NoJournal,
    };
    match transfer.run(None, None).await? {
        Outcome::Stored(stored) if stored.bytes == size => Ok(()),
        outcome => Err(format!("unexpected outcome {outcome:?}").into()),
    }
}

/// Saves nothing, because a benchmark is never resumed.
struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn save_upload(&self, _: &UploadState) -> Result<(), TransferError> {
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
