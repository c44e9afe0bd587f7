//! Whole functions, from API Gateway's event to the response, against a nearly empty AWS. It covers the parsing
//! inside the functions.

use std::collections::HashMap;

use app_api::AppApi;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Body, Request, Response, Service as _};
use oauth_callback::OauthCallback;
use reelay_domain::browser_secret::{BrowserSecret, COOKIE};
use reelay_domain::keys::SecretVersions;
use reelay_domain::pkce;
use reelay_domain::signed_state::{self, Nonce};
use reelay_runtime::environment::{Environment, Variables};
use reelay_runtime::http::pages::{ErrorPage, Pages};
use reelay_runtime::http::response::Problem;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::loopback::{self, Received, Reply};
use crate::oracle::{fields, text};
use crate::tokens::hmac;

const STATE_KEY: &str = "the state key of forty-four characters, or so";
const APP_SECRET: &str = "the app secret of forty-four characters, or so";
const RETURN_TO: &str = "https://app.example/settings?tab=zoom";
const INSTALL_URL: &str = "https://app.example/install";
const NONCE: [u8; 16] = [5; 16];
const BROWSER: [u8; 32] = [6; 32];

thread_local! {
    static FUNCTIONS: Functions = Functions::start();
}

struct Functions {
    runtime: Runtime,
    app_api: AppApi,
    oauth_callback: OauthCallback,
    pages: Pages,
}

impl Functions {
    fn start() -> Self {
        let aws = loopback::serve(aws);
        let zoom = loopback::serve(|_| loopback::reply(400, r#"{"error":"invalid_grant"}"#));
        let environment = environment(aws, zoom);
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            app_api: AppApi::new(&environment).unwrap(),
            oauth_callback: OauthCallback::new(&environment).unwrap(),
            pages: Pages::new(&environment.variables).unwrap(),
        }
    }

    /// Invokes a function; returns none if API Gateway cannot create such an event.
    fn invoke<F>(&self, event: Value, handle: impl Fn(Request) -> F + Send) -> Option<Value>
    where
        F: Future<Output = Response<Body>> + Send,
    {
        let request: LambdaRequest = serde_json::from_value(event).ok()?;
        let mut service =
            reelay_runtime::http::service(handle, || Problem::Unavailable.into_response());
        let call = service.call(LambdaEvent::new(request, Context::default()));
        let response = self.runtime.block_on(call).unwrap();
        Some(serde_json::to_value(response).unwrap())
    }
}

fn environment(aws: u16, zoom: u16) -> Environment {
    let (aws, zoom) = (format!("http://127.0.0.1:{aws}"), format!("http://127.0.0.1:{zoom}"));
    let mut variables: HashMap<String, String> = [
        ("AWS_ENDPOINT_URL", aws.as_str()),
        ("ZOOM_OAUTH_URL", &zoom),
        ("ZOOM_API_URL", &zoom),
        ("INSTALL_URL", INSTALL_URL),
        ("RETURN_URLS", RETURN_TO),
        ("BACKFILL_DAYS", "0"),
        ("RECONCILE_EVERY_HOURS", "24"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for name in [
        "STATE_KEY",
        "APP_SECRET",
        "ZOOM_SECRET",
        "TOKEN_KEY_ID",
        "SESSIONS_TABLE",
        "LINKS_TABLE",
        "RECORDINGS_TABLE",
        "NOTIFICATIONS_TABLE",
        "BUCKET",
    ] {
        variables.insert(name.to_owned(), name.to_owned());
    }
    for name in ["NOTIFICATIONS", "DOWNLOADS", "JOBS"] {
        variables.insert(format!("{name}_QUEUE_URL"), format!("{aws}/1/{name}"));
    }
    let credentials = Credentials::new("id", "secret", None, None, "fuzz");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Environment { variables: Variables::new(variables), sdk, clock: Default::default() }
}

/// AWS with the secrets, one connect session of one browser, and otherwise empty tables that accept writes.
fn aws(request: &Received) -> Reply {
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let target = request.headers().get("x-amz-target");
    let target = target.map_or("", |value| value.to_str().unwrap());
    let operation = target.split('.').nth(1).unwrap_or_default();
    let mut status = 200;
    let response = match operation {
        "GetSecretValue" if body["VersionStage"] == "AWSCURRENT" => {
            let secret = match body["SecretId"].as_str().unwrap() {
                "STATE_KEY" => STATE_KEY.to_owned(),
                "APP_SECRET" => APP_SECRET.to_owned(),
                _ => json!({"client_id": "id", "client_secret": "s", "webhook_secret": "w"})
                    .to_string(),
            };
            json!({"Name": "n", "SecretString": secret})
        }
        "GetSecretValue" => {
            status = 400;
            json!({"__type": "ResourceNotFoundException"})
        }
        "DeleteItem" if body["ConditionExpression"] == "browser_hash = :browser" => {
            let browser_hash = &body["ExpressionAttributeValues"][":browser"]["S"];
            if *browser_hash == BrowserSecret::from_random(BROWSER).hash() {
                json!({"Attributes": session()})
            } else {
                status = 400;
                json!({"__type": "ConditionalCheckFailedException", "Item": session()})
            }
        }
        "Query" => json!({"Items": [], "Count": 0, "ScannedCount": 0}),
        "SendMessage" => json!({"MessageId": "m"}),
        "GenerateDataKey" => {
            json!({"KeyId": "k", "Plaintext": STANDARD.encode([1; 32]), "CiphertextBlob": "Yw=="})
        }
        _ => json!({}),
    };
    let mut reply = loopback::reply(status, response.to_string());
    loopback::add_header(&mut reply, "content-type", b"application/x-amz-json-1.0");
    reply
}

fn session() -> Value {
    let verifier = pkce::verifier(&STATE_KEY.into(), &Nonce::from_random(NONCE));
    json!({
        "id": {"S": "session#x"},
        "app_user": {"S": "alice"},
        "return_to": {"S": RETURN_TO},
        "redirect_uri": {"S": "https://reelay.example/zoom/callback"},
        "browser_hash": {"S": BrowserSecret::from_random(BROWSER).hash()},
        "code_challenge": {"S": pkce::challenge(&verifier)},
        "expires_at": {"N": "99999999999"},
    })
}

/// Builds the event that API Gateway sends for a request.
fn event(
    method: &str,
    path: &str,
    query: &str,
    headers: Value,
    cookies: &str,
    body: &[u8],
) -> Value {
    let text = std::str::from_utf8(body).ok();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "cookies": cookies.split(';').map(str::trim).collect::<Vec<_>>(),
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "a.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "a", "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 1,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "f"},
        },
        "body": text.map_or_else(|| STANDARD.encode(body), str::to_owned),
        "isBase64Encoded": text.is_none(),
    })
}

fn header<'a>(response: &'a Value, name: &str) -> Option<&'a str> {
    response["headers"][name].as_str().or_else(|| response["multiValueHeaders"][name][0].as_str())
}

/// Asserts the headers that every response has.
fn assert_security_headers(response: &Value) {
    assert_eq!(header(response, "cache-control"), Some("no-store"), "{response}");
    assert_eq!(header(response, "referrer-policy"), Some("no-referrer"), "{response}");
    assert_eq!(header(response, "x-content-type-options"), Some("nosniff"), "{response}");
}

/// `GET /zoom/callback`: each response follows the contract and repeats nothing of the request, and only a valid
/// state in the right browser redirects to the app. An input's `{state}` and `{cookie}` become valid ones.
pub fn callback(input: &[u8]) {
    let [query, cookie, host, proto] = fields(input).map(text);
    let keys = SecretVersions::single(STATE_KEY);
    let state = signed_state::sign(&keys, &Nonce::from_random(NONCE), Timestamp::now());
    let valid_cookie = format!("{COOKIE}={}", URL_SAFE_NO_PAD.encode(BROWSER));
    let (has_state, has_cookie) = (query.contains("{state}"), cookie.contains("{cookie}"));
    let query = query.replace("{state}", &state);
    let cookie = cookie.replace("{cookie}", &valid_cookie);
    let headers = json!({"host": host, "x-forwarded-proto": proto});
    let event = event("GET", "/zoom/callback", &query, headers, &cookie, b"");
    FUNCTIONS.with(|functions| {
        let response = functions.invoke(event, |request| functions.oauth_callback.handle(request));
        let Some(response) = response else {
            return;
        };
        assert_security_headers(&response);
        assert_eq!(header(&response, "set-cookie"), None, "{response}");
        let code = header(&response, "x-reelay-error").unwrap_or_default();
        match (response["statusCode"].as_u64(), header(&response, "location")) {
            // An installation from the Marketplace has a code but no state.
            (Some(302), Some(INSTALL_URL)) => assert!(query.contains('=')),
            (Some(302), Some(location)) => {
                assert!(has_state && has_cookie, "{query} {cookie} redirected to the app");
                let error = location.strip_prefix(RETURN_TO).unwrap();
                let known = ["&zoom_error=access_denied", "&zoom_error=zoom_rejected_code"];
                assert!(known.contains(&error), "{location}");
            }
            (Some(400), None) => {
                // The page depends on the error code only.
                let page = PAGES.into_iter().find(|page| page.code() == code);
                let page = page.unwrap_or_else(|| panic!("{response}"));
                let page = functions.pages.error(page, None);
                assert_eq!(
                    response["body"].as_str().map(str::as_bytes),
                    Some(page.body().as_ref())
                );
                assert!(code != "wrong_browser" || has_state, "a forged state matched a session");
            }
            _ => panic!("{response}"),
        }
    });
}

/// Error pages of the callback.
const PAGES: [ErrorPage; 5] = [
    ErrorPage::StateInvalid,
    ErrorPage::SessionExpired,
    ErrorPage::SessionSpent,
    ErrorPage::WrongBrowser,
    ErrorPage::AccessDenied,
];

/// `/v1`: each response follows the contract, and only `/healthz` succeeds without a valid token. An input's
/// `{token}` becomes a valid one.
pub fn api(input: &[u8]) {
    let [method, path, query, authorization, body] = fields(input);
    let [method, path, query, authorization] = [method, path, query, authorization].map(text);
    let now = Timestamp::now().as_second();
    let claims = json!({"aud": "reelay:api", "sub": "alice", "iat": now, "exp": now + 300});
    let [header_part, claims] = [r#"{"alg":"HS256"}"#.to_owned(), claims.to_string()]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header_part}.{claims}");
    let token = format!("{message}.{}", hmac(APP_SECRET, &message));
    let has_token = authorization.contains("{token}");
    let authorization = authorization.replace("{token}", &token);
    if method.is_empty() {
        // HTTP requires a method.
        return;
    }
    let path = format!("/{}", path.trim_start_matches('/'));
    let headers = json!({"authorization": authorization, "content-type": "application/json"});
    let event = event(method, &path, query, headers, "", body);
    FUNCTIONS.with(|functions| {
        let response = functions.invoke(event, |request| functions.app_api.handle(request));
        let Some(response) = response else {
            return;
        };
        assert_security_headers(&response);
        let status = response["statusCode"].as_u64().unwrap();
        assert!([200, 202, 204, 400, 401, 403, 404, 405, 409, 410].contains(&status), "{response}");
        assert!(!response.to_string().contains(&message), "the response repeats the token");
        if !has_token {
            let is_health =
                method == "GET" && status == 200 && response["body"] == r#"{"status":"ok"}"#;
            assert!(is_health || [401, 404, 405].contains(&status), "{response}");
        }
        if status >= 400 {
            assert_problem(&response, status);
        }
        // Routing is only predictable without percent-encoding and dot segments.
        let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b));
        if is_plain {
            let allowed = methods(&path);
            assert_eq!(
                allowed.is_empty(),
                is_problem(&response, "route_not_found"),
                "{path} {response}"
            );
            let is_rejected = !allowed.is_empty() && !allowed.contains(&method);
            assert_eq!(is_rejected, status == 405, "{method} {path} {response}");
        }
    });
}

fn is_problem(response: &Value, code: &str) -> bool {
    let body = response["body"].as_str().unwrap_or_default();
    serde_json::from_str::<Value>(body).is_ok_and(|problem| problem["code"] == code)
}

fn assert_problem(response: &Value, status: u64) {
    assert_eq!(header(response, "content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:reelay:problem:{code}"));
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    let codes: &[&str] = match status {
        400 => &["request_invalid", "cursor_invalid"],
        401 => &["token_missing", "token_invalid"],
        403 => &["claim_belongs_to_another_user"],
        404 => &["link_not_found", "recording_not_found", "route_not_found"],
        405 => &["method_not_allowed"],
        409 => &["no_active_link"],
        _ => &["claim_expired"],
    };
    assert!(codes.iter().any(|code| problem["code"] == *code), "{problem}");
}

/// Methods of a path according to the contract.
fn methods(path: &str) -> &'static [&'static str] {
    let id = |text: &str| !text.is_empty() && !text.contains('/');
    match path {
        "/healthz" | "/v1/links" | "/v1/notifications" | "/v1/recordings" => return &["GET"],
        "/v1/links/confirm" => return &["POST", "DELETE"],
        "/v1/backfill" => return &["POST"],
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/v1/recordings/") {
        return match rest.strip_suffix("/download") {
            Some(recording) if id(recording) => &["POST"],
            None if id(rest) => &["GET", "DELETE"],
            _ => &[],
        };
    }
    let Some(rest) = path.strip_prefix("/v1/links/") else {
        return &[];
    };
    match rest.strip_suffix("/reconciliation") {
        Some(link) if id(link) => &["GET"],
        None if id(rest) => &["DELETE"],
        _ => &[],
    }
}
