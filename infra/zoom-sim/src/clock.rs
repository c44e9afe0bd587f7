//! Times as Zoom writes them, and the clock that the simulator may share.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

/// Advances a clock that the simulator shares with others, by seconds. Fails with the reason.
pub type AdvanceClock = Arc<dyn Fn(i64) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Formats a time as Zoom does: UTC, whole seconds.
pub(crate) fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Adds seconds to `at`, which stays as it is at the end of the range of timestamps.
pub(crate) fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(at)
}
