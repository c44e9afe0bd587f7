//! `mint-link`, `confirm-link`, `manifest`, `completions`, and being called in a wrong way.

use support::System;
use support::zoom_users::ADA;

use crate::run::{self, assert_keeps_secrets};

#[tokio::test]
async fn a_minted_link_connects_the_user_that_it_was_minted_for() {
    let system = System::start().await;
    let said = run::on(&system, "mint-link --user alice --once --json").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_keeps_secrets(&system, &said);
    let link = said.json();
    assert_eq!(link["user"], "alice");
    let mut browser = system.browser();
    let start = browser.visit(link["url"].as_str().unwrap()).await;
    let authorize = start.location.clone().unwrap();
    let back = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&back).await.parameter("zoom_link").unwrap();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    // `--once`: a link that has connected somebody connects nobody else.
    let again = system.browser().visit(link["url"].as_str().unwrap()).await;
    assert_eq!(again.location, None, "{again:?}");

    // People get the link alone, to be copied.
    let said = run::on(&system, "mint-link --user alice").await;
    let start = system.browser().visit(said.out.trim()).await;
    assert!(start.location.is_some(), "{start:?}");
}

#[tokio::test]
async fn a_link_is_confirmed_for_the_user_that_it_was_minted_for_and_for_nobody_else() {
    let system = System::start().await;
    let connected = async || {
        let link = run::on(&system, "mint-link --user alice").await;
        let mut browser = system.browser();
        let start = browser.visit(link.out.trim()).await;
        let authorize = start.location.clone().unwrap();
        let back = system.allow(&mut browser, &authorize, ADA).await;
        browser.visit(&back).await.location.unwrap()
    };

    // The address that the browser came back to, as people copy it.
    let address = connected().await;
    let confirm = format!("confirm-link --user alice --claim {address}");
    let said = run::on(&system, &confirm).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.starts_with("alice is linked with Ada Berg"),
        "{said:?}"
    );
    assert_keeps_secrets(&system, &said);
    assert_eq!(system.app.links("alice").await.len(), 1);

    let address = connected().await;
    let stolen = format!("confirm-link --user mallory --claim {address} --json");
    let said = run::on(&system, &stolen).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.json()["code"], "claim_belongs_to_another_user");
    assert_eq!(system.app.links("mallory").await.len(), 0);
}

#[tokio::test]
async fn a_link_that_would_lead_back_elsewhere_is_not_minted() {
    let system = System::start().await;
    let elsewhere = "mint-link --user alice --return-to https://evil.example/";
    let said = run::on(&system, elsewhere).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("is not one of the stack's ReturnUrls"),
        "{said:?}"
    );
    assert_eq!(said.out, "");
    let listed = system.config().stack.parameters["ReturnUrls"].clone();
    let said = run::on(
        &system,
        &format!("mint-link --user alice --return-to {listed}?tab=1"),
    )
    .await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test]
async fn the_manifest_holds_what_the_stack_needs_of_zoom() {
    let system = System::start().await;
    let url = system.stack.url();
    let said = run::on(&system, "manifest --json --name Acme").await;
    assert_eq!(said.code, 0, "{said:?}");
    let manifest = said.json();
    let oauth = &manifest["oauth_information"];
    assert_eq!(manifest["display_information"]["display_name"], "Acme");
    assert_eq!(oauth["usage"], "USER_OPERATION");
    assert_eq!(
        oauth["production_redirect_uri"],
        format!("{url}/zoom/callback")
    );
    assert_eq!(oauth["oauth_allow_list"][0], format!("{url}/zoom/callback"));
    let scopes: Vec<_> = oauth["scopes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["scope"])
        .collect();
    assert_eq!(
        scopes,
        [
            "user:read:user",
            "cloud_recording:read:list_user_recordings",
            "cloud_recording:read:list_recording_files",
            "cloud_recording:read:recording",
        ]
    );
    let subscription = &manifest["features"]["event_subscription"]["events"][0];
    assert_eq!(
        subscription["production_webhook_url"],
        format!("{url}/zoom/webhook")
    );
    assert!(
        subscription["event_types"]
            .as_array()
            .unwrap()
            .contains(&"recording.completed".into())
    );

    // For people the same on stdout, to be put into a file, and words beside it.
    let said = run::on(&system, "manifest --name Acme").await;
    assert_eq!(said.json(), manifest);
    for words in [
        "Deauthorization notification endpoint URL",
        &format!("{url}/zoom/deauthorize"),
        "by hand",
    ] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
}

#[tokio::test]
async fn completions_need_no_stack_and_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = run::with(&format!("completions {shell}"), &[]).await;
        assert_eq!(said.code, 0, "{said:?}");
        for command in [
            "doctor",
            "manifest",
            "mint-link",
            "confirm-link",
            "redrive",
            "links",
            "recordings",
            "erase-user",
        ] {
            assert!(
                said.out.contains(command),
                "{shell} does not know {command}"
            );
        }
    }
}

#[tokio::test]
async fn being_called_in_a_wrong_way_is_told_apart_from_something_being_wrong() {
    let said = run::with("doctor", &[]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("--stack NAME, or --dev URL"), "{said:?}");
    let said = run::with("--dev http://127.0.0.1:9 doctor --json", &[]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.json()["error"]
            .as_str()
            .unwrap()
            .contains("no devstack answers"),
        "{said:?}"
    );
}
