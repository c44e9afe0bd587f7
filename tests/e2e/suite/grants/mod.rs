//! The life of links and of the grant that they share: disconnect, deauthorization, refresh, interruption,
//! backfill.

mod accounts;
mod activation;
mod backfill;
mod backfill_requested;
mod breaker;
mod candidates;
mod client_secret;
mod clients;
mod deauthorization;
mod disconnecting;
mod interruption;
mod listing;
mod listing_time;
mod maintenance;
mod marking_revoked;
mod outbox;
mod reconciliation;
mod refresh;
mod revival;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::{GrantState, GrantStatus};
use reelay_embedded_aws::Service;
use reelay_grants::{GrantError, Grants};
use reelay_runtime::environment::Environment;
use reelay_store::links::{GrantSnapshot, LinkTable};
use reelay_store::vault::{TokenOwner, Vault};
use reelay_zoom_sim::{DeliveryState, Fault, NewFile, NewRecording, Point, Recording};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use support::System;
use support::app::ApiResponse;
use support::zoom_users::ADA;

/// Longer than the life of an access token.
const ACCESS_TOKEN_ENDS: SignedDuration = SignedDuration::from_secs(3_700);

/// A system whose notifications are read from the event bus, which accepts any clock.
struct Scene {
    system: System,
    bus: String,
}

impl Deref for Scene {
    type Target = System;

    fn deref(&self) -> &System {
        &self.system
    }
}

/// Whether only the items that lead to the recordings are left under a key.
fn is_empty(stored: &GrantSnapshot) -> bool {
    let is_gone = stored.grant_state() == GrantState::default() && stored.outbox.is_empty();
    is_gone && stored.erasure.is_none()
}

impl Scene {
    async fn open() -> Self {
        Self::with(&[]).await
    }

    async fn with(parameters: &[(&str, &str)]) -> Self {
        let system = System::with(&[&[("AppWebhookUrl", "")], parameters].concat()).await;
        let bus = system.subscribe_to_bus().await;
        Self { system, bus }
    }

    /// Links these app users to Ada.
    async fn linked(app_users: &[&str]) -> Self {
        let scene = Self::open().await;
        for app_user in app_users {
            scene.link(app_user, ADA).await;
        }
        scene
    }

    /// The number of distinct `link.` notifications of each type to this app user.
    async fn notified(&self, app_user: &str) -> BTreeMap<String, usize> {
        let (mut counts, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for event in self.peek_messages(&self.bus).await {
            let event: Value = serde_json::from_str(&event).unwrap();
            let detail = &event["detail"];
            let kind = detail["type"].as_str().unwrap();
            if kind.starts_with("link.")
                && detail["data"]["app_user_id"] == app_user
                && seen.insert(detail["id"].to_string())
            {
                *counts.entry(kind.to_owned()).or_default() += 1;
            }
        }
        counts
    }

    async fn assert_notified<const N: usize>(&self, app_user: &str, expected: [(&str, usize); N]) {
        let expected = expected.map(|(kind, count)| (format!("link.{kind}"), count));
        assert_eq!(self.notified(app_user).await, expected.into(), "{app_user}");
    }

    /// The number of `link.removed` notifications to this app user.
    async fn removals(&self, app_user: &str) -> usize {
        let notified = self.notified(app_user).await;
        notified.get("link.removed").copied().unwrap_or_default()
    }

    /// The grant, links and outbox of a Zoom user as stored.
    async fn snapshot(&self, zoom_user: &str) -> GrantSnapshot {
        let links = LinkTable::new(self.environment()).unwrap();
        links.snapshot(&self.zoom_user(zoom_user)).await.unwrap()
    }

    fn environment(&self) -> &Environment {
        self.stack.function_environment("reconciler").unwrap()
    }

    fn zoom_user(&self, id: &str) -> ZoomUser {
        let users = self.zoom().users();
        let user = users.iter().find(|user| user.id == id).unwrap();
        ZoomUser { account_id: user.account_id.parse().unwrap(), user_id: user.id.parse().unwrap() }
    }

    /// A new instance of the token source that all functions use.
    fn grants(&self) -> Grants {
        Grants::new(self.environment()).unwrap()
    }

    /// Refreshes Ada's expired token and asserts that Zoom revoked the grant.
    async fn assert_refresh_finds_revocation(&self) {
        let result = self.grants().access_token(&self.zoom_user(ADA)).await;
        let revoked = matches!(result, Err(GrantError::ReauthorizationRequired));
        assert!(revoked, "{result:?}");
    }

    /// Asserts that the stored tokens are the ones that Zoom accepts.
    async fn assert_served(&self, zoom_user: &str) {
        let grant = self.snapshot(zoom_user).await.grant.unwrap();
        assert_eq!(grant.status, GrantStatus::Live);
        let owner = TokenOwner::Grant(self.zoom_user(zoom_user));
        let vault = Vault::new(self.environment()).unwrap();
        let tokens = vault.decrypt(&owner, &grant.tokens.unwrap()).await.unwrap();
        let live = self.zoom().live_grant(zoom_user).unwrap();
        let same = tokens.access_token.expose_secret() == live.access_token
            && tokens.refresh_token.expose_secret() == live.refresh_token;
        assert!(same, "the stored tokens are not the live ones");
    }

    /// Asserts that neither Zoom nor the table has a grant of this Zoom user.
    async fn assert_gone(&self, zoom_user: &str) {
        let stored = self.snapshot(zoom_user).await;
        assert!(is_empty(&stored), "left in the table: {stored:?}");
        let live = self.zoom().live_grant(zoom_user);
        assert!(live.is_none(), "still live at Zoom");
    }

    async fn assert_status(&self, app_user: &str, expected: &[&str]) {
        let links = self.app.links(app_user).await;
        let found: Vec<_> = links.iter().map(|link| &link["status"]).collect();
        assert_eq!(found, expected, "{app_user}");
    }

    async fn link_id(&self, app_user: &str) -> Value {
        self.app.links(app_user).await[0]["id"].clone()
    }

    async fn disconnect(&self, app_user: &str, id: &Value) -> ApiResponse {
        let path = format!("/v1/links/{}", id.as_str().unwrap());
        self.app.call(Method::DELETE, &path, app_user).await
    }

    /// Disconnects the user's first link; returns its id.
    async fn disconnect_first(&self, app_user: &str) -> Value {
        let id = self.link_id(app_user).await;
        assert_eq!(self.disconnect(app_user, &id).await.status, 204);
        id
    }

    /// Processes the queues, and the events that Zoom sends in response.
    async fn settle(&self) {
        self.process_queues().await;
        self.zoom().wait_until_settled().await;
        self.process_queues().await;
    }

    async fn send_job(&self, job: Value) {
        self.send_message(&self.queues().jobs, &job.to_string()).await;
    }

    /// Sends a job about Ada's grant and processes it.
    async fn run_job(&self, name: &str) {
        let user = self.zoom_user(ADA);
        self.send_job(json!({"v": 1, "job": name, "zoom_user": user})).await;
        self.settle().await;
    }

    /// Exchanges that are not finished.
    async fn exchanges(&self) -> BTreeSet<String> {
        let scan = self.sdk().dynamodb().scan();
        let scan = scan.table_name(&self.tables().sessions).send().await;
        let items = scan.unwrap().items.unwrap_or_default();
        let ids = items.iter().map(|item| item["id"].as_s().unwrap().clone());
        ids.filter(|id| id.starts_with("exchange#")).collect()
    }

    /// Delivers the delayed jobs that finish these exchanges.
    async fn finish(&self, exchanges: &BTreeSet<String>) {
        for exchange in exchanges {
            self.send_job(json!({"v": 1, "job": "finish_connect", "exchange": exchange})).await;
        }
        self.settle().await;
    }

    async fn finish_all(&self) {
        self.finish(&self.exchanges().await).await;
    }

    /// Consents as this app user while `users/me` fails; returns the exchange.
    async fn interrupted(&self, app_user: &str) -> BTreeSet<String> {
        let before = self.exchanges().await;
        let mut browser = self.browser();
        let callback = self.callback(&mut browser, app_user, ADA).await;
        self.fail_next(Point::UsersMe, Fault::Status { status: 500 }, 1);
        let visit = browser.visit(&callback).await;
        assert_eq!(visit.zoom_error(), "zoom_unavailable");
        let begun = &self.exchanges().await - &before;
        assert_eq!(begun.len(), 1);
        begun
    }

    /// Jobs in the dead-letter queue.
    async fn dead_jobs(&self) -> Vec<String> {
        self.peek_messages(&self.queues().jobs_dlq).await
    }

    async fn redrive(&self, jobs: &[String]) {
        for job in jobs {
            self.send_message(&self.queues().jobs, job).await;
        }
        self.settle().await;
    }

    /// Makes each request for a data key take so long.
    fn delay_kms(&self, delay: SignedDuration) {
        let clock = self.stack.clock().clone();
        self.faults().decide_with(move |service, operation| {
            if service == Service::Kms && operation == "GenerateDataKey" {
                clock.advance(delay);
            }
            None
        });
    }

    fn refreshes(&self) -> usize {
        let requests = self.zoom().requests();
        let refreshes =
            requests.iter().filter(|request| request.detail.as_deref() == Some("refresh"));
        refreshes.count()
    }

    /// The Zoom user removes the app, and Zoom sends no event.
    async fn remove_silently(&self, zoom_user: &str) {
        let zoom = self.zoom();
        let url = zoom.settings().deauthorize_url;
        zoom.change_settings(|config| config.deauthorize_url = None);
        let id = zoom.deauthorize(zoom_user).unwrap();
        let delivery = zoom.wait_for_attempts(id, 1).await.unwrap();
        assert_eq!(delivery.state, DeliveryState::Dropped);
        zoom.change_settings(|config| config.deauthorize_url = url);
    }

    /// Waits until an event is received, and processes it.
    async fn delivered(&self, id: u64) {
        self.await_delivery(id).await;
        self.process_queues().await;
    }

    /// Rotates the client secret in Secrets Manager.
    async fn set_client_secret(&self, client_secret: &str) {
        self.set_client(&self.config().secrets.zoom_client_id, client_secret).await;
    }

    /// Puts credentials of a Zoom client into Secrets Manager; the ones before become AWSPREVIOUS.
    async fn set_client(&self, client_id: &str, client_secret: &str) {
        let secrets = &self.config().secrets;
        let value = json!({
            "client_id": client_id,
            "client_secret": client_secret,
            "webhook_secret": secrets.zoom_webhook_secret,
        });
        self.rotate_function_secret("oauth-start", "ZOOM_SECRET", &value.to_string()).await;
    }
}

fn small(zoom_user: &str) -> NewRecording {
    NewRecording::of(zoom_user).with_files(vec![NewFile::new("MP4", 100)])
}

/// A recording of Ada for which Zoom sends no event.
fn unannounced(scene: &Scene, age: SignedDuration) -> Recording {
    let new = NewRecording { start_time: Some(scene.app.now() - age), silent: true, ..small(ADA) };
    scene.zoom().create_recording(new).unwrap().recording
}

/// Requests a backfill of the last days and processes it.
async fn backfill(scene: &Scene, app_user: &str, days: i64) {
    let now = scene.app.now();
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    let from = day(now - SignedDuration::from_hours(24 * days));
    let body = json!({"from": from, "to": day(now)}).to_string();
    let response = scene.app.post("/v1/backfill", app_user, body).await;
    assert_eq!(response.status, 202, "{response:?}");
    scene.process_queues().await;
}
