//! `mint-link`: what the app's button would lead to, for one user.

use anyhow::Context as _;
use jiff::SignedDuration;
use reelay_domain::jwt::Audience;
use reelay_domain::return_url::ReturnUrls;
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::Url;

use crate::arguments::MintLink;
use crate::deployment::Deployment;
use crate::output::Output;
use crate::tokens::{self, Wanted};
use crate::{Misused, Verdict};

pub(crate) async fn run(
    deployment: &Deployment,
    wanted: &MintLink,
    output: &Output,
) -> anyhow::Result<Verdict> {
    if let Some(return_to) = &wanted.return_to {
        let listed = deployment.parameter("ReturnUrls");
        let allowed = ReturnUrls::parse(listed)
            .ok()
            .is_some_and(|urls| urls.allow(return_to).is_ok());
        if !allowed {
            return Err(Misused(format!(
                "{return_to} is not one of the stack's ReturnUrls ({listed}): scheme, host, port and path must \
                 be equal"
            ))
            .into());
        }
    }
    let token = Wanted {
        audience: Audience::Connect,
        life: SignedDuration::from_mins(wanted.minutes),
        return_to: wanted.return_to.as_deref(),
        once: wanted.once,
    };
    let (token, ends) = tokens::mint(deployment, &wanted.user, token).await?;
    let mut url: Url = deployment
        .output("ConnectUrl")?
        .parse()
        .context("the output ConnectUrl is no URL")?;
    url.query_pairs_mut()
        .append_pair("token", token.expose_secret());
    output.object(&json!({"user": wanted.user, "url": url.as_str(), "expires_at": ends}));
    output.note(&format!(
        "Whoever opens this before {ends} connects their Zoom account to {}. The link becomes active when the app \
         confirms it in that user's session.",
        wanted.user
    ));
    output.text(url.as_str());
    Ok(Verdict::Fine)
}
