//! `send-test`, `deliveries` and `listen`.

use std::collections::BTreeSet;
use std::process::Stdio;

use reelay_domain::keys::SecretVersions;
use reelay_domain::notification;
use serde_json::{Value, json};
use support::app_webhook::Received;
use support::zoom_users::ADA;
use support::{AppWebhook, System};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::run::{self, assert_prints_no_secret};

/// All types of the contract.
const TYPES: [&str; 10] = [
    "backfill.completed",
    "link.activated",
    "link.issue",
    "link.reauthorization_required",
    "link.removed",
    "recording.changed",
    "recording.detected",
    "recording.failed",
    "recording.file_stored",
    "recording.stored",
];

async fn start() -> (System, AppWebhook) {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    (system, app_webhook)
}

#[track_caller]
fn assert_signed(received: &Received, system: &System) {
    let secrets = SecretVersions::single(&system.config().secrets.notification_secret);
    let Received { id, timestamp, body, signature, .. } = received;
    let expected = notification::signature(&secrets, id, *timestamp, body).unwrap();
    assert_eq!(*signature, expected, "{received:?}");
}

#[tokio::test]
async fn each_type_is_sent_signed_and_marked_as_test() {
    let (system, app_webhook) = start().await;
    let bus = system.subscribe_to_bus().await;
    let output = run::on(&system, "send-test --json").await;
    assert_eq!(output.code, 0, "{output:?}");
    let lines = output.lines();
    for line in &lines {
        assert_eq!((&line["webhook"], &line["bus"]), (&json!("204"), &json!("accepted")));
    }
    let received = app_webhook.received();
    let (types, ids): (BTreeSet<_>, BTreeSet<_>) = received
        .iter()
        .map(|it| (it.json()["type"].as_str().unwrap().to_owned(), it.id.clone()))
        .unzip();
    assert_eq!(types.iter().map(String::as_str).collect::<Vec<_>>(), TYPES);
    assert_eq!((lines.len(), ids.len()), (TYPES.len(), TYPES.len()));
    for sent in &received {
        assert_eq!(sent.json()["test"], true);
        assert_eq!(sent.json()["data"]["app_user_id"], "reelay-test");
        assert_signed(sent, &system);
    }
    let events = system.peek_messages(&bus).await;
    assert_eq!(events.len(), TYPES.len());
    for event in events {
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["detail"]["test"], true, "{event}");
    }
    // Nothing is stored, and a later test is not a repetition.
    let feed = system.app.get("/v1/notifications", "reelay-test").await.json();
    assert_eq!(feed["notifications"], json!([]));
    run::on(&system, "send-test --to webhook").await;
    let again = app_webhook.received().split_off(TYPES.len());
    assert!(again.iter().all(|it| !ids.contains(&it.id)) && again.len() == TYPES.len());
    assert_eq!(system.peek_messages(&bus).await.len(), TYPES.len());
}

#[tokio::test]
async fn rejected_test_is_a_problem() {
    let (system, app_webhook) = start().await;
    app_webhook.respond_with(401);
    let output = run::on(&system, "send-test --to webhook").await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.out.contains("link.activated") && output.out.contains("401"), "{output:?}");
    assert_prints_no_secret(&system, &output);
    let system = System::with(&[("AppWebhookUrl", "")]).await;
    let output = run::on(&system, "send-test --to webhook").await;
    assert_eq!(output.code, 2, "{output:?}");
    let output = run::on(&system, "send-test --json").await;
    assert_eq!((output.code, &output.lines()[0]["webhook"]), (0, &Value::Null), "{output:?}");
    let output = run::on(&system, "doctor").await;
    assert!(output.out.contains("no AppWebhookUrl"), "{output:?}");
}

#[tokio::test]
async fn deliveries_show_attempts_and_responses() {
    let (system, app_webhook) = start().await;
    system.link("alice", ADA).await;
    let between = system.app.now();
    app_webhook.respond_with(400);
    system.link("bob", ADA).await;
    let output = run::on(&system, "deliveries --json").await;
    let listed = output.json()["deliveries"].as_array().unwrap().clone();
    let seen: Vec<_> = listed
        .iter()
        .map(|it| [&it["app_user_id"], &it["type"], &it["webhook"]["status"], &it["bus"]["status"]])
        .collect();
    let activated = json!("link.activated");
    assert_eq!(
        seen,
        [
            [&json!("alice"), &activated, &json!("delivered"), &json!("delivered")],
            [&json!("bob"), &activated, &json!("pending"), &json!("delivered")],
        ]
    );
    assert_eq!(listed[0]["webhook"]["last_answer"], "204");
    assert_eq!(
        (&listed[1]["webhook"]["attempts"], &listed[1]["webhook"]["last_answer"]),
        (&json!(5), &json!("400"))
    );
    for arguments in [format!("--since {between}"), "--user bob".to_owned()] {
        let output = run::on(&system, &format!("deliveries {arguments}")).await;
        assert!(output.out.contains("pending (5 attempts, last 400)"), "{output:?}");
        assert!(!output.out.contains("alice"), "{output:?}");
    }
}

#[tokio::test]
async fn new_notifications_are_forwarded_and_still_delivered() {
    let (system, app_webhook) = start().await;
    system.link("alice", ADA).await;
    let local = AppWebhook::start().await;
    let url = system.stack.url();
    let mut listening = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["--dev", url, "listen", "--forward-to", &local.url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut notes = BufReader::new(listening.stderr.take().unwrap()).lines();
    let mut lines = BufReader::new(listening.stdout.take().unwrap()).lines();
    let note = notes.next_line().await.unwrap().unwrap();
    assert!(note.starts_with("Listening"), "{note}");

    system.link("bob", ADA).await;
    let line = lines.next_line().await.unwrap().unwrap();
    assert!(line.contains("bob  link.activated  → 204"), "{line}");
    let forwarded = local.received();
    assert_eq!(forwarded.len(), 1, "{forwarded:?}");
    assert_signed(&forwarded[0], &system);
    // The app had both, the same as ever.
    assert_eq!(app_webhook.types(), ["link.activated"; 2]);
    assert_eq!(app_webhook.received()[1].body, forwarded[0].body);
}
