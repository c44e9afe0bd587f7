//! The app over real HTTP, against a Reelay that plays the contract.

mod support;

use std::time::Duration;

use jiff::Timestamp;
use reelay_demo_app::{Bound, Config, DemoApp};
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::browser::Browser;
use support::fake_reelay::{self, FakeReelay, file, link, recording};
use support::{APP_SECRET, NOTIFICATION_SECRET, signed};
use url::Url;

async fn start() -> (FakeReelay, DemoApp) {
    let reelay = FakeReelay::start().await;
    let bound = Bound::bind(([127, 0, 0, 1], 0).into())
        .await
        .expect("a port");
    let mut config = Config::new(
        reelay.url.clone(),
        APP_SECRET.into(),
        NOTIFICATION_SECRET.into(),
    );
    config.simulator_url = Some("http://127.0.0.1:1/simulator".parse().expect("a URL"));
    let app = bound.serve(config).await.expect("the app");
    (reelay, app)
}

/// Presses "Connect Zoom" and lets the fake consent; gives the way back.
async fn connect(browser: &Browser) -> String {
    let pressed = browser.get("/settings/integrations/zoom/connect").await;
    assert_eq!(pressed.status, StatusCode::SEE_OTHER);
    // The browser leaves the app: without the app's cookies from here on.
    let reelay: Url = pressed.location().parse().expect("a URL");
    let elsewhere = Browser::new(&reelay);
    let back = elsewhere.get(reelay.as_str()).await;
    let back: Url = back.location().parse().expect("a URL");
    format!("{}?{}", back.path(), back.query().unwrap_or_default())
}

/// Follows the redirect after a form or the way back, to what the user reads.
async fn read_on(browser: &Browser, page: support::browser::Page) -> String {
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    browser.get(page.location()).await.text
}

#[tokio::test]
async fn linking_ends_with_a_clean_address_and_a_link() {
    let (reelay, app) = start().await;
    let alice = Browser::of(app.url(), "alice").await;
    let before = alice.get("/settings/integrations").await;
    assert!(before.text.contains("Connect Zoom"));

    let back = connect(&alice).await;
    let page = alice.get(&back).await;
    assert_eq!(page.location(), "/settings/integrations");
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    assert_eq!(page.headers["cache-control"], "no-store");
    let text = read_on(&alice, page).await;
    assert!(text.contains("Zoom is connected, as Zoe &lt;Zoom&gt;."));
    assert!(text.contains("Now complete a recording in the"));
    assert!(text.contains("http://127.0.0.1:1/simulator"));
    // Said once.
    let again = alice.get("/settings/integrations").await;
    assert!(!again.text.contains("Zoom is connected"));

    let world = reelay.world();
    let connect = &world.tokens[1];
    assert_eq!(
        (connect.aud.as_str(), connect.sub.as_str()),
        ("reelay:connect", "alice")
    );
    let return_to = format!("{}settings/integrations/zoom/return", app.url());
    assert_eq!(connect.return_to.as_deref(), Some(return_to.as_str()));
    assert!(connect.jti.as_ref().is_some_and(|jti| jti.len() >= 22));
    for token in &world.tokens {
        assert_eq!(token.sub, "alice");
        assert!((1..=900).contains(&(token.exp - token.iat)));
        assert!((Timestamp::now().as_second() - token.iat).abs() < 30);
    }
    assert!(
        world
            .tokens
            .iter()
            .skip(2)
            .all(|token| token.aud == "reelay:api")
    );
}

#[tokio::test]
async fn every_connect_token_is_new() {
    let (_reelay, app) = start().await;
    let alice = Browser::of(app.url(), "alice").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let page = alice.get("/settings/integrations/zoom/connect").await;
        let url: Url = page.location().parse().expect("a URL");
        assert_eq!(url.path(), "/stage/zoom/connect");
        let (_, token) = url.query_pairs().next().expect("a token");
        let claims = fake_reelay::verify(&token, "reelay:connect").expect("a good token");
        assert!(fake_reelay::verify(&token, "reelay:api").is_none());
        ids.push(claims.jti);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_claim_is_worth_nothing_in_another_session() {
    let (reelay, app) = start().await;
    let mallory = Browser::of(app.url(), "mallory").await;
    let victim = Browser::of(app.url(), "alice").await;
    // The victim is lured through mallory's link and comes back in the victim's own session …
    let back = connect(&mallory).await;
    let text = read_on(&victim, victim.get(&back).await).await;
    assert!(text.contains("begun by a different user"));
    // … which burnt the claim.
    let text = read_on(&mallory, mallory.get(&back).await).await;
    assert!(text.contains("not finished within ten minutes"));
    assert!(reelay.world().links.is_empty());
}

#[tokio::test]
async fn each_ending_of_the_way_back_has_its_words() {
    let (_reelay, app) = start().await;
    let alice = Browser::of(app.url(), "alice").await;
    for (query, words) in [
        ("?zoom_error=access_denied", "You chose not to give access"),
        (
            "?zoom_error=zoom_unavailable",
            "could not be reached just now",
        ),
        (
            "?zoom_error=zoom_rejected_code",
            "did not accept this sign-in",
        ),
        (
            "?zoom_error=zoom_scope_missing",
            "less access than recordings need",
        ),
        ("?zoom_error=<b>call+0900</b>", "could not be connected"),
        ("?zoom_link=unknown", "not finished within ten minutes"),
        ("?zoom_link=a&zoom_link=b", "was interrupted"),
        ("", "was interrupted"),
    ] {
        let path = format!("{}{query}", reelay_demo_app::RETURN_PATH);
        let text = read_on(&alice, alice.get(&path).await).await;
        assert!(text.contains(words), "{query}");
        assert!(!text.contains("0900"), "{query}");
    }
    let stranger = Browser::new(app.url());
    let path = format!("{}?zoom_link=secret", reelay_demo_app::RETURN_PATH);
    let page = stranger.get(&path).await;
    assert!(page.location().starts_with("/?next=") && !page.location().contains("secret"));
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
}

#[tokio::test]
async fn links_are_shown_with_their_state_and_can_be_removed() {
    let (reelay, app) = start().await;
    let links = vec![
        link("link-1", "active", "<img src=x onerror=alert(1)>"),
        link("a/b?c", "reauthorization_required", "Zoe"),
        link("link-3", "a status of tomorrow", "Max"),
    ];
    reelay.world().links.insert("alice".into(), links);
    let alice = Browser::of(app.url(), "alice").await;
    let page = alice.get("/settings/integrations").await.text;
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;") && !page.contains("<img"));
    assert!(page.contains("Needs reconnecting") && page.contains(">Reconnect<"));

    let path = "/settings/integrations/zoom/a%2Fb%3Fc/disconnect";
    assert!(page.contains(path));
    let text = read_on(&alice, alice.post(path, &[]).await).await;
    assert!(text.contains("Zoom is disconnected"));
    let world = reelay.world();
    assert_eq!(world.calls, ["DELETE /v1/links/a%2Fb%3Fc alice"]);
    assert_eq!(world.links["alice"].len(), 2);
}

#[tokio::test]
async fn recordings_are_listed_page_by_page() {
    let (reelay, app) = start().await;
    let all = (0..25)
        .map(|n| {
            recording(
                &format!("rec-{n}"),
                &format!("Meeting {n}."),
                "stored",
                10,
                10,
            )
        })
        .collect();
    reelay.world().recordings.insert("alice".into(), all);
    let alice = Browser::of(app.url(), "alice").await;
    let first = alice.get("/recordings").await.text;
    assert!(
        first.contains("Meeting 0.")
            && first.contains("Meeting 19.")
            && !first.contains("Meeting 20.")
    );
    // The cursor holds characters that mean something in an address.
    let next = "/recordings?cursor=alice%2B%2620";
    assert!(first.contains(next));
    let second = alice.get(next).await.text;
    assert!(
        second.contains("Meeting 20.") && second.contains("Newest") && !second.contains("Older →")
    );
    // A cursor of somebody else.
    let text = read_on(&alice, alice.get("/recordings?cursor=bob%2B%2620").await).await;
    assert!(text.contains("not there any more") && text.contains("Meeting 0."));
}

#[tokio::test]
async fn progress_is_live_and_redraws_are_asked_for_when_needed() {
    let (reelay, app) = start().await;
    let mut moving = recording("rec-1", "Weekly", "transferring", 1000, 250);
    moving["files"] = json!([file("f1", "MP4", "speaker_view", "transferring", 1000, 250)]);
    reelay
        .world()
        .recordings
        .insert("alice".into(), vec![moving]);
    let alice = Browser::of(app.url(), "alice").await;
    let page = alice.get("/recordings").await.text;
    assert!(page.contains(r#"max="1000" value="250""#));
    assert!(page.contains("250 B of 1.0 kB"));

    let state = async || -> Value {
        serde_json::from_str(&alice.get("/recordings.json").await.text).expect("JSON")
    };
    let before = state().await;
    assert_eq!(before["recordings"][0]["bytes_stored"], 250);
    let version = before["version"].as_str().expect("a version");
    assert!(page.contains(&format!("data-version=\"{version}\"")));
    reelay.world().recordings.get_mut("alice").expect("hers")[0]["bytes_stored"] = json!(700);
    let after = state().await;
    assert_eq!(after["recordings"][0]["bytes_stored"], 700);
    assert_eq!(after["version"], before["version"]);
    reelay.world().recordings.get_mut("alice").expect("hers")[0]["status"] = json!("stored");
    assert_ne!(state().await["version"], before["version"]);

    let stranger = Browser::new(app.url());
    assert_eq!(
        stranger.get("/recordings.json").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_recording_can_be_played_read_and_fetched_again() {
    let (reelay, app) = start().await;
    let mut stored = recording("rec-1", "<script>alert(1)</script>", "failed", 2000, 1500);
    let mut lost = file("f4", "CHAT", "chat_file", "failed", 9, 0);
    lost["reason"] = json!("gone_at_zoom");
    stored["files"] = json!([
        file("f1", "MP4", "speaker_view", "stored", 1000, 1000),
        file("f2", "M4A", "audio_only", "stored", 500, 500),
        file("f3", "VTT", "audio_transcript", "stored", 100, 100),
        lost,
    ]);
    let vtt = b"WEBVTT\n\n00:00.000 --> 00:01.000\n<script>alert(2)</script>".to_vec();
    reelay
        .world()
        .objects
        .insert("f3".into(), ("text/html", vtt));
    reelay
        .world()
        .recordings
        .insert("alice".into(), vec![stored]);
    let alice = Browser::of(app.url(), "alice").await;

    let page = alice.get("/recordings/rec-1").await.text;
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("<script>alert"));
    let (video, audio) = (reelay.presigned("f1"), reelay.presigned("f2"));
    assert!(page.contains(&format!(
        "<video controls preload=\"metadata\" src=\"{video}\""
    )));
    assert!(page.contains(&format!(
        "<audio controls preload=\"metadata\" src=\"{audio}\""
    )));
    assert!(page.contains("Gone at zoom") && page.contains("Download again"));

    let read = "/recordings/rec-1/files/f3";
    assert!(page.contains(read));
    let text = alice.get(read).await.text;
    assert!(text.contains("&lt;script&gt;alert(2)") && !text.contains("<script>alert"));
    let captions = alice.get(&format!("{read}/captions")).await;
    assert_eq!(captions.headers["content-type"], "text/vtt; charset=utf-8");
    assert_eq!(captions.headers["x-content-type-options"], "nosniff");
    // Nothing but text is fetched by this server.
    let video = alice.get("/recordings/rec-1/files/f1").await;
    assert_eq!(video.status, StatusCode::NOT_FOUND);

    let text = read_on(&alice, alice.post("/recordings/rec-1/download", &[]).await).await;
    assert!(text.contains("are being fetched"));
    let days = [("from", "2026-01-01"), ("to", "2026-02-01")];
    let text = read_on(&alice, alice.post("/recordings/backfill", &days).await).await;
    assert!(text.contains("being looked up"));
    let wrong = [("from", "2026-02-01"), ("to", "2026-01-01")];
    let text = read_on(&alice, alice.post("/recordings/backfill", &wrong).await).await;
    assert!(text.contains("the earlier one first"));
    assert_eq!(
        reelay.world().calls,
        [
            "POST /v1/recordings/rec-1/download alice",
            r#"POST /v1/backfill alice {"from":"2026-01-01","to":"2026-02-01"}"#,
        ]
    );
}

#[tokio::test]
async fn nobody_sees_what_belongs_to_another_session() {
    let (reelay, app) = start().await;
    let hers = recording("rec-a", "Only for alice", "stored", 1, 1);
    reelay.world().recordings.insert("alice".into(), vec![hers]);
    reelay
        .world()
        .links
        .insert("alice".into(), vec![link("l", "active", "Alice at Zoom")]);
    let alice = Browser::of(app.url(), "alice").await;
    let bob = Browser::of(app.url(), "bob").await;
    deliver(&app, "msg_alice", &told("alice")).await;

    assert_ne!(alice.cookie(), bob.cookie());
    for path in [
        "/",
        "/recordings",
        "/recordings.json",
        "/settings/integrations",
        "/notifications",
    ] {
        let (hers, his) = (alice.get(path).await.text, bob.get(path).await.text);
        assert!(!his.contains("alice") && !his.contains("Alice"), "{path}");
        assert!(hers.contains("lice"), "{path}");
    }
    let his = bob.get("/recordings/rec-a").await;
    assert_eq!(his.status, StatusCode::NOT_FOUND);
    assert!(!his.text.contains("Only for alice"));

    // A cookie that was not signed here, and one of a session that has ended.
    let forged = Browser::new(app.url());
    assert_eq!(
        forged.get("/recordings").await.location(),
        "/?next=%2Frecordings"
    );
    let old = alice.cookie();
    alice.post("/sign-out", &[]).await;
    let reused = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    let reused = reused
        .build()
        .expect("a client")
        .get(app.url().join("/recordings").expect("a URL"));
    let answer = reused
        .header("cookie", old)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn signing_in_takes_a_new_cookie_and_only_good_ids() {
    let (_reelay, app) = start().await;
    let browser = Browser::new(app.url());
    let text = read_on(
        &browser,
        browser
            .post("/sign-in", &[("user", "no spaces, please")])
            .await,
    )
    .await;
    assert!(text.contains("1 to 128") && text.contains("Sign in"));
    let before = browser.cookie();
    let page = browser
        .post(
            "/sign-in",
            &[("user", "auth0|a+b"), ("next", "//evil.example")],
        )
        .await;
    assert_eq!(page.location(), "/");
    let cookie = page.headers["set-cookie"].to_str().expect("ASCII");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    assert_ne!(browser.cookie(), before);
    let page = browser
        .post("/sign-in", &[("user", "bob"), ("next", "/recordings")])
        .await;
    assert_eq!(page.location(), "/recordings");
}

#[tokio::test]
async fn pages_are_hardened_and_forms_of_others_refused() {
    let (_reelay, app) = start().await;
    let alice = Browser::of(app.url(), "alice").await;
    for path in ["/", "/recordings", "/nowhere"] {
        let headers = alice.get(path).await.headers;
        let policy = headers["content-security-policy"].to_str().expect("ASCII");
        assert!(
            policy.contains("default-src 'none'")
                && policy.contains("media-src 'self' http://127.0.0.1:*")
        );
        assert!(!policy.contains("unsafe"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "same-origin");
        assert_eq!(headers["cache-control"], "no-store");
    }
    let refused = alice.post_from("http://localhost:1", "/sign-out").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(alice.get("/").await.text.contains("Hello, alice"));

    // By number the app sends browsers to the name that its cookies are for.
    let mut by_number = app.url().clone();
    by_number.set_host(Some("127.0.0.1")).expect("a host");
    let page = Browser::new(&by_number).get("/recordings?a=b").await;
    assert_eq!(
        page.location(),
        app.url().join("/recordings?a=b").expect("a URL").as_str()
    );
}

#[tokio::test]
async fn an_outage_is_said_in_words() {
    let (reelay, app) = start().await;
    let alice = Browser::of(app.url(), "alice").await;
    reelay.world().down = true;
    let page = alice.get("/recordings").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text.contains("Please try again shortly"));
    // The start is still there.
    let page = alice.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("Please try again shortly"));
}

fn told(user: &str) -> String {
    json!({
        "type": "recording.stored", "timestamp": "2026-01-01T10:02:03Z",
        "data": {"app_user_id": user, "sequence": 3, "recording": {"topic": "<i>Weekly</i>"}},
    })
    .to_string()
}

async fn send(app: &DemoApp, headers: &[(&'static str, String)], body: &str) -> StatusCode {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    // By number, as Reelay calls it.
    let mut url = app
        .url()
        .join(reelay_demo_app::WEBHOOK_PATH)
        .expect("a URL");
    url.set_host(Some("127.0.0.1")).expect("a host");
    let mut request = client.post(url).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.send().await.expect("an answer").status()
}

async fn deliver(app: &DemoApp, id: &str, body: &str) {
    let headers = signed(NOTIFICATION_SECRET, id, Timestamp::now().as_second(), body);
    assert_eq!(send(app, &headers, body).await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn only_signed_notifications_are_believed_and_each_once() {
    let (_reelay, app) = start().await;
    let (now, body) = (Timestamp::now().as_second(), told("alice"));
    let other = NOTIFICATION_SECRET.replace('0', "9");
    let tampered = body.replace("alice", "bobby");
    for (headers, body) in [
        (signed(&other, "msg_1", now, &body), &body),
        (
            signed(NOTIFICATION_SECRET, "msg_1", now - 301, &body),
            &body,
        ),
        (signed(NOTIFICATION_SECRET, "msg_1", now, &body), &tampered),
    ] {
        assert_eq!(send(&app, &headers, body).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(send(&app, &[], &body).await, StatusCode::UNAUTHORIZED);
    let mut headers = signed(NOTIFICATION_SECRET, "msg_1", now, &body);
    headers[0].1 = "msg_2".into();
    assert_eq!(send(&app, &headers, &body).await, StatusCode::UNAUTHORIZED);
    assert!(app.received().is_empty());
    // Signed, but not by the contract.
    let headers = signed(NOTIFICATION_SECRET, "msg_1", now, "[]");
    assert_eq!(send(&app, &headers, "[]").await, StatusCode::BAD_REQUEST);

    // While the secret is rotated there are two signatures, ours in any place.
    let mut headers = signed(NOTIFICATION_SECRET, "msg_1", now, &body);
    headers[2].1 = format!(
        "{} {}",
        signed(&other, "msg_1", now, &body)[2].1,
        headers[2].1
    );
    assert_eq!(send(&app, &headers, &body).await, StatusCode::NO_CONTENT);
    deliver(&app, "msg_1", &body).await;
    deliver(&app, "msg_2", &told("bob")).await;
    let received = app.received();
    let ids: Vec<_> = received.iter().map(|n| n.id.as_str()).collect();
    assert_eq!(ids, ["msg_1", "msg_2"]);
    assert_eq!(received[0].kind, "recording.stored");
    assert_eq!(received[0].timestamp.to_string(), "2026-01-01T10:02:03Z");
    assert_eq!(received[0].body["data"]["sequence"], 3);

    let alice = Browser::of(app.url(), "alice").await;
    let page = alice.get("/notifications").await.text;
    assert!(page.contains("msg_1") && page.contains("&lt;i&gt;Weekly") && !page.contains("<i>"));
    assert!(!page.contains("msg_2"));
    let state = alice.get("/notifications.json").await.text;
    assert_eq!(state, r#"{"total":1,"version":"1:msg_1"}"#);
}

#[tokio::test]
async fn tests_can_wait_for_a_notification() {
    let (_reelay, app) = start().await;
    let body = told("alice");
    let (found, ()) = tokio::join!(
        app.wait_for(Duration::from_secs(10), |n| n.kind == "recording.stored"),
        deliver(&app, "msg_1", &body),
    );
    assert_eq!(found.expect("it came").id, "msg_1");
    let none = app
        .wait_for(Duration::from_millis(50), |n| n.id == "msg_2")
        .await;
    assert_eq!(none, None);
    let url = app.url().clone();
    app.shutdown().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    assert!(client.get(url).send().await.is_err());
}
