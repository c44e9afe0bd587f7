//! Tokens, routes and bodies.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use jiff::SignedDuration;
use jsonwebtoken::Header;
use reelay_zoom_sim::{NewFile, NewRecording};
use reqwest::Method;
use serde_json::json;
use support::System;
use support::zoom_users::ADA;

use super::assert_problem;

#[tokio::test]
async fn only_health_check_needs_no_token() {
    let system = System::start().await;
    for (method, path) in [
        (Method::GET, "/v1/links"),
        (Method::POST, "/v1/links/confirm"),
        (Method::GET, "/v1/recordings"),
        (Method::GET, "/v1/recordings/abc"),
        (Method::POST, "/v1/recordings/abc/download"),
    ] {
        let response = system.app.call_with(method, path, None, None).await;
        assert_problem(&response, 401, "token_missing", path);
        assert_eq!(response.headers["www-authenticate"], "Bearer", "{path}");
    }
    let nothing = system.app.call_with(Method::GET, "/v1/links", Some(""), None).await;
    assert_problem(&nothing, 401, "token_missing", "empty Bearer");
    let health = system.app.call_with(Method::GET, "/healthz", None, None).await;
    assert_eq!(health.status, 200, "{health:?}");
}

#[tokio::test]
async fn verification_file_needs_configured_code() {
    let file = "/zoomverify/verifyzoom.html";
    let system = System::with(&[("ZoomVerificationCode", "0123-abc_DEF")]).await;
    let response = system.app.call_with(Method::GET, file, None, None).await;
    assert_eq!((response.status, &*response.body), (200, "0123-abc_DEF"));
    assert!(response.content_type.starts_with("text/html"), "{response:?}");

    let system = System::start().await;
    let response = system.app.call_with(Method::GET, file, None, None).await;
    assert_problem(&response, 404, "route_not_found", "no code");
}

#[tokio::test]
async fn invalid_api_token_is_rejected() {
    let system = System::start().await;
    let app = &system.app;
    let claims = app.claims("reelay:api", "alice");
    let forged = app.sign_with(&claims, &Header::default(), "attacker");
    for token in [forged.as_str(), "a.b.c"] {
        let response = app.get_with("/v1/links", token).await;
        assert_problem(&response, 401, "token_invalid", token);
        assert_eq!(response.headers["www-authenticate"], "Bearer", "{token}");
    }
}

#[tokio::test]
async fn rejected_claim_is_named() {
    let system = System::start().await;
    let mut claims = system.app.claims("reelay:api", "alice");
    for (claim, value) in [("sub", json!(12345)), ("iat", json!("now")), ("exp", json!(null))] {
        let valid = std::mem::replace(&mut claims[claim], value);
        let response = system.app.get_with("/v1/links", &system.app.sign(&claims)).await;
        assert_problem(&response, 401, "token_invalid", claim);
        assert!(response.body.contains(&format!("The claim `{claim}` is ")), "{response:?}");
        claims[claim] = valid;
    }
}

#[tokio::test]
async fn expired_api_token_is_rejected() {
    let system = System::start().await;
    let token = system.app.api_token("alice");
    let links = async || system.app.get_with("/v1/links", &token).await;
    system.advance(SignedDuration::from_secs(350));
    assert_eq!(links().await.status, 200);
    system.advance(SignedDuration::from_secs(10));
    assert_problem(&links().await, 401, "token_invalid", "expired");
}

#[tokio::test]
async fn token_audiences_are_not_interchangeable() {
    let system = System::start().await;
    let app = &system.app;
    let connect = app.connect_token("alice");
    let response = app.get_with("/v1/links", &connect).await;
    assert_problem(&response, 401, "token_invalid", "a connect token");
    let visit = system.browser().visit(&app.connect_url(&app.api_token("alice"))).await;
    assert_eq!(visit.error_page(), "connect_token_invalid");
}

#[tokio::test]
async fn unknown_route_is_not_found() {
    let system = System::start().await;
    let token = system.app.api_token("alice");
    for path in [
        "/v1",
        "/v1/nowhere",
        "/v1/Links",
        "/v1/links/confirm/x",
        "/v1/recordings/abc/",
        "/v1/recordings/abc/files",
        "/v1/recordings/abc/download/x",
        "/v1/recordings//download",
        "/v1//links",
        "/v1/links%2F",
        "/v1/zoom/callback",
    ] {
        for token in [None, Some(token.as_str())] {
            let response = system.app.call_with(Method::GET, path, token, None).await;
            assert_problem(&response, 404, "route_not_found", path);
        }
    }
}

#[tokio::test]
async fn unknown_query_parameters_are_rejected() {
    let system = System::start().await;
    for (method, path) in [
        (Method::GET, "/v1/links"),
        (Method::POST, "/v1/links/confirm"),
        (Method::DELETE, "/v1/links/x"),
        (Method::GET, "/v1/links/x/reconciliation"),
        (Method::GET, "/v1/recordings"),
        (Method::GET, "/v1/recordings/x"),
        (Method::DELETE, "/v1/recordings/x"),
        (Method::POST, "/v1/recordings/x/download"),
        (Method::GET, "/v1/notifications"),
        (Method::POST, "/v1/backfill"),
    ] {
        let response = system.app.call(method, &format!("{path}?limits=1"), "alice").await;
        assert_problem(&response, 400, "request_invalid", path);
    }
}

#[tokio::test]
async fn links_show_email_and_last_event() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    assert_eq!((&link["zoom"]["email"], &link["last_event_at"]), (&json!(null), &json!(null)));
    let event_at = async || {
        let recording = NewRecording::of(ADA).with_files(vec![NewFile::new("CHAT", 64)]);
        system.record(recording).await;
        system.app.links("alice").await[0]["last_event_at"].clone()
    };
    let first = event_at().await;
    assert!(
        first.as_str().is_some_and(|at| at.len() == "2026-01-01T10:00:00.000Z".len()),
        "{first}"
    );
    system.advance(SignedDuration::from_mins(59));
    assert_eq!(event_at().await, first);
    system.advance(SignedDuration::from_mins(1));
    assert_ne!(event_at().await, first);
    let listed = system.app.get("/v1/links", "alice").await.json()["links"][0].clone();
    assert!(listed["zoom"]["email"].as_str().is_some_and(|email| email.contains('@')), "{listed}");
    system.advance(SignedDuration::from_mins(1));
    let feed = system.app.get("/v1/notifications", "alice").await.body;
    assert!(feed.contains("recording.detected"), "{feed}");
    assert!(!feed.contains(listed["zoom"]["email"].as_str().unwrap()));
}

#[tokio::test]
async fn invalid_confirmation_is_rejected() {
    let system = System::start().await;
    let token = system.app.api_token("alice");
    let confirm = async |body: Option<String>| {
        system.app.call_with(Method::POST, "/v1/links/confirm", Some(&token), body).await
    };
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "\"claim\"",
        "{\"claim\":7}",
        "{\"claim\":null}",
        "{\"claim\":[\"x\"]}",
        "{\"claim\":\"x\"",
        "claim=x",
        "\u{0}",
    ] {
        assert_problem(&confirm(Some(body.to_owned())).await, 400, "request_invalid", body);
    }
    assert_problem(&confirm(None).await, 400, "request_invalid", "no body");
    assert_problem(&confirm(Some("[".repeat(100_000))).await, 400, "request_invalid", "nesting");
    let twice = r#"{"claim":"a","claim":"b"}"#.to_owned();
    assert_problem(&confirm(Some(twice)).await, 400, "request_invalid", "two claims");

    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    assert_problem(
        &system.app.confirm("mallory", &claim).await,
        403,
        "claim_belongs_to_another_user",
        "mallory",
    );
    assert_problem(&system.app.confirm("alice", &claim).await, 410, "claim_expired", "invalidated");
    assert_problem(&system.app.confirm("alice", "unknown").await, 410, "claim_expired", "unknown");
    // The unused grant is revoked before the next consent.
    system.process_queues().await;
    // The app user comes from the token alone.
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    for field in ["user", "sub", "app_user", "app_user_id"] {
        let response = confirm(Some(json!({"claim": claim, field: "bob"}).to_string())).await;
        assert_problem(&response, 400, "request_invalid", field);
        assert!(response.body.contains(&format!("`{field}`")), "{response:?}");
    }
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    assert!(system.app.links("bob").await.is_empty());
}

#[tokio::test]
async fn body_of_a_download_is_an_object() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    for body in ["[null]", "[]", "null", "{\"files\": []}", "{\"file\": [\"a\"]}"] {
        let token = system.app.api_token("alice");
        let path = "/v1/recordings/eA/download";
        let call = system.app.call_with(Method::POST, path, Some(&token), Some(body.to_owned()));
        assert_problem(&call.await, 400, "request_invalid", body);
    }
}

/// The response status to a request target that no HTTP client would send.
async fn raw_status(system: &System, target: &str, token: &str) -> u16 {
    let address = system.stack.url().strip_prefix("http://").unwrap().to_owned();
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    let exchange = move || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&response).into_owned())
    };
    let response = tokio::task::spawn_blocking(exchange).await.unwrap().unwrap();
    let status = response.split(' ').nth(1).unwrap_or_else(|| panic!("{target}: no response"));
    status.parse().unwrap()
}

#[tokio::test]
async fn hostile_paths_and_queries_never_get_5xx() {
    let system = System::start().await;
    let token = system.app.api_token("alice");
    // Control: a valid request target gets 200.
    assert_eq!(raw_status(&system, "/v1/links", &token).await, 200);
    let (long, longer) = ("a".repeat(2_000), "%41".repeat(2_500));
    for id in [
        "%2F",
        "..%2F..%2Flinks",
        "%2e%2e",
        "..",
        ".",
        "%20",
        "a%20b",
        "%00",
        "%0d%0aset-cookie:x=1",
        "%FF%FE",
        "%zz",
        "%",
        "%C3%A9",
        "%F0%9F%98%80",
        "é",
        "<script>",
        "\"",
        "'",
        "`",
        "{}",
        "[]",
        "|",
        "^",
        "\\",
        "%5c..%5c",
        "a%23b",
        "%3Flimit=0",
        "a;b=c",
        "*",
        "%25",
        "%2525",
        "$default",
        "{proxy+}",
        "grant",
        "rec%23x",
        &long,
        &longer,
    ] {
        for target in [
            format!("/v1/recordings/{id}"),
            format!("/v1/recordings/{id}/download"),
            format!("/v1/{id}"),
            format!("/v1/recordings?cursor={id}"),
            format!("/v1/recordings?limit={id}"),
            format!("/v1/recordings?{id}"),
            format!("/zoom/connect?token={id}"),
            format!("/zoom/callback?code={id}&state={id}"),
            format!("/zoom/callback?error={id}&state={id}"),
        ] {
            let status = raw_status(&system, &target, &token).await;
            let ignored = target.starts_with("/v1/recordings?") && status == 200;
            assert!((400..500).contains(&status) || ignored, "{status} for {target}");
        }
    }
    for target in [
        "//v1/links",
        "/v1/./links",
        "/v1/x/../links",
        "/%2e%2e/v1/links",
        "/healthz/..",
        "/",
        "*",
        "/v1?",
    ] {
        let status = raw_status(&system, target, &token).await;
        // Dot segments may be resolved or rejected; the resulting route still requires a token.
        assert!(status < 500, "{status} for {target}");
        let unauthenticated = raw_status(&system, target, "none").await;
        assert!(
            (400..500).contains(&unauthenticated) || target.starts_with("/healthz"),
            "{unauthenticated} for {target}"
        );
    }
}
