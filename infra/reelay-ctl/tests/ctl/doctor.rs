//! `doctor`: nothing wrong where nothing is, and each fault told with what it means and how to mend it.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault, Service};
use serde_json::{Value, json};
use support::people::ADA;
use support::{System, store};

use crate::fake::Fake;
use crate::run::{self, Said, assert_keeps_secrets};

/// Refuses an operation from now on, as AWS does who may not.
fn deny(system: &System, service: Service, operation: &str) {
    let denied = Fault::error(403, "AccessDenied");
    let faults = system.stack.engines().faults();
    faults.fail_until_cleared(service, operation, denied);
}

/// The physical name of a resource.
fn physical<'a>(system: &'a System, logical: &str) -> &'a str {
    &system.stack.config().stack.resources[logical]
}

/// A check's line.
fn check(said: &Said, name: &str) -> Value {
    let lines = said.lines();
    let found: Vec<_> = lines.iter().filter(|line| line["check"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {said:?}");
    found[0].clone()
}

/// All that is said of a check.
fn words(finding: &Value) -> String {
    ["found", "means", "mend"]
        .map(|field| finding[field].as_str().unwrap_or_default())
        .join(" ")
}

/// The doctor finds this, says it in these words, and calls the whole wrong.
async fn finds(system: &System, arguments: &str, name: &str, expected: &[&str]) {
    let said = run::on(system, &format!("doctor --json {arguments}")).await;
    let finding = check(&said, name);
    assert_eq!(finding["status"], "fail", "{said:?}");
    for text in expected {
        assert!(words(&finding).contains(text), "{text}: {finding}");
    }
    assert_eq!(said.code, 1, "{said:?}");
    assert_keeps_secrets(system, &said);
    // People are told the same.
    let told = run::on(system, &format!("doctor {arguments}")).await;
    assert_eq!(told.code, 1);
    assert!(told.out.contains(&format!("FAIL  {name}")), "{told:?}");
}

/// The doctor could not see this, says so, and does not call it wrong.
async fn wonders(system: &System, arguments: &str, name: &str, expected: &[&str]) -> Said {
    let said = run::on(system, &format!("doctor --json {arguments}")).await;
    let finding = check(&said, name);
    assert_eq!(finding["status"], "warn", "{said:?}");
    for text in expected {
        assert!(words(&finding).contains(text), "{text}: {finding}");
    }
    said
}

async fn put(system: &System, logical: &str, value: &str) {
    let secrets = system.stack.sdk().secretsmanager();
    let put = secrets
        .put_secret_value()
        .secret_id(physical(system, logical));
    put.secret_string(value).send().await.unwrap();
}

#[tokio::test]
async fn a_system_that_works_has_nothing_wrong_and_no_secret_is_shown() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let said = run::on(&system, "doctor --user alice").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("24 ok, 0 to look at, 0 wrong"),
        "{}",
        said.out
    );
    assert_keeps_secrets(&system, &said);

    let said = run::on(&system, "doctor --json").await;
    let mut lines = said.lines();
    let registration = lines.pop().unwrap();
    let url = system.stack.url();
    assert_eq!(
        registration["registration"]["redirect_url"],
        format!("{url}/zoom/callback")
    );
    assert!(lines.iter().all(|line| line["status"] == "ok"), "{said:?}");
    assert_keeps_secrets(&system, &said);
    // Looking has left nothing behind that anybody would work on.
    assert_eq!(system.stack.drain().await.failed, 0);
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_zoom_secret_that_is_not_filled_in_is_told() {
    let system = System::start().await;
    let placeholder = r#"{"client_id":"","client_secret":"","webhook_secret":""}"#;
    put(&system, "ZoomSecret", placeholder).await;
    let expected = [
        "ZoomSecret is not filled in: client_id, client_secret, webhook_secret",
        "answered 503",
        "secretsmanager put-secret-value --secret-id",
    ];
    finds(&system, "", "secret.zoom", &expected).await;
    let partly = r#"{"client_id":"a","client_secret":"","webhook_secret":"c"}"#;
    put(&system, "ZoomSecret", partly).await;
    finds(
        &system,
        "",
        "secret.zoom",
        &["not filled in: client_secret"],
    )
    .await;
}

#[tokio::test]
async fn a_zoom_secret_that_was_copied_wrongly_is_told() {
    let system = System::start().await;
    for (value, expected) in [
        ("clientid:secret", "is not JSON"),
        (
            r#"{"client_id":"a ","client_secret":"b","webhook_secret":"c"}"#,
            "spaces, quotes, dots): client_id",
        ),
        (
            r#"{"client_id":"…","client_secret":"b","webhook_secret":"\"c\""}"#,
            "): client_id, webhook_secret",
        ),
        (
            r#"{"client_id":"a","client_secret":"b","webhook_secret":"b"}"#,
            "the same value twice",
        ),
    ] {
        put(&system, "ZoomSecret", value).await;
        finds(&system, "", "secret.zoom", &[expected]).await;
    }
}

#[tokio::test]
async fn a_generated_secret_that_is_too_short_or_gone_is_told() {
    let system = System::start().await;
    put(&system, "StateKey", "short").await;
    let expected = ["StateKey has 5 bytes", "get-random-password"];
    finds(&system, "", "secret.state_key", &expected).await;
    put(&system, "StateKey", &format!("{}\n", "k".repeat(44))).await;
    let expected = ["a space or a line break"];
    finds(&system, "", "secret.state_key", &expected).await;

    let chosen = "a secret that somebody has chosen by herself";
    put(&system, "QueueKey", chosen).await;
    let said = wonders(&system, "", "secret.queue_key", &["somebody chose it"]).await;
    assert!(!said.out.contains(chosen), "{said:?}");

    let secrets = system.stack.sdk().secretsmanager();
    let delete = secrets
        .delete_secret()
        .secret_id(physical(&system, "NotificationSecret"));
    delete.recovery_window_in_days(7).send().await.unwrap();
    let expected = [
        "NotificationSecret can't be read",
        "restore-secret --secret-id",
    ];
    finds(&system, "", "secret.notification", &expected).await;
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_told() {
    let system = System::start().await;
    let nowhere = Fake::closed();
    let at = format!("--api-url {nowhere}");
    finds(&system, &at, "api.health", &["no connection", "PublicUrl"]).await;
    for name in [
        "webhook.unsigned",
        "webhook.validation",
        "deauthorize.signed",
    ] {
        finds(
            &system,
            &at,
            name,
            &["no connection", "mend api.health first"],
        )
        .await;
    }
    finds(&system, &at, "connect.redirect", &["nobody can connect"]).await;
}

#[tokio::test]
async fn an_address_that_leads_to_something_else_is_told() {
    let system = System::start().await;
    // Takes anything, from anybody.
    let careless = Fake::answering(200, json!({})).await;
    let at = format!("--api-url {}", careless.url());
    finds(
        &system,
        &at,
        "webhook.unsigned",
        &["takes events from anybody"],
    )
    .await;
    finds(&system, &at, "webhook.validation", &["another token"]).await;
    finds(
        &system,
        &at,
        "connect.redirect",
        &["answered 200", "instead of a redirect"],
    )
    .await;
    let broken = Fake::answering(502, json!({})).await;
    let at = format!("--api-url {}", broken.url());
    finds(
        &system,
        &at,
        "api.health",
        &["answers 502", "app-api logs there"],
    )
    .await;
    finds(&system, &at, "deauthorize.unsigned", &["answered 502"]).await;
    finds(
        &system,
        &at,
        "webhook.signed",
        &["answered 502", "takes this for a failure"],
    )
    .await;
}

#[tokio::test]
async fn a_function_that_refuses_what_is_signed_well_is_told() {
    let system = System::start().await;
    system.stack.advance(SignedDuration::from_mins(20));
    let expected = ["answered 401", "differ by more than five minutes"];
    for name in ["webhook.validation", "webhook.signed", "deauthorize.signed"] {
        finds(&system, "", name, &expected).await;
    }
    let expected = ["connect_token_expired", "set your clock"];
    finds(&system, "", "connect.redirect", &expected).await;
}

#[tokio::test]
async fn another_redirect_uri_than_the_outputs_say_is_told() {
    // As if a proxy stood in front of the API, of which the stack knows nothing.
    let system = System::with(&[("PublicUrl", "")]).await;
    let at = format!("--api-url {}", system.stack.url());
    let expected = ["but the output RedirectUrl is", "PublicUrl=https://"];
    finds(&system, &at, "connect.redirect", &expected).await;
}

#[tokio::test]
async fn a_function_that_still_has_the_former_client_id_is_told() {
    let system = System::start().await;
    // The function reads the secret now, and keeps it for five minutes.
    assert_eq!(run::on(&system, "doctor").await.code, 0);
    let secrets = &system.stack.config().secrets;
    let changed = json!({
        "client_id": "another", "client_secret": secrets.zoom_client_secret,
        "webhook_secret": secrets.zoom_webhook_secret,
    });
    put(&system, "ZoomSecret", &changed.to_string()).await;
    let expected = ["another client_id than the stored one", "wait five minutes"];
    finds(&system, "", "connect.redirect", &expected).await;
}

#[tokio::test]
async fn an_app_that_zoom_does_not_know_is_told() {
    let system = System::start().await;
    system
        .zoom()
        .change_settings(|settings| settings.redirect_uris.clear());
    let callback = format!("{}/zoom/callback", system.stack.url());
    let expected = [
        "refuses the request with 400, error 4,709",
        callback.as_str(),
    ];
    finds(&system, "", "zoom.authorize", &expected).await;
    system
        .zoom()
        .change_settings(|settings| settings.client_secret = "rotated".to_owned());
    let expected = [
        "does not know client id and client secret",
        "No grant is lost",
    ];
    finds(&system, "", "zoom.client", &expected).await;
}

#[tokio::test]
async fn a_zoom_that_does_not_answer_is_nobodys_fault() {
    let nowhere = Fake::closed();
    let zoom = nowhere.to_string();
    let system = System::with(&[("ZoomOAuthUrl", &zoom), ("ZoomApiUrl", &zoom)]).await;
    let said = wonders(&system, "", "zoom.authorize", &["can't be asked from here"]).await;
    assert_eq!(check(&said, "zoom.client")["status"], "warn");
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test]
async fn dead_letters_are_told_with_what_they_cost_and_how_to_put_them_back() {
    let system = System::start().await;
    let queues = &system.stack.config().queues;
    for (queue, name, means) in [
        (&queues.events_dlq, "events", "were not noticed"),
        (&queues.downloads_dlq, "downloads", "are not in the bucket"),
        (&queues.notifications_dlq, "notifications", "was not told"),
        (&queues.jobs_dlq, "jobs", "were not ended"),
    ] {
        store::send(&system.stack, queue, "{}").await;
        let list = format!("redrive {name} --list");
        let expected = ["1 dead letter, the oldest", means, list.as_str(), "14 days"];
        finds(&system, "", &format!("queue.{name}"), &expected).await;
    }
}

#[tokio::test]
async fn a_table_that_is_gone_is_told() {
    let system = System::start().await;
    let tables = &system.stack.config().tables;
    let delete = system.stack.sdk().dynamodb().delete_table();
    delete.table_name(&tables.links).send().await.unwrap();
    let expected = [
        "there is no table reelay-dev-links",
        "restore-table-to-point-in-time",
    ];
    finds(&system, "", "table.links", &expected).await;
}

#[tokio::test]
async fn a_bucket_that_could_be_opened_is_told() {
    let system = System::start().await;
    let bucket = &system.stack.config().bucket;
    let s3 = system.stack.sdk().s3();
    let delete = s3.delete_public_access_block().bucket(bucket);
    delete.send().await.unwrap();
    let expected = [
        "has no public access block",
        "to everybody",
        "s3api put-public-access-block --bucket reelay-dev-recordings",
    ];
    finds(&system, "", "bucket.public_access", &expected).await;
    let half = aws_sdk_s3::types::PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .build();
    let put = s3.put_public_access_block().bucket(bucket);
    put.public_access_block_configuration(half)
        .send()
        .await
        .unwrap();
    let expected = ["does not have BlockPublicPolicy, RestrictPublicBuckets"];
    finds(&system, "", "bucket.public_access", &expected).await;
}

#[tokio::test]
async fn what_may_not_be_read_is_not_called_wrong() {
    let system = System::start().await;
    for (service, operation, name) in [
        (Service::S3, "GetPublicAccessBlock", "bucket.public_access"),
        (Service::S3, "GetBucketEncryption", "bucket.encryption"),
        (Service::Sqs, "GetQueueAttributes", "queue.events"),
        (Service::DynamoDb, "DescribeTable", "table.links"),
    ] {
        deny(&system, service, operation);
        let said = wonders(&system, "", name, &["can't be asked", "AccessDenied"]).await;
        assert_eq!(said.code, 0, "{operation}: {said:?}");
    }
}

#[tokio::test]
async fn a_users_link_that_does_not_work_is_told() {
    let system = System::start().await;
    let said = wonders(&system, "--user alice", "user.links", &["has no links"]).await;
    assert!(said.out.contains("mint-link --user alice"), "{said:?}");
    system.link("alice", ADA).await;
    system
        .zoom()
        .change_settings(|settings| settings.webhooks_enabled = false);
    system.zoom().deauthorize(ADA).unwrap();
    // Two hours later the token has to be refreshed, and Zoom refuses.
    system.stack.advance(SignedDuration::from_hours(2));
    let today = system.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": today, "to": today}).to_string();
    let token = system.app.api_token("alice");
    let answer = system
        .app
        .call_with(
            reqwest::Method::POST,
            "/v1/backfill",
            Some(&token),
            Some(body),
        )
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    system.work().await;
    let expected = ["does not honour the grant", "mint-link --user alice"];
    finds(&system, "--user alice", "user.link", &expected).await;
}

#[tokio::test]
async fn whoever_signs_with_own_keys_is_asked_for_a_token() {
    let system = System::with(&[("AppJwksUrl", "https://app.example.com/jwks")]).await;
    let expected = ["keys of its own (AppJwksUrl)", "REELAY_CONNECT_TOKEN"];
    wonders(&system, "", "connect.redirect", &expected).await;
}
