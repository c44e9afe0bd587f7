//! Errors of AWS calls.

use std::fmt;

// All SDK clients re-export the same error type; this is one of its names.
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

/// A failed AWS call, reduced to its name and an error code.
///
/// The SDK's own `Debug` output may contain requests and items. This type is safe to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    call: &'static str,
    code: String,
}

impl AwsError {
    /// Converts an SDK error, after the SDK's own retries.
    pub fn from_sdk<E: ProvideErrorMetadata, R>(
        call: &'static str,
        error: &SdkError<E, R>,
    ) -> Self {
        let code = match error {
            SdkError::ServiceError(error) => error.err().code().unwrap_or("unknown error"),
            SdkError::TimeoutError(_) => "timeout",
            SdkError::DispatchFailure(failure) if failure.is_timeout() => "timeout",
            SdkError::DispatchFailure(_) => "connection failed",
            SdkError::ResponseError(_) => "malformed response",
            _ => "failed to build the request",
        };
        Self { call, code: code.to_owned() }
    }

    /// A call that succeeded, but whose response or item is not usable.
    pub fn unexpected_response(call: &'static str, problem: impl Into<String>) -> Self {
        Self { call, code: problem.into() }
    }

    /// AWS's error code, or the kind of failure if AWS sent none.
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.call, self.code)
    }
}

impl std::error::Error for AwsError {}

/// Displays an error with its sources: `failed to store the event: SendMessage failed: timeout`.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
