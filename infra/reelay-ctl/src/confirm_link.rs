//! `confirm-link`: confirms a link as the app's server does, for the first test of a stack without an app.

use anyhow::{Context as _, bail};
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
    let claim = claim(claim_or_url)?;
    let request = TokenRequest::new(Audience::Api, SignedDuration::from_mins(1));
    let (token, _) = token::mint(deployment, user, request).await?;
    let api = deployment.endpoint("ApiUrl")?;
    let response = deployment
        .http
        .post(format!("{}/links/confirm", api.as_str().trim_end_matches('/')))
        .bearer_auth(token.expose_secret())
        .json(&json!({"claim": claim.expose_secret()}))
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

/// Extracts the claim from a return URL. Text that is no URL is the claim itself.
fn claim(claim_or_url: &str) -> anyhow::Result<SecretString> {
    let Ok(url) = Url::parse(claim_or_url) else {
        return Ok(claim_or_url.to_owned().into());
    };
    let parameter = |wanted: &str| {
        let mut pairs = url.query_pairs();
        pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
    };
    if let Some(claim) = parameter("zoom_link") {
        return Ok(claim.into());
    }
    match parameter("zoom_error") {
        Some(code) => bail!(
            "nothing was linked: the URL has zoom_error={code}, which docs/app-guide.md explains. For a new link: \
             reelay mint-link"
        ),
        None => {
            bail!("the URL has no zoom_link: copy the whole address to which the browser returned")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_is_extracted_from_return_url() {
        for (input, expected) in [
            ("abc-_1", Ok("abc-_1")),
            ("https://app.example/zoom?tab=1&zoom_link=abc#x", Ok("abc")),
            ("https://app.example/?zoom_error=access_denied", Err("zoom_error=access_denied")),
            ("https://app.example/", Err("no zoom_link")),
        ] {
            match (claim(input), expected) {
                (Ok(claim), Ok(expected)) => assert_eq!(claim.expose_secret(), expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}")
                }
                (claim, expected) => panic!("{input}: {} {expected:?}", claim.is_ok()),
            }
        }
    }
}
