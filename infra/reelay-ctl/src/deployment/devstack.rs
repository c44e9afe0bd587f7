//! Loads the description of a devstack from `/_dev/config`.

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use reelay_runtime::environment::{Clock, Environment, Variables};
use serde::Deserialize;
use url::Url;

use super::stack::{CommandLine, Deployment, Description, http_client};
use crate::arguments::Target;

/// The fields of `/_dev/config` that this tool needs. Its secrets are not deserialized.
#[derive(Deserialize)]
struct DevConfig {
    region: String,
    credentials: Keys,
    endpoints: Endpoints,
    stack: Description,
}

#[derive(Deserialize)]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
}

#[derive(Deserialize)]
struct Endpoints {
    dynamodb: String,
    s3: String,
    sqs: String,
    secretsmanager: String,
}

pub(super) async fn find(url: &Url, target: &Target) -> anyhow::Result<Deployment> {
    let config_url = url.join("/_dev/config").context("invalid devstack URL")?;
    let response = http_client(None)?
        .get(config_url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .with_context(|| format!("no devstack at {url}: start one with `cargo run`"))?;
    let config: DevConfig = serde_json::from_slice(&response.bytes().await?)
        .context("the response is not from a devstack of this version")?;
    let keys = Credentials::new(
        &config.credentials.access_key_id,
        &config.credentials.secret_access_key,
        None,
        None,
        "devstack",
    );
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let endpoints = config.endpoints;
    // Only S3 has a port of its own.
    let urls = [("AWS_ENDPOINT_URL", &endpoints.dynamodb), ("AWS_ENDPOINT_URL_S3", &endpoints.s3)];
    let variables = urls.map(|(name, url)| (name.to_owned(), url.clone())).into();
    let command_line = CommandLine {
        // Public test credentials of the emulators on loopback.
        prefix: format!(
            "AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} ",
            config.credentials.access_key_id, config.credentials.secret_access_key
        ),
        suffix: format!(" --region {}", config.region),
        endpoints: [
            ("dynamodb", endpoints.dynamodb),
            ("s3api", endpoints.s3),
            ("sqs", endpoints.sqs),
            ("secretsmanager", endpoints.secretsmanager),
        ]
        .into(),
    };
    let environment = Environment { variables: Variables::default(), sdk, clock: Clock::default() };
    Deployment::new(
        url.as_str().trim_end_matches('/').to_owned(),
        true,
        config.stack,
        environment,
        variables,
        target,
        command_line,
    )
}
