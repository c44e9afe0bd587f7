//! The settings of `template.yaml` that the bill and the simulation depend on.

use saphyr::{LoadableYamlNode as _, YamlOwned};

/// Read here and not by the devstack's parser, which would link all functions.
const TEMPLATE: &str = include_str!("../../../template.yaml");

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("failed to parse template.yaml: {0}")]
    Yaml(String),
    #[error("template.yaml has no {0}")]
    Missing(String),
}

/// A function with an SQS event source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    pub(crate) max_concurrency: u32,
    /// Maximum number of messages in one invocation.
    pub(crate) batch_size: u32,
    /// Memory in GiB.
    pub(crate) memory: f64,
    /// Timeout in seconds.
    pub(crate) timeout: f64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Memory of the webhook function in GiB.
    pub(crate) webhook_memory: f64,
    pub(crate) events: Function,
    pub(crate) downloads: Function,
    pub(crate) notifications: Function,
    /// Number of shards of the index `by-next-check`.
    pub(crate) index_partitions: u32,
    /// Whether SQS fair queues are used; the simulation also shows the effect of their absence.
    pub(crate) is_fair: bool,
}

impl Settings {
    /// The settings of this repository's template.
    pub(crate) fn of_repository() -> Result<Self, SettingsError> {
        let documents = YamlOwned::load_from_str(TEMPLATE)
            .map_err(|error| SettingsError::Yaml(error.to_string()))?;
        let template =
            documents.first().ok_or_else(|| SettingsError::Yaml("no document".to_owned()))?;
        Ok(Self {
            webhook_memory: memory(template, "WebhookFunction")?,
            events: Function::parse(template, "EventProcessorFunction")?,
            downloads: Function::parse(template, "RecordingDownloaderFunction")?,
            notifications: Function::parse(template, "NotifierFunction")?,
            index_partitions: 16,
            is_fair: true,
        })
    }

    /// The concurrency that 100 million recordings need; `docs/costs.md` lists how to raise each setting.
    pub(crate) fn raised(self) -> Self {
        self.with_concurrency(100, 1_000, 200)
    }

    pub(crate) fn with_concurrency(
        mut self,
        events: u32,
        downloads: u32,
        notifications: u32,
    ) -> Self {
        self.events.max_concurrency = events;
        self.downloads.max_concurrency = downloads;
        self.notifications.max_concurrency = notifications;
        self
    }
}

impl Function {
    fn parse(template: &YamlOwned, function: &str) -> Result<Self, SettingsError> {
        let properties = ["Resources", function, "Properties"];
        let source = get(template, &[&properties[..], &["Events"]].concat())
            .and_then(YamlOwned::as_mapping)
            .and_then(|events| {
                let is_sqs = |event: &&YamlOwned| {
                    get(event, &["Type"]).and_then(YamlOwned::as_str) == Some("SQS")
                };
                events.values().find(is_sqs)
            });
        let missing = |name: &str| SettingsError::Missing(format!("{name} of {function}"));
        let source_number = |path: &[&str]| {
            source
                .and_then(|source| get(source, path))
                .and_then(|node| number(node).or_else(|| parameter(template, node)))
                .ok_or_else(|| missing(path[path.len() - 1]))
        };
        let timeout = get(template, &[&properties[..], &["Timeout"]].concat()).and_then(number);
        Ok(Self {
            max_concurrency: source_number(&["Properties", "ScalingConfig", "MaximumConcurrency"])?,
            batch_size: source_number(&["Properties", "BatchSize"])?,
            memory: memory(template, function)?,
            timeout: timeout.ok_or_else(|| missing("Timeout"))?.into(),
        })
    }
}

/// Memory of a function or the template's default, in GiB.
fn memory(template: &YamlOwned, function: &str) -> Result<f64, SettingsError> {
    let own = get(template, &["Resources", function, "Properties", "MemorySize"]);
    let default = || get(template, &["Globals", "Function", "MemorySize"]);
    let mebibytes = own
        .or_else(default)
        .and_then(number)
        .ok_or_else(|| SettingsError::Missing(format!("MemorySize of {function}")))?;
    Ok(f64::from(mebibytes) / 1024.0)
}

fn get<'a>(node: &'a YamlOwned, path: &[&str]) -> Option<&'a YamlOwned> {
    path.iter().try_fold(node, |node, key| node.as_mapping_get(key))
}

/// The default of the parameter that a `!Ref` names.
fn parameter(template: &YamlOwned, node: &YamlOwned) -> Option<u32> {
    let name = match node {
        YamlOwned::Tagged(_, name) => name.as_str()?,
        _ => return None,
    };
    number(get(template, &["Parameters", name, "Default"])?)
}

fn number(node: &YamlOwned) -> Option<u32> {
    u32::try_from(node.as_integer()?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn template_has_the_required_settings() {
        let settings = Settings::of_repository().unwrap();
        for function in [settings.events, settings.downloads, settings.notifications] {
            assert!(function.max_concurrency >= 2, "{function:?}");
            assert!(function.memory > 0.1 && function.timeout > 1.0, "{function:?}");
        }
        // The simulation assumes one file per invocation.
        assert_eq!(settings.downloads.batch_size, 1);
        assert!(settings.raised().downloads.max_concurrency > settings.downloads.max_concurrency);
    }
}
