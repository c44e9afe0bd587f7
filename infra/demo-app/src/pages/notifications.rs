//! The notifications that concern the signed-in user.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde_json::Value;

use super::components::time;
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
            "Reelay sent these notifications about you to this app’s webhook. The app verified each signature before "
            "it parsed the body, and ignored repeated deliveries."
        }
        div data-live=(summary) data-version=(notifications.len()) {
            @for notification in notifications.iter().take(MAX_SHOWN) { (card(notification)) }
            @if notifications.is_empty() { p.empty { "No notifications. This page updates by itself." } }
        }
    };
    let signed_in = Some((&user, "/notifications"));
    page("Notifications", signed_in, None, &body)
}

fn card(notification: &Notification) -> Markup {
    let body = serde_json::to_string_pretty(&notification.body).unwrap_or_default();
    let topic = notification.body.pointer("/data/recording/topic").and_then(Value::as_str);
    html! {
        details.card.notification id=(notification.id) {
            summary {
                code.kind { (notification.kind) }
                @if let Some(topic) = topic { span { (topic) } }
                span.muted { (time(notification.timestamp)) }
            }
            p.muted { code { (notification.id) } " · received " (time(notification.received_at)) }
            pre.text tabindex="0" { (body) }
        }
    }
}
