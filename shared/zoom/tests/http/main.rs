//! Tests of the crate over real HTTP, against servers on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

mod download;
mod oauth;
mod rest;
mod server;

use std::error::Error;
use std::time::Duration;

use reelay_zoom::{Endpoints, Timeouts, ZoomClient};
use secrecy::SecretString;

/// Marker in every token, code, query and response text that must not be printed.
const SECRET: &str = "S3CRET";

const JSON: (&str, &str) = ("content-type", "application/json;charset=UTF-8");

fn secret(text: &str) -> SecretString {
    SecretString::from(format!("{SECRET}-{text}"))
}

/// Asserts that no formatted error of the chain contains a secret or a URL.
#[track_caller]
fn assert_redacted(error: &(impl Error + 'static)) {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        let message = error.to_string();
        assert_eq!(message, message.to_lowercase(), "error is not lower case");
        for text in [message, format!("{error:?}"), format!("{error:#?}")] {
            assert!(!text.contains(SECRET), "{text}");
            assert!(!text.contains("http:") && !text.contains("https:"), "{text}");
        }
        source = error.source();
    }
}

fn client(base: &str) -> ZoomClient {
    client_with(base, Timeouts::default())
}

/// A client that times out quickly, for servers that never respond.
fn impatient_client(base: &str) -> ZoomClient {
    let limit = Duration::from_millis(150);
    let timeouts = Timeouts { oauth: limit, rest: limit, read: limit, ..Timeouts::default() };
    client_with(base, timeouts)
}

fn client_with(base: &str, timeouts: Timeouts) -> ZoomClient {
    ZoomClient::new(Endpoints::parse(base, base).unwrap(), timeouts)
}

#[test]
fn futures_are_send() {
    fn assert_send<T: Send>(_: &T) {}
    let zoom = client("https://zoom.us");
    assert!(format!("{zoom:?}").contains("zoom.us"));
    let (credentials, token) = (oauth::credentials(), secret("x"));
    assert_send(&zoom.exchange_code(&credentials, &token, &token, ""));
    assert_send(&zoom.refresh(&credentials, &token));
    assert_send(&zoom.revoke(&credentials, &token));
    assert_send(&zoom.get_current_user(&token));
    assert_send(&zoom.download(&download::hosts("zoom.us"), &token, None, None));
}
