//! Reelay's AWS resources, each as a concrete type over its SDK client: tables, queues, bucket,
//! token vault, secrets, and the environment that names them.
//!
//! Nothing here decides; it reads, writes and sends what `domain` says. There are no traits over the
//! clients: tests run the same code against real engines over HTTP.

pub mod announce;
pub mod bucket;
pub mod environment;
mod failure;
pub mod links;
pub mod metrics;
pub mod queue;
pub mod random;
pub mod recordings;
pub mod secrets;
pub mod sessions;
pub mod vault;

pub use failure::AwsFailure;
