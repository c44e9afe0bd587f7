//! Metrics that the functions write.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{Fault, NewFile, NewRecording, Point, Target};
use reqwest::Method;
use serde_json::json;
use support::System;
use support::zoom_users::ADA;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::subscriber;

thread_local! {
    /// The metrics of the test on this thread, where all its tasks run.
    static CURRENT: RefCell<Option<Measured>> = const { RefCell::new(None) };
}

/// The metrics of one thread.
#[derive(Clone, Default)]
struct Measured(Arc<Mutex<Vec<One>>>);

/// Records metrics until it is dropped.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// Passes metrics to the test of the same thread.
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
        if let Some(Measured(all)) = CURRENT.with_borrow(Clone::clone) {
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
    /// Records metrics until the guard is dropped.
    fn begin() -> (Self, Guard) {
        subscriber::install();
        let measured = Self::default();
        CURRENT.set(Some(measured.clone()));
        (measured, Guard)
    }

    /// Values of a metric with their reasons.
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
async fn retry_run_records_age_of_oldest_check() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.fail(Point::Download, Fault::Status { status: 500 });
    system.record(two_files()).await;
    system.maintain_after(SignedDuration::from_mins(1)).await;
    assert_eq!(measured.of("OldestCheckSeconds"), []);
    // The checks were due half an hour after the first failure.
    system.maintain_after(SignedDuration::from_hours(3)).await;
    let ages = measured.of("OldestCheckSeconds");
    assert!(ages[0].1 > 2.0 * 3_600.0 && ages[0].1 < 3.0 * 3_600.0, "{ages:?}");
}

#[tokio::test]
async fn every_file_records_event_to_bucket_latency() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.complete_recording(two_files()).await;
    system.advance(SignedDuration::from_secs(90));
    system.process_queues().await;
    let took = measured.of("WebhookToBucketSeconds");
    assert_eq!(took.len(), 2, "{took:?}");
    for (reason, seconds) in took {
        assert_eq!(reason, "");
        assert!((90.0..600.0).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn on_demand_and_backfill_record_no_latency() {
    let (measured, _guard) = Measured::begin();
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    system.complete_recording(two_files()).await;
    system.process_queues().await;
    let id = system.app.recordings("alice").await[0]["id"].clone();
    let path = format!("/v1/recordings/{}/download", id.as_str().unwrap());
    assert_eq!(system.app.call(Method::POST, &path, "alice").await.status, 202);
    system.process_queues().await;
    assert_eq!(measured.of("FilesStored").len(), 2);

    let system = System::start().await;
    // No user is linked yet, so only the initial backfill finds the recording.
    system.complete_recording(two_files()).await;
    system.process_queues().await;
    system.link("alice", ADA).await;
    system.process_queues().await;
    assert_eq!(measured.of("FilesStored").len(), 4);
    assert_eq!(measured.of("WebhookToBucketSeconds"), []);
}

#[tokio::test]
async fn maintenance_writes_heartbeat_and_counts_dead_letters() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    system.run_maintenance().await;
    assert_eq!(measured.of("MaintenanceRuns"), [("ok".to_owned(), 1.0)]);
    assert_eq!(measured.of("DeadLetters"), []);
    let queues = system.queues();
    for dlq in [&queues.jobs_dlq, &queues.jobs_dlq, &queues.events_dlq] {
        system.send_message(dlq, "{}").await;
    }
    // A run that fails writes none.
    let down = AwsFault::error(500, "InternalServerError");
    system.faults().fail_until_cleared(Service::DynamoDb, "Query", down);
    system.run_maintenance().await;
    assert_eq!(measured.of("MaintenanceRuns").len(), 1);
    let counted = [("events".to_owned(), 1.0), ("jobs".to_owned(), 2.0)];
    assert_eq!(measured.of("DeadLetters"), counted);
}

#[tokio::test]
async fn only_zooms_url_validations_are_counted() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    let validation = system.zoom().validate(Target::Webhook).await;
    assert!(validation.ok, "{validation:?}");
    let own = json!({
        "event": "endpoint.url_validation", "event_ts": 1,
        "payload": {"plainToken": format!("{}1", reelay_domain::webhook::endpoint_validation::DOCTOR_TOKEN_PREFIX)},
    });
    let response = system
        .post_signed("/zoom/webhook", own.to_string().as_bytes(), &system.webhook_secret())
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(measured.of("UrlValidations"), [("ok".to_owned(), 1.0)]);
}

#[tokio::test]
async fn failed_refresh_is_counted_with_lost_links() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    for user in ["alice", "bob"] {
        system.link(user, ADA).await;
    }
    system.zoom().change_settings(|settings| settings.webhooks_enabled = false);
    system.zoom().deauthorize(ADA).unwrap();
    system.advance(SignedDuration::from_hours(2));
    let today = system.app.now().strftime("%Y-%m-%d").to_string();
    let body = json!({"from": today, "to": today}).to_string();
    let token = system.app.api_token("alice");
    let response =
        system.app.call_with(Method::POST, "/v1/backfill", Some(&token), Some(body)).await;
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(measured.of("RefreshesFailed"), []);
    system.process_queues().await;
    let failed = measured.of("RefreshesFailed");
    assert_eq!(failed, [("invalid_grant".to_owned(), 1.0)]);
    let links = measured.of("LinksReauthorizationRequired");
    assert_eq!(links, [("refused_by_zoom".to_owned(), 2.0)]);
}

#[tokio::test]
async fn case_16_missing_signature_has_a_reason_of_its_own() {
    let (measured, _guard) = Measured::begin();
    let system = System::start().await;
    let fixture = include_str!("../../../fixtures/zoom_cases/16_other_header.json");
    let fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
    let mut request = reqwest::Client::new().post(format!("{}/zoom/webhook", system.stack.url()));
    for (name, value) in fixture["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    let response = request.body(fixture["body"].to_string()).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(measured.of("WebhooksRejected"), [("signature_absent".to_owned(), 1.0)]);
}
