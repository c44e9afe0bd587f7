//! KMS: symmetric keys, of our own.
//!
//! Written here because key material must outlive a restart, or every ciphertext of a local run is lost
//! with it; the engine we use for the other services (rustack) keeps its keys where nobody can take them
//! out or put them in. What applications use of KMS is small: `SYMMETRIC_DEFAULT` keys, AES-256-GCM, the
//! encryption context as authenticated data.
//!
//! Not here: asymmetric and HMAC keys, grants, policies, rotation, multi-region keys. A call for them
//! gets `UnsupportedOperationException`.

mod ciphertext;
mod keys;
mod operations;

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;

use self::keys::KeyStore;
use crate::{
    StartError,
    faults::Service,
    files,
    json_reply::{self, JsonResponse},
};

pub(crate) struct Kms {
    region: String,
    account_id: String,
    saved: Option<PathBuf>,
    store: Mutex<KeyStore>,
}

/// KMS's refusal: its code and words for a reader.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            message: message.into(),
        }
    }

    fn internal(cause: impl std::fmt::Display) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "KMSInternalException",
            message: cause.to_string(),
        }
    }
}

impl Kms {
    pub(crate) fn start(
        region: &str,
        account_id: &str,
        saved: Option<PathBuf>,
    ) -> Result<Self, StartError> {
        let store = match &saved {
            Some(path) => files::read_json(path)
                .map_err(|error| StartError::state(path, error))?
                .unwrap_or_default(),
            None => KeyStore::default(),
        };
        Ok(Self {
            region: region.to_owned(),
            account_id: account_id.to_owned(),
            saved,
            store: Mutex::new(store),
        })
    }

    pub(crate) fn call(&self, operation: &str, body: &[u8]) -> JsonResponse {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match self.execute(&mut store, operation, body) {
            Ok(value) => json_reply::reply(Service::Kms, StatusCode::OK, value),
            Err(refusal) => {
                json_reply::error(Service::Kms, refusal.status, refusal.code, &refusal.message)
            }
        }
    }

    fn save(&self, store: &KeyStore) -> Result<(), Refusal> {
        match &self.saved {
            Some(path) => files::write_json(path, store).map_err(Refusal::internal),
            None => Ok(()),
        }
    }
}
