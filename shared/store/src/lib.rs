//! Reelay's state on AWS, each resource as a concrete type over its SDK client: tables, queues, bucket,
//! token vault, notification outbox.
//!
//! Nothing here decides; it reads, writes and sends what `reelay_domain` says. There are no traits over the
//! clients: tests run the same code against real engines over HTTP.

pub mod bucket;
pub mod links;
pub mod outbox;
pub mod queue;
pub mod recordings;
pub mod sessions;
pub mod vault;
