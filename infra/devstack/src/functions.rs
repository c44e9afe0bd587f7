//! The functions by the names of their binaries. A test compares this list with the template.

use std::sync::Arc;
use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures_util::future::BoxFuture;
use http::StatusCode;
use lambda_http::LambdaEvent;
use lambda_http::request::LambdaRequest;
use reelay_runtime::environment::{ConfigError, Environment};
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Request, Response};
use serde_json::Value;
use tower::ServiceExt as _;

/// A function behind the HTTP API: it takes API Gateway's event and returns the result as JSON.
pub(crate) type HttpHandler =
    Arc<dyn Fn(LambdaEvent<LambdaRequest>) -> BoxFuture<'static, Option<Value>> + Send + Sync>;

/// A function that processes batches of a queue, until a deadline.
pub(crate) type QueueHandler =
    Arc<dyn Fn(SqsEvent, Instant) -> BoxFuture<'static, SqsBatchResponse> + Send + Sync>;

/// A function that can be called.
#[derive(Clone)]
pub(crate) enum Handler {
    Http(HttpHandler),
    Queue(QueueHandler),
}

type Construct = fn(&Environment) -> Result<Handler, ConfigError>;

/// All functions, each constructed as in its `main`.
const FUNCTIONS: [(&str, Construct); 8] = [
    ("app-api", |environment| {
        let timed_out = |_: &_| Problem::Unavailable.into_response();
        app_api::AppApi::new(environment)
            .map(|it| http(it, |it, request| Box::pin(it.handle(request)), timed_out))
    }),
    ("event-processor", |environment| {
        event_processor::EventProcessor::new(environment)
            .map(|it| queue(it, |it, batch, _| Box::pin(it.handle(batch))))
    }),
    ("notifier", |environment| {
        notifier::Notifier::new(environment)
            .map(|it| queue(it, |it, batch, _| Box::pin(it.handle(batch))))
    }),
    ("oauth-callback", |environment| {
        let timed_out = oauth_callback::OauthCallback::timed_out;
        oauth_callback::OauthCallback::new(environment)
            .map(|it| http(it, |it, request| Box::pin(it.handle(request)), timed_out))
    }),
    ("oauth-start", |environment| {
        let timed_out = oauth_start::OauthStart::timed_out;
        oauth_start::OauthStart::new(environment)
            .map(|it| http(it, |it, request| Box::pin(it.handle(request)), timed_out))
    }),
    ("reconciler", |environment| {
        reconciler::Reconciler::new(environment)
            .map(|it| queue(it, |it, batch, deadline| Box::pin(it.handle(batch, deadline))))
    }),
    ("recording-downloader", |environment| {
        recording_downloader::RecordingDownloader::new(environment)
            .map(|it| queue(it, |it, batch, deadline| Box::pin(it.handle(batch, deadline))))
    }),
    ("webhook", |environment| {
        let timed_out = |_: &_| response::empty(StatusCode::SERVICE_UNAVAILABLE);
        webhook::Webhook::new(environment)
            .map(|it| http(it, |it, request| Box::pin(it.handle(request)), timed_out))
    }),
];

/// Constructs a function. `None` if no function has this name.
pub(crate) fn construct(
    binary: &str,
    environment: &Environment,
) -> Option<Result<Handler, ConfigError>> {
    FUNCTIONS.iter().find(|(name, _)| *name == binary).map(|(_, construct)| construct(environment))
}

type HandleHttp<T> = for<'a> fn(&'a T, Request) -> BoxFuture<'a, Response<Body>>;
type HandleQueue<T> = for<'a> fn(&'a T, SqsEvent, Instant) -> BoxFuture<'a, SqsBatchResponse>;

/// Wraps a function in the service that runs on Lambda, which converts events to requests and back.
fn http<T: Send + Sync + 'static>(
    function: T,
    handle: HandleHttp<T>,
    timed_out: fn(&T) -> Response<Body>,
) -> Handler {
    let function = Arc::new(function);
    Handler::Http(Arc::new(move |event| {
        let (function, late) = (Arc::clone(&function), Arc::clone(&function));
        let handle = move |request| {
            let function = Arc::clone(&function);
            async move { handle(&function, request).await }
        };
        let service = reelay_runtime::http::service(handle, move || timed_out(&late));
        Box::pin(async move {
            match service.oneshot(event).await {
                Ok(result) => serde_json::to_value(result).ok(),
                Err(never) => match never {},
            }
        })
    }))
}

fn queue<T: Send + Sync + 'static>(function: T, handle: HandleQueue<T>) -> Handler {
    let function = Arc::new(function);
    Handler::Queue(Arc::new(move |batch, deadline| {
        let function = Arc::clone(&function);
        Box::pin(async move { handle(&function, batch, deadline).await })
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::FUNCTIONS;
    use crate::template::Template;

    /// The functions of the template. Each has one resource.
    fn template_functions() -> BTreeSet<String> {
        let by_resource = Template::of_repository().unwrap().binaries().unwrap();
        let functions: BTreeSet<String> = by_resource.values().cloned().collect();
        assert_eq!(functions.len(), by_resource.len(), "{by_resource:?}");
        functions
    }

    #[test]
    fn functions_match_the_template() {
        let here: BTreeSet<String> = FUNCTIONS.map(|(name, _)| name.to_owned()).into();
        assert_eq!(here, template_functions());
    }

    #[test]
    fn function_crates_match_the_template() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions");
        let crates: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("Cargo.toml").exists())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        assert_eq!(crates, template_functions());
    }
}
