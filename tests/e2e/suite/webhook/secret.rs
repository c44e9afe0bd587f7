//! The webhook secret: turned over, missing, unreadable, and asked for by forgeries.

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault, Service};
use serde_json::{Value, json};
use support::{System, store, zoom};

use super::{ROUTES, count_calls, event, queued, zoom_secret};

#[tokio::test]
async fn while_the_secret_turns_over_both_verify_and_validation_uses_the_one_that_signed() {
    let system = System::start().await;
    let (old, new) = (zoom::secret(&system), "the new secret");
    // The instance has read the old one by now.
    assert_eq!(zoom::post(&system, ROUTES[0], &event(), &old, 0).await, 200);
    store::turn_over(&system.stack, "ZoomSecretName", &zoom_secret(new)).await;
    let body = br#"{"payload":{"plainToken":"plain"},"event":"endpoint.url_validation"}"#;
    for secret in [new, &old, new] {
        assert_eq!(
            zoom::post(&system, ROUTES[0], &event(), secret, 0).await,
            200
        );
        let answer = zoom::ask(&system, ROUTES[0], body, secret)
            .await
            .json::<Value>()
            .await
            .unwrap();
        assert_eq!(
            answer["encryptedToken"],
            reelay_zoom_sim::hmac_hex(secret, &[b"plain"]),
            "{secret}"
        );
    }
    // Turned over once more, the oldest is dead as soon as the secret is read again.
    store::turn_over(&system.stack, "ZoomSecretName", &zoom_secret("the newest")).await;
    system.stack.advance(SignedDuration::from_mins(6));
    assert_eq!(zoom::post(&system, ROUTES[0], &event(), &old, 0).await, 401);
    for secret in [new, "the newest"] {
        assert_eq!(
            zoom::post(&system, ROUTES[0], &event(), secret, 0).await,
            200,
            "{secret}"
        );
    }
}

#[tokio::test]
async fn forgeries_make_the_secret_be_read_again_once_a_minute_at_most() {
    let system = System::start().await;
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        200
    );
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
        assert_eq!(
            zoom::post(&system, ROUTES[0], &event(), "forged", 0).await,
            401
        );
    }
    assert_eq!(reads(), 2, "both stages, once");
    system.stack.advance(SignedDuration::from_secs(61));
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), "forged", 0).await,
        401
    );
    assert_eq!(reads(), 4);
}

#[tokio::test]
async fn an_unconfigured_secret_is_answered_503_and_verifies_nothing() {
    let system = System::start().await;
    let empty = json!({"client_id": "", "client_secret": "", "webhook_secret": ""}).to_string();
    // Twice, so that the previous version is empty as well.
    for _ in 0..2 {
        store::turn_over(&system.stack, "ZoomSecretName", &empty).await;
    }
    for path in ROUTES {
        for secret in ["", "SIMwebhookSecret000000"] {
            assert_eq!(
                zoom::post(&system, path, &event(), secret, 0).await,
                503,
                "{path} {secret:?}"
            );
        }
    }
    assert_eq!(queued(&system).await, 0);
}

#[tokio::test]
async fn an_unreadable_secret_is_answered_503_and_what_was_read_before_serves_on() {
    let system = System::start().await;
    let faults = system.stack.engines().faults();
    let refused = || Fault::error(400, "AccessDeniedException");
    faults.fail_until_cleared(Service::SecretsManager, "GetSecretValue", refused());
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        503
    );
    faults.clear_all();
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        200
    );
    faults.fail_until_cleared(Service::SecretsManager, "GetSecretValue", refused());
    system.stack.advance(SignedDuration::from_hours(1));
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), &zoom::secret(&system), 0).await,
        200
    );
    // It may be one that we could not read: 401 would lose it for good.
    assert_eq!(
        zoom::post(&system, ROUTES[0], &event(), "turned over", 0).await,
        503
    );
}
