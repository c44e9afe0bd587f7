//! The simulator over real HTTP, as an app uses it.

mod control;
mod downloads;
mod oauth;
mod receiver;
mod rest;
mod webhooks;

use reelay_zoom_sim::{Config, Simulator};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
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
    reelay_zoom_sim::start(config).await.expect("started")
}

/// A client that follows no redirects.
pub(crate) fn client() -> Client {
    let builder = Client::builder().redirect(Policy::none()).no_proxy();
    builder.build().expect("client")
}

pub(crate) fn at(sim: &Simulator, path: &str) -> String {
    sim.url().join(path).expect("path").into()
}

pub(crate) async fn get(url: &str, token: &str) -> Response {
    let request = client().get(url).bearer_auth(token);
    request.send().await.expect("response")
}

pub(crate) async fn get_json(sim: &Simulator, path: &str, token: &str) -> (u16, Value) {
    json(get(&at(sim, path), token).await).await
}

pub(crate) async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// A response header, or an empty string.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().expect("text"))
}

/// A list within a JSON value.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("list")
}
