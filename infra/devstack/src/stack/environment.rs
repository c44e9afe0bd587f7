//! The environment of the functions: AWS clients for the engines, and environment variables.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use reelay_embedded_aws::Endpoints;
use reelay_runtime::environment::{Clock, Environment, Variables};

use crate::names;
use crate::template::Function;

/// An environment whose variables are the engines' endpoints and the mark of a devstack.
pub(super) fn base(endpoints: &Endpoints, clock: &Clock) -> Environment {
    let credentials =
        Credentials::new(names::ACCESS_KEY_ID, names::SECRET_ACCESS_KEY, None, None, "devstack");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(names::REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // The services are in this process: waiting for them to recover would only slow tests down.
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(20)))
        // Plain http. One client for all functions shares the connections.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    // Only S3 has a port of its own.
    let variables = [
        ("AWS_ENDPOINT_URL", endpoints.dynamodb.as_str()),
        ("AWS_ENDPOINT_URL_S3", &endpoints.s3),
        // The pages then show why a token was rejected.
        ("REELAY_DEVSTACK", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Environment { variables: Variables::new(variables.into()), sdk, clock: clock.clone() }
}

/// The base environment with the variables of a function.
pub(super) fn of_function(base: &Environment, function: &Function) -> Environment {
    let mut variables = base.variables.all().clone();
    variables.insert("AWS_REGION".to_owned(), names::REGION.to_owned());
    variables.insert("AWS_LAMBDA_FUNCTION_NAME".to_owned(), names::physical(&function.logical));
    variables.extend(function.variables.clone());
    Environment { variables: Variables::new(variables), ..base.clone() }
}
