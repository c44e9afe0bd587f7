//! A whole system for one test.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use reelay_devstack::{DevConfig, FunctionChange, Options, Queues, Stack, Tables};
use reelay_embedded_aws::{Fault as AwsFault, Faults, LaggingReads};
use reelay_runtime::environment::Environment;
use reelay_zoom_sim::{Control, Fault, NewFault, Point};
use serde_json::Value;

use crate::zoom_users::ADA;
use crate::{App, AppWebhook, Browser};

/// Environment variable with a seed: the indexes of every system lag.
const INDEX_LAG: &str = "REELAY_TEST_INDEX_LAG";

/// Upper bound of the DynamoDB calls after which an index receives a write.
const MAX_INDEX_LAG: u64 = 40;

/// A message reaches its dead-letter queue after 43 receives instead of 235, each of which takes time.
const FEW_RECEIVES: (&str, &str) = ("RetryDays", "1");

/// A running system that processes its queues only when the test says so.
#[derive(Debug)]
pub struct System {
    /// The stack.
    pub stack: Stack,
    /// The app's server.
    pub app: App,
}

impl System {
    /// Starts a system with the template's defaults, except for [`FEW_RECEIVES`].
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// As [`Self::start`], with these template parameters.
    pub async fn with(parameters: &[(&str, &str)]) -> Self {
        let parameters = [FEW_RECEIVES]
            .iter()
            .chain(parameters)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::with_options(Options { parameters, ..Options::default() }).await
    }

    /// Starts a system in this `DownloadMode`, with Alice linked to Ada and an app webhook that accepts an
    /// advanced clock.
    pub async fn linked(download_mode: &str) -> (Self, AppWebhook) {
        Self::linked_with(&[("DownloadMode", download_mode)]).await
    }

    /// As [`Self::linked`], with these template parameters.
    pub async fn linked_with(parameters: &[(&str, &str)]) -> (Self, AppWebhook) {
        let app_webhook = AppWebhook::start().await;
        let url = ("AppWebhookUrl", app_webhook.url.as_str());
        let system = Self::with(&[&[url], parameters].concat()).await;
        system.link("alice", ADA).await;
        (system, app_webhook)
    }

    /// Starts a system with a function whose settings differ from the template.
    pub async fn with_function(change: FunctionChange) -> Self {
        let (name, value) = FEW_RECEIVES;
        let parameters = vec![(name.to_owned(), value.to_owned())];
        Self::with_options(Options { parameters, functions: vec![change], ..Options::default() })
            .await
    }

    /// Starts a system with these options. It does not poll its queues.
    pub async fn with_options(options: Options) -> Self {
        let options = Options { poll: false, ..options };
        let stack = Stack::start(options).await.unwrap();
        if let Ok(seed) = std::env::var(INDEX_LAG) {
            let lag = stack.engines().read_lag();
            lag.start(LaggingReads::Indexes, seed.parse().unwrap(), MAX_INDEX_LAG).unwrap();
        }
        let app = App::new(&stack);
        Self { stack, app }
    }

    /// The simulator.
    pub fn zoom(&self) -> &Control {
        self.stack.simulator().unwrap().control()
    }

    /// Fails each request at a point of the simulator; returns the fault's id.
    pub fn fail(&self, point: Point, fault: Fault) -> u64 {
        self.zoom().arm(NewFault::always(point, fault)).unwrap()
    }

    /// Fails the next requests at a point of the simulator.
    pub fn fail_next(&self, point: Point, fault: Fault, times: u32) -> u64 {
        self.zoom().arm(NewFault::times(point, fault, times)).unwrap()
    }

    /// Faults of the embedded AWS services.
    pub fn faults(&self) -> &Faults {
        self.stack.engines().faults()
    }

    /// Rejects all transactions of DynamoDB but the next, until the faults are cleared.
    pub fn fail_transactions_after_next(&self) {
        let writes = AtomicUsize::new(0);
        self.faults().decide_with(move |_, operation| {
            let is_later =
                operation == "TransactWriteItems" && writes.fetch_add(1, Ordering::Relaxed) > 0;
            is_later.then(|| AwsFault::error(400, "AccessDeniedException"))
        });
    }

    /// Addresses, names and secrets of the stack.
    pub fn config(&self) -> &DevConfig {
        self.stack.config()
    }

    /// The queues' URLs.
    pub fn queues(&self) -> &Queues {
        &self.config().queues
    }

    /// The tables' names.
    pub fn tables(&self) -> &Tables {
        &self.config().tables
    }

    /// Clients of the embedded AWS services.
    pub fn sdk(&self) -> &Environment {
        self.stack.sdk()
    }

    /// Advances the clock.
    pub fn advance(&self, duration: SignedDuration) {
        self.stack.advance(duration);
    }

    /// A new browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser::new(self.stack.url())
    }

    /// Processes the queues. Failed messages are retried at once, until they succeed or reach a dead-letter queue.
    pub async fn process_queues(&self) {
        self.stack.drain_without_pauses().await;
    }

    /// Processes the queues and retries failed downloads at once, as often as delayed messages do: for ten minutes.
    pub async fn process_and_retry(&self) {
        self.process_queues().await;
        while self.stack.engines().queues().end_delays(&self.queues().downloads) > 0 {
            self.process_queues().await;
        }
    }

    /// Advances the clock, runs the schedules, and processes the queues.
    pub async fn maintain_after(&self, duration: SignedDuration) {
        self.advance(duration);
        self.stack.fire_schedules().await.unwrap();
        self.process_queues().await;
    }

    /// Lets time pass in steps, each with a maintenance run. What fails is retried when it is due.
    pub async fn maintain_for(&self, duration: SignedDuration, step: SignedDuration) {
        for _ in 0..duration.as_secs() / step.as_secs() {
            self.advance(step);
            self.stack.fire_schedules().await.unwrap();
            self.stack.drain().await;
        }
    }

    /// Advances the clock as the devstack does for developers: all work that becomes due runs in order.
    pub async fn pass(&self, duration: SignedDuration) {
        let url = format!("{}/_dev/clock", self.stack.url());
        let body = serde_json::json!({"advance_seconds": duration.as_secs()}).to_string();
        let response = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    /// Runs maintenance now, and processes the jobs that follow.
    pub async fn run_maintenance(&self) {
        let job = serde_json::json!({"v": 1, "job": "run_maintenance"});
        self.send_message(&self.queues().jobs, &job.to_string()).await;
        self.process_queues().await;
    }

    /// Links a Zoom user to an app user, up to the notification.
    pub async fn link(&self, app_user: &str, zoom_user: &str) -> Value {
        let claim = self.consent(&mut self.browser(), app_user, zoom_user).await;
        let response = self.app.confirm(app_user, &claim).await;
        assert_eq!(response.status, 200, "{}", response.body);
        self.process_queues().await;
        response.json()
    }

    /// From the app's button to the claim in the return URL.
    pub async fn consent(&self, browser: &mut Browser, app_user: &str, zoom_user: &str) -> String {
        let callback = self.callback(browser, app_user, zoom_user).await;
        browser.visit(&callback).await.claim()
    }

    /// From the app's button to the callback URL, not yet visited.
    pub async fn callback(&self, browser: &mut Browser, app_user: &str, zoom_user: &str) -> String {
        let token = self.app.connect_token(app_user);
        let authorize = self.authorize(browser, &token).await;
        self.allow(browser, &authorize, zoom_user).await
    }

    /// From the app's button to the URL of Zoom's consent page, not yet visited.
    pub async fn authorize(&self, browser: &mut Browser, token: &str) -> String {
        browser.redirect(&self.app.connect_url(token)).await
    }

    /// Consents at Zoom; returns the callback URL, not yet visited.
    pub async fn allow(&self, browser: &mut Browser, authorize: &str, zoom_user: &str) -> String {
        let decision = format!("sim_decision=allow&sim_user={zoom_user}");
        browser.redirect(&format!("{authorize}&{decision}")).await
    }

    /// Declines at Zoom; returns the callback URL, not yet visited.
    pub async fn deny(&self, browser: &mut Browser, authorize: &str) -> String {
        browser.redirect(&format!("{authorize}&sim_decision=deny")).await
    }
}
