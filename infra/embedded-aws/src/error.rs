//! Errors of the public API.

use std::io;

/// The engines failed to start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port on 127.0.0.1 is available.
    #[error("failed to bind a port on 127.0.0.1")]
    Bind(#[source] io::Error),
    /// The directory for S3's bytes was not created.
    #[error("failed to create a temporary directory")]
    TemporaryDirectory(#[source] io::Error),
    /// The DynamoDB engine did not start.
    #[error("failed to start the DynamoDB engine: {0}")]
    DynamoDb(String),
}

/// Expired DynamoDB items were not deleted.
#[derive(Debug, thiserror::Error)]
#[error("failed to delete expired DynamoDB items: {0}")]
pub struct DeleteExpiredError(pub(crate) String);

/// Items were not read or written in bulk.
#[derive(Debug, thiserror::Error)]
#[error("failed to copy items of the table {table}: {reason}")]
pub struct BulkError {
    pub(crate) table: String,
    pub(crate) reason: String,
}

/// The tables were not copied for reads that lag.
#[derive(Debug, thiserror::Error)]
#[error("failed to copy the DynamoDB tables: {0}")]
pub struct ReadLagError(pub(crate) String);
