//! `mint-link`: creates the connect link of one app user.

use jiff::SignedDuration;
use reelay_domain::jwt::Audience;
use reelay_domain::return_url::ReturnUrls;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::arguments::MintLinkArguments;
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, UsageError, time};
use crate::token::{self, TokenRequest};

pub(crate) async fn run(
    deployment: &Deployment,
    arguments: &MintLinkArguments,
    output: &Output,
) -> anyhow::Result<Outcome> {
    if let Some(return_to) = &arguments.return_to {
        let listed = deployment.parameter("ReturnUrls");
        let is_allowed = ReturnUrls::parse(listed).is_ok_and(|urls| urls.allow(return_to).is_ok());
        if !is_allowed {
            return Err(UsageError(format!(
                "{return_to} is not one of the stack's ReturnUrls ({listed}): scheme, host, port and path must match"
            ))
            .into());
        }
    }
    let request = TokenRequest {
        audience: Audience::Connect,
        lifetime: SignedDuration::from_mins(arguments.minutes),
        return_to: arguments.return_to.as_deref(),
        single_use: arguments.once,
    };
    let (token, expires_at) = token::mint(deployment, &arguments.user, request).await?;
    let mut url = deployment.endpoint("ConnectUrl")?;
    url.query_pairs_mut().append_pair("token", token.expose_secret());
    output.json(&json!({"user": arguments.user, "url": url.as_str(), "expires_at": expires_at}));
    output.note(&format!(
        "Before {}, this URL connects the Zoom account of any person who opens it to {}. The link becomes \
         active when the app confirms it in that user's session.",
        time(expires_at),
        arguments.user
    ));
    output.line(url.as_str());
    Ok(Outcome::Success)
}
