//! `revive`.

use jiff::SignedDuration;
use reelay_grants::Grants;
use reelay_zoom_sim::{Fault, Point};
use serde_json::json;
use support::System;
use support::zoom_users::{ADA, BEN};

use crate::run;

/// Alice is linked to Ada and Bob to Ben, and Zoom rejects their valid tokens by mistake.
async fn marked() -> System {
    let system = System::start().await;
    let invalid = Fault::Respond {
        status: 400,
        content_type: "application/json".to_owned(),
        body: r#"{"error":"invalid_grant"}"#.to_owned(),
    };
    let mistake = system.fail(Point::TokenRefresh, invalid);
    let grants = Grants::new(system.stack.function_environment("reconciler").unwrap()).unwrap();
    let links = [system.link("alice", ADA).await, system.link("bob", BEN).await];
    system.advance(SignedDuration::from_secs(3_700));
    for link in links {
        let zoom = &link["zoom"];
        let id = |name: &str| zoom[name].as_str().unwrap();
        let user = reelay_domain::ids::ZoomUser {
            account_id: id("account_id").parse().unwrap(),
            user_id: id("user_id").parse().unwrap(),
        };
        grants.access_token(&user).await.unwrap_err();
    }
    system.zoom().clear_faults(Some(mistake));
    system
}

async fn status(system: &System, app_user: &str) -> String {
    system.app.links(app_user).await[0]["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn marked_grants_are_listed_and_revived() {
    let system = marked().await;
    let since = "--all-marked-since 2026-01-01T00:00:00Z";
    let output = run::on(&system, &format!("revive {since} --dry-run --json")).await;
    let grants = output.json()["grants"].as_array().unwrap().clone();
    assert_eq!((output.code, grants.len()), (0, 2), "{output:?}");
    assert!(grants.iter().all(|grant| grant["outcome"] == "marked"), "{grants:?}");
    assert_eq!(status(&system, "alice").await, "reauthorization_required");

    let output = run::on(&system, &format!("revive {since} --json")).await;
    let grants = output.json()["grants"].as_array().unwrap().clone();
    assert_eq!((output.code, grants.len()), (0, 2), "{output:?}");
    for grant in grants {
        assert_eq!((&grant["outcome"], &grant["links"]), (&json!("revived"), &json!(1)), "{grant}");
    }
    for app_user in ["alice", "bob"] {
        assert_eq!(status(&system, app_user).await, "active", "{app_user}");
    }
    let output = run::on(&system, &format!("revive {since}")).await;
    assert_eq!((output.code, output.out.trim()), (0, "No marked grant was found."));
}

#[tokio::test]
async fn one_marked_grant_is_revived() {
    let system = marked().await;
    let link = &system.app.links("bob").await[0];
    let account = link["zoom"]["account_id"].as_str().unwrap();
    let command = format!("revive --zoom {account}/{BEN}");
    let output = run::on(&system, &command).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("revived, 1 link active again"), "{output:?}");
    assert_eq!(status(&system, "bob").await, "active");
    assert_eq!(status(&system, "alice").await, "reauthorization_required");
    let output = run::on(&system, &command).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.out.contains("nothing to revive"), "{output:?}");
}

#[tokio::test]
async fn doctor_tells_who_has_to_connect_again() {
    let system = marked().await;
    system.link("carol", ADA).await;
    for (app_user, problem) in
        [("alice", "has not connected again"), ("bob", "Zoom has revoked the grant")]
    {
        let output = run::on(&system, &format!("doctor --user {app_user}")).await;
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.out.contains(problem), "{app_user}: {}", output.out);
    }
}
