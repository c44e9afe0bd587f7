//! App tokens that are signed with keys of a JWKS.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use support::{System, TestServer};

/// Two P-256 keys made for this test: PKCS #8, and the public point.
const KEYS: [(&str, &str, &str); 2] = [
    (
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3l38VLKNyxwFLWsGJqsULNSOrWroEQXmCBYDddhZ6dGhRANCAAR8Nnz2b1o3WBU+ehbcqRllprzyCd0tJ0kNj4RvYixwccwHJAB/zwqWXGxL0HyJOVMu896POMujIsyCqScmdyZE",
        "fDZ89m9aN1gVPnoW3KkZZaa88gndLSdJDY-Eb2IscHE",
        "zAckAH_PCpZcbEvQfIk5Uy7z3o84y6MizIKpJyZ3JkQ",
    ),
    (
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3yFl6lGS0JzcaBizweTbsImkbeskxJL/TASVQ0TW8g2hRANCAASGNJC48CMq/Zh99DDtalt3rD6Kn79T3138NfzjMQN/MRaHAdBgbhOpfxQqWxGw5gS/I2SdYimGLTtZIztCLSAR",
        "hjSQuPAjKv2YffQw7Wpbd6w-ip-_U99d_DX84zEDfzE",
        "FocB0GBuE6l_FCpbEbDmBL8jZJ1iKYYtO1kjO0ItIBE",
    ),
];

fn jwk(n: usize) -> Value {
    let (_, x, y) = KEYS[n];
    json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": format!("key{n}"), "x": x, "y": y})
}

fn sign(system: &System, n: usize, audience: &str) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(format!("key{n}"));
    let key = EncodingKey::from_ec_der(&STANDARD.decode(KEYS[n].0).unwrap());
    encode(&header, &system.app.claims(audience, "alice"), &key).unwrap()
}

/// The app's key set, published at a URL of its own.
struct KeySet {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    is_down: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
}

impl KeySet {
    async fn publish(keys: Vec<Value>) -> Self {
        let keys = Arc::new(Mutex::new(keys));
        let (is_down, reads) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (set, down, count) = (Arc::clone(&keys), Arc::clone(&is_down), Arc::clone(&reads));
        let server = TestServer::start(Ipv4Addr::LOCALHOST, move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            if down.load(Ordering::SeqCst) {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            let set = json!({"keys": *set.lock().unwrap()}).to_string();
            ([(header::CONTENT_TYPE, "application/json")], set).into_response()
        });
        let url = format!("http://{}/jwks.json", server.await.address);
        Self { url, keys, is_down, reads }
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

async fn links(system: &System, token: &str) -> u16 {
    system.app.get_with("/v1/links", token).await.status
}

#[tokio::test]
async fn jwks_key_is_accepted_and_shared_secret_rejected() {
    let key_set = KeySet::publish(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &key_set.url)]).await;
    assert_eq!(links(&system, &sign(&system, 0, "reelay:api")).await, 200);
    assert_eq!(
        links(&system, &system.app.api_token("alice")).await,
        401,
        "HS256 was accepted beside a key set"
    );
    assert_eq!(key_set.reads(), 1, "the key set is cached");

    // Algorithm confusion: the public key as an HMAC secret.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("key0".to_owned());
    let claims = system.app.claims("reelay:api", "alice");
    let confused = system.app.sign_with(&claims, &header, KEYS[0].1);
    assert_eq!(links(&system, &confused).await, 401);
}

#[tokio::test]
async fn unknown_key_rereads_jwks_once_per_minute() {
    let key_set = KeySet::publish(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &key_set.url)]).await;
    assert_eq!(links(&system, &sign(&system, 0, "reelay:api")).await, 200);
    key_set.keys.lock().unwrap().push(jwk(1));
    assert_eq!(
        links(&system, &sign(&system, 1, "reelay:api")).await,
        200,
        "the key set was not reread"
    );
    assert_eq!(key_set.reads(), 2);

    key_set.keys.lock().unwrap().pop();
    system.advance(SignedDuration::from_mins(6));
    for _ in 0..5 {
        assert_eq!(links(&system, &sign(&system, 1, "reelay:api")).await, 401);
    }
    // One read because the set was old, one because the key was unknown.
    assert_eq!(key_set.reads(), 4);
}

#[tokio::test]
async fn cached_jwks_serves_during_outage() {
    let key_set = KeySet::publish(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &key_set.url)]).await;
    assert_eq!(links(&system, &sign(&system, 0, "reelay:api")).await, 200);
    key_set.is_down.store(true, Ordering::SeqCst);
    system.advance(SignedDuration::from_hours(1));
    assert_eq!(links(&system, &sign(&system, 0, "reelay:api")).await, 200);

    let never_read = System::with(&[("AppJwksUrl", &key_set.url)]).await;
    assert_eq!(links(&never_read, &sign(&never_read, 0, "reelay:api")).await, 503);
}

#[tokio::test]
async fn connect_accepts_jwks_token() {
    let key_set = KeySet::publish(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &key_set.url)]).await;
    let token = sign(&system, 0, "reelay:connect");
    let visit = system.browser().visit(&system.app.connect_url(&token)).await;
    assert_eq!(visit.status, 302);
    assert!(visit.location.unwrap().contains("/oauth/authorize"));
}

#[tokio::test]
async fn dead_jwks_host_costs_one_request_its_timeout() {
    let key_set = KeySet::publish(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &key_set.url)]).await;
    let five_requests = async |key, expected| {
        for _ in 0..5 {
            assert_eq!(links(&system, &sign(&system, key, "reelay:api")).await, expected);
        }
    };
    key_set.is_down.store(true, Ordering::SeqCst);
    five_requests(0, 503).await;
    assert_eq!(key_set.reads(), 1);
    key_set.is_down.store(false, Ordering::SeqCst);
    system.advance(SignedDuration::from_secs(15));
    five_requests(0, 200).await;
    assert_eq!(key_set.reads(), 2);

    // Known keys verify during an outage; whether an unknown key is the app's cannot be said.
    key_set.is_down.store(true, Ordering::SeqCst);
    system.advance(SignedDuration::from_mins(5));
    five_requests(0, 200).await;
    assert_eq!(key_set.reads(), 3);
    five_requests(1, 503).await;
    assert_eq!(key_set.reads(), 4);
}
