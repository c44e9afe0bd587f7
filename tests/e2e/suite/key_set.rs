//! Apps that sign with keys of their own, published as a key set.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use support::System;
use tokio::net::TcpListener;

/// Two P-256 keys, made for this test: PKCS #8, and the public point.
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

fn sign(system: &System, n: usize, user: &str) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(format!("key{n}"));
    let key = EncodingKey::from_ec_der(&STANDARD.decode(KEYS[n].0).unwrap());
    encode(&header, &system.app.claims("reelay:api", user), &key).unwrap()
}

/// The app's key set, at an address of its own.
#[derive(Clone, Default)]
struct Published {
    keys: Arc<Mutex<Vec<Value>>>,
    down: Arc<Mutex<bool>>,
    reads: Arc<Mutex<usize>>,
}

impl Published {
    async fn open(keys: Vec<Value>) -> (Self, String) {
        let published = Self {
            keys: Arc::new(Mutex::new(keys)),
            ..Self::default()
        };
        let state = published.clone();
        let answer = move || {
            let state = state.clone();
            async move {
                *state.reads.lock().unwrap() += 1;
                if *state.down.lock().unwrap() {
                    return StatusCode::SERVICE_UNAVAILABLE.into_response();
                }
                let set = json!({"keys": *state.keys.lock().unwrap()});
                (
                    [(header::CONTENT_TYPE, "application/json")],
                    set.to_string(),
                )
                    .into_response()
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        (published, url)
    }

    fn reads(&self) -> usize {
        *self.reads.lock().unwrap()
    }
}

async fn links(system: &System, token: &str) -> u16 {
    system
        .app
        .call_with(Method::GET, "/v1/links", Some(token), None)
        .await
        .status
}

#[tokio::test]
async fn an_app_may_sign_with_a_key_of_its_set_and_then_not_with_the_shared_secret() {
    let (published, url) = Published::open(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &url)]).await;
    assert_eq!(links(&system, &sign(&system, 0, "alice")).await, 200);
    assert_eq!(
        links(&system, &system.app.api_token("alice")).await,
        401,
        "HS256 beside a key set"
    );
    assert_eq!(published.reads(), 1, "the set is kept");

    // The public key as a shared secret: the confusion that algorithm pinning is for.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("key0".to_owned());
    let claims = system.app.claims("reelay:api", "alice");
    let confused = system.app.sign_with(&claims, &header, KEYS[0].1);
    assert_eq!(links(&system, &confused).await, 401);
}

#[tokio::test]
async fn a_key_that_joins_the_set_is_found_and_unknown_keys_cost_one_read_a_minute() {
    let (published, url) = Published::open(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &url)]).await;
    assert_eq!(links(&system, &sign(&system, 0, "alice")).await, 200);
    published.keys.lock().unwrap().push(jwk(1));
    assert_eq!(
        links(&system, &sign(&system, 1, "alice")).await,
        200,
        "the set is read again"
    );
    assert_eq!(published.reads(), 2);

    published.keys.lock().unwrap().pop();
    system.stack.advance(SignedDuration::from_mins(6));
    for _ in 0..5 {
        assert_eq!(links(&system, &sign(&system, 1, "alice")).await, 401);
    }
    // One because the set was old, one because the key was unknown.
    assert_eq!(published.reads(), 4);
}

#[tokio::test]
async fn while_the_set_can_not_be_read_the_one_read_before_serves_on() {
    let (published, url) = Published::open(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &url)]).await;
    assert_eq!(links(&system, &sign(&system, 0, "alice")).await, 200);
    *published.down.lock().unwrap() = true;
    system.stack.advance(SignedDuration::from_hours(1));
    assert_eq!(links(&system, &sign(&system, 0, "alice")).await, 200);

    let never_read = System::with(&[("AppJwksUrl", &url)]).await;
    assert_eq!(
        links(&never_read, &sign(&never_read, 0, "alice")).await,
        503
    );
}

#[tokio::test]
async fn a_key_set_opens_the_connect_page_as_well() {
    let (_published, url) = Published::open(vec![jwk(0)]).await;
    let system = System::with(&[("AppJwksUrl", &url)]).await;
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("key0".to_owned());
    let key = EncodingKey::from_ec_der(&STANDARD.decode(KEYS[0].0).unwrap());
    let token = encode(&header, &system.app.claims("reelay:connect", "alice"), &key).unwrap();
    let visit = system
        .browser()
        .visit(&system.app.connect_url(&token))
        .await;
    assert_eq!(visit.status, 302);
    assert!(visit.location.unwrap().contains("/oauth/authorize"));
}
