//! Runs the `reelay` binary against complete systems over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod doctor;
mod erasing;
mod fake;
mod linking;
mod listing;
mod notifying;
mod policy;
mod reconciling;
mod redriving;
mod resending;
mod reviving;
mod run;
mod stack;
