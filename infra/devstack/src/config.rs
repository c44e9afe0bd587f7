//! The response of `GET /_dev/config`.

use std::collections::BTreeMap;

pub use reelay_embedded_aws::Endpoints;
use serde::Serialize;

/// Secrets, names and endpoints of a running stack, for tests and tools on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the contract documents the fields")]
pub struct DevConfig {
    pub secrets: Secrets,
    pub bucket: String,
    pub event_bus: String,
    pub region: String,
    pub credentials: Credentials,
    pub tables: Tables,
    pub queues: Queues,
    pub endpoints: Endpoints,
    pub stack: StackConfig,
}

/// The stack as CloudFormation describes a deployed one, for tools that work with both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StackConfig {
    /// Outputs by name.
    pub outputs: BTreeMap<String, String>,
    /// Parameter values by name.
    pub parameters: BTreeMap<String, String>,
    /// Physical ids of the resources by logical id.
    pub resources: BTreeMap<String, String>,
}

/// Values of the secrets. Apps use the notification secret with the prefix `whsec_`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the contract documents the fields")]
pub struct Secrets {
    pub zoom_client_id: String,
    pub zoom_client_secret: String,
    pub zoom_webhook_secret: String,
    pub app_secret: String,
    pub notification_secret: String,
}

/// Credentials that the engines accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the contract documents the fields")]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// Names of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the contract documents the fields")]
pub struct Tables {
    pub links: String,
    pub sessions: String,
    pub recordings: String,
    pub notifications: String,
}

/// URLs of the queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the contract documents the fields")]
pub struct Queues {
    pub events: String,
    pub events_dlq: String,
    pub downloads: String,
    pub downloads_dlq: String,
    pub notifications: String,
    pub notifications_dlq: String,
    pub jobs: String,
    pub jobs_dlq: String,
}
