//! The life of links and of the grant that they share: given up, deauthorized, refreshed, interrupted, and
//! what a new link brings with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use aws::environment::Clock;
use aws::links::{Holding, LinkTable};
use aws::vault::{TokenOwner, Vault};
use domain::ids::ZoomUser;
use domain::link::GrantStatus;
use embedded_aws::Service;
use grants::{GrantError, Grants};
use it::people::{ADA, BEN, CEM};
use it::{System, store, zoom};
use jiff::SignedDuration;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::sync::Notify;
use zoom_sim::{
    DeathCause, DeliveryState, Fault, NewFault, NewFile, NewRecording, Point, RawEvent, Recording,
    Target,
};

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

    async fn holding(&self, zoom_user: &str) -> Holding {
        let environment = self
            .system
            .stack
            .function_environment("reconciler")
            .unwrap();
        let links = LinkTable::new(environment).unwrap();
        links.holding(&self.zoom_user(zoom_user)).await.unwrap()
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
        let tokens = vault.open(&owner, &grant.tokens.unwrap()).await.unwrap();
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
        assert_eq!(left, Holding::default(), "left in the table");
        let live = self.system.zoom().live_grant(zoom_user);
        assert!(live.is_none(), "Zoom honours a grant that nobody needs");
    }

    async fn assert_status(&self, app_user: &str, expected: &[&str]) {
        let links = self.system.app.links(app_user).await;
        let found: Vec<_> = links.iter().map(|link| &link["status"]).collect();
        assert_eq!(found, expected, "{app_user}");
    }

    async fn disconnect(&self, app_user: &str, id: &Value) -> it::app::Answer {
        let path = format!("/v1/links/{}", id.as_str().unwrap());
        self.system.app.call(Method::DELETE, &path, app_user).await
    }

    /// Works off the queues, and what Zoom says of that, too.
    async fn settle(&self) {
        self.system.work().await;
        self.system.zoom().settled().await;
        self.system.work().await;
    }

    async fn order(&self, order: Value) {
        let queue = &self.system.stack.config().queues.orders;
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
            self.order(json!({"v": 1, "order": "finish_connect", "exchange": exchange}))
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
    async fn dead_orders(&self) -> Vec<String> {
        let queue = &self.system.stack.config().queues.orders_dlq;
        store::peek(&self.system.stack, queue).await
    }

    fn refreshes(&self) -> usize {
        let requests = self.system.zoom().requests();
        let refreshes =
            |request: &&zoom_sim::ReceivedRequest| request.detail.as_deref() == Some("refresh");
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
        let delivery = zoom.attempted(id, 1).await.unwrap();
        assert_eq!(delivery.state, DeliveryState::Dropped);
        zoom.change_settings(|config| config.deauthorize_url = url);
    }

    /// Waits until Zoom's delivery is taken, and works it off.
    async fn delivered(&self, id: u64) {
        let delivery = self.system.zoom().attempted(id, 1).await.unwrap();
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
        send: false,
        ..small(ADA)
    };
    scene.system.zoom().create_recording(new).unwrap().recording
}

// ------------------------------------------------------------------------------------------ given up

#[tokio::test]
async fn giving_up_the_last_link_revokes_the_grant_and_leaves_nothing_of_it() {
    let scene = Scene::linked(&["alice"]).await;
    let cem = scene.system.link("bob", CEM).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    let answer = scene.disconnect("alice", &id).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    scene.assert_status("alice", &[]).await;
    scene.settle().await;

    scene.assert_gone(ADA).await;
    assert_eq!(
        scene.system.zoom().grants()[0].death,
        Some(DeathCause::Revoked)
    );
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;

    let again = scene.disconnect("alice", &id).await;
    assert_eq!((again.status, again.body.as_str()), (204, ""));
    scene.settle().await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
    assert_eq!(scene.dead_orders().await, [""; 0]);

    // Nobody else is concerned.
    assert_eq!(scene.system.app.links("bob").await, [cem]);
    scene.assert_served(CEM).await;
}

#[tokio::test]
async fn a_link_of_somebody_else_is_not_found_and_stays() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    let id = link[0]["id"].clone();
    let made_up = id.as_str().unwrap().chars().rev().collect::<String>();
    for (user, id) in [
        ("bob", id.clone()),
        ("Alice", id.clone()),
        ("alice2", id.clone()),
        ("alice", json!(made_up)),
        ("alice", json!("x")),
    ] {
        let answer = scene.disconnect(user, &id).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "link_not_found"),
            "{user} {id}"
        );
    }
    scene.settle().await;
    assert_eq!(scene.system.app.links("alice").await, link);
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn a_grant_lives_as_long_as_somebody_needs_it_a_pending_link_too() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let alices = scene.system.app.links("alice").await[0]["id"].clone();
    let bobs = scene.system.app.links("bob").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &alices).await.status, 204);
    scene.settle().await;
    scene.assert_status("bob", &["active"]).await;
    scene.assert_served(ADA).await;

    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "carol", ADA)
        .await;
    assert_eq!(scene.disconnect("bob", &bobs).await.status, 204);
    scene.settle().await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
    assert_eq!(scene.system.app.confirm("carol", &claim).await.status, 200);

    let carols = scene.system.app.links("carol").await[0]["id"].clone();
    assert_eq!(scene.disconnect("carol", &carols).await.status, 204);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for user in ["alice", "bob", "carol"] {
        scene
            .assert_told(user, [("activated", 1), ("removed", 1)])
            .await;
    }
}

#[tokio::test]
async fn all_links_of_a_grant_given_up_at_once_end_it_once() {
    let scene = Scene::linked(&["alice", "bob", "carol"]).await;
    let mut ids = Vec::new();
    for user in ["alice", "bob", "carol"] {
        ids.push(scene.system.app.links(user).await[0]["id"].clone());
    }
    let answers = tokio::join!(
        scene.disconnect("alice", &ids[0]),
        scene.disconnect("alice", &ids[0]),
        scene.disconnect("bob", &ids[1]),
        scene.disconnect("carol", &ids[2]),
    );
    let statuses = [
        answers.0.status,
        answers.1.status,
        answers.2.status,
        answers.3.status,
    ];
    assert_eq!(statuses, [204; 4]);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    for user in ["alice", "bob", "carol"] {
        scene
            .assert_told(user, [("activated", 1), ("removed", 1)])
            .await;
    }
}

#[tokio::test]
async fn recordings_are_not_seen_any_more_by_whoever_gave_up_the_link() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    let seen = scene.system.app.recordings("alice").await;
    assert_eq!(seen.len(), 1);
    let path = format!("/v1/recordings/{}", seen[0]["id"].as_str().unwrap());
    assert_eq!(scene.system.app.get(&path, "alice").await.status, 200);

    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    scene.settle().await;
    assert!(scene.system.app.recordings("alice").await.is_empty());
    assert_eq!(
        scene.system.app.get(&path, "alice").await.code(),
        "recording_not_found"
    );
    let download = format!("{path}/download");
    let asked = scene
        .system
        .app
        .call(Method::POST, &download, "alice")
        .await;
    assert_eq!(asked.code(), "recording_not_found");
    assert_eq!(scene.system.app.recordings("bob").await.len(), 1);

    // What comes later is bob's alone.
    let later = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    assert_eq!(scene.system.app.recordings("bob").await.len(), 2);
    let told = store::peek(&scene.system.stack, &scene.bus).await;
    let to_alice = |uuid: &str| {
        let uuid = json!(uuid).to_string();
        told.iter()
            .any(|event| event.contains(&uuid) && event.contains("\"alice\""))
    };
    assert!(to_alice(&recording.uuid) && !to_alice(&later.uuid));
}

#[tokio::test]
async fn our_own_revocation_comes_back_and_ends_no_link_made_right_after() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    // Also when it is looked at before the revocation is done.
    let user = scene.zoom_user(ADA);
    let check = json!({"v": 1, "order": "check_grant", "zoom_user": user});
    scene.order(check.clone()).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;

    let link = scene.system.link("alice", ADA).await;
    let deliveries = scene.system.zoom().deliveries();
    let ours = deliveries
        .iter()
        .find(|delivery| delivery.body.contains("app_deauthorized"))
        .unwrap();
    let twin = scene.system.zoom().duplicate(ours.id, false).unwrap();
    scene.delivered(twin).await;
    // And the order that is sent ahead, in case we die in between, comes a minute later.
    scene
        .order(json!({"v": 1, "order": "end_grant", "zoom_user": user}))
        .await;
    scene.settle().await;
    assert_eq!(scene.system.app.links("alice").await, [link]);
    scene.assert_served(ADA).await;
    scene
        .assert_told("alice", [("activated", 2), ("removed", 1)])
        .await;
}

#[tokio::test]
async fn a_claim_that_was_used_does_not_show_the_pending_link_of_a_later_consent() {
    let scene = Scene::open().await;
    let system = &scene.system;
    let first = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = system.app.confirm("alice", &first).await.json();
    assert_eq!(scene.disconnect("alice", &link["id"]).await.status, 204);
    scene.settle().await;
    assert_eq!(
        system.app.confirm("alice", &first).await.code(),
        "claim_expired"
    );

    let second = system.consent(&mut system.browser(), "alice", ADA).await;
    let replayed = system.app.confirm("alice", &first).await;
    assert_eq!(replayed.status, 410, "{}", replayed.body);
    scene.assert_status("alice", &[]).await;
    let confirmed = system.app.confirm("alice", &second).await;
    assert_eq!(
        (confirmed.status, &confirmed.json()["status"]),
        (200, &json!("active"))
    );
}

#[tokio::test]
async fn a_grant_without_tokens_ends_without_zoom() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let error = scene
        .grants()
        .access_token(&scene.zoom_user(ADA))
        .await
        .unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    scene.settle().await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn a_revocation_that_fails_is_done_later_and_in_the_meantime_nobody_begins_anew() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    scene.arm(NewFault::always(
        Point::Revoke,
        Fault::Status { status: 500 },
    ));
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    scene.settle().await;
    scene.assert_status("alice", &[]).await;
    let holding = scene.holding(ADA).await;
    assert_eq!(holding.grant.unwrap().status, GrantStatus::Ending);
    let dead = scene.dead_orders().await;
    assert_eq!(dead.len(), 1, "{dead:?}");

    scene.system.zoom().clear_faults(None);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    scene.order(serde_json::from_str(&dead[0]).unwrap()).await;
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;
}

#[tokio::test]
async fn a_consent_that_meets_an_ending_grant_leaves_nothing_behind() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "bob", ADA).await;
    assert_eq!(browser.visit(&back).await.zoom_error(), "zoom_unavailable");
    scene.settle().await;
    scene.finish(&scene.exchanges().await).await;
    scene.assert_gone(ADA).await;
    scene.assert_status("bob", &[]).await;
    scene.system.link("bob", ADA).await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_consent_that_is_finished_before_the_revocation_it_met_leaves_nothing_behind() {
    let scene = Scene::linked(&["alice"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    // Revoking fails for so long that the order to finish comes first.
    scene.arm(NewFault::always(
        Point::Revoke,
        Fault::Status { status: 500 },
    ));
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "bob", ADA).await;
    assert_eq!(browser.visit(&back).await.zoom_error(), "zoom_unavailable");
    scene.finish(&scene.exchanges().await).await;
    let dead = scene.dead_orders().await;
    assert!(!dead.is_empty());
    scene.system.zoom().clear_faults(None);
    for order in dead {
        scene.order(serde_json::from_str(&order).unwrap()).await;
    }
    scene.settle().await;
    scene.assert_gone(ADA).await;
    scene.assert_status("bob", &[]).await;
}

// -------------------------------------------------------------------------------------- deauthorized

#[tokio::test]
async fn whoever_removes_the_app_at_zoom_ends_all_links_of_the_grant() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let cem = scene.system.link("alice", CEM).await;
    scene
        .system
        .consent(&mut scene.system.browser(), "carol", ADA)
        .await;
    let id = scene.system.zoom().deauthorize(ADA).unwrap();
    scene.delivered(id).await;
    scene.assert_gone(ADA).await;
    assert_eq!(scene.system.app.links("alice").await, [cem]);
    scene.assert_status("bob", &[]).await;
    scene
        .assert_told("alice", [("activated", 2), ("removed", 1)])
        .await;
    scene
        .assert_told("bob", [("activated", 1), ("removed", 1)])
        .await;
    scene.assert_told("carol", []).await;
    let twin = scene.system.zoom().duplicate(id, false).unwrap();
    scene.delivered(twin).await;
    scene
        .assert_told("bob", [("activated", 1), ("removed", 1)])
        .await;
    // Zoom has ended it; nothing is left to revoke.
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

/// Every known form of `app_deauthorized`, about Ada.
fn forms(scene: &Scene, client_id: &str) -> Vec<(&'static str, String)> {
    [
        (
            "usual",
            include_str!("../../fixtures/zoom/app_deauthorized.json"),
        ),
        (
            "legacy",
            include_str!("../../fixtures/zoom/app_deauthorized_legacy.json"),
        ),
        (
            "time inside",
            include_str!("../../fixtures/zoom/app_deauthorized_event_ts_inside.json"),
        ),
        (
            "time as text",
            include_str!("../../fixtures/zoom/app_deauthorized_event_ts_text.json"),
        ),
    ]
    .map(|(form, body)| {
        let body = body
            .replace(
                "AcctAAAAAAAAAAAAAAAAAA",
                scene.zoom_user(ADA).account_id.as_str(),
            )
            .replace("UserBBBBBBBBBBBBBBBBBB", ADA)
            .replace("SYNTHclientID000000000", client_id);
        (form, body)
    })
    .into()
}

#[tokio::test]
async fn a_deauthorization_is_understood_in_every_form_on_both_routes() {
    let scene = Scene::open().await;
    let client_id = scene.system.stack.config().secrets.zoom_client_id.clone();
    let mut times = 0;
    for target in [Target::Webhook, Target::Deauthorize] {
        let mut forms = forms(&scene, &client_id);
        let mut nameless: Value = serde_json::from_str(&forms[0].1).unwrap();
        nameless["payload"]
            .as_object_mut()
            .unwrap()
            .remove("client_id");
        forms.push(("without a client", nameless.to_string()));
        for (form, body) in forms {
            scene.system.link("alice", ADA).await;
            scene.remove_silently(ADA).await;
            let id = scene.system.zoom().send_raw(RawEvent {
                body,
                target,
                ..RawEvent::default()
            });
            scene.delivered(id).await;
            times += 1;
            assert_eq!(
                scene.holding(ADA).await,
                Holding::default(),
                "{form} at {target:?}"
            );
            scene.assert_status("alice", &[]).await;
            assert_eq!(scene.removals("alice").await, times, "{form} at {target:?}");
        }
    }
    assert_eq!(scene.dead_orders().await, [""; 0]);
}

#[tokio::test]
async fn a_deauthorization_of_another_app_is_none_of_ours() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    // Even if Zoom would confirm it.
    scene.remove_silently(ADA).await;
    for (form, body) in forms(&scene, "AnotherAppsClientId000") {
        let id = scene.system.zoom().send_raw(RawEvent {
            body,
            ..RawEvent::default()
        });
        scene.delivered(id).await;
        assert_eq!(scene.system.app.links("alice").await, link, "{form}");
    }
    scene.assert_told("alice", [("activated", 1)]).await;
    assert!(scene.holding(ADA).await.grant.unwrap().tokens.is_some());
    assert_eq!(scene.dead_orders().await, [""; 0]);
}

#[tokio::test]
async fn a_late_or_forged_deauthorization_does_not_end_a_grant_that_zoom_honours() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    let link = scene.system.link("alice", ADA).await;
    let late = async || {
        let id = scene.system.zoom().send_deauthorized_only(ADA).unwrap();
        scene.delivered(id).await;
        assert_eq!(
            scene.system.app.links("alice").await.as_slice(),
            std::slice::from_ref(&link)
        );
        scene.assert_served(ADA).await;
    };
    late().await;
    // Nor when Zoom refuses the access token for no reason, or when it has expired.
    scene.arm(NewFault::times(
        Point::UsersMe,
        Fault::Status { status: 401 },
        1,
    ));
    late().await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    late().await;
    assert_eq!(scene.refreshes(), 2);
    // Of a Zoom user whom nobody linked nothing is asked.
    scene.system.zoom().clear_requests();
    let id = scene.system.zoom().send_deauthorized_only(BEN).unwrap();
    scene.delivered(id).await;
    assert!(scene.system.zoom().requests().is_empty());
    assert_eq!(scene.dead_orders().await, [""; 0]);
}

#[tokio::test]
async fn while_zoom_does_not_answer_a_deauthorization_ends_nothing_and_is_decided_later() {
    let limited = Fault::RateLimited {
        retry_after_seconds: None,
    };
    for (point, fault) in [
        (Point::UsersMe, Fault::Status { status: 500 }),
        (Point::UsersMe, Fault::Close),
        (Point::UsersMe, Fault::Html),
        (Point::UsersMe, limited),
        (Point::TokenRefresh, Fault::Status { status: 503 }),
        (Point::TokenRefresh, Fault::Close),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        if point == Point::TokenRefresh {
            scene.system.stack.advance(ACCESS_TOKEN_ENDS);
        }
        let link = scene.system.app.links("alice").await;
        scene.arm(NewFault::always(point, fault.clone()));
        let id = scene.system.zoom().deauthorize(ADA).unwrap();
        scene.delivered(id).await;
        assert_eq!(
            scene.system.app.links("alice").await,
            link,
            "{fault:?} at {point:?}"
        );
        scene.assert_told("alice", [("activated", 1)]).await;
        let dead = scene.dead_orders().await;
        assert_eq!(dead.len(), 1, "{fault:?} at {point:?}: {dead:?}");

        scene.system.zoom().clear_faults(None);
        scene.order(serde_json::from_str(&dead[0]).unwrap()).await;
        scene.settle().await;
        scene.assert_gone(ADA).await;
        assert_eq!(scene.removals("alice").await, 1, "{fault:?} at {point:?}");
    }
}

#[tokio::test]
async fn a_deauthorization_that_our_client_secret_cannot_check_ends_nothing() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    scene.set_client_secret("wrong").await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let id = scene.system.zoom().send_deauthorized_only(ADA).unwrap();
    scene.delivered(id).await;
    assert_eq!(scene.system.app.links("alice").await, link);
    scene.assert_told("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_orders().await.len(), 1);
}

// ----------------------------------------------------------------------------------------- refreshed

#[tokio::test]
async fn whatever_needs_an_expired_token_refreshes_it_once() {
    // A backfill.
    let scene = Scene::linked(&["alice"]).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let missed = unannounced(&scene, SignedDuration::from_hours(1));
    backfill(&scene, "alice", 1).await;
    assert_eq!(
        scene.system.app.recordings("alice").await[0]["meeting_uuid"],
        missed.uuid
    );
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;

    // Downloads, several at a time, whose event's token is refused.
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    scene
        .system
        .zoom()
        .change_settings(|config| config.download_token_seconds = -1);
    let files = ["MP4", "M4A", "CHAT", "TIMELINE"].map(|kind| NewFile::new(kind, 100));
    let new = NewRecording::of(ADA).with_files(files.into());
    zoom::complete(&scene.system, new).await;
    scene.system.work().await;
    let recordings = scene.system.app.recordings("alice").await;
    assert!(
        recordings
            .iter()
            .all(|recording| recording["status"] == "stored"),
        "{recordings:?}"
    );
    assert_eq!(scene.refreshes(), 2);
    scene.assert_served(ADA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_uses_of_an_expired_grant_refresh_it_once_and_all_get_a_token_that_works() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    let instances: Vec<_> = (0..8).map(|_| Arc::new(scene.grants())).collect();
    let uses: Vec<_> = (0..200)
        .map(|n| {
            let (grants, user) = (Arc::clone(&instances[n % instances.len()]), user.clone());
            tokio::spawn(async move { grants.access_token(&user).await })
        })
        .collect();
    let live = async || scene.system.zoom().live_grant(ADA).unwrap().access_token;
    let mut tokens = Vec::new();
    for one in uses {
        tokens.push(one.await.unwrap().unwrap());
    }
    let live = live().await;
    assert!(
        tokens
            .iter()
            .all(|token| token.token.expose_secret() == live)
    );
    assert_eq!(scene.refreshes(), 1);
    instances[0]
        .zoom()
        .users_me(&tokens[0].token)
        .await
        .unwrap();

    // The same when Zoom refuses a token that has not expired: whoever was refused asks for another.
    let uses: Vec<_> = (0..200)
        .map(|n| {
            let (grants, user) = (Arc::clone(&instances[n % instances.len()]), user.clone());
            let refused = tokens[n].clone();
            tokio::spawn(async move { grants.another_token(&user, &refused).await })
        })
        .collect();
    for one in uses {
        let token = one.await.unwrap().unwrap();
        assert_ne!(token.token.expose_secret(), live);
    }
    assert_eq!(scene.refreshes(), 2);
    scene.assert_served(ADA).await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_grant_that_zoom_has_ended_is_reported_once_and_a_new_consent_revives_its_links() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    for _ in 0..3 {
        backfill(&scene, "alice", 1).await;
    }
    assert_eq!(
        scene.refreshes(),
        1,
        "a grant that is dead is asked for again"
    );
    for user in ["alice", "bob"] {
        scene
            .assert_status(user, &["reauthorization_required"])
            .await;
        scene
            .assert_told(user, [("activated", 1), ("reauthorization_required", 1)])
            .await;
    }
    let dead = scene.holding(ADA).await.grant.unwrap();
    assert_eq!(
        (dead.status, dead.tokens),
        (GrantStatus::Dead, None),
        "tokens are kept"
    );

    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "alice", ADA)
        .await;
    scene.system.work().await;
    for user in ["alice", "bob"] {
        scene.assert_status(user, &["active"]).await;
        scene
            .assert_told(user, [("activated", 2), ("reauthorization_required", 1)])
            .await;
    }
    assert_eq!(scene.system.app.confirm("alice", &claim).await.status, 200);
    scene.system.work().await;
    scene
        .assert_told("alice", [("activated", 2), ("reauthorization_required", 1)])
        .await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_pending_link_on_a_grant_that_dies_is_told_when_it_is_confirmed() {
    let scene = Scene::linked(&["alice"]).await;
    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "bob", ADA)
        .await;
    scene.remove_silently(ADA).await;
    let user = scene.zoom_user(ADA);
    let grants = scene.grants();
    let token = grants.access_token(&user).await.unwrap();
    let error = grants.another_token(&user, &token).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    scene.system.work().await;
    scene.assert_told("bob", []).await;
    let confirmed = scene.system.app.confirm("bob", &claim).await;
    assert_eq!(
        (confirmed.status, &confirmed.json()["status"]),
        (200, &json!("reauthorization_required"))
    );
    scene.system.work().await;
    scene
        .assert_told("bob", [("reauthorization_required", 1)])
        .await;
}

#[tokio::test]
async fn a_wrong_client_secret_or_an_outage_condemns_nobody() {
    let scene = Scene::linked(&["alice"]).await;
    let (link, user) = (scene.system.app.links("alice").await, scene.zoom_user(ADA));
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);

    scene.set_client_secret("wrong").await;
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::InvalidClient), "{error}");
    let right = scene
        .system
        .stack
        .config()
        .secrets
        .zoom_client_secret
        .clone();
    scene.set_client_secret(&right).await;

    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::Status { status: 404 },
        Fault::RateLimited {
            retry_after_seconds: None,
        },
        Fault::Html,
        Fault::Close,
    ] {
        scene.arm(NewFault::times(Point::TokenRefresh, fault.clone(), 1));
        let error = scene.grants().access_token(&user).await.unwrap_err();
        let for_good = matches!(
            error,
            GrantError::ReauthorizationRequired | GrantError::None
        );
        assert!(!for_good, "{fault:?}: {error}");
        assert_eq!(scene.system.app.links("alice").await, link, "{fault:?}");
    }
    scene.grants().access_token(&user).await.unwrap();
    scene.assert_served(ADA).await;
    scene.system.work().await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_is_reported_by_the_next_use() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    scene.arm(NewFault::times(Point::TokenRefresh, Fault::LoseAnswer, 1));
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(matches!(error, GrantError::Unavailable(_)), "{error}");
    scene.assert_status("alice", &["active"]).await;
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    assert_eq!(scene.refreshes(), 2);
    scene.system.work().await;
    scene
        .assert_status("alice", &["reauthorization_required"])
        .await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
    scene.system.link("alice", ADA).await;
    scene.assert_served(ADA).await;
}

/// A call that is held up on its way to an engine until the test lets it go.
struct Held {
    reached: Arc<Notify>,
    go: mpsc::Sender<()>,
}

/// Holds up calls of DynamoDB, each the n-th of its operation from now on.
fn hold<const N: usize>(scene: &Scene, calls: [(&'static str, usize); N]) -> [Held; N] {
    let mut held = Vec::new();
    let mut watched = Vec::new();
    for (operation, nth) in calls {
        let (go, wait) = mpsc::channel::<()>();
        let reached = Arc::new(Notify::new());
        watched.push((
            operation,
            nth,
            AtomicUsize::new(0),
            Arc::clone(&reached),
            Mutex::new(wait),
        ));
        held.push(Held { reached, go });
    }
    scene
        .system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            for (wanted, nth, count, reached, wait) in &watched {
                let this = service == Service::DynamoDb
                    && operation == *wanted
                    && count.fetch_add(1, Ordering::SeqCst) + 1 == *nth;
                if this {
                    reached.notify_one();
                    let wait = || wait.lock().unwrap().recv_timeout(Duration::from_secs(20));
                    tokio::task::block_in_place(wait).unwrap();
                }
            }
            None
        });
    held.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_that_a_consent_overtakes_adopts_the_consents_tokens() {
    let scene = Scene::linked(&["alice"]).await;
    let (grants, user) = (scene.grants(), scene.zoom_user(ADA));
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    // The first takes the lease, the second saves the pair.
    let [save] = hold(&scene, [("UpdateItem", 2)]);
    let refresh = tokio::spawn(async move { grants.access_token(&user).await });
    save.reached.notified().await;
    scene
        .system
        .consent(&mut scene.system.browser(), "bob", ADA)
        .await;
    save.go.send(()).unwrap();
    let token = refresh.await.unwrap().unwrap();
    scene.assert_served(ADA).await;
    let live = scene.system.zoom().live_grant(ADA).unwrap().access_token;
    assert!(
        token.token.expose_secret() == live,
        "a token that Zoom does not honour"
    );
    assert_eq!(scene.refreshes(), 1);
    scene.assert_status("alice", &["active"]).await;
    scene.system.work().await;
    scene.assert_told("alice", [("activated", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_that_is_saved_between_a_consents_exchange_and_its_end_does_not_undo_it() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    // Whoever refreshes got Zoom's answer late, or its clock is two seconds ahead: the same to the table.
    let environment = scene
        .system
        .stack
        .function_environment("reconciler")
        .unwrap();
    let mut ahead = environment.clone();
    ahead.clock = Clock::default();
    ahead
        .clock
        .advance(ACCESS_TOKEN_ENDS + SignedDuration::from_secs(2));
    let grants = Grants::new(&ahead).unwrap();
    // The first PutItem opens the session, the second saves what the code was exchanged for.
    let [save, store] = hold(&scene, [("UpdateItem", 2), ("PutItem", 2)]);

    let refresh = tokio::spawn(async move { grants.access_token(&user).await });
    save.reached.notified().await;
    let mut browser = scene.system.browser();
    let back = scene.system.callback(&mut browser, "bob", ADA).await;
    let consent = tokio::spawn(async move { browser.visit(&back).await });
    store.reached.notified().await;
    save.go.send(()).unwrap();
    let _ = refresh.await.unwrap();
    store.go.send(()).unwrap();
    consent.await.unwrap().claim();
    scene.assert_served(ADA).await;
    scene.assert_status("alice", &["active"]).await;
}

#[tokio::test]
async fn a_pair_that_is_saved_though_the_answer_is_lost_is_used() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let cut = embedded_aws::Fault::connection_cut().after_effect();
    spoil_updates(&scene, 2..=2, cut);
    let user = scene.zoom_user(ADA);
    let token = scene.grants().access_token(&user).await.unwrap();
    let live = scene.system.zoom().live_grant(ADA).unwrap().access_token;
    assert!(token.token.expose_secret() == live);
    assert_eq!(scene.refreshes(), 1);
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_pair_that_can_not_be_saved_is_reported_and_nobody_refreshes_meanwhile() {
    let scene = Scene::linked(&["alice"]).await;
    let user = scene.zoom_user(ADA);
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let down = embedded_aws::Fault::error(500, "InternalServerError");
    spoil_updates(&scene, 2..=usize::MAX, down);
    scene.grants().access_token(&user).await.unwrap_err();
    scene.system.stack.engines().faults().clear_all();
    scene.assert_status("alice", &["active"]).await;

    // Whoever held the lease is gone with it; it runs out.
    scene.system.stack.advance(SignedDuration::from_secs(31));
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    assert_eq!(scene.refreshes(), 2);
    scene.system.work().await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
}

/// Spoils these calls of UpdateItem: the first takes a lease, the second saves a pair.
fn spoil_updates(
    scene: &Scene,
    which: std::ops::RangeInclusive<usize>,
    fault: embedded_aws::Fault,
) {
    let count = AtomicUsize::new(0);
    scene
        .system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            let update = service == Service::DynamoDb && operation == "UpdateItem";
            let nth = if update {
                count.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                0
            };
            which.contains(&nth).then(|| fault.clone())
        });
}

// ------------------------------------------------------------------------- told, whatever fails between

/// Nothing can be put into the notifications queue.
fn mute(scene: &Scene) {
    let fault = embedded_aws::Fault::error(500, "InternalError");
    let faults = scene.system.stack.engines().faults();
    faults.fail_until_cleared(Service::Sqs, "SendMessageBatch", fault);
}

fn unmute(scene: &Scene) {
    scene.system.stack.engines().faults().clear_all();
}

#[tokio::test]
async fn a_removed_link_is_told_although_the_call_that_gave_it_up_died_before() {
    let scene = Scene::linked(&["alice", "bob"]).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    mute(&scene);
    assert_eq!(scene.disconnect("alice", &id).await.status, 503);
    scene.assert_status("alice", &[]).await;
    unmute(&scene);
    assert_eq!(scene.disconnect("alice", &id).await.status, 204);
    // The order that was sent ahead, for this very case.
    let user = scene.zoom_user(ADA);
    scene
        .order(json!({"v": 1, "order": "end_grant", "zoom_user": user}))
        .await;
    scene.settle().await;
    scene
        .assert_told("alice", [("activated", 1), ("removed", 1)])
        .await;
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn whichever_aws_call_of_giving_up_a_link_is_spoiled_it_ends_all_the_same() {
    let error = || embedded_aws::Fault::error(500, "InternalServerError");
    let cut = embedded_aws::Fault::connection_cut;
    for (service, operation) in [
        (Service::DynamoDb, "Query"),
        (Service::Sqs, "SendMessage"),
        (Service::DynamoDb, "TransactWriteItems"),
        (Service::Sqs, "SendMessageBatch"),
        (Service::DynamoDb, "DeleteItem"),
    ] {
        for fault in [error(), cut(), error().after_effect(), cut().after_effect()] {
            let case = format!("{operation} {fault:?}");
            let scene = Scene::linked(&["alice"]).await;
            let id = scene.system.app.links("alice").await[0]["id"].clone();
            let faults = scene.system.stack.engines().faults();
            faults.fail_until_cleared(service, operation, fault);
            let spoiled = scene.disconnect("alice", &id).await;
            assert_eq!(spoiled.status, 503, "{case}: {spoiled:?}");
            faults.clear_all();
            assert_eq!(scene.disconnect("alice", &id).await.status, 204, "{case}");
            scene.assert_status("alice", &[]).await;
            // The order that is sent ahead waits for a minute; this is it.
            let user = scene.zoom_user(ADA);
            scene
                .order(json!({"v": 1, "order": "end_grant", "zoom_user": user}))
                .await;
            scene.settle().await;
            scene.assert_gone(ADA).await;
            scene
                .assert_told("alice", [("activated", 1), ("removed", 1)])
                .await;
        }
    }
}

#[tokio::test]
async fn a_deauthorization_is_told_although_whoever_found_it_died_before() {
    let scene = Scene::linked(&["alice"]).await;
    mute(&scene);
    scene.remove_silently(ADA).await;
    let user = scene.zoom_user(ADA);
    scene.grants().check(&user).await.unwrap_err();
    unmute(&scene);
    // SQS delivers the order again until it is carried out.
    for _ in 0..2 {
        scene
            .order(json!({"v": 1, "order": "check_grant", "zoom_user": user}))
            .await;
        scene.settle().await;
    }
    scene.assert_gone(ADA).await;
    assert_eq!(scene.removals("alice").await, 1);
}

#[tokio::test]
async fn a_deauthorization_is_told_although_the_last_step_failed() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    let user = scene.zoom_user(ADA);
    let error = scene.grants().access_token(&user).await.unwrap_err();
    assert!(
        matches!(error, GrantError::ReauthorizationRequired),
        "{error}"
    );
    mute(&scene);
    scene.grants().check(&user).await.unwrap_err();
    scene.assert_status("alice", &[]).await;
    unmute(&scene);
    scene
        .order(json!({"v": 1, "order": "check_grant", "zoom_user": user}))
        .await;
    scene.settle().await;
    assert_eq!(scene.removals("alice").await, 1);
    scene.assert_gone(ADA).await;
}

#[tokio::test]
async fn a_dead_grant_is_told_although_whoever_found_it_died_before() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    scene.system.stack.advance(ACCESS_TOKEN_ENDS);
    mute(&scene);
    scene
        .grants()
        .access_token(&scene.zoom_user(ADA))
        .await
        .unwrap_err();
    scene
        .assert_status("alice", &["reauthorization_required"])
        .await;
    unmute(&scene);
    backfill(&scene, "alice", 1).await;
    scene.settle().await;
    scene
        .assert_told("alice", [("activated", 1), ("reauthorization_required", 1)])
        .await;
}

// --------------------------------------------------------------------------------------- interrupted

#[tokio::test]
async fn an_interrupted_consent_serves_the_links_that_exist() {
    let scene = Scene::linked(&["alice"]).await;
    let link = scene.system.app.links("alice").await;
    let exchange = scene.interrupted("bob").await;
    scene.finish(&exchange).await;
    scene.assert_served(ADA).await;
    assert_eq!(scene.system.app.links("alice").await, link);
    scene.assert_status("bob", &[]).await;
    assert!((&scene.exchanges().await & &exchange).is_empty());
    let before = scene.holding(ADA).await;
    scene.finish(&exchange).await;
    assert_eq!(
        scene.holding(ADA).await,
        before,
        "the order repeated changed something"
    );
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.assert_told("bob", []).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn an_interrupted_consent_that_nobody_needs_is_revoked() {
    let scene = Scene::open().await;
    let exchange = scene.interrupted("bob").await;
    assert!(scene.system.zoom().live_grant(ADA).is_some());
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.finish(&exchange).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
    scene.assert_told("bob", []).await;
}

#[tokio::test]
async fn a_consent_without_a_needed_scope_that_nobody_needs_is_revoked() {
    for lacking in [
        "cloud_recording:read:list_user_recordings",
        "user:read:user",
    ] {
        let scene = Scene::open().await;
        let mut scopes = scene.system.zoom().settings().scopes;
        scopes.retain(|scope| scope != lacking);
        scene.system.zoom().set_scopes(ADA, Some(scopes)).unwrap();
        let mut browser = scene.system.browser();
        let back = scene.system.callback(&mut browser, "alice", ADA).await;
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_scope_missing"
        );
        scene.finish(&scene.exchanges().await).await;
        assert_eq!(scene.dead_orders().await, [""; 0], "{lacking}");
        scene.assert_gone(ADA).await;
        assert!(scene.exchanges().await.is_empty(), "{lacking}");
    }
}

#[tokio::test]
async fn of_two_interrupted_consents_the_pair_that_zoom_honours_is_kept_in_any_order() {
    for newer_first in [true, false] {
        let scene = Scene::linked(&["alice"]).await;
        let older = scene.interrupted("bob").await;
        let newer = scene.interrupted("carol").await;
        for exchange in if newer_first {
            [&newer, &older]
        } else {
            [&older, &newer]
        } {
            scene.finish(exchange).await;
        }
        scene.assert_served(ADA).await;
        scene.assert_status("alice", &["active"]).await;
        scene.assert_told("alice", [("activated", 1)]).await;
    }
}

#[tokio::test]
async fn an_interrupted_consent_that_is_looked_after_late_is_not_lost() {
    for linked in [true, false] {
        let scene = Scene::linked(if linked { &["alice"] } else { &[] }).await;
        let exchange = scene.interrupted("bob").await;
        // Zoom's API was down for longer than an access token lives.
        scene.system.stack.advance(ACCESS_TOKEN_ENDS);
        scene.finish(&exchange).await;
        if linked {
            scene.assert_served(ADA).await;
            scene.assert_status("alice", &["active"]).await;
        } else {
            scene.assert_gone(ADA).await;
        }
    }
}

#[tokio::test]
async fn an_interrupted_consent_does_not_take_the_tokens_from_a_link_that_works() {
    let scene = Scene::linked(&["alice"]).await;
    scene.interrupted("bob").await;
    // Nobody has looked after bob's exchange yet.
    let missed = unannounced(&scene, SignedDuration::from_hours(1));
    backfill(&scene, "alice", 1).await;
    scene.assert_told("alice", [("activated", 1)]).await;
    scene.assert_status("alice", &["active"]).await;
    assert_eq!(
        scene.system.app.recordings("alice").await[0]["meeting_uuid"],
        missed.uuid
    );
}

#[tokio::test]
async fn a_link_that_is_never_confirmed_is_dropped_and_its_grant_revoked() {
    let scene = Scene::open().await;
    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "alice", ADA)
        .await;
    let exchange = scene.exchanges().await;
    assert_eq!(exchange.len(), 1);
    scene.system.stack.advance(SignedDuration::from_secs(600));
    scene.finish(&exchange).await;
    scene.assert_gone(ADA).await;
    assert!(scene.exchanges().await.is_empty());
    scene.assert_told("alice", []).await;
    assert_eq!(
        scene.system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    scene.finish(&exchange).await;
    assert_eq!(scene.requests("/oauth/revoke"), 1);
}

#[tokio::test]
async fn a_pending_link_that_is_dropped_leaves_the_others_their_grant() {
    let scene = Scene::linked(&["alice"]).await;
    scene
        .system
        .consent(&mut scene.system.browser(), "bob", ADA)
        .await;
    scene.system.stack.advance(SignedDuration::from_secs(900));
    scene.finish(&scene.exchanges().await).await;
    assert_eq!(scene.holding(ADA).await.links.len(), 1);
    scene.assert_served(ADA).await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_told("bob", []).await;
    assert_eq!(scene.requests("/oauth/revoke"), 0);
}

#[tokio::test]
async fn a_pending_link_begun_again_waits_for_the_later_claim() {
    let scene = Scene::open().await;
    let system = &scene.system;
    let first = system.consent(&mut system.browser(), "alice", ADA).await;
    let firsts = scene.exchanges().await;
    system.stack.advance(SignedDuration::from_secs(595));
    let second = system.consent(&mut system.browser(), "alice", ADA).await;
    system.stack.advance(SignedDuration::from_secs(305));
    scene.finish(&firsts).await;
    assert_eq!(
        system.app.confirm("alice", &first).await.code(),
        "claim_expired"
    );
    assert_eq!(system.app.confirm("alice", &second).await.status, 200);
    // Once confirmed it stays, whatever order comes.
    system.stack.advance(SignedDuration::from_secs(600));
    scene.finish(&scene.exchanges().await).await;
    scene.assert_status("alice", &["active"]).await;
    scene.assert_served(ADA).await;

    // Not confirmed, it goes with its last claim.
    system.consent(&mut system.browser(), "bob", CEM).await;
    system.stack.advance(SignedDuration::from_secs(595));
    system.consent(&mut system.browser(), "bob", CEM).await;
    system.stack.advance(SignedDuration::from_secs(600));
    scene.finish(&scene.exchanges().await).await;
    scene.assert_gone(CEM).await;
}

// ------------------------------------------------------------------------------------------- backfill

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

async fn ask_backfill(scene: &Scene, app_user: &str, body: String) -> it::app::Answer {
    let token = scene.system.app.api_token(app_user);
    let app = &scene.system.app;
    app.call_with(Method::POST, "/v1/backfill", Some(&token), Some(body))
        .await
}

#[tokio::test]
async fn a_new_link_brings_what_completed_in_the_two_days_before_it_once() {
    let scene = Scene::open().await;
    let hours = SignedDuration::from_hours;
    let missed = [hours(1), hours(47)].map(|age| unannounced(&scene, age));
    let too_old = unannounced(&scene, hours(24 * 5));
    let others = NewRecording {
        send: false,
        ..small(BEN)
    };
    scene.system.zoom().create_recording(others).unwrap();
    // As long as the app has not confirmed, nothing is read.
    let claim = scene
        .system
        .consent(&mut scene.system.browser(), "alice", ADA)
        .await;
    scene.system.work().await;
    assert_eq!(scene.requests("/recordings"), 0);
    assert_eq!(scene.system.app.confirm("alice", &claim).await.status, 200);
    scene.system.work().await;

    let recordings = scene.system.app.recordings("alice").await;
    let uuids: Vec<_> = recordings
        .iter()
        .map(|recording| &recording["meeting_uuid"])
        .collect();
    assert_eq!(uuids, [&missed[0].uuid, &missed[1].uuid]);
    assert!(
        recordings
            .iter()
            .all(|recording| recording["status"] == "stored"),
        "{recordings:?}"
    );

    // The events come after all, and a second user links: nothing is fetched again.
    for recording in &missed {
        let id = scene.system.zoom().complete(&recording.key).unwrap();
        scene.delivered(id).await;
    }
    scene.system.link("bob", ADA).await;
    scene.settle().await;
    for recording in &missed {
        assert_eq!(
            zoom::fetches(&scene.system, &recording.files[0].id),
            1,
            "{}",
            recording.uuid
        );
    }
    assert_eq!(zoom::fetches(&scene.system, &too_old.files[0].id), 0);
    assert_eq!(scene.system.app.recordings("alice").await.len(), 2);
    assert_eq!(store::files(&scene.system.stack).await.len(), 2);
}

#[tokio::test]
async fn the_operator_may_have_more_than_two_days_fetched() {
    let scene = Scene::with(&[("BackfillDays", "10")]).await;
    let hours = SignedDuration::from_hours;
    let missed = unannounced(&scene, hours(24 * 9));
    unannounced(&scene, hours(24 * 12));
    scene.system.link("alice", ADA).await;
    let recordings = scene.system.app.recordings("alice").await;
    let uuids: Vec<_> = recordings
        .iter()
        .map(|recording| &recording["meeting_uuid"])
        .collect();
    assert_eq!(uuids, [&missed.uuid]);
}

#[tokio::test]
async fn a_backfill_over_months_reads_all_windows_and_all_pages() {
    let scene = Scene::with(&[("DownloadMode", "on-demand")]).await;
    scene.system.link("alice", ADA).await;
    scene.system.link("alice", CEM).await;
    let mut expected = BTreeSet::new();
    // One page is 300; this day has more. And one recording every nine days for a year.
    for n in 0..310 {
        let age = SignedDuration::from_hours(24 * 100) + SignedDuration::from_secs(n * 60);
        expected.insert(unannounced(&scene, age).uuid);
    }
    for n in 1..=40 {
        expected.insert(unannounced(&scene, SignedDuration::from_hours(24 * 9 * n)).uuid);
    }
    let outside = unannounced(&scene, SignedDuration::from_hours(24 * 366));
    scene.system.zoom().clear_requests();
    backfill(&scene, "alice", 365).await;

    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/recordings?limit=100{cursor}");
        let page = scene.system.app.get(&path, "alice").await.json();
        let uuids = page["recordings"].as_array().unwrap().iter();
        found.extend(uuids.map(|recording| recording["meeting_uuid"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let unique: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(found.len(), unique.len(), "a recording is listed twice");
    assert!(!unique.contains(&outside.uuid));
    assert_eq!(unique, expected);
    // 366 days in windows of 28, for two Zoom users, and one page more.
    assert_eq!(scene.requests("/users/me/recordings"), 14 * 2 + 1);
    assert_eq!(scene.dead_orders().await, [""; 0]);
}

#[tokio::test]
async fn a_backfill_that_zoom_interrupts_is_completed_and_one_without_a_grant_is_dropped() {
    let scene = Scene::linked(&["alice"]).await;
    let missed = unannounced(&scene, SignedDuration::from_hours(24 * 20));
    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 401 },
        Fault::RateLimited {
            retry_after_seconds: None,
        },
        Fault::Html,
        Fault::Close,
    ] {
        scene.arm(NewFault::times(Point::ListRecordings, fault, 1));
    }
    backfill(&scene, "alice", 30).await;
    assert_eq!(
        scene.system.app.recordings("alice").await[0]["meeting_uuid"],
        missed.uuid
    );
    scene.assert_told("alice", [("activated", 1)]).await;
    assert_eq!(scene.dead_orders().await, [""; 0]);

    // A user who has no link asks for nothing, and an order that outlives its link reads nothing.
    scene.system.zoom().clear_requests();
    backfill(&scene, "bob", 30).await;
    let id = scene.system.app.links("alice").await[0]["id"].clone();
    scene.disconnect("alice", &id).await;
    scene.settle().await;
    let user = scene.zoom_user(ADA);
    scene.order(json!({"v": 1, "order": "backfill", "zoom_user": user, "from": "2026-01-01", "to": "2026-02-01"})).await;
    scene.settle().await;
    assert_eq!(scene.requests("/recordings"), 0);
    assert_eq!(scene.dead_orders().await, [""; 0]);
}

#[tokio::test]
async fn a_backfill_that_makes_no_sense_is_refused() {
    let scene = Scene::linked(&["alice"]).await;
    scene.system.zoom().clear_requests();
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "not json",
        r#"{"from":"2026-01-01"}"#,
        r#"{"to":"2026-01-01"}"#,
        r#"{"from":"2026-01-02","to":"2026-01-01"}"#,
        r#"{"from":"2025-01-01","to":"2026-06-01"}"#,
        r#"{"from":"-009999-01-01","to":"9999-12-31"}"#,
        r#"{"from":"2026-02-30","to":"2026-03-01"}"#,
        r#"{"from":"yesterday","to":"today"}"#,
        r#"{"from":1,"to":2}"#,
        r#"{"from":["2026-01-01"],"to":"2026-01-02"}"#,
        r#"{"from":null,"to":null}"#,
        r#"{"from":"2026-01-01","from":"2026-01-01","to":"2026-01-02"}"#,
    ] {
        let answer = ask_backfill(&scene, "alice", body.to_owned()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "request_invalid"),
            "{body}"
        );
    }
    scene.system.work().await;
    assert!(scene.system.zoom().requests().is_empty());
}

// ---------------------------------------------------------------------------------------- token ladder

/// How often each kind of download URL was tried: the event's, and the one that REST names.
fn rungs(scene: &Scene) -> (usize, usize) {
    (
        scene.requests("/rec/webhook_download/"),
        scene.requests("/rec/download/"),
    )
}

async fn assert_stored(scene: &Scene, recording: &Recording) {
    let files = store::files(&scene.system.stack).await;
    assert_eq!(files.len(), recording.files.len());
    let file = &recording.files[0];
    let (key, bytes) = files.iter().next().unwrap();
    assert!(key.contains(&file.id));
    assert!(*bytes == file.spec().bytes(0..file.size), "other bytes");
}

#[tokio::test]
async fn an_event_whose_token_has_expired_is_fetched_with_what_zooms_api_gives() {
    let scene = Scene::linked(&["alice"]).await;
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.stack.advance(SignedDuration::from_hours(25));
    scene.system.work().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((rungs(&scene), scene.refreshes()), ((1, 1), 1));
}

#[tokio::test]
async fn each_rung_of_the_ladder_is_tried_when_the_one_before_is_refused() {
    // What refuses, how often, and which URLs were tried in the end.
    for (fault, times, tried) in [
        (Fault::Status { status: 401 }, 0, (1, 0)),
        (Fault::Status { status: 401 }, 1, (1, 1)),
        (Fault::Status { status: 403 }, 1, (1, 1)),
        (Fault::Status { status: 404 }, 1, (1, 1)),
        (Fault::Status { status: 410 }, 1, (1, 1)),
        (Fault::Html, 1, (1, 1)),
        (Fault::Status { status: 401 }, 2, (1, 2)),
        (Fault::Status { status: 403 }, 2, (1, 2)),
        (Fault::Html, 2, (1, 2)),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        scene.arm(NewFault::times(Point::Download, fault.clone(), times));
        let recording = zoom::complete(&scene.system, small(ADA)).await;
        scene.system.work().await;
        assert_stored(&scene, &recording).await;
        assert_eq!(rungs(&scene), tried, "{fault:?} {times} times");
    }
}

#[tokio::test]
async fn an_api_that_gives_no_download_token_leaves_the_access_token() {
    let scene = Scene::linked(&["alice"]).await;
    scene
        .system
        .zoom()
        .change_settings(|config| config.download_token_seconds = -1);
    let new = NewRecording {
        send: false,
        ..small(ADA)
    };
    let recording = scene.system.zoom().create_recording(new).unwrap().recording;
    // What Zoom's API says of it, without the token.
    let (grants, user) = (scene.grants(), scene.zoom_user(ADA));
    let token = grants.access_token(&user).await.unwrap();
    let uuid = recording.uuid.parse().unwrap();
    let listed = grants
        .zoom()
        .meeting_recordings(&token.token, &uuid, 60)
        .await
        .unwrap();
    assert!(listed.download_access_token.is_some());
    scene.arm(NewFault::times(
        Point::MeetingRecordings,
        Fault::Answer {
            status: 200,
            content_type: "application/json".into(),
            body: listed.object.to_string(),
        },
        1,
    ));
    let id = scene.system.zoom().complete(&recording.key).unwrap();
    scene.delivered(id).await;
    assert_stored(&scene, &recording).await;
    assert_eq!(rungs(&scene), (1, 1));
}

#[tokio::test]
async fn an_access_token_that_the_api_refuses_is_refreshed_once_and_the_file_comes() {
    let scene = Scene::linked(&["alice"]).await;
    scene.arm(NewFault::times(
        Point::Download,
        Fault::Status { status: 401 },
        1,
    ));
    scene.arm(NewFault::times(
        Point::MeetingRecordings,
        Fault::Status { status: 401 },
        1,
    ));
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((rungs(&scene), scene.refreshes()), ((1, 1), 1));
    scene.assert_served(ADA).await;
}

#[tokio::test]
async fn a_file_that_no_rung_opens_fails_with_the_reason() {
    for (fault, ended, reason) in [
        (Some(Fault::Status { status: 401 }), false, "token_refused"),
        (Some(Fault::Status { status: 403 }), false, "token_refused"),
        (Some(Fault::Html), false, "html_instead_of_file"),
        (Some(Fault::Status { status: 401 }), true, "token_refused"),
    ] {
        let scene = Scene::linked(&["alice"]).await;
        if let Some(fault) = &fault {
            scene.arm(NewFault::always(Point::Download, fault.clone()));
        }
        if ended {
            scene.remove_silently(ADA).await;
        }
        let recording = zoom::complete(&scene.system, small(ADA)).await;
        scene.system.work().await;
        let path = format!("/v1/recordings/{}", recording_id(&recording));
        let seen = scene.system.app.get(&path, "alice").await.json();
        assert_eq!(seen["files"][0]["status"], "failed", "{fault:?}");
        assert_eq!(seen["files"][0]["reason"], reason, "{fault:?}");
        let expected: &[&str] = if ended {
            &["reauthorization_required"]
        } else {
            &["active"]
        };
        scene.assert_status("alice", expected).await;
        assert!(store::files(&scene.system.stack).await.is_empty());
    }
}

/// Zoom honours no token of ours, and the event's own was good: the file comes all the same.
#[tokio::test]
async fn an_event_needs_no_grant_that_works() {
    let scene = Scene::linked(&["alice"]).await;
    scene.remove_silently(ADA).await;
    let recording = zoom::complete(&scene.system, small(ADA)).await;
    scene.system.work().await;
    assert_stored(&scene, &recording).await;
    assert_eq!((rungs(&scene), scene.refreshes()), ((1, 0), 0));
    scene.assert_status("alice", &["active"]).await;
}

fn recording_id(recording: &Recording) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&recording.uuid)
}
