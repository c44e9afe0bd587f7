//! Webhooks: signatures, storage, responses, and the secret.

mod responses;
mod secret;
mod signatures;
mod storage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reelay_embedded_aws::Service;
use serde_json::json;
use support::System;
use support::zoom::completed_event;

/// Both routes accept the same events.
const ROUTES: [&str; 2] = ["/zoom/webhook", "/zoom/deauthorize"];

/// An event of an unlinked host.
fn event() -> Vec<u8> {
    completed_event(
        "AcctAAAAAAAAAAAAAAAAAA",
        "UserBBBBBBBBBBBBBBBBBB",
        "Zm9v+bar/bazQUJDREVGRw==",
        &[],
    )
}

async fn queued(system: &System) -> usize {
    system.queue_depth(&system.queues().events).await
}

/// Counts AWS calls by service and operation.
fn count_calls(system: &System) -> Arc<Mutex<BTreeMap<(Service, String), u64>>> {
    let seen: Arc<Mutex<BTreeMap<(Service, String), u64>>> = Arc::default();
    let noted = Arc::clone(&seen);
    system.faults().decide_with(move |service, operation| {
        *noted.lock().unwrap().entry((service, operation.to_owned())).or_default() += 1;
        None
    });
    seen
}

fn zoom_secret(webhook_secret: &str) -> String {
    json!({"client_id": "id", "client_secret": "secret", "webhook_secret": webhook_secret})
        .to_string()
}
