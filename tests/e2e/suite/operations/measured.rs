//! What the functions measure while they work.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use reelay_zoom_sim::{NewFile, NewRecording, Target};
use reqwest::Method;
use serde_json::json;
use support::people::ADA;
use support::{System, zoom};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::listening;

thread_local! {
    /// What the test that runs on this thread has measured. All tasks of a test run there, too.
    static KEPT: RefCell<Option<Measured>> = const { RefCell::new(None) };
}

/// Everything that was measured on a thread.
#[derive(Clone, Default)]
struct Measured(Arc<Mutex<Vec<One>>>);

/// Keeps values until it is dropped.
struct Keeping;

impl Drop for Keeping {
    fn drop(&mut self) {
        KEPT.set(None);
    }
}

/// Hands values to the test of the thread that measures them.
struct Values;

#[derive(Debug, Clone, Default)]
struct One {
    name: String,
    reason: String,
    value: f64,
}

impl Visit for One {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "name" => value.clone_into(&mut self.name),
            "reason" => value.clone_into(&mut self.reason),
            _ => {}
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a test are small")]
    fn record_u64(&mut self, _: &Field, value: u64) {
        self.value = value as f64;
    }

    fn record_f64(&mut self, _: &Field, value: f64) {
        self.value = value;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber> Layer<S> for Values {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if let Some(Measured(all)) = KEPT.with_borrow(Clone::clone) {
            let mut one = One::default();
            event.record(&mut one);
            all.lock().unwrap().push(one);
        }
    }
}

pub(crate) fn values<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    Values.with_filter(filter_fn(|event| event.target() == "metric"))
}

impl Measured {
    /// From now on, until the guard is dropped.
    fn begin() -> (Self, Keeping) {
        listening::begin();
        let measured = Self::default();
        KEPT.set(Some(measured.clone()));
        (measured, Keeping)
    }

    /// Values of a metric, each with its reason.
    fn of(&self, name: &str) -> Vec<(String, f64)> {
        let all = self.0.lock().unwrap();
        let found = all.iter().filter(|one| one.name == name);
        found.map(|one| (one.reason.clone(), one.value)).collect()
    }
}

fn two_files() -> NewRecording {
    let files = vec![NewFile::new("MP4", 300), NewFile::new("M4A", 100)];
    NewRecording::of(ADA).with_files(files)
}

#[tokio::test]
async fn each_file_tells_how_long_it_took_from_its_event_to_the_bucket() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    system.link("alice", ADA).await;
    zoom::complete(&system, two_files()).await;
    system.stack.advance(SignedDuration::from_secs(90));
    system.work().await;
    let took = measured.of("WebhookToBucketSeconds");
    assert_eq!(took.len(), 2, "{took:?}");
    for (reason, seconds) in took {
        assert_eq!(reason, "");
        assert!((90.0..600.0).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn what_waits_for_the_app_or_is_read_from_a_list_says_nothing_of_how_fast_we_are() {
    let (measured, _guard) = Measured::begin();
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    zoom::complete(&system, two_files()).await;
    system.work().await;
    let id = system.app.recordings("alice").await[0]["id"].clone();
    let path = format!("/v1/recordings/{}/download", id.as_str().unwrap());
    assert_eq!(
        system.app.call(Method::POST, &path, "alice").await.status,
        202
    );
    system.work().await;
    assert_eq!(measured.of("FilesStored").len(), 2);

    let system = System::start().await;
    // Before anybody has linked: the list of the last two days is all that tells of it.
    zoom::complete(&system, two_files()).await;
    system.work().await;
    system.link("alice", ADA).await;
    system.work().await;
    assert_eq!(measured.of("FilesStored").len(), 4);
    assert_eq!(measured.of("WebhookToBucketSeconds"), []);
}

#[tokio::test]
async fn zooms_validations_are_counted_and_our_own_are_not() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    let validation = system.zoom().validate(Target::Webhook).await;
    assert!(validation.ok, "{validation:?}");
    let own = json!({
        "event": "endpoint.url_validation", "event_ts": 1,
        "payload": {"plainToken": format!("{}1", reelay_domain::webhook::endpoint_validation::DOCTOR_TOKEN_PREFIX)},
    });
    let answer = zoom::ask(
        &system,
        "/zoom/webhook",
        own.to_string().as_bytes(),
        &zoom::secret(&system),
    )
    .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(measured.of("UrlValidations"), [("ok".to_owned(), 1.0)]);
}

#[tokio::test]
async fn a_refresh_that_zoom_does_not_grant_is_counted_with_the_links_that_it_costs() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    for user in ["alice", "bob"] {
        system.link(user, ADA).await;
    }
    system
        .zoom()
        .change_settings(|settings| settings.webhooks_enabled = false);
    system.zoom().deauthorize(ADA).unwrap();
    system.stack.advance(SignedDuration::from_hours(2));
    let today = system.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": today, "to": today}).to_string();
    let token = system.app.api_token("alice");
    let answer = system
        .app
        .call_with(Method::POST, "/v1/backfill", Some(&token), Some(body))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(measured.of("RefreshesFailed"), []);
    system.work().await;
    let failed = measured.of("RefreshesFailed");
    assert_eq!(failed, [("invalid_grant".to_owned(), 1.0)]);
    let links = measured.of("LinksReauthorizationRequired");
    assert_eq!(links, [("refused_by_zoom".to_owned(), 2.0)]);
}
