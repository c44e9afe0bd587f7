//! EventBridge's scheduled rules, which send messages to queues.

use std::sync::Arc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use jiff::{SignedDuration, Timestamp};
use reelay_clock::Clock;
use tokio::sync::{Mutex, watch};

/// A queue and the message that a rule sends to it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) queue_url: String,
    pub(crate) input: String,
}

/// A scheduled rule.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) every: SignedDuration,
    pub(crate) targets: Vec<Target>,
}

/// All scheduled rules of a stack.
#[derive(Debug)]
pub(crate) struct Schedules {
    client: Client,
    clock: Clock,
    schedules: Vec<Schedule>,
    /// When each rule fires next.
    due: Mutex<Vec<Timestamp>>,
}

impl Schedules {
    /// A rule first fires after its first interval, as on AWS.
    pub(crate) fn new(client: Client, clock: Clock, schedules: Vec<Schedule>) -> Arc<Self> {
        let now = clock.now();
        let due = schedules.iter().map(|schedule| next(now, schedule.every, now)).collect();
        Arc::new(Self { client, clock, schedules, due: Mutex::new(due) })
    }

    /// Sends the messages of all rules now.
    pub(crate) async fn fire_all(&self) -> Result<(), String> {
        for schedule in &self.schedules {
            self.fire(schedule).await?;
        }
        Ok(())
    }

    /// Sends the messages of all rules that are due. A rule that was due several times fires once. Returns the number of
    /// messages.
    pub(crate) async fn fire_due(&self) -> u64 {
        let mut fired = 0;
        let mut all_due = self.due.lock().await;
        let now = self.clock.now();
        for (schedule, due) in self.schedules.iter().zip(all_due.iter_mut()) {
            if *due > now {
                continue;
            }
            match self.fire(schedule).await {
                Ok(()) => fired += schedule.targets.len() as u64,
                Err(reason) => tracing::warn!(reason, "scheduled message not sent"),
            }
            *due = next(*due, schedule.every, now);
        }
        fired
    }

    /// The time at which the next rule fires.
    pub(crate) async fn next_due(&self) -> Option<Timestamp> {
        self.due.lock().await.iter().min().copied()
    }

    /// Sends messages by the clock until `stop` is true.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while let Some(due) = self.next_due().await {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.clock.sleep_until(due) => {}
            }
            self.fire_due().await;
        }
    }

    async fn fire(&self, schedule: &Schedule) -> Result<(), String> {
        for Target { queue_url, input } in &schedule.targets {
            self.client
                .send_message()
                .queue_url(queue_url)
                .message_body(input)
                .send()
                .await
                .map_err(|error| DisplayErrorContext(error).to_string())?;
        }
        Ok(())
    }
}

/// The first time after now at which a rule fires that was due before.
fn next(due: Timestamp, every: SignedDuration, now: Timestamp) -> Timestamp {
    let missed = now.duration_since(due).as_secs().div_euclid(every.as_secs().max(1));
    let passed = every.saturating_mul(i32::try_from(missed + 1).unwrap_or(i32::MAX));
    due.saturating_add(passed).unwrap_or(Timestamp::MAX)
}

/// Parses a rate such as `rate(5 minutes)`.
pub(crate) fn rate(expression: &str) -> Option<SignedDuration> {
    let inner = expression.strip_prefix("rate(")?.strip_suffix(')')?;
    let (value, unit) = inner.split_once(' ')?;
    let seconds = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 24 * 3600,
        _ => return None,
    };
    let value: i64 = value.parse().ok().filter(|value| *value > 0)?;
    value.checked_mul(seconds).map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rates_are_parsed() {
        assert_eq!(rate("rate(1 hour)"), Some(SignedDuration::from_hours(1)));
        assert_eq!(rate("rate(5 minutes)"), Some(SignedDuration::from_mins(5)));
        for other in ["rate(0 hours)", "cron(0 12 * * ? *)", "rate(1 week)", "1 hour"] {
            assert_eq!(rate(other), None, "{other}");
        }
    }

    #[test]
    fn rule_fires_next_at_a_multiple_of_its_interval() {
        let at = |minute: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let next = |now| next(at(5), SignedDuration::from_mins(5), now);
        let second = SignedDuration::from_secs(1);
        assert_eq!(next(at(5)), at(10));
        assert_eq!(next(at(10) - second), at(10));
        assert_eq!(next(at(10)), at(15));
        assert_eq!(next(at(303)), at(305), "after a jump");
    }
}
