//! `erase-user`: all that is the user's, nothing that is others', and in the end all of it, however often it dies.

use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::{NewFile, NewRecording};
use support::System;
use support::zoom_users::{ADA, BEN};

use crate::run;

async fn complete(system: &System, host: &str) {
    let files = vec![NewFile::new("MP4", 700), NewFile::new("M4A", 300)];
    system
        .complete_recording(NewRecording::of(host).with_files(files))
        .await;
    system.process_queues().await;
}

/// What tables and bucket hold that names this Zoom user.
async fn traces(system: &System, zoom_user: &str) -> Vec<String> {
    let config = system.config();
    let mut found = Vec::new();
    for table in [&config.tables.recordings, &config.tables.links] {
        found.extend(system.table_items(table).await);
    }
    let objects = system.list_objects().await;
    found.extend(objects.into_iter().map(|(key, _)| key));
    found.retain(|text| text.contains(zoom_user));
    found
}

/// Alice has linked Ada, as Bob has, and Ben, whom nobody else has.
async fn shared() -> System {
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
async fn all_of_a_user_is_erased_and_nothing_that_others_hold() {
    let system = shared().await;
    let said = run::on(&system, "erase-user --user alice --yes --json").await;
    assert_eq!(said.code, 0, "{said:?}");
    let receipt = said.json();
    for (what, count) in [("links", 2), ("recordings", 2), ("objects", 6), ("kept", 1)] {
        assert_eq!(receipt[what], count, "{what}: {receipt}");
    }
    assert_eq!(receipt["grants"]["kept_for_others"], 1);
    // Revocation is ordered, and is the reconciler's work.
    system.process_queues().await;
    assert!(system.zoom().live_grant(BEN).is_none());
    assert!(system.zoom().live_grant(ADA).is_some());
    assert_eq!(traces(&system, BEN).await, [""; 0]);
    let names_alice = system.table_items(&system.tables().links).await;
    assert!(
        names_alice.iter().all(|item| !item.contains("alice")),
        "{names_alice:?}"
    );
    assert_eq!(system.app.links("alice").await.len(), 0);
    // Bob has what he had.
    assert_eq!(system.app.links("bob").await[0]["status"], "active");
    assert_eq!(system.app.recordings("bob").await[0]["status"], "stored");
    assert_eq!(system.stored_files().await.len(), 2);

    let again = run::on(&system, "erase-user --user alice --yes").await;
    assert_eq!(
        (again.code, again.out.trim()),
        (0, "Nothing is held of alice.")
    );
    // Once the last user is gone, so are Ada's recordings.
    let said = run::on(&system, "erase-user --user bob --yes").await;
    assert!(said.out.contains("objects       3"), "{said:?}");
    assert!(said.err.contains("1 recording in 2 files"), "{said:?}");
    system.process_queues().await;
    assert_eq!(traces(&system, ADA).await, [""; 0]);
}

#[tokio::test]
async fn wherever_it_dies_it_is_finished_by_running_it_again() {
    for (service, operation) in [
        (Service::DynamoDb, "PutItem"),
        (Service::DynamoDb, "BatchWriteItem"),
        (Service::S3, "ListMultipartUploads"),
        (Service::S3, "ListObjectsV2"),
        (Service::S3, "DeleteObjects"),
        (Service::DynamoDb, "DeleteItem"),
    ] {
        let system = System::start().await;
        system.link("alice", BEN).await;
        complete(&system, BEN).await;
        let faults = system.faults();
        faults.fail_until_cleared(service, operation, Fault::error(403, "AccessDenied"));
        let said = run::on(&system, "erase-user --user alice --yes --json").await;
        assert_eq!(said.code, 1, "{operation}: {said:?}");
        faults.clear_all();
        let said = run::on(&system, "erase-user --user alice --yes --json").await;
        assert_eq!(said.code, 0, "{operation}: {said:?}");
        system.process_queues().await;
        assert_eq!(traces(&system, BEN).await, [""; 0], "{operation}");
        let said = run::on(&system, "erase-user --user alice --yes").await;
        assert_eq!(said.out.trim(), "Nothing is held of alice.", "{operation}");
    }
}

#[tokio::test]
async fn an_upload_that_is_under_way_is_ended() {
    let system = System::start().await;
    system.link("alice", BEN).await;
    complete(&system, BEN).await;
    let (key, _) = system.list_objects().await.swap_remove(0);
    let bucket = &system.config().bucket;
    let begin = system.sdk().s3().create_multipart_upload();
    begin
        .bucket(bucket)
        .key(format!("{key}.part"))
        .send()
        .await
        .unwrap();
    let said = run::on(&system, "erase-user --user alice --yes --json").await;
    assert_eq!(said.json()["uploads"], 1, "{said:?}");
    assert_eq!(system.open_uploads().await, 0);
}

#[tokio::test]
async fn nothing_is_erased_unasked() {
    let system = System::start().await;
    system.link("alice", BEN).await;
    complete(&system, BEN).await;
    let before = traces(&system, BEN).await.len();
    for arguments in ["erase-user --user alice", "erase-user --user alice --json"] {
        let said = run::on(&system, arguments).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.err.contains("run it on a terminal, or with --yes"),
            "{said:?}"
        );
    }
    assert_eq!(traces(&system, BEN).await.len(), before);
    assert_eq!(system.app.links("alice").await.len(), 1);
}

#[tokio::test]
async fn who_signs_with_own_keys_gives_a_token() {
    let system = System::start().await;
    system.link("alice", BEN).await;
    // The stack of an app with keys of its own; the API answers as before, so the token is of the one kind.
    let mut description = serde_json::to_value(system.config()).unwrap();
    description["stack"]["parameters"]["AppJwksUrl"] = "https://app.example.com/jwks".into();
    let described = crate::fake::Fake::answering(200, description).await;
    let at = format!("--dev {} erase-user --user alice --yes", described.url());
    let said = run::with(&at, &[]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("REELAY_API_TOKEN"), "{said:?}");
    assert_eq!(system.app.links("alice").await.len(), 1);
    let token = system.app.api_token("alice");
    let said = run::with(&at, &[("REELAY_API_TOKEN", &token)]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(system.app.links("alice").await.len(), 0);
}
