use reelay_zoom_sim::{Fault, GrantEndReason, NewFault, NewUser, Point, Simulator};
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use crate::receiver::Receiver;
use crate::{ADA, BEN, REDIRECT, at, client, get_json, sim};

const VERIFIER: &str = "synthetic-verifier-0123456789-abcdefghijklmnopqrstuvwxyz";
const CHALLENGE: &str = "jFdLyeXA9BjFbh04RGxbCFZt9CAX0-3UMYeHSJG3V-w";

fn query<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut query = vec![
        ("response_type", "code"),
        ("client_id", "SIMclientID0000000000"),
        ("redirect_uri", REDIRECT),
        ("state", "st/ate+1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    query.extend(more);
    query
}

async fn authorize(sim: &Simulator, query: &[(&str, &str)]) -> Response {
    client()
        .get(at(sim, "oauth/authorize"))
        .query(query)
        .send()
        .await
        .expect("answer")
}

fn back(response: &Response) -> Vec<(String, String)> {
    assert_eq!(response.status(), StatusCode::FOUND);
    let location = response.headers()["location"].to_str().expect("text");
    assert!(location.starts_with(REDIRECT), "{location}");
    Url::parse(location)
        .expect("URL")
        .query_pairs()
        .into_owned()
        .collect()
}

async fn code(sim: &Simulator, user: &str) -> String {
    let pairs = back(
        &authorize(
            sim,
            &query(&[("sim_user", user), ("sim_decision", "allow")]),
        )
        .await,
    );
    assert_eq!(pairs[1], ("state".into(), "st/ate+1".into()));
    assert_eq!(pairs[0].0, "code");
    pairs[0].1.clone()
}

async fn token(sim: &Simulator, form: &[(&str, &str)]) -> (u16, Value) {
    let config = sim.control().settings();
    let request = client()
        .post(at(sim, "oauth/token"))
        .basic_auth(config.client_id, Some(config.client_secret))
        .form(form);
    let response = request.send().await.expect("answer");
    (
        response.status().as_u16(),
        response.json().await.expect("JSON"),
    )
}

async fn exchange(sim: &Simulator, code: &str) -> (u16, Value) {
    token(
        sim,
        &[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ],
    )
    .await
}

async fn refresh(sim: &Simulator, refresh_token: &str) -> (u16, Value) {
    token(
        sim,
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ],
    )
    .await
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("text")
}

async fn me(sim: &Simulator, token: &str) -> u16 {
    get_json(sim, "v2/users/me", token).await.0
}

#[tokio::test]
async fn consent_page_offers_the_users() {
    let sim = sim().await;
    let response = authorize(&sim, &query(&[])).await;
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = response.text().await.expect("page");
    for part in [
        ADA,
        BEN,
        "Northwind School",
        "Allow",
        "Deny",
        "name=\"state\" value=\"st/ate+1\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[tokio::test]
async fn bad_requests_never_redirect() {
    let sim = sim().await;
    let with = |name: &'static str, value: &'static str| {
        let mut query = query(&[("sim_decision", "allow")]);
        query
            .iter_mut()
            .filter(|(key, _)| *key == name)
            .for_each(|(_, held)| *held = value);
        query
    };
    let cases = [
        (
            with("redirect_uri", "http://127.0.0.1:9/zoom/callback/"),
            "(4,709)",
        ),
        (with("redirect_uri", "javascript:alert(1)"), "(4,709)"),
        (with("client_id", "other"), "(4,702)"),
        (with("response_type", "token"), "(4,700)"),
        (with("code_challenge_method", "S512"), "(4,700)"),
    ];
    for (query, shown) in cases {
        let response = authorize(&sim, &query).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(response.headers().get("location").is_none());
        assert!(
            response.text().await.expect("page").contains(shown),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn denial_comes_back_as_an_error() {
    let sim = sim().await;
    let denied = query(&[("sim_decision", "deny")]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        back(&authorize(&sim, &denied).await),
        [pair("error", "access_denied"), pair("state", "st/ate+1")]
    );
    sim.control()
        .change_settings(|config| config.denial_carries_state = false);
    assert_eq!(
        back(&authorize(&sim, &denied).await),
        [pair("error", "access_denied")]
    );
}

#[tokio::test]
async fn an_exchange_gives_tokens_in_zooms_form() {
    let sim = sim().await;
    let (status, body) = exchange(&sim, &code(&sim, ADA).await).await;
    assert_eq!(status, 200, "{body}");
    assert!(text(&body, "access_token").len() > 600);
    assert_eq!(text(&body, "token_type"), "bearer");
    assert_eq!(body["expires_in"], 3599);
    assert!(text(&body, "scope").contains("user:read:user"));
    assert_eq!(format!("{}/", text(&body, "api_url")), sim.url().as_str());
    let (_, profile) = get_json(&sim, "v2/users/me", text(&body, "access_token")).await;
    assert_eq!(text(&profile, "id"), ADA);
}

#[tokio::test]
async fn codes_work_once_in_time_and_with_their_verifier() {
    let sim = sim().await;
    let used = code(&sim, ADA).await;
    assert_eq!(exchange(&sim, &used).await.0, 200);
    let (status, body) = exchange(&sim, &used).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
    assert!(text(&body, "reason").contains(&used));

    let late = code(&sim, ADA).await;
    sim.control().advance(301);
    assert_eq!(exchange(&sim, &late).await.0, 400);

    let held = code(&sim, ADA).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", held.as_str()),
        ("redirect_uri", REDIRECT),
    ];
    assert_eq!(token(&sim, &form).await.0, 400, "no verifier");
    let other = "another-verifier-0123456789-abcdefghijklmnopqrstuvwxyz";
    assert_eq!(
        token(&sim, &[&form[..], &[("code_verifier", other)]].concat())
            .await
            .0,
        400
    );
    let elsewhere = [
        ("grant_type", "authorization_code"),
        ("code", held.as_str()),
        ("redirect_uri", "http://127.0.0.1:9/"),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(token(&sim, &elsewhere).await.0, 400);
    assert_eq!(exchange(&sim, &held).await.0, 200, "refusals spend nothing");
}

#[tokio::test]
async fn clients_must_prove_themselves_in_either_way() {
    let sim = sim().await;
    let config = sim.control().settings();
    let grant = sim.control().authorize(ADA).expect("user");
    let url = at(&sim, "oauth/token");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", grant.refresh_token.as_str()),
    ];
    let wrong = client()
        .post(&url)
        .basic_auth(&config.client_id, Some("wrong"))
        .form(&form)
        .send()
        .await
        .expect("answer");
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let body: Value = wrong.json().await.expect("JSON");
    assert_eq!(
        (text(&body, "error"), text(&body, "reason")),
        ("invalid_client", "Invalid client_id or client_secret")
    );
    assert_eq!(
        client()
            .post(&url)
            .form(&form)
            .send()
            .await
            .expect("answer")
            .status(),
        StatusCode::BAD_REQUEST
    );

    let own = [
        ("client_id", config.client_id.as_str()),
        ("client_secret", config.client_secret.as_str()),
    ];
    let in_body = client()
        .post(&url)
        .form(&[&form[..], &own].concat())
        .send()
        .await
        .expect("answer");
    assert_eq!(in_body.status(), StatusCode::OK);
    let rotated = sim.control().live_grant(ADA).expect("grant").refresh_token;
    let in_query = client()
        .post(&url)
        .basic_auth(&config.client_id, Some(&config.client_secret));
    let in_query = in_query
        .query(&[("grant_type", "refresh_token"), ("refresh_token", &rotated)])
        .send()
        .await
        .expect("answer");
    assert_eq!(in_query.status(), StatusCode::OK);
}

#[tokio::test]
async fn refreshing_rotates() {
    let sim = sim().await;
    let (_, first) = exchange(&sim, &code(&sim, ADA).await).await;
    let (status, second) = refresh(&sim, text(&first, "refresh_token")).await;
    assert_eq!(status, 200);
    let (status, dead) = refresh(&sim, text(&first, "refresh_token")).await;
    assert_eq!(
        (status, text(&dead, "error"), text(&dead, "reason")),
        (400, "invalid_grant", "Invalid Token!")
    );

    // One older access token is tolerated, the one before it is not.
    assert_eq!(me(&sim, text(&first, "access_token")).await, 200);
    let (_, third) = refresh(&sim, text(&second, "refresh_token")).await;
    assert_eq!(me(&sim, text(&first, "access_token")).await, 401);
    assert_eq!(me(&sim, text(&third, "access_token")).await, 200);

    sim.control().advance(3600);
    assert_eq!(me(&sim, text(&third, "access_token")).await, 401);
    sim.control().advance(90 * 86_400);
    assert_eq!(
        refresh(&sim, text(&third, "refresh_token")).await.0,
        400,
        "90 days"
    );
    let refreshes = sim
        .control()
        .requests()
        .into_iter()
        .filter(|request| request.detail.as_deref() == Some("refresh"))
        .count();
    assert_eq!(refreshes, 4);
}

#[tokio::test]
async fn a_second_authorization_kills_the_first() {
    let sim = sim().await;
    let (_, first) = exchange(&sim, &code(&sim, ADA).await).await;
    let (_, colleague) = exchange(&sim, &code(&sim, BEN).await).await;
    let (_, second) = exchange(&sim, &code(&sim, ADA).await).await;
    assert_eq!(me(&sim, text(&first, "access_token")).await, 401);
    assert_eq!(refresh(&sim, text(&first, "refresh_token")).await.0, 400);
    assert_eq!(me(&sim, text(&second, "access_token")).await, 200);
    assert_eq!(me(&sim, text(&colleague, "access_token")).await, 200);
    let deaths: Vec<_> = sim
        .control()
        .grants()
        .iter()
        .map(|grant| grant.death)
        .collect();
    assert_eq!(deaths, [Some(GrantEndReason::AuthorizedAgain), None, None]);
}

#[tokio::test]
async fn revoking_uninstalls() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let (_, tokens) = exchange(&sim, &code(&sim, ADA).await).await;
    let config = sim.control().settings();
    let revoke = |token: String| {
        client()
            .post(at(&sim, "oauth/revoke"))
            .basic_auth(&config.client_id, Some(&config.client_secret))
            .form(&[("token", token)])
            .send()
    };
    let response = revoke(text(&tokens, "access_token").into())
        .await
        .expect("answer");
    assert_eq!(
        response.text().await.expect("body"),
        r#"{"status":"success"}"#
    );
    assert_eq!(me(&sim, text(&tokens, "access_token")).await, 401);
    assert_eq!(refresh(&sim, text(&tokens, "refresh_token")).await.0, 400);
    sim.control().wait_until_settled().await;
    let event = receiver.last();
    assert!(event.is_signed());
    assert_eq!(event.json()["event"], "app_deauthorized");
    assert_eq!(event.json()["payload"]["user_id"], ADA);
    assert_eq!(
        event.json()["payload"]["client_id"],
        "SIMclientID0000000000"
    );
    assert_eq!(
        revoke(text(&tokens, "access_token").into())
            .await
            .expect("answer")
            .status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_lost_answer_has_rotated_all_the_same() {
    let sim = sim().await;
    let grant = sim.control().authorize(ADA).expect("user");
    sim.control()
        .arm(NewFault::times(Point::TokenRefresh, Fault::LoseResponse, 1))
        .expect("armed");
    let config = sim.control().settings();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", grant.refresh_token.as_str()),
    ];
    let sent = client()
        .post(at(&sim, "oauth/token"))
        .basic_auth(config.client_id, Some(config.client_secret))
        .form(&form)
        .send()
        .await;
    assert!(sent.is_err(), "the connection was closed");
    assert_eq!(
        refresh(&sim, &grant.refresh_token).await.0,
        400,
        "the old token is dead"
    );
    assert_eq!(sim.control().live_grant(ADA).expect("alive").refreshes, 1);
    let seen: Vec<_> = sim
        .control()
        .requests()
        .into_iter()
        .map(|request| (request.detail, request.status))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("refresh".into()), None),
            (Some("refresh".into()), Some(400))
        ]
    );
}

#[tokio::test]
async fn faults_of_the_token_endpoint() {
    let sim = sim().await;
    let grant = sim.control().authorize(ADA).expect("user");
    sim.control()
        .arm(NewFault::times(
            Point::TokenRefresh,
            Fault::Status { status: 503 },
            1,
        ))
        .expect("armed");
    assert_eq!(refresh(&sim, &grant.refresh_token).await.0, 503);
    let about_ben = NewFault::always(Point::TokenRefresh, Fault::Status { status: 500 }).about(BEN);
    sim.control().arm(about_ben).expect("armed");
    sim.control()
        .arm(NewFault::times(Point::TokenRefresh, Fault::Close, 1))
        .expect("armed");
    let request = client()
        .post(at(&sim, "oauth/token"))
        .form(&[("grant_type", "refresh_token")])
        .send()
        .await;
    assert!(request.is_err());
    assert_eq!(
        refresh(&sim, &grant.refresh_token).await.0,
        200,
        "nothing had happened"
    );
}

#[tokio::test]
async fn removed_users_and_own_scopes() {
    let sim = sim().await;
    let scopes = Some(vec!["user:read:user".to_owned()]);
    let user = sim
        .control()
        .create_user(NewUser {
            scopes,
            ..NewUser::default()
        })
        .expect("new");
    let (_, tokens) = exchange(&sim, &code(&sim, &user.id).await).await;
    assert_eq!(text(&tokens, "scope"), "user:read:user");
    let (status, refused) = get_json(
        &sim,
        "v2/users/me/recordings",
        text(&tokens, "access_token"),
    )
    .await;
    assert_eq!((status, &refused["code"]), (400, &4711.into()));
    sim.control().remove_user(&user.id).expect("known");
    assert_eq!(refresh(&sim, text(&tokens, "refresh_token")).await.0, 400);
}
