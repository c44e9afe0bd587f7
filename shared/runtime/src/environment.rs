//! The environment of a function: variables, AWS configuration, the clock.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use lambda_runtime::Context;
pub use reelay_clock::Clock;

/// A missing or invalid setting. A function reports it once, when it starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set, or empty.
    #[error("the environment variable {0} is not set")]
    Missing(String),
    /// The variable has an invalid value.
    #[error("the environment variable {name} is invalid: {reason}")]
    Invalid {
        /// Name of the variable.
        name: String,
        /// Reason, without the value.
        reason: String,
    },
}

impl ConfigError {
    /// An invalid variable. `reason` must not repeat the value.
    pub fn invalid(name: &str, reason: impl fmt::Display) -> Self {
        Self::Invalid { name: name.to_owned(), reason: reason.to_string() }
    }
}

/// Environment variables, as `template.yaml` sets them for one function.
///
/// `Debug` shows only names: in Lambda the variables include the function's AWS credentials.
#[derive(Clone, Default)]
pub struct Variables(HashMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Variables {
    /// The variables of this process.
    pub fn from_process_env() -> Self {
        Self(std::env::vars().collect())
    }

    /// Given variables, for a process that hosts several functions.
    pub fn new(variables: HashMap<String, String>) -> Self {
        Self(variables)
    }

    /// All variables, to pass them to another process. They may include credentials.
    pub fn all(&self) -> &HashMap<String, String> {
        &self.0
    }

    /// An optional variable. Empty counts as absent, because template parameters default to empty.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A required variable.
    ///
    /// # Errors
    /// If it is absent or empty.
    pub fn required(&self, name: &str) -> Result<&str, ConfigError> {
        self.optional(name).ok_or_else(|| ConfigError::Missing(name.to_owned()))
    }

    /// A required variable, parsed.
    ///
    /// # Errors
    /// If it is absent, empty, or does not parse.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        self.required(name)?.parse().map_err(|error| ConfigError::invalid(name, error))
    }

    /// Zoom's endpoints: applies `parse` to `ZOOM_OAUTH_URL` and `ZOOM_API_URL`.
    ///
    /// # Errors
    /// If one of them is absent or `parse` fails.
    pub fn zoom_endpoints<T, E: fmt::Display>(
        &self,
        parse: impl FnOnce(&str, &str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let oauth = self.required("ZOOM_OAUTH_URL")?;
        let api = self.required("ZOOM_API_URL")?;
        parse(oauth, api)
            .map_err(|error| ConfigError::invalid("ZOOM_OAUTH_URL or ZOOM_API_URL", error))
    }
}

/// Time at which Lambda ends the invocation.
pub(crate) fn deadline(context: &Context) -> Instant {
    Instant::now() + context.deadline().duration_since(SystemTime::now()).unwrap_or_default()
}

/// The SDK's HTTP client, built on the first request. Building it reads the system's TLS roots, which may
/// be hundreds of files and would delay the function's initialization.
#[derive(Debug, Default)]
struct Https(OnceLock<SharedHttpClient>);

impl HttpClient for Https {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.get_or_init(https).http_connector(settings, components)
    }
}

fn https() -> SharedHttpClient {
    use aws_smithy_http_client::{Builder, tls};
    let crypto = tls::rustls_provider::CryptoMode::AwsLc;
    Builder::new().tls_provider(tls::Provider::Rustls(crypto)).build_https()
}

/// Loads the system's TLS roots into the cache of the SDK's HTTP clients.
///
/// This blocks for some milliseconds. Call it on a separate thread while Lambda fetches the first event.
pub fn preload_tls_roots() {
    // Building any client with this HTTP client loads the roots; the SDK caches them for the process.
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(https())
        .build();
    drop(aws_sdk_sqs::Client::from_conf(config));
}

/// Variables, AWS configuration and clock of one function.
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
    /// The environment of a Lambda function. All clients share one HTTP client.
    ///
    /// Lambda sets region and credentials as variables, so the function contains no code that looks for
    /// them in files or other services.
    ///
    /// # Errors
    /// If one of Lambda's own variables is absent.
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
        Ok(Self { variables, sdk, clock: Clock::default() })
    }

    /// The endpoint override of a service: `AWS_ENDPOINT_URL_<SERVICE>`, else `AWS_ENDPOINT_URL`. The SDK
    /// reads these variables per process; here they are per function.
    fn endpoint(&self, service: &str) -> Option<String> {
        let url = self
            .variables
            .optional(&format!("AWS_ENDPOINT_URL_{service}"))
            .or_else(|| self.variables.optional("AWS_ENDPOINT_URL"));
        url.map(str::to_owned)
    }

    /// An S3 client. With an endpoint override it addresses buckets by path, because loopback hosts have
    /// no subdomains. Calls that carry a recording need [`no_time_limits`].
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let endpoint = self.endpoint("S3");
        let mut config =
            aws_sdk_s3::config::Builder::from(&self.sdk).force_path_style(endpoint.is_some());
        // Set explicitly: with `WhenRequired` a streamed part would declare a checksum and carry none.
        config.set_request_checksum_calculation(Some(
            aws_sdk_s3::config::RequestChecksumCalculation::WhenSupported,
        ));
        config.set_timeout_config(Some(S3_LIMITS.config()));
        config.set_endpoint_url(endpoint);
        aws_sdk_s3::Client::from_conf(config.build())
    }
}

/// Time limits of a service's calls. The SDK has none of its own beside the connection's. An attempt ends early
/// enough for another one on a new connection: the old connection may have been closed while Lambda froze the
/// instance.
#[derive(Debug, Clone, Copy)]
struct CallLimits {
    attempt: Duration,
    call: Duration,
}

/// Secrets, keys, messages and events: these services respond within a few hundred milliseconds.
const SHORT_LIMITS: CallLimits =
    CallLimits { attempt: Duration::from_secs(2), call: Duration::from_secs(5) };

/// A transaction has up to 100 items, a page up to 1 MiB.
const DYNAMODB_LIMITS: CallLimits =
    CallLimits { attempt: Duration::from_secs(3), call: Duration::from_secs(8) };

/// A manifest or an event has up to some megabytes; a deletion has up to 1,000 objects.
const S3_LIMITS: CallLimits =
    CallLimits { attempt: Duration::from_secs(10), call: Duration::from_secs(25) };

impl CallLimits {
    fn config(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.call)
            .build()
    }
}

/// No time limits, for calls that may take as long as a recording: uploads of parts, whose pace is Zoom's, their
/// completion, for which S3 may need minutes, and long polling. The SDK ends an upload that S3 does not read from
/// for 20 s; the invocation's deadline ends the others.
pub fn no_time_limits() -> TimeoutConfig {
    TimeoutConfig::builder().disable_operation_attempt_timeout().disable_operation_timeout().build()
}

macro_rules! clients {
    ($($(#[doc = $doc:literal])+ $name:ident: $sdk:ident at $service:literal within $limits:ident;)+) => {
        impl Environment {
            $($(#[doc = $doc])+
            pub fn $name(&self) -> $sdk::Client {
                let mut config = $sdk::config::Builder::from(&self.sdk);
                config.set_timeout_config(Some($limits.config()));
                config.set_endpoint_url(self.endpoint($service));
                $sdk::Client::from_conf(config.build())
            })+
        }
    };
}

clients! {
    /// A DynamoDB client.
    dynamodb: aws_sdk_dynamodb at "DYNAMODB" within DYNAMODB_LIMITS;
    /// An SQS client.
    sqs: aws_sdk_sqs at "SQS" within SHORT_LIMITS;
    /// A KMS client.
    kms: aws_sdk_kms at "KMS" within SHORT_LIMITS;
    /// A Secrets Manager client.
    secretsmanager: aws_sdk_secretsmanager at "SECRETS_MANAGER" within SHORT_LIMITS;
    /// An EventBridge client.
    eventbridge: aws_sdk_eventbridge at "EVENTBRIDGE" within SHORT_LIMITS;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AwsError;

    fn variables(name: &str, value: &str) -> Variables {
        Variables::new(HashMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn missing_variable_is_named() {
        let variables = variables("EMPTY", "");
        let missing = |name: &str| Err(ConfigError::Missing(name.to_owned()));
        assert_eq!(variables.required("EMPTY"), missing("EMPTY").map(|()| ""));
        assert_eq!(variables.parsed::<u64>("NONE"), missing("NONE").map(|()| 0));
    }

    #[test]
    fn invalid_value_is_not_repeated() {
        let error = variables("N", "secret-text").parsed::<u64>("N").unwrap_err();
        assert!(!error.to_string().contains("secret-text"), "{error}");
    }

    /// A server that accepts connections and never responds.
    fn hanging() -> (std::net::TcpListener, Environment) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "key", "secret", None, None, "test",
            )))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let variables = variables("AWS_ENDPOINT_URL", &url);
        (listener, Environment { variables, sdk, clock: Clock::default() })
    }

    #[tokio::test]
    async fn hanging_call_ends_at_its_limit() {
        let (_listener, environment) = hanging();
        let second = Duration::from_secs(1);
        let limits = CallLimits { attempt: second, call: Duration::from_millis(50) };
        let config = aws_sdk_secretsmanager::config::Builder::new().timeout_config(limits.config());
        let call = environment.secretsmanager().get_secret_value().secret_id("s");
        let call = call.customize().config_override(config).send();
        let error = tokio::time::timeout(60 * second, call).await.expect("no limit").unwrap_err();
        assert_eq!(AwsError::from_sdk("GetSecretValue", &error).code(), "timeout");
    }

    #[test]
    fn every_client_has_limits() {
        let (_listener, environment) = hanging();
        for limits in [
            environment.dynamodb().config().timeout_config().cloned(),
            environment.eventbridge().config().timeout_config().cloned(),
            environment.kms().config().timeout_config().cloned(),
            environment.s3().config().timeout_config().cloned(),
            environment.secretsmanager().config().timeout_config().cloned(),
            environment.sqs().config().timeout_config().cloned(),
        ] {
            let limits = limits.unwrap();
            let attempt = limits.operation_attempt_timeout().unwrap();
            // API Gateway waits 29 s; two attempts and the delay between them fit.
            assert!(limits.operation_timeout().unwrap() >= 2 * attempt + Duration::from_secs(1));
            assert!(limits.operation_timeout().unwrap() <= Duration::from_secs(25));
        }
    }
}
