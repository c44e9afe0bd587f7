//! `confirm-link`: what the app's server does when a browser comes back to it. For a stack's first link, before
//! there is an app that does it.

use anyhow::Context as _;
use jiff::SignedDuration;
use reelay_domain::ids::AppUserId;
use reelay_domain::jwt::Audience;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::Verdict;
use crate::deployment::Deployment;
use crate::output::Output;
use crate::tokens::{self, Wanted};

pub(crate) async fn run(
    deployment: &Deployment,
    user: &AppUserId,
    given: &str,
    output: &Output,
) -> anyhow::Result<Verdict> {
    let wanted = Wanted {
        audience: Audience::Api,
        life: SignedDuration::from_mins(1),
        return_to: None,
        once: false,
    };
    let (token, _) = tokens::mint(deployment, user, wanted).await?;
    let api = deployment.reached_at("ApiUrl")?;
    let answer = deployment
        .http
        .post(format!(
            "{}/links/confirm",
            api.as_str().trim_end_matches('/')
        ))
        .bearer_auth(token.expose_secret())
        .json(&json!({"claim": claim(given).expose_secret()}))
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .context("the app's API can't be reached")?;
    let status = answer.status().as_u16();
    let said: Value = answer.json().await.unwrap_or_default();
    output.object(&said);
    if status == 200 {
        let zoom = |name: &str| said["zoom"][name].as_str().unwrap_or_default().to_owned();
        output.text(&format!(
            "{user} is linked with {} ({} of account {})",
            zoom("display_name"),
            zoom("user_id"),
            zoom("account_id")
        ));
        return Ok(Verdict::Fine);
    }
    output.text(&format!(
        "the app's API answers {status}: {}",
        said["detail"].as_str().unwrap_or("without a reason")
    ));
    Ok(Verdict::Wrong)
}

/// The claim in the address that a browser came back to; anything that is no such address is the claim itself.
fn claim(given: &str) -> SecretString {
    let address = Url::parse(given).ok();
    let found = address.and_then(|url| {
        let mut pairs = url.query_pairs();
        pairs.find_map(|(name, value)| (name == "zoom_link").then(|| value.into_owned()))
    });
    found.unwrap_or_else(|| given.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_taken_as_it_is_and_out_of_an_address() {
        for (given, expected) in [
            ("abc-_1", "abc-_1"),
            ("https://app.example/zoom?tab=1&zoom_link=abc#x", "abc"),
            (
                "https://app.example/?zoom_error=access_denied",
                "https://app.example/?zoom_error=access_denied",
            ),
        ] {
            assert_eq!(claim(given).expose_secret(), expected);
        }
    }
}
