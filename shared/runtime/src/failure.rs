//! What is kept of an SDK error: which call it was and AWS's error code. The SDK's own `Debug` may
//! show requests and items; this can go into a log as it is.

use std::fmt;

// The SDK's error type is re-exported by each client under the same path; any one names it.
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

/// A call to AWS that did not succeed after the SDK's own retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    call: &'static str,
    code: String,
}

impl AwsError {
    /// Reduces an SDK error.
    pub fn from_sdk<E: ProvideErrorMetadata, R>(
        call: &'static str,
        error: &SdkError<E, R>,
    ) -> Self {
        let code = match error {
            SdkError::ServiceError(error) => {
                error.err().code().unwrap_or("unknown error").to_owned()
            }
            SdkError::TimeoutError(_) => "timeout".to_owned(),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => "timeout".to_owned(),
            SdkError::DispatchFailure(_) => "no connection".to_owned(),
            SdkError::ResponseError(_) => "unreadable answer".to_owned(),
            _ => "request could not be made".to_owned(),
        };
        Self { call, code }
    }

    /// A call that succeeded but whose answer makes no sense.
    pub fn unexpected_response(call: &'static str, problem: impl Into<String>) -> Self {
        Self {
            call,
            code: problem.into(),
        }
    }

    /// AWS's error code, or what went wrong below it.
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
