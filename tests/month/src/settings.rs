//! What of the template a month depends on.

use std::collections::BTreeMap;

use devstack::template::{Template, TemplateError};
use serde_json::Value;

use crate::queue::Servers;

/// Settings that are not the template's, or a template without them.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The template does not read.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It lacks something.
    #[error("template.yaml does not say {0}")]
    Missing(String),
}

/// A function of the template that works off a queue.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// How many of it work at the same time.
    pub servers: Servers,
    /// Messages in one call at most.
    pub batch: u32,
    /// Gigabytes, 2^30.
    pub memory: f64,
    /// Seconds.
    pub timeout: f64,
}

/// How a stack is set up.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The webhook's memory in gigabytes.
    pub webhook_memory: f64,
    /// `event-processor`.
    pub events: Function,
    /// `recording-downloader`.
    pub downloads: Function,
    /// `notifier`.
    pub notifications: Function,
    /// Partitions over which the index `by-due` spreads what is written within one day.
    pub due_partitions: u32,
    /// Whether queues are fair to accounts, which they are: without, to show what that does.
    pub fair: bool,
}

impl Settings {
    /// As the template is.
    pub fn of_repository() -> Result<Self, SettingsError> {
        let template = Template::of_repository()?;
        let binaries = template.binaries()?;
        let properties: BTreeMap<&str, &Value> = binaries
            .iter()
            .filter_map(|(logical, binary)| Some((binary.as_str(), template.properties(logical)?)))
            .collect();
        let function = |binary: &str| -> Result<Function, SettingsError> {
            let of = properties.get(binary).copied();
            let source = of
                .and_then(|it| it["Events"].as_object())
                .and_then(|events| events.values().find(|event| event["Type"] == "SQS"))
                .map(|event| &event["Properties"]);
            let most = source.and_then(|it| number(&it["ScalingConfig"]["MaximumConcurrency"]));
            let batch = source.and_then(|it| number(&it["BatchSize"]));
            let missing = |what: &str| SettingsError::Missing(format!("{binary}: {what}"));
            Ok(Function {
                servers: Servers::of_standard_mode(
                    most.ok_or_else(|| missing("MaximumConcurrency"))?,
                ),
                batch: batch.ok_or_else(|| missing("BatchSize"))?,
                memory: memory(of).ok_or_else(|| missing("MemorySize"))?,
                timeout: of
                    .and_then(|it| number(&it["Timeout"]))
                    .map(f64::from)
                    .ok_or_else(|| missing("Timeout"))?,
            })
        };
        let webhook = properties.get("webhook").copied();
        Ok(Self {
            webhook_memory: memory(webhook)
                .ok_or_else(|| SettingsError::Missing("webhook: MemorySize".to_owned()))?,
            events: function("event-processor")?,
            downloads: function("recording-downloader")?,
            notifications: function("notifier")?,
            due_partitions: 1,
            fair: true,
        })
    }

    /// What a hundred million recordings need. `docs/costs.md` says how each is raised.
    #[must_use]
    pub fn raised(mut self) -> Self {
        self.events.servers = Servers::of_standard_mode(200);
        self.downloads.servers = Servers::of_provisioned_mode(500, 6_000);
        self.notifications.servers = Servers::of_standard_mode(400);
        self.due_partitions = 16;
        self
    }
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn memory(properties: Option<&Value>) -> Option<f64> {
    Some(f64::from(number(&properties?["MemorySize"])?) / 1024.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_template_says_what_a_month_depends_on() {
        let settings = Settings::of_repository().unwrap();
        for function in [settings.events, settings.downloads, settings.notifications] {
            assert!(function.servers.most >= 2, "{function:?}");
            assert!(function.memory > 0.1 && function.timeout > 1.0, "{function:?}");
        }
        // What the model of a long file counts on.
        assert_eq!(settings.downloads.batch, 1);
        assert!(settings.raised().downloads.servers.most > settings.downloads.servers.most);
    }
}
