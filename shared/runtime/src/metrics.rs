//! CloudWatch metrics, and the logs that carry them.
//!
//! A metric is a log event of target `metric`. In Lambda it is written in CloudWatch's Embedded Metric
//! Format, so it costs no API call; elsewhere it is an ordinary log line.
//!
//! Each value has the dimension `Stack`, which alarms use, and a second time, if it has a reason, `Stack`
//! and `Reason`, which the dashboard uses. `docs/runbook.md` explains the alarms.

use std::io::Write as _;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The CloudWatch namespace.
pub const NAMESPACE: &str = "Reelay";

/// The dimension sets of a value.
pub const DIMENSIONS: [&[&str]; 2] = [&["Stack"], &["Stack", "Reason"]];

/// Variable with the name of the stack.
const STACK_VARIABLE: &str = "STACK_NAME";

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident in $unit:ident,)+) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Metric {
            /// All metrics.
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
    /// Backfill jobs deferred because Zoom rate-limits the account.
    BackfillsDeferred in Count,
    /// Backfill jobs that ended early: without a grant or an active link, or because of a link's issue.
    BackfillsIgnored in Count,
    /// Deauthorization events after which the grant was kept.
    DeauthorizationsIgnored in Count,
    /// Details of a meeting that were not read: without a grant or an active link, or because Zoom denied or did not
    /// find them.
    DetailsIgnored in Count,
    /// Transfers continued in a new invocation.
    DownloadsContinued in Count,
    /// Download attempts deferred because Zoom rate-limits the account.
    DownloadsDeferred in Count,
    /// Deliveries of download messages that had nothing to do.
    DownloadsIgnored in Count,
    /// Download attempts that hit a rate limit of Zoom.
    DownloadsRateLimited in Count,
    /// Downloads enqueued again by a maintenance run, because no message for them was left, or by a reconciliation.
    DownloadsRequeued in Count,
    /// Failed download attempts that are retried.
    DownloadsRetried in Count,
    /// Zoom events, and meetings of Zoom's lists, that were queued.
    EventsAccepted in Count,
    /// Events about unlinked hosts or unknown recordings, and events of other types.
    EventsIgnored in Count,
    /// Jobs of the maintenance run that failed. The next run repeats them.
    ScheduledJobsFailed in Count,
    /// Events that could not be parsed and were filed.
    EventsUnparsed in Count,
    /// Reconciliations that found recordings in a row without an event.
    EventsNotArriving in Count,
    /// Authorizations completed after their callback was interrupted.
    ExchangesFinished in Count,
    /// Files whose download failed for good.
    FilesFailed in Count,
    /// Download messages for unknown files.
    FilesIgnored in Count,
    /// Stored files whose first bytes do not match their type.
    FilesNotRecognised in Count,
    /// Files stored and verified.
    FilesStored in Count,
    /// Grants ended because a user removed the app at Zoom.
    GrantsEnded in Count,
    /// Grants moved with their Zoom user to another account.
    GrantsMoved in Count,
    /// Grants that were not reconciled for two intervals.
    GrantsNotReconciled in Count,
    /// Jobs enqueued by a maintenance run.
    JobsEnqueuedByMaintenance in Count,
    /// Links that were never confirmed.
    LinksExpired in Count,
    /// Links that require reauthorization, because Zoom revoked the grant.
    LinksReauthorizationRequired in Count,
    /// Readings of Zoom's list that may have missed recordings.
    ListingsIncomplete in Count,
    /// Notifications that the app accepted.
    NotificationsDelivered in Count,
    /// Notifications that no message carries any more: their next attempt is later, or when the app's webhook is up.
    NotificationsDeferred in Count,
    /// Notifications about recordings that no link of the app user covers any more.
    NotificationsDropped in Count,
    /// Failed deliveries of notifications to the app.
    NotificationsFailed in Count,
    /// Notifications that were not delivered within `NotificationRetryDays`.
    NotificationsGivenUp in Count,
    /// Notifications enqueued again by a maintenance run.
    NotificationsRequeued in Count,
    /// Recordings that a due erasure keeps, because Reelay trashed Zoom's copy.
    OnlyCopiesKept in Count,
    /// Recordings erased on schedule.
    RecordingsErased in Count,
    /// Reconciliations that ended early: without a grant or an active link, because of a link's issue, or superseded.
    ReconciliationsIgnored in Count,
    /// Recordings that a reconciliation found at Zoom and that were not known.
    RecordingsFoundMissing in Count,
    /// Failed token refreshes, for any reason. Unless Zoom revoked the grant, they are retried.
    RefreshesFailed in Count,
    /// Encrypted sources deleted because of their age.
    SourcesExpired in Count,
    /// Orphaned multipart uploads that were aborted.
    UploadsAborted in Count,
    /// Uploads restarted because the file changed at Zoom.
    UploadsRestarted in Count,
    /// Uploads resumed after an earlier invocation.
    UploadsResumed in Count,
    /// Responses to `endpoint.url_validation`. Zoom sends it every 72 hours and disables an endpoint that
    /// fails.
    UrlValidations in Count,
    /// Rejected requests to Zoom's two routes.
    WebhooksRejected in Count,
    /// Time from the acceptance of a file's event until its bytes are in the bucket. Not measured for
    /// on-demand downloads and for files that failed in between.
    WebhookToBucketSeconds in Seconds,
}

/// Counts one occurrence with its reason: `metrics::count(Metric::EventsIgnored, "unknown_host")`.
pub fn count(metric: Metric, reason: &str) {
    count_many(metric, reason, 1);
}

/// Counts several occurrences.
pub fn count_many(metric: Metric, reason: &str, value: u64) {
    let (name, unit) = (metric.name(), metric.unit());
    tracing::info!(target: "metric", name, unit, reason, value);
}

/// Records a duration.
pub fn seconds(metric: Metric, value: f64) {
    let (name, unit) = (metric.name(), metric.unit());
    tracing::info!(target: "metric", name, unit, value);
}

/// Initializes logging in a Lambda function: JSON lines at level `RUST_LOG` or `info`, metrics in EMF.
pub fn init() {
    // `EnvFilter` would add a regex engine to every function.
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
                // Lambda adds timestamps.
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
        // A failed write to stdout cannot be reported anywhere.
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
    fn count_has_dimensions_with_and_without_reason() {
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
    fn duration_is_in_seconds_without_reason() {
        let took = measured(Metric::WebhookToBucketSeconds, None, json!(1.25));
        let line = line("s", &took, 1);
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Dimensions"], json!([["Stack"]]));
        assert_eq!(declared["Metrics"][0]["Unit"], "Seconds");
        assert_eq!(line["WebhookToBucketSeconds"], 1.25);
        assert_eq!(line.get("Reason"), None);
    }

    #[test]
    fn metric_events_carry_unit_reason_and_value() {
        use std::sync::{Arc, Mutex};

        type Recorded = (String, Option<String>, serde_json::Value);
        #[derive(Clone, Default)]
        struct Recorder(Arc<Mutex<Vec<Recorded>>>);
        impl<S: tracing::Subscriber> Layer<S> for Recorder {
            fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                let mut measured = Measured::default();
                event.record(&mut measured);
                let recorded = (measured.unit, measured.reason, measured.value);
                self.0.lock().unwrap().push(recorded);
            }
        }
        let recorder = Recorder::default();
        let subscriber = tracing_subscriber::registry().with(recorder.clone());
        tracing::subscriber::with_default(subscriber, || {
            count_many(Metric::FilesStored, "ok", 3);
            seconds(Metric::WebhookToBucketSeconds, 0.5);
        });
        assert_eq!(
            *recorder.0.lock().unwrap(),
            [
                ("Count".to_owned(), Some("ok".to_owned()), json!(3)),
                ("Seconds".to_owned(), None, json!(0.5)),
            ]
        );
    }
}
