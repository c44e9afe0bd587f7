//! What of the template a month depends on.

use saphyr::{LoadableYamlNode as _, YamlOwned};

use crate::queue::Servers;

/// Four numbers a function are read here; the devstack's reader of it would link all functions.
const TEMPLATE: &str = include_str!("../../../template.yaml");

/// Settings that are not the template's, or a template without them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The template does not read.
    #[error("template.yaml does not read: {0}")]
    Yaml(String),
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
    /// Partitions over which the index `by-next-check` spreads what is written within one day.
    pub due_partitions: u32,
    /// Whether queues are fair to accounts, which they are: without, to show what that does.
    pub fair: bool,
}

impl Settings {
    /// As the template is.
    pub fn of_repository() -> Result<Self, SettingsError> {
        let documents = YamlOwned::load_from_str(TEMPLATE)
            .map_err(|error| SettingsError::Yaml(error.to_string()))?;
        let template = documents
            .first()
            .ok_or_else(|| SettingsError::Yaml("it is empty".to_owned()))?;
        let function = |logical: &str| Function::read(template, logical);
        Ok(Self {
            webhook_memory: memory(template, "WebhookFunction")?,
            events: function("EventProcessorFunction")?,
            downloads: function("RecordingDownloaderFunction")?,
            notifications: function("NotifierFunction")?,
            due_partitions: 1,
            fair: true,
        })
    }

    /// What a hundred million recordings need. `docs/costs.md` says how each is raised.
    #[must_use]
    pub fn raised(mut self) -> Self {
        self.events.servers = Servers::of_standard_mode(100);
        self.downloads.servers = Servers::of_standard_mode(1_000);
        self.notifications.servers = Servers::of_standard_mode(200);
        self
    }

    /// The same with an index `by-next-check` that spreads a day over so many partitions.
    #[must_use]
    pub fn spread(mut self, due_partitions: u32) -> Self {
        self.due_partitions = due_partitions;
        self
    }
}

impl Function {
    fn read(template: &YamlOwned, logical: &str) -> Result<Self, SettingsError> {
        let events = at(template, &["Resources", logical, "Properties", "Events"]);
        let source = events.and_then(YamlOwned::as_mapping).and_then(|events| {
            events
                .values()
                .find(|event| text(event, "Type") == Some("SQS"))
        });
        let of_source = |path: &[&str]| {
            let found = source.and_then(|source| number(at(source, path)?));
            found.ok_or_else(|| SettingsError::Missing(format!("{logical}: {}", path.join("."))))
        };
        let timeout = at(template, &["Resources", logical, "Properties", "Timeout"]);
        let timeout = timeout.and_then(number);
        Ok(Self {
            servers: Servers::of_standard_mode(of_source(&[
                "Properties",
                "ScalingConfig",
                "MaximumConcurrency",
            ])?),
            batch: of_source(&["Properties", "BatchSize"])?,
            memory: memory(template, logical)?,
            timeout: timeout
                .map(f64::from)
                .ok_or_else(|| SettingsError::Missing(format!("{logical}: Timeout")))?,
        })
    }
}

/// In gigabytes: the function's own, or what all have.
fn memory(template: &YamlOwned, logical: &str) -> Result<f64, SettingsError> {
    let own = at(
        template,
        &["Resources", logical, "Properties", "MemorySize"],
    );
    let all = || at(template, &["Globals", "Function", "MemorySize"]);
    let found = own.or_else(all).and_then(number);
    let megabytes =
        found.ok_or_else(|| SettingsError::Missing(format!("{logical}: MemorySize")))?;
    Ok(f64::from(megabytes) / 1024.0)
}

fn at<'a>(node: &'a YamlOwned, path: &[&str]) -> Option<&'a YamlOwned> {
    path.iter()
        .try_fold(node, |node, key| node.as_mapping_get(key))
}

fn text<'a>(node: &'a YamlOwned, key: &str) -> Option<&'a str> {
    node.as_mapping_get(key)?.as_str()
}

fn number(node: &YamlOwned) -> Option<u32> {
    u32::try_from(node.as_integer()?).ok()
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
            assert!(
                function.memory > 0.1 && function.timeout > 1.0,
                "{function:?}"
            );
        }
        // What the model of a long file counts on.
        assert_eq!(settings.downloads.batch, 1);
        assert!(settings.raised().downloads.servers.most > settings.downloads.servers.most);
    }
}
