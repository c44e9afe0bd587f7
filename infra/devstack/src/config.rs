//! What `GET /_dev/config` tells.

use std::collections::BTreeMap;

use serde::Serialize;

/// Secrets, names and endpoints of a running stack, as tests and tools on this machine need them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is named like what it holds")]
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

/// The stack as CloudFormation would describe it, for tools that are made for a deployed one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StackConfig {
    /// Outputs by name.
    pub outputs: BTreeMap<String, String>,
    /// Values of all parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// Physical ids of all resources by logical id.
    pub resources: BTreeMap<String, String>,
}

/// Values of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is named like what it holds")]
pub struct Secrets {
    pub zoom_client_id: String,
    pub zoom_client_secret: String,
    pub zoom_webhook_secret: String,
    pub app_secret: String,
    /// As Secrets Manager has it; the app knows it as `whsec_` and this.
    pub notification_secret: String,
}

/// What the engines accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is named like what it holds")]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// Table names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is named like what it holds")]
pub struct Tables {
    pub links: String,
    pub sessions: String,
    pub recordings: String,
}

/// Queue URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is named like what it holds")]
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

/// Base URLs of the engines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is named like what it holds")]
pub struct Endpoints {
    pub dynamodb: String,
    pub s3: String,
    pub sqs: String,
    pub kms: String,
    pub secretsmanager: String,
    pub events: String,
}

impl From<&reelay_embedded_aws::Endpoints> for Endpoints {
    fn from(endpoints: &reelay_embedded_aws::Endpoints) -> Self {
        let reelay_embedded_aws::Endpoints {
            dynamodb,
            s3,
            sqs,
            kms,
            secretsmanager,
            events,
        } = endpoints.clone();
        Self {
            dynamodb,
            s3,
            sqs,
            kms,
            secretsmanager,
            events,
        }
    }
}
