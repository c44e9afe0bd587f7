//! Errors of the benchmarks.

use std::error::Error;
use std::process::ExitStatus;

/// An error of any type, for code that uses many libraries.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// Reason why a benchmark ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A child process did not start.
    #[error("failed to start {program}")]
    Start { program: String, source: std::io::Error },
    /// A child process reported failure.
    #[error("{program} failed: {status}")]
    Exit { program: String, status: ExitStatus },
    /// A measured client did not do its work.
    #[error("{client} failed")]
    Client { client: String, source: AnyError },
    #[error("the fixture of a Zoom event has no recording files")]
    Fixture,
    #[error("accepted events are not in the queue")]
    LostEvents,
    #[error("the app did not receive every notification with a valid signature")]
    MissingNotifications,
    /// A resource that a soak must keep flat.
    #[error("{resource} grew: median {first} in the first half, {second} in the second")]
    NotFlat { resource: &'static str, first: f64, second: f64 },
    #[error(
        "counts grow with the tables, or the maintenance run is late, out of order or without its metric"
    )]
    Scale,
    #[error("failed to create the certificate")]
    CreateCertificate(#[from] rcgen::Error),
    #[error("failed to read the certificate")]
    ReadCertificate(#[from] rustls::pki_types::pem::Error),
    #[error("failed to configure TLS")]
    Tls(#[from] rustls::Error),
    #[error("failed to create a deployment package")]
    Package(#[from] zip::result::ZipError),
    #[error("failed to start the devstack")]
    Devstack(#[from] reelay_devstack::StartError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl BenchError {
    pub(crate) fn client(client: &str, source: impl Into<AnyError>) -> Self {
        Self::Client { client: client.to_owned(), source: source.into() }
    }
}
