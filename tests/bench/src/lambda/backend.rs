//! The AWS services that the functions call: the devstack with the template's resources. Its queues are not polled.

use std::collections::HashMap;

use reelay_devstack::{Options, Stack};
use reelay_domain::message::EventMessage;
use reelay_embedded_aws::Service;
use reelay_store::queue::Queue;
use secrecy::SecretString;

use super::{Function, WEBHOOK};
use crate::error::{AnyError, BenchError};

/// The AWS calls that webhook functions make.
const CALLS: [(Service, &str); 3] = [
    (Service::SecretsManager, "GetSecretValue"),
    (Service::S3, "PutObject"),
    (Service::Sqs, "SendMessage"),
];

#[derive(Debug)]
pub(crate) struct Backend {
    stack: Stack,
    webhook_secret: SecretString,
}

impl Backend {
    pub(crate) async fn start() -> Result<Self, BenchError> {
        let stack = Stack::start(Options {
            demo_app: false,
            poll: false,
            parameters: vec![("ReturnUrls".to_owned(), "https://app.example.test/zoom".to_owned())],
            ..Options::default()
        })
        .await?;
        let webhook_secret = SecretString::from(stack.config().secrets.zoom_webhook_secret.clone());
        Ok(Self { stack, webhook_secret })
    }

    /// The secret that Zoom signs events with.
    pub(crate) fn webhook_secret(&self) -> &SecretString {
        &self.webhook_secret
    }

    /// Environment variables of a function: the template's, and those that Lambda sets.
    pub(crate) fn variables(&self, function: &Function) -> HashMap<String, String> {
        let config = self.stack.config();
        let environment = self.stack.function_environment(function.template_binary);
        let mut variables =
            environment.map(|environment| environment.variables.all().clone()).unwrap_or_default();
        let path = std::env::var("PATH").unwrap_or_default();
        variables.extend(
            [
                ("AWS_ACCESS_KEY_ID", &*config.credentials.access_key_id),
                ("AWS_SECRET_ACCESS_KEY", &config.credentials.secret_access_key),
                ("AWS_DEFAULT_REGION", &config.region),
                ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_LAMBDA_FUNCTION_NAME", function.template_binary),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "/bench"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
                // Otherwise the SDK for JavaScript computes a warning about old versions of Node.
                ("AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED", "true"),
                ("LANG", "en_US.UTF-8"),
                ("TZ", ":UTC"),
                ("_HANDLER", "webhook.handler"),
                ("PATH", &path),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        variables
    }

    /// Sets the count of AWS calls to zero.
    pub(crate) fn reset_calls(&self) {
        self.stack.engines().faults().reset_calls();
    }

    /// Number of AWS calls since the last reset.
    pub(crate) fn calls(&self) -> u64 {
        let faults = self.stack.engines().faults();
        CALLS.iter().map(|(service, call)| faults.calls(*service, call)).sum()
    }

    /// Number of messages in the events queue.
    pub(crate) async fn queued_events(&self) -> Result<u64, AnyError> {
        let environment = self.stack.function_environment(WEBHOOK).ok_or("no webhook function")?;
        let queue = Queue::<EventMessage>::from_env(environment, "EVENTS_QUEUE_URL")?;
        Ok(queue.backlog().await?)
    }

    pub(crate) async fn shutdown(self) {
        self.stack.shutdown().await;
    }
}
