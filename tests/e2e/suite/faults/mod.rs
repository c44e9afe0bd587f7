//! Failures of Zoom, of AWS and of the app's webhook.

mod addresses;
mod app_webhook;
mod aws_calls;
mod zoom_responses;

use std::net::Ipv4Addr;

use axum::response::IntoResponse as _;
use reelay_zoom_sim::{NewFile, NewRecording};
use serde_json::Value;
use support::zoom_users::ADA;
use support::{System, TestServer};

/// A server that no request may reach.
async fn forbidden_server(ip: Ipv4Addr) -> TestServer {
    TestServer::start(ip, |_, _| ().into_response()).await
}

async fn linked() -> System {
    linked_with(&[]).await
}

async fn linked_with(parameters: &[(&str, &str)]) -> System {
    let system = System::with(parameters).await;
    system.link("alice", ADA).await;
    system
}

fn of_ada(files: Vec<NewFile>) -> NewRecording {
    NewRecording::of(ADA).with_files(files)
}

/// File and reason of each `recording.failed` notification of one meeting.
fn failures(system: &System, uuid: &str) -> Vec<(String, String)> {
    let received = system.stack.demo_app().unwrap().received();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut failures = Vec::new();
    for notification in received {
        let data = &notification.body["data"];
        if notification.kind == "recording.failed" && data["recording"]["meeting_uuid"] == uuid {
            failures.push((text(&data["file"]["id"]), text(&data["reason"])));
        }
    }
    failures.sort();
    failures
}

fn two_small() -> Vec<NewFile> {
    vec![NewFile::new("MP4", 2_000), NewFile::new("CHAT", 300)]
}
