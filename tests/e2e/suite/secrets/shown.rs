//! Every type that holds a secret, holding one, and shown by `Debug` and `Display`.
//!
//! Which types those are is read from the sources, so that a new one can't be forgotten.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};

use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use jiff::Timestamp;
use jiff::civil::Date;
use recording_downloader::transfer::{Candidate, Listing};
use reelay_domain::browser_secret::BrowserSecret;
use reelay_domain::claim::Claim;
use reelay_domain::ids::{AppUserId, MeetingUuid, ZoomUser};
use reelay_domain::jwt::{AppKeys, Audience};
use reelay_domain::keys::SecretVersions;
use reelay_domain::message::{EventBody, EventMessage, SchemaV1};
use reelay_domain::recording::{FileMetadata, FileStatus, PresignedUrl};
use reelay_domain::return_url::LinkOutcome;
use reelay_domain::signed_state::{self, Nonce};
use reelay_domain::source_cipher::{self, DownloadSource};
use reelay_domain::upload::SourceKind;
use reelay_domain::webhook::signature::SignatureHeaders;
use reelay_domain::webhook::{endpoint_validation, event, redact};
use reelay_grants::Grants;
use reelay_runtime::http::app_tokens::AppTokens;
use reelay_runtime::http::query::Query;
use reelay_runtime::secrets::{Secret, ZoomCredentials, ZoomSecret};
use reelay_store::links::{Consent, LinkTable, NewTokens, PendingLink};
use reelay_store::recordings::FileItem;
use reelay_store::sessions::{
    ClaimItem, ExchangeItem, ExchangeStage, OpenExchange, Session, SessionTable, SingleUseJti,
    exchange_key,
};
use reelay_store::vault::{TokenOwner, Tokens, Vault};
use reelay_zoom::{ClientCredentials, DownloadHosts, Endpoints, TokenPair};
use reelay_zoom_sim::NewRecording;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use support::people::ADA;
use support::{System, store, zoom as zoom_side};

use super::declarations::Declarations;
use super::needles::Needles;

/// Types whose fields are called like secrets, or lie where secrets may, and never are any.
const HARMLESS: [(&str, &str); 24] = [
    (
        "app_api::ApiError",
        "failures' own words, and problems, which the caller is told",
    ),
    ("app_api::NoRoute", "the methods that a route has"),
    ("reelay_runtime::AwsError", "AWS's error code"),
    ("aws::ConfigError", "a variable's name"),
    (
        "aws::OpenUpload",
        "an object's key, and S3's id of an upload",
    ),
    ("aws::Queue", "the queue's address, which opens nothing"),
    ("aws::SecretError", "a secret's name"),
    ("aws::StoredObject", "an object's key"),
    ("reelay_domain::EventError", "a field's name"),
    ("reelay_domain::File", "an object's key"),
    ("reelay_domain::InvalidId", "words of ours"),
    (
        "reelay_domain::Notification",
        "what the app is told; see what is written",
    ),
    (
        "reelay_domain::ReturnUrl",
        "the app's own address, without our parameters",
    ),
    ("reelay_domain::ReturnUrls", "the operator's list"),
    ("reelay_domain::TokenError", "words of ours"),
    ("reelay_runtime::http::Problem", "words of ours"),
    (
        "notifier::NotifyError",
        "AWS's error code, or words of ours",
    ),
    ("oauth_callback::CallbackError", "words of ours"),
    ("oauth_callback::LinkingError", "scopes, and words of ours"),
    ("oauth_start::ConnectError", "failures' own words"),
    (
        "recording_downloader::ObjectSpec",
        "an object's key, type and metadata",
    ),
    (
        "recording_downloader::TransferError",
        "fixed texts, and S3's error code",
    ),
    (
        "reelay_runtime::sqs::Consumer",
        "the queue's address, which opens nothing",
    ),
    ("reelay_zoom::HostListError", "the operator's list"),
];

/// What was shown, and what must not be seen.
#[derive(Default)]
struct Gallery {
    needles: Needles,
    /// By `crate::Type`.
    shown: BTreeMap<String, String>,
}

impl Gallery {
    /// A secret of this kind, to be put somewhere.
    fn secret(&mut self, what: &str) -> String {
        let secret = format!("MARKER-{}-{:04}", what.replace(' ', "-"), self.shown.len());
        self.needles.add(what, &secret);
        secret
    }

    fn show<T: Debug>(&mut self, value: &T) {
        let text = format!("{value:?}\n{value:#?}");
        self.hang(type_name::<T>(), text);
    }

    fn show_both<T: Debug + Display>(&mut self, value: &T) {
        self.show(value);
        self.hang(type_name::<T>(), format!("{value}\n{value:#}"));
    }

    fn hang(&mut self, path: &str, text: String) {
        let path = path.split('<').next().unwrap();
        let (krate, _) = path.split_once("::").unwrap();
        let (_, name) = path.rsplit_once("::").unwrap();
        let text = format!("{path}: {text}\n");
        *self.shown.entry(format!("{krate}::{name}")).or_default() += &text;
    }

    /// What can be seen though it must not.
    fn leaks(&self) -> Vec<String> {
        let seen = |(name, text): (&String, &String)| {
            let found = self.needles.found_in(text.as_bytes()).into_iter();
            let found = found.map(|what| format!("{name} shows {what}"));
            found.collect::<Vec<_>>()
        };
        self.shown.iter().flat_map(seen).collect()
    }
}

#[tokio::test]
async fn no_type_that_holds_a_secret_shows_it() {
    let mut gallery = Gallery::default();
    keys_and_tokens(&mut gallery);
    what_a_browser_carries(&mut gallery);
    what_zoom_sends(&mut gallery);
    what_rests(&mut gallery).await;
    what_zoom_answers(&mut gallery).await;
    what_functions_hold(&mut gallery).await;
    assert_eq!(gallery.leaks(), Vec::<String>::new());

    let declarations = Declarations::of_the_product();
    let secret = declarations.secret();
    assert!(secret.len() > 50, "the sources are not read: {secret:?}");
    let harmless = HARMLESS.map(|(name, _)| name);
    let shown = |name: &str| {
        let mut all = gallery.shown.keys();
        // A private type is shown with a public one that holds it.
        all.any(|by| {
            by == name || (!declarations.is_public(name) && declarations.reaches(by, name))
        })
    };
    let missing: Vec<&String> = secret
        .iter()
        .filter(|name| !harmless.contains(&name.as_str()) && !shown(name))
        .collect();
    assert!(
        missing.is_empty(),
        "these may hold a secret and are not shown here: {missing:#?}"
    );
    let needless: Vec<&&str> = harmless
        .iter()
        .filter(|name| !secret.contains(**name) || gallery.shown.contains_key(**name))
        .collect();
    assert!(needless.is_empty(), "no longer excused: {needless:?}");
}

/// The control.
#[test]
fn a_type_that_shows_its_secret_is_caught() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "shown by Debug alone")]
    struct Careless {
        token: Vec<u8>,
    }
    let mut gallery = Gallery::default();
    let token = gallery.secret("a token").into_bytes();
    gallery.show(&Careless { token });
    assert_eq!(
        gallery.leaks(),
        ["suite::Careless shows a token, as a list of numbers"]
    );
}

fn now() -> Timestamp {
    "2026-01-01T10:00:00Z".parse().unwrap()
}

fn meeting() -> MeetingUuid {
    "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap()
}

fn ada() -> ZoomUser {
    ZoomUser {
        account_id: "AcctAAAAAAAAAAAAAAAAAA".parse().unwrap(),
        user_id: ADA.parse().unwrap(),
    }
}

fn keys_and_tokens(gallery: &mut Gallery) {
    let versions = SecretVersions {
        current: gallery.secret("a current key").into(),
        previous: Some(gallery.secret("a previous key").into()),
    };
    gallery.show(&versions);
    gallery.show(&AppKeys::Secret(versions));
    let tokens = Tokens {
        access_token: gallery.secret("a stored access token").into(),
        refresh_token: gallery.secret("a stored refresh token").into(),
    };
    gallery.show(&tokens);
    let pair = TokenPair {
        access_token: gallery.secret("an obtained access token").into(),
        refresh_token: gallery.secret("an obtained refresh token").into(),
        expires_in: 3600,
        scope: None,
    };
    gallery.show(&pair);
    let credentials = ZoomCredentials {
        client_id: "the client id".to_owned(),
        client_secret: gallery.secret("a client secret").into(),
    };
    gallery.show(&credentials);
    gallery.show(&ClientCredentials {
        client_id: credentials.client_id,
        client_secret: credentials.client_secret,
    });
    let token = reelay_grants::AccessToken {
        token: gallery.secret("a grant's token").into(),
        version: 1,
    };
    gallery.show(&token);
}

fn what_a_browser_carries(gallery: &mut Gallery) {
    let bytes =
        |first: u8| std::array::from_fn(|at| first.wrapping_mul(31).wrapping_add(at as u8 * 7));
    let claim = Claim::from_random(bytes(3));
    gallery.needles.add("a claim", claim.expose());
    gallery.show(&claim);
    gallery.show(&LinkOutcome::Claim(claim.expose()));
    let browser = BrowserSecret::from_random(bytes(5));
    let cookie = browser.set_cookie().expose_secret().to_owned();
    let value = cookie.split(['=', ';']).nth(1).unwrap();
    gallery.needles.add("a cookie", value);
    gallery.show(&browser);
    let nonce_bytes: [u8; 16] = std::array::from_fn(|at| 11 + at as u8 * 9);
    let nonce = Nonce::from_random(nonce_bytes);
    gallery.needles.add_bytes("a nonce", &nonce_bytes);
    gallery.show(&nonce);
    let keys = SecretVersions::single(gallery.secret("a state key"));
    let state = signed_state::sign(&keys, &nonce, now());
    gallery.needles.add("a state", &state);
    gallery.show(&signed_state::verify(&keys, &state, now()).unwrap());
    let verifier = reelay_domain::pkce::verifier(&keys.current, &nonce);
    gallery.needles.add("a verifier", verifier.expose_secret());

    let code = gallery.secret("a code");
    let mut request = reelay_runtime::http::Request::new(reelay_runtime::http::Body::Empty);
    *request.uri_mut() = format!("/zoom/callback?code={code}&state={state}")
        .parse()
        .unwrap();
    gallery.show(&Query::from_request(&request));

    // What the tables keep of them.
    let app_user: AppUserId = "alice".parse().unwrap();
    let jti = gallery.secret("a jti");
    let jti = SingleUseJti::new(&app_user, &jti, now());
    gallery.show(&jti);
    gallery.show(&Session {
        app_user: app_user.clone(),
        return_to: "https://app.test/".to_owned(),
        redirect_uri: "https://reelay.test/zoom/callback".to_owned(),
        browser_hash: browser.hash(),
        code_challenge: reelay_domain::pkce::challenge(&verifier),
        jti: Some(jti.clone()),
        expires_at: 1,
    });
    let claim_item = ClaimItem {
        app_user,
        zoom_user: ada(),
        jti: Some(jti),
        confirmed: false,
        expires_at: 1,
    };
    gallery.show(&PendingLink {
        claim: &claim,
        claim_item: &claim_item,
    });
    gallery.show(&TokenOwner::Exchange(exchange_key(&nonce)));
}

fn what_zoom_sends(gallery: &mut Gallery) {
    let signature = gallery.secret("a signature");
    gallery.show(&SignatureHeaders {
        timestamp: "1767225601",
        signature: &signature,
    });
    let secret = SecretString::from(gallery.secret("a webhook secret"));
    gallery.show(&endpoint_validation::respond(&secret, "plain"));

    let keys = SecretVersions::single(gallery.secret("a queue key"));
    let mut event = json!({
        "event": "recording.completed",
        "download_token": gallery.secret("a download token"),
        "payload": {"account_id": "A", "object": {
            "uuid": meeting(),
            "share_url": gallery.secret("a share URL"),
            "password": gallery.secret("a password"),
            "recording_play_passcode": gallery.secret("a passcode"),
            "recording_files": [{
                "download_url": gallery.secret("a download URL"), "play_url": gallery.secret("a play URL")
            }],
        }},
    });
    redact::redact(&mut event, &keys, || [7; 16]);
    let body = EventBody::Event(event);
    gallery.show(&body);
    gallery.show(&EventMessage {
        v: SchemaV1,
        received_at: now(),
        body,
    });
    let source = DownloadSource {
        url: gallery.secret("a source's URL").into(),
        token: Some(gallery.secret("a source's token").into()),
    };
    gallery.show(&source);
    let listed = event::find_listed_file(
        &json!({"recording_files": [{"id": "file", "download_url": gallery.secret("a listed URL")}]}),
        &meeting(),
        &"file".parse().unwrap(),
    );
    gallery.show(&listed.unwrap());
    let candidate = Candidate {
        url: source.url.clone(),
        token: source.token.clone().unwrap(),
        kind: SourceKind::Webhook,
    };
    gallery.show(&candidate);
    gallery.show(&Listing {
        candidates: vec![candidate],
        declared_size: None,
    });
    let sealed = source_cipher::encrypt(&keys, &meeting(), &source, [9; 16]);
    gallery.show(&sealed);
    let metadata = FileMetadata {
        id: "file".parse().unwrap(),
        file_type: "MP4".to_owned(),
        recording_type: None,
        extension: "mp4".to_owned(),
        size: None,
    };
    gallery.show(&FileItem {
        metadata: metadata.clone(),
        status: FileStatus::Queued,
        reason: None,
        bytes_stored: 0,
        key: None,
        crc64nvme: None,
        source: Some(sealed),
        source_saved_at: None,
        next_check: None,
        last_event_ts: 0,
        received_at: None,
        lease_owner: None,
        lease_until: None,
        attempt: 0,
        upload: None,
        recognised: None,
    });
    let recording = reelay_domain::recording::Recording {
        zoom_user: ada(),
        metadata: reelay_domain::recording::RecordingMetadata {
            meeting_uuid: meeting(),
            meeting_id: None,
            topic: "Synthetic".to_owned(),
            start_time: now(),
            duration_minutes: None,
        },
        zoom_state: Default::default(),
        sequence: 0,
        files: vec![reelay_domain::recording::File {
            metadata,
            status: FileStatus::Stored,
            reason: None,
            bytes_stored: 0,
            key: Some("recordings/x".to_owned()),
            crc64nvme: None,
        }],
    };
    let mut view = recording.view("bucket");
    let presigned = SecretString::from(gallery.secret("a presigned URL"));
    let presigned = PresignedUrl::from(&presigned);
    gallery.show(&presigned);
    view.files[0].url = Some(presigned);
    gallery.show(&view.files[0]);
    gallery.show(&view);

    let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
    let hosts = DownloadHosts::parse("zoom.us", &endpoints).unwrap();
    let (user, path, token) = (
        gallery.secret("a user"),
        gallery.secret("a path"),
        gallery.secret("a query"),
    );
    gallery.show(
        &hosts
            .parse_url(&format!("https://zoom.us/{path}?t={token}"))
            .unwrap(),
    );
    for refused in [
        format!("https://elsewhere.test/{path}?t={token}"),
        format!("https://{user}:{path}@zoom.us/{path}?t={token}"),
        format!("https://zoom.us:8443/{path}?t={token}"),
        format!("http://zoom.us/{path}?t={token}"),
        format!("nonsense {path}"),
    ] {
        gallery.show_both(&hosts.parse_url(&refused).unwrap_err());
    }
}

async fn what_rests(gallery: &mut Gallery) {
    let system = System::start().await;
    let environment = system.stack.function_environment("oauth-callback").unwrap();
    let tokens = Tokens {
        access_token: gallery.secret("a sealed access token").into(),
        refresh_token: gallery.secret("a sealed refresh token").into(),
    };
    let vault = Vault::new(environment).unwrap();
    let owner = TokenOwner::Grant(ada());
    let sealed = vault.encrypt(&owner, &tokens).await.unwrap();
    gallery.show(&sealed);
    let stage = ExchangeStage::Tokens {
        sealed: sealed.clone(),
        obtained_at: 0,
        access_expires_at: 0,
        scope: None,
    };
    let app_user: AppUserId = "alice".parse().unwrap();
    let item = ExchangeItem {
        app_user: app_user.clone(),
        stage,
        begun_at: 0,
        expires_at: 0,
    };
    gallery.show(&item);
    gallery.show(&OpenExchange {
        key: "exchange#hash".to_owned(),
        item,
    });
    let claim = Claim::from_random([77; 32]);
    gallery
        .needles
        .add("a pending link's claim", claim.expose());
    let claim_item = ClaimItem {
        app_user: app_user.clone(),
        zoom_user: ada(),
        jti: None,
        confirmed: false,
        expires_at: 1,
    };
    gallery.show(&Consent {
        zoom_user: &ada(),
        display_name: "Ada",
        tokens: NewTokens {
            tokens: sealed,
            obtained_at: 0,
            exchange: "exchange#hash".to_owned(),
            access_expires_at: 0,
            scope: None,
        },
        begun_by: &app_user,
        link: Some(PendingLink {
            claim: &claim,
            claim_item: &claim_item,
        }),
    });

    // Secrets that were read, both versions.
    for (output, what) in [
        ("ZoomSecretName", "a client secret"),
        ("AppSecretName", "an app secret"),
    ] {
        for _ in 0..2 {
            let value = gallery.secret(what);
            let value = match output {
                "ZoomSecretName" => {
                    json!({"client_id": "id", "client_secret": value, "webhook_secret": value})
                        .to_string()
                }
                _ => value,
            };
            store::turn_over(&system.stack, output, &value).await;
        }
    }
    let zoom_secret = ZoomSecret::from_env(environment, "ZOOM_SECRET").unwrap();
    zoom_secret.credentials().await.unwrap();
    gallery.show(&zoom_secret);
    let state_key = Secret::from_env(environment, "STATE_KEY").unwrap();
    for key in state_key.versions().await.unwrap().iter() {
        gallery
            .needles
            .add("a state key that was read", key.expose_secret());
    }
    assert!(
        format!("{state_key:?}").contains("SecretVersions"),
        "it was not read"
    );
    gallery.show(&state_key);
    let environment = system.stack.function_environment("app-api").unwrap();
    let app_tokens = AppTokens::new(environment).unwrap();
    let token = gallery.secret("an API token");
    gallery.show_both(&app_tokens.verify(&token, Audience::Api).await.unwrap_err());
    assert!(
        format!("{app_tokens:?}").contains("SecretVersions"),
        "it was not read"
    );
    gallery.show(&app_tokens);
}

/// Zoom's answers, as its simulator gives them.
async fn what_zoom_answers(gallery: &mut Gallery) {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let recording = zoom_side::complete(&system, NewRecording::of(ADA)).await;
    let environment = system
        .stack
        .function_environment("recording-downloader")
        .unwrap();
    let grants = Grants::new(environment).unwrap();
    let owner = ZoomUser {
        account_id: recording.account_id.parse().unwrap(),
        user_id: recording.host_id.parse().unwrap(),
    };
    let token = grants.access_token(&owner).await.unwrap();
    gallery
        .needles
        .add("Zoom's access token", token.token.expose_secret());
    gallery.show(&token);
    gallery.show(&grants);

    let uuid: MeetingUuid = recording.uuid.parse().unwrap();
    let listed = grants
        .zoom()
        .get_meeting_recordings(&token.token, &uuid, 60)
        .await
        .unwrap();
    let bearer = listed.download_access_token.clone().unwrap();
    gallery
        .needles
        .add("Zoom's download token", bearer.expose_secret());
    note(gallery, &listed.object);
    gallery.show(&listed);
    let day: Date = recording.start_time.to_string()[..10].parse().unwrap();
    let mut page = grants
        .zoom()
        .list_recordings(
            &token.token,
            day.yesterday().unwrap(),
            day.tomorrow().unwrap(),
            None,
        )
        .await
        .unwrap();
    assert!(!page.meetings.is_empty(), "the page lists nothing");
    page.meetings
        .iter()
        .for_each(|meeting| note(gallery, meeting));
    page.next_page_token = Some(gallery.secret("a page token"));
    gallery.show(&page);

    let variables = &environment.variables;
    let endpoints = Endpoints::parse(
        variables.required("ZOOM_OAUTH_URL").unwrap(),
        variables.required("ZOOM_API_URL").unwrap(),
    )
    .unwrap();
    let hosts =
        DownloadHosts::parse(variables.required("DOWNLOAD_HOSTS").unwrap(), &endpoints).unwrap();
    let url = listed.object["recording_files"][0]["download_url"]
        .as_str()
        .unwrap();
    let url = SecretString::from(url);
    let download = grants
        .zoom()
        .download(&hosts, &url, Some(&bearer), None)
        .await
        .unwrap();
    assert_ne!(download.final_url.expose_secret(), url.expose_secret());
    gallery
        .needles
        .add("where the bytes are", download.final_url.expose_secret());
    gallery.show(&download);
    let wrong = SecretString::from(gallery.secret("a wrong token"));
    gallery.show_both(
        &grants
            .zoom()
            .download(&hosts, &url, Some(&wrong), None)
            .await
            .unwrap_err(),
    );
}

fn note(gallery: &mut Gallery, answer: &Value) {
    let mut found = BTreeSet::new();
    zoom_side::gather(answer, &mut found);
    assert!(found.len() > 3, "there is nothing in it: {answer}");
    for (field, value) in found {
        gallery.needles.add(&format!("Zoom's {field}"), &value);
    }
}

async fn what_functions_hold(gallery: &mut Gallery) {
    // In Lambda a function's credentials are variables, and addresses may hold the app's.
    let (key, token, hook, keys) = (
        gallery.secret("a secret access key"),
        gallery.secret("a session token"),
        gallery.secret("a webhook's credential"),
        gallery.secret("a key set's credential"),
    );
    let variables = [
        ("AWS_SECRET_ACCESS_KEY", &key),
        ("AWS_SESSION_TOKEN", &token),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.clone()));
    gallery.show(&reelay_runtime::environment::Variables::new(
        variables.into(),
    ));
    let system = System::with(&[
        (
            "AppWebhookUrl",
            &format!("https://{hook}:{hook}@app.test/hook?key={hook}"),
        ),
        (
            "AppJwksUrl",
            &format!("https://{keys}:{keys}@app.test/keys?key={keys}"),
        ),
    ])
    .await;
    let environment = |function: &str| {
        let mut environment = system.stack.function_environment(function).unwrap().clone();
        let credentials = Credentials::new("AKIAEXAMPLE", &key, Some(token.clone()), None, "test");
        let provider = SharedCredentialsProvider::new(credentials);
        environment.sdk = environment
            .sdk
            .into_builder()
            .credentials_provider(provider)
            .build();
        environment
    };
    gallery.show(&environment("app-api"));
    gallery.show(&SessionTable::new(&environment("app-api")).unwrap());
    gallery.show(&LinkTable::new(&environment("app-api")).unwrap());
    gallery.show(&Vault::new(&environment("oauth-callback")).unwrap());
    gallery.show(&AppTokens::new(&environment("app-api")).unwrap());
    gallery.show(&app_api::AppApi::new(&environment("app-api")).unwrap());
    gallery.show(&notifier::Notifier::new(&environment("notifier")).unwrap());
    gallery.show(&oauth_callback::OauthCallback::new(&environment("oauth-callback")).unwrap());
    gallery.show(&oauth_start::OauthStart::new(&environment("oauth-start")).unwrap());
    gallery.show(&reconciler::Reconciler::new(&environment("reconciler")).unwrap());
    let downloader = environment("recording-downloader");
    gallery.show(&recording_downloader::RecordingDownloader::new(&downloader).unwrap());
    gallery.show(&webhook::Webhook::new(&environment("webhook")).unwrap());
}
