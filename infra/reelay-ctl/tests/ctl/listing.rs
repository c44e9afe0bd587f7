//! `links` and `recordings`.

use reelay_zoom_sim::{NewFile, NewRecording};
use support::System;
use support::zoom_users::{ADA, BEN};

use crate::run;

async fn complete(system: &System, host: &str) {
    let files = vec![NewFile::new("MP4", 500), NewFile::new("M4A", 50)];
    system.complete_recording(NewRecording::of(host).with_files(files)).await;
    system.process_queues().await;
}

#[tokio::test]
async fn links_are_listed_with_grant_status() {
    let system = System::start().await;
    let output = run::on(&system, "links --user alice").await;
    assert_eq!((output.code, output.out.trim()), (0, "alice has no links."));
    system.link("alice", ADA).await;
    system.link("bob", ADA).await;
    let output = run::on(&system, "links --user alice --json").await;
    let links = output.json();
    let link = &links["links"][0];
    assert_eq!(links["links"].as_array().unwrap().len(), 1);
    assert_eq!(link["status"], "active");
    assert_eq!(link["zoom"]["user_id"], ADA);
    assert_eq!(link["grant"]["status"], "live");
    assert_eq!(link["grant"]["shared_with"], 1);
    assert_eq!(link["grant"]["missing_scopes"], serde_json::json!([]));
    let output = run::on(&system, "links --user alice").await;
    assert!(output.out.contains("live, shared with 1 other user"), "{output:?}");
}

#[tokio::test]
async fn recordings_are_paged_newest_first() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alice", BEN).await;
    for host in [ADA, BEN, ADA, BEN, ADA] {
        complete(&system, host).await;
    }
    let expected: Vec<String> = system
        .app
        .recordings("alice")
        .await
        .iter()
        .map(|recording| recording["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(expected.len(), 5);
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let output =
            run::on(&system, &format!("recordings --user alice --limit 2 --json{after}")).await;
        let page = output.json();
        let ids = page["recordings"].as_array().unwrap().iter();
        found.extend(ids.map(|recording| recording["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!(" --after {next}"),
            None => break,
        }
    }
    assert_eq!(found, expected);
    let output = run::on(&system, "recordings --user alice --after nonsense").await;
    assert_eq!(output.code, 2, "{output:?}");
}

#[tokio::test]
async fn recordings_are_filtered_by_status() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    complete(&system, ADA).await;
    let output = run::on(&system, "recordings --user alice --status stored").await;
    assert_eq!(output.out.trim(), "alice has no matching recordings.");
    let output = run::on(&system, "recordings --user alice --status detected").await;
    assert!(output.out.contains("detected  0 of 2"), "{output:?}");
}
