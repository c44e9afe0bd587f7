//! Errors of creating resources.

use aws_sdk_sqs::error::DisplayErrorContext;

use crate::template::TemplateError;

/// Failure to create a resource.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// An intrinsic function does not resolve.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An engine rejected a request.
    #[error("failed to create {resource}: {reason}")]
    Engine {
        /// Name of the resource.
        resource: String,
        /// The engine's error.
        reason: String,
    },
    /// Resources depend on each other.
    #[error("the resources depend on each other: {0}")]
    Circular(String),
}

impl DeployError {
    pub(super) fn engine<E>(resource: &str, error: &E) -> Self
    where
        E: std::error::Error,
    {
        Self::Engine {
            resource: resource.to_owned(),
            reason: DisplayErrorContext(error).to_string(),
        }
    }

    /// A response lacks required data.
    pub(super) fn response(resource: &str, reason: &str) -> Self {
        Self::Engine { resource: resource.to_owned(), reason: reason.to_owned() }
    }
}
