//! Hand-written `Debug` implementations of types that hold secrets in plain text.
//!
//! Every other secret is a `SecretString`, which never prints its value.

use std::fmt::Debug;

use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use reelay_domain::claim::Claim;
use reelay_domain::keys::SecretVersions;
use reelay_domain::recording::PresignedUrl;
use reelay_domain::return_url::LinkOutcome;
use reelay_domain::signed_state::Nonce;
use reelay_domain::webhook::signature::SignatureHeaders;
use reelay_runtime::environment::Variables;
use reelay_runtime::http::query::Query;
use reelay_zoom::{DownloadHosts, Endpoints, MeetingRecordings, RecordingsPage, TokenPair};
use secrecy::SecretString;
use serde_json::json;
use support::System;

use super::search::SecretSearch;

const SECRET: &str = "MARKER-7f3a91c2";

fn secret() -> SecretString {
    SECRET.into()
}

#[tokio::test]
async fn debug_output_hides_secrets() {
    let mut search = SecretSearch::default();
    search.add("the secret", SECRET);
    search.add_bytes("the claim", &[13; 32]);
    search.add_bytes("the nonce", &[17; 16]);
    let check = |value: &dyn Debug| {
        let text = format!("{value:?}\n{value:#?}");
        assert_eq!(search.found_in(text.as_bytes()), [""; 0], "{text}");
    };

    check(&SecretVersions::single(SECRET));
    let claim = Claim::from_random([13; 32]);
    check(&claim);
    check(&LinkOutcome::Claim(claim.expose()));
    check(&Nonce::from_random([17; 16]));
    check(&SignatureHeaders { timestamp: "1767225601", signature: SECRET });
    check(&PresignedUrl::from(&secret()));
    let mut request = reelay_runtime::http::Request::new(reelay_runtime::http::Body::Empty);
    let uri = format!("/zoom/callback?code={SECRET}&state={SECRET}");
    *request.uri_mut() = uri.parse().unwrap();
    check(&Query::from_request(&request));

    check(&TokenPair {
        access_token: secret(),
        refresh_token: secret(),
        expires_in: 3600,
        scope: None,
    });
    let meeting = json!({"share_url": SECRET, "password": SECRET});
    check(&RecordingsPage {
        total_records: Some(1),
        meetings: vec![meeting.clone()],
        next_page_token: Some(SECRET.to_owned()),
    });
    check(&MeetingRecordings { object: meeting, download_access_token: Some(secret()) });
    let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
    let hosts = DownloadHosts::parse("zoom.us", &endpoints).unwrap();
    let url = format!("https://zoom.us/{SECRET}?token={SECRET}");
    check(&hosts.parse_url(&url).unwrap());
    for rejected in ["https://elsewhere.test/", "https://zoom.us:8443/", "nonsense "] {
        let error = hosts.parse_url(&format!("{rejected}{SECRET}")).unwrap_err();
        check(&error);
        check(&error.to_string());
    }
}

#[tokio::test]
async fn debug_output_of_functions_hides_configured_credentials() {
    let mut search = SecretSearch::default();
    search.add("the secret", SECRET);
    let check = |value: &dyn Debug| {
        let text = format!("{value:?}");
        assert_eq!(search.found_in(text.as_bytes()), [""; 0], "{text}");
    };
    let names = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let variables = names.map(|name| (name.to_owned(), SECRET.to_owned()));
    check(&Variables::new(variables.into()));

    let url = format!("https://{SECRET}:{SECRET}@app.test/path?key={SECRET}");
    let system = System::with(&[("AppWebhookUrl", &url), ("AppJwksUrl", &url)]).await;
    let environment = |function: &str| {
        let mut environment = system.stack.function_environment(function).unwrap().clone();
        let credentials =
            Credentials::new("AKIAEXAMPLE", SECRET, Some(SECRET.into()), None, "test");
        let provider = SharedCredentialsProvider::new(credentials);
        let sdk = environment.sdk.into_builder();
        environment.sdk = sdk.credentials_provider(provider).build();
        check(&environment);
        environment
    };
    check(&app_api::AppApi::new(&environment("app-api")).unwrap());
    check(&notifier::Notifier::new(&environment("notifier")).unwrap());
    check(&oauth_callback::OauthCallback::new(&environment("oauth-callback")).unwrap());
    check(&oauth_start::OauthStart::new(&environment("oauth-start")).unwrap());
    check(&reconciler::Reconciler::new(&environment("reconciler")).unwrap());
    let downloader = environment("recording-downloader");
    check(&recording_downloader::RecordingDownloader::new(&downloader).unwrap());
    check(&webhook::Webhook::new(&environment("webhook")).unwrap());
}
