//! Fuzz targets for every parser of external input.
//!
//! A target is a function that takes any bytes and asserts properties of the result, for accepted and for
//! rejected input. `tests/replay.rs` runs each target on its corpus with `cargo test`; `tests/fuzz/run` runs
//! the binaries in `libfuzzer/` with libFuzzer.
//!
//! The expected result is computed independently of the code under test, mostly by hand-written text
//! parsing. Inputs are readable text, one field per line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

pub mod mutation;

mod addresses;
mod by_hand;
mod functions;
mod identifiers;
mod loopback;
mod messages;
mod secrets;
mod tokens;
mod webhooks;
mod zoom_answers;

pub use addresses::{parameters, return_url};
pub use functions::{api, callback};
pub use identifiers::identifiers;
pub use messages::messages;
pub use secrets::{claim, cookie, cursor, encrypted_source, signed_state};
pub use tokens::{app_token, key_set};
pub use webhooks::{redaction, webhook_event, webhook_signature};
pub use zoom_answers::{download, zoom_api, zoom_token};

/// A target's name, which its corpus and its binary share, and its function.
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
