//! The environment of the functions: AWS clients for the engines, and environment variables.

use std::collections::HashMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use reelay_embedded_aws::Endpoints;
use reelay_runtime::environment::{Clock, Environment, Variables};

use crate::names;
use crate::template::Function;

/// An environment with the engines' endpoints as its only variables.
pub(super) fn base(endpoints: &Endpoints, clock: &Clock) -> Environment {
    let credentials =
        Credentials::new(names::ACCESS_KEY_ID, names::SECRET_ACCESS_KEY, None, None, "devstack");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(names::REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // Plain http. One client for all functions shares the connections.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Environment {
        variables: Variables::new(endpoint_variables(endpoints)),
        sdk,
        clock: clock.clone(),
    }
}

/// The base environment with the variables of a function.
pub(super) fn of_function(
    base: &Environment,
    endpoints: &Endpoints,
    function: &Function,
) -> Environment {
    let mut variables = endpoint_variables(endpoints);
    variables.insert("AWS_REGION".to_owned(), names::REGION.to_owned());
    variables.insert("AWS_LAMBDA_FUNCTION_NAME".to_owned(), names::physical(&function.logical));
    variables.extend(function.variables.clone());
    Environment { variables: Variables::new(variables), ..base.clone() }
}

fn endpoint_variables(endpoints: &Endpoints) -> HashMap<String, String> {
    let endpoints = [
        ("DYNAMODB", &endpoints.dynamodb),
        ("S3", &endpoints.s3),
        ("SQS", &endpoints.sqs),
        ("KMS", &endpoints.kms),
        ("SECRETS_MANAGER", &endpoints.secretsmanager),
        ("EVENTBRIDGE", &endpoints.events),
    ];
    endpoints.map(|(service, url)| (format!("AWS_ENDPOINT_URL_{service}"), url.clone())).into()
}
