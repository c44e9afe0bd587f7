//! Counters and durations as CloudWatch metrics, and the logs that carry them.
//!
//! A metric is a log event of target `metric`; in Lambda it is written in CloudWatch's Embedded
//! Metric Format, so measuring costs no call. Elsewhere it is a log line like any other.
//!
//! Each value stands under the stack alone, which is what alarms watch, and, where there is one, under its
//! reason as well, which is what explains them. `docs/runbook.md` says what to do about which.

use std::io::Write as _;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The CloudWatch namespace.
pub const NAMESPACE: &str = "Reelay";

/// The sets of dimensions under which a value can be found.
pub const DIMENSIONS: [&[&str]; 2] = [&["Stack"], &["Stack", "Reason"]];

/// The variable that names the stack.
const STACK_VARIABLE: &str = "STACK_NAME";

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident in $unit:ident,)+) => {
        /// What is measured.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Metric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in CloudWatch.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// CloudWatch's name of its unit.
            pub fn unit(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($unit),)+
                }
            }
        }
    };
}

metrics! {
    /// Orders to read recordings from Zoom's list for which there was no grant.
    BackfillsIgnored in Count,
    /// Deauthorizations after which the grant was kept.
    DeauthorizationsIgnored in Count,
    /// Downloads that the clock ordered anew, because nobody had a message for them.
    DownloadsRequeued in Count,
    /// Transfers that went on in a fresh invocation.
    DownloadsContinued in Count,
    /// Deliveries of download orders that had nothing to do.
    DownloadsIgnored in Count,
    /// Attempts that ran into one of Zoom's limits.
    DownloadsRateLimited in Count,
    /// Attempts that were put off without a try, because Zoom had asked the account to wait.
    DownloadsDeferred in Count,
    /// Attempts that failed and are repeated.
    DownloadsRetried in Count,
    /// Events of Zoom's, and meetings of its lists, that were queued.
    EventsAccepted in Count,
    /// Events that concern nobody here.
    EventsIgnored in Count,
    /// Authorizations that were finished after their callback had died.
    ExchangesFinished in Count,
    /// Files that were given up.
    FilesFailed in Count,
    /// Download orders for files that are not known.
    FilesIgnored in Count,
    /// Stored files that do not begin as their type does.
    FilesNotRecognised in Count,
    /// Files whose bytes are in the bucket, whole and proven.
    FilesStored in Count,
    /// Grants that ended because a user removed the app at Zoom.
    GrantsEnded in Count,
    /// Grants that followed their Zoom user to another account.
    GrantsMoved in Count,
    /// Links that were never confirmed.
    LinksExpired in Count,
    /// Links whose user must connect again, because Zoom does not honour the grant any more.
    LinksReauthorizationRequired in Count,
    /// Notifications that the app has taken.
    NotificationsDelivered in Count,
    /// Notifications that the app has refused.
    NotificationsFailed in Count,
    /// Orders that were made up for by the clock.
    JobsEnqueuedByMaintenance in Count,
    /// Refreshes that Zoom did not grant, for whatever reason. Each is tried again, but for grants that are
    /// dead.
    RefreshesFailed in Count,
    /// Sealed sources that were dropped because of their age.
    SourcesExpired in Count,
    /// Uploads that nobody went on with, and that were aborted.
    UploadsAborted in Count,
    /// Uploads that began anew because the file at Zoom had changed.
    UploadsRestarted in Count,
    /// Uploads that went on where an earlier invocation had left them.
    UploadsResumed in Count,
    /// `endpoint.url_validation`, answered. Zoom sends it every 72 hours, and switches off what fails.
    UrlValidations in Count,
    /// Requests to Zoom's two routes that were refused.
    WebhooksRejected in Count,
    /// From the acceptance of a file's event to its bytes in the bucket. Of files that wait for the app's call, and
    /// of those that failed in between, there is none.
    WebhookToBucketSeconds in Seconds,
}

/// Counts one occurrence, and for which reason: `metrics::count(Metric::EventsIgnored, "unknown_host")`.
pub fn count(metric: Metric, reason: &str) {
    count_many(metric, reason, 1);
}

/// Counts several occurrences at once.
pub fn count_many(metric: Metric, reason: &str, value: u64) {
    let (name, unit) = (metric.name(), metric.unit());
    tracing::info!(target: "metric", name, unit, reason, value);
}

/// Tells how many seconds something took.
pub fn seconds(metric: Metric, value: f64) {
    let (name, unit) = (metric.name(), metric.unit());
    tracing::info!(target: "metric", name, unit, value);
}

/// Sets up logs for a Lambda function: JSON lines, `RUST_LOG` or `info`, metrics in EMF.
pub fn init() {
    // Not `EnvFilter`: what it can do more needs a regex engine, which every function would carry.
    let filter = std::env::var("RUST_LOG")
        .ok()
        .and_then(|levels| levels.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
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
        .with(EmbeddedMetricFormat {
            stack: std::env::var(STACK_VARIABLE).unwrap_or_else(|_| "unknown".to_owned()),
        })
        .init();
}

struct EmbeddedMetricFormat {
    stack: String,
}

#[derive(Default)]
struct Measured {
    name: String,
    unit: String,
    reason: Option<String>,
    value: serde_json::Value,
}

impl Visit for Measured {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "name" => self.name = value.to_owned(),
            "unit" => self.unit = value.to_owned(),
            "reason" => self.reason = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "value" {
            self.value = json!(value);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "value" {
            self.value = json!(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for EmbeddedMetricFormat {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "metric" {
            return;
        }
        let mut measured = Measured::default();
        event.record(&mut measured);
        let now = jiff::Timestamp::now().as_millisecond();
        let line = line(&self.stack, &measured, now);
        // A log line that can't be written has nowhere to be reported.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// One line of Embedded Metric Format (CloudWatch, "Embedded metric format specification").
fn line(stack: &str, measured: &Measured, milliseconds: i64) -> serde_json::Value {
    let [by_stack, by_reason] = DIMENSIONS;
    let dimensions = match &measured.reason {
        Some(_) => vec![by_stack, by_reason],
        None => vec![by_stack],
    };
    let mut line = json!({
        "_aws": {
            "Timestamp": milliseconds,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": dimensions,
                "Metrics": [{"Name": measured.name, "Unit": measured.unit}],
            }],
        },
        "Stack": stack,
        &measured.name: measured.value,
    });
    if let Some(reason) = &measured.reason {
        line["Reason"] = json!(reason);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(metric: Metric, reason: Option<&str>, value: serde_json::Value) -> Measured {
        Measured {
            name: metric.name().to_owned(),
            unit: metric.unit().to_owned(),
            reason: reason.map(str::to_owned),
            value,
        }
    }

    #[test]
    fn a_count_is_declared_with_its_reason_and_without() {
        let counted = measured(Metric::EventsIgnored, Some("unknown_host"), json!(2));
        assert_eq!(
            line("reelay-prod", &counted, 1),
            json!({
                "_aws": {"Timestamp": 1, "CloudWatchMetrics": [{
                    "Namespace": "Reelay",
                    "Dimensions": [["Stack"], ["Stack", "Reason"]],
                    "Metrics": [{"Name": "EventsIgnored", "Unit": "Count"}],
                }]},
                "Stack": "reelay-prod", "Reason": "unknown_host", "EventsIgnored": 2,
            })
        );
    }

    #[test]
    fn a_duration_is_in_seconds_and_has_no_reason() {
        let took = measured(Metric::WebhookToBucketSeconds, None, json!(1.25));
        let line = line("s", &took, 1);
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Dimensions"], json!([["Stack"]]));
        assert_eq!(declared["Metrics"][0]["Unit"], "Seconds");
        assert_eq!(line["WebhookToBucketSeconds"], 1.25);
        assert_eq!(line.get("Reason"), None);
    }

    #[test]
    fn what_is_measured_reaches_the_line_as_it_was_told() {
        use std::sync::{Arc, Mutex};

        type Told = (String, Option<String>, serde_json::Value);
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<Told>>>);
        impl<S: tracing::Subscriber> Layer<S> for Kept {
            fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                let mut measured = Measured::default();
                event.record(&mut measured);
                let told = (measured.unit, measured.reason, measured.value);
                self.0.lock().unwrap().push(told);
            }
        }
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(kept.clone());
        tracing::subscriber::with_default(subscriber, || {
            count_many(Metric::FilesStored, "ok", 3);
            seconds(Metric::WebhookToBucketSeconds, 0.5);
        });
        let told = kept.0.lock().unwrap();
        assert_eq!(
            *told,
            [
                ("Count".to_owned(), Some("ok".to_owned()), json!(3)),
                ("Seconds".to_owned(), None, json!(0.5)),
            ]
        );
    }
}
