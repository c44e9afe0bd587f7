//! `confirm-link`: confirms a link as the app's server does, for the first test of a stack without an app.

use anyhow::Context as _;
use jiff::SignedDuration;
use reelay_domain::ids::AppUserId;
use reelay_domain::jwt::Audience;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::deployment::Deployment;
use crate::output::{Outcome, Output};
use crate::token::{self, TokenRequest};

pub(crate) async fn run(
    deployment: &Deployment,
    user: &AppUserId,
    claim_or_url: &str,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let request = TokenRequest::new(Audience::Api, SignedDuration::from_mins(1));
    let (token, _) = token::mint(deployment, user, request).await?;
    let api = deployment.endpoint("ApiUrl")?;
    let response = deployment
        .http
        .post(format!("{}/links/confirm", api.as_str().trim_end_matches('/')))
        .bearer_auth(token.expose_secret())
        .json(&json!({"claim": claim(claim_or_url).expose_secret()}))
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .context("failed to reach the API")?;
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap_or_default();
    output.json(&body);
    if status == 200 {
        let zoom = |name: &str| body["zoom"][name].as_str().unwrap_or_default().to_owned();
        output.line(&format!(
            "{user} is linked to {} (user {} of account {})",
            zoom("display_name"),
            zoom("user_id"),
            zoom("account_id")
        ));
        return Ok(Outcome::Success);
    }
    output.line(&format!(
        "the API responded {status}: {}",
        body["detail"].as_str().unwrap_or("no reason given")
    ));
    Ok(Outcome::ProblemsFound)
}

/// Extracts the claim from a return URL. Any other text is the claim itself.
fn claim(claim_or_url: &str) -> SecretString {
    let url = Url::parse(claim_or_url).ok();
    let parameter = url.and_then(|url| {
        let mut pairs = url.query_pairs();
        pairs.find_map(|(name, value)| (name == "zoom_link").then(|| value.into_owned()))
    });
    parameter.unwrap_or_else(|| claim_or_url.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_is_extracted_from_return_url() {
        for (input, expected) in [
            ("abc-_1", "abc-_1"),
            ("https://app.example/zoom?tab=1&zoom_link=abc#x", "abc"),
            (
                "https://app.example/?zoom_error=access_denied",
                "https://app.example/?zoom_error=access_denied",
            ),
        ] {
            assert_eq!(claim(input).expose_secret(), expected);
        }
    }
}
