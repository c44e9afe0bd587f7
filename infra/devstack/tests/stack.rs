//! A stack over HTTP.

use reelay_devstack::{Options, Stack, StartError};
use serde_json::Value;

fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

async fn json(url: String) -> Value {
    let text = http().get(url).send().await.expect("an response").text().await.expect("text");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn stack_starts_serves_and_stops() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let url = stack.url().to_owned();
    let response = http().get(format!("{url}/healthz")).send().await.unwrap();
    assert_eq!(response.status(), 200);

    let config = json(format!("{url}/_dev/config")).await;
    for pointer in [
        "/secrets/zoom_client_id",
        "/secrets/zoom_client_secret",
        "/secrets/zoom_webhook_secret",
        "/secrets/app_secret",
        "/secrets/notification_secret",
        "/bucket",
        "/event_bus",
        "/region",
        "/credentials/access_key_id",
        "/credentials/secret_access_key",
        "/tables/links",
        "/tables/sessions",
        "/tables/recordings",
        "/queues/events",
        "/queues/events_dlq",
        "/queues/downloads",
        "/queues/downloads_dlq",
        "/queues/notifications",
        "/queues/notifications_dlq",
        "/endpoints/dynamodb",
        "/endpoints/s3",
        "/endpoints/sqs",
        "/endpoints/kms",
        "/endpoints/secretsmanager",
        "/endpoints/events",
    ] {
        let value = config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(!value.is_empty(), "{pointer}");
        let is_url = pointer.starts_with("/queues") || pointer.starts_with("/endpoints");
        assert_eq!(value.starts_with("http://127.0.0.1:"), is_url, "{pointer} is {value}");
    }
    for (name, value, status) in [
        ("host", "evil.test".to_owned(), 421),
        ("origin", "https://evil.test".to_owned(), 403),
        ("origin", "http://localhost:9".to_owned(), 403),
        ("origin", url.clone(), 200),
        ("origin", stack.demo_app().unwrap().url().origin().ascii_serialization(), 200),
    ] {
        let request = http().get(format!("{url}/_dev/config")).header(name, &value);
        assert_eq!(request.send().await.unwrap().status(), status, "{name}: {value}");
        // Every path below `/_dev` has the same guard.
        let request = http().post(format!("{url}/_dev/nothing")).header(name, &value);
        let expected = if status == 200 { 404 } else { status };
        assert_eq!(request.send().await.unwrap().status(), expected, "{name}: {value}");
    }

    // API Gateway's own responses.
    let response = http().get(format!("{url}/nowhere")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.text().await.unwrap().as_str()),
        (404, r#"{"message":"Not Found"}"#)
    );
    let response =
        http().post(format!("{url}/zoom/webhook")).body(vec![b' '; 11 << 20]).send().await.unwrap();
    assert_eq!(response.status(), 413);

    assert_eq!(stack.outputs()["WebhookUrl"], format!("{url}/zoom/webhook"));
    stack.shutdown().await;
    assert!(http().get(format!("{url}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn two_stacks_run_in_one_process() {
    let start = || Stack::start(Options { poll: false, demo_app: false, ..with_return_url() });
    let (one, two) = tokio::join!(start(), start());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.url(), two.url());
    assert_ne!(one.config().secrets.app_secret, two.config().secrets.app_secret);
    one.shutdown().await;
    assert_eq!(http().get(format!("{}/healthz", two.url())).send().await.unwrap().status(), 200);
    two.shutdown().await;
}

fn with_return_url() -> Options {
    Options {
        parameters: vec![("ReturnUrls".into(), "http://localhost:9/back".into())],
        ..Options::default()
    }
}

#[tokio::test]
async fn start_errors_name_the_cause() {
    let first = Stack::start(Options { demo_app: false, ..with_return_url() }).await.unwrap();
    let port: u16 = first.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let error = Stack::start(Options { port, ..Options::default() }).await.unwrap_err();
    assert!(matches!(error, StartError::PortInUse(taken) if taken == port), "{error}");
    first.shutdown().await;

    for (name, value, words) in [
        ("Nonsense", "1", "there is no parameter Nonsense"),
        ("DownloadMode", "sometimes", "automatic, on-demand"),
        ("ReturnUrls", "not a url", "ReturnUrls"),
    ] {
        let parameters = vec![(name.to_owned(), value.to_owned())];
        let error = Stack::start(Options { parameters, ..Options::default() })
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
    let error = Stack::start(Options { demo_app: false, ..Options::default() })
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("ReturnUrls is required"), "{error}");
}

/// Number of visible messages in a queue.
async fn visible(stack: &Stack, url: &str) -> String {
    use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
    let sqs = stack.sdk().sqs();
    let response = sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(ApproximateNumberOfMessages)
        .send()
        .await;
    response.expect("attributes").attributes.expect("attributes")[&ApproximateNumberOfMessages]
        .clone()
}

#[tokio::test]
async fn failing_message_reaches_the_dead_letter_queue() {
    let stack = Stack::start(Options { poll: false, ..Options::default() }).await.unwrap();
    let queues = &stack.config().queues;
    let send = || {
        stack
            .sdk()
            .sqs()
            .send_message()
            .queue_url(&queues.events)
            .message_body("not an event")
            .send()
    };
    send().await.unwrap();
    let drained = stack.drain_without_pauses().await;
    assert_eq!((drained.done, drained.failed), (0, 235), "the template's maxReceiveCount");
    assert_eq!(visible(&stack, &queues.events_dlq).await, "1");

    // The failed message stays hidden until its visibility timeout.
    send().await.unwrap();
    let drained = stack.drain().await;
    assert_eq!((drained.done, drained.failed, drained.waiting), (0, 1, 1));
    assert_eq!(visible(&stack, &queues.events_dlq).await, "1");
    stack.shutdown().await;
}
