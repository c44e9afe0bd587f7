//! The API from outside: whether it answers, and whether it knows Zoom from somebody else.

use reelay_domain::webhook::{endpoint_validation, signature};
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::finding::Finding;
use super::secrets::ZoomApp;
use crate::deployment::Deployment;

/// The two routes that Zoom posts to: names of outputs, and of checks.
const ROUTES: [(&str, &str); 2] = [("WebhookUrl", "webhook"), ("DeauthorizeUrl", "deauthorize")];

pub(super) async fn examine(
    deployment: &Deployment,
    zoom: Option<&ZoomApp>,
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = vec![health(deployment).await?];
    for (output, name) in ROUTES {
        findings.push(unsigned(deployment, output, name).await?);
    }
    match zoom {
        Some(zoom) => {
            findings.push(validation(deployment, &zoom.webhook_secret).await?);
            for (output, name) in ROUTES {
                findings.push(event(deployment, output, name, &zoom.webhook_secret).await?);
            }
        }
        None => findings.push(Finding::warn(
            "webhook.signed",
            "not asked",
            "without a webhook secret nothing can be signed as Zoom does.",
            "mend secret.zoom first.",
        )),
    }
    Ok(findings)
}

async fn health(deployment: &Deployment) -> anyhow::Result<Finding> {
    let mut url = deployment.reached_at("ApiUrl")?;
    let base = url.path().trim_end_matches('/').trim_end_matches("/v1");
    let path = format!("{base}/healthz");
    url.set_path(&path);
    let logs = deployment.logs("app-api", None);
    Ok(match deployment.http.get(url.clone()).send().await {
        Ok(answer) if answer.status() == StatusCode::OK => {
            Finding::ok("api.health", format!("GET {url} answers 200"))
        }
        Ok(answer) => Finding::fail(
            "api.health",
            format!("GET {url} answers {}", answer.status().as_u16()),
            "the address leads somewhere, but not to a function that works.",
            format!("look into its logs: {logs}"),
        ),
        Err(error) => Finding::fail(
            "api.health",
            format!("GET {url}: {}", unreachable(&error)),
            "neither browsers nor Zoom nor the app reach the stack under this address.",
            "if PublicUrl is set, its domain must lead to the API (a custom domain, and its DNS record). From an \
             emulator, give its address with --api-url.",
        ),
    })
}

/// Why there was no answer. The error's own text holds the URL, which is said already, or has a token in it.
pub(super) fn unreachable(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "no answer that can be read"
    }
}

struct Answer {
    status: u16,
    body: String,
}

async fn post(
    deployment: &Deployment,
    output: &str,
    body: &Value,
    secret: Option<&SecretString>,
) -> anyhow::Result<Result<Answer, &'static str>> {
    let bytes = body.to_string().into_bytes();
    let mut request = deployment
        .http
        .post(deployment.reached_at(output)?)
        .header("content-type", "application/json; charset=utf-8");
    if let Some(secret) = secret {
        let timestamp = deployment.environment.clock.now().as_second().to_string();
        let signature = signature::sign(secret, &timestamp, &bytes);
        request = request
            .header("x-zm-request-timestamp", timestamp)
            .header("x-zm-signature", signature.expose_secret());
    }
    let answer = match request.body(bytes).send().await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(unreachable(&error))),
    };
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_default();
    Ok(Ok(Answer { status, body }))
}

fn harmless(deployment: &Deployment) -> Value {
    let now = deployment.environment.clock.now().as_millisecond();
    json!({"event": "reelay.doctor", "event_ts": now, "payload": {}})
}

/// Somebody who is not Zoom.
async fn unsigned(deployment: &Deployment, output: &str, name: &str) -> anyhow::Result<Finding> {
    let check = format!("{name}.unsigned");
    let answer = post(deployment, output, &harmless(deployment), None).await?;
    let logs = logs(deployment);
    Ok(match answer {
        Ok(Answer { status: 401, .. }) => {
            Finding::ok(check, "an event without a signature is refused with 401")
        }
        Ok(Answer { status: 503, .. }) => Finding::warn(
            check,
            "an event without a signature is answered 503",
            "the function has no webhook secret to check against.",
            "mend secret.zoom; the function reads it again within five minutes.",
        ),
        Ok(Answer { status, .. }) if (200..300).contains(&status) => Finding::fail(
            check,
            format!("an event without a signature is answered {status}"),
            "whatever answers there takes events from anybody. It is not Reelay's webhook function.",
            format!(
                "see where {} leads, and switch that off.",
                deployment.output(output)?
            ),
        ),
        Ok(Answer { status, .. }) => Finding::fail(
            check,
            format!("an event without a signature is answered {status}"),
            "the route does not lead to Reelay's webhook function, or it does not work.",
            logs,
        ),
        Err(why) => Finding::fail(
            check,
            format!("POST {}: {why}", deployment.output(output)?),
            "Zoom reaches it no better, and gives an event up after three more attempts.",
            "mend api.health first.",
        ),
    })
}

fn logs(deployment: &Deployment) -> String {
    format!("look into its logs: {}", deployment.logs("webhook", None))
}

/// What was answered to something that was signed well.
fn refused(deployment: &Deployment, check: &str, what: &str, answer: &Answer) -> Finding {
    let found = format!("{what} is answered {}", answer.status);
    match answer.status {
        401 => Finding::fail(
            check,
            found,
            "the function knows another webhook secret than the one that is stored, or its clock and yours differ by \
             more than five minutes.",
            "if the secret was put a moment ago, wait five minutes and run this again. Else set your clock.",
        ),
        503 => Finding::fail(
            check,
            found,
            "the function can't read its secrets or can't store events. Zoom repeats what is answered so, three times.",
            logs(deployment),
        ),
        _ => Finding::fail(
            check,
            found,
            "Zoom takes this for a failure.",
            logs(deployment),
        ),
    }
}

/// Zoom's check of the endpoint.
async fn validation(deployment: &Deployment, secret: &SecretString) -> anyhow::Result<Finding> {
    const CHECK: &str = "webhook.validation";
    let now = deployment.environment.clock.now().as_millisecond();
    let plain = format!("{}{now}", endpoint_validation::DOCTOR_TOKEN_PREFIX);
    let body = json!({
        "event": "endpoint.url_validation", "event_ts": now, "payload": {"plainToken": plain},
    });
    let expected = json!(endpoint_validation::respond(secret, &plain));
    Ok(
        match post(deployment, "WebhookUrl", &body, Some(secret)).await? {
            Ok(answer) if answer.status == 200 => {
                let given: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                if given == expected {
                    Finding::ok(
                        CHECK,
                        "Zoom's check of the endpoint is answered as Zoom wants it",
                    )
                } else {
                    Finding::fail(
                        CHECK,
                        "Zoom's check of the endpoint is answered with another token",
                        "Zoom does not accept the endpoint, and switches the subscription off.",
                        logs(deployment),
                    )
                }
            }
            Ok(answer) => refused(deployment, CHECK, "Zoom's check of the endpoint", &answer),
            Err(why) => Finding::fail(
                CHECK,
                format!("no answer to Zoom's check of the endpoint: {why}"),
                "Zoom does not accept the endpoint, and switches the subscription off.",
                "mend api.health first.",
            ),
        },
    )
}

/// An event that nobody acts upon.
async fn event(
    deployment: &Deployment,
    output: &str,
    name: &str,
    secret: &SecretString,
) -> anyhow::Result<Finding> {
    let check = format!("{name}.signed");
    Ok(
        match post(deployment, output, &harmless(deployment), Some(secret)).await? {
            Ok(Answer { status: 200, .. }) => {
                Finding::ok(check, "a signed event is taken with 200")
            }
            Ok(answer) => refused(deployment, &check, "a signed event", &answer),
            Err(why) => Finding::fail(
                check,
                format!("POST {}: {why}", deployment.output(output)?),
                "Zoom's events do not arrive.",
                "mend api.health first.",
            ),
        },
    )
}
