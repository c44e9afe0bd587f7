//! CloudWatch metrics.
//!
//! A metric is a log event of target `metric`. In Lambda it is written in CloudWatch's Embedded Metric
//! Format, so it costs no API call; elsewhere it is an ordinary log line.
//!
//! CloudWatch bills each set of dimensions as a custom metric in every hour in which it is written. A metric that
//! neither an alarm nor the dashboard uses therefore stays a log line, which Logs Insights counts.

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};

/// The CloudWatch namespace.
pub const NAMESPACE: &str = "Reelay";

/// The dimensions that a metric has in CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimensions {
    /// It is no CloudWatch metric, only a log line.
    LogOnly,
    /// `Stack`.
    Stack,
    /// `Stack`, and a second time `Stack` and `Reason`.
    StackAndReason,
}

impl Dimensions {
    /// The sets of dimension names.
    pub fn sets(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::LogOnly => &[],
            Self::Stack => &[&["Stack"]],
            Self::StackAndReason => &[&["Stack"], &["Stack", "Reason"]],
        }
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident in $unit:ident by $dimensions:ident,)+) => {
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

            /// Its dimensions in CloudWatch.
            pub fn dimensions(self) -> Dimensions {
                match self {
                    $(Self::$name => Dimensions::$dimensions,)+
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
    BackfillsDeferred in Count by LogOnly,
    /// Backfill jobs that ended early: without a grant or an active link, or because of a link's issue.
    BackfillsIgnored in Count by LogOnly,
    /// Messages in a dead-letter queue, counted by each maintenance run.
    DeadLetters in Count by StackAndReason,
    /// Deauthorization events after which the grant was kept.
    DeauthorizationsIgnored in Count by LogOnly,
    /// Details of a meeting that were not read: without a grant or an active link, or because Zoom denied or did not
    /// find them.
    DetailsIgnored in Count by LogOnly,
    /// Transfers continued in a new invocation.
    DownloadsContinued in Count by LogOnly,
    /// Download attempts deferred because Zoom rate-limits the account.
    DownloadsDeferred in Count by LogOnly,
    /// Deliveries of download messages that had nothing to do.
    DownloadsIgnored in Count by LogOnly,
    /// Download attempts that hit a rate limit of Zoom.
    DownloadsRateLimited in Count by LogOnly,
    /// Downloads enqueued again by a maintenance run, because no message for them was left, or by a reconciliation.
    DownloadsRequeued in Count by LogOnly,
    /// Failed download attempts that are retried.
    DownloadsRetried in Count by StackAndReason,
    /// Zoom events, and meetings of Zoom's lists, that were queued.
    EventsAccepted in Count by Stack,
    /// Events about hosts without a link.
    EventsAboutUnknownHosts in Count by Stack,
    /// Events about unknown recordings, and events of other types.
    EventsIgnored in Count by Stack,
    /// Jobs of the maintenance run that failed. The next run repeats them.
    ScheduledJobsFailed in Count by LogOnly,
    /// Events that could not be parsed and were filed.
    EventsUnparsed in Count by LogOnly,
    /// Reconciliations that found several recordings in a row without an event.
    EventsNotArriving in Count by Stack,
    /// Authorizations completed after their callback was interrupted.
    ExchangesFinished in Count by LogOnly,
    /// Files whose download failed and is not retried.
    FilesFailed in Count by StackAndReason,
    /// Download messages for unknown files.
    FilesIgnored in Count by LogOnly,
    /// Stored files whose first bytes do not match their type.
    FilesNotRecognised in Count by LogOnly,
    /// Files stored and verified.
    FilesStored in Count by Stack,
    /// Grants ended because a user removed the app at Zoom.
    GrantsEnded in Count by Stack,
    /// Grants moved with their Zoom user to another account.
    GrantsMoved in Count by LogOnly,
    /// Grants that were not reconciled for two intervals.
    GrantsNotReconciled in Count by Stack,
    /// Jobs enqueued by a maintenance run.
    JobsEnqueuedByMaintenance in Count by LogOnly,
    /// Links that were never confirmed.
    LinksExpired in Count by LogOnly,
    /// Links that require reauthorization, because Zoom revoked the grant.
    LinksReauthorizationRequired in Count by Stack,
    /// Maintenance runs that succeeded. The schedule starts one every five minutes.
    MaintenanceRuns in Count by Stack,
    /// Messages that were received more than [`crate::sqs::LATE_AGE`] after they were sent: because of a backlog, or
    /// of failures.
    MessagesLate in Count by StackAndReason,
    /// Readings of Zoom's list that may have missed recordings.
    ListingsIncomplete in Count by LogOnly,
    /// Notifications that the app accepted.
    NotificationsDelivered in Count by Stack,
    /// Notifications whose message ended without a delivery: maintenance enqueues them later, or once the app's
    /// webhook is up.
    NotificationsDeferred in Count by Stack,
    /// Notifications about recordings that no link of the app user covers any more.
    NotificationsDropped in Count by LogOnly,
    /// Failed deliveries of notifications to the app.
    NotificationsFailed in Count by Stack,
    /// Notifications that were not delivered within `NotificationRetryDays`.
    NotificationsGivenUp in Count by Stack,
    /// Notifications enqueued again by a maintenance run.
    NotificationsRequeued in Count by LogOnly,
    /// Age of the oldest due check of a file or recording, if a retry run finds any.
    OldestCheckSeconds in Seconds by LogOnly,
    /// Recordings that a due erasure keeps, because Reelay trashed Zoom's copy.
    OnlyCopiesKept in Count by Stack,
    /// Recordings erased on schedule.
    RecordingsErased in Count by LogOnly,
    /// Reconciliations that ended early: without a grant or an active link, because of a link's issue, or superseded.
    ReconciliationsIgnored in Count by LogOnly,
    /// Recordings that a reconciliation found at Zoom and that were not known.
    RecordingsFoundMissing in Count by Stack,
    /// Failed token refreshes, for any reason. Unless Zoom revoked the grant, they are retried.
    RefreshesFailed in Count by StackAndReason,
    /// Encrypted sources deleted because of their age.
    SourcesExpired in Count by LogOnly,
    /// Orphaned multipart uploads that were aborted.
    UploadsAborted in Count by LogOnly,
    /// Uploads restarted because the file changed at Zoom.
    UploadsRestarted in Count by LogOnly,
    /// Uploads resumed after an earlier invocation.
    UploadsResumed in Count by LogOnly,
    /// Responses to `endpoint.url_validation`. Zoom sends it every 72 hours and disables an endpoint that
    /// fails.
    UrlValidations in Count by Stack,
    /// Rejected requests to Zoom's two routes.
    WebhooksRejected in Count by StackAndReason,
    /// Time from the acceptance of a file's event until its bytes are in the bucket. Not measured for
    /// on-demand downloads and for files that failed in between.
    WebhookToBucketSeconds in Seconds by Stack,
}

/// Counts one occurrence with its reason: `metrics::count(Metric::EventsIgnored, "older_change")`.
pub fn count(metric: Metric, reason: &str) {
    count_many(metric, reason, 1);
}

/// Counts several occurrences. Zero is not written, because CloudWatch bills a metric for each hour in which it is.
pub fn count_many(metric: Metric, reason: &str, value: u64) {
    if value == 0 {
        return;
    }
    let (name, unit) = (metric.name(), metric.unit());
    tracing::info!(target: "metric", name, unit, reason, value);
}

/// Records a duration.
pub fn seconds(metric: Metric, value: f64) {
    let (name, unit) = (metric.name(), metric.unit());
    tracing::info!(target: "metric", name, unit, value);
}

/// The fields of a metric event.
#[derive(Default)]
pub(crate) struct Measured {
    name: String,
    unit: String,
    reason: Option<String>,
    value: Value,
}

impl Measured {
    pub(crate) fn of(event: &tracing::Event<'_>) -> Self {
        let mut measured = Self::default();
        event.record(&mut measured);
        measured
    }
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

/// Adds a metric to a log line, in Embedded Metric Format (CloudWatch, "Embedded metric format specification") if it has
/// dimensions.
pub(crate) fn add_to_line(
    line: &mut Map<String, Value>,
    measured: Measured,
    stack: &str,
    milliseconds: i64,
) {
    let metric = Metric::ALL.iter().find(|metric| metric.name() == measured.name);
    let sets = metric.map_or(Dimensions::LogOnly, |metric| metric.dimensions()).sets();
    let declared = json!({
        "Timestamp": milliseconds,
        "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": sets,
            "Metrics": [{"Name": measured.name, "Unit": measured.unit}],
        }],
    });
    let fields = [
        (!sets.is_empty()).then_some(("_aws", declared)),
        Some(("Stack", json!(stack))),
        measured.reason.map(|reason| ("Reason", json!(reason))),
    ];
    line.extend(fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)));
    line.insert(measured.name, measured.value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(measured: Measured) -> Value {
        let mut line = Map::new();
        add_to_line(&mut line, measured, "reelay-prod", 1);
        Value::Object(line)
    }

    fn measured(metric: Metric, reason: Option<&str>, value: Value) -> Measured {
        Measured {
            name: metric.name().to_owned(),
            unit: metric.unit().to_owned(),
            reason: reason.map(str::to_owned),
            value,
        }
    }

    #[test]
    fn count_has_dimensions_with_and_without_reason() {
        assert_eq!(
            line(measured(Metric::FilesFailed, Some("gone"), json!(2))),
            json!({
                "_aws": {"Timestamp": 1, "CloudWatchMetrics": [{
                    "Namespace": "Reelay",
                    "Dimensions": [["Stack"], ["Stack", "Reason"]],
                    "Metrics": [{"Name": "FilesFailed", "Unit": "Count"}],
                }]},
                "Stack": "reelay-prod", "Reason": "gone", "FilesFailed": 2,
            })
        );
    }

    #[test]
    fn duration_is_in_seconds_without_reason() {
        let line = line(measured(Metric::WebhookToBucketSeconds, None, json!(1.25)));
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Dimensions"], json!([["Stack"]]));
        assert_eq!(declared["Metrics"][0]["Unit"], "Seconds");
        assert_eq!(line["WebhookToBucketSeconds"], 1.25);
        assert_eq!(line.get("Reason"), None);
    }

    #[test]
    fn unwatched_metric_is_a_log_line() {
        assert_eq!(
            line(measured(Metric::GrantsMoved, Some("account"), json!(1))),
            json!({"Stack": "reelay-prod", "Reason": "account", "GrantsMoved": 1})
        );
    }

    #[test]
    fn metric_events_carry_unit_reason_and_value() {
        use std::sync::{Arc, Mutex};

        use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

        type Recorded = (String, Option<String>, Value);
        #[derive(Clone, Default)]
        struct Recorder(Arc<Mutex<Vec<Recorded>>>);
        impl<S: tracing::Subscriber> Layer<S> for Recorder {
            fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                let measured = Measured::of(event);
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
