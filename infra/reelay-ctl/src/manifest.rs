//! `manifest`: prints the Zoom app manifest of a stack and the values to enter manually.
//!
//! Zoom's manifests are an early preview (developers.zoom.us/docs/build-flow/manifests): they configure an
//! existing app, cannot create one, and do not contain the deauthorization endpoint.

use reelay_domain::scope;
use reelay_domain::webhook::event;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::output::{Outcome, Output};

/// The values to enter at Zoom.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) redirect_url: String,
    pub(crate) webhook_url: String,
    pub(crate) deauthorize_url: String,
}

impl Registration {
    pub(crate) fn of(deployment: &Deployment) -> anyhow::Result<Self> {
        let output = |name| deployment.output(name).map(str::to_owned);
        Ok(Self {
            redirect_url: output("RedirectUrl")?,
            webhook_url: output("WebhookUrl")?,
            deauthorize_url: output("DeauthorizeUrl")?,
        })
    }

    /// Formats the registration for `doctor --json`.
    pub(crate) fn json(&self) -> Value {
        json!({
            "redirect_url": self.redirect_url,
            "webhook_url": self.webhook_url,
            "deauthorize_url": self.deauthorize_url,
            "scopes": scope::registration_scopes().collect::<Vec<_>>(),
            "events": event::SUBSCRIBED_EVENTS,
        })
    }

    /// Builds the manifest of a user-managed general app.
    fn manifest(&self, name: &str) -> Value {
        let scopes: Vec<Value> = scope::registration_scopes()
            .map(|scope| json!({"scope": scope, "optional": false}))
            .collect();
        json!({
            "display_information": {"display_name": name},
            "oauth_information": {
                "usage": "USER_OPERATION",
                "development_redirect_uri": self.redirect_url,
                "production_redirect_uri": self.redirect_url,
                "oauth_allow_list": [self.redirect_url],
                "strict_mode": true,
                "subdomain_strict_mode": true,
                "scopes": scopes,
            },
            "features": {
                "products": ["ZOOM_MEETING"],
                "event_subscription": {
                    "enable": true,
                    "events": [{
                        "subscription_name": name,
                        "event_types": event::SUBSCRIBED_EVENTS,
                        "development_webhook_url": self.webhook_url,
                        "production_webhook_url": self.webhook_url,
                    }],
                },
            },
        })
    }
}

pub(crate) fn run(deployment: &Deployment, name: &str, output: &Output) -> anyhow::Result<Outcome> {
    let registration = Registration::of(deployment)?;
    let manifest = registration.manifest(name);
    output.json(&manifest);
    output.note(&instructions(&registration));
    output.line(&format!("{manifest:#}"));
    Ok(Outcome::Success)
}

/// Formats the manual steps. They go to stderr, so that stdout can be redirected to a file.
fn instructions(registration: &Registration) -> String {
    let list = |items: Vec<&str>| {
        let lines = items.into_iter().map(|item| format!("       {item}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    format!(
        "Create a user-managed General app at https://marketplace.zoom.us/develop/create. If your Zoom account supports
manifests (an early preview), upload the JSON below at Basic Information > Manifest, then check the values below.
Otherwise enter all of them manually:

  1. Basic Information > OAuth redirect URL, and OAuth allow list:
       {redirect}
  2. Scopes:
{scopes}
  3. Features > Access > Event subscription, endpoint URL:
       {webhook}
     with these events. Then press Validate (store the secret token in the stack first):
{events}
  4. Basic Information > Deauthorization notification endpoint URL (never in a manifest; published apps only):
       {deauthorize}
  5. Store client id and client secret (Basic Information > App credentials) and the secret token (Features > Access)
     in the secret that the stack output ZoomSecretName names. `reelay doctor` checks all of it.
",
        redirect = registration.redirect_url,
        scopes = list(scope::registration_scopes().collect()),
        webhook = registration.webhook_url,
        events = list(event::SUBSCRIBED_EVENTS.to_vec()),
        deauthorize = registration.deauthorize_url,
    )
}
