//! The notifications that concern the signed-in user.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde_json::Value;

use super::components::{badge, time};
use super::layout::page;
use crate::app::App;
use crate::inbox::Notification;
use crate::session::SignedIn;

/// Number of notifications on the page.
const MAX_SHOWN: usize = 100;

pub(crate) async fn show(State(app): State<Arc<App>>, SignedIn { user, .. }: SignedIn) -> Markup {
    let notifications = app.inbox.of_user(&user);
    let summary = format!("{} notifications", notifications.len());
    let body = html! {
        h1 { "Notifications" }
        p.lead {
            "Reelay sent this to the app about you. The app verified each signature before it read the body, and \
             ignored repeated deliveries."
        }
        div data-live=(summary) data-version=(notifications.len()) {
            @for notification in notifications.iter().take(MAX_SHOWN) { (card(notification)) }
            @if notifications.is_empty() { p.empty { "No notifications. This page updates by itself." } }
        }
    };
    page("Notifications", Some((&user, "/notifications")), None, &body)
}

fn card(notification: &Notification) -> Markup {
    let body = serde_json::to_string_pretty(&notification.body).unwrap_or_default();
    let topic = notification.body.pointer("/data/recording/topic").and_then(Value::as_str);
    html! {
        details.card.notification id=(notification.id) {
            summary {
                strong { (meaning(&notification.kind)) }
                @if let Some(topic) = topic { span { (topic) } }
                code.kind { (notification.kind) }
                span.muted { (time(notification.timestamp)) }
                (badge("good", "✓ Signature verified"))
            }
            p.muted {
                "The signature is an HMAC-SHA256 of id, timestamp and body, with a secret that only Reelay and this app "
                "know. The app computed it anew and compared."
            }
            dl {
                dt { "webhook-id" } dd { code { (notification.id) } }
                dt { "webhook-timestamp" } dd { code { (notification.signed_at) } }
                dt { "webhook-signature" } dd { code { (notification.signature) } }
                dt { "Received" } dd { (time(notification.received_at)) }
            }
            pre.text tabindex="0" role="region" aria-label={ "Body of " (notification.id) } { (body) }
        }
    }
}

/// What a notification of this type means to the user.
fn meaning(kind: &str) -> &'static str {
    match kind {
        "link.activated" => "Zoom is connected",
        "link.reauthorization_required" => "Zoom must be connected again",
        "link.removed" => "Zoom is disconnected",
        "link.issue" => "A connection’s problem began or ended",
        "recording.detected" => "Recording found at Zoom",
        "recording.file_stored" => "File stored",
        "recording.stored" => "Recording complete",
        "recording.failed" => "File not stored",
        "recording.changed" => "Recording changed at Zoom",
        "backfill.completed" => "Older recordings read",
        _ => "Other notification",
    }
}
