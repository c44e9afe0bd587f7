//! The demo app inside a complete stack: real functions, the Zoom simulator and signed notifications.
#![allow(clippy::unwrap_used, reason = "test support: a panic reports the failure")]

use std::future::IntoFuture as _;

use axum::routing::get;
use axum::{Json, Router};
use reelay_demo_app::{Bound, Clock, Config, DemoApp, RETURN_PATH, WEBHOOK_PATH};
use reelay_devstack::{Browser, Options, Page, Stack};
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};
use reqwest::header::HeaderMap;
use serde_json::json;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use url::Url;

const ZOOM_USER: &str = "UserAdaBerg00000000001";
const SETTINGS: &str = "/settings/integrations";
const CONNECT: &str = "/settings/integrations/zoom/connect";

async fn start() -> Stack {
    start_with(&[]).await
}

async fn start_with(parameters: &[(&str, &str)]) -> Stack {
    let parameters =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = Options { poll: false, parameters: parameters.collect(), ..Options::default() };
    Stack::start(options).await.unwrap()
}

/// A user of the app, at a browser.
struct User {
    browser: Browser,
    app: Url,
}

impl User {
    fn signed_out(app: &Url) -> Self {
        Self { browser: Browser::default(), app: app.clone() }
    }

    async fn sign_in(app: &Url, name: &str) -> Self {
        let mut user = Self::signed_out(app);
        user.post("/sign-in", &[("user", name)]).await;
        user
    }

    async fn get(&mut self, path: &str) -> Page {
        self.browser.get(&self.app.join(path).unwrap()).await.unwrap()
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        self.browser.post(&self.app.join(path).unwrap(), form).await.unwrap()
    }

    /// Loads a page and follows redirects, with consent at Zoom on the way.
    async fn open(&mut self, path: &str) -> Page {
        let url = self.app.join(path).unwrap();
        self.browser.follow(url, consent).await.unwrap()
    }

    /// Submits a form and loads the page that it redirects to.
    async fn submit(&mut self, path: &str) -> String {
        let redirect = self.post(path, &[]).await;
        assert_eq!(redirect.status, 303, "{}", redirect.body);
        self.open(redirect.location().unwrap().path()).await.body
    }

    /// Starts to connect Zoom, and stops at the return URL, which is not loaded.
    async fn return_url(&mut self) -> Url {
        let mut url = self.app.join(CONNECT).unwrap();
        while url.path() != RETURN_PATH {
            consent(&mut url);
            url = self.browser.get(&url).await.unwrap().location().unwrap();
        }
        url
    }
}

fn consent(url: &mut Url) {
    if url.path() == "/oauth/authorize" {
        url.query_pairs_mut()
            .append_pair("sim_user", ZOOM_USER)
            .append_pair("sim_decision", "allow");
    }
}

async fn alice(stack: &Stack) -> User {
    User::sign_in(stack.demo_app().unwrap().url(), "alice").await
}

/// Alice, with Zoom connected.
async fn linked(stack: &Stack) -> User {
    let mut alice = alice(stack).await;
    let page = alice.open(CONNECT).await;
    assert!(page.body.contains("Zoom is connected, as "), "{}", page.body);
    alice
}

/// Completes a recording at Zoom; the stack processes its event.
async fn record(stack: &Stack, topic: &str, file_types: &[&str]) {
    let zoom = stack.simulator().unwrap().control();
    let files = file_types.iter().map(|file_type| NewFile::new(file_type, 20_000)).collect();
    let recording =
        NewRecording { topic: Some(topic.into()), ..NewRecording::of(ZOOM_USER).with_files(files) };
    zoom.create_recording(recording).unwrap();
    zoom.wait_until_settled().await;
    stack.drain_without_pauses().await;
}

/// The path of the first recording that a page lists.
fn recording_path(page: &str) -> String {
    let (_, rest) = page.split_once("href=\"/recordings/").expect("a recording");
    format!("/recordings/{}", rest.split('"').next().unwrap())
}

#[tokio::test]
async fn connecting_ends_at_a_url_without_the_claim() {
    let stack = start().await;
    let mut alice = alice(&stack).await;
    assert!(alice.get(SETTINGS).await.body.contains("Connect Zoom"));

    let return_url = alice.return_url().await;
    let page = alice.browser.get(&return_url).await.unwrap();
    assert_eq!(page.location().unwrap(), alice.app.join(SETTINGS).unwrap());
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    let page = alice.get(SETTINGS).await.body;
    assert!(
        page.contains("Zoom is connected, as Ada") && page.contains("Zoom simulator"),
        "{page}"
    );
    assert!(!alice.get(SETTINGS).await.body.contains("Zoom is connected, as"), "shown twice");

    let (_, rest) = page.split_once(&format!("{SETTINGS}/zoom/")).unwrap();
    let (_, link) = rest.split_once("/zoom/").unwrap();
    let path = format!("{SETTINGS}/zoom/{}", link.split('"').next().unwrap());
    assert!(alice.submit(&path).await.contains("Zoom is disconnected"));
    assert!(!alice.get(SETTINGS).await.body.contains("Disconnect"));
}

#[tokio::test]
async fn claim_is_rejected_in_another_session() {
    let stack = start().await;
    let app = stack.demo_app().unwrap().url();
    let (mut mallory, mut victim) = (User::sign_in(app, "mallory").await, alice(&stack).await);
    let return_url = mallory.return_url().await;
    for (user, message) in [
        (&mut victim, "A different user of this app started this connection"),
        (&mut mallory, "not finished within ten minutes"),
    ] {
        user.browser.get(&return_url).await.unwrap();
        let page = user.get(SETTINGS).await.body;
        assert!(page.contains(message) && !page.contains("Disconnect"), "{page}");
    }
}

#[tokio::test]
async fn each_return_error_has_a_message() {
    let stack = start().await;
    let mut alice = alice(&stack).await;
    for (query, message) in [
        ("?zoom_error=access_denied", "You did not give access"),
        ("?zoom_error=zoom_unavailable", "could not be reached"),
        ("?zoom_error=zoom_rejected_code", "did not accept the sign-in"),
        ("?zoom_error=zoom_scope_missing", "less access than recordings need"),
        ("?zoom_error=too_many_links", "Too many people"),
        ("?zoom_error=<b>call+0900</b>", "could not be connected"),
        ("?zoom_link=unknown", "not finished within ten minutes"),
        ("?zoom_link=a&zoom_link=b", "was incomplete"),
        ("", "was incomplete"),
    ] {
        let page = alice.open(&format!("{RETURN_PATH}{query}")).await.body;
        assert!(page.contains(message) && !page.contains("0900"), "{query}: {page}");
    }
    let redirect =
        User::signed_out(&alice.app).get(&format!("{RETURN_PATH}?zoom_link=secret")).await;
    assert_eq!(redirect.location().unwrap(), alice.app);
}

#[tokio::test]
async fn recordings_are_listed_by_page() {
    let stack = start_with(&[("DownloadMode", "on-demand")]).await;
    let mut alice = linked(&stack).await;
    for number in 1..=21 {
        record(&stack, &format!("Meeting {number}."), &["TIMELINE"]).await;
    }
    let first = alice.get("/recordings").await.body;
    assert_eq!(first.matches("<article").count(), 20);
    let (before, _) = first.split_once("\" rel=\"next\"").expect("a next page");
    let (_, next) = before.rsplit_once('"').unwrap();
    let second = alice.get(next).await.body;
    assert_eq!(second.matches("<article").count(), 1);
    assert!(second.contains("Newest") && !second.contains("Older"), "{second}");
    let mut bob = User::sign_in(&alice.app, "bob").await;
    assert_eq!(bob.get(next).await.status, 404);
}

#[tokio::test]
async fn recording_is_downloaded_and_played() {
    let stack = start_with(&[("DownloadMode", "on-demand")]).await;
    let mut alice = linked(&stack).await;
    record(&stack, "<script>alert(1)</script>", &["MP4", "M4A"]).await;
    let list = alice.get("/recordings").await.body;
    assert!(list.contains("Found at Zoom") && list.contains("&lt;script&gt;alert(1)"), "{list}");

    let path = recording_path(&list);
    let page = alice.submit(&format!("{path}/download")).await;
    assert!(page.contains("are being downloaded"), "{page}");
    stack.drain_without_pauses().await;
    let page = alice.get(&path).await.body;
    for element in ["<video", "<audio"] {
        let (_, rest) = page.split_once(element).expect(element);
        let (_, url) = rest.split_once("src=\"").unwrap();
        let url = url.split('"').next().unwrap().replace("&amp;", "&");
        let file = reqwest::get(url).await.unwrap();
        assert_eq!(file.content_length(), Some(20_000), "{element}");
    }
    assert!(alice.get("/recordings").await.body.contains("1 of 1 recordings stored"));
}

#[tokio::test]
async fn failed_file_shows_its_reason() {
    let stack = start().await;
    let mut alice = linked(&stack).await;
    let zoom = stack.simulator().unwrap().control();
    let fault = |status| NewFault::always(Point::Download, Fault::Status { status });
    zoom.arm(fault(401)).unwrap();
    record(&stack, "Weekly", &["MP4"]).await;
    let path = recording_path(&alice.get("/recordings").await.body);
    let page = alice.get(&path).await.body;
    assert!(page.contains("Waits: token refused. Next attempt"), "{page}");

    zoom.clear_faults(None);
    zoom.arm(fault(410)).unwrap();
    stack.engines().queues().end_delays(&stack.config().queues.downloads);
    stack.drain_without_pauses().await;
    let page = alice.get(&path).await.body;
    assert!(page.contains(">Failed<") && page.contains("Download from Zoom"), "{page}");
    let (_, reason) = page.split_once(">Failed</span></p><p class=\"muted\">").expect("a reason");
    assert!(!reason.starts_with('<'), "{page}");
}

#[tokio::test]
async fn users_see_only_their_own_data() {
    let stack = start().await;
    let mut alice = linked(&stack).await;
    record(&stack, "Private", &["TIMELINE"]).await;
    let mut bob = User::sign_in(&alice.app, "bob").await;
    for (path, data) in
        [(SETTINGS, ZOOM_USER), ("/recordings", "Private"), ("/notifications", "Private")]
    {
        assert!(alice.get(path).await.body.contains(data), "{path}");
        assert!(!bob.get(path).await.body.contains(data), "{path}");
    }
    let path = recording_path(&alice.get("/recordings").await.body);
    // An id cannot add a query to Reelay's path.
    for path in [&*path, "/recordings/a%3Flimit=1%23b"] {
        assert_eq!(bob.get(path).await.status, 404, "{path}");
    }

    let cookies = alice.browser.clone();
    alice.post("/sign-out", &[]).await;
    let replay = User { browser: cookies, app: alice.app.clone() };
    for mut user in [replay, User::signed_out(&alice.app)] {
        assert_eq!(user.get("/recordings").await.location().unwrap(), alice.app);
    }
}

#[tokio::test]
async fn sign_in_renews_the_cookie_and_rejects_invalid_ids() {
    let stack = start().await;
    let mut user = User::signed_out(stack.demo_app().unwrap().url());
    for id in ["", "no spaces", "a/b", "<b>", "é", "a\nb", &"x".repeat(129)] {
        user.post("/sign-in", &[("user", id)]).await;
        assert!(user.get("/").await.body.contains("1 to 128"), "{id:?}");
    }
    let before = user.browser.cookies("localhost").clone();
    for id in ["auth0|a+b", "a.b_c~d@e:f+g=h-i", &"x".repeat(128)] {
        let page = user.post("/sign-in", &[("user", id)]).await;
        let cookie = page.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        assert!(user.get(SETTINGS).await.body.contains(id), "{id}");
    }
    assert_ne!(user.browser.cookies("localhost"), &before);
}

#[tokio::test]
async fn pages_have_security_headers_and_reject_foreign_requests() {
    let stack = start().await;
    let mut alice = alice(&stack).await;
    for path in [SETTINGS, "/nowhere", "/assets/live.js"] {
        let headers = alice.get(path).await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let media = format!("media-src {};", stack.config().endpoints.s3);
        assert!(policy.contains(&media), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
    }
    let http = reqwest::Client::builder().no_proxy();
    let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let sign_in = alice.app.join("/sign-in").unwrap();
    let own = alice.app.as_str().trim_end_matches('/');
    for (name, value, status) in [
        ("origin", own, 303),
        ("origin", "http://localhost:1", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "same-origin", 303),
        ("sec-fetch-site", "none", 303),
        // Another port of the same host.
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("host", "evil.example", 421),
    ] {
        let response =
            http.post(sign_in.clone()).header(name, value).form(&[("user", "bob")]).send();
        assert_eq!(response.await.unwrap().status(), status, "{name}: {value}");
    }
}

/// The app with a Reelay at this URL.
async fn serve_with(reelay_url: &str) -> DemoApp {
    let app = Bound::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let app = app.serve(Config {
        public_url: None,
        reelay_url: reelay_url.parse().unwrap(),
        app_secret: "secret".into(),
        notification_secret: "c2VjcmV0".into(),
        simulator_url: None,
        media_sources: Vec::new(),
        clock: Clock::default(),
    });
    app.await.unwrap()
}

#[tokio::test]
async fn each_issue_has_an_explanation() {
    for (issue, explanation, is_reconnect) in [
        (None, ">Connected<", false),
        (Some("plan_without_cloud_recording"), "plan has no cloud recording", false),
        (Some("scope_missing"), "less access than recordings need", true),
        (Some("access_denied"), "Ask your Zoom administrator", false),
        (Some("zoom_user_not_found"), "does not know this user", false),
        (Some("events_not_arriving"), "up to a day late", false),
        (Some("new_in_a_later_version"), "contact the support", false),
    ] {
        let link = json!({
            "id": "lnk_1", "status": "active", "created_at": "2026-01-01T10:00:00.000Z", "issue": issue,
            "zoom": {"account_id": "a", "user_id": "u", "display_name": "Ada", "email": null},
        });
        let links = Json(json!({"links": [link]}));
        let reelay = Router::new().route("/v1/links", get(async move || links));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(axum::serve(listener, reelay).into_future());
        let app = serve_with(&url).await;
        let page = User::sign_in(app.url(), "alice").await.get(SETTINGS).await.body;
        assert!(page.contains(explanation), "{issue:?}: {page}");
        assert_eq!(page.contains(">Reconnect<"), is_reconnect, "{issue:?}");
        server.abort();
    }
}

#[tokio::test]
async fn outage_is_explained() {
    let app = serve_with("http://127.0.0.1:1").await;
    let page = User::sign_in(app.url(), "alice").await.get("/recordings").await;
    assert_eq!(page.status, 502);
    assert!(page.body.contains("Please try again shortly"), "{}", page.body);
    let url = app.url().clone();
    app.shutdown().await;
    assert!(Browser::default().get(&url).await.is_err());
}

async fn send(app: &DemoApp, headers: &HeaderMap, body: &str) -> u16 {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(app.url().join(WEBHOOK_PATH).unwrap()).headers(headers.clone());
    request.body(body.to_owned()).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn only_notifications_with_a_valid_signature_are_accepted() {
    let stack = start().await;
    let app = stack.demo_app().unwrap();
    let secret = &stack.config().secrets.notification_secret;
    let sign = |secret: &str, id: &str, age: i64, body: &str| {
        let now = stack.clock().now().as_second() - age;
        let signature = Webhook::new(secret).unwrap().sign(id, now, body.as_bytes()).unwrap();
        let headers = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", now.to_string()),
            ("webhook-signature", signature),
        ];
        HeaderMap::from_iter(
            headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())),
        )
    };
    let body = r#"{"type": "recording.stored", "timestamp": "2026-01-01T10:02:03Z",
        "data": {"app_user_id": "alice", "sequence": 3, "recording": {"topic": "<i>Weekly</i>"}}}"#;
    let other_secret = "c29tZSBvdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMhISEh";
    let valid = sign(secret, "msg_1", 0, body);
    let other = sign(other_secret, "msg_1", 0, body);
    let mut other_id = valid.clone();
    other_id.insert("webhook-id", "msg_2".parse().unwrap());
    for (case, headers, body, status) in [
        ("no signature", HeaderMap::new(), body, 401),
        ("another secret", other.clone(), body, 401),
        ("too old", sign(secret, "msg_1", 301, body), body, 401),
        ("another id", other_id, body, 401),
        ("another body", valid.clone(), &body.replace("alice", "bobby"), 401),
        ("not a notification", sign(secret, "msg_1", 0, "[]"), "[]", 400),
    ] {
        assert_eq!(send(app, &headers, body).await, status, "{case}");
    }
    assert!(app.received().is_empty());

    // While the secret is rotated there are two signatures.
    let mut rotated = valid.clone();
    let signatures = [&other, &valid].map(|headers| headers["webhook-signature"].to_str().unwrap());
    rotated.insert("webhook-signature", signatures.join(" ").parse().unwrap());
    for headers in [&rotated, &valid] {
        assert_eq!(send(app, headers, body).await, 204);
    }
    let received = app.received();
    assert_eq!(received.len(), 1);
    assert_eq!((&*received[0].id, &*received[0].kind), ("msg_1", "recording.stored"));
    assert_eq!(received[0].timestamp.to_string(), "2026-01-01T10:02:03Z");
    let page = alice(&stack).await.get("/notifications").await.body;
    let signature = valid["webhook-signature"].to_str().unwrap();
    for text in ["msg_1", signature, "&lt;i&gt;Weekly", "Signature verified"] {
        assert!(page.contains(text), "{text}: {page}");
    }
}
