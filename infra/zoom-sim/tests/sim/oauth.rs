use reelay_zoom_sim::{
    Client, ErrorForm, Fault, GrantEndReason, NewFault, NewUser, Point, Simulator,
};
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use crate::receiver::Receiver;
use crate::{ADA, BEN, REDIRECT, at, client, get_json, header, json, sim};

const VERIFIER: &str = "synthetic-verifier-0123456789-abcdefghijklmnopqrstuvwxyz";
const OTHER_VERIFIER: &str = "another-verifier-0123456789-abcdefghijklmnopqrstuvwxyz";
const CHALLENGE: &str = "jFdLyeXA9BjFbh04RGxbCFZt9CAX0-3UMYeHSJG3V-w";

/// Requests authorization with a valid query, in which `changes` replace or add parameters.
async fn authorize(sim: &Simulator, changes: &[(&str, &str)]) -> Response {
    let valid = [
        ("response_type", "code"),
        ("client_id", "SIMclientID0000000000"),
        ("redirect_uri", REDIRECT),
        ("state", "st/ate+1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let is_kept = |(name, _): &&(&str, &str)| changes.iter().all(|(changed, _)| changed != name);
    let query: Vec<_> = valid.iter().filter(is_kept).chain(changes).collect();
    let request = client().get(at(sim, "oauth/authorize")).query(&query);
    request.send().await.expect("response")
}

/// The query with which the consent page redirects to the app.
fn callback(response: &Response) -> Vec<(String, String)> {
    assert_eq!(response.status(), StatusCode::FOUND);
    let location = header(response, "location");
    assert!(location.starts_with(REDIRECT), "{location}");
    let location = Url::parse(location).expect("URL");
    location.query_pairs().into_owned().collect()
}

async fn code(sim: &Simulator, user: &str) -> String {
    code_for(sim, user, &sim.control().settings().client_id).await
}

async fn code_for(sim: &Simulator, user: &str, client_id: &str) -> String {
    let allow = [("sim_user", user), ("sim_decision", "allow"), ("client_id", client_id)];
    let query = callback(&authorize(sim, &allow).await);
    assert_eq!(query[1], ("state".into(), "st/ate+1".into()));
    assert_eq!(query[0].0, "code");
    query[0].1.clone()
}

async fn token(sim: &Simulator, form: &[(&str, &str)]) -> (u16, Value) {
    let config = sim.control().settings();
    post(sim, "oauth/token", (&config.client_id, &config.client_secret), form).await
}

async fn post(
    sim: &Simulator,
    path: &str,
    (id, secret): (&str, &str),
    form: &[(&str, &str)],
) -> (u16, Value) {
    let request = client().post(at(sim, path)).basic_auth(id, Some(secret)).form(form);
    json(request.send().await.expect("response")).await
}

fn exchange_form(code: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ]
}

async fn exchange(sim: &Simulator, code: &str) -> (u16, Value) {
    token(sim, &exchange_form(code)).await
}

fn refresh_form(refresh_token: &str) -> [(&str, &str); 2] {
    [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
}

async fn refresh(sim: &Simulator, refresh_token: &str) -> (u16, Value) {
    token(sim, &refresh_form(refresh_token)).await
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("text")
}

async fn me(sim: &Simulator, token: &str) -> u16 {
    get_json(sim, "v2/users/me", token).await.0
}

#[tokio::test]
async fn consent_page_offers_users() {
    let sim = sim().await;
    let response = authorize(&sim, &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let policy = header(&response, "content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    let page = response.text().await.expect("page");
    let state = "name=\"state\" value=\"st/ate+1\"";
    for part in [ADA, BEN, "Northwind School", "Allow", "Deny", state] {
        assert!(page.contains(part), "{part}");
    }
}

#[tokio::test]
async fn invalid_authorization_never_redirects() {
    let sim = sim().await;
    for (name, value, code) in [
        ("redirect_uri", "http://127.0.0.1:9/zoom/callback/", "(4,709)"),
        ("redirect_uri", "javascript:alert(1)", "(4,709)"),
        ("client_id", "other", "(4,702)"),
        ("response_type", "token", "(4,700)"),
        ("code_challenge_method", "S512", "(4,700)"),
    ] {
        let response = authorize(&sim, &[("sim_decision", "allow"), (name, value)]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{value}");
        assert_eq!(header(&response, "location"), "");
        assert!(response.text().await.expect("page").contains(code));
    }
}

#[tokio::test]
async fn denial_returns_an_error() {
    let sim = sim().await;
    let denied = callback(&authorize(&sim, &[("sim_decision", "deny")]).await);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(denied, [pair("error", "access_denied"), pair("state", "st/ate+1")]);
}

#[tokio::test]
async fn exchange_returns_tokens_like_zoom() {
    let sim = sim().await;
    let (status, tokens) = exchange(&sim, &code(&sim, ADA).await).await;
    assert_eq!(status, 200, "{tokens}");
    assert!(text(&tokens, "access_token").len() > 600);
    assert_eq!(text(&tokens, "token_type"), "bearer");
    assert_eq!(tokens["expires_in"], 3599);
    assert!(text(&tokens, "scope").contains("user:read:user"));
    assert_eq!(format!("{}/", text(&tokens, "api_url")), sim.url().as_str());
    let (_, profile) = get_json(&sim, "v2/users/me", text(&tokens, "access_token")).await;
    assert_eq!(text(&profile, "id"), ADA);
}

#[tokio::test]
async fn code_works_once_and_for_five_minutes() {
    let sim = sim().await;
    let used = code(&sim, ADA).await;
    assert_eq!(exchange(&sim, &used).await.0, 200);
    let (status, body) = exchange(&sim, &used).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
    assert!(text(&body, "reason").contains(&used), "as at Zoom");

    let expired = code(&sim, ADA).await;
    sim.control().advance(301);
    assert_eq!(exchange(&sim, &expired).await.0, 400);
}

#[tokio::test]
async fn code_needs_its_verifier_and_redirect_uri() {
    let sim = sim().await;
    for (challenge, method, accepted) in
        [(CHALLENGE, "S256", VERIFIER), (VERIFIER, "plain", VERIFIER), (CHALLENGE, "plain", "")]
    {
        let consent = [
            ("sim_decision", "allow"),
            ("code_challenge", challenge),
            ("code_challenge_method", method),
        ];
        let code = callback(&authorize(&sim, &consent).await)[0].1.clone();
        for (redirect_uri, verifier) in [
            ("http://127.0.0.1:9/", VERIFIER),
            (REDIRECT, ""),
            (REDIRECT, "short"),
            (REDIRECT, OTHER_VERIFIER),
            (REDIRECT, VERIFIER),
        ] {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", redirect_uri),
                ("code_verifier", verifier),
            ];
            let is_valid = redirect_uri == REDIRECT && verifier == accepted && !accepted.is_empty();
            let status = if is_valid { 200 } else { 400 };
            assert_eq!(token(&sim, &form).await.0, status, "{method} {verifier}");
        }
    }
}

#[tokio::test]
async fn client_authenticates_by_header_or_parameters() {
    let sim = sim().await;
    let config = sim.control().settings();
    let (id, secret) = (config.client_id.as_str(), config.client_secret.as_str());
    sim.control().authorize(ADA).expect("user");
    for (basic, parameters, status) in [
        (None, None, 400),
        (Some("wrong"), None, 400),
        (None, Some("wrong"), 400),
        (Some(secret), None, 200),
        (None, Some(secret), 200),
    ] {
        let grant = sim.control().live_grant(ADA).expect("grant");
        let mut form = vec![("refresh_token", grant.refresh_token.as_str())];
        if let Some(secret) = parameters {
            form.extend([("client_id", id), ("client_secret", secret)]);
        }
        let mut request = client()
            .post(at(&sim, "oauth/token"))
            .query(&[("grant_type", "refresh_token")])
            .form(&form);
        if let Some(secret) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        let (actual, body) = json(request.send().await.expect("response")).await;
        assert_eq!(actual, status, "{basic:?} {parameters:?}");
        if status == 400 {
            assert_eq!(text(&body, "error"), "invalid_client");
            assert_eq!(text(&body, "reason"), "Invalid client_id or client_secret");
        }
    }
}

#[tokio::test]
async fn refresh_rotates_tokens() {
    let sim = sim().await;
    let (_, first) = exchange(&sim, &code(&sim, ADA).await).await;
    let (status, second) = refresh(&sim, text(&first, "refresh_token")).await;
    assert_eq!(status, 200);
    let (status, used) = refresh(&sim, text(&first, "refresh_token")).await;
    let error = (status, text(&used, "error"), text(&used, "reason"));
    assert_eq!(error, (400, "invalid_grant", "Invalid Token!"));
    let grant = sim.control().live_grant(ADA).expect("grant");
    assert_eq!((grant.refreshes, grant.refresh_token_reuses), (1, 1));

    // The access token before the newest stays valid, older ones do not.
    assert_eq!(me(&sim, text(&first, "access_token")).await, 200);
    let (_, third) = refresh(&sim, text(&second, "refresh_token")).await;
    assert_eq!(me(&sim, text(&first, "access_token")).await, 401);
    assert_eq!(me(&sim, text(&third, "access_token")).await, 200);

    sim.control().advance(3600);
    assert_eq!(me(&sim, text(&third, "access_token")).await, 401);
    sim.control().advance(90 * 86_400);
    assert_eq!(refresh(&sim, text(&third, "refresh_token")).await.0, 400);
    let requests = sim.control().requests().into_iter();
    let refreshes = requests.filter(|request| request.detail.as_deref() == Some("refresh"));
    assert_eq!(refreshes.count(), 4);
}

#[tokio::test]
async fn second_authorization_ends_the_first() {
    let sim = sim().await;
    let (_, first) = exchange(&sim, &code(&sim, ADA).await).await;
    let (_, colleague) = exchange(&sim, &code(&sim, BEN).await).await;
    let (_, second) = exchange(&sim, &code(&sim, ADA).await).await;
    assert_eq!(me(&sim, text(&first, "access_token")).await, 401);
    assert_eq!(refresh(&sim, text(&first, "refresh_token")).await.0, 400);
    assert_eq!(me(&sim, text(&second, "access_token")).await, 200);
    assert_eq!(me(&sim, text(&colleague, "access_token")).await, 200);
    let grants = sim.control().grants();
    let reasons: Vec<_> = grants.iter().map(|grant| grant.end_reason).collect();
    assert_eq!(reasons, [Some(GrantEndReason::AuthorizedAgain), None, None]);
}

#[tokio::test]
async fn revocation_uninstalls_the_app() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let (_, tokens) = exchange(&sim, &code(&sim, ADA).await).await;
    let config = sim.control().settings();
    let revoke = async || {
        let request = client()
            .post(at(&sim, "oauth/revoke"))
            .basic_auth(&config.client_id, Some(&config.client_secret))
            .form(&[("token", text(&tokens, "access_token"))]);
        json(request.send().await.expect("response")).await
    };
    let (status, body) = revoke().await;
    assert_eq!((status, body.to_string().as_str()), (200, r#"{"status":"success"}"#));
    assert_eq!(me(&sim, text(&tokens, "access_token")).await, 401);
    assert_eq!(refresh(&sim, text(&tokens, "refresh_token")).await.0, 400);
    sim.control().wait_until_settled().await;
    let event = receiver.last();
    assert!(event.is_signed());
    assert_eq!(event.json()["event"], "app_deauthorized");
    assert_eq!(event.json()["payload"]["user_id"], ADA);
    assert_eq!(revoke().await.0, 400);
}

#[tokio::test]
async fn token_faults_differ_in_their_effect() {
    let sim = sim().await;
    let grant = sim.control().authorize(ADA).expect("user");
    let arm = |fault| sim.control().arm(fault).expect("possible");
    let config = sim.control().settings();
    let fails_to_send = async || {
        let request = client()
            .post(at(&sim, "oauth/token"))
            .basic_auth(&config.client_id, Some(&config.client_secret))
            .form(&[("grant_type", "refresh_token"), ("refresh_token", &grant.refresh_token)]);
        request.send().await.is_err()
    };
    let point = Point::TokenRefresh;
    arm(NewFault::always(point, Fault::Status { status: 500 }).only_for(BEN));
    arm(NewFault::times(point, Fault::Status { status: 503 }, 1));
    assert_eq!(refresh(&sim, &grant.refresh_token).await.0, 503);
    arm(NewFault::times(point, Fault::Close, 1));
    assert!(fails_to_send().await, "not processed");
    arm(NewFault::times(point, Fault::LoseResponse, 1));
    assert!(fails_to_send().await, "processed");
    assert_eq!(refresh(&sim, &grant.refresh_token).await.0, 400);
    assert_eq!(sim.control().live_grant(ADA).expect("grant").refreshes, 1);
    let requests = sim.control().requests();
    let statuses: Vec<_> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(503), None, None, Some(400)]);
}

#[tokio::test]
async fn users_have_scopes_and_can_be_removed() {
    let sim = sim().await;
    let control = sim.control();
    let scopes = Some(vec!["user:read:user".to_owned()]);
    let new = NewUser { scopes, ..NewUser::default() };
    let user = control.create_user(new).expect("new");
    let (_, tokens) = exchange(&sim, &code(&sim, &user.id).await).await;
    assert_eq!(text(&tokens, "scope"), "user:read:user");
    let access = text(&tokens, "access_token");
    let (status, error) = get_json(&sim, "v2/users/me/recordings", access).await;
    assert_eq!((status, &error["code"]), (400, &4711.into()));
    control.remove_user(&user.id).expect("user");
    assert_eq!(refresh(&sim, text(&tokens, "refresh_token")).await.0, 400);
}

#[tokio::test]
async fn grant_belongs_to_its_client() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let other = ("SIMotherID00000000000", "SIMotherSecret000000000000000000");
    sim.control().change_settings(|config| {
        let (client_id, client_secret) = (other.0.to_owned(), other.1.to_owned());
        config.other_clients = vec![Client { client_id, client_secret }];
    });
    let kept = sim.control().authorize(ADA).expect("user");
    let code = code_for(&sim, ADA, other.0).await;
    assert_eq!(text(&exchange(&sim, &code).await.1, "error"), "invalid_grant");
    let (status, tokens) = post(&sim, "oauth/token", other, &exchange_form(&code)).await;
    assert_eq!(status, 200, "{tokens}");
    let refresh_token = text(&tokens, "refresh_token").to_owned();
    assert_eq!(text(&refresh(&sim, &refresh_token).await.1, "error"), "invalid_grant");
    let unknown = (other.0, "wrong");
    let (_, error) = post(&sim, "oauth/token", unknown, &refresh_form(&refresh_token)).await;
    assert_eq!(text(&error, "error"), "invalid_client");
    let (status, tokens) = post(&sim, "oauth/token", other, &refresh_form(&refresh_token)).await;
    assert_eq!(status, 200, "the other attempts did not consume it");

    let form = [("token", text(&tokens, "access_token"))];
    assert_eq!(post(&sim, "oauth/revoke", other, &form).await.0, 200);
    sim.control().wait_until_settled().await;
    assert_eq!(receiver.last().json()["payload"]["client_id"], other.0);
    assert_eq!(refresh(&sim, &kept.refresh_token).await.0, 200, "the app's own grant");
}

#[tokio::test]
async fn token_error_carries_zooms_number() {
    let sim = sim().await;
    let control = sim.control();
    let replaced = control.authorize(ADA).expect("user").refresh_token;
    control.authorize(ADA).expect("user");
    let removed = control.authorize(BEN).expect("user").refresh_token;
    control.remove_user(BEN).expect("user");
    assert_eq!(
        refresh(&sim, &replaced).await.1.to_string(),
        r#"{"error":"invalid_grant","reason":"Invalid Token!"}"#,
        "without a form as captured at Zoom"
    );
    for (form, name) in [
        (ErrorForm::Oauth, "errorCode"),
        (ErrorForm::Api, "code"),
        (ErrorForm::Result, "errorCode"),
    ] {
        control.change_settings(|config| config.token_error_form = Some(form));
        for (token, code) in [(replaced.as_str(), 4741), (removed.as_str(), 4735), ("", 4737)] {
            let (status, body) = refresh(&sim, token).await;
            assert_eq!((status, &body[name]), (400, &code.into()), "{body}");
        }
        let fault = Fault::ErrorCode { status: 401, code: 4717, form };
        control.arm(NewFault::times(Point::TokenRefresh, fault, 1)).expect("possible");
        let (status, body) = refresh(&sim, &replaced).await;
        assert_eq!((status, &body[name]), (401, &4717.into()), "{body}");
    }
}

#[tokio::test]
async fn users_me_fails_for_one_user() {
    let sim = sim().await;
    let ada = sim.control().authorize(ADA).expect("user").access_token;
    let ben = sim.control().authorize(BEN).expect("user").access_token;
    let no_user = Fault::ErrorCode { status: 404, code: 1001, form: ErrorForm::Api };
    let omit = Fault::OmitField { field: "account_id".into() };
    for (fault, status, code) in [
        (Fault::Status { status: 403 }, 403, Value::from(403)),
        (Fault::Status { status: 400 }, 400, Value::from(400)),
        (no_user, 404, Value::from(1001)),
        (omit, 200, Value::Null),
    ] {
        let fault = NewFault::times(Point::UsersMe, fault, 1).only_for(ADA);
        sim.control().arm(fault).expect("possible");
        assert_eq!(me(&sim, &ben).await, 200);
        let (actual, body) = get_json(&sim, "v2/users/me", &ada).await;
        assert_eq!((actual, &body["code"]), (status, &code));
        assert_eq!(body["account_id"], Value::Null);
    }
    assert_eq!(me(&sim, &ada).await, 200);
    let anywhere = NewFault::always(Point::Revoke, Fault::OmitField { field: "id".into() });
    assert!(sim.control().arm(anywhere).is_err());
}
