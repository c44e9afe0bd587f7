//! Leak scan: the main flow with all its failures, then a search through logs at TRACE level, AWS requests,
//! items, objects, notifications and pages.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, RawEvent};
use reqwest::Method;
use serde_json::{Value, json};
use support::zoom_users::{ADA, BEN, CEM};

use super::run::{Log, Run};
use crate::linking::parameter;

#[tokio::test]
async fn no_secret_is_written_anywhere() {
    let log = Log::default();
    let _guard = log.record();
    let mut run = Run::begin(log).await;

    linking(&mut run).await;
    recording(&mut run).await;
    refreshing(&mut run).await;
    failing(&mut run).await;
    ending(&mut run).await;

    let written = run.end().await;
    for name in [
        "the client secret",
        "the webhook secret",
        "the app secret",
        "the notification secret",
        "the state key",
        "the queue key",
        "an access token",
        "a refresh token",
        "a code",
        "a state",
        "a PKCE verifier",
        "a browser's cookie",
        "a claim",
        "a connect token",
        "an API token",
        "a presigned URL's signature",
        "an event's download_token",
        "an event's download_url",
        "an event's play_url",
        "an event's share_url",
        "an event's password",
        "an event's recording_play_passcode",
        "an event's host_email",
    ] {
        assert!(written.search.names().any(|found| found == name), "{name} was never used");
    }
    for place in [
        "the object events/",
        "the object recordings/",
        "the table reelay-dev-links",
        "the table reelay-dev-sessions",
        "the table reelay-dev-recordings",
        "Sqs SendMessage",
        "Sqs SendMessageBatch",
        "DynamoDb PutItem",
        "DynamoDb UpdateItem",
        "DynamoDb TransactWriteItems",
        "EventBridge PutEvents",
        "a notification",
        "a page's error",
        "the response to a recording",
    ] {
        assert!(written.has(place), "no text at {place}");
    }
    let log = written.log();
    for line in [
        r#""target":"oauth_callback""#,
        r#""target":"recording_downloader"#,
        r#""target":"reelay_runtime::sqs""#,
        r#""target":"app_api""#,
        r#""target":"metric""#,
        r#""level":"TRACE""#,
        "aws_smithy",
        "hyper",
    ] {
        assert!(log.contains(line), "the log has no {line}");
    }
    let leaks = written.leaks();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Control: planted secrets are found.
#[tokio::test]
async fn planted_secrets_are_found_everywhere() {
    let log = Log::default();
    let _guard = log.record();
    let mut run = Run::begin(log).await;
    run.link("alice", ADA).await;
    let (stack, config) = (&run.system.stack, run.system.config());
    let tokens = run.system.zoom().live_grant(ADA).unwrap();

    tracing::trace!(token = tokens.refresh_token, "planted");
    let in_base64 = STANDARD_NO_PAD.encode(format!("{{\"a\":\"{}\"}}", tokens.access_token));
    run.system.send_message(&config.queues.jobs_dlq, &in_base64).await;
    // A message that is purged before the scan.
    run.system.send_message(&config.queues.jobs, &tokens.refresh_token).await;
    run.system.purge_queue(&config.queues.jobs).await;
    let put = stack.sdk().dynamodb().put_item();
    let put = put
        .table_name(&config.tables.sessions)
        .item("id", AttributeValue::S("planted".into()))
        .item("hex", AttributeValue::S(hex::encode(&config.secrets.app_secret)));
    put.send().await.unwrap();
    let object = stack.sdk().s3().put_object();
    let object = object
        .bucket(&config.bucket)
        .key("planted")
        .metadata("secret", &config.secrets.zoom_client_secret)
        .body(ByteStream::from(config.secrets.zoom_webhook_secret.clone().into_bytes()));
    object.send().await.unwrap();

    let leaks = run.end().await.leaks();
    for planted in [
        "the log: a refresh token, as it is",
        "the log: a JWT, as it is",
        "reelay-dev-jobs-dlq: an access token, in base64",
        "Sqs SendMessage: an access token, in base64",
        "Sqs SendMessage: a refresh token, as it is",
        "DynamoDb PutItem: the app secret, in hex",
        "the table reelay-dev-sessions: the app secret, in hex",
        "the object planted: the client secret, as it is",
        "the object planted: the webhook secret, as it is",
    ] {
        assert!(
            leaks.iter().any(|leak| leak.ends_with(planted)),
            "{planted} not found: {leaks:#?}"
        );
    }
}

/// Consents that are rejected, interrupted, confirmed by another user, and successful.
async fn linking(run: &mut Run) {
    // In another browser, and then declined.
    let mut browser = run.system.browser();
    let callback = run.callback(&mut browser, "alice", ADA).await;
    let mut other = run.system.browser();
    assert_eq!(run.visit(&mut other, &callback).await.error_page(), "wrong_browser");
    let token = run.system.app.connect_token("alice");
    run.search.add("a connect token", &token);
    let start = run.visit(&mut browser, &run.system.app.connect_url(&token)).await;
    let authorize = start.location.unwrap();
    run.search.add("a state", &parameter(&authorize, "state"));
    let denied = run.system.deny(&mut browser, &authorize).await;
    let denied = run.visit(&mut browser, &denied).await;
    assert_eq!(denied.zoom_error(), "access_denied");
    let altered = format!("{}x", run.system.app.connect_url(&token));
    let rejected = run.visit(&mut browser, &altered).await;
    assert_eq!(rejected.error_page(), "connect_token_invalid");

    // Zoom rejects the code and repeats it in the error; then `users/me` fails.
    let callback = run.callback(&mut browser, "alice", ADA).await;
    let body = json!({"reason": format!("Invalid authorization code {}", parameter(&callback, "code")), "error": "invalid_request"});
    let rejection = Fault::Respond {
        status: 400,
        content_type: "application/json".into(),
        body: body.to_string(),
    };
    run.arm(Point::TokenExchange, rejection, 1);
    let rejected = run.visit(&mut browser, &callback).await;
    assert_eq!(rejected.zoom_error(), "zoom_rejected_code");
    let callback = run.callback(&mut browser, "alice", CEM).await;
    run.arm(Point::UsersMe, Fault::Status { status: 500 }, 1);
    let interrupted = run.visit(&mut browser, &callback).await;
    assert_eq!(interrupted.zoom_error(), "zoom_unavailable");
    run.process().await;

    // The wrong user invalidates the claim.
    let claim = run.consent("mallory", ADA).await;
    assert_eq!(run.confirm("alice", &claim).await.status, 403);
    assert_eq!(run.confirm("mallory", &claim).await.status, 410);
    // The unused grant is revoked before the next consent.
    run.process().await;
    let token = run.system.app.api_token("alice");
    run.search.add("an API token", &token);
    let altered =
        run.system.app.call_with(Method::GET, "/v1/links", Some(&format!("{token}x")), None).await;
    assert_eq!(altered.code(), "token_invalid");

    run.link("alice", ADA).await;
    run.link("bob", BEN).await;
    run.call(Method::GET, "/v1/links", "alice", None).await;
}

/// Events of every kind, forged ones too.
async fn recording(run: &mut Run) {
    // The address of the link may be stored and shown; that of an event may not.
    run.system.zoom().change_email(ADA, "ada.berg@events.test").unwrap();
    let new = NewRecording { participant_audio: 1, ..NewRecording::of(ADA) };
    let first = run.system.complete_recording(new).await;
    run.add_credentials();
    run.process().await;
    let transcript = run.system.zoom().add_transcript(&first.key, None).unwrap();
    run.system.await_deliveries(&transcript).await;
    run.process().await;

    // An event above the message limit, stored in the bucket.
    let many = (0..700).map(|_| NewFile::new("CHAT", 10)).collect();
    run.system.complete_recording(NewRecording::of(ADA).with_files(many)).await;
    run.add_credentials();
    run.record_objects().await;
    assert!(!run.system.objects("events/").await.is_empty(), "the event is not in the bucket");
    // 700 files would add nothing to the scan.
    let queue = run.system.queues().events.clone();
    run.system.purge_queue(&queue).await;

    let secret = run.system.webhook_secret();
    let body = run.system.zoom().deliveries()[0].body.clone();
    for (secret, seconds) in [("a forger's own", 0), (secret.as_str(), -400)] {
        let timestamp = (run.system.app.now().as_second() + seconds).to_string();
        let signature = reelay_zoom_sim::sign(secret, &timestamp, body.as_bytes());
        let headers = Some((timestamp.as_str(), signature.as_str()));
        let sent =
            run.system.post_raw("/zoom/webhook", body.as_bytes(), "application/json", headers);
        assert_eq!(sent.await.status(), 401);
    }
    let validation = br#"{"payload":{"plainToken":"plain"},"event":"endpoint.url_validation"}"#;
    let response = run.system.post_signed("/zoom/webhook", validation, &secret).await;
    let text = response.text().await.unwrap();
    run.written.push(("the response to a validation".to_owned(), text.into_bytes()));

    // The app reads everything.
    let listed = run.call(Method::GET, "/v1/recordings", "alice", None).await;
    let id = listed.json()["recordings"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/recordings/{id}");
    let shown = run.call(Method::GET, &path, "alice", None).await.json();
    // A presigned URL may appear in this response alone.
    let (_, text) = run.written.pop().unwrap();
    let mut rest = String::from_utf8(text).unwrap();
    for file in shown["files"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        let signature = parameter(url, "X-Amz-Signature");
        rest = rest.replace(&signature, "");
        run.search.add("a presigned URL's signature", &signature);
    }
    run.written.push(("the response to a recording".to_owned(), rest.into_bytes()));
}

/// Tokens that are rejected, expired and refreshed.
async fn refreshing(run: &mut Run) {
    // The event's token and the access token have expired.
    run.system.complete_recording(NewRecording::of(ADA)).await;
    run.add_credentials();
    run.system.advance(SignedDuration::from_hours(25));
    run.arm(Point::TokenRefresh, Fault::Status { status: 500 }, 1);
    run.process().await;
    let refreshed = run.system.zoom().live_grant(ADA).unwrap().refreshes;
    assert!(refreshed > 0, "no refresh");
}

/// Messages for each dead-letter queue, and failing AWS calls.
async fn failing(run: &mut Run) {
    let (stack, zoom) = (&run.system.stack, run.system.zoom().clone());
    let queues = stack.config().queues.clone();

    // An event that cannot be parsed.
    let mut broken: Value = zoom
        .deliveries()
        .iter()
        .map(|delivery| serde_json::from_str(&delivery.body).unwrap())
        .find(|event: &Value| event["event"] == "recording.completed")
        .unwrap();
    broken["payload"]["object"]["host_id"] = json!(null);
    let id = zoom.send_raw(RawEvent { body: broken.to_string(), ..RawEvent::default() });
    zoom.wait_for_attempts(id, 1).await;

    // Downloads that fail at Zoom, at the CDN, and by a redirect.
    for (point, fault) in [
        (Point::Download, Fault::Status { status: 500 }),
        (Point::Content, Fault::Truncate { after: 10 }),
        (
            Point::Download,
            Fault::Redirect {
                to: "https://elsewhere.test/?Signature=the-signature-of-a-redirect".into(),
            },
        ),
    ] {
        let armed = zoom.arm(NewFault::always(point, fault)).unwrap();
        run.system
            .complete_recording(NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 5_000)]))
            .await;
        run.add_credentials();
        run.process().await;
        zoom.clear_faults(Some(armed));
    }
    run.search.add("a redirect's signature", "the-signature-of-a-redirect");
    let faults = run.system.faults();
    let fault = reelay_embedded_aws::Fault::error(403, "AccessDenied");
    for (service, operation) in [
        (Service::S3, "PutObject"),
        (Service::DynamoDb, "UpdateItem"),
        (Service::Kms, "Decrypt"),
        (Service::Sqs, "SendMessageBatch"),
    ] {
        faults.fail_next(service, operation, 1, fault.clone());
    }
    run.system.complete_recording(NewRecording::of(ADA)).await;
    run.add_credentials();
    run.process().await;
    run.system.faults().clear_all();

    // A notification that the app never accepts.
    run.app_webhook.respond_next([500; 40]);
    run.system
        .complete_recording(NewRecording::of(ADA).with_files(vec![NewFile::new("CHAT", 50)]))
        .await;
    run.add_credentials();
    run.process().await;

    // An event that cannot be processed.
    let down = reelay_embedded_aws::Fault::error(403, "AccessDenied");
    run.system.faults().fail_until_cleared(Service::DynamoDb, "*", down);
    run.system.complete_recording(NewRecording::of(ADA)).await;
    run.add_credentials();
    run.process().await;
    run.system.faults().clear_all();
    assert!(run.system.queue_depth(&queues.events_dlq).await > 0);
    let links = run.call(Method::GET, "/v1/links", "alice", None).await;
    assert_eq!(links.json()["links"].as_array().unwrap().len(), 1);
}

/// Disconnects and revocations.
async fn ending(run: &mut Run) {
    // The delayed finish jobs find links that were never confirmed.
    let config = run.system.config();
    let scan = run.system.sdk().dynamodb().scan();
    let scan = scan.table_name(&config.tables.sessions).send().await;
    for item in scan.unwrap().items.unwrap_or_default() {
        let id = item["id"].as_s().unwrap();
        if id.starts_with("exchange#") {
            let job = json!({"v": 1, "job": "finish_connect", "exchange": id});
            run.system.send_message(&config.queues.jobs, &job.to_string()).await;
        }
    }
    run.process().await;

    let link = run.link("carol", CEM).await;
    // Zoom's revocation fails until the job reaches the dead-letter queue.
    let zoom = run.system.zoom().clone();
    let armed = zoom.arm(NewFault::always(Point::Revoke, Fault::Status { status: 500 })).unwrap();
    let path = format!("/v1/links/{link}");
    assert_eq!(run.call(Method::DELETE, &path, "carol", None).await.status, 204);
    run.process().await;
    let jobs = run.system.queues().jobs_dlq.clone();
    assert!(run.system.queue_depth(&jobs).await > 0);
    zoom.clear_faults(Some(armed));

    let link = run.call(Method::GET, "/v1/links", "alice", None).await.json();
    let path = format!("/v1/links/{}", link["links"][0]["id"].as_str().unwrap());
    assert_eq!(run.call(Method::DELETE, &path, "alice", None).await.status, 204);
    run.process().await;
    assert!(run.system.zoom().live_grant(ADA).is_none());

    let id = zoom.deauthorize(BEN).unwrap();
    zoom.wait_for_attempts(id, 1).await;
    run.process().await;
    let left = run.call(Method::GET, "/v1/links", "bob", None).await.json();
    assert_eq!(left["links"], json!([]));
}
