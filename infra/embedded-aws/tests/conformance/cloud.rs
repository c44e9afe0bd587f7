//! Engines of one test, and clients for them.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use reelay_embedded_aws::{Engines, Options};

pub(crate) struct Cloud {
    pub(crate) engines: Engines,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        Self {
            engines: reelay_embedded_aws::start(options).await.unwrap(),
        }
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::from_conf(self.s3_config().build())
    }

    pub(crate) fn s3_config(&self) -> aws_sdk_s3::config::Builder {
        use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
        aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(endpoint("S3", &self.engines.endpoints().s3))
            .force_path_style(true)
    }
}

fn endpoint(service: &str, embedded: &str) -> String {
    std::env::var(format!("EMBEDDED_AWS_TEST_{service}_ENDPOINT"))
        .unwrap_or_else(|_| embedded.to_owned())
}

macro_rules! client {
    ($name:ident, $sdk:ident, $variable:literal) => {
        impl Cloud {
            pub(crate) fn $name(&self) -> $sdk::Client {
                use $sdk::config::{BehaviorVersion, Credentials, Region};
                let config = $sdk::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new("us-east-1"))
                    .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                    .endpoint_url(endpoint($variable, &self.engines.endpoints().$name))
                    .build();
                $sdk::Client::from_conf(config)
            }
        }
    };
}
client!(dynamodb, aws_sdk_dynamodb, "DYNAMODB");
client!(sqs, aws_sdk_sqs, "SQS");
client!(kms, aws_sdk_kms, "KMS");
client!(secretsmanager, aws_sdk_secretsmanager, "SECRETSMANAGER");
client!(events, aws_sdk_eventbridge, "EVENTS");

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
    match error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
    {
        Some(code) => code.to_owned(),
        None => panic!("no service error: {error:?}"),
    }
}

/// The HTTP status of a call that must fail.
pub(crate) fn status<T: std::fmt::Debug, E: std::fmt::Debug>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> u16 {
    let error = result.unwrap_err();
    error
        .raw_response()
        .map(|response| response.status().as_u16())
        .unwrap()
}
