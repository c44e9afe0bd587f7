//! A Reelay that knows its contract and nothing else, and a browser that knows cookies.

pub(crate) mod browser;
pub(crate) mod fake_reelay;

use standardwebhooks::Webhook;

pub(crate) const APP_SECRET: &str = "app-secret-of-the-tests-0123456789";
pub(crate) const NOTIFICATION_SECRET: &str = "0123456789abcdefghijABCDEFGHIJ0123456789abcd";

/// The headers of a notification, signed as Reelay signs it.
pub(crate) fn signed(
    secret: &str,
    id: &str,
    timestamp: i64,
    body: &str,
) -> [(&'static str, String); 3] {
    let signature = Webhook::new(&format!("whsec_{secret}"))
        .expect("a secret")
        .sign(id, timestamp, body.as_bytes())
        .expect("a signature");
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ]
}
