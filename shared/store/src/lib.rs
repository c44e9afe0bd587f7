//! Reelay's state on AWS: tables, queues, bucket, token vault, notification outbox. Each is a concrete struct
//! over its SDK client.
//!
//! This crate decides nothing; `reelay_domain` does. There are no traits over the clients: tests run the same
//! code against real engines over HTTP.

mod batch;
pub mod bucket;
mod conflicts;
pub mod erasure;
mod item;
pub mod links;
pub mod manifest;
pub mod notifications;
pub mod outbox;
pub mod queue;
pub mod recordings;
pub mod save;
pub mod sessions;
pub mod vault;
