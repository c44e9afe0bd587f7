//! Log lines of a Lambda function: JSON with the keys of Powertools for AWS Lambda, so that its queries and
//! dashboards work, and the lines of [`crate::metrics`]. Events of [`crate::traces`] become annotations, not lines.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::metrics::{self, Measured};
use crate::traces::{self, Daemon};

/// Variable with the lowest level of log lines, the parameter `LogLevel`.
const LEVEL_VARIABLE: &str = "LOG_LEVEL";

/// Variable with the name of the stack.
const STACK_VARIABLE: &str = "STACK_NAME";

/// The span that `lambda_runtime` opens for each invocation, and its fields.
const INVOCATION_SPAN: &str = "Lambda runtime invoke";
const REQUEST_ID_FIELD: &str = "requestId";
const TRACE_ID_FIELD: &str = "xrayTraceId";

/// Initializes logging in a Lambda function, whose name is that of its crate. Metrics are written at every level.
pub fn init(service: &'static str) {
    let level = std::env::var(LEVEL_VARIABLE).ok().and_then(|level| level.parse().ok());
    let levels = levels(service, level.unwrap_or(LevelFilter::INFO));
    let is_enabled = move |metadata: &Metadata<'_>| {
        metadata.is_span()
            || ["metric", traces::TARGET].contains(&metadata.target())
            || levels.would_enable(metadata.target(), metadata.level())
    };
    let filter = filter_fn(is_enabled).with_max_level_hint(Level::DEBUG);
    let stack = std::env::var(STACK_VARIABLE).unwrap_or_else(|_| "unknown".to_owned());
    tracing_subscriber::registry().with(Lines::new(service, stack).with_filter(filter)).init();
}

/// The level of each target. Libraries write at most `info`: below it they may log requests with their credentials. Warnings
/// of `oauth-start` are written at every level: only the log says why a connect token is rejected.
fn levels(service: &str, level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("reelay", level)
        .with_target(service.replace('-', "_"), level)
        .with_target("oauth_start", level.max(LevelFilter::WARN))
}

/// Writes one line of JSON for each event.
struct Lines {
    service: &'static str,
    stack: String,
    has_been_invoked: AtomicBool,
    daemon: Option<Daemon>,
}

/// Fields that all lines of an invocation have in common.
#[derive(Debug, Clone, Default)]
struct Invocation {
    is_cold_start: bool,
    request_id: String,
    trace_id: Option<String>,
}

impl Lines {
    fn new(service: &'static str, stack: String) -> Self {
        Self {
            service,
            stack,
            has_been_invoked: AtomicBool::new(false),
            daemon: Daemon::from_env(),
        }
    }

    fn line(&self, event: &Event<'_>, invocation: Option<&Invocation>) -> Value {
        let mut line = Map::new();
        if event.metadata().target() == "metric" {
            let now = jiff::Timestamp::now().as_millisecond();
            metrics::add_to_line(&mut line, Measured::of(event), &self.stack, now);
        } else {
            line.insert("level".to_owned(), json!(event.metadata().level().as_str()));
            line.insert("target".to_owned(), json!(event.metadata().target()));
            event.record(&mut Fields(&mut line));
        }
        line.insert("service".to_owned(), json!(self.service));
        if let Some(Invocation { is_cold_start, request_id, trace_id }) = invocation {
            line.insert("cold_start".to_owned(), json!(is_cold_start));
            line.insert("function_request_id".to_owned(), json!(request_id));
            if let Some(trace_id) = trace_id {
                line.insert("xray_trace_id".to_owned(), json!(trace_id));
            }
        }
        Value::Object(line)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != INVOCATION_SPAN {
            return;
        }
        let is_cold_start = !self.has_been_invoked.swap(true, Ordering::Relaxed);
        let mut invocation = Invocation { is_cold_start, ..Invocation::default() };
        attributes.record(&mut invocation);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(invocation);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut spans = context.event_scope(event).into_iter().flatten();
        let invocation = spans.find_map(|span| span.extensions().get::<Invocation>().cloned());
        if event.metadata().target() == traces::TARGET {
            let trace_id =
                invocation.as_ref().and_then(|invocation| invocation.trace_id.as_deref());
            if let Some((daemon, trace_id)) = self.daemon.as_ref().zip(trace_id) {
                let mut annotations = Map::new();
                event.record(&mut Fields(&mut annotations));
                daemon.send(trace_id, annotations, jiff::Timestamp::now());
            }
            return;
        }
        let line = self.line(event, invocation.as_ref());
        // A failed write to stdout cannot be reported anywhere.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

impl Visit for Invocation {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            REQUEST_ID_FIELD => value.clone_into(&mut self.request_id),
            TRACE_ID_FIELD => self.trace_id = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Adds an event's fields to a line.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, json!(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::subscriber::with_default;

    use super::*;
    use crate::metrics::Metric;

    /// Collects the lines in place of stdout.
    #[derive(Clone)]
    struct Collected(Arc<Lines>, Arc<Mutex<Vec<Value>>>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collected {
        fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
            Layer::<S>::on_new_span(&*self.0, attributes, id, context);
        }

        fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
            let mut spans = context.event_scope(event).into_iter().flatten();
            let invocation = spans.find_map(|span| span.extensions().get::<Invocation>().cloned());
            self.1.lock().unwrap().push(self.0.line(event, invocation.as_ref()));
        }
    }

    fn lines_of(log: impl Fn()) -> Vec<Value> {
        let lines = Arc::new(Lines::new("event-processor", "prod".to_owned()));
        let collected = Collected(lines, Arc::default());
        let subscriber = tracing_subscriber::registry().with(collected.clone());
        with_default(subscriber, log);
        collected.1.lock().unwrap().clone()
    }

    #[test]
    fn lines_of_an_invocation_have_its_keys() {
        let lines = lines_of(|| {
            for request_id in ["r-1", "r-2"] {
                // As `lambda_runtime` does.
                let span = tracing::info_span!(
                    "Lambda runtime invoke",
                    requestId = request_id,
                    xrayTraceId = "Root=1-2"
                );
                span.in_scope(|| {
                    tracing::warn!(wait_seconds = 3, error = %"no", "download retried");
                });
            }
        });
        let expected = |request_id: &str, is_cold: bool| {
            json!({
                "level": "WARN", "message": "download retried", "wait_seconds": 3, "error": "no",
                "target": "reelay_runtime::logs::tests", "service": "event-processor",
                "cold_start": is_cold, "function_request_id": request_id, "xray_trace_id": "Root=1-2",
            })
        };
        assert_eq!(lines, [expected("r-1", true), expected("r-2", false)]);
    }

    #[test]
    fn metric_lines_have_the_same_keys() {
        let lines = lines_of(|| metrics::count(Metric::FilesStored, "ok"));
        assert_eq!(lines[0]["FilesStored"], 1);
        assert_eq!(lines[0]["service"], "event-processor");
        assert_eq!(lines[0].get("level"), None);
    }

    #[test]
    fn annotation_of_an_invocation_reaches_its_trace() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let lines = Lines {
            daemon: Some(Daemon::at(&address).unwrap()),
            ..Lines::new("event-processor", "prod".to_owned())
        };
        let header = "Root=1-2;Parent=3;Sampled=1";
        with_default(tracing_subscriber::registry().with(lines), || {
            let span = tracing::info_span!(
                "Lambda runtime invoke",
                requestId = "r-1",
                xrayTraceId = header
            );
            span.in_scope(|| traces::annotate(&"cmVjb3JkaW5n".parse().unwrap(), None));
        });
        let mut datagram = [0; 1024];
        let length = socket.recv(&mut datagram).unwrap();
        let datagram = std::str::from_utf8(&datagram[..length]).unwrap();
        let document: Value = serde_json::from_str(datagram.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&document["trace_id"], &document["parent_id"]), (&json!("1-2"), &json!("3")));
        assert_eq!(document["annotations"], json!({"recording_id": "cmVjb3JkaW5n"}));
    }

    #[test]
    fn libraries_never_log_below_info() {
        let levels = levels("event-processor", LevelFilter::DEBUG);
        assert!(levels.would_enable("event_processor::changes", &Level::DEBUG));
        assert!(levels.would_enable("reelay_store::queue", &Level::DEBUG));
        assert!(!levels.would_enable("aws_smithy_runtime::client", &Level::DEBUG));
        let levels = self::levels("event-processor", LevelFilter::ERROR);
        assert!(!levels.would_enable("hyper", &Level::WARN));
        assert!(levels.would_enable("oauth_start", &Level::WARN));
    }
}
