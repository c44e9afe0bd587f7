//! Reelay's rules as pure functions.
//!
//! Nothing here does I/O, reads a clock or generates random numbers: time and random bytes are
//! arguments, so tests control both. External input is parsed here once, into types whose
//! constructors validate it.

#![warn(missing_docs)]

pub mod browser_secret;
pub mod claim;
pub mod coverage;
pub mod cursor;
pub mod delivery;
pub mod erasure;
pub mod ids;
pub mod jwt;
pub mod keys;
pub mod link;
pub mod listing;
pub mod maintenance;
pub mod message;
pub mod notification;
pub mod object_key;
pub mod observation;
pub mod operator_url;
pub mod part_size;
pub mod pkce;
pub mod reconciliation;
pub mod recording;
pub mod refresh_breaker;
pub mod retry;
pub mod return_url;
pub mod scope;
pub mod signed_state;
pub mod source_cipher;
pub mod time;
pub mod upload;
pub mod webhook;
