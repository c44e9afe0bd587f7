//! Responses to browsers and to Zoom's webhooks.

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, Point};
use serde_json::json;
use support::zoom::completed_event;
use support::zoom_users::ADA;
use support::{Browser, System};

use super::{Transcript, break_aws, repair_aws};
use crate::linking::with_parameter;

#[tokio::test]
async fn connect_responses() {
    let system = System::start().await;
    let app = &system.app;
    let mut seen = Transcript::default();
    let connect = async |token: &str| system.browser().visit(&app.connect_url(token)).await;

    let spent = app.connect_token_with("alice", json!({"jti": "once"}));
    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &spent).await;
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&callback).await.claim();
    app.confirm("alice", &claim).await;
    let elsewhere = json!({"return_to": "https://elsewhere.test/"});
    let expired = app.connect_token("alice");

    seen.visit("redirect to Zoom", &connect(&app.connect_token("alice")).await);
    for (title, token) in [
        ("invalid token", "x.y.z".to_owned()),
        ("consumed jti", spent),
        ("return_to not listed", app.connect_token_with("alice", elsewhere)),
    ] {
        seen.visit(title, &connect(&token).await);
    }
    let token = app.connect_token("alice");
    break_aws(&system, Service::DynamoDb, "PutItem");
    seen.visit("DynamoDB fails", &connect(&token).await);
    repair_aws(&system);
    system.advance(SignedDuration::from_mins(7));
    seen.visit("expired token", &connect(&expired).await);
    seen.assert("connect");
}

/// The callback URL after a consent, not yet visited.
async fn callback_url(system: &System, browser: &mut Browser) -> String {
    system.callback(browser, "alice", ADA).await
}

#[tokio::test]
async fn callback_responses() {
    let system = System::start().await;
    let (mut seen, mut browser) = (Transcript::default(), system.browser());
    let url = |query: &str| format!("{}/zoom/callback{query}", system.stack.url());

    let callback = callback_url(&system, &mut browser).await;
    seen.visit("another browser", &system.browser().visit(&callback).await);
    seen.visit("consent", &browser.visit(&callback).await);
    seen.visit("consumed session", &browser.visit(&callback).await);
    let callback = callback_url(&system, &mut browser).await;
    let forged = with_parameter(&callback, "state", "forged");
    for (title, url) in [
        ("no parameters", url("")),
        ("repeated parameter", url("?code=a&code=b&state=c")),
        ("forged state", forged),
        ("error without state", url("?error=access_denied")),
        ("code without state", url("?code=a")),
    ] {
        seen.visit(title, &browser.visit(&url).await);
    }
    let authorize = system.authorize(&mut browser, &system.app.connect_token("alice")).await;
    let denied = system.deny(&mut browser, &authorize).await;
    seen.visit("declined at Zoom", &browser.visit(&denied).await);
    for (title, point, fault) in [
        ("exchange fails with 500", Point::TokenExchange, Fault::Status { status: 500 }),
        ("exchange fails with 400", Point::TokenExchange, Fault::Status { status: 400 }),
        ("users/me fails with 500", Point::UsersMe, Fault::Status { status: 500 }),
    ] {
        let callback = callback_url(&system, &mut browser).await;
        system.fail_next(point, fault, 1);
        seen.visit(title, &browser.visit(&callback).await);
    }
    let scopes = Some(vec!["user:read:user".into()]);
    system.zoom().set_scopes(ADA, scopes).unwrap();
    let callback = callback_url(&system, &mut browser).await;
    seen.visit("missing scope", &browser.visit(&callback).await);

    let callback = callback_url(&system, &mut browser).await;
    break_aws(&system, Service::DynamoDb, "UpdateItem");
    seen.visit("DynamoDB fails", &browser.visit(&callback).await);
    repair_aws(&system);
    system.advance(SignedDuration::from_mins(11));
    seen.visit("expired session", &browser.visit(&callback).await);

    let system = System::with(&[("InstallUrl", "https://app.test/install")]).await;
    let install = format!("{}/zoom/callback?code=a", system.stack.url());
    let visit = system.browser().visit(&install).await;
    seen.visit("code without state, with InstallUrl", &visit);
    seen.assert("callback");
}

#[tokio::test]
async fn webhook_responses() {
    let system = System::start().await;
    let (mut seen, secret) = (Transcript::default(), system.webhook_secret());
    let event = completed_event("AcctAAAAAAAAAAAAAAAAAA", ADA, "Zm9v", &[]);
    let validation =
        br#"{"event":"endpoint.url_validation","payload":{"plainToken":"plain"}}"#.as_slice();
    for path in ["/zoom/webhook", "/zoom/deauthorize"] {
        let mut post = async |title: &str, body: &[u8], secret: &str| {
            let response = system.post_signed(path, body, secret).await;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.text().await.unwrap();
            seen.response(&format!("{path}: {title}"), status, &headers, &body);
        };
        post("event", &event, &secret).await;
        post("unknown event", br#"{"event":"meeting.started"}"#, &secret).await;
        post("URL validation", validation, &secret).await;
        post("not an event", b"[]", &secret).await;
        post("wrong signature", &event, "wrong").await;
        break_aws(&system, Service::Sqs, "SendMessage");
        post("SQS fails", &event, &secret).await;
        repair_aws(&system);
    }
    seen.assert("webhook");
}
