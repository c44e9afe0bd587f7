//! What Reelay told this app about the user who is signed in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::json;

use super::layout::{Frame, Section, hint, page};
use super::{Failure, format};
use crate::App;
use crate::inbox::VerifiedNotification;
use crate::session::{Flash, SignedIn};

/// A thousand with all their files would be a page of megabytes.
const SHOWN: usize = 100;

pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
) -> Result<Markup, Failure> {
    let (total, newest) = app.inbox.about(user.as_str(), SHOWN);
    let flash = Flash::take(&session).await?;
    let body = html! {
        h1 { "Notifications" }
        p.lead {
            "Facts that Reelay sent to this app's webhook about you. Every signature was verified before "
            "anything was read; a repeated delivery is shown once."
        }
        div data-live="/notifications.json" data-version=(version(total, &newest))
            data-summary={ (total) " notifications" } {
            @for notification in &newest { (card(notification)) }
            @if newest.is_empty() { p.empty { "Nothing yet. This page updates by itself." } }
            @if total > newest.len() {
                p.muted { "The newest " (newest.len()) " of " (total) " are shown." }
            }
            (hint(html! {
                @if newest.is_empty() {
                    "Connect Zoom under " a href="/settings/integrations" { "Integrations" }
                    "; the first message is " code { "link.activated" } "."
                } @else {
                    "Open a message to read its body. "
                    code { "data.sequence" } " tells an older fact about a recording from a newer one."
                }
            }))
        }
    };
    Ok(page(
        &Frame::signed_in("Notifications", Section::Notifications, &user, flash),
        body,
    ))
}

fn card(notification: &VerifiedNotification) -> Markup {
    let body = serde_json::to_string_pretty(&notification.body).unwrap_or_default();
    let topic = notification
        .body
        .pointer("/data/recording/topic")
        .and_then(|topic| topic.as_str());
    html! {
        details.card.told id=(notification.id) {
            summary {
                code.kind { (notification.kind) }
                @if let Some(topic) = topic { span { (topic) } }
                span.muted { (format::moment(notification.timestamp)) }
            }
            p.muted { code { (notification.id) } " · delivered " (format::moment(notification.received_at)) }
            pre.text tabindex="0" { (body) }
        }
    }
}

fn version(total: usize, newest: &[VerifiedNotification]) -> String {
    let id = newest.first().map_or("", |notification| &notification.id);
    format!("{total}:{id}")
}

pub(super) async fn state(State(app): State<Arc<App>>, signed_in: Option<SignedIn>) -> Response {
    let Some(SignedIn { user, .. }) = signed_in else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let (total, newest) = app.inbox.about(user.as_str(), 1);
    Json(json!({ "total": total, "version": version(total, &newest) })).into_response()
}
