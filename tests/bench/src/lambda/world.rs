//! What all functions call: the devstack's engines, with what the template declares. Nobody polls its queues.

use std::collections::HashMap;

use reelay_devstack::{Options, Stack};
use reelay_embedded_aws::Service;
use secrecy::SecretString;

use super::{Client, LambdaError};

/// The calls that webhooks make.
const CALLS: [(&str, Service); 3] = [
    ("GetSecretValue", Service::SecretsManager),
    ("PutObject", Service::S3),
    ("SendMessage", Service::Sqs),
];

/// The engines and the template's resources.
#[derive(Debug)]
pub(crate) struct World {
    stack: Stack,
    webhook_secret: SecretString,
}

impl World {
    /// Starts the engines.
    ///
    /// # Errors
    /// If the devstack does not start.
    pub(crate) async fn start() -> Result<Self, LambdaError> {
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

    /// What Zoom signs with.
    pub(crate) fn webhook_secret(&self) -> &SecretString {
        &self.webhook_secret
    }

    /// What Lambda sets for a function, and what the template does.
    pub(crate) fn variables(&self, client: &Client) -> HashMap<String, String> {
        let config = self.stack.config();
        let environment = self.stack.function_environment(client.function);
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
                ("AWS_LAMBDA_FUNCTION_NAME", client.function),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "/bench"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
                // What the SDK for JavaScript says of old versions of Node is not its work.
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

    /// Counts calls from here on.
    pub(crate) fn reset_calls(&self) {
        self.stack.engines().faults().reset_calls();
    }

    /// How often AWS was called since, by the name of the call.
    pub(crate) fn calls(&self) -> [(&'static str, u64); 3] {
        let faults = self.stack.engines().faults();
        CALLS.map(|(call, service)| (call, faults.calls(service, call)))
    }

    /// Stops the engines.
    pub(crate) async fn shutdown(self) {
        self.stack.shutdown().await;
    }
}
