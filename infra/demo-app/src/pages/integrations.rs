//! Connecting and disconnecting Zoom.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::components::{link_status, segment, time};
use super::error::PageError;
use super::layout::{hint, page, record_hint};
use super::messages;
use crate::app::App;
use crate::reelay::{Link, LinkStatus};
use crate::security;
use crate::session::{Flash, SignedIn};

pub(crate) const PATH: &str = "/settings/integrations";
pub(crate) const CONNECT_PATH: &str = "/settings/integrations/zoom/connect";

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
            @if !links.is_empty() {
                ul.rows { @for link in &links { (link_row(link)) } }
            }
        }
        (hint(html! {
            @if links.iter().any(needs_reconnect) {
                "Zoom revoked this app’s access, so no new recordings arrive from that account. "
                "Press “Reconnect” and allow access again. Stored recordings stay."
            } @else if links.is_empty() {
                "Press “Connect Zoom”. Zoom asks for your consent and returns you to this page."
            } @else {
                (record_hint(app.simulator_url.as_ref()))
                " Then follow it under " a href="/recordings" { "Recordings" } "."
            }
        }))
    };
    Ok(page("Integrations", Some((&user, PATH)), flash, &body))
}

fn needs_reconnect(link: &Link) -> bool {
    link.status == LinkStatus::ReauthorizationRequired
}

fn link_row(link: &Link) -> Markup {
    let name = link.zoom.display_name.as_deref().unwrap_or("Zoom account");
    html! {
        li {
            .grow {
                p { strong { (name) } " " (link_status(link.status)) }
                p.muted {
                    "Connected " (time(link.activated_at.unwrap_or(link.created_at)))
                    " · Zoom user " code { (link.zoom.user_id) }
                }
            }
            @if needs_reconnect(link) { a.button.primary href=(CONNECT_PATH) { "Reconnect" } }
            form method="post" action={ (PATH) "/zoom/" (segment(&link.id)) "/disconnect" } {
                button.danger type="submit" aria-label={ "Disconnect " (name) } { "Disconnect" }
            }
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
                tracing::warn!(?error, %user, "claim not confirmed");
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
    let flash = Flash::Info(
        "Zoom is disconnected. No new recordings will arrive from this account.".into(),
    );
    flash.store(&session).await?;
    Ok(Redirect::to(PATH))
}
