//! `POST /_dev/clock`: one clock of functions, engines, simulator and demo app.
#![allow(clippy::unwrap_used, reason = "test support: a panic reports the failure")]

use jiff::{SignedDuration, Timestamp};
use reelay_demo_app::Clock;
use reelay_demo_app::reelay::{Reelay, Status};
use reelay_devstack::{Browser, Options, Stack};
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{DeliveryState, NewFile, NewRecording};
use reqwest::{Client, Response};
use serde_json::{Value, json};

const ZOOM_USER: &str = "UserAdaBerg00000000001";
const APP_USER: &str = "alice";
const FOURTEEN_DAYS: SignedDuration = SignedDuration::from_hours(14 * 24);

fn http() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn post_clock(stack: &Stack, body: &str) -> Response {
    let url = format!("{}/_dev/clock", stack.url());
    http().post(url).body(body.to_owned()).send().await.unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

async fn advance(stack: &Stack, by: SignedDuration) -> Timestamp {
    let response = post_clock(stack, &json!({"advance_seconds": by.as_secs()}).to_string()).await;
    assert_eq!(response.status(), 200);
    json_of(response).await["now"].as_str().unwrap().parse().unwrap()
}

fn reelay(stack: &Stack) -> Reelay {
    let secret = stack.config().secrets.app_secret.clone().into();
    let clock = stack.clock().clone();
    Reelay::new(stack.url().parse().unwrap(), &secret, Clock::new(move || clock.now())).unwrap()
}

async fn connect(stack: &Stack) {
    let app = stack.demo_app().unwrap().url();
    let mut browser = Browser::default();
    browser.post(&app.join("/sign-in").unwrap(), &[("user", APP_USER)]).await.unwrap();
    let button = app.join("/settings/integrations/zoom/connect").unwrap();
    let consent = |url: &mut url::Url| {
        if url.path() == "/oauth/authorize" {
            let consent = [("sim_user", ZOOM_USER), ("sim_decision", "allow")];
            url.query_pairs_mut().extend_pairs(consent);
        }
    };
    let page = browser.follow(button, consent).await.unwrap();
    assert_eq!(page.url.path(), "/settings/integrations");
}

fn new_recording() -> NewRecording {
    NewRecording::of(ZOOM_USER).with_files(vec![NewFile::new("M4A", 10_000)])
}

/// The presigned URL of the only file of a recording, which must be stored.
async fn stored_url(stack: &Stack, uuid: &str) -> String {
    let (reelay, user) = (reelay(stack), APP_USER.parse().unwrap());
    let page = reelay.recordings(&user, 100, None).await.unwrap();
    let listed = page.recordings.iter().find(|recording| recording.meeting_uuid == uuid);
    let recording = reelay.recording(&user, &listed.unwrap().id).await.unwrap();
    assert_eq!(recording.status, Status::Stored);
    recording.files[0].url.clone().unwrap().to_string()
}

async fn status_of(url: &str) -> u16 {
    http().get(url).send().await.unwrap().status().as_u16()
}

/// Posts an event that is signed at a time, and returns the status.
async fn post_event(stack: &Stack, event: &str, at: Timestamp) -> u16 {
    let timestamp = at.as_second().to_string();
    let secret = &stack.config().secrets.zoom_webhook_secret;
    let signature = reelay_zoom_sim::sign(secret, &timestamp, event.as_bytes());
    let post = http().post(format!("{}/zoom/webhook", stack.url()));
    let post = post
        .header("content-type", "application/json")
        .header("x-zm-request-timestamp", timestamp)
        .header("x-zm-signature", signature);
    post.body(event.to_owned()).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_follows_the_clock() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let zoom = stack.simulator().unwrap().control();
    connect(&stack).await;
    let first = zoom.create_recording(new_recording()).unwrap().recording;
    let start = advance(&stack, SignedDuration::ZERO).await;
    let old_url = stored_url(&stack, &first.uuid).await;
    assert_eq!(status_of(&old_url).await, 200);

    // Waits for its retry after 5 minutes.
    let webhook_url = zoom.settings().webhook_url.unwrap();
    zoom.set_webhook_url("http://127.0.0.1:1/");
    let retried = zoom.create_recording(new_recording()).unwrap();
    advance(&stack, SignedDuration::ZERO).await;
    zoom.set_webhook_url(webhook_url);
    let queues = &stack.config().queues;
    let send = stack.sdk().sqs().send_message().queue_url(&queues.jobs_dlq).message_body("dead");
    send.send().await.unwrap();
    let visible = |url: &str| stack.engines().queues().visible(url);
    assert_eq!(visible(&queues.jobs_dlq), 1);

    let calls = || stack.engines().faults().calls(Service::Sqs, "SendMessage");
    let calls_before = calls();
    let now = advance(&stack, FOURTEEN_DAYS).await;
    assert!(now.duration_since(start) >= FOURTEEN_DAYS);
    assert!(stack.clock().now().duration_since(now) < SignedDuration::from_mins(1));
    assert!(calls() - calls_before >= 14 * 24, "maintenance runs at least hourly");
    assert_eq!(visible(&queues.jobs), 0, "the maintenance jobs are processed");
    assert_eq!(visible(&queues.jobs_dlq), 0, "the dead letter has expired");
    assert_eq!(status_of(&old_url).await, 403);
    let delivery = zoom.delivery(retried.deliveries[0]).unwrap();
    assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::Delivered, 2));
    assert_eq!(status_of(&stored_url(&stack, &retried.recording.uuid).await).await, 200);

    // A client signs with the returned time.
    zoom.change_settings(|settings| settings.webhooks_enabled = false);
    let created = zoom.create_recording(new_recording()).unwrap();
    zoom.wait_until_settled().await;
    let event = zoom.delivery(created.deliveries[0]).unwrap().body;
    assert_eq!(post_event(&stack, &event, Timestamp::now()).await, 401);
    assert_eq!(post_event(&stack, &event, now).await, 200);
    advance(&stack, SignedDuration::ZERO).await;
    assert_eq!(status_of(&stored_url(&stack, &created.recording.uuid).await).await, 200);
    let stored = stack.demo_app().unwrap().received();
    let mut stored = stored.iter().filter(|it| it.kind == "recording.stored");
    assert!(
        stored.any(|it| it.body["data"]["recording"]["meeting_uuid"] == *created.recording.uuid)
    );
    stack.shutdown().await;
}

#[tokio::test]
async fn simulator_moves_the_clock_of_the_stack() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let url = stack.simulator().unwrap().url().join("_sim/clock").unwrap();
    let post = |body: Value| http().post(url.clone()).json(&body).send();
    let hour = SignedDuration::from_hours(1);
    let before = stack.clock().now();
    let response = post(json!({"advance_seconds": 3600})).await.unwrap();
    assert_eq!(response.status(), 200);
    let at = stack.clock().now() + hour;
    assert_eq!(post(json!({"set": at})).await.unwrap().status(), 200);
    let moved = stack.clock().now().duration_since(before);
    assert!(moved >= 2 * hour - SignedDuration::from_secs(1), "{moved}");
    assert_eq!(post(json!({"advance_seconds": -1})).await.unwrap().status(), 400);
    assert!(stack.clock().now() > before + hour, "it never moves back");
    stack.shutdown().await;
}

#[tokio::test]
async fn calls_are_serialized_and_checked() {
    let stack = Stack::start(Options { poll: false, ..Options::default() }).await.unwrap();
    let start = stack.clock().now();
    let hour = SignedDuration::from_hours(1);
    let (one, two) = tokio::join!(advance(&stack, hour), advance(&stack, hour));
    assert!(one.max(two).duration_since(start) >= 2 * hour);
    assert!(one.min(two).duration_since(start) < 2 * hour);

    let before = stack.clock().now();
    for body in [r#"{"advance_seconds": 2592001}"#, r#"{"advance_seconds": -1}"#, "", "[]"] {
        let response = post_clock(&stack, body).await;
        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{body}");
        let problem = json_of(response).await;
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&json!(400), &json!("request_invalid"))
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("advance_seconds") && detail.contains("2592000"), "{detail}");
    }
    let url = format!("{}/_dev/clock", stack.url());
    for (name, value, status) in [("host", "evil.test", 421), ("origin", "https://evil.test", 403)]
    {
        let post = http().post(&url).header(name, value).body(r#"{"advance_seconds": 3600}"#);
        assert_eq!(post.send().await.unwrap().status(), status, "{name}");
    }
    assert!(stack.clock().now() < before + hour, "rejected calls have no effect");
    stack.shutdown().await;
}
