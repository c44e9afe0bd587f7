//! What every function stands on: environment variables and AWS clients, the clock, secrets, randomness,
//! metrics, and the entry points for HTTP requests and SQS batches.

pub mod environment;
mod failure;
pub mod http;
pub mod metrics;
pub mod random;
pub mod secrets;
pub mod sqs;

pub use failure::AwsError;
