//! Connecting and disconnecting Zoom.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::components::{avatar, link_status, segment, time};
use super::error::PageError;
use super::layout::{page, record_hint};
use super::messages;
use crate::app::App;
use crate::reelay::{Link, LinkStatus};
use crate::security;
use crate::session::{Flash, SignedIn};

pub(crate) const PATH: &str = "/settings/integrations";
pub(crate) const CONNECT_PATH: &str = "/settings/integrations/zoom/connect";

const STEPS: [(&str, &str); 3] = [
    ("Connect", "Zoom asks for your consent and returns you to this page."),
    ("Record", "Record meetings to the cloud, as always."),
    ("Watch", "Each recording is stored here, with its transcript."),
];

/// The user's links, with buttons to connect, reconnect and disconnect.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
) -> Result<Markup, PageError> {
    let links = app.reelay.links(&user).await?;
    let flash = Flash::take(&session).await?;
    let body = html! {
        h1 { "Integrations" }
        section.card aria-labelledby="zoom" {
            .head {
                div {
                    h2 id="zoom" { "Zoom" }
                    p.muted { "Your cloud recordings are stored as soon as Zoom has processed them." }
                }
                @if links.is_empty() {
                    a.button.primary href=(CONNECT_PATH) { "Connect Zoom" }
                } @else {
                    a.button href=(CONNECT_PATH) { "Connect another Zoom account" }
                }
            }
            @if links.is_empty() {
                ol.steps { @for (title, text) in STEPS { li { h3 { (title) } p.muted { (text) } } } }
            } @else { ul.rows { @for link in &links { (link_row(link)) } } }
        }
        @if links.iter().any(|link| link.status == LinkStatus::Active) {
            (record_hint(app.simulator_url.as_ref()))
        }
    };
    Ok(page("Integrations", Some((&user, PATH)), flash, &body))
}

fn link_row(link: &Link) -> Markup {
    let name = link.zoom.display_name.as_deref().unwrap_or("Zoom account");
    let is_revoked = link.status == LinkStatus::ReauthorizationRequired;
    let problem = match &link.issue {
        _ if is_revoked => Some(messages::REAUTHORIZATION_REQUIRED),
        issue => issue.as_deref().map(messages::issue),
    };
    html! {
        li {
            (avatar(name))
            .grow {
                p.name { strong { (name) } " " (link_status(link)) }
                p.muted { @if let Some(email) = &link.zoom.email { (email) " · " } "Zoom user " code { (link.zoom.user_id) } }
                p.muted {
                    "Connected " (time(link.activated_at.unwrap_or(link.created_at)))
                    @if let Some(at) = link.last_event_at { " · Last news from Zoom " (time(at)) }
                }
            }
            @if is_revoked || link.issue.as_deref() == Some("scope_missing") {
                a.button.primary href=(CONNECT_PATH) aria-label={ "Reconnect " (name) } { "Reconnect" }
            }
            details.confirm {
                summary.button.danger aria-label={ "Disconnect " (name) } { "Disconnect" }
                form method="post" action={ (PATH) "/zoom/" (segment(&link.id)) "/disconnect" } {
                    p {
                        "New recordings of " (name) " no longer arrive, and those that are stored are hidden. They come \
                         back when you connect again."
                    }
                    button.danger type="submit" { "Disconnect " (name) }
                }
            }
            @if let Some(problem) = problem { p.notice.warn { (problem) } }
        }
    }
}

/// Redirects to Reelay with a new connect token.
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    SignedIn { user, .. }: SignedIn,
    headers: HeaderMap,
) -> Result<Redirect, PageError> {
    // A link on another site must not start the flow for this user.
    if !security::is_same_origin(&headers, &app.public_url.origin()) {
        return Ok(Redirect::to(PATH));
    }
    let url = app.reelay.connect_url(&user, &app.return_url)?;
    Ok(Redirect::to(url.as_str()))
}

#[derive(Deserialize)]
pub(crate) struct ReturnQuery {
    zoom_link: Option<String>,
    zoom_error: Option<String>,
}

/// Confirms the claim for the user who is signed in in **this** browser: Reelay accepts it only from the user who
/// started the flow.
pub(crate) async fn return_from_zoom(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    query: Result<Query<ReturnQuery>, QueryRejection>,
) -> Result<Redirect, PageError> {
    let error = match query.map(|Query(query)| (query.zoom_error, query.zoom_link)) {
        Ok((Some(code), _)) => messages::zoom_error(&code),
        Ok((None, Some(claim))) => match app.reelay.confirm_link(&user, &claim).await {
            Ok(link) => {
                let name = link.zoom.display_name.unwrap_or(link.zoom.user_id);
                let flash = Flash::Info(format!("Zoom is connected, as {name}."));
                flash.store(&session).await?;
                return Ok(Redirect::to(PATH));
            }
            Err(error) => {
                tracing::warn!(?error, user = user.as_str(), "claim not confirmed");
                messages::claim_error(&error)
            }
        },
        // Reelay sends exactly one of the two parameters.
        Ok((None, None)) | Err(_) => "The return from Zoom was incomplete. Please connect again.",
    };
    Flash::Error(error.into()).store(&session).await?;
    // The redirect removes the claim from the address bar and the history.
    Ok(Redirect::to(PATH))
}

pub(crate) async fn disconnect(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Path(link_id): Path<String>,
) -> Result<Redirect, PageError> {
    app.reelay.remove_link(&user, &link_id).await?;
    let flash = Flash::Info("Zoom is disconnected. You can connect it again at any time.".into());
    flash.store(&session).await?;
    Ok(Redirect::to(PATH))
}
