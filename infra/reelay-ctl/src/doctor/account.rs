//! Checks the account's concurrent executions, which all of its Lambda functions in a region share.

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_sdk_s3::config::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde::Deserialize;

use super::finding::Finding;
use crate::deployment::Deployment;

const CHECK: &str = "account.concurrency";

/// Parameters with the maximum concurrency of each queue's function.
const PARAMETERS: [&str; 4] = [
    "MaxConcurrentEvents",
    "MaxConcurrentDownloads",
    "MaxConcurrentNotifications",
    "MaxConcurrentJobs",
];

/// Minimum number of executions for HTTP requests: one webhook and one user who connects.
const MIN_LEFT: u32 = 2;

/// Executions left for HTTP requests below which the quota should be raised before users arrive.
const COMFORTABLE_LEFT: u32 = 50;

pub(super) async fn check(deployment: &Deployment) -> Finding {
    match account_limit(deployment).await {
        Ok(limit) => {
            let taken = PARAMETERS.map(|name| deployment.parameter(name).parse().unwrap_or(0));
            finding(&limit, taken.into_iter().sum(), deployment)
        }
        Err(error) => Finding::not_checked(CHECK, &error),
    }
}

fn finding(limit: &AccountLimit, taken: u32, deployment: &Deployment) -> Finding {
    let AccountLimit { concurrent_executions: quota, unreserved_concurrent_executions: shared } =
        limit;
    let left = shared.saturating_sub(taken);
    let reserved = match quota.saturating_sub(*shared) {
        0 => String::new(),
        reserved => format!(", {reserved} of them reserved by functions"),
    };
    let observed =
        format!("{quota} concurrent executions{reserved}, of which the queues take up to {taken}");
    if left >= COMFORTABLE_LEFT {
        return Finding::ok(CHECK, observed);
    }
    let impact = format!(
        "{left} are left to HTTP requests and to the account's other functions; Zoom repeats a webhook that finds none \
         only three times."
    );
    let quota = "request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value 1000";
    let fix = format!(
        "raise the quota: {}\nuntil then keep the sum of {} at {} or less.",
        deployment.aws_command("service-quotas", quota),
        PARAMETERS.join(", "),
        (taken + left).saturating_sub(MIN_LEFT),
    );
    if left < MIN_LEFT {
        Finding::fail(CHECK, observed, impact, fix)
    } else {
        Finding::warn(CHECK, observed, impact, fix)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountSettings {
    account_limit: AccountLimit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountLimit {
    concurrent_executions: u32,
    /// Those that no function has reserved, which the others share.
    unreserved_concurrent_executions: u32,
}

/// Lambda's `GetAccountSettings`. One signed request is less than the SDK's client for Lambda.
async fn account_limit(deployment: &Deployment) -> anyhow::Result<AccountLimit> {
    let sdk = &deployment.environment.sdk;
    let url = format!("{}/2016-08-19/account-settings/", endpoint(sdk)?);
    let credentials = sdk.credentials_provider().context("no AWS credentials are configured")?;
    let identity = credentials.provide_credentials().await?.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(sdk.region().map_or("", |region| region.as_ref()))
        .name("lambda")
        .time(std::time::SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let signable = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(b""))?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    let mut request = deployment.http.get(&url);
    for (name, value) in instructions.headers() {
        request = request.header(name, value);
    }
    let response = request.send().await?.error_for_status()?;
    let settings: AccountSettings = serde_json::from_slice(&response.bytes().await?)?;
    Ok(settings.account_limit)
}

fn endpoint(sdk: &SdkConfig) -> anyhow::Result<String> {
    if let Some(url) = sdk.endpoint_url() {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let region = sdk.region().context("no AWS region is configured")?;
    let suffix = if region.as_ref().starts_with("cn-") { ".cn" } else { "" };
    Ok(format!("https://lambda.{region}.amazonaws.com{suffix}"))
}
