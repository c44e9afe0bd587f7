//! A run of the system in which everything that is written is kept, and everything that must stand nowhere
//! is noted.
//!
//! What the stand-ins for AWS and Zoom log is theirs; what the AWS SDK, the HTTP clients and our own
//! crates log is kept.

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
use support::app::Answer;
use support::{Browser, Inbox, System, Visit, store, zoom};
use tracing_subscriber::filter::{
    FilterExt as _, LevelFilter, Targets, dynamic_filter_fn, filter_fn,
};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{Registry, SpanRef};

use super::needles::Needles;
use crate::linking::parameter;
use crate::listening;

/// Stand-ins for AWS and Zoom.
const STAND_INS: [&str; 12] = [
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
    /// The log of the test that runs on this thread. All tasks of a test run there, too.
    static KEPT: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// What the functions wrote into their logs, in the form that they have in Lambda, but at every level. The
/// same line is kept once: the SDK says much, and says it often.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<HashSet<Vec<u8>>>>);

/// Keeps lines until it is dropped.
pub(super) struct Keeping;

impl Drop for Keeping {
    fn drop(&mut self) {
        KEPT.set(None);
    }
}

impl Log {
    /// Keeps all that this thread logs.
    pub(super) fn keep(&self) -> Keeping {
        listening::begin();
        KEPT.set(Some(self.clone()));
        Keeping
    }

    fn bytes(&self) -> Vec<u8> {
        let lines = self.0.lock().unwrap();
        lines.iter().flatten().copied().collect()
    }
}

/// Hands lines to the log of the thread that logs them.
pub(crate) fn lines() -> impl Layer<Registry> {
    let ours = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(STAND_INS.map(|name| (name, LevelFilter::OFF)));
    // Left out: what a client of the SDK is made of, told before each of its calls, and the polling of
    // queues, which is Lambda's.
    let spoken = filter_fn(|line| line.fields().field("runtime_components").is_none());
    let wanted = dynamic_filter_fn(|_, context: &Context<'_, Registry>| {
        let polls = |span: SpanRef<'_, Registry>| {
            let mut around = span.scope();
            around.any(|span| span.name() == "SQS.ReceiveMessage")
        };
        KEPT.with_borrow(Option::is_some) && !context.lookup_current().is_some_and(polls)
    });
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .without_time()
        .with_writer(|| KEPT.with_borrow(Clone::clone).unwrap_or_default())
        .with_filter(ours.and(spoken).and(wanted))
}

impl io::Write for Log {
    /// Gets one whole line at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().insert(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run: what must stand nowhere, and what was written.
pub(super) struct Run {
    pub(super) system: System,
    pub(super) inbox: Inbox,
    bus: String,
    log: Log,
    pub(super) needles: Needles,
    /// Places and what was written there.
    pub(super) written: Vec<(String, Vec<u8>)>,
    /// Objects that were looked at: key and ETag.
    objects: HashSet<(String, String)>,
}

impl Run {
    pub(super) async fn begin(log: Log) -> Self {
        let inbox = Inbox::open().await;
        let system = System::with(&[("AppWebhookUrl", &inbox.url)]).await;
        system.stack.engines().request_log().start();
        let bus = store::listen_to_bus(&system.stack).await;
        let mut needles = Needles::default();
        let secrets = &system.stack.config().secrets;
        needles.add("the client secret", &secrets.zoom_client_secret);
        needles.add("the webhook secret", &secrets.zoom_webhook_secret);
        needles.add("the app secret", &secrets.app_secret);
        needles.add("the notification secret", &secrets.notification_secret);
        needles.add_bytes(
            "the notification secret's bytes",
            &STANDARD.decode(&secrets.notification_secret).unwrap(),
        );
        // Tokens and addresses that nobody gets to see here: what every JWT begins with, `{"typ":` or
        // `{"alg":`, and the paths of all downloads.
        for header in ["eyJ0eXAiOi", "eyJhbGciOi"] {
            needles.add("a JWT", header);
        }
        for part in [
            "/rec/webhook_download/",
            "/rec/download/",
            "/ssrweb/replay/",
        ] {
            needles.add("a download URL", part);
        }
        let mut run = Self {
            system,
            inbox,
            bus,
            log,
            needles,
            written: Vec::new(),
            objects: HashSet::new(),
        };
        for (what, variable, function) in [
            ("the state key", "STATE_KEY", "oauth-start"),
            ("the queue key", "QUEUE_KEY", "webhook"),
        ] {
            let key = run.secret(function, variable).await;
            run.needles.add(what, &key);
        }
        run
    }

    async fn secret(&self, function: &str, variable: &str) -> String {
        let environment = self.system.stack.function_environment(function).unwrap();
        let id = environment.variables.required(variable).unwrap();
        let secrets = self.system.stack.sdk().secretsmanager();
        let value = secrets.get_secret_value().secret_id(id).send().await;
        value.unwrap().secret_string.unwrap()
    }

    pub(super) fn arm(&self, at: Point, fault: Fault, times: u32) {
        let fault = NewFault::times(at, fault, times);
        self.system.zoom().arm(fault).unwrap();
    }

    /// The pairs that Zoom honours now, and what the events sent so far hold.
    pub(super) fn learn(&mut self) {
        for grant in self.system.zoom().grants() {
            self.needles.add("an access token", &grant.access_token);
            self.needles.add("a refresh token", &grant.refresh_token);
        }
        for (field, credential) in zoom::named_credentials(&self.system) {
            self.needles
                .add(&format!("an event's {field}"), &credential);
        }
    }

    /// A visit, and what it brought that no other place may have.
    pub(super) async fn visit(&mut self, browser: &mut Browser, url: &str) -> Visit {
        let visit = browser.visit(url).await;
        if let Some(cookie) = &browser.cookie {
            let (_, value) = cookie.split_once('=').unwrap();
            self.needles.add("a browser's cookie", value);
        }
        self.written
            .push(("a page".to_owned(), visit.body.clone().into_bytes()));
        if let Some(error) = visit.error() {
            self.written
                .push(("a page's error".to_owned(), error.as_bytes().to_vec()));
        }
        visit
    }

    /// From the app's button to where Zoom sends the browser back, not yet visited.
    pub(super) async fn callback(
        &mut self,
        browser: &mut Browser,
        app_user: &str,
        zoom_user: &str,
    ) -> String {
        let more = json!({"jti": format!("the-jti-of-{app_user}-{zoom_user}")});
        self.needles.add("a jti", more["jti"].as_str().unwrap());
        let token = self.system.app.connect_token_with(app_user, more);
        self.needles.add("a connect token", &token);
        let start = self
            .visit(browser, &self.system.app.connect_url(&token))
            .await;
        let authorize = start.location.unwrap();
        let state = parameter(&authorize, "state");
        let nonce: [u8; 16] = URL_SAFE_NO_PAD.decode(&state).unwrap()[1..17]
            .try_into()
            .unwrap();
        let key = SecretString::from(self.secret("oauth-start", "STATE_KEY").await);
        let verifier = pkce::verifier(&key, &Nonce::from_random(nonce));
        assert_eq!(
            pkce::challenge(&verifier),
            parameter(&authorize, "code_challenge"),
            "this is not the verifier"
        );
        self.needles.add("a state", &state);
        self.needles.add_bytes("a state's nonce", &nonce);
        self.needles
            .add("a PKCE verifier", verifier.expose_secret());
        // The consent page is Zoom's.
        let back = self.system.allow(browser, &authorize, zoom_user).await;
        self.needles.add("a code", &parameter(&back, "code"));
        back
    }

    /// From the app's button to the claim.
    pub(super) async fn consent(&mut self, app_user: &str, zoom_user: &str) -> String {
        let mut browser = self.system.browser();
        let back = self.callback(&mut browser, app_user, zoom_user).await;
        let claim = self.visit(&mut browser, &back).await.claim();
        self.needles.add("a claim", &claim);
        self.learn();
        claim
    }

    /// The app's server calls, and its answer is looked through.
    pub(super) async fn call(
        &mut self,
        method: Method,
        path: &str,
        user: &str,
        body: Option<Value>,
    ) -> Answer {
        let token = self.system.app.api_token(user);
        self.needles.add("an API token", &token);
        let body = body.map(|body| body.to_string());
        let answer = self
            .system
            .app
            .call_with(method, path, Some(&token), body)
            .await;
        let text = format!("{:?}\n{}", answer.headers, answer.body);
        self.written
            .push((format!("the answer to {path}"), text.into_bytes()));
        answer
    }

    pub(super) async fn confirm(&mut self, user: &str, claim: &str) -> Answer {
        let body = json!({"claim": claim});
        self.call(Method::POST, "/v1/links/confirm", user, Some(body))
            .await
    }

    pub(super) async fn link(&mut self, app_user: &str, zoom_user: &str) -> String {
        let claim = self.consent(app_user, zoom_user).await;
        let answer = self.confirm(app_user, &claim).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.work().await;
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Works off the queues. What lies in the bucket before and after is looked through: large events lie
    /// there only for a while.
    pub(super) async fn work(&mut self) {
        self.keep_objects().await;
        self.system.work().await;
        self.system.zoom().wait_until_settled().await;
        self.keep_objects().await;
        self.system.work().await;
        self.learn();
    }

    pub(super) async fn keep_objects(&mut self) {
        let stack = &self.system.stack;
        for (key, etag) in store::listed(stack).await {
            if !self.objects.insert((key.clone(), etag)) {
                continue;
            }
            let (metadata, content_type, _) = store::head(stack, &key).await;
            let body = store::objects(stack, &key).await.remove(&key).unwrap();
            let text = format!("{key} {content_type} {metadata:?}\n");
            let whole = [text.into_bytes(), body].concat();
            self.written.push((format!("the object {key}"), whole));
        }
    }

    /// Everything else that was written.
    pub(super) async fn end(mut self) -> Written {
        self.keep_objects().await;
        self.learn();
        let (config, stack) = (self.system.stack.config(), &self.system.stack);
        let mut written = std::mem::take(&mut self.written);
        for table in [
            &config.tables.links,
            &config.tables.sessions,
            &config.tables.recordings,
        ] {
            for item in store::items(stack, table).await {
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
            for message in store::peek(stack, queue).await {
                written.push((format!("the queue {queue}"), message.into_bytes()));
            }
        }
        for told in self.inbox.told() {
            let text = format!("{}\n{}\n{}", told.id, told.signature, told.body);
            written.push(("a notification".to_owned(), text.into_bytes()));
        }
        for sent in stack.engines().request_log().requests() {
            // Secrets Manager and KMS are where secrets belong; neither keeps what it is asked.
            if !matches!(sent.service, Service::SecretsManager | Service::Kms) {
                let place = format!("{:?} {}", sent.service, sent.operation);
                written.push((place, sent.body.to_vec()));
            }
        }
        written.push(("the log".to_owned(), self.log.bytes()));
        Written {
            needles: self.needles,
            places: written,
        }
    }
}

/// What a run has left.
pub(super) struct Written {
    pub(super) needles: Needles,
    places: Vec<(String, Vec<u8>)>,
}

impl Written {
    /// Whether anything was written at a place whose name begins so.
    pub(super) fn has(&self, place: &str) -> bool {
        self.places.iter().any(|(name, _)| name.starts_with(place))
    }

    /// The log.
    pub(super) fn log(&self) -> String {
        let log = self.places.iter().find(|(place, _)| place == "the log");
        String::from_utf8(log.unwrap().1.clone()).unwrap()
    }

    /// Where which secret stands, and in which form.
    pub(super) fn leaks(&self) -> BTreeSet<String> {
        let found = |(place, text): &(String, Vec<u8>)| {
            let found = self.needles.found_in(text).into_iter();
            found
                .map(|what| format!("{place}: {what}"))
                .collect::<Vec<_>>()
        };
        self.places.iter().flat_map(found).collect()
    }
}
