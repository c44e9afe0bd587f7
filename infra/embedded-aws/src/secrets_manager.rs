//! Secrets Manager: rustack's engine.

use std::sync::Arc;

use bytes::Bytes;
use rustack_secretsmanager_core::{
    config::SecretsManagerConfig, handler::RustackSecretsManagerHandler,
    provider::RustackSecretsManager,
};
use rustack_secretsmanager_http::dispatch::SecretsManagerHandler;

use crate::{faults::Service, json_response::JsonResponse, rustack};

pub(crate) struct SecretsManager {
    handler: RustackSecretsManagerHandler,
}

impl SecretsManager {
    pub(crate) fn new(region: &str, account_id: &str) -> Self {
        let provider = RustackSecretsManager::new(SecretsManagerConfig {
            skip_signature_validation: true,
            default_region: region.to_owned(),
            default_account_id: account_id.to_owned(),
        });
        Self { handler: RustackSecretsManagerHandler::new(Arc::new(provider)) }
    }

    pub(crate) async fn call(&self, operation: &str, body: Bytes) -> JsonResponse {
        rustack::call!(
            rustack_secretsmanager_http,
            self.handler,
            Service::SecretsManager,
            operation,
            body
        )
    }
}
