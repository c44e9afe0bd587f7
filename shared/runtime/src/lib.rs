//! The runtime of every Lambda function: environment variables and AWS clients, the clock, secrets,
//! randomness, logs, metrics, traces, and the entry points for HTTP requests and SQS batches.

mod cache;
pub mod environment;
mod error;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod random;
pub mod secrets;
pub mod sqs;
pub mod traces;

pub use error::{AwsError, Chain};
