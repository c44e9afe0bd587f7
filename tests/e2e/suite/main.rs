//! End-to-end tests of the whole system over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod api;
mod consent_ended;
mod costs;
mod downloads;
mod downloads_huge;
mod downloads_killed;
mod downloads_limited;
mod downloads_maintained;
mod downloads_resumed;
mod downloads_retried;
mod erasure;
mod faults;
mod forgeries;
mod grants;
mod key_set;
mod linking;
mod linking_attacks;
mod notifications;
mod openapi;
mod operations;
mod recordings;
mod repository;
mod rotation;
mod secrets;
mod snapshots;
mod subscriber;
mod webhook;
