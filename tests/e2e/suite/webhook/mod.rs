//! Events as Zoom sends them, and as forgers do: who is believed, what is kept, when Zoom is to come again.

mod answers;
mod keeping;
mod secret;
mod signatures;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reelay_embedded_aws::Service;
use serde_json::json;
use support::{System, store, zoom};

/// Both take the same events: operators mix the two up.
const ROUTES: [&str; 2] = ["/zoom/webhook", "/zoom/deauthorize"];

/// A recording of somebody who never linked: stored in the queue if the signature is good, otherwise not.
fn event() -> Vec<u8> {
    zoom::completed(
        "AcctAAAAAAAAAAAAAAAAAA",
        "UserBBBBBBBBBBBBBBBBBB",
        "Zm9v+bar/bazQUJDREVGRw==",
        &[],
    )
}

fn now(system: &System) -> String {
    system.app.now().as_second().to_string()
}

async fn queued(system: &System) -> usize {
    store::depth(&system.stack, &system.stack.config().queues.events).await
}

/// Counts AWS calls by service and operation from here on.
fn count_calls(system: &System) -> Arc<Mutex<BTreeMap<(Service, String), u64>>> {
    let seen: Arc<Mutex<BTreeMap<(Service, String), u64>>> = Arc::default();
    let noted = Arc::clone(&seen);
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            *noted
                .lock()
                .unwrap()
                .entry((service, operation.to_owned()))
                .or_default() += 1;
            None
        });
    seen
}

fn zoom_secret(webhook_secret: &str) -> String {
    json!({"client_id": "id", "client_secret": "secret", "webhook_secret": webhook_secret})
        .to_string()
}
