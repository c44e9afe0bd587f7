//! The life of links and of the grant that they share: given up, deauthorized, refreshed, interrupted, and
//! what a new link brings with it.

mod accounts;
mod backfill;
mod client_secret;
mod condemning;
mod deauthorization;
mod disconnecting;
mod interruption;
mod outbox;
mod refresh;
mod token_ladder;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::GrantStatus;
use reelay_grants::Grants;
use reelay_store::links::{GrantSnapshot, LinkTable};
use reelay_store::vault::{TokenOwner, Vault};
use reelay_zoom_sim::{DeliveryState, Fault, NewFault, NewFile, NewRecording, Point, Recording};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use support::people::ADA;
use support::{System, store};

/// Longer than an access token lives.
const ACCESS_TOKEN_ENDS: SignedDuration = SignedDuration::from_secs(3_700);

/// A system whose facts are read from the event bus: its time may move as it likes.
struct Scene {
    system: System,
    bus: String,
}

impl Scene {
    async fn open() -> Self {
        Self::with(&[]).await
    }

    async fn with(parameters: &[(&str, &str)]) -> Self {
        let system = System::with(&[&[("AppWebhookUrl", "")], parameters].concat()).await;
        let bus = store::listen_to_bus(&system.stack).await;
        Self { system, bus }
    }

    /// With these app users linked to Ada's Zoom.
    async fn linked(app_users: &[&str]) -> Self {
        let scene = Self::open().await;
        for app_user in app_users {
            scene.system.link(app_user, ADA).await;
        }
        scene
    }

    /// How many facts of each type this app user's app was told about links.
    async fn told(&self, app_user: &str) -> BTreeMap<String, usize> {
        let (mut facts, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for event in store::peek(&self.system.stack, &self.bus).await {
            let event: Value = serde_json::from_str(&event).unwrap();
            let detail = &event["detail"];
            let kind = detail["type"].as_str().unwrap();
            if kind.starts_with("link.")
                && detail["data"]["app_user_id"] == app_user
                && seen.insert(detail["id"].to_string())
            {
                *facts.entry(kind.to_owned()).or_default() += 1;
            }
        }
        facts
    }

    async fn assert_told<const N: usize>(&self, app_user: &str, expected: [(&str, usize); N]) {
        let expected = expected.map(|(kind, count)| (format!("link.{kind}"), count));
        assert_eq!(self.told(app_user).await, expected.into(), "{app_user}");
    }

    /// How often this app user's app was told that a link is gone.
    async fn removals(&self, app_user: &str) -> usize {
        let told = self.told(app_user).await;
        told.get("link.removed").copied().unwrap_or_default()
    }

    async fn holding(&self, zoom_user: &str) -> GrantSnapshot {
        let environment = self
            .system
            .stack
            .function_environment("reconciler")
            .unwrap();
        let links = LinkTable::new(environment).unwrap();
        links.snapshot(&self.zoom_user(zoom_user)).await.unwrap()
    }

    fn zoom_user(&self, id: &str) -> ZoomUser {
        let users = self.system.zoom().users();
        let user = users.iter().find(|user| user.id == id).unwrap();
        ZoomUser {
            account_id: user.account_id.parse().unwrap(),
            user_id: user.id.parse().unwrap(),
        }
    }

    /// One more instance of what all functions get their tokens from.
    fn grants(&self) -> Grants {
        Grants::new(
            self.system
                .stack
                .function_environment("reconciler")
                .unwrap(),
        )
        .unwrap()
    }

    /// The links' tokens are those that Zoom honours.
    async fn assert_served(&self, zoom_user: &str) {
        let environment = self
            .system
            .stack
            .function_environment("reconciler")
            .unwrap();
        let grant = self.holding(zoom_user).await.grant.unwrap();
        assert_eq!(grant.status, GrantStatus::Live);
        let owner = TokenOwner::Grant(self.zoom_user(zoom_user));
        let vault = Vault::new(environment).unwrap();
        let tokens = vault.decrypt(&owner, &grant.tokens.unwrap()).await.unwrap();
        let live = self.system.zoom().live_grant(zoom_user).unwrap();
        let stored = (
            tokens.access_token.expose_secret(),
            tokens.refresh_token.expose_secret(),
        );
        let same = stored == (&*live.access_token, &*live.refresh_token);
        assert!(same, "the stored pair is not the one that Zoom honours");
    }

    /// Neither Zoom nor the table knows anything of this Zoom user.
    async fn assert_gone(&self, zoom_user: &str) {
        let left = self.holding(zoom_user).await;
        assert_eq!(left, GrantSnapshot::default(), "left in the table");
        let live = self.system.zoom().live_grant(zoom_user);
        assert!(live.is_none(), "Zoom honours a grant that nobody needs");
    }

    async fn assert_status(&self, app_user: &str, expected: &[&str]) {
        let links = self.system.app.links(app_user).await;
        let found: Vec<_> = links.iter().map(|link| &link["status"]).collect();
        assert_eq!(found, expected, "{app_user}");
    }

    async fn disconnect(&self, app_user: &str, id: &Value) -> support::app::Answer {
        let path = format!("/v1/links/{}", id.as_str().unwrap());
        self.system.app.call(Method::DELETE, &path, app_user).await
    }

    /// Works off the queues, and what Zoom says of that, too.
    async fn settle(&self) {
        self.system.work().await;
        self.system.zoom().wait_until_settled().await;
        self.system.work().await;
    }

    async fn order(&self, order: Value) {
        let queue = &self.system.stack.config().queues.jobs;
        store::send(&self.system.stack, queue, &order.to_string()).await;
    }

    /// Exchanges that somebody still has to look after.
    async fn exchanges(&self) -> BTreeSet<String> {
        let table = &self.system.stack.config().tables.sessions;
        let scan = self.system.stack.sdk().dynamodb().scan().table_name(table);
        let items = scan.send().await.unwrap().items.unwrap_or_default();
        let ids = items.iter().map(|item| item["id"].as_s().unwrap().clone());
        ids.filter(|id| id.starts_with("exchange#")).collect()
    }

    /// Delivers the orders that wait for a quarter of an hour, now.
    async fn finish(&self, exchanges: &BTreeSet<String>) {
        for exchange in exchanges {
            self.order(json!({"v": 1, "job": "finish_connect", "exchange": exchange}))
                .await;
        }
        self.settle().await;
    }

    /// Consents as this app user, and Zoom does not say whose consent it was. Gives the exchange.
    async fn interrupted(&self, app_user: &str) -> BTreeSet<String> {
        let before = self.exchanges().await;
        let mut browser = self.system.browser();
        let back = self.system.callback(&mut browser, app_user, ADA).await;
        let fault = Fault::Status { status: 500 };
        self.arm(NewFault::times(Point::UsersMe, fault, 1));
        let visit = browser.visit(&back).await;
        assert_eq!(visit.zoom_error(), "zoom_unavailable");
        let begun = &self.exchanges().await - &before;
        assert_eq!(begun.len(), 1);
        begun
    }

    fn arm(&self, fault: NewFault) {
        self.system.zoom().arm(fault).unwrap();
    }

    /// Messages that were given up, of all orders.
    async fn dead_jobs(&self) -> Vec<String> {
        let queue = &self.system.stack.config().queues.jobs_dlq;
        store::peek(&self.system.stack, queue).await
    }

    fn refreshes(&self) -> usize {
        let requests = self.system.zoom().requests();
        let refreshes = |request: &&reelay_zoom_sim::ReceivedRequest| {
            request.detail.as_deref() == Some("refresh")
        };
        requests.iter().filter(refreshes).count()
    }

    fn requests(&self, part_of_path: &str) -> usize {
        let requests = self.system.zoom().requests();
        requests
            .iter()
            .filter(|request| request.path.contains(part_of_path))
            .count()
    }

    /// The Zoom user removes the app, and Zoom says nothing of it.
    async fn remove_silently(&self, zoom_user: &str) {
        let zoom = self.system.zoom();
        let url = zoom.settings().deauthorize_url;
        zoom.change_settings(|config| config.deauthorize_url = None);
        let id = zoom.deauthorize(zoom_user).unwrap();
        let delivery = zoom.wait_for_attempts(id, 1).await.unwrap();
        assert_eq!(delivery.state, DeliveryState::Dropped);
        zoom.change_settings(|config| config.deauthorize_url = url);
    }

    /// Waits until Zoom's delivery is taken, and works it off.
    async fn delivered(&self, id: u64) {
        let delivery = self.system.zoom().wait_for_attempts(id, 1).await.unwrap();
        assert_eq!(
            delivery.state,
            DeliveryState::Delivered,
            "{:?}",
            delivery.attempts
        );
        self.system.work().await;
    }

    /// Gives the client secret in our Secrets Manager another value.
    async fn set_client_secret(&self, client_secret: &str) {
        let secrets = &self.system.stack.config().secrets;
        let value = json!({
            "client_id": secrets.zoom_client_id,
            "client_secret": client_secret,
            "webhook_secret": secrets.zoom_webhook_secret,
        });
        crate::linking::rotate(&self.system, "ZOOM_SECRET", &value.to_string()).await;
    }
}

fn small(zoom_user: &str) -> NewRecording {
    NewRecording::of(zoom_user).with_files(vec![NewFile::new("MP4", 100)])
}

/// A recording of which Zoom sends no event.
fn unannounced(scene: &Scene, age: SignedDuration) -> Recording {
    let start_time = Some(scene.system.app.now() - age);
    let new = NewRecording {
        start_time,
        silent: true,
        ..small(ADA)
    };
    scene.system.zoom().create_recording(new).unwrap().recording
}

/// Asks for what this app user's Zoom users recorded in the last days.
async fn backfill(scene: &Scene, app_user: &str, days: i64) {
    let now = scene.system.app.now();
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    let from = day(now - SignedDuration::from_hours(24 * days));
    let answer = ask_backfill(
        scene,
        app_user,
        json!({"from": from, "to": day(now)}).to_string(),
    )
    .await;
    assert_eq!(
        (answer.status, answer.json()),
        (202, json!({"status": "accepted"}))
    );
    scene.system.work().await;
}

async fn ask_backfill(scene: &Scene, app_user: &str, body: String) -> support::app::Answer {
    let token = scene.system.app.api_token(app_user);
    let app = &scene.system.app;
    app.call_with(Method::POST, "/v1/backfill", Some(&token), Some(body))
        .await
}
