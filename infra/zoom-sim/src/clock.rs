//! The simulator's time: the system's, plus an offset that can be changed at will.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// A clock that can be moved. Everything here that expires, retries or carries a date reads it, so a
/// test lets an hour pass by saying so; whoever waits on it wakes at once.
#[derive(Debug, Clone)]
pub struct Clock {
    offset: Arc<watch::Sender<SignedDuration>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            offset: Arc::new(watch::Sender::new(SignedDuration::ZERO)),
        }
    }
}

impl Clock {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(*self.offset.borrow()).unwrap_or(now)
    }

    /// How far this clock is ahead of the system's.
    #[must_use]
    pub fn offset(&self) -> SignedDuration {
        *self.offset.borrow()
    }

    /// Moves the clock; a negative duration moves it back.
    pub fn advance(&self, by: SignedDuration) {
        self.offset
            .send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Sets the clock to a date, from which it goes on.
    pub fn set(&self, to: Timestamp) {
        self.offset
            .send_replace(to.duration_since(Timestamp::now()));
    }

    /// Waits until this clock shows `due`, by time passing or by being moved.
    pub async fn sleep_until(&self, due: Timestamp) {
        let mut moved = self.offset.subscribe();
        loop {
            let left = due.duration_since(self.now());
            let Ok(left) = Duration::try_from(left) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _ = moved.changed() => {}
            }
        }
    }
}

/// Date and time as Zoom writes them: UTC, whole seconds.
pub(crate) fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `at` moved by whole seconds; at the end of time it stays.
pub(crate) fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(at)
}
