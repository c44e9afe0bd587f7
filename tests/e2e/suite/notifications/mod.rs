//! Notifications: delivered for days, listed in the feed, sent to every app user.

mod activation;
mod erased;
mod feed;
mod retries;

use jiff::SignedDuration;
use reelay_zoom_sim::{NewFile, NewRecording};
use serde_json::Value;
use support::zoom_users::ADA;
use support::{AppWebhook, System};

/// Longer than the feed stays behind.
const FEED_DELAY: SignedDuration = SignedDuration::from_secs(16);

async fn started(parameters: &[(&str, &str)]) -> (System, AppWebhook) {
    let app_webhook = AppWebhook::start().await;
    let url = ("AppWebhookUrl", app_webhook.url.as_str());
    let system = System::with(&[&[url], parameters].concat()).await;
    (system, app_webhook)
}

async fn linked(parameters: &[(&str, &str)]) -> (System, AppWebhook) {
    let (system, app_webhook) = started(parameters).await;
    system.link("alice", ADA).await;
    (system, app_webhook)
}

fn one_file() -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 100)])
}

/// All notifications in a user's feed, and the last cursor.
async fn feed(system: &System, user: &str) -> Vec<Value> {
    let (mut all, mut path) = (Vec::new(), "/v1/notifications?limit=100".to_owned());
    loop {
        let response = system.app.get(&path, user).await;
        assert_eq!(response.status, 200, "{response:?}");
        let page = response.json();
        let found = page["notifications"].as_array().unwrap().clone();
        if found.is_empty() {
            return all;
        }
        all.extend(found);
        path = format!("/v1/notifications?cursor={}", page["next_cursor"].as_str().unwrap());
    }
}

fn types(notifications: &[Value]) -> Vec<&str> {
    notifications.iter().map(|notification| notification["type"].as_str().unwrap()).collect()
}
