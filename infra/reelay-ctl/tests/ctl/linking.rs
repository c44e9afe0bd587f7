//! `mint-link`, `confirm-link`, `manifest`, `completions` and invalid usage.

use support::System;
use support::zoom_users::ADA;

use crate::run::{self, assert_prints_no_secret};

#[tokio::test]
async fn minted_link_connects_its_user() {
    let system = System::start().await;
    let output = run::on(&system, "mint-link --user alice --once --json").await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_prints_no_secret(&system, &output);
    let link = output.json();
    assert_eq!(link["user"], "alice");
    let mut browser = system.browser();
    let start = browser.visit(link["url"].as_str().unwrap()).await;
    let authorize = start.location.clone().unwrap();
    let back = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&back).await.parameter("zoom_link").unwrap();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    // `--once`: the link is valid for one connection.
    let again = system.browser().visit(link["url"].as_str().unwrap()).await;
    assert_eq!(again.location, None, "{again:?}");

    // Text output is the URL alone.
    let output = run::on(&system, "mint-link --user alice").await;
    let start = system.browser().visit(output.out.trim()).await;
    assert!(start.location.is_some(), "{start:?}");

    let emulated = "mint-link --user alice --api-url http://emulator.example/api";
    let output = run::on(&system, emulated).await;
    let start = "http://emulator.example/api/zoom/connect?token=";
    assert!(output.out.starts_with(start), "{output:?}");
}

#[tokio::test]
async fn link_is_confirmed_for_its_user_only() {
    let system = System::start().await;
    let connected = async || {
        let link = run::on(&system, "mint-link --user alice").await;
        let mut browser = system.browser();
        let start = browser.visit(link.out.trim()).await;
        let authorize = start.location.clone().unwrap();
        let back = system.allow(&mut browser, &authorize, ADA).await;
        browser.visit(&back).await.location.unwrap()
    };

    let return_url = connected().await;
    let confirm = format!("confirm-link --user alice --claim {return_url}");
    let output = run::on(&system, &confirm).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.starts_with("alice is linked to Ada Berg"), "{output:?}");
    assert_prints_no_secret(&system, &output);
    assert_eq!(system.app.links("alice").await.len(), 1);

    let return_url = connected().await;
    let stolen = format!("confirm-link --user mallory --claim {return_url} --json");
    let output = run::on(&system, &stolen).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(output.json()["code"], "claim_belongs_to_another_user");
    assert_eq!(system.app.links("mallory").await.len(), 0);
}

#[tokio::test]
async fn unlisted_return_url_is_rejected() {
    let system = System::start().await;
    let unlisted = "mint-link --user alice --return-to https://evil.example/";
    let output = run::on(&system, unlisted).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.err.contains("is not one of the stack's ReturnUrls"), "{output:?}");
    assert_eq!(output.out, "");
    let listed = system.config().stack.parameters["ReturnUrls"].clone();
    let output =
        run::on(&system, &format!("mint-link --user alice --return-to {listed}?tab=1")).await;
    assert_eq!(output.code, 0, "{output:?}");
}

#[tokio::test]
async fn manifest_matches_stack() {
    let system = System::start().await;
    let url = system.stack.url();
    let output = run::on(&system, "manifest --json --name Acme").await;
    assert_eq!(output.code, 0, "{output:?}");
    let manifest = output.json();
    let oauth = &manifest["oauth_information"];
    assert_eq!(manifest["display_information"]["display_name"], "Acme");
    assert_eq!(oauth["usage"], "USER_OPERATION");
    assert_eq!(oauth["production_redirect_uri"], format!("{url}/zoom/callback"));
    assert_eq!(oauth["oauth_allow_list"][0], format!("{url}/zoom/callback"));
    let scopes: Vec<_> =
        oauth["scopes"].as_array().unwrap().iter().map(|scope| &scope["scope"]).collect();
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
    assert_eq!(subscription["production_webhook_url"], format!("{url}/zoom/webhook"));
    assert!(
        subscription["event_types"].as_array().unwrap().contains(&"recording.completed".into())
    );

    // Text output: the manifest on stdout, the manual steps on stderr.
    let output = run::on(&system, "manifest --name Acme").await;
    assert_eq!(output.json(), manifest);
    for text in [
        "Deauthorization notification endpoint URL",
        &format!("{url}/zoom/deauthorize"),
        "manually",
    ] {
        assert!(output.err.contains(text), "{text}: {output:?}");
    }
}

#[tokio::test]
async fn completions_cover_all_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run::with(&format!("completions {shell}"), &[]).await;
        assert_eq!(output.code, 0, "{output:?}");
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
            assert!(output.out.contains(command), "{shell} lacks {command}");
        }
    }
}

#[tokio::test]
async fn usage_error_exits_with_2() {
    let output = run::with("doctor", &[]).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.err.contains("--stack NAME, or --dev URL"), "{output:?}");
    let output = run::with("--dev http://127.0.0.1:9 doctor --json", &[]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.json()["error"].as_str().unwrap().contains("no devstack at"), "{output:?}");
}
