//! `erase-user` and `erase-zoom-user`: erase all data of the user and no data of others, also after interruptions.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::{NewFile, NewRecording, Point};
use serde_json::json;
use support::DelayedMessages;
use support::System;
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::zoom_users::{ADA, BEN};

use crate::run;

async fn complete(system: &System, host: &str) {
    let files = vec![NewFile::new("MP4", 700), NewFile::new("M4A", 300)];
    system.complete_recording(NewRecording::of(host).with_files(files)).await;
    system.process_queues().await;
}

/// Returns table items and object keys that contain the Zoom user's id, without the markers of erased recordings,
/// which have no attribute but their key.
async fn traces(system: &System, zoom_user: &str) -> Vec<String> {
    let config = system.config();
    let mut found = Vec::new();
    for table in [&config.tables.recordings, &config.tables.links] {
        found.extend(system.table_items(table).await);
    }
    let objects = system.list_objects().await;
    found.extend(objects.into_iter().map(|(key, _)| key));
    let is_marker =
        |text: &str| text.contains("\"erased\": Bool(true)") && text.matches("\": ").count() == 3;
    found.retain(|text| text.contains(zoom_user) && !is_marker(text));
    found
}

/// Alice is linked to Ada and Ben, Bob to Ada.
async fn system_with_shared_link() -> System {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("bob", ADA).await;
    system.link("alice", BEN).await;
    for host in [ADA, BEN, BEN] {
        complete(&system, host).await;
    }
    system
}

#[tokio::test]
async fn only_unshared_data_is_erased() {
    let system = system_with_shared_link().await;
    let output = run::on(&system, "erase-user --user alice --yes --json").await;
    assert_eq!(output.code, 0, "{output:?}");
    let receipt = output.json();
    for (field, count) in [("links", 2), ("recordings", 2), ("objects", 6), ("kept", 1)] {
        assert_eq!(receipt[field], count, "{field}: {receipt}");
    }
    assert_eq!(receipt["grants"]["kept_for_others"], 1);
    // The reconciler revokes the grant in a job.
    system.process_queues().await;
    assert!(system.zoom().live_grant(BEN).is_none());
    assert!(system.zoom().live_grant(ADA).is_some());
    assert_eq!(traces(&system, BEN).await, [""; 0]);
    let link_items = system.table_items(&system.tables().links).await;
    assert!(link_items.iter().all(|item| !item.contains("alice")), "{link_items:?}");
    assert_eq!(system.app.links("alice").await.len(), 0);
    assert_eq!(system.app.links("bob").await[0]["status"], "active");
    assert_eq!(system.app.recordings("bob").await[0]["status"], "stored");
    assert_eq!(system.stored_files().await.len(), 2);

    let again = run::on(&system, "erase-user --user alice --yes").await;
    assert_eq!((again.code, again.out.trim()), (0, "Reelay stores nothing of alice."), "{again:?}");
    // Ada's recordings are erased with the last linked user.
    let output = run::on(&system, "erase-user --user bob --yes").await;
    assert!(output.out.contains("objects       3"), "{output:?}");
    assert!(output.err.contains("1 recording in 2 files"), "{output:?}");
    system.process_queues().await;
    assert_eq!(traces(&system, ADA).await, [""; 0]);
}

#[tokio::test]
async fn interrupted_erasure_finishes_on_rerun() {
    for (service, operation) in [
        (Service::Sqs, "SendMessage"),
        (Service::DynamoDb, "TransactWriteItems"),
        (Service::DynamoDb, "BatchWriteItem"),
        (Service::S3, "ListMultipartUploads"),
        (Service::S3, "ListObjectsV2"),
        (Service::S3, "DeleteObjects"),
        (Service::Sqs, "SendMessageBatch"),
    ] {
        let system = System::start().await;
        system.link("alice", BEN).await;
        complete(&system, BEN).await;
        let faults = system.faults();
        faults.fail_until_cleared(service, operation, Fault::error(403, "AccessDenied"));
        let output = run::on(&system, "erase-user --user alice --yes --json").await;
        assert_eq!(output.code, 1, "{operation}: {output:?}");
        faults.clear_all();
        let output = run::on(&system, "erase-user --user alice --yes --json").await;
        assert_eq!(output.code, 0, "{operation}: {output:?}");
        system.process_queues().await;
        assert_eq!(traces(&system, BEN).await, [""; 0], "{operation}");
        let output = run::on(&system, "erase-user --user alice --yes").await;
        assert_eq!(output.out.trim(), "Reelay stores nothing of alice.", "{operation}");
    }
}

#[tokio::test]
async fn open_upload_is_aborted() {
    let system = System::start().await;
    system.link("alice", BEN).await;
    complete(&system, BEN).await;
    let (key, _) = system.list_objects().await.swap_remove(0);
    let bucket = &system.config().bucket;
    let begin = system.sdk().s3().create_multipart_upload();
    begin.bucket(bucket).key(&key).send().await.unwrap();
    let output = run::on(&system, "erase-user --user alice --yes --json").await;
    assert_eq!(output.json()["uploads"], 1, "{output:?}");
    assert_eq!(system.open_uploads().await, 0);
}

#[tokio::test]
async fn erasure_requires_confirmation() {
    let system = System::start().await;
    system.link("alice", BEN).await;
    complete(&system, BEN).await;
    let before = traces(&system, BEN).await.len();
    for arguments in ["erase-user --user alice", "erase-user --user alice --json"] {
        let output = run::on(&system, arguments).await;
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.err.contains("run it in a terminal, or with --yes"), "{output:?}");
    }
    assert_eq!(traces(&system, BEN).await.len(), before);
    assert_eq!(system.app.links("alice").await.len(), 1);
}

#[tokio::test]
async fn erasure_needs_no_token_of_the_app() {
    let system = System::start().await;
    system.link("alice", BEN).await;
    let mut description = serde_json::to_value(system.config()).unwrap();
    description["stack"]["parameters"]["AppJwksUrl"] = "https://app.example.com/jwks".into();
    let described = crate::fake::Fake::responding(200, description).await;
    let at = format!("--dev {} erase-user --user alice --yes", described.url());
    let output = run::with(&at, &[]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(system.app.links("alice").await.len(), 0);
}

/// Deletes the user's links, as the app does.
async fn disconnect(system: &System, user: &str) {
    system.app.disconnect_all(user).await;
    system.process_queues().await;
}

#[tokio::test]
async fn disconnected_user_is_erased() {
    let system = system_with_shared_link().await;
    disconnect(&system, "alice").await;
    let output = run::on(&system, "erase-user --user alice --yes --json").await;
    assert_eq!(output.code, 0, "{output:?}");
    let receipt = output.json();
    for (field, count) in [("links", 0), ("recordings", 2), ("objects", 6), ("kept", 1)] {
        assert_eq!(receipt[field], count, "{field}: {receipt}");
    }
    assert_eq!(traces(&system, BEN).await, [""; 0]);
    assert_eq!(traces(&system, "alice").await, [""; 0]);
    assert_eq!(system.app.recordings("bob").await[0]["status"], "stored");
    let again = run::on(&system, "erase-user --user alice --yes").await;
    assert_eq!(again.out.trim(), "Reelay stores nothing of alice.", "{again:?}");
}

#[tokio::test]
async fn erasure_interrupts_transfers_and_lasts() {
    let system = System::with(&[("AppWebhookUrl", ""), ("DownloadMode", "on-demand")]).await;
    system.link("alice", BEN).await;
    let large = NewRecording::of(BEN).with_files(vec![NewFile::new("MP4", 20 << 20)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", large).await;
    downloader.kill_in_upload(&system, "m").await;
    let output = run::on(&system, "erase-user --user alice --yes --json").await;
    assert_eq!((output.code, &output.json()["uploads"]), (0, &1.into()), "{output:?}");
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.process_queues().await;
    for identifier in [BEN, "alice"] {
        assert_eq!(traces(&system, identifier).await, [""; 0]);
    }
    // A new link, its backfill, and a late transcript bring nothing back.
    system.link("alice", BEN).await;
    system.add_transcript(&recording).await;
    assert_eq!(system.app.recordings("alice").await.len(), 0);
    assert_eq!((system.open_uploads().await, system.list_objects().await), (0, vec![]));
}

#[tokio::test]
async fn deauthorized_user_is_erased() {
    let system = System::start().await;
    system.link("alice", BEN).await;
    complete(&system, BEN).await;
    let id = system.zoom().deauthorize(BEN).unwrap();
    system.await_delivery(id).await;
    system.process_queues().await;
    assert_eq!(system.app.links("alice").await.len(), 0);
    assert_eq!(system.stored_files().await.len(), 2);
    let output = run::on(&system, "erase-user --user alice --yes --json").await;
    assert_eq!(output.json()["recordings"], 1, "{output:?}");
    assert_eq!(traces(&system, BEN).await, [""; 0]);
    assert_eq!(traces(&system, "alice").await, [""; 0]);
    assert_eq!(system.open_uploads().await, 0);
}

#[tokio::test]
async fn zoom_user_is_erased_with_links_of_all_app_users() {
    let system = system_with_shared_link().await;
    let account = system.app.links("bob").await[0]["zoom"]["account_id"].clone();
    let zoom = format!("{}/{ADA}", account.as_str().unwrap());
    let output = run::on(&system, &format!("erase-zoom-user --zoom {zoom} --yes --json")).await;
    assert_eq!(output.code, 0, "{output:?}");
    let receipt = output.json();
    for (field, count) in [("links", 2), ("recordings", 1), ("objects", 3), ("kept", 0)] {
        assert_eq!(receipt[field], count, "{field}: {receipt}");
    }
    assert_eq!(receipt["zoom_user"], zoom.as_str());
    system.process_queues().await;
    assert_eq!(traces(&system, ADA).await, [""; 0]);
    assert!(system.zoom().live_grant(ADA).is_none());
    assert_eq!(system.app.links("bob").await.len(), 0);
    // Alice's other link is untouched.
    assert_eq!(system.app.links("alice").await[0]["zoom"]["user_id"], BEN);
    assert_eq!(system.app.recordings("alice").await.len(), 2);
    let again = run::on(&system, &format!("erase-zoom-user --zoom {zoom} --yes")).await;
    assert_eq!(again.out.trim(), format!("Reelay stores nothing of {zoom}."), "{again:?}");
}

/// The items that contain a text.
async fn items_of(system: &System, text: &str) -> Vec<String> {
    let mut items = system.lasting_items().await;
    items.retain(|item| item.contains(text));
    items
}

#[tokio::test]
async fn erased_user_is_named_by_no_item() {
    for is_app_user in [true, false] {
        let system = System::with(&[("AppWebhookUrl", "")]).await;
        system.link("alice", BEN).await;
        complete(&system, BEN).await;
        // A report of a reconciliation, and a backfill that waits for Zoom.
        system.pass(SignedDuration::from_hours(25)).await;
        let delayed = DelayedMessages::of(&system, &system.queues().jobs);
        let limit = reelay_zoom_sim::Fault::RateLimited { retry_after_seconds: Some(3_600) };
        system.fail(Point::ListRecordings, limit);
        let today = system.app.now().strftime("%Y-%m-%d").to_string();
        let body = json!({"from": today, "to": today}).to_string();
        assert_eq!(system.app.post("/v1/backfill", "alice", body).await.status, 202);
        system.process_queues().await;
        let named = items_of(&system, "alice").await;
        for kind in ["backfill##", "link#", "app-user##", "user#alice"] {
            assert!(named.iter().any(|item| item.contains(kind)), "{kind}: {named:?}");
        }
        assert!(items_of(&system, BEN).await.iter().any(|item| item.contains("reconciliation##")));

        let link = system.app.links("alice").await[0].clone();
        let zoom = format!("{}/{BEN}", link["zoom"]["account_id"].as_str().unwrap());
        let subject = match is_app_user {
            true => "erase-user --user alice".to_owned(),
            false => format!("erase-zoom-user --zoom {zoom}"),
        };
        let output = run::on(&system, &format!("{subject} --yes --json")).await;
        assert_eq!(output.code, 0, "{output:?}");
        // The jobs of the backfill and of the erasure end later, and claims and exchanges expire.
        system.process_queues().await;
        system.advance(SignedDuration::from_hours(25));
        while !delayed.deliver(&system).await.is_empty() {
            system.process_queues().await;
        }
        system.run_maintenance().await;
        for identifier in ["alice", BEN] {
            assert_eq!(items_of(&system, identifier).await, [""; 0], "{subject}: {identifier}");
        }
        let notifications = system.app.get("/v1/notifications", "alice").await.json();
        let notifications = notifications["notifications"].as_array().unwrap();
        assert_eq!(notifications.len(), 1, "{notifications:?}");
        assert_eq!(notifications[0]["data"]["link"]["removed_reason"], "erased");
    }
}

#[tokio::test]
async fn link_erasure_is_notified() {
    let system = System::start().await;
    let bus = system.subscribe_to_bus().await;
    for (user, is_last) in [("alice", false), ("bob", true)] {
        system.link("bob", ADA).await;
        system.link(user, ADA).await;
        let before = system.app.links(user).await[0].clone();
        run::on(&system, &format!("erase-user --user {user} --yes")).await;
        system.process_queues().await;
        let events = system.peek_messages(&bus).await;
        let event: serde_json::Value = serde_json::from_str(events.last().unwrap()).unwrap();
        let (data, link) = (&event["detail"]["data"], &event["detail"]["data"]["link"]);
        assert_eq!(
            (&event["detail-type"], &data["app_user_id"]),
            (&"link.removed".into(), &user.into())
        );
        assert_eq!(
            (&link["status"], &link["removed_reason"]),
            (&"removed".into(), &"erased".into())
        );
        assert_eq!((&link["id"], link["erase_at"].is_string()), (&before["id"], is_last), "{link}");
    }
}
