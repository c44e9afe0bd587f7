//! Request bodies as sent by clients, for tests that search everything that was ever written.
//!
//! The state of the engines does not suffice for that: messages are deleted and items overwritten. The log
//! uses memory, so it starts on demand.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::faults::Service;

/// A request that an engine received. `Debug` does not show the body.
#[derive(Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Service that received the request.
    pub service: Service,
    /// AWS's name of the operation.
    pub operation: String,
    /// Request body: JSON.
    pub body: Bytes,
}

impl fmt::Debug for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedRequest")
            .field("service", &self.service)
            .field("operation", &self.operation)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// Handle that records requests. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    requests: Arc<Mutex<Option<Vec<LoggedRequest>>>>,
}

impl RequestLog {
    /// Starts to record requests to all services except S3, whose bodies may have any size.
    pub fn start(&self) {
        self.requests.lock().get_or_insert_default();
    }

    /// Requests since the start, oldest first, failed and retried ones included.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.requests.lock().clone().unwrap_or_default()
    }

    pub(crate) fn record(&self, service: Service, operation: &str, body: &Bytes) {
        if let Some(requests) = self.requests.lock().as_mut() {
            requests.push(LoggedRequest {
                service,
                operation: operation.to_owned(),
                body: body.clone(),
            });
        }
    }
}
