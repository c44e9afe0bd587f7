//! Checks the API from outside: health, and signed and unsigned webhook requests.

use reelay_domain::webhook::{endpoint_validation, signature};
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::finding::Finding;
use super::secrets::ZoomApp;
use crate::deployment::Deployment;
use crate::http::connection_failure;

/// Zoom's webhook routes: stack output and prefix of the check names.
const ROUTES: [(&str, &str); 2] = [("WebhookUrl", "webhook"), ("DeauthorizeUrl", "deauthorize")];

pub(super) async fn check(
    deployment: &Deployment,
    zoom: Option<&ZoomApp>,
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = vec![health(deployment).await?];
    for (output, name) in ROUTES {
        findings.push(unsigned_event(deployment, output, name).await?);
    }
    match zoom {
        Some(zoom) => {
            findings.push(validation(deployment, &zoom.webhook_secret).await?);
            for (output, name) in ROUTES {
                findings.push(signed_event(deployment, output, name, &zoom.webhook_secret).await?);
            }
        }
        None => findings.push(Finding::warn(
            "webhook.signed",
            "not checked",
            "requests cannot be signed without the webhook secret.",
            "fix secret.zoom first.",
        )),
    }
    Ok(findings)
}

async fn health(deployment: &Deployment) -> anyhow::Result<Finding> {
    let mut url = deployment.endpoint("ApiUrl")?;
    let base = url.path().trim_end_matches('/').trim_end_matches("/v1");
    let path = format!("{base}/healthz");
    url.set_path(&path);
    let logs = deployment.logs_command("app-api", None);
    Ok(match deployment.http.get(url.clone()).send().await {
        Ok(response) if response.status() == StatusCode::OK => {
            Finding::ok("api.health", format!("GET {url} responds 200"))
        }
        Ok(response) => Finding::fail(
            "api.health",
            format!("GET {url} responds {}", response.status().as_u16()),
            "the URL does not reach a working API function.",
            format!("read the logs: {logs}"),
        ),
        Err(error) => Finding::fail(
            "api.health",
            format!("GET {url}: {}", connection_failure(&error)),
            "browsers, Zoom and the app cannot reach the stack at this URL.",
            "if PublicUrl is set, point its domain at the API (API Gateway custom domain and DNS record). For an \
             emulator, pass its URL with --api-url.",
        ),
    })
}

struct Response {
    status: u16,
    body: String,
}

async fn post(
    deployment: &Deployment,
    output: &str,
    body: &Value,
    secret: Option<&SecretString>,
) -> anyhow::Result<Result<Response, &'static str>> {
    let bytes = body.to_string().into_bytes();
    let mut request = deployment
        .http
        .post(deployment.endpoint(output)?)
        .header("content-type", "application/json; charset=utf-8");
    if let Some(secret) = secret {
        let timestamp = deployment.environment.clock.now().as_second().to_string();
        let signature = signature::sign(secret, &timestamp, &bytes);
        request = request
            .header("x-zm-request-timestamp", timestamp)
            .header("x-zm-signature", signature.expose_secret());
    }
    let response = match request.body(bytes).send().await {
        Ok(response) => response,
        Err(error) => return Ok(Err(connection_failure(&error))),
    };
    let status = response.status().as_u16();
    let body = response.text().await.unwrap_or_default();
    Ok(Ok(Response { status, body }))
}

/// Builds an event that Reelay ignores.
fn ignored_event(deployment: &Deployment) -> Value {
    let now = deployment.environment.clock.now().as_millisecond();
    json!({"event": "reelay.doctor", "event_ts": now, "payload": {}})
}

async fn unsigned_event(
    deployment: &Deployment,
    output: &str,
    name: &str,
) -> anyhow::Result<Finding> {
    let check = format!("{name}.unsigned");
    let response = post(deployment, output, &ignored_event(deployment), None).await?;
    Ok(match response {
        Ok(Response { status: 401, .. }) => {
            Finding::ok(check, "an unsigned event is rejected with 401")
        }
        Ok(Response { status: 503, .. }) => Finding::warn(
            check,
            "an unsigned event gets response 503",
            "the function has no webhook secret to verify signatures.",
            "fix secret.zoom; the function reads an empty secret again after five seconds.",
        ),
        Ok(Response { status, .. }) if (200..300).contains(&status) => Finding::fail(
            check,
            format!("an unsigned event gets response {status}"),
            "this endpoint accepts forged events. It is not Reelay's webhook function.",
            format!(
                "find out which server {} reaches, and shut it down.",
                deployment.output(output)?
            ),
        ),
        Ok(Response { status, .. }) => Finding::fail(
            check,
            format!("an unsigned event gets response {status}"),
            "the route does not reach Reelay's webhook function, or the function fails.",
            read_logs(deployment),
        ),
        Err(reason) => Finding::fail(
            check,
            format!("POST {}: {reason}", deployment.output(output)?),
            "Zoom probably cannot reach it either, and drops an event after three retries.",
            "fix api.health first.",
        ),
    })
}

fn read_logs(deployment: &Deployment) -> String {
    format!("read the logs: {}", deployment.logs_command("webhook", None))
}

/// Explains why a correctly signed request was rejected.
fn rejected(deployment: &Deployment, check: &str, request: &str, response: &Response) -> Finding {
    let observed = format!("{request} gets response {}", response.status);
    match response.status {
        401 => Finding::fail(
            check,
            observed,
            "the function uses an older webhook secret than the stored one, or your clock is off by more than five \
             minutes.",
            "if you have just stored the secret, wait five minutes and run `reelay doctor` again. Otherwise correct your \
             clock.",
        ),
        503 => Finding::fail(
            check,
            observed,
            "the function cannot read its secrets or cannot store events. Zoom retries such an event three times.",
            format!(
                "if you have just stored a secret, run `reelay doctor` again. Otherwise {}",
                read_logs(deployment)
            ),
        ),
        _ => Finding::fail(
            check,
            observed,
            "Zoom treats this response as a failure.",
            read_logs(deployment),
        ),
    }
}

/// Sends Zoom's endpoint validation request.
async fn validation(deployment: &Deployment, secret: &SecretString) -> anyhow::Result<Finding> {
    const CHECK: &str = "webhook.validation";
    let now = deployment.environment.clock.now().as_millisecond();
    let plain_token = format!("{}{now}", endpoint_validation::DOCTOR_TOKEN_PREFIX);
    let body = json!({
        "event": "endpoint.url_validation", "event_ts": now, "payload": {"plainToken": plain_token},
    });
    let expected = json!(endpoint_validation::respond(secret, &plain_token));
    Ok(match post(deployment, "WebhookUrl", &body, Some(secret)).await? {
        Ok(response) if response.status == 200 => {
            let body: Value = serde_json::from_str(&response.body).unwrap_or_default();
            if body == expected {
                Finding::ok(
                    CHECK,
                    "the endpoint validation request, signed with the stored secret, gets the correct response. Whether \
                     Zoom has the same secret, only *Validate* at Zoom shows",
                )
            } else {
                Finding::fail(
                    CHECK,
                    "the endpoint validation request gets a wrong token",
                    "Zoom rejects the endpoint and disables the subscription.",
                    read_logs(deployment),
                )
            }
        }
        Ok(response) => rejected(deployment, CHECK, "the endpoint validation request", &response),
        Err(reason) => Finding::fail(
            CHECK,
            format!("the endpoint validation request failed: {reason}"),
            "Zoom rejects the endpoint and disables the subscription.",
            "fix api.health first.",
        ),
    })
}

async fn signed_event(
    deployment: &Deployment,
    output: &str,
    name: &str,
    secret: &SecretString,
) -> anyhow::Result<Finding> {
    let check = format!("{name}.signed");
    Ok(match post(deployment, output, &ignored_event(deployment), Some(secret)).await? {
        Ok(Response { status: 200, .. }) => {
            Finding::ok(check, "a signed event is accepted with 200")
        }
        Ok(response) => rejected(deployment, &check, "a signed event", &response),
        Err(reason) => Finding::fail(
            check,
            format!("POST {}: {reason}", deployment.output(output)?),
            "Reelay receives no events from Zoom.",
            "fix api.health first.",
        ),
    })
}
