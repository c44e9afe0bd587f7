//! `/v1`: who may ask, what is answered, and what a stranger or a forger gets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::cursor::{self, Position};
use reelay_domain::keys::SecretVersions;
use reelay_zoom_sim::{NewFile, NewRecording};
use reqwest::Method;
use serde_json::{Value, json};
use support::app::Answer;
use support::people::{ADA, BEN, CEM};
use support::{System, store};

use crate::linking::rotate;
use crate::linking_attacks::tokens::{bad_tokens, good_tokens};

/// A problem in the contract's form, with this status and code.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (status, code),
        "{what}: {answer:?}"
    );
    let body = answer.json();
    let keys: BTreeSet<_> = body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        BTreeSet::from(["code", "detail", "status", "title", "type"]),
        "{what}"
    );
    assert_eq!(body["type"], "about:blank", "{what}");
    for text in ["title", "detail"] {
        assert!(!body[text].as_str().unwrap().is_empty(), "{what}: {text}");
    }
}

/// A meeting of this Zoom user at this time, with one small file; returns its recording id.
fn meeting(system: &System, zoom_user: &str, start: Timestamp) -> String {
    let new = NewRecording {
        start_time: Some(start),
        ..NewRecording::of(zoom_user)
    };
    let created = system
        .zoom()
        .create_recording(new.with_files(vec![NewFile::new("CHAT", 64)]))
        .unwrap();
    URL_SAFE_NO_PAD.encode(created.recording.uuid)
}

async fn arrive(system: &System) {
    system.zoom().wait_until_settled().await;
    system.work().await;
}

/// One recording of a Zoom user, arrived; its id.
async fn one_recording(system: &System, zoom_user: &str) -> String {
    let id = meeting(system, zoom_user, system.app.now());
    arrive(system).await;
    id
}

async fn page(system: &System, user: &str, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = system
        .app
        .get(&format!("/v1/recordings?{query}"), user)
        .await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let body = answer.json();
    let cursor = &body["next_cursor"];
    assert!(cursor.is_null() || cursor.is_string(), "{body}");
    (
        body["recordings"].as_array().unwrap().clone(),
        cursor.as_str().map(str::to_owned),
    )
}

fn ids(recordings: &[Value]) -> Vec<String> {
    recordings
        .iter()
        .map(|recording| recording["id"].as_str().unwrap().to_owned())
        .collect()
}

/// All of a user's recordings, so many a page.
async fn all_pages(system: &System, user: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut query) = (Vec::new(), format!("limit={limit}"));
    loop {
        let (recordings, next) = page(system, user, &query).await;
        assert!(
            recordings.len() <= limit,
            "{} on a page of {limit}",
            recordings.len()
        );
        // A page that promises another one is full; none but the first is empty.
        assert!(
            next.is_none() || recordings.len() == limit,
            "a page fell short"
        );
        assert!(
            found.is_empty() || !recordings.is_empty(),
            "a cursor led to nothing"
        );
        found.extend(recordings);
        assert!(found.len() < 100, "the cursors lead in circles");
        let Some(cursor) = next else { return found };
        query = format!("limit={limit}&cursor={cursor}");
    }
}

// ----------------------------------------------------------------------------------------- tokens

#[tokio::test]
async fn without_a_token_nothing_is_answered_but_the_health_check() {
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
    let nothing = system
        .app
        .call_with(Method::GET, "/v1/links", Some(""), None)
        .await;
    assert_problem(&nothing, 401, "token_missing", "Bearer and no more");
    let health = system
        .app
        .call_with(Method::GET, "/healthz", None, None)
        .await;
    assert_eq!(health.status, 200, "{health:?}");
}

#[tokio::test]
async fn zooms_verification_file_is_there_if_the_operator_has_its_code() {
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
async fn an_api_token_that_is_not_the_apps_own_and_for_this_purpose_is_refused() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let (app, secret) = (
        &system.app,
        system.stack.config().secrets.app_secret.as_str(),
    );
    let bad = bad_tokens(app, secret, "reelay:api", "alice");
    // `Bearer` with nothing after it is a token that is missing.
    for (what, token) in bad.into_iter().filter(|(_, token)| !token.is_empty()) {
        let answer = app
            .call_with(Method::GET, "/v1/links", Some(&token), None)
            .await;
        assert_problem(&answer, 401, "token_invalid", &what);
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{what}");
    }
    for (what, token) in good_tokens(app, secret, "reelay:api", "alice") {
        let answer = app
            .call_with(Method::GET, "/v1/links", Some(&token), None)
            .await;
        assert_eq!(
            (answer.status, &answer.json()["links"]),
            (200, &json!([link])),
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_expired_api_token_is_refused() {
    let system = System::start().await;
    let token = system.app.api_token("alice");
    let links = async || {
        system
            .app
            .call_with(Method::GET, "/v1/links", Some(&token), None)
            .await
    };
    system.stack.advance(SignedDuration::from_secs(350));
    assert_eq!(links().await.status, 200);
    system.stack.advance(SignedDuration::from_secs(10));
    assert_problem(&links().await, 401, "token_invalid", "expired");
}

#[tokio::test]
async fn a_connect_token_opens_no_api_and_an_api_token_no_connection() {
    let system = System::start().await;
    let app = &system.app;
    let connect = app.connect_token("alice");
    let answer = app
        .call_with(Method::GET, "/v1/links", Some(&connect), None)
        .await;
    assert_problem(
        &answer,
        401,
        "token_invalid",
        "a connect token, which travels through browsers",
    );
    let visit = system
        .browser()
        .visit(&app.connect_url(&app.api_token("alice")))
        .await;
    assert_eq!(visit.page(), "connect_token_invalid");
}

// ----------------------------------------------------------------------------- routes and requests

#[tokio::test]
async fn a_route_that_does_not_exist_is_not_found() {
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
async fn a_method_that_a_route_does_not_have_is_named_with_those_that_it_has() {
    let system = System::start().await;
    for (method, path, allowed) in [
        (Method::POST, "/v1/links", "GET"),
        (Method::DELETE, "/v1/links", "GET"),
        (Method::GET, "/v1/links/confirm", "POST"),
        (Method::PUT, "/v1/links/confirm", "POST"),
        (Method::POST, "/v1/recordings", "GET"),
        (Method::PATCH, "/v1/recordings", "GET"),
        (Method::DELETE, "/v1/recordings/abc", "GET"),
        (Method::GET, "/v1/recordings/abc/download", "POST"),
    ] {
        let what = format!("{method} {path}");
        let answer = system.app.call(method, path, "alice").await;
        assert_problem(&answer, 405, "method_not_allowed", &what);
        let allow = answer.headers["allow"].to_str().unwrap();
        assert!(
            allow.split(',').any(|method| method.trim() == allowed),
            "{what}: {allow}"
        );
    }
}

#[tokio::test]
async fn a_confirmation_that_makes_no_sense_is_refused() {
    let system = System::start().await;
    let token = system.app.api_token("alice");
    let confirm = async |body: Option<String>| {
        system
            .app
            .call_with(Method::POST, "/v1/links/confirm", Some(&token), body)
            .await
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
        assert_problem(
            &confirm(Some(body.to_owned())).await,
            400,
            "request_invalid",
            body,
        );
    }
    assert_problem(&confirm(None).await, 400, "request_invalid", "no body");
    assert_problem(
        &confirm(Some("[".repeat(100_000))).await,
        400,
        "request_invalid",
        "nesting",
    );
    let twice = r#"{"claim":"a","claim":"b"}"#.to_owned();
    assert_problem(
        &confirm(Some(twice)).await,
        400,
        "request_invalid",
        "two claims",
    );

    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    assert_problem(
        &system.app.confirm("mallory", &claim).await,
        403,
        "claim_belongs_to_another_user",
        "mallory",
    );
    assert_problem(
        &system.app.confirm("alice", &claim).await,
        410,
        "claim_expired",
        "burnt",
    );
    assert_problem(
        &system.app.confirm("alice", "unknown").await,
        410,
        "claim_expired",
        "unknown",
    );
    // Nobody is named but by the token.
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    for naming in ["user", "sub", "app_user", "app_user_id"] {
        let body = json!({"claim": "unknown", naming: "bob"}).to_string();
        assert_eq!(confirm(Some(body)).await.status, 410);
    }
    let body = json!({"claim": claim, "app_user_id": "bob"}).to_string();
    assert_eq!(confirm(Some(body)).await.status, 200);
    assert!(system.app.links("bob").await.is_empty());
}

#[tokio::test]
async fn a_limit_goes_from_1_to_100() {
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
        let answer = system
            .app
            .get(&format!("/v1/recordings?limit={limit}"), "alice")
            .await;
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

/// The status of an answer to a request line that no HTTP client would send.
async fn raw(system: &System, target: &str, token: &str) -> u16 {
    let address = system
        .stack
        .url()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
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
    let answer = tokio::task::spawn_blocking(exchange)
        .await
        .unwrap()
        .unwrap();
    let status = answer
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("{target}: no answer"));
    status.parse().unwrap()
}

#[tokio::test]
async fn hostile_paths_and_queries_are_never_our_fault() {
    let system = System::start().await;
    let token = system.app.api_token("alice");
    // The ordinary request goes through, so what follows is refused for what it is.
    assert_eq!(raw(&system, "/v1/links", &token).await, 200);
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
            let status = raw(&system, &target, &token).await;
            let ignored = target.starts_with("/v1/recordings?") && status == 200;
            assert!(
                (400..500).contains(&status) || ignored,
                "{status} for {target}"
            );
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
        let status = raw(&system, target, &token).await;
        // Dot segments may be resolved or refused; what they lead to asks for the token all the same.
        assert!(status < 500, "{status} for {target}");
        let stranger = raw(&system, target, "none").await;
        assert!(
            (400..500).contains(&stranger) || target.starts_with("/healthz"),
            "{stranger} for {target}"
        );
    }
}

// -------------------------------------------------------------------------------------- recordings

#[tokio::test]
async fn a_recording_is_listed_without_urls_and_given_with_them_for_an_hour() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let id = one_recording(&system, ADA).await;
    let listed = &system.app.recordings("alice").await[0];
    let given = system
        .app
        .get(&format!("/v1/recordings/{id}"), "alice")
        .await;
    assert_eq!(given.status, 200);
    let mut given = given.json();

    let keys: BTreeSet<_> = given
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = "bytes_stored duration_minutes files id meeting_id meeting_uuid size start_time status topic zoom zoom_state";
    assert_eq!(keys, expected.split(' ').collect());
    assert_eq!(
        (&given["status"], &given["zoom_state"]),
        (&json!("stored"), &json!("present"))
    );
    assert_eq!(
        given["zoom"],
        json!({"account_id": "Acct_Northwind00000001", "user_id": ADA})
    );

    let file = given["files"][0].as_object_mut().unwrap();
    let url = file.remove("url").unwrap();
    let until: Timestamp = file
        .remove("url_expires_at")
        .unwrap()
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let now = system.app.now();
    assert!(
        now < until && until <= now + SignedDuration::from_hours(1),
        "{now} {until}"
    );
    assert_eq!(&given, listed, "the list says the same, but for the URLs");

    let bytes = reqwest::get(url.as_str().unwrap())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let key = given["files"][0]["key"].as_str().unwrap();
    assert_eq!(bytes, store::files(&system.stack).await[key]);
}

#[tokio::test]
async fn another_users_recording_is_not_found_by_its_id() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    // A colleague in the same Zoom account, and somebody whose consent was never confirmed.
    system.link("ben", BEN).await;
    system.consent(&mut system.browser(), "mallory", ADA).await;
    let id = one_recording(&system, ADA).await;
    assert_eq!(
        system
            .app
            .get(&format!("/v1/recordings/{id}"), "alice")
            .await
            .status,
        200
    );

    let nobodys = URL_SAFE_NO_PAD.encode("no such meeting");
    for user in ["ben", "mallory", "nobody"] {
        assert!(system.app.recordings(user).await.is_empty(), "{user}");
        for (method, tail) in [(Method::GET, ""), (Method::POST, "/download")] {
            let call = async |id: &str| {
                system
                    .app
                    .call(method.clone(), &format!("/v1/recordings/{id}{tail}"), user)
                    .await
            };
            let (others, none) = (call(&id).await, call(&nobodys).await);
            assert_problem(&others, 404, "recording_not_found", user);
            // It does not even tell that there is one.
            assert_eq!(others.body, none.body, "{user}");
        }
    }
    assert_eq!(
        store::depth(&system.stack, &system.stack.config().queues.downloads).await,
        0
    );
    for id in [
        "x",
        "-",
        &"a".repeat(172),
        &"a".repeat(173),
        "manifest.json",
        &format!("{id}="),
    ] {
        let answer = system
            .app
            .get(&format!("/v1/recordings/{id}"), "alice")
            .await;
        assert_problem(&answer, 404, "recording_not_found", id);
    }
}

/// Seven recordings of Ada's and six of Cem's, some of them begun in the same second.
async fn thirteen(system: &System) -> BTreeMap<String, (Timestamp, &'static str)> {
    let first: Timestamp = "2026-01-05T09:00:00Z".parse().unwrap();
    let mut recordings = BTreeMap::new();
    for (zoom_user, hours) in [
        (ADA, &[0, 1, 1, 2, 5, 5, 9][..]),
        (CEM, &[0, 1, 3, 5, 5, 10][..]),
    ] {
        for hour in hours {
            let start = first + SignedDuration::from_hours(*hour);
            recordings.insert(meeting(system, zoom_user, start), (start, zoom_user));
        }
    }
    arrive(system).await;
    recordings
}

#[tokio::test]
async fn pages_of_any_size_show_every_recording_once_newest_first() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alice", CEM).await;
    system.link("cem", CEM).await;
    let recordings = thirteen(&system).await;
    assert_eq!(recordings.len(), 13);

    let whole = all_pages(&system, "alice", 100).await;
    let order = ids(&whole);
    assert_eq!(
        order.iter().collect::<BTreeSet<_>>(),
        recordings.keys().collect()
    );
    let starts: Vec<_> = order.iter().map(|id| recordings[id].0).collect();
    assert!(
        starts.is_sorted_by(|newer, older| newer >= older),
        "{starts:?}"
    );
    for recording in &whole {
        let (start, zoom_user) = recordings[recording["id"].as_str().unwrap()];
        assert_eq!(recording["start_time"], start.to_string());
        assert_eq!(recording["zoom"]["user_id"], zoom_user);
    }
    for limit in [1, 2, 3, 4, 5, 6, 7, 12, 13, 14] {
        assert_eq!(
            all_pages(&system, "alice", limit).await,
            whole,
            "{limit} a page"
        );
    }
    // Without a limit a page holds more than these; and a colleague sees the half that is theirs.
    assert_eq!(page(&system, "alice", "").await, (whole.clone(), None));
    let cems: Vec<_> = whole
        .iter()
        .filter(|recording| recording["zoom"]["user_id"] == CEM)
        .cloned()
        .collect();
    assert_eq!(all_pages(&system, "cem", 2).await, cems);
}

#[tokio::test]
async fn a_cursor_keeps_its_place_while_recordings_arrive_and_the_page_size_changes() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alice", CEM).await;
    thirteen(&system).await;
    let before = ids(&all_pages(&system, "alice", 100).await);
    let (first, cursor) = page(&system, "alice", "limit=4").await;
    // One newer than all, which the reader has passed already, and one older than all.
    let newer = meeting(&system, ADA, "2026-02-01T09:00:00Z".parse().unwrap());
    let older = meeting(&system, CEM, "2025-12-01T09:00:00Z".parse().unwrap());
    arrive(&system).await;
    let (rest, end) = page(
        &system,
        "alice",
        &format!("limit=100&cursor={}", cursor.unwrap()),
    )
    .await;
    assert_eq!(end, None);
    let seen = [ids(&first), ids(&rest)].concat();
    assert_eq!(seen, [before.clone(), vec![older.clone()]].concat());
    assert_eq!(
        ids(&all_pages(&system, "alice", 5).await),
        [vec![newer], before, vec![older]].concat()
    );
}

#[tokio::test]
async fn a_cursor_that_is_forged_altered_or_another_users_is_refused() {
    let system = System::start().await;
    // Both see the very same recordings, and yet a cursor is its owner's.
    system.link("alice", ADA).await;
    system.link("mallory", ADA).await;
    for minutes in 0..3 {
        meeting(
            &system,
            ADA,
            system.app.now() - SignedDuration::from_mins(minutes),
        );
    }
    arrive(&system).await;
    let cursor = page(&system, "alice", "limit=1").await.1.unwrap();
    let refused = async |user: &str, cursor: &str| {
        let answer = system
            .app
            .get(&format!("/v1/recordings?limit=1&cursor={cursor}"), user)
            .await;
        assert_problem(&answer, 400, "cursor_invalid", cursor);
    };
    refused("mallory", &cursor).await;
    for at in 0..cursor.len() {
        let mut bytes = cursor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        refused("alice", std::str::from_utf8(&bytes).unwrap()).await;
    }
    let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
    let position = Position {
        start_order: "2026-01-01T00:00:00Z#x".into(),
        zoom_user: "Acct#User".into(),
    };
    for forged in [
        cursor::encode(
            &SecretVersions::single("attacker"),
            &"alice".parse().unwrap(),
            &position,
        ),
        cursor::encode(
            &SecretVersions::single(""),
            &"alice".parse().unwrap(),
            &position,
        ),
        // The position alone, without its MAC, and a MAC alone.
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
        refused("alice", &forged).await;
    }
    assert_eq!(
        page(&system, "alice", &format!("limit=1&cursor={cursor}"))
            .await
            .0
            .len(),
        1
    );
}

#[tokio::test]
async fn a_cursor_is_good_over_one_turn_over_of_its_key_and_not_over_two() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    for minutes in 0..3 {
        meeting(
            &system,
            ADA,
            system.app.now() - SignedDuration::from_mins(minutes),
        );
    }
    arrive(&system).await;
    let cursor = page(&system, "alice", "limit=1").await.1.unwrap();
    let query = format!("limit=1&cursor={cursor}");
    for value in ["n", "o"] {
        rotate(&system, "STATE_KEY", &value.repeat(44)).await;
        // The function reads its key anew after five minutes.
        system.stack.advance(SignedDuration::from_mins(5));
        let answer = system
            .app
            .get(&format!("/v1/recordings?{query}"), "alice")
            .await;
        match value {
            "n" => assert_eq!(answer.status, 200, "{answer:?}"),
            _ => assert_problem(&answer, 400, "cursor_invalid", "signed two keys ago"),
        }
    }
}
