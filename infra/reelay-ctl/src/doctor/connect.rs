//! Checks the connect link, its redirect to Zoom's consent page, and the credentials of the Zoom app.

use std::collections::HashMap;

use jiff::SignedDuration;
use reelay_domain::jwt::Audience;
use reelay_zoom::{
    ClientCredentials, Endpoints, ExchangeError, OAuthErrorCode, Timeouts, TransientError,
    ZoomClient,
};
use reqwest::header::{LOCATION, SET_COOKIE};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::finding::Finding;
use super::secrets::ZoomApp;
use crate::deployment::Deployment;
use crate::http::connection_failure;
use crate::manifest::Registration;
use crate::token::{self, TokenRequest};

/// App user in the connect tokens that the doctor mints.
const TEST_USER: &str = "reelay-doctor";
/// Maximum number of bytes of Zoom's page that are searched for an error number.
const MAX_PAGE_BYTES: usize = 256 * 1024;

pub(super) async fn check(
    deployment: &Deployment,
    registration: &Registration,
    zoom: Option<&ZoomApp>,
) -> anyhow::Result<Vec<Finding>> {
    let Some(zoom) = zoom else {
        return Ok(vec![Finding::warn(
            "connect.redirect",
            "not checked",
            "users cannot connect without the Zoom app's credentials.",
            "fix secret.zoom first.",
        )]);
    };
    let (finding, authorize) = check_connect_link(deployment, registration, zoom).await?;
    let mut findings = vec![finding];
    if let Some(authorize) = authorize {
        findings.push(check_consent_page(deployment, registration, authorize).await);
    }
    findings.push(check_client_credentials(deployment, registration, zoom).await?);
    Ok(findings)
}

/// Opens a connect link and checks the redirect. Returns its URL at Zoom too, if there is one.
async fn check_connect_link(
    deployment: &Deployment,
    registration: &Registration,
    zoom: &ZoomApp,
) -> anyhow::Result<(Finding, Option<Url>)> {
    const CHECK: &str = "connect.redirect";
    let request = TokenRequest::new(Audience::Connect, SignedDuration::from_mins(1));
    let token = match token::mint(deployment, &TEST_USER.parse()?, request).await {
        Ok((token, _)) => token,
        Err(error) => {
            let finding = Finding::warn(
                CHECK,
                "not checked",
                format!("no connect token available: {error:#}."),
                "set the environment variable if the app signs its own tokens; otherwise fix secret.app.",
            );
            return Ok((finding, None));
        }
    };
    let mut url = deployment.endpoint("ConnectUrl")?;
    url.query_pairs_mut().append_pair("token", token.expose_secret());
    let response = match deployment.http.get(url).send().await {
        Ok(response) => response,
        Err(error) => {
            let finding = Finding::fail(
                CHECK,
                format!("GET {}: {}", deployment.output("ConnectUrl")?, connection_failure(&error)),
                "users cannot connect.",
                "fix api.health first.",
            );
            return Ok((finding, None));
        }
    };
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let (Some(location), 302) = (header(LOCATION.as_str()), response.status().as_u16()) else {
        let code = header("x-reelay-error").unwrap_or("no error code");
        return Ok((not_redirected(deployment, response.status().as_u16(), code), None));
    };
    let result =
        check_redirect(deployment, registration, zoom, location, header(SET_COOKIE.as_str()));
    let authorize = Url::parse(location).ok();
    Ok(match result {
        Ok(()) => (
            Finding::ok(
                CHECK,
                format!(
                    "a connect link redirects to Zoom with redirect_uri {}, PKCE and state",
                    registration.redirect_url
                ),
            ),
            authorize,
        ),
        Err(finding) => (*finding, authorize),
    })
}

fn not_redirected(deployment: &Deployment, status: u16, code: &str) -> Finding {
    let logs = deployment.logs_command("oauth-start", None);
    let (impact, fix) = match code {
        "connect_token_invalid" | "connect_token_expired" => (
            "the function rejects a token signed with the stored app secret, or your clock is wrong.",
            "if you have just stored the app secret, wait five minutes and run `reelay doctor` again. Otherwise correct \
             your clock."
                .to_owned(),
        ),
        _ => (
            "users cannot connect.",
            format!("read the logs: {logs}"),
        ),
    };
    Finding::fail(
        "connect.redirect",
        format!("a connect link gets response {status} ({code}) instead of a redirect to Zoom"),
        impact,
        fix,
    )
}

fn check_redirect(
    deployment: &Deployment,
    registration: &Registration,
    zoom: &ZoomApp,
    location: &str,
    cookie: Option<&str>,
) -> Result<(), Box<Finding>> {
    let fail = |observed: String, impact: &str, fix: String| {
        Err(Box::new(Finding::fail("connect.redirect", observed, impact, fix)))
    };
    let base = deployment.parameter("ZoomOAuthUrl").trim_end_matches('/');
    let Some(query) = location.strip_prefix(&format!("{base}/oauth/authorize?")) else {
        return fail(
            format!("a connect link does not redirect to {base}/oauth/authorize"),
            "users are sent to a server that is not Zoom.",
            "set ZoomOAuthUrl=https://zoom.us in parameter_overrides of samconfig.toml, then `sam build && sam deploy`."
                .to_owned(),
        );
    };
    let pairs: HashMap<String, String> = Url::parse(&format!("https://zoom.invalid/?{query}"))
        .map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default();
    let parameter = |name: &str| pairs.get(name).map_or("", String::as_str);
    if parameter("redirect_uri") != registration.redirect_url {
        return fail(
            format!(
                "the redirect to Zoom has redirect_uri {}, but the output RedirectUrl is {}",
                parameter("redirect_uri"),
                registration.redirect_url
            ),
            "Zoom rejects a redirect URI that is not registered exactly: users cannot connect.",
            "the stack does not know the public URL of its API. Set PublicUrl=https://<your domain> in parameter_overrides \
             of samconfig.toml, then `sam build && sam deploy`."
                .to_owned(),
        );
    }
    if parameter("client_id") != zoom.client_id {
        return fail(
            "the redirect to Zoom has another client_id than the stored one".to_owned(),
            "the function has cached ZoomSecret from before it was changed.",
            "wait five minutes and run `reelay doctor` again.".to_owned(),
        );
    }
    let is_complete = parameter("response_type") == "code"
        && parameter("code_challenge_method") == "S256"
        && parameter("code_challenge").len() == 43
        && !parameter("state").is_empty()
        && cookie.is_some_and(|cookie| {
            cookie.starts_with("__Host-reelay-connect=")
                && cookie.contains("Secure")
                && cookie.contains("HttpOnly")
        });
    if !is_complete {
        return fail(
            "the redirect to Zoom lacks PKCE, state or the cookie".to_owned(),
            "a proxy or CDN between browser and function changes the response.",
            "point the domain of PublicUrl directly at API Gateway.".to_owned(),
        );
    }
    Ok(())
}

/// Requests Zoom's consent page, without giving consent, and checks it for an error number.
async fn check_consent_page(
    deployment: &Deployment,
    registration: &Registration,
    authorize: Url,
) -> Finding {
    const CHECK: &str = "zoom.authorize";
    let mut response = match deployment.http.get(authorize).send().await {
        Ok(response) => response,
        Err(error) => {
            return Finding::warn(
                CHECK,
                format!(
                    "Zoom's consent page is unreachable from here: {}",
                    connection_failure(&error)
                ),
                "the doctor cannot tell whether the redirect URL is registered.",
                format!(
                    "open the link of this command in a browser: {}",
                    deployment.reelay_command("mint-link --user doctor")
                ),
            );
        }
    };
    let status = response.status().as_u16();
    let mut page = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        page.extend_from_slice(&chunk);
        if page.len() > MAX_PAGE_BYTES {
            break;
        }
    }
    let page = String::from_utf8_lossy(&page);
    let number = error_number(&page);
    if status < 400 && number.is_none() {
        return Finding::ok(CHECK, format!("Zoom accepts the request (response {status})"));
    }
    let number = number.map_or_else(String::new, |number| format!(", error {number}"));
    Finding::fail(
        CHECK,
        format!("Zoom rejects the request with {status}{number}"),
        "client id or redirect URL differ from those of the Zoom app: users cannot connect.",
        format!(
            "enter at Zoom, as OAuth redirect URL and in the allow list:\n{}\nand compare the client id with that in \
             ZoomSecret (development and production ids differ).",
            registration.redirect_url
        ),
    )
}

/// Finds the error number of a Zoom error page, such as `(4,700)`.
fn error_number(page: &str) -> Option<&str> {
    let start = page.find("(4,7")?;
    page.get(start + 1..start + 6).filter(|number| {
        page[start + 6..].starts_with(')') && number.ends_with(|c: char| c.is_ascii_digit())
    })
}

/// Sends a token request with an invalid code. Zoom checks the credentials first, so another error than an
/// invalid client shows that they are correct.
async fn check_client_credentials(
    deployment: &Deployment,
    registration: &Registration,
    zoom: &ZoomApp,
) -> anyhow::Result<Finding> {
    const CHECK: &str = "zoom.client";
    let endpoints =
        Endpoints::parse(deployment.parameter("ZoomOAuthUrl"), deployment.parameter("ZoomApiUrl"))?;
    let client = ZoomClient::new(endpoints, Timeouts::default());
    let credentials = ClientCredentials {
        client_id: zoom.client_id.clone(),
        client_secret: zoom.client_secret.clone(),
    };
    let invalid_code = SecretString::from(TEST_USER);
    let verifier = SecretString::from("0".repeat(43));
    let response = client
        .exchange_code(&credentials, &invalid_code, &verifier, &registration.redirect_url)
        .await;
    let id = deployment.resource("ZoomSecret")?;
    let not_checked = |reason: String| {
        Finding::warn(
            CHECK,
            format!("not checked, Zoom's token endpoint failed: {reason}"),
            "the doctor cannot tell whether the client secret is correct.",
            "run `reelay doctor` again later.",
        )
    };
    Ok(match response {
        Err(ExchangeError::Rejected {
            code: OAuthErrorCode::InvalidClient | OAuthErrorCode::UnauthorizedClient,
            status,
        }) => Finding::fail(
            CHECK,
            format!("Zoom rejects client id and client secret (response {status})"),
            "token requests fail: users cannot connect, and within an hour Reelay cannot read recordings. Existing grants \
             remain valid.",
            format!(
                "copy both from Zoom (Basic Information > App credentials) into zoom.json and store it:\n{}",
                deployment.aws_command(
                    "secretsmanager",
                    &format!("put-secret-value --secret-id {id} --secret-string file://zoom.json")
                )
            ),
        ),
        Err(ExchangeError::Rejected { code: OAuthErrorCode::AppDisabled, .. }) => Finding::fail(
            CHECK,
            "Zoom has disabled the app (code 4717)",
            "token requests fail: users cannot connect, and within an hour Reelay cannot read recordings. Existing grants \
             remain valid.",
            "enable the app at Zoom's App Marketplace (Manage > the app > Activation), or ask Zoom why it is disabled.",
        ),
        Err(ExchangeError::Rejected { status: 429, .. }) => not_checked("rate limited".to_owned()),
        Err(ExchangeError::Rejected { .. }) | Ok(_) => {
            Finding::ok(CHECK, "Zoom accepts client id and client secret")
        }
        Err(ExchangeError::Transient(error)) => not_checked(TransientError::to_string(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_number_is_found_in_error_page() {
        assert_eq!(error_number("<h1>Invalid redirect (4,709)</h1>"), Some("4,709"));
        for page in ["", "fine", "costs (4,7", "a (4,7xy) b", "(4,70é)"] {
            assert_eq!(error_number(page), None, "{page}");
        }
    }
}
