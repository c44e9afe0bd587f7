//! The whole system, driven from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod api;
mod cost;
mod downloads;
mod downloads_cut_off;
mod downloads_huge;
mod downloads_limited;
mod downloads_resumed;
mod downloads_rows;
mod downloads_swept;
mod faults;
mod forgeries;
mod grants;
mod key_set;
mod linking;
mod linking_attacks;
mod listening;
mod operations;
mod recordings;
mod repository;
mod secrets;
mod turning_over;
mod webhook;
