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

/// A target: its name, as its corpus and its binary have it, and what runs one input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 19] = [
    ("api", functions::api),
    ("app_token", tokens::app_token),
    ("callback", functions::callback),
    ("claim", secrets::claim),
    ("cookie", secrets::cookie),
    ("cursor", secrets::cursor),
    ("download", zoom_answers::download),
    ("identifiers", identifiers::identifiers),
    ("key_set", tokens::key_set),
    ("messages", messages::messages),
    ("parameters", addresses::parameters),
    ("redaction", webhooks::redaction),
    ("return_url", addresses::return_url),
    ("sealed_source", secrets::sealed_source),
    ("signed_state", secrets::signed_state),
    ("webhook_event", webhooks::webhook_event),
    ("webhook_signature", webhooks::webhook_signature),
    ("zoom_api", zoom_answers::zoom_api),
    ("zoom_token", zoom_answers::zoom_token),
];

/// Runs one input through the target of that name.
pub fn run(target: &str, input: &[u8]) {
    let (_, run) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("there is a target of that name");
    run(input);
}
