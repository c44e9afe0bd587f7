//! The webhook secret: rotation, absence, outage, and rereading.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reelay_devstack::FunctionChange;
use reelay_embedded_aws::{Fault, Service};
use serde_json::{Value, json};
use support::System;

use super::{ROUTES, count_calls, event, queued, zoom_secret};

#[tokio::test]
async fn both_webhook_secrets_verify_during_rotation() {
    let system = System::start().await;
    let (old, new) = (system.webhook_secret(), "the new secret");
    // The instance has cached the old secret.
    assert_eq!(system.post_event(ROUTES[0], &event(), &old).await, 200);
    system.rotate_secret("ZoomSecretName", &zoom_secret(new)).await;
    let body = br#"{"payload":{"plainToken":"plain"},"event":"endpoint.url_validation"}"#;
    for secret in [new, &old, new] {
        assert_eq!(system.post_event(ROUTES[0], &event(), secret).await, 200);
        let response =
            system.post_signed(ROUTES[0], body, secret).await.json::<Value>().await.unwrap();
        assert_eq!(
            response["encryptedToken"],
            reelay_zoom_sim::hmac_hex(secret, &[b"plain"]),
            "{secret}"
        );
    }
    // After a second rotation the oldest secret is invalid.
    system.rotate_secret("ZoomSecretName", &zoom_secret("the newest")).await;
    system.advance(SignedDuration::from_mins(6));
    assert_eq!(system.post_event(ROUTES[0], &event(), &old).await, 401);
    for secret in [new, "the newest"] {
        assert_eq!(system.post_event(ROUTES[0], &event(), secret).await, 200, "{secret}");
    }
}

#[tokio::test]
async fn forgeries_reread_secret_once_per_minute() {
    let system = System::start().await;
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 200);
    let calls = count_calls(&system);
    let reads = || {
        calls
            .lock()
            .unwrap()
            .get(&(Service::SecretsManager, "GetSecretValue".to_owned()))
            .copied()
            .unwrap_or(0)
    };
    for _ in 0..20 {
        assert_eq!(system.post_event(ROUTES[0], &event(), "forged").await, 401);
    }
    assert_eq!(reads(), 2, "unexpected reads");
    system.advance(SignedDuration::from_secs(61));
    assert_eq!(system.post_event(ROUTES[0], &event(), "forged").await, 401);
    assert_eq!(reads(), 4);
}

#[tokio::test]
async fn missing_previous_version_is_read_once() {
    let system = System::start().await;
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 200);
    let calls = count_calls(&system);
    system.advance(SignedDuration::from_mins(6));
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 200);
    let read = calls.lock().unwrap()[&(Service::SecretsManager, "GetSecretValue".to_owned())];
    // Both versions of ZoomSecret, and the only one of QueueKey.
    assert_eq!(read, 3);
}

#[tokio::test]
async fn unconfigured_secret_gets_503() {
    let system = System::start().await;
    let empty = json!({"client_id": "", "client_secret": "", "webhook_secret": ""}).to_string();
    // Twice, so that the previous version is empty too.
    for _ in 0..2 {
        system.rotate_secret("ZoomSecretName", &empty).await;
    }
    for path in ROUTES {
        for secret in ["", "SIMwebhookSecret000000"] {
            assert_eq!(system.post_event(path, &event(), secret).await, 503, "{path} {secret:?}");
        }
    }
    assert_eq!(queued(&system).await, 0);

    // Filled in, it is read after five seconds, and forgeries before that cost no reads.
    let reads = || system.faults().calls(Service::SecretsManager, "GetSecretValue");
    let before = reads();
    system.rotate_secret("ZoomSecretName", &zoom_secret("filled in")).await;
    assert_eq!(system.post_event(ROUTES[0], &event(), "filled in").await, 503);
    assert_eq!(reads(), before);
    system.advance(SignedDuration::from_secs(5));
    assert_eq!(system.post_event(ROUTES[0], &event(), "filled in").await, 200);
}

#[tokio::test]
async fn unreadable_secret_gets_503_unless_cached() {
    let system = System::start().await;
    let faults = system.faults();
    let rejected = || Fault::error(400, "AccessDeniedException");
    faults.fail_until_cleared(Service::SecretsManager, "GetSecretValue", rejected());
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 503);
    faults.clear_all();
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 200);
    faults.fail_until_cleared(Service::SecretsManager, "GetSecretValue", rejected());
    system.advance(SignedDuration::from_hours(1));
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 200);
    // The signature may belong to a secret that cannot be read: 401 would lose the event.
    assert_eq!(system.post_event(ROUTES[0], &event(), "rotated").await, 503);
}

/// Zoom never repeats what got 401, so 401 says that a secret of the last minute has not signed.
#[tokio::test]
async fn wrong_signature_gets_401_only_under_recently_read_secret() {
    let system = System::start().await;
    let forged = async || system.post_event(ROUTES[0], &event(), "forged").await;
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 200);
    let faults = system.faults();
    let (service, call) = (Service::SecretsManager, "GetSecretValue");
    faults.fail_until_cleared(service, call, Fault::error(400, "AccessDeniedException"));
    faults.reset_calls();
    assert_eq!(forged().await, 401, "the secret was read within the last minute");
    system.advance(SignedDuration::from_secs(60));
    for _ in 0..20 {
        assert_eq!(forged().await, 503);
    }
    // A read is two calls; a failed read makes only the first. Failed reads count against the limit.
    assert_eq!(faults.calls(service, call), 2);
    faults.clear_all();
    assert_eq!(forged().await, 503);
    system.advance(SignedDuration::from_secs(60));
    assert_eq!(forged().await, 401);
    assert_eq!(faults.calls(service, call), 4);
}

#[tokio::test]
async fn hanging_secret_read_gets_503_within_three_seconds() {
    // It accepts connections and never responds.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let system = System::with_function(FunctionChange {
        binary: "webhook".into(),
        variables: vec![("AWS_ENDPOINT_URL_SECRETS_MANAGER".into(), url)],
        ..FunctionChange::default()
    })
    .await;
    let began = Instant::now();
    assert_eq!(system.post_event(ROUTES[0], &event(), &system.webhook_secret()).await, 503);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
