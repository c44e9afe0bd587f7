//! What outsiders send, bent in every way.
//!
//! One plain function per parser of outside input takes any bytes and asserts what must hold of them,
//! whether they are taken or refused: that is more than "it does not panic". `tests/replay.rs` runs the
//! corpus through them with `cargo test`; the binaries in `libfuzzer/` let libFuzzer look for more, guided
//! by coverage (`tests/fuzz/run`).
//!
//! What is asserted is worked out again here by other means than the code under test, as a rule by hand on
//! the text. Inputs are text that a person can write, one field a line, so that a corpus can be read.
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

/// A target by the name that its corpus and its binary have.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
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
