//! `/v1`: authentication, routes, validation, and isolation between app users.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Header;
use reelay_domain::cursor::{self, Position};
use reelay_domain::keys::SecretVersions;
use reelay_zoom_sim::{NewFile, NewRecording};
use reqwest::Method;
use serde_json::{Value, json};
use support::System;
use support::app::ApiResponse;
use support::zoom_users::{ADA, BEN, CEM};

/// Asserts a problem with this status and code and every field of the contract.
#[track_caller]
fn assert_problem(answer: &ApiResponse, status: u16, code: &str, case: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{case}: {answer:?}");
    let body = answer.json();
    let keys: BTreeSet<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["code", "detail", "status", "title", "type"]), "{case}");
    assert_eq!(body["type"], "about:blank", "{case}");
    for text in ["title", "detail"] {
        assert!(!body[text].as_str().unwrap().is_empty(), "{case}: {text}");
    }
}

/// Creates a recording with one small file at this time; returns its id.
fn create_meeting(system: &System, zoom_user: &str, start: Timestamp) -> String {
    let new = NewRecording { start_time: Some(start), ..NewRecording::of(zoom_user) };
    let created =
        system.zoom().create_recording(new.with_files(vec![NewFile::new("CHAT", 64)])).unwrap();
    URL_SAFE_NO_PAD.encode(created.recording.uuid)
}

async fn process_arrived(system: &System) {
    system.zoom().wait_until_settled().await;
    system.process_queues().await;
}

/// Creates and processes a recording; returns its id.
async fn one_recording(system: &System, zoom_user: &str) -> String {
    let id = create_meeting(system, zoom_user, system.app.now());
    process_arrived(system).await;
    id
}

async fn page(system: &System, user: &str, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = system.app.get(&format!("/v1/recordings?{query}"), user).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let body = answer.json();
    let cursor = &body["next_cursor"];
    assert!(cursor.is_null() || cursor.is_string(), "{body}");
    (body["recordings"].as_array().unwrap().clone(), cursor.as_str().map(str::to_owned))
}

fn ids(recordings: &[Value]) -> Vec<String> {
    recordings.iter().map(|recording| recording["id"].as_str().unwrap().to_owned()).collect()
}

/// All recordings of a user, page by page.
async fn all_pages(system: &System, user: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut query) = (Vec::new(), format!("limit={limit}"));
    loop {
        let (recordings, next) = page(system, user, &query).await;
        assert!(recordings.len() <= limit, "{} on a page of {limit}", recordings.len());
        // Every page but the last is full, and only the first may be empty.
        assert!(next.is_none() || recordings.len() == limit, "a short page has a successor");
        assert!(found.is_empty() || !recordings.is_empty(), "a cursor leads to an empty page");
        found.extend(recordings);
        assert!(found.len() < 100, "cursors form a loop");
        let Some(cursor) = next else { return found };
        query = format!("limit={limit}&cursor={cursor}");
    }
}

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
        let answer = system.app.call_with(method, path, None, None).await;
        assert_problem(&answer, 401, "token_missing", path);
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{path}");
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
    let answer = system.app.call_with(Method::GET, file, None, None).await;
    assert_eq!((answer.status, &*answer.body), (200, "0123-abc_DEF"));
    assert!(answer.content_type.starts_with("text/html"), "{answer:?}");

    let system = System::start().await;
    let answer = system.app.call_with(Method::GET, file, None, None).await;
    assert_problem(&answer, 404, "route_not_found", "no code");
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
    let answer = app.get_with("/v1/links", &connect).await;
    assert_problem(&answer, 401, "token_invalid", "a connect token");
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
            let answer = system.app.call_with(Method::GET, path, token, None).await;
            assert_problem(&answer, 404, "route_not_found", path);
        }
    }
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
    // The app user comes from the token alone.
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    for field in ["user", "sub", "app_user", "app_user_id"] {
        let body = json!({"claim": "unknown", field: "bob"}).to_string();
        assert_eq!(confirm(Some(body)).await.status, 410);
    }
    let body = json!({"claim": claim, "app_user_id": "bob"}).to_string();
    assert_eq!(confirm(Some(body)).await.status, 200);
    assert!(system.app.links("bob").await.is_empty());
}

#[tokio::test]
async fn limit_must_be_between_1_and_100() {
    let system = System::start().await;
    for limit in [
        "0",
        "101",
        "-1",
        "1.5",
        "1e1",
        "0x10",
        "abc",
        "%20",
        "1%20",
        "١",
        "99999999999999999999999",
        "1&limit=2",
    ] {
        let answer = system.app.get(&format!("/v1/recordings?limit={limit}"), "alice").await;
        assert_problem(&answer, 400, "request_invalid", limit);
    }
    for limit in ["1", "2", "99", "100"] {
        assert_eq!(
            page(&system, "alice", &format!("limit={limit}")).await,
            (vec![], None),
            "{limit}"
        );
    }
    assert_eq!(page(&system, "alice", "").await, (vec![], None));
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
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::task::spawn_blocking(exchange).await.unwrap().unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{target}: no answer"));
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

#[tokio::test]
async fn only_single_recording_has_presigned_urls() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let id = one_recording(&system, ADA).await;
    let listed = &system.app.recordings("alice").await[0];
    let given = system.app.get(&format!("/v1/recordings/{id}"), "alice").await;
    assert_eq!(given.status, 200);
    let mut given = given.json();

    let keys: BTreeSet<_> = given.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "bytes_stored duration_minutes files id meeting_id meeting_uuid size start_time status topic zoom zoom_state";
    assert_eq!(keys, expected.split(' ').collect());
    assert_eq!((&given["status"], &given["zoom_state"]), (&json!("stored"), &json!("present")));
    assert_eq!(given["zoom"], json!({"account_id": "Acct_Northwind00000001", "user_id": ADA}));

    let file = given["files"][0].as_object_mut().unwrap();
    let url = file.remove("url").unwrap();
    let until: Timestamp =
        file.remove("url_expires_at").unwrap().as_str().unwrap().parse().unwrap();
    let now = system.app.now();
    assert!(now < until && until <= now + SignedDuration::from_hours(1), "{now} {until}");
    assert_eq!(&given, listed, "the list differs by more than URLs");

    let bytes = reqwest::get(url.as_str().unwrap()).await.unwrap().bytes().await.unwrap();
    let key = given["files"][0]["key"].as_str().unwrap();
    assert_eq!(bytes, system.stored_files().await[key]);
}

#[tokio::test]
async fn another_users_recording_is_not_found() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    // Ben is in Ada's Zoom account; Mallory's consent was never confirmed.
    system.link("ben", BEN).await;
    system.consent(&mut system.browser(), "mallory", ADA).await;
    let id = one_recording(&system, ADA).await;
    assert_eq!(system.app.get(&format!("/v1/recordings/{id}"), "alice").await.status, 200);

    let unknown = URL_SAFE_NO_PAD.encode("no such meeting");
    for user in ["ben", "mallory", "nobody"] {
        assert!(system.app.recordings(user).await.is_empty(), "{user}");
        for (method, tail) in [(Method::GET, ""), (Method::POST, "/download")] {
            let call = async |id: &str| {
                system.app.call(method.clone(), &format!("/v1/recordings/{id}{tail}"), user).await
            };
            let (foreign, missing) = (call(&id).await, call(&unknown).await);
            assert_problem(&foreign, 404, "recording_not_found", user);
            // The response does not reveal that the recording exists.
            assert_eq!(foreign.body, missing.body, "{user}");
        }
    }
    assert_eq!(system.queue_depth(&system.queues().downloads).await, 0);
    for id in ["x", "-", &"a".repeat(172), &"a".repeat(173), "manifest.json", &format!("{id}=")] {
        let answer = system.app.get(&format!("/v1/recordings/{id}"), "alice").await;
        assert_problem(&answer, 404, "recording_not_found", id);
    }
}

/// Seven recordings of Ada and six of Cem; some begin in the same second.
async fn thirteen(system: &System) -> BTreeMap<String, (Timestamp, &'static str)> {
    let first: Timestamp = "2026-01-05T09:00:00Z".parse().unwrap();
    let mut recordings = BTreeMap::new();
    for (zoom_user, hours) in [(ADA, &[0, 1, 1, 2, 5, 5, 9][..]), (CEM, &[0, 1, 3, 5, 5, 10][..])] {
        for hour in hours {
            let start = first + SignedDuration::from_hours(*hour);
            recordings.insert(create_meeting(system, zoom_user, start), (start, zoom_user));
        }
    }
    process_arrived(system).await;
    recordings
}

#[tokio::test]
async fn pages_list_every_recording_once_newest_first() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alice", CEM).await;
    system.link("cem", CEM).await;
    let recordings = thirteen(&system).await;
    assert_eq!(recordings.len(), 13);

    let whole = all_pages(&system, "alice", 100).await;
    let order = ids(&whole);
    assert_eq!(order.iter().collect::<BTreeSet<_>>(), recordings.keys().collect());
    let starts: Vec<_> = order.iter().map(|id| recordings[id].0).collect();
    assert!(starts.is_sorted_by(|newer, older| newer >= older), "{starts:?}");
    for recording in &whole {
        let (start, zoom_user) = recordings[recording["id"].as_str().unwrap()];
        assert_eq!(recording["start_time"], start.to_string());
        assert_eq!(recording["zoom"]["user_id"], zoom_user);
    }
    for limit in [1, 2, 3, 4, 5, 6, 7, 12, 13, 14] {
        assert_eq!(all_pages(&system, "alice", limit).await, whole, "{limit} a page");
    }
    // A page without a limit holds all 13.
    assert_eq!(page(&system, "alice", "").await, (whole.clone(), None));
    let cems: Vec<_> =
        whole.iter().filter(|recording| recording["zoom"]["user_id"] == CEM).cloned().collect();
    assert_eq!(all_pages(&system, "cem", 2).await, cems);
}

#[tokio::test]
async fn cursor_is_stable_while_recordings_arrive() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alice", CEM).await;
    thirteen(&system).await;
    let before = ids(&all_pages(&system, "alice", 100).await);
    let (first, cursor) = page(&system, "alice", "limit=4").await;
    // One recording is newer than the pages already read, the other older than all.
    let newer = create_meeting(&system, ADA, "2026-02-01T09:00:00Z".parse().unwrap());
    let older = create_meeting(&system, CEM, "2025-12-01T09:00:00Z".parse().unwrap());
    process_arrived(&system).await;
    let (rest, end) =
        page(&system, "alice", &format!("limit=100&cursor={}", cursor.unwrap())).await;
    assert_eq!(end, None);
    let seen = [ids(&first), ids(&rest)].concat();
    assert_eq!(seen, [before.clone(), vec![older.clone()]].concat());
    assert_eq!(
        ids(&all_pages(&system, "alice", 5).await),
        [vec![newer], before, vec![older]].concat()
    );
}

#[tokio::test]
async fn forged_or_foreign_cursor_is_rejected() {
    let system = System::start().await;
    // Both users see the same recordings, but a cursor is bound to its user.
    system.link("alice", ADA).await;
    system.link("mallory", ADA).await;
    for minutes in 0..3 {
        create_meeting(&system, ADA, system.app.now() - SignedDuration::from_mins(minutes));
    }
    process_arrived(&system).await;
    let cursor = page(&system, "alice", "limit=1").await.1.unwrap();
    let assert_rejected = async |user: &str, cursor: &str| {
        let answer = system.app.get(&format!("/v1/recordings?limit=1&cursor={cursor}"), user).await;
        assert_problem(&answer, 400, "cursor_invalid", cursor);
    };
    assert_rejected("mallory", &cursor).await;
    for at in 0..cursor.len() {
        let mut bytes = cursor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert_rejected("alice", std::str::from_utf8(&bytes).unwrap()).await;
    }
    let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
    let position =
        Position { start_order: "2026-01-01T00:00:00Z#x".into(), zoom_user: "Acct#User".into() };
    for forged in [
        cursor::encode(&SecretVersions::single("attacker"), &"alice".parse().unwrap(), &position),
        cursor::encode(&SecretVersions::single(""), &"alice".parse().unwrap(), &position),
        // The position without its MAC, and a MAC without a position.
        URL_SAFE_NO_PAD.encode(&bytes[32..]),
        URL_SAFE_NO_PAD.encode(&bytes[..32]),
        cursor[..cursor.len() - 1].to_owned(),
        format!("{cursor}A"),
        format!("{cursor}="),
        format!("{cursor}&cursor={cursor}"),
        "x".to_owned(),
        "%00".to_owned(),
        "%FF".to_owned(),
        "a".repeat(6_000),
    ] {
        assert_rejected("alice", &forged).await;
    }
    assert_eq!(page(&system, "alice", &format!("limit=1&cursor={cursor}")).await.0.len(), 1);
}

#[tokio::test]
async fn cursor_survives_only_one_key_rotation() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    for minutes in 0..3 {
        create_meeting(&system, ADA, system.app.now() - SignedDuration::from_mins(minutes));
    }
    process_arrived(&system).await;
    let cursor = page(&system, "alice", "limit=1").await.1.unwrap();
    let query = format!("limit=1&cursor={cursor}");
    for value in ["n", "o"] {
        system.rotate_function_secret("oauth-start", "STATE_KEY", &value.repeat(44)).await;
        // The function rereads its key after five minutes.
        system.advance(SignedDuration::from_mins(5));
        let answer = system.app.get(&format!("/v1/recordings?{query}"), "alice").await;
        match value {
            "n" => assert_eq!(answer.status, 200, "{answer:?}"),
            _ => assert_problem(&answer, 400, "cursor_invalid", "two rotations"),
        }
    }
}
