//! Reelay's downloader: the engine that the function runs, as one process.

use std::sync::Arc;

use async_trait::async_trait;
use recording_downloader::transfer::{
    Candidate, Journal, Listing, ObjectSpec, Outcome, Settings, SourceResolver, Transfer,
    TransferError,
};
use reelay_domain::upload::{SourceKind, UploadState};
use reelay_runtime::environment::{ConfigError, Environment};
use reelay_store::bucket::Bucket;
use reelay_zoom::{DownloadHosts, Endpoints, Timeouts, ZoomClient};
use secrecy::SecretString;

use super::DownloadError;

/// Moves `BENCH_SOURCE` to `BENCH_SINK`.
///
/// # Errors
/// If it does not arrive.
pub(crate) fn reelay(connections: usize, bare: bool) -> Result<(), DownloadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(moved(connections, bare))
}

async fn moved(connections: usize, bare: bool) -> Result<(), DownloadError> {
    let failed = |reason: String| DownloadError::Reelay(reason);
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| DownloadError::Reelay(format!("{name} is missing")))
    };
    let mut environment =
        Environment::from_process_env().map_err(|error: ConfigError| failed(error.to_string()))?;
    let more = [
        ("BUCKET".to_owned(), "bench".to_owned()),
        ("AWS_ENDPOINT_URL_S3".to_owned(), variable("BENCH_SINK")?),
    ];
    environment.variables = reelay_runtime::environment::Variables::new(more.into());
    let bucket =
        Bucket::new(&environment).map_err(|error: ConfigError| failed(error.to_string()))?;
    // Loopback endpoints, so that loopback addresses are admitted for downloads.
    let endpoints = Endpoints::parse("http://127.0.0.1:1", "http://127.0.0.1:1")
        .map_err(|error| failed(error.to_string()))?;
    let hosts =
        DownloadHosts::parse("127.0.0.1", &endpoints).map_err(|error| failed(error.to_string()))?;
    let zoom = ZoomClient::new(endpoints, Timeouts::default())
        .map_err(|error| failed(error.to_string()))?;
    let size = variable("BENCH_SIZE")?.parse().ok();
    let object = ObjectSpec {
        key: "reelay".to_owned(),
        content_type: "video/mp4".to_owned(),
        metadata: Vec::new(),
        extension: "mp4".to_owned(),
        declared_size: size,
        is_size_exact: true,
        is_retry: false,
    };
    let settings = Settings { connections, has_part_checksums: !bare, ..Settings::default() };
    let candidate = Candidate {
        url: SecretString::from(variable("BENCH_SOURCE")?),
        token: SecretString::from("synthetic"),
        kind: SourceKind::Webhook,
    };
    let no_listing = async { Ok(Listing::default()) };
    let source = SourceResolver::new(&zoom, &hosts, &settings, Some(candidate), no_listing);
    let transfer = Transfer {
        source: Arc::new(source),
        bucket: &bucket,
        object: &object,
        settings: &settings,
        journal: &NoJournal,
    };
    match transfer.run(None, None).await {
        Ok(Outcome::Stored(stored)) if Some(stored.bytes) == size => Ok(()),
        Ok(outcome) => Err(failed(format!("{outcome:?}"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Saves nothing: a benchmark is one run that is never resumed.
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
