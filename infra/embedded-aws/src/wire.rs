//! What clients sent, word for word, for tests that ask what was ever written anywhere.
//!
//! What lies in an engine at the end does not tell: messages are deleted and items overwritten. Keeping
//! requests costs memory, so it begins when a test asks for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::faults::Service;

/// A request as an engine got it, before anything came of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    /// To which service.
    pub service: Service,
    /// AWS's name of the operation.
    pub operation: String,
    /// The request's JSON.
    pub body: Bytes,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent")
            .field("service", &self.service)
            .field("operation", &self.operation)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// The handle by which a test has requests kept. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    kept: Arc<Mutex<Option<Vec<Sent>>>>,
}

impl Wire {
    /// Keeps every request from here on, to all services but S3: a body there may be any size, and what it
    /// wrote is an object that can be read.
    pub fn keep(&self) {
        self.lock().get_or_insert_default();
    }

    /// What was sent since, oldest first, refused and repeated calls included.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().clone().unwrap_or_default()
    }

    pub(crate) fn note(&self, service: Service, operation: &str, body: &Bytes) {
        if let Some(kept) = self.lock().as_mut() {
            kept.push(Sent {
                service,
                operation: operation.to_owned(),
                body: body.clone(),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Sent>>> {
        // A push either happened or did not.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
