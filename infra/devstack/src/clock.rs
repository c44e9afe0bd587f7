//! Moves the clock of a running stack in steps, and runs the work that is due at each step.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reelay_clock::Clock;
use reelay_embedded_aws::{Queues, ReadLag, TimeToLive};
use reelay_zoom_sim::Control;
use tokio::sync::Mutex;

use crate::http_api::InFlight;
use crate::poller::{Poller, Retries};
use crate::schedules::Schedules;

/// Maximum of one call: 30 days.
pub(crate) const MAX_ADVANCE_SECONDS: u32 = 30 * 24 * 3600;
/// Interval at which expired items are deleted. AWS does it within days.
const EXPIRY_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Maximum interval of the schedules while they find nothing to do, so that a week of them takes seconds. Work that
/// becomes due in between is at most this late, and never later than the end of the call.
const MAX_IDLE_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// First interval that is longer than the schedules' own.
const FIRST_IDLE_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// Everything that depends on the clock.
pub(crate) struct ClockDriver {
    pub(crate) clock: Clock,
    pub(crate) queues: Queues,
    pub(crate) time_to_live: TimeToLive,
    pub(crate) read_lag: ReadLag,
    pub(crate) schedules: Arc<Schedules>,
    pub(crate) poller: Arc<Poller>,
    /// Whether the queues are polled continuously.
    pub(crate) polls: bool,
    pub(crate) in_flight: InFlight,
    pub(crate) simulator: Option<Control>,
    /// Serializes calls.
    pub(crate) turn: Mutex<()>,
}

impl ClockDriver {
    /// Advances the clock and returns the time at the end. At each time at which something is due it waits until
    /// nothing runs, so a message that fails returns after its visibility timeout, before anything later.
    pub(crate) async fn advance(&self, by: SignedDuration) -> Timestamp {
        let _turn = self.turn.lock().await;
        let start = self.clock.now();
        let target = start.saturating_add(by).unwrap_or(start);
        let (mut expired_at, mut idle_interval) = (start, SignedDuration::ZERO);
        loop {
            let is_idle = self.settle().await;
            let now = self.clock.now();
            idle_interval = next_idle_interval(idle_interval, is_idle);
            let [scheduled, delayed, retried] = self.due().await;
            let idle_until = now.checked_add(idle_interval).unwrap_or(Timestamp::MAX);
            let due = [scheduled.map(|at| at.max(idle_until)), delayed, retried];
            let Some(next) = next_step(now, target, &due) else {
                break;
            };
            if let Some(step) = Some(next.duration_since(now)).filter(SignedDuration::is_positive) {
                self.clock.advance(step);
                self.read_lag.settle();
            }
            if next.duration_since(expired_at) >= EXPIRY_INTERVAL {
                self.delete_expired_items();
                expired_at = next;
            }
        }
        self.delete_expired_items();
        self.clock.now()
    }

    /// Runs due work until nothing is left. Returns whether there was no work but the schedules' messages.
    async fn settle(&self) -> bool {
        let (before, mut fired) = (self.poller.received(), 0);
        loop {
            fired += self.schedules.fire_due().await;
            match self.polls {
                true => self.poller.wait_until_idle().await,
                false => drop(self.poller.drain(Retries::Later).await),
            }
            self.in_flight.wait().await;
            if let Some(simulator) = &self.simulator {
                simulator.wait_until_idle().await;
            }
            // A request or a delivery may have sent messages, and a function may have caused deliveries.
            let is_zoom_idle = self.simulator.as_ref().is_none_or(Control::is_idle);
            if is_zoom_idle && self.poller.is_idle() {
                return fired > 0 && self.poller.received() - before <= fired;
            }
        }
    }

    /// The next time of each kind at which something is due.
    async fn due(&self) -> [Option<Timestamp>; 3] {
        let retry = self.simulator.as_ref().and_then(Control::next_retry_at);
        [self.schedules.next_due().await, self.queues.next_due(), retry]
    }

    fn delete_expired_items(&self) {
        if let Err(error) = self.time_to_live.delete_expired_items() {
            tracing::warn!(%error, "expired items not deleted");
        }
    }
}

fn next_idle_interval(interval: SignedDuration, is_idle: bool) -> SignedDuration {
    match is_idle {
        true => interval.saturating_mul(2).clamp(FIRST_IDLE_INTERVAL, MAX_IDLE_INTERVAL),
        false => SignedDuration::ZERO,
    }
}

/// The time to which the clock moves next: the first at which something is due, or the target. `None` once the target
/// is reached.
fn next_step(now: Timestamp, target: Timestamp, due: &[Option<Timestamp>]) -> Option<Timestamp> {
    let due = due.iter().flatten().min().copied().unwrap_or(target);
    (now < target).then(|| due.max(now).min(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_schedules_run_less_often() {
        let mut interval = SignedDuration::ZERO;
        let minutes = [true, true, true, true, true, false].map(|is_idle| {
            interval = next_idle_interval(interval, is_idle);
            interval.as_mins()
        });
        assert_eq!(minutes, [10, 20, 40, 60, 60, 0]);
    }

    #[test]
    fn next_step_is_the_first_due_time_until_the_target() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let step = |now, due: &[Option<i64>]| {
            let due: Vec<_> = due.iter().map(|due| due.map(at)).collect();
            next_step(at(now), at(100), &due).map(Timestamp::as_second)
        };
        assert_eq!(step(10, &[None, Some(50), Some(40)]), Some(40));
        assert_eq!(step(10, &[Some(101)]), Some(100));
        assert_eq!(step(10, &[None]), Some(100));
        assert_eq!(step(10, &[Some(9)]), Some(10), "the clock never moves back");
        assert_eq!(step(100, &[Some(100)]), None);
    }
}
