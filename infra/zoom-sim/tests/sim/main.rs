//! The simulator over real HTTP, as an app meets it.

mod control;
mod downloads;
mod oauth;
mod receiver;
mod rest;
mod webhooks;

use std::sync::atomic::{AtomicU32, Ordering};

use reelay_zoom_sim::{Config, Simulator};
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::Value;

pub(crate) const ADA: &str = "UserAdaBerg00000000001";
pub(crate) const BEN: &str = "UserBenCole_0000000002";
pub(crate) const CEM: &str = "-UserCemDiaz0000000003";
pub(crate) const NORTHWIND: &str = "Acct_Northwind00000001";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:9/zoom/callback";
pub(crate) const SECRET: &str = "test-secret-token-000";

pub(crate) async fn sim() -> Simulator {
    sim_with(|_| {}).await
}

pub(crate) async fn sim_with(change: impl FnOnce(&mut Config)) -> Simulator {
    let mut config = Config {
        webhook_secret: SECRET.into(),
        redirect_uris: vec![REDIRECT.into()],
        ..Config::default()
    };
    change(&mut config);
    reelay_zoom_sim::start(config).await.expect("starts")
}

/// A client that follows nothing, so that every answer can be seen.
pub(crate) fn client() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .expect("client")
}

pub(crate) fn at(sim: &Simulator, path: &str) -> String {
    sim.url().join(path).expect("path").into()
}

pub(crate) async fn get_json(sim: &Simulator, path: &str, token: &str) -> (u16, Value) {
    let response = client()
        .get(at(sim, path))
        .bearer_auth(token)
        .send()
        .await
        .expect("answer");
    (
        response.status().as_u16(),
        response.json().await.expect("JSON"),
    )
}

/// A different number each time, for names that must not collide.
pub(crate) fn fresh() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
