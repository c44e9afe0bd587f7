//! The whole system, driven from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod linking;
mod linking_attacks;
mod api;
mod webhook;
mod recordings;
mod faults;
