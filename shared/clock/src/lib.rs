//! A clock that can be moved. The functions, the embedded engines and the simulator of a devstack share one, so that a
//! test advances all of them at once instead of sleeping.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// The system's time plus an offset, which is zero on AWS. Clones share the offset.
#[derive(Debug, Clone)]
pub struct Clock {
    offset: Arc<watch::Sender<SignedDuration>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { offset: Arc::new(watch::Sender::new(SignedDuration::ZERO)) }
    }
}

impl Clock {
    /// The current time.
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

    /// Moves this clock and its clones; a negative duration moves them back.
    pub fn advance(&self, by: SignedDuration) {
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Sets this clock and its clones, which run on from there.
    pub fn set(&self, to: Timestamp) {
        self.offset.send_replace(to.duration_since(Timestamp::now()));
    }

    /// Waits until this clock reaches `due`, because time passes or because the clock is moved.
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    #[test]
    fn clones_advance_together() {
        let clock = Clock::default();
        let clone = clock.clone();
        clock.advance(HOUR);
        assert!(clone.now().duration_since(Timestamp::now()) > SignedDuration::from_mins(59));
        clock.set(Timestamp::UNIX_EPOCH);
        assert!(clone.now() < Timestamp::UNIX_EPOCH + HOUR);
    }

    #[tokio::test]
    async fn advance_wakes_sleepers() {
        let clock = Clock::default();
        let due = clock.now() + HOUR;
        let mut sleeping = std::pin::pin!(clock.sleep_until(due));
        tokio::select! {
            biased;
            () = &mut sleeping => panic!("the hour has not passed"),
            () = tokio::task::yield_now() => {}
        }
        clock.advance(HOUR);
        sleeping.await;
    }
}
