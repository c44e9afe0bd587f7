//! Lambda's event source mapping for SQS: receives batches, calls functions, and deletes processed messages.
//!
//! Failed messages return after the queue's visibility timeout, and move to the dead-letter queue as the queue's
//! redrive policy says.

mod batch;
mod drain;
mod event;
mod receive;
mod run;

pub use self::drain::Drained;
pub(crate) use self::drain::Retries;
pub(crate) use self::receive::{Poller, Source};
