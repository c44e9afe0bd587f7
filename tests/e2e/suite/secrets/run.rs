//! Records everything that a run of the system writes, and every secret that must not appear there.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reelay_domain::pkce;
use reelay_domain::signed_state::Nonce;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, Point};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use support::app::ApiResponse;
use support::{AppWebhook, Browser, System, Visit};
use tracing_subscriber::filter::{
    FilterExt as _, LevelFilter, Targets, dynamic_filter_fn, filter_fn,
};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{Registry, SpanRef};

use super::search::SecretSearch;
use crate::linking::parameter;
use crate::subscriber;

/// Log targets of the embedded AWS services and the simulator, which are ignored.
const IGNORED_TARGETS: [&str; 12] = [
    "embedded_aws",
    "rustack_auth",
    "rustack_core",
    "rustack_events_core",
    "rustack_events_http",
    "rustack_secretsmanager_core",
    "rustack_secretsmanager_http",
    "rustack_sqs_core",
    "rustack_sqs_http",
    "dynoxide",
    "s3s",
    "zoom_sim",
];

thread_local! {
    /// The log of the test on this thread, where all its tasks run.
    static CURRENT: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Distinct log lines in Lambda's format at every level.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<HashSet<Vec<u8>>>>);

/// Records lines until it is dropped.
pub(super) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl Log {
    /// Records all log lines of this thread.
    pub(super) fn record(&self) -> Guard {
        subscriber::install();
        CURRENT.set(Some(self.clone()));
        Guard
    }

    /// The lines so far.
    pub(super) fn lines(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().iter().cloned().collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let lines = self.0.lock().unwrap();
        lines.iter().flatten().copied().collect()
    }
}

/// Passes lines to the log of the thread that writes them.
pub(crate) fn lines() -> impl Layer<Registry> {
    let ours = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(IGNORED_TARGETS.map(|name| (name, LevelFilter::OFF)));
    // Ignores the SDK's construction of clients, and the polling of queues, which Lambda does.
    let spoken = filter_fn(|line| line.fields().field("runtime_components").is_none());
    let wanted = dynamic_filter_fn(|_, context: &Context<'_, Registry>| {
        let polls = |span: SpanRef<'_, Registry>| {
            let mut around = span.scope();
            around.any(|span| span.name() == "SQS.ReceiveMessage")
        };
        CURRENT.with_borrow(Option::is_some) && !context.lookup_current().is_some_and(polls)
    });
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .without_time()
        .with_writer(|| CURRENT.with_borrow(Clone::clone).unwrap_or_default())
        .with_filter(ours.and(spoken).and(wanted))
}

impl io::Write for Log {
    /// Receives one whole line at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().insert(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A recorded run: the secrets and the written texts.
pub(super) struct Run {
    pub(super) system: System,
    pub(super) app_webhook: AppWebhook,
    bus: String,
    log: Log,
    pub(super) search: SecretSearch,
    /// Places and the texts written there.
    pub(super) written: Vec<(String, Vec<u8>)>,
    /// Objects that are recorded already: key and ETag.
    objects: HashSet<(String, String)>,
}

impl Run {
    pub(super) async fn begin(log: Log) -> Self {
        let app_webhook = AppWebhook::start().await;
        let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
        system.stack.engines().request_log().start();
        let bus = system.subscribe_to_bus().await;
        let mut search = SecretSearch::default();
        let secrets = &system.config().secrets;
        search.add("the client secret", &secrets.zoom_client_secret);
        search.add("the webhook secret", &secrets.zoom_webhook_secret);
        search.add("the app secret", &secrets.app_secret);
        search.add("the notification secret", &secrets.notification_secret);
        search.add_bytes(
            "the notification secret's bytes",
            &STANDARD.decode(&secrets.notification_secret).unwrap(),
        );
        // Prefixes of all JWTs (`{"typ":`, `{"alg":`) and of all download URLs.
        for header in ["eyJ0eXAiOi", "eyJhbGciOi"] {
            search.add("a JWT", header);
        }
        for part in ["/rec/webhook_download/", "/rec/download/", "/ssrweb/replay/"] {
            search.add("a download URL", part);
        }
        let mut run = Self {
            system,
            app_webhook,
            bus,
            log,
            search,
            written: Vec::new(),
            objects: HashSet::new(),
        };
        for (what, variable, function) in [
            ("the state key", "STATE_KEY", "oauth-start"),
            ("the queue key", "QUEUE_KEY", "webhook"),
        ] {
            let key = run.system.secret_value(function, variable).await;
            run.search.add(what, &key);
        }
        run
    }

    pub(super) fn arm(&self, at: Point, fault: Fault, times: u32) {
        let fault = NewFault::times(at, fault, times);
        self.system.zoom().arm(fault).unwrap();
    }

    /// Adds the live tokens and the credentials of all events sent so far.
    pub(super) fn add_credentials(&mut self) {
        for grant in self.system.zoom().grants() {
            self.search.add("an access token", &grant.access_token);
            self.search.add("a refresh token", &grant.refresh_token);
        }
        for (field, credential) in self.system.event_credentials() {
            self.search.add(&format!("an event's {field}"), &credential);
        }
    }

    /// Visits a page and adds the browser's cookie.
    pub(super) async fn visit(&mut self, browser: &mut Browser, url: &str) -> Visit {
        let visit = browser.visit(url).await;
        if let Some(cookie) = &browser.cookie {
            let (_, value) = cookie.split_once('=').unwrap();
            self.search.add("a browser's cookie", value);
        }
        self.written.push(("a page".to_owned(), visit.body.clone().into_bytes()));
        if let Some(error) = visit.error() {
            self.written.push(("a page's error".to_owned(), error.as_bytes().to_vec()));
        }
        visit
    }

    /// From the app's button to the callback URL, not yet visited.
    pub(super) async fn callback(
        &mut self,
        browser: &mut Browser,
        app_user: &str,
        zoom_user: &str,
    ) -> String {
        let more = json!({"jti": format!("the-jti-of-{app_user}-{zoom_user}")});
        self.search.add("a jti", more["jti"].as_str().unwrap());
        let token = self.system.app.connect_token_with(app_user, more);
        self.search.add("a connect token", &token);
        let start = self.visit(browser, &self.system.app.connect_url(&token)).await;
        let authorize = start.location.unwrap();
        let state = parameter(&authorize, "state");
        let nonce: [u8; 16] = URL_SAFE_NO_PAD.decode(&state).unwrap()[1..17].try_into().unwrap();
        let key = SecretString::from(self.system.secret_value("oauth-start", "STATE_KEY").await);
        let verifier = pkce::verifier(&key, &Nonce::from_random(nonce));
        assert_eq!(
            pkce::challenge(&verifier),
            parameter(&authorize, "code_challenge"),
            "wrong verifier"
        );
        self.search.add("a state", &state);
        self.search.add_bytes("a state's nonce", &nonce);
        self.search.add("a PKCE verifier", verifier.expose_secret());
        // Zoom's consent page is not recorded.
        let callback = self.system.allow(browser, &authorize, zoom_user).await;
        self.search.add("a code", &parameter(&callback, "code"));
        callback
    }

    /// From the app's button to the claim.
    pub(super) async fn consent(&mut self, app_user: &str, zoom_user: &str) -> String {
        let mut browser = self.system.browser();
        let callback = self.callback(&mut browser, app_user, zoom_user).await;
        let claim = self.visit(&mut browser, &callback).await.claim();
        self.search.add("a claim", &claim);
        self.add_credentials();
        claim
    }

    /// Calls the API and records the response.
    pub(super) async fn call(
        &mut self,
        method: Method,
        path: &str,
        user: &str,
        body: Option<Value>,
    ) -> ApiResponse {
        let token = self.system.app.api_token(user);
        self.search.add("an API token", &token);
        let body = body.map(|body| body.to_string());
        let response = self.system.app.call_with(method, path, Some(&token), body).await;
        let text = format!("{:?}\n{}", response.headers, response.body);
        self.written.push((format!("the response to {path}"), text.into_bytes()));
        response
    }

    pub(super) async fn confirm(&mut self, user: &str, claim: &str) -> ApiResponse {
        let body = json!({"claim": claim});
        self.call(Method::POST, "/v1/links/confirm", user, Some(body)).await
    }

    pub(super) async fn link(&mut self, app_user: &str, zoom_user: &str) -> String {
        let claim = self.consent(app_user, zoom_user).await;
        let response = self.confirm(app_user, &claim).await;
        assert_eq!(response.status, 200, "{}", response.body);
        self.process().await;
        response.json()["id"].as_str().unwrap().to_owned()
    }

    /// Processes the queues. Records the bucket before and after, because large events are stored there
    /// temporarily.
    pub(super) async fn process(&mut self) {
        self.record_objects().await;
        self.system.process_queues().await;
        self.system.zoom().wait_until_settled().await;
        self.record_objects().await;
        self.system.process_queues().await;
        self.add_credentials();
    }

    pub(super) async fn record_objects(&mut self) {
        for (key, etag) in self.system.list_objects().await {
            if !self.objects.insert((key.clone(), etag)) {
                continue;
            }
            let (metadata, content_type, _) = self.system.head_object(&key).await;
            let body = self.system.objects(&key).await.remove(&key).unwrap();
            let text = format!("{key} {content_type} {metadata:?}\n");
            let whole = [text.into_bytes(), body].concat();
            self.written.push((format!("the object {key}"), whole));
        }
    }

    /// Ends the run and records everything else.
    pub(super) async fn end(mut self) -> Written {
        self.record_objects().await;
        self.add_credentials();
        let (config, stack) = (self.system.config(), &self.system.stack);
        let mut written = std::mem::take(&mut self.written);
        for table in [&config.tables.links, &config.tables.sessions, &config.tables.recordings] {
            for item in self.system.table_items(table).await {
                written.push((format!("the table {table}"), item.into_bytes()));
            }
        }
        let queues = &config.queues;
        for queue in [
            &queues.events_dlq,
            &queues.downloads_dlq,
            &queues.notifications_dlq,
            &queues.jobs_dlq,
            &self.bus,
        ] {
            for message in self.system.peek_messages(queue).await {
                written.push((format!("the queue {queue}"), message.into_bytes()));
            }
        }
        for notified in self.app_webhook.received() {
            let text = format!("{}\n{}\n{}", notified.id, notified.signature, notified.body);
            written.push(("a notification".to_owned(), text.into_bytes()));
        }
        for sent in stack.engines().request_log().requests() {
            // Secrets Manager and KMS hold secrets by design.
            if !matches!(sent.service, Service::SecretsManager | Service::Kms) {
                let place = format!("{:?} {}", sent.service, sent.operation);
                written.push((place, sent.body.to_vec()));
            }
        }
        written.push(("the log".to_owned(), self.log.bytes()));
        Written { search: self.search, places: written }
    }
}

/// Everything that a run wrote.
pub(super) struct Written {
    pub(super) search: SecretSearch,
    places: Vec<(String, Vec<u8>)>,
}

impl Written {
    /// Whether anything was written at a place with this prefix.
    pub(super) fn has(&self, place: &str) -> bool {
        self.places.iter().any(|(name, _)| name.starts_with(place))
    }

    /// The log.
    pub(super) fn log(&self) -> String {
        let log = self.places.iter().find(|(place, _)| place == "the log");
        String::from_utf8(log.unwrap().1.clone()).unwrap()
    }

    /// Each leaked secret with its place and encoding.
    pub(super) fn leaks(&self) -> BTreeSet<String> {
        let found = |(place, text): &(String, Vec<u8>)| {
            let found = self.search.found_in(text).into_iter();
            found.map(|what| format!("{place}: {what}")).collect::<Vec<_>>()
        };
        self.places.iter().flat_map(found).collect()
    }
}
