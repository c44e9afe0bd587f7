//! Secrets Manager: rustack, with a memory that lasts.
//!
//! Secrets outlive a restart through a [journal](crate::journal), in clear text: it is a file for local
//! runs. Two things make the repeated calls lead to the same secrets:
//!
//! - a version is named by the client's request token, so a call without one is given one;
//! - rustack draws the six characters at the end of an ARN anew for each secret, so a secret that is
//!   named by its ARN is looked up by the name within.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use rustack_secretsmanager_core::{
    config::SecretsManagerConfig, handler::RustackSecretsManagerHandler,
    provider::RustackSecretsManager,
};
use rustack_secretsmanager_http::{dispatch::SecretsManagerHandler, response, router};
use serde_json::Value;

use crate::{
    StartError,
    StartError::Randomness,
    faults::Service,
    journal::Journal,
    json_reply::{self, JsonResponse},
    random,
};

pub(crate) struct Secrets {
    handler: RustackSecretsManagerHandler,
    journal: Option<Journal>,
    /// The names ever given, by which an ARN is understood.
    names: Mutex<BTreeSet<String>>,
    /// Held through a change and its journal entry, so that both have one order.
    changing: tokio::sync::Mutex<()>,
}

impl Secrets {
    pub(crate) async fn start(
        region: &str,
        account_id: &str,
        journal: Option<&Path>,
    ) -> Result<Self, StartError> {
        // Whether there is randomness is found out now, not in the midst of a call.
        random::uuid().map_err(Randomness)?;
        let provider = RustackSecretsManager::new(SecretsManagerConfig {
            skip_signature_validation: true,
            default_region: region.to_owned(),
            default_account_id: account_id.to_owned(),
        });
        let mut secrets = Self {
            handler: RustackSecretsManagerHandler::new(Arc::new(provider)),
            journal: None,
            names: Mutex::default(),
            changing: tokio::sync::Mutex::new(()),
        };
        if let Some(path) = journal {
            let (journal, entries) =
                Journal::open(path).map_err(|error| StartError::state(path, error))?;
            for entry in entries {
                let body = Bytes::copy_from_slice(entry.body.get().as_bytes());
                let response = secrets.call(&entry.operation, body).await;
                if !response.status().is_success() {
                    tracing::warn!(operation = entry.operation, "secret's change not repeated");
                }
            }
            secrets.journal = Some(journal);
        }
        Ok(secrets)
    }

    pub(crate) async fn call(&self, operation: &str, body: Bytes) -> JsonResponse {
        let body = self.repeatable(operation, body);
        if !changes_secrets(operation) {
            return self.execute(operation, body).await;
        }
        let _order = self.changing.lock().await;
        let response = self.execute(operation, body.clone()).await;
        if response.status().is_success()
            && let Some(journal) = &self.journal
            && let Err(error) = journal.append(operation, &body)
        {
            tracing::error!(%error, "secret could not be saved");
            return json_reply::error(
                Service::SecretsManager,
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServiceError",
                "the secret could not be saved",
            );
        }
        response
    }

    async fn execute(&self, operation: &str, body: Bytes) -> JsonResponse {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&format!("secretsmanager.{operation}")) {
            headers.insert("x-amz-target", value);
        }
        let response = match router::resolve_operation(&headers) {
            Ok(known) => match self.handler.handle_operation(known, body).await {
                Ok(response) => response,
                Err(error) => response::error_to_response(&error, "failed"),
            },
            Err(error) => response::error_to_response(&error, "unknown"),
        };
        json_reply::buffered(Service::SecretsManager, response).await
    }

    /// The same call in words that mean the same after a restart.
    fn repeatable(&self, operation: &str, body: Bytes) -> Bytes {
        let Ok(Value::Object(mut call)) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        let mut changed = false;
        if let Some(Value::String(id)) = call.get_mut("SecretId")
            && let Some(name) = self.name_in_arn(id)
        {
            *id = name;
            changed = true;
        }
        if matches!(
            operation,
            "CreateSecret" | "PutSecretValue" | "UpdateSecret"
        ) && !call.contains_key("ClientRequestToken")
            && let Ok(token) = random::uuid()
        {
            call.insert("ClientRequestToken".to_owned(), Value::String(token));
            changed = true;
        }
        if operation == "CreateSecret"
            && let Some(Value::String(name)) = call.get("Name")
        {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(name.clone());
        }
        if changed {
            Value::Object(call).to_string().into()
        } else {
            body
        }
    }

    fn name_in_arn(&self, id: &str) -> Option<String> {
        // arn:aws:secretsmanager:<region>:<account>:secret:<name>-<six characters>
        let resource = id.strip_prefix("arn:")?.splitn(6, ':').nth(5)?;
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(resource) {
            return Some(resource.to_owned());
        }
        let (name, suffix) = resource.rsplit_once('-')?;
        (suffix.len() == 6 && names.contains(name)).then(|| name.to_owned())
    }
}

fn changes_secrets(operation: &str) -> bool {
    let reads = ["Get", "BatchGet", "List", "Describe", "Validate"];
    !reads.iter().any(|prefix| operation.starts_with(prefix))
}
