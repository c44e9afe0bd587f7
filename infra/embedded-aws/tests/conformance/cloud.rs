//! Engines of one test, and clients for them.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_s3::{
    config::{Credentials, http::HttpResponse, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
};
use reelay_embedded_aws::{Engines, Options};

pub(crate) struct Cloud {
    pub(crate) engines: Engines,
    retry: RetryConfig,
    credentials: Credentials,
    ignores_variables: bool,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self {
            engines: reelay_embedded_aws::start(Options::default()).await.unwrap(),
            retry: RetryConfig::standard(),
            credentials: Credentials::new("test", "test", None, None, "test"),
            ignores_variables: false,
        }
    }

    /// Uses the embedded engines for all services, and clients with so many attempts.
    pub(crate) async fn embedded(max_attempts: u32) -> Self {
        Self {
            retry: RetryConfig::standard()
                .with_max_attempts(max_attempts)
                .with_initial_backoff(Duration::from_millis(1)),
            ignores_variables: true,
            ..Self::start().await
        }
    }

    pub(crate) fn with_secret_access_key(self, secret: &str) -> Self {
        Self { credentials: Credentials::new("test", secret, None, None, "test"), ..self }
    }

    fn endpoint(&self, service: &str, embedded: &str) -> String {
        let variable = std::env::var(format!("EMBEDDED_AWS_TEST_{service}_ENDPOINT"));
        match variable {
            Ok(url) if !self.ignores_variables => url,
            _ => embedded.to_owned(),
        }
    }
}

macro_rules! client {
    ($name:ident, $config:ident, $field:ident, $sdk:ident, $variable:literal $(, $option:ident)?) => {
        impl Cloud {
            pub(crate) fn $name(&self) -> $sdk::Client {
                $sdk::Client::from_conf(self.$config().build())
            }

            pub(crate) fn $config(&self) -> $sdk::config::Builder {
                use $sdk::config::{BehaviorVersion, Region};
                $sdk::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new("us-east-1"))
                    .credentials_provider(self.credentials.clone())
                    .retry_config(self.retry.clone())
                    .endpoint_url(self.endpoint($variable, &self.engines.endpoints().$field))
                    $(.$option(true))?
            }
        }
    };
}
client!(dynamodb, dynamodb_config, dynamodb, aws_sdk_dynamodb, "DYNAMODB");
client!(s3, s3_config, s3, aws_sdk_s3, "S3", force_path_style);
client!(sqs, sqs_config, sqs, aws_sdk_sqs, "SQS");
client!(kms, kms_config, kms, aws_sdk_kms, "KMS");
client!(
    secretsmanager,
    secretsmanager_config,
    secretsmanager,
    aws_sdk_secretsmanager,
    "SECRETSMANAGER"
);
client!(events, events_config, events, aws_sdk_eventbridge, "EVENTS");

/// A name that no other test, and no earlier run on a shared endpoint, has used.
pub(crate) fn fresh(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{count}", since.as_nanos())
}

/// The error code of a call that must fail.
pub(crate) fn code<T, E, R>(result: Result<T, SdkError<E, R>>) -> String
where
    T: std::fmt::Debug,
    E: ProvideErrorMetadata + std::fmt::Debug,
    R: std::fmt::Debug,
{
    let error = result.unwrap_err();
    let service_error = error.as_service_error();
    match service_error.and_then(ProvideErrorMetadata::code) {
        Some(code) => code.to_owned(),
        None => panic!("not an error response: {error:?}"),
    }
}

/// The HTTP status of a call that must fail.
pub(crate) fn status<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> u16
where
    T: std::fmt::Debug,
    E: std::fmt::Debug,
{
    let error = result.unwrap_err();
    error.raw_response().unwrap().status().as_u16()
}
