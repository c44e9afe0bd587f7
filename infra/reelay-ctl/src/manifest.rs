//! `manifest`: what Zoom has to know of a stack.
//!
//! The form is Zoom's ("Manifests", developers.zoom.us/docs/build-flow/manifests), which calls it an early
//! preview: an app that exists takes it, no app is made of it, and the deauthorization endpoint is not part of it.

use reelay_domain::scope;
use reelay_domain::webhook::event;
use serde_json::{Value, json};

use crate::Verdict;
use crate::deployment::Deployment;
use crate::output::Output;

/// What has to be entered at Zoom.
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

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "redirect_url": self.redirect_url,
            "webhook_url": self.webhook_url,
            "deauthorize_url": self.deauthorize_url,
            "scopes": scope::registration_scopes().collect::<Vec<_>>(),
            "events": event::SUBSCRIBED_EVENTS,
        })
    }

    /// The manifest of a general app that users manage.
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
                // Nothing but this very address is ever asked for.
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

pub(crate) fn run(deployment: &Deployment, name: &str, output: &Output) -> anyhow::Result<Verdict> {
    let registration = Registration::of(deployment)?;
    let manifest = registration.manifest(name);
    output.object(&manifest);
    output.note(&words(&registration));
    output.text(&format!("{manifest:#}"));
    Ok(Verdict::Fine)
}

/// What is to be done with it. On the side, so that the manifest alone can be put into a file.
fn words(registration: &Registration) -> String {
    let list = |items: Vec<&str>| {
        let lines = items.into_iter().map(|item| format!("       {item}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    format!(
        "At https://marketplace.zoom.us/develop/create make a General app, managed by users. Where your account has
manifests (an early preview of Zoom's), upload the JSON below at Basic Information > Manifest; what it does
not set, and all of it where there are none, is entered by hand:

  1. Basic Information > OAuth redirect URL, and OAuth allow list:
       {redirect}
  2. Scopes:
{scopes}
  3. Features > Access > Event subscription, endpoint URL:
       {webhook}
     with these events, after which press Validate (the stack must know the secret token by then):
{events}
  4. Basic Information > Deauthorization notification endpoint URL (not part of any manifest; published apps only):
       {deauthorize}
  5. Client id, client secret (Basic Information > App credentials) and secret token (Features > Access) go into the
     stack's secret ZoomSecretName. `reelay doctor` says whether all of it fits.
",
        redirect = registration.redirect_url,
        scopes = list(scope::registration_scopes().collect()),
        webhook = registration.webhook_url,
        events = list(event::SUBSCRIBED_EVENTS.to_vec()),
        deauthorize = registration.deauthorize_url,
    )
}
