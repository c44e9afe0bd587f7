//! Fuzz targets for every parser of external input.
//!
//! Each target is a function that takes arbitrary bytes and asserts properties of the accepted and the
//! rejected values. `tests/replay.rs` runs the corpus through the targets with `cargo test`; the binaries in
//! `libfuzzer/` search for new inputs, guided by coverage (`tests/fuzz/run`).
//!
//! The expected values come from independent code, usually string operations on the input (`oracle`). Inputs
//! are readable text with one field per line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic reports a finding"
)]

pub mod mutation;

mod addresses;
mod download;
mod fake_zoom;
mod functions;
mod identifiers;
mod loopback;
mod messages;
mod oracle;
mod secrets;
mod tokens;
mod webhooks;
mod zoom_api;

pub use addresses::{parameters, return_url};
pub use download::download;
pub use functions::{api, callback};
pub use identifiers::identifiers;
pub use messages::messages;
pub use secrets::{claim, cookie, cursor, encrypted_source, signed_state};
pub use tokens::{app_token, key_set};
pub use webhooks::{redaction, webhook_event, webhook_signature};
pub use zoom_api::{zoom_api, zoom_token};

/// A target; its corpus and its binary have the same name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 19] = [
    ("api", api),
    ("app_token", app_token),
    ("callback", callback),
    ("claim", claim),
    ("cookie", cookie),
    ("cursor", cursor),
    ("download", download),
    ("identifiers", identifiers),
    ("key_set", key_set),
    ("messages", messages),
    ("parameters", parameters),
    ("redaction", redaction),
    ("return_url", return_url),
    ("encrypted_source", encrypted_source),
    ("signed_state", signed_state),
    ("webhook_event", webhook_event),
    ("webhook_signature", webhook_signature),
    ("zoom_api", zoom_api),
    ("zoom_token", zoom_token),
];
