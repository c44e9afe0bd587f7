//! Error responses.

use http::{HeaderValue, StatusCode};

use crate::{
    faults::Service,
    json_response::{self, JsonResponse},
};

/// An error response of SQS.
#[derive(Debug)]
pub(super) struct SqsError {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
}

impl SqsError {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    pub(super) fn client(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterValue", message)
    }

    pub(super) fn no_such_queue() -> Self {
        Self::client("QueueDoesNotExist", "The specified queue does not exist.")
    }

    pub(super) fn response(&self) -> JsonResponse {
        let mut response =
            json_response::error(Service::Sqs, self.status, &self.code, &self.message);
        // These codes have other names in the former query protocol, by which SDKs report them.
        let query_code = match &*self.code {
            "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
            "QueueNameExists" => "QueueAlreadyExists",
            "EmptyBatchRequest" => "AWS.SimpleQueueService.EmptyBatchRequest",
            "TooManyEntriesInBatchRequest" => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            "BatchEntryIdsNotDistinct" => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            "MessageNotInflight" => "AWS.SimpleQueueService.MessageNotInflight",
            _ => return response,
        };
        if let Ok(value) = HeaderValue::from_str(&format!("{query_code};Sender")) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
        response
    }
}
