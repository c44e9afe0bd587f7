//! The crate over real HTTP, against small servers on this machine.

#![allow(clippy::unwrap_used, reason = "tests")]

mod download;
mod oauth;
mod rest;
mod server;

use std::error::Error;

use reelay_zoom::{Endpoints, Timeouts, ZoomClient};
use secrecy::SecretString;

/// Part of everything that must not be printed: tokens, codes, queries, answers that repeat them.
const SECRET: &str = "S3CRET";

fn secret(text: &str) -> SecretString {
    SecretString::from(format!("{SECRET}-{text}"))
}

/// Asserts that nothing which formats shows a secret.
#[track_caller]
fn assert_discreet(error: &(impl Error + 'static)) {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        for text in [
            format!("{error}"),
            format!("{error:?}"),
            format!("{error:#?}"),
        ] {
            assert!(!text.contains(SECRET), "{text}");
            assert!(!text.contains("http"), "no url: {text}");
        }
        let text = error.to_string();
        assert_eq!(text, text.to_lowercase(), "errors are lower case");
        cause = error.source();
    }
}

fn zoom_at(base: &str) -> ZoomClient {
    let endpoints = Endpoints::parse(base, base).unwrap();
    ZoomClient::new(endpoints, Timeouts::default()).unwrap()
}

/// The same, for tests in which a server never answers.
fn impatient_zoom_at(base: &str) -> ZoomClient {
    let soon = std::time::Duration::from_millis(150);
    let timeouts = Timeouts {
        oauth: soon,
        rest: soon,
        read: soon,
        ..Timeouts::default()
    };
    ZoomClient::new(Endpoints::parse(base, base).unwrap(), timeouts).unwrap()
}

#[test]
fn the_client_prints_without_secrets() {
    let zoom = zoom_at("https://zoom.us");
    assert!(format!("{zoom:?}").contains("zoom.us"));
}
