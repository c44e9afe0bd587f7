//! Connecting: the way from the app's button to Zoom's consent page, and what Zoom says to it.

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

use super::api::unreachable;
use super::finding::Finding;
use super::secrets::ZoomApp;
use crate::deployment::Deployment;
use crate::manifest::Registration;
use crate::tokens::{self, Wanted};

/// The app user in whose name a connection is begun, and never finished.
const NOBODY: &str = "reelay-doctor";
/// So much of Zoom's page is looked at.
const MOST_OF_PAGE: usize = 256 * 1024;

pub(super) async fn examine(
    deployment: &Deployment,
    registration: &Registration,
    zoom: Option<&ZoomApp>,
) -> anyhow::Result<Vec<Finding>> {
    let Some(zoom) = zoom else {
        return Ok(vec![Finding::warn(
            "connect.redirect",
            "not asked",
            "without Zoom's credentials nobody can connect.",
            "mend secret.zoom first.",
        )]);
    };
    let (finding, authorize) = redirect(deployment, registration, zoom).await?;
    let mut findings = vec![finding];
    if let Some(authorize) = authorize {
        findings.push(consent_page(deployment, registration, authorize).await);
    }
    findings.push(client(deployment, registration, zoom).await?);
    Ok(findings)
}

/// Opens the connect link, and looks at where it leads.
async fn redirect(
    deployment: &Deployment,
    registration: &Registration,
    zoom: &ZoomApp,
) -> anyhow::Result<(Finding, Option<Url>)> {
    const CHECK: &str = "connect.redirect";
    let wanted = Wanted {
        audience: Audience::Connect,
        life: SignedDuration::from_mins(1),
        return_to: None,
        once: false,
    };
    let token = match tokens::mint(deployment, &NOBODY.parse()?, wanted).await {
        Ok((token, _)) => token,
        Err(why) => {
            let finding = Finding::warn(
                CHECK,
                "not asked",
                format!("there is no connect token: {why:#}."),
                "give one as said, or mend secret.app.",
            );
            return Ok((finding, None));
        }
    };
    let mut url = deployment.reached_at("ConnectUrl")?;
    url.query_pairs_mut()
        .append_pair("token", token.expose_secret());
    let answer = match deployment.http.get(url).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let finding = Finding::fail(
                CHECK,
                format!(
                    "GET {}: {}",
                    deployment.output("ConnectUrl")?,
                    unreachable(&error)
                ),
                "nobody can connect.",
                "mend api.health first.",
            );
            return Ok((finding, None));
        }
    };
    let header = |name| answer.headers().get(name).and_then(|it| it.to_str().ok());
    let (Some(location), 302) = (header(LOCATION.as_str()), answer.status().as_u16()) else {
        let page = header("x-reelay-error").unwrap_or("without a code");
        return Ok((
            not_redirected(deployment, answer.status().as_u16(), page),
            None,
        ));
    };
    let problems = problems(
        deployment,
        registration,
        zoom,
        location,
        header(SET_COOKIE.as_str()),
    );
    let authorize = Url::parse(location).ok();
    Ok(match problems {
        Ok(()) => (
            Finding::ok(
                CHECK,
                format!(
                    "a connect link leads to Zoom with redirect_uri {}, PKCE and a signed state",
                    registration.redirect_url
                ),
            ),
            authorize,
        ),
        Err(finding) => (*finding, authorize),
    })
}

fn not_redirected(deployment: &Deployment, status: u16, page: &str) -> Finding {
    let logs = deployment.logs("oauth-start", None);
    let (means, mend) = match page {
        "connect_token_invalid" | "connect_token_expired" => (
            "the function does not take a token that is signed with the stored app secret, or its clock and yours \
             differ.",
            "if the app secret was put a moment ago, wait five minutes and run this again. Else set your clock."
                .to_owned(),
        ),
        _ => (
            "nobody can connect.",
            format!("look into its logs: {logs}"),
        ),
    };
    Finding::fail(
        "connect.redirect",
        format!("a connect link is answered {status}, {page}, instead of a redirect to Zoom"),
        means,
        mend,
    )
}

fn problems(
    deployment: &Deployment,
    registration: &Registration,
    zoom: &ZoomApp,
    location: &str,
    cookie: Option<&str>,
) -> Result<(), Box<Finding>> {
    let fail = |found: String, means: &str, mend: String| {
        Err(Box::new(Finding::fail(
            "connect.redirect",
            found,
            means,
            mend,
        )))
    };
    let base = deployment.parameter("ZoomOAuthUrl").trim_end_matches('/');
    let Some(query) = location.strip_prefix(&format!("{base}/oauth/authorize?")) else {
        return fail(
            format!("a connect link does not lead to {base}/oauth/authorize"),
            "users are sent to somebody else than Zoom.",
            "see what the parameter ZoomOAuthUrl says, and deploy with the right one.".to_owned(),
        );
    };
    let pairs: HashMap<String, String> = Url::parse(&format!("https://zoom.invalid/?{query}"))
        .map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default();
    let given = |name: &str| pairs.get(name).map_or("", String::as_str);
    if given("redirect_uri") != registration.redirect_url {
        return fail(
            format!(
                "users are sent to Zoom with redirect_uri {}, but the output RedirectUrl is {}",
                given("redirect_uri"),
                registration.redirect_url
            ),
            "Zoom refuses what is not registered letter by letter: nobody can connect.",
            "the address in front of the API is another than the stack knows. Deploy with it:\nsam deploy \
             --parameter-overrides PublicUrl=https://<your domain>"
                .to_owned(),
        );
    }
    if given("client_id") != zoom.client_id {
        return fail(
            "users are sent to Zoom with another client_id than the stored one".to_owned(),
            "the function has read ZoomSecret before it was changed.",
            "wait five minutes, and run this again.".to_owned(),
        );
    }
    let is_complete = given("response_type") == "code"
        && given("code_challenge_method") == "S256"
        && given("code_challenge").len() == 43
        && !given("state").is_empty()
        && cookie.is_some_and(|cookie| {
            cookie.starts_with("__Host-reelay-connect=")
                && cookie.contains("Secure")
                && cookie.contains("HttpOnly")
        });
    if !is_complete {
        return fail(
            "the redirect to Zoom lacks PKCE, state or the browser's cookie".to_owned(),
            "something between browser and function changes what it answers (a proxy, a CDN).",
            "let the domain of PublicUrl lead to API Gateway itself.".to_owned(),
        );
    }
    Ok(())
}

/// Asks for Zoom's consent page, and goes no further.
async fn consent_page(
    deployment: &Deployment,
    registration: &Registration,
    authorize: Url,
) -> Finding {
    const CHECK: &str = "zoom.authorize";
    let mut answer = match deployment.http.get(authorize).send().await {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::warn(
                CHECK,
                format!(
                    "Zoom's consent page can't be asked from here: {}",
                    unreachable(&error)
                ),
                "whether the redirect URL is registered was not seen.",
                "open a link of `reelay mint-link` in a browser.",
            );
        }
    };
    let status = answer.status().as_u16();
    let mut page = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        page.extend_from_slice(&chunk);
        if page.len() > MOST_OF_PAGE {
            break;
        }
    }
    let page = String::from_utf8_lossy(&page);
    let number = error_number(&page);
    if status < 400 && number.is_none() {
        return Finding::ok(
            CHECK,
            format!("Zoom takes the request (it answers {status})"),
        );
    }
    let number = number.map_or_else(String::new, |number| format!(", error {number}"));
    Finding::fail(
        CHECK,
        format!("Zoom refuses the request with {status}{number}"),
        "client id or redirect URL are not those of the app at Zoom: nobody can connect.",
        format!(
            "enter at Zoom, as OAuth redirect URL and in the allow list:\n{}\nand compare the client id with that of \
             ZoomSecret (development and production have different ones).",
            registration.redirect_url
        ),
    )
}

/// Zoom's pages of errors name a number in brackets, such as `(4,700)`.
fn error_number(page: &str) -> Option<&str> {
    let at = page.find("(4,7")?;
    page.get(at + 1..at + 6).filter(|number| {
        page[at + 6..].starts_with(')') && number.ends_with(|c: char| c.is_ascii_digit())
    })
}

/// Asks for tokens with a code that nobody gave. A client that Zoom knows is told that the code is bad.
async fn client(
    deployment: &Deployment,
    registration: &Registration,
    zoom: &ZoomApp,
) -> anyhow::Result<Finding> {
    const CHECK: &str = "zoom.client";
    let endpoints = Endpoints::parse(
        deployment.parameter("ZoomOAuthUrl"),
        deployment.parameter("ZoomApiUrl"),
    )?;
    let client = ZoomClient::new(endpoints, Timeouts::default())?;
    let credentials = ClientCredentials {
        client_id: zoom.client_id.clone(),
        client_secret: zoom.client_secret.clone(),
    };
    let nothing = SecretString::from(NOBODY);
    let verifier = SecretString::from("0".repeat(43));
    let answer = client
        .exchange_code(
            &credentials,
            &nothing,
            &verifier,
            &registration.redirect_url,
        )
        .await;
    let id = deployment.resource("ZoomSecret")?;
    let unknown = |why: String| {
        Finding::warn(
            CHECK,
            format!("Zoom's token endpoint can't be asked: {why}"),
            "whether the client secret is right was not seen.",
            "run this again later.",
        )
    };
    Ok(match answer {
        Err(ExchangeError::Rejected {
            code: OAuthErrorCode::InvalidClient | OAuthErrorCode::UnauthorizedClient,
            status,
        }) => Finding::fail(
            CHECK,
            format!("Zoom does not know client id and client secret (it answers {status})"),
            "no code is exchanged and no token is refreshed: nobody can connect, and within an hour no recording is \
             read. No grant is lost by it.",
            format!(
                "copy both anew from Zoom (Basic Information > App credentials), and put them:\n{}",
                deployment.aws(
                    "secretsmanager",
                    &format!("put-secret-value --secret-id {id} --secret-string file://zoom.json")
                )
            ),
        ),
        Err(ExchangeError::Rejected { status: 429, .. }) => unknown("it asks to wait".to_owned()),
        Err(ExchangeError::Rejected { .. }) | Ok(_) => {
            Finding::ok(CHECK, "Zoom knows client id and client secret")
        }
        Err(ExchangeError::Transient(outage)) => unknown(TransientError::to_string(&outage)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zooms_numbers_are_found_in_its_pages() {
        assert_eq!(
            error_number("<h1>Invalid redirect (4,709)</h1>"),
            Some("4,709")
        );
        for page in ["", "fine", "costs (4,7", "a (4,7xy) b", "(4,70é)"] {
            assert_eq!(error_number(page), None, "{page}");
        }
    }
}
