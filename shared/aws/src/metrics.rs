//! Counters as CloudWatch metrics, and the logs that carry them.
//!
//! A metric is a log event of target `metric`; in Lambda it is written in CloudWatch's Embedded
//! Metric Format, so counting costs no call. Elsewhere it is a log line like any other.

use std::io::Write as _;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The CloudWatch namespace.
const NAMESPACE: &str = "Reelay";

/// Counts one occurrence, in a dimension of its own kind: `metrics::count("EventsIgnored", "unknown_host")`.
pub fn count(name: &'static str, reason: &str) {
    count_many(name, reason, 1);
}

/// Counts several occurrences at once.
pub fn count_many(name: &'static str, reason: &str, value: u64) {
    tracing::info!(target: "metric", name, reason, value);
}

/// Sets up logs for a Lambda function: JSON lines, `RUST_LOG` or `info`, metrics in EMF.
pub fn init() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::registry()
        .with(filter)
        .with(
            tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                // Lambda stamps each line itself.
                .without_time()
                .with_filter(tracing_subscriber::filter::filter_fn(|meta| {
                    meta.target() != "metric"
                })),
        )
        .with(EmbeddedMetricFormat)
        .init();
}

struct EmbeddedMetricFormat;

#[derive(Default)]
struct Metric {
    name: String,
    reason: String,
    value: u64,
}

impl Visit for Metric {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "name" => self.name = value.to_owned(),
            "reason" => self.reason = value.to_owned(),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "value" {
            self.value = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for EmbeddedMetricFormat {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "metric" {
            return;
        }
        let mut metric = Metric::default();
        event.record(&mut metric);
        let line = line(&metric, jiff::Timestamp::now().as_millisecond());
        // A log line that can't be written has nowhere to be reported.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// One line of Embedded Metric Format (CloudWatch, "Embedded metric format specification").
fn line(metric: &Metric, milliseconds: i64) -> serde_json::Value {
    json!({
        "_aws": {
            "Timestamp": milliseconds,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["Reason"]],
                "Metrics": [{"Name": metric.name, "Unit": "Count"}],
            }],
        },
        "Reason": metric.reason,
        &metric.name: metric.value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_declares_its_metric() {
        let metric = Metric {
            name: "EventsIgnored".into(),
            reason: "unknown_host".into(),
            value: 2,
        };
        let line = line(&metric, 1);
        assert_eq!(line["EventsIgnored"], 2);
        assert_eq!(
            line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"],
            "EventsIgnored"
        );
    }
}
