//! What a function finds around it: environment variables, AWS configuration, the clock.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use jiff::{SignedDuration, Timestamp};

/// A setting that is missing or unusable. Seen once, when a function starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set, or empty.
    #[error("the environment variable {0} is not set")]
    Missing(String),
    /// The variable is set to something that can't be used.
    #[error("the environment variable {name} can't be used: {reason}")]
    Invalid {
        /// Which one.
        name: String,
        /// Why, without its value.
        reason: String,
    },
}

/// Environment variables, as `template.yaml` sets them for one function. In Lambda the function's own AWS
/// credentials are among them, so `Debug` shows their names only.
#[derive(Clone, Default)]
pub struct Variables(HashMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Variables {
    /// Those of this process.
    pub fn from_process_env() -> Self {
        Self(std::env::vars().collect())
    }

    /// Given ones, where several functions live in one process.
    pub fn new(variables: HashMap<String, String>) -> Self {
        Self(variables)
    }

    /// All of them, for a process that is to have the same. Among them may be credentials.
    pub fn all(&self) -> &HashMap<String, String> {
        &self.0
    }

    /// A variable that may be absent; empty counts as absent, as template parameters default to it.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable that must be set.
    pub fn required(&self, name: &str) -> Result<&str, ConfigError> {
        self.optional(name)
            .ok_or_else(|| ConfigError::Missing(name.to_owned()))
    }

    /// A variable that must be set and parse.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<T, ConfigError>
    where
        T::Err: std::fmt::Display,
    {
        self.required(name)?
            .parse()
            .map_err(|error: T::Err| ConfigError::Invalid {
                name: name.to_owned(),
                reason: error.to_string(),
            })
    }
}

/// The clock. Tests move it; nothing in Reelay sleeps to see time pass.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_milliseconds: Arc<AtomicI64>,
}

impl Clock {
    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
            + SignedDuration::from_millis(self.ahead_milliseconds.load(Ordering::Relaxed))
    }

    /// Moves this clock, and all of its clones, forward.
    pub fn advance(&self, by: SignedDuration) {
        let milliseconds = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.ahead_milliseconds
            .fetch_add(milliseconds, Ordering::Relaxed);
    }
}

/// The SDK's HTTP client, made when a request needs it. Made earlier, it reads the system's trusted roots at
/// once, which on some systems are hundreds of files, and keeps Lambda waiting for the function to be ready.
#[derive(Debug, Default)]
struct Https(OnceLock<SharedHttpClient>);

impl HttpClient for Https {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0
            .get_or_init(https)
            .http_connector(settings, components)
    }
}

fn https() -> SharedHttpClient {
    use aws_smithy_http_client::{Builder, tls};
    let crypto = tls::rustls_provider::CryptoMode::AwsLc;
    Builder::new()
        .tls_provider(tls::Provider::Rustls(crypto))
        .build_https()
}

/// Reads the system's trusted roots, which stay in memory for the SDK's HTTP clients. It takes milliseconds and
/// blocks: something to be done beside Lambda's question for the first event, on a thread of its own.
pub fn preload_tls_roots() {
    // A client that is made with the SDK's own HTTP client has it read them, and keeps them for the process.
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(https())
        .build();
    drop(aws_sdk_sqs::Client::from_conf(config));
}

/// All of it together.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The function's variables.
    pub variables: Variables,
    /// Region, credentials, HTTP client.
    pub sdk: SdkConfig,
    /// The clock.
    pub clock: Clock,
}

impl Environment {
    /// The environment of a Lambda function. Lambda puts region and credentials into variables, and nowhere
    /// else: so nothing is looked for in files or asked of other services, and none of the code that would do
    /// it is deployed. All clients share one HTTP client, so that the TLS stack is set up once.
    ///
    /// # Errors
    /// If one of Lambda's own variables is not set.
    pub fn from_process_env() -> Result<Self, ConfigError> {
        let variables = Variables::from_process_env();
        let credentials = Credentials::new(
            variables.required("AWS_ACCESS_KEY_ID")?,
            variables.required("AWS_SECRET_ACCESS_KEY")?,
            variables.optional("AWS_SESSION_TOKEN").map(str::to_owned),
            None,
            "environment",
        );
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(variables.required("AWS_REGION")?.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(SharedHttpClient::new(Https::default()))
            .build();
        Ok(Self {
            variables,
            sdk,
            clock: Clock::default(),
        })
    }

    /// An endpoint that overrides AWS's own: `AWS_ENDPOINT_URL_<SERVICE>`, else `AWS_ENDPOINT_URL`.
    /// The SDK reads these of a process by itself; here they may be per function.
    fn endpoint(&self, service: &str) -> Option<String> {
        let name = format!("AWS_ENDPOINT_URL_{service}");
        let url = self
            .variables
            .optional(&name)
            .or_else(|| self.variables.optional("AWS_ENDPOINT_URL"));
        url.map(str::to_owned)
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.endpoint("DYNAMODB"));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// An SQS client.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.endpoint("SQS"));
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// A KMS client.
    pub fn kms(&self) -> aws_sdk_kms::Client {
        let mut config = aws_sdk_kms::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.endpoint("KMS"));
        aws_sdk_kms::Client::from_conf(config.build())
    }

    /// A Secrets Manager client.
    pub fn secretsmanager(&self) -> aws_sdk_secretsmanager::Client {
        let mut config = aws_sdk_secretsmanager::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.endpoint("SECRETS_MANAGER"));
        aws_sdk_secretsmanager::Client::from_conf(config.build())
    }

    /// An S3 client. With an endpoint of its own it addresses buckets by path: a loopback name has no
    /// subdomains.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let endpoint = self.endpoint("S3");
        let mut config =
            aws_sdk_s3::config::Builder::from(&self.sdk).force_path_style(endpoint.is_some());
        // Whatever the process's settings say: without it a streamed part would announce a checksum and
        // carry none.
        config.set_request_checksum_calculation(Some(
            aws_sdk_s3::config::RequestChecksumCalculation::WhenSupported,
        ));
        config.set_endpoint_url(endpoint);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// An EventBridge client.
    pub fn eventbridge(&self) -> aws_sdk_eventbridge::Client {
        let mut config = aws_sdk_eventbridge::config::Builder::from(&self.sdk);
        config.set_endpoint_url(self.endpoint("EVENTBRIDGE"));
        aws_sdk_eventbridge::Client::from_conf(config.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_named_and_an_empty_one_is_missing() {
        let variables = Variables::new(HashMap::from([("EMPTY".to_owned(), String::new())]));
        assert_eq!(
            variables.required("EMPTY"),
            Err(ConfigError::Missing("EMPTY".to_owned()))
        );
        assert!(
            variables
                .parsed::<u64>("NONE")
                .unwrap_err()
                .to_string()
                .contains("NONE")
        );
    }

    #[test]
    fn an_unusable_value_is_not_repeated() {
        let variables = Variables::new(HashMap::from([("N".to_owned(), "secret-text".to_owned())]));
        let error = variables.parsed::<u64>("N").unwrap_err();
        assert!(!error.to_string().contains("secret-text"), "{error}");
    }

    #[test]
    fn clones_of_a_clock_move_together() {
        let clock = Clock::default();
        let other = clock.clone();
        clock.advance(SignedDuration::from_hours(1));
        assert!(other.now().duration_since(Timestamp::now()) > SignedDuration::from_mins(59));
    }
}
