//! `doctor`: a healthy system has no findings; each problem is reported with impact and fix.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault, Service};
use serde_json::{Value, json};
use support::zoom_users::ADA;
use support::{AppWebhook, System};

use crate::fake::Fake;
use crate::run::{self, Run, assert_prints_no_secret};

/// Rejects an operation with `AccessDenied` from now on.
fn deny(system: &System, service: Service, operation: &str) {
    let denied = Fault::error(403, "AccessDenied");
    let faults = system.faults();
    faults.fail_until_cleared(service, operation, denied);
}

/// Returns the physical id of a resource.
fn physical<'a>(system: &'a System, logical: &str) -> &'a str {
    &system.config().stack.resources[logical]
}

/// Returns the finding of a check.
fn check(output: &Run, name: &str) -> Value {
    let lines = output.lines();
    let found: Vec<_> = lines.iter().filter(|line| line["check"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {output:?}");
    found[0].clone()
}

/// Returns the text of a finding.
fn text_of(finding: &Value) -> String {
    ["observed", "impact", "fix"].map(|field| finding[field].as_str().unwrap_or_default()).join(" ")
}

/// Asserts that a check fails with these texts, in JSON and as text.
async fn assert_fails(system: &System, arguments: &str, name: &str, expected: &[&str]) {
    let output = run::on(system, &format!("doctor --json {arguments}")).await;
    let finding = check(&output, name);
    assert_eq!(finding["status"], "fail", "{output:?}");
    for text in expected {
        assert!(text_of(&finding).contains(text), "{text}: {finding}");
    }
    assert_eq!(output.code, 1, "{output:?}");
    assert_prints_no_secret(system, &output);
    let text = run::on(system, &format!("doctor {arguments}")).await;
    assert_eq!(text.code, 1);
    assert!(text.out.contains(&format!("FAIL  {name}")), "{text:?}");
}

/// Asserts that a check warns with these texts.
async fn assert_warns(system: &System, arguments: &str, name: &str, expected: &[&str]) -> Run {
    let output = run::on(system, &format!("doctor --json {arguments}")).await;
    let finding = check(&output, name);
    assert_eq!(finding["status"], "warn", "{output:?}");
    for text in expected {
        assert!(text_of(&finding).contains(text), "{text}: {finding}");
    }
    output
}

async fn put(system: &System, logical: &str, value: &str) {
    let secrets = system.sdk().secretsmanager();
    let put = secrets.put_secret_value().secret_id(physical(system, logical));
    put.secret_string(value).send().await.unwrap();
}

#[tokio::test]
async fn healthy_system_passes_all_checks() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let output = run::on(&system, "doctor --user alice").await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("27 ok, 0 warnings, 0 failed"), "{}", output.out);
    assert_prints_no_secret(&system, &output);

    let output = run::on(&system, "doctor --json").await;
    let mut lines = output.lines();
    let registration = lines.pop().unwrap();
    let url = system.stack.url();
    assert_eq!(registration["registration"]["redirect_url"], format!("{url}/zoom/callback"));
    assert!(lines.iter().all(|line| line["status"] == "ok"), "{output:?}");
    assert_prints_no_secret(&system, &output);
    assert_eq!(system.stack.drain().await.failed, 0);
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn app_endpoint_is_tried() {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    // It accepts every signature.
    assert_warns(&system, "", "app.forged", &["204", "verify `webhook-signature`"]).await;
    let [signed, forged] = app_webhook.received().try_into().unwrap();
    assert_eq!((&signed.id, &signed.json()["test"]), (&forged.id, &json!(true)));
    assert_ne!(signed.signature, forged.signature);
    app_webhook.respond_with(500);
    assert_fails(&system, "", "app.signed", &["500", "send-test --to webhook"]).await;
    app_webhook.respond_with(401);
    assert_fails(&system, "", "app.signed", &["401", "NotificationSecretName"]).await;
}

#[tokio::test]
async fn empty_zoom_secret_fails() {
    let system = System::start().await;
    let placeholder = r#"{"client_id":"","client_secret":"","webhook_secret":""}"#;
    put(&system, "ZoomSecret", placeholder).await;
    let expected = [
        "ZoomSecret has empty fields: client_id, client_secret, webhook_secret",
        "with 503",
        "secretsmanager put-secret-value --secret-id",
    ];
    assert_fails(&system, "", "secret.zoom", &expected).await;
    let partly = r#"{"client_id":"a","client_secret":"","webhook_secret":"c"}"#;
    put(&system, "ZoomSecret", partly).await;
    assert_fails(&system, "", "secret.zoom", &["empty fields: client_secret"]).await;
}

#[tokio::test]
async fn malformed_zoom_secret_fails() {
    let system = System::start().await;
    for (value, expected) in [
        ("clientid:secret", "is not JSON"),
        (
            r#"{"client_id":"a ","client_secret":"b","webhook_secret":"c"}"#,
            "spaces, quotes, ellipses): client_id",
        ),
        (
            r#"{"client_id":"…","client_secret":"b","webhook_secret":"\"c\""}"#,
            "): client_id, webhook_secret",
        ),
        (
            r#"{"client_id":"a","client_secret":"b","webhook_secret":"b"}"#,
            "the same value in two fields",
        ),
    ] {
        put(&system, "ZoomSecret", value).await;
        assert_fails(&system, "", "secret.zoom", &[expected]).await;
    }
}

#[tokio::test]
async fn invalid_generated_secret_fails() {
    let system = System::start().await;
    put(&system, "StateKey", "short").await;
    let expected = ["StateKey has 5 bytes", "get-random-password"];
    assert_fails(&system, "", "secret.state_key", &expected).await;
    put(&system, "StateKey", &format!("{}\n", "k".repeat(44))).await;
    let expected = ["starts or ends with whitespace"];
    assert_fails(&system, "", "secret.state_key", &expected).await;

    let chosen = "a secret that an operator typed by hand";
    put(&system, "QueueKey", chosen).await;
    let output = assert_warns(&system, "", "secret.queue_key", &["it was not generated"]).await;
    assert!(!output.out.contains(chosen), "{output:?}");

    let secrets = system.sdk().secretsmanager();
    let delete = secrets.delete_secret().secret_id(physical(&system, "NotificationSecret"));
    delete.recovery_window_in_days(7).send().await.unwrap();
    let expected = ["NotificationSecret cannot be read", "restore-secret --secret-id"];
    assert_fails(&system, "", "secret.notification", &expected).await;
}

#[tokio::test]
async fn unreachable_api_fails() {
    let system = System::start().await;
    let nowhere = Fake::closed();
    let at = format!("--api-url {nowhere}");
    assert_fails(&system, &at, "api.health", &["no connection", "PublicUrl"]).await;
    for name in ["webhook.unsigned", "webhook.validation", "deauthorize.signed"] {
        assert_fails(&system, &at, name, &["no connection", "fix api.health first"]).await;
    }
    assert_fails(&system, &at, "connect.redirect", &["users cannot connect"]).await;
}

#[tokio::test]
async fn foreign_api_server_fails() {
    let system = System::start().await;
    // Accepts every request.
    let permissive = Fake::responding(200, json!({})).await;
    let at = format!("--api-url {}", permissive.url());
    assert_fails(&system, &at, "webhook.unsigned", &["accepts forged events"]).await;
    assert_fails(&system, &at, "webhook.validation", &["a wrong token"]).await;
    assert_fails(&system, &at, "connect.redirect", &["response 200", "instead of a redirect"])
        .await;
    let broken = Fake::responding(502, json!({})).await;
    let at = format!("--api-url {}", broken.url());
    assert_fails(&system, &at, "api.health", &["responds 502", "the logs of app-api"]).await;
    assert_fails(&system, &at, "deauthorize.unsigned", &["response 502"]).await;
    assert_fails(
        &system,
        &at,
        "webhook.signed",
        &["response 502", "treats this response as a failure"],
    )
    .await;
}

#[tokio::test]
async fn rejected_signature_fails() {
    let system = System::start().await;
    system.advance(SignedDuration::from_mins(20));
    let expected = ["response 401", "off by more than five minutes"];
    for name in ["webhook.validation", "webhook.signed", "deauthorize.signed"] {
        assert_fails(&system, "", name, &expected).await;
    }
    let expected = ["connect_token_expired", "correct your clock"];
    assert_fails(&system, "", "connect.redirect", &expected).await;
}

#[tokio::test]
async fn redirect_uri_mismatch_fails() {
    // Simulates a proxy in front of the API that the stack does not know.
    let system = System::with(&[("PublicUrl", "")]).await;
    let at = format!("--api-url {}", system.stack.url());
    let expected = ["but the output RedirectUrl is", "PublicUrl=https://"];
    assert_fails(&system, &at, "connect.redirect", &expected).await;
}

#[tokio::test]
async fn cached_client_id_fails() {
    let system = System::start().await;
    // The function reads the secret and caches it for five minutes.
    assert_eq!(run::on(&system, "doctor").await.code, 0);
    let secrets = &system.config().secrets;
    let changed = json!({
        "client_id": "another", "client_secret": secrets.zoom_client_secret,
        "webhook_secret": secrets.zoom_webhook_secret,
    });
    put(&system, "ZoomSecret", &changed.to_string()).await;
    let expected = ["another client_id than the stored one", "wait five minutes"];
    assert_fails(&system, "", "connect.redirect", &expected).await;
}

#[tokio::test]
async fn unknown_zoom_app_fails() {
    let system = System::start().await;
    system.zoom().change_settings(|settings| settings.redirect_uris.clear());
    let callback = format!("{}/zoom/callback", system.stack.url());
    let expected = ["rejects the request with 400, error 4,709", callback.as_str()];
    assert_fails(&system, "", "zoom.authorize", &expected).await;
    system.zoom().change_settings(|settings| settings.client_secret = "rotated".to_owned());
    let expected = ["rejects client id and client secret", "remain valid"];
    assert_fails(&system, "", "zoom.client", &expected).await;
}

#[tokio::test]
async fn unreachable_zoom_warns() {
    let nowhere = Fake::closed();
    let zoom = nowhere.to_string();
    let system = System::with(&[("ZoomOAuthUrl", &zoom), ("ZoomApiUrl", &zoom)]).await;
    let output = assert_warns(&system, "", "zoom.authorize", &["is unreachable from here"]).await;
    assert_eq!(check(&output, "zoom.client")["status"], "warn");
    assert_eq!(output.code, 0, "{output:?}");
}

#[tokio::test]
async fn dead_letters_fail() {
    let system = System::start().await;
    let queues = &system.queues();
    for (queue, name, impact) in [
        (&queues.events_dlq, "events", "were not detected"),
        (&queues.downloads_dlq, "downloads", "are not in the bucket"),
        (&queues.notifications_dlq, "notifications", "did not receive"),
        (&queues.jobs_dlq, "jobs", "were not revoked"),
    ] {
        system.send_message(queue, "{}").await;
        let list = format!("redrive {name} --list");
        let expected = ["1 dead letter, the oldest", impact, list.as_str(), "14 days"];
        assert_fails(&system, "", &format!("queue.{name}"), &expected).await;
    }
}

#[tokio::test]
async fn missing_table_fails() {
    let system = System::start().await;
    let tables = &system.tables();
    let delete = system.sdk().dynamodb().delete_table();
    delete.table_name(&tables.links).send().await.unwrap();
    let expected = ["table reelay-dev-links does not exist", "restore-table-from-backup"];
    assert_fails(&system, "", "table.links", &expected).await;
}

#[tokio::test]
async fn missing_public_access_block_fails() {
    let system = System::start().await;
    let bucket = &system.config().bucket;
    let s3 = system.sdk().s3();
    let delete = s3.delete_public_access_block().bucket(bucket);
    delete.send().await.unwrap();
    let expected = [
        "has no public access block",
        "make recordings public",
        "s3api put-public-access-block --bucket reelay-dev-recordings",
    ];
    assert_fails(&system, "", "bucket.public_access", &expected).await;
    let partial = aws_sdk_s3::types::PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .build();
    let put = s3.put_public_access_block().bucket(bucket);
    put.public_access_block_configuration(partial).send().await.unwrap();
    let expected = ["does not set BlockPublicPolicy, RestrictPublicBuckets"];
    assert_fails(&system, "", "bucket.public_access", &expected).await;
}

#[tokio::test]
async fn denied_read_access_warns() {
    let system = System::start().await;
    for (service, operation, name) in [
        (Service::S3, "GetPublicAccessBlock", "bucket.public_access"),
        (Service::S3, "GetBucketEncryption", "bucket.encryption"),
        (Service::Sqs, "GetQueueAttributes", "queue.events"),
        (Service::DynamoDb, "DescribeTable", "table.links"),
    ] {
        deny(&system, service, operation);
        let output = assert_warns(&system, "", name, &["not checked", "AccessDenied"]).await;
        assert_eq!(output.code, 0, "{operation}: {output:?}");
    }
}

#[tokio::test]
async fn unusable_link_of_user_fails() {
    let system = System::start().await;
    let output = assert_warns(&system, "--user alice", "user.links", &["has no links"]).await;
    assert!(output.out.contains("mint-link --user alice"), "{output:?}");
    system.link("alice", ADA).await;
    system.zoom().change_settings(|settings| settings.webhooks_enabled = false);
    system.zoom().deauthorize(ADA).unwrap();
    // The access token has expired, and Zoom rejects the refresh.
    system.advance(SignedDuration::from_hours(2));
    let today = system.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": today, "to": today}).to_string();
    let token = system.app.api_token("alice");
    let response =
        system.app.call_with(reqwest::Method::POST, "/v1/backfill", Some(&token), Some(body)).await;
    assert_eq!(response.status, 202, "{response:?}");
    system.process_queues().await;
    let expected = ["has revoked the grant", "mint-link --user alice"];
    assert_fails(&system, "--user alice", "user.link", &expected).await;
}

#[tokio::test]
async fn app_with_own_keys_needs_token() {
    let system = System::with(&[("AppJwksUrl", "https://app.example.com/jwks")]).await;
    let expected = ["its own keys (AppJwksUrl)", "REELAY_CONNECT_TOKEN"];
    assert_warns(&system, "", "connect.redirect", &expected).await;
}
