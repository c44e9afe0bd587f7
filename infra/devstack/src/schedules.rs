//! EventBridge's scheduled rules, which send messages to queues.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A queue and the message that a rule sends to it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) queue_url: String,
    pub(crate) input: String,
}

/// A scheduled rule.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) every: Duration,
    pub(crate) targets: Vec<Target>,
}

/// All scheduled rules of a stack.
#[derive(Debug)]
pub(crate) struct Schedules {
    client: Client,
    schedules: Vec<Schedule>,
}

impl Schedules {
    pub(crate) fn new(client: Client, schedules: Vec<Schedule>) -> Arc<Self> {
        Arc::new(Self { client, schedules })
    }

    /// Sends the messages of all rules now.
    pub(crate) async fn fire_all(&self) -> Result<(), String> {
        for schedule in &self.schedules {
            self.fire(schedule).await?;
        }
        Ok(())
    }

    /// Sends messages by the system clock until `stop` is true. A rule first fires after its first interval, as on AWS.
    pub(crate) async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut rules = JoinSet::new();
        for index in 0..self.schedules.len() {
            let (this, mut stop) = (Arc::clone(&self), stop.clone());
            rules.spawn(async move {
                let Some(schedule) = this.schedules.get(index) else {
                    return;
                };
                loop {
                    tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => break,
                        () = tokio::time::sleep(schedule.every) => {}
                    }
                    if let Err(reason) = this.fire(schedule).await {
                        tracing::warn!(reason, "scheduled message not sent");
                    }
                }
            });
        }
        while rules.join_next().await.is_some() {}
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

/// Parses a rate such as `rate(5 minutes)`.
pub(crate) fn rate(expression: &str) -> Option<Duration> {
    let inner = expression.strip_prefix("rate(")?.strip_suffix(')')?;
    let (value, unit) = inner.split_once(' ')?;
    let seconds = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 24 * 3600,
        _ => return None,
    };
    let value: u64 = value.parse().ok().filter(|value| *value > 0)?;
    Some(Duration::from_secs(value * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rates_are_parsed() {
        assert_eq!(rate("rate(1 hour)"), Some(Duration::from_secs(3600)));
        assert_eq!(rate("rate(5 minutes)"), Some(Duration::from_secs(300)));
        for other in ["rate(0 hours)", "cron(0 12 * * ? *)", "rate(1 week)", "1 hour"] {
            assert_eq!(rate(other), None, "{other}");
        }
    }
}
