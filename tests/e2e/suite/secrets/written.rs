//! The whole main job with everything that goes wrong in it, then a look through everything that was
//! written on the way: logs down to the last trace, every message sent, every item put, every object,
//! everything that the app and browsers were told.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, RawEvent};
use reqwest::Method;
use serde_json::{Value, json};
use support::people::{ADA, BEN, CEM};
use support::{store, zoom};

use super::run::{Log, Run};
use crate::linking::parameter;

#[tokio::test]
async fn no_secret_is_written_anywhere_in_the_whole_main_job() {
    let log = Log::default();
    let _keeping = log.keep();
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
        assert!(
            written.needles.names().any(|found| found == name),
            "{name} was not in play"
        );
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
        "the answer to a recording",
    ] {
        assert!(written.has(place), "nothing was written: {place}");
    }
    let log = written.log();
    for line in [
        r#""target":"oauth_callback""#,
        r#""target":"recording_downloader"#,
        r#""target":"worker""#,
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

/// The control: what is planted in any place, in any form, is found there.
#[tokio::test]
async fn a_secret_that_is_planted_is_found_wherever_it_stands() {
    let log = Log::default();
    let _keeping = log.keep();
    let mut run = Run::begin(log).await;
    run.link("alice", ADA).await;
    let (stack, config) = (&run.system.stack, run.system.stack.config());
    let tokens = run.system.zoom().live_grant(ADA).unwrap();

    tracing::trace!(token = tokens.refresh_token, "planted");
    let in_base64 = STANDARD_NO_PAD.encode(format!("{{\"a\":\"{}\"}}", tokens.access_token));
    store::send(stack, &config.queues.jobs_dlq, &in_base64).await;
    // A message that was deleted before anybody looked.
    store::send(stack, &config.queues.jobs, &tokens.refresh_token).await;
    let purge = stack.sdk().sqs().purge_queue();
    let purge = purge.queue_url(&config.queues.jobs).send().await;
    purge.unwrap();
    let put = stack.sdk().dynamodb().put_item();
    let put = put
        .table_name(&config.tables.sessions)
        .item("id", AttributeValue::S("planted".into()))
        .item(
            "hex",
            AttributeValue::S(hex::encode(&config.secrets.app_secret)),
        );
    put.send().await.unwrap();
    let object = stack.sdk().s3().put_object();
    let object = object
        .bucket(&config.bucket)
        .key("planted")
        .metadata("secret", &config.secrets.zoom_client_secret)
        .body(ByteStream::from(
            config.secrets.zoom_webhook_secret.clone().into_bytes(),
        ));
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
            "{planted} was not found: {leaks:#?}"
        );
    }
}

/// Consents that are refused, interrupted, confirmed by the wrong one, and at last well.
async fn linking(run: &mut Run) {
    // In another browser, and then declined.
    let mut browser = run.system.browser();
    let back = run.callback(&mut browser, "alice", ADA).await;
    let mut other = run.system.browser();
    assert_eq!(run.visit(&mut other, &back).await.page(), "wrong_browser");
    let token = run.system.app.connect_token("alice");
    run.needles.add("a connect token", &token);
    let start = run
        .visit(&mut browser, &run.system.app.connect_url(&token))
        .await;
    let authorize = start.location.unwrap();
    run.needles.add("a state", &parameter(&authorize, "state"));
    let denied = run.system.deny(&mut browser, &authorize).await;
    let denied = run.visit(&mut browser, &denied).await;
    assert_eq!(denied.zoom_error(), "access_denied");
    let altered = format!("{}x", run.system.app.connect_url(&token));
    let refused = run.visit(&mut browser, &altered).await;
    assert_eq!(refused.page(), "connect_token_invalid");

    // Zoom refuses the code, and repeats it in the refusal; then it does not say whose consent it was.
    let back = run.callback(&mut browser, "alice", ADA).await;
    let body = json!({"reason": format!("Invalid authorization code {}", parameter(&back, "code")), "error": "invalid_request"});
    let refusal = Fault::Respond {
        status: 400,
        content_type: "application/json".into(),
        body: body.to_string(),
    };
    run.arm(Point::TokenExchange, refusal, 1);
    let refused = run.visit(&mut browser, &back).await;
    assert_eq!(refused.zoom_error(), "zoom_rejected_code");
    let back = run.callback(&mut browser, "alice", CEM).await;
    run.arm(Point::UsersMe, Fault::Status { status: 500 }, 1);
    let interrupted = run.visit(&mut browser, &back).await;
    assert_eq!(interrupted.zoom_error(), "zoom_unavailable");
    run.work().await;

    // The wrong one burns the claim.
    let claim = run.consent("mallory", ADA).await;
    assert_eq!(run.confirm("alice", &claim).await.status, 403);
    assert_eq!(run.confirm("mallory", &claim).await.status, 410);
    let token = run.system.app.api_token("alice");
    run.needles.add("an API token", &token);
    let altered = run
        .system
        .app
        .call_with(Method::GET, "/v1/links", Some(&format!("{token}x")), None)
        .await;
    assert_eq!(altered.code(), "token_invalid");

    run.link("alice", ADA).await;
    run.link("bob", BEN).await;
    run.call(Method::GET, "/v1/links", "alice", None).await;
}

/// Events of every kind, forged ones too, and what follows from them.
async fn recording(run: &mut Run) {
    let new = NewRecording {
        participant_audio: 1,
        ..NewRecording::of(ADA)
    };
    let first = zoom::complete(&run.system, new).await;
    run.learn();
    run.work().await;
    let transcript = run.system.zoom().add_transcript(&first.key, None).unwrap();
    zoom::arrived(&run.system, &transcript).await;
    run.work().await;

    // Too large for a message: it goes by the bucket.
    let many = (0..700).map(|_| NewFile::new("CHAT", 10)).collect();
    zoom::complete(&run.system, NewRecording::of(ADA).with_files(many)).await;
    run.learn();
    run.keep_objects().await;
    assert!(
        !store::objects(&run.system.stack, "events/")
            .await
            .is_empty(),
        "the event went in the message"
    );
    // Not worked off here: seven hundred files would say nothing more.
    let queue = run.system.stack.config().queues.events.clone();
    let purge = run.system.stack.sdk().sqs().purge_queue();
    purge.queue_url(queue).send().await.unwrap();

    let secret = zoom::secret(&run.system);
    let body = run.system.zoom().deliveries()[0].body.clone();
    for (secret, seconds) in [("a forger's own", 0), (secret.as_str(), -400)] {
        let status = zoom::post(
            &run.system,
            "/zoom/webhook",
            body.as_bytes(),
            secret,
            seconds,
        )
        .await;
        assert_eq!(status, 401);
    }
    let validation = br#"{"payload":{"plainToken":"plain"},"event":"endpoint.url_validation"}"#;
    let answer = zoom::ask(&run.system, "/zoom/webhook", validation, &secret).await;
    let text = answer.text().await.unwrap();
    run.written
        .push(("the answer to a validation".to_owned(), text.into_bytes()));

    // The app reads it all.
    let listed = run.call(Method::GET, "/v1/recordings", "alice", None).await;
    let id = listed.json()["recordings"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/recordings/{id}");
    let shown = run.call(Method::GET, &path, "alice", None).await.json();
    // A presigned URL is for the app's server alone, and stands nowhere but in this answer.
    let (_, text) = run.written.pop().unwrap();
    let mut rest = String::from_utf8(text).unwrap();
    for file in shown["files"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        let signature = parameter(url, "X-Amz-Signature");
        rest = rest.replace(&signature, "");
        run.needles.add("a presigned URL's signature", &signature);
    }
    run.written
        .push(("the answer to a recording".to_owned(), rest.into_bytes()));
}

/// Tokens that are refused, expired and refreshed.
async fn refreshing(run: &mut Run) {
    // The event's token has ended, and so has the access token: Zoom's API is asked.
    zoom::complete(&run.system, NewRecording::of(ADA)).await;
    run.learn();
    run.system.stack.advance(SignedDuration::from_hours(25));
    run.arm(Point::TokenRefresh, Fault::Status { status: 500 }, 1);
    run.work().await;
    let refreshed = run.system.zoom().live_grant(ADA).unwrap().refreshes;
    assert!(refreshed > 0, "nothing was refreshed");
}

/// What ends in each of the dead-letter queues, and calls of AWS that fail.
async fn failing(run: &mut Run) {
    let (stack, zoom) = (&run.system.stack, run.system.zoom().clone());
    let queues = stack.config().queues.clone();

    // An event that can't be acted on.
    let mut broken: Value = zoom
        .deliveries()
        .iter()
        .map(|delivery| serde_json::from_str(&delivery.body).unwrap())
        .find(|event: &Value| event["event"] == "recording.completed")
        .unwrap();
    broken["payload"]["object"]["host_id"] = json!(null);
    let id = zoom.send_raw(RawEvent {
        body: broken.to_string(),
        ..RawEvent::default()
    });
    zoom.wait_for_attempts(id, 1).await;

    // A download that fails until it is given up, at Zoom, where the bytes are, and by a redirect to elsewhere.
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
        zoom::complete(
            &run.system,
            NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 5_000)]),
        )
        .await;
        run.learn();
        run.work().await;
        zoom.clear_faults(Some(armed));
    }
    run.needles
        .add("a redirect's signature", "the-signature-of-a-redirect");
    let faults = run.system.stack.engines().faults();
    let fault = reelay_embedded_aws::Fault::error(403, "AccessDenied");
    for (service, operation) in [
        (Service::S3, "PutObject"),
        (Service::DynamoDb, "UpdateItem"),
        (Service::Kms, "Decrypt"),
        (Service::Sqs, "SendMessageBatch"),
    ] {
        faults.fail_next(service, operation, 1, fault.clone());
    }
    zoom::complete(&run.system, NewRecording::of(ADA)).await;
    run.learn();
    run.work().await;
    run.system.stack.engines().faults().clear_all();

    // A notification that the app never takes.
    run.inbox.answer_next(&["500 Oh"; 40]);
    zoom::complete(
        &run.system,
        NewRecording::of(ADA).with_files(vec![NewFile::new("CHAT", 50)]),
    )
    .await;
    run.learn();
    run.work().await;
    for dead in [
        &queues.events_dlq,
        &queues.downloads_dlq,
        &queues.notifications_dlq,
    ] {
        assert!(
            store::depth(&run.system.stack, dead).await > 0,
            "{dead} is empty"
        );
    }
    let links = run.call(Method::GET, "/v1/links", "alice", None).await;
    assert_eq!(links.json()["links"].as_array().unwrap().len(), 1);
}

/// Links are given up and grants revoked, by us and at Zoom.
async fn ending(run: &mut Run) {
    // The orders that wait for a quarter of an hour find links that were never confirmed.
    let config = run.system.stack.config();
    let scan = run.system.stack.sdk().dynamodb().scan();
    let scan = scan.table_name(&config.tables.sessions).send().await;
    for item in scan.unwrap().items.unwrap_or_default() {
        let id = item["id"].as_s().unwrap();
        if id.starts_with("exchange#") {
            let order = json!({"v": 1, "job": "finish_connect", "exchange": id});
            store::send(&run.system.stack, &config.queues.jobs, &order.to_string()).await;
        }
    }
    run.work().await;

    let link = run.link("carol", CEM).await;
    // Zoom does not revoke it, until the order is given up.
    let zoom = run.system.zoom().clone();
    let armed = zoom
        .arm(NewFault::always(
            Point::Revoke,
            Fault::Status { status: 500 },
        ))
        .unwrap();
    let path = format!("/v1/links/{link}");
    assert_eq!(
        run.call(Method::DELETE, &path, "carol", None).await.status,
        204
    );
    run.work().await;
    let orders = run.system.stack.config().queues.jobs_dlq.clone();
    assert!(store::depth(&run.system.stack, &orders).await > 0);
    zoom.clear_faults(Some(armed));

    let link = run
        .call(Method::GET, "/v1/links", "alice", None)
        .await
        .json();
    let path = format!("/v1/links/{}", link["links"][0]["id"].as_str().unwrap());
    assert_eq!(
        run.call(Method::DELETE, &path, "alice", None).await.status,
        204
    );
    run.work().await;
    assert!(run.system.zoom().live_grant(ADA).is_none());

    let id = zoom.deauthorize(BEN).unwrap();
    zoom.wait_for_attempts(id, 1).await;
    run.work().await;
    let left = run.call(Method::GET, "/v1/links", "bob", None).await.json();
    assert_eq!(left["links"], json!([]));
}
