//! Connecting Zoom: the button, the way back, and the end of it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Frame, Section, hint, page, record_something};
use super::{Failure, format, words};
use crate::App;
use crate::reelay::{Link, LinkStatus};
use crate::security;
use crate::session::{Flash, SignedIn};

const HERE: &str = "/settings/integrations";
const CONNECT: &str = "/settings/integrations/zoom/connect";

pub(super) async fn show(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
) -> Result<Markup, Failure> {
    let links = app.reelay.links(&user).await?;
    let flash = Flash::take(&session).await?;
    let broken = links
        .iter()
        .any(|link| link.status == LinkStatus::ReauthorizationRequired);
    let body = html! {
        h1 { "Integrations" }
        section.card aria-labelledby="zoom" {
            .head {
                div {
                    h2 id="zoom" { "Zoom" }
                    p.muted { "Your cloud recordings are stored for you as soon as Zoom has processed them." }
                }
                @if links.is_empty() {
                    a.button.primary href=(CONNECT) { "Connect Zoom" }
                } @else {
                    a.button href=(CONNECT) { "Connect another Zoom account" }
                }
            }
            @if !links.is_empty() {
                ul.rows { @for link in &links { (row(link)) } }
            }
        }
        (hint(html! {
            @if broken {
                "Zoom no longer accepts an earlier permission, so no new recordings arrive from that account. "
                "Press “Reconnect” and allow access again; what is stored already stays."
            } @else if links.is_empty() {
                "Press “Connect Zoom”. You will see Zoom's own page, and come back here afterwards."
            } @else {
                (record_something(app.simulator_url.as_ref()))
                " Then follow it under " a href="/recordings" { "Recordings" } "."
            }
        }))
    };
    Ok(page(
        &Frame::signed_in("Integrations", Section::Integrations, &user, flash),
        body,
    ))
}

fn row(link: &Link) -> Markup {
    let name = match link.zoom.display_name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => name,
        _ => "Zoom account",
    };
    html! {
        li {
            .grow {
                p { strong { (name) } " " (words::link_status(link.status)) }
                p.muted {
                    "Connected " (format::moment(link.activated_at.unwrap_or(link.created_at)))
                    " · Zoom user " code { (link.zoom.user_id) }
                }
            }
            @if link.status == LinkStatus::ReauthorizationRequired {
                a.button.primary href=(CONNECT) { "Reconnect" }
            }
            form method="post" action={ (HERE) "/zoom/" (segment(&link.id)) "/disconnect" } {
                button.danger type="submit" aria-label={ "Disconnect " (name) } { "Disconnect" }
            }
        }
    }
}

/// An id inside a path: whatever it holds, it stays one segment.
pub(super) fn segment(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// Begins at Reelay. The token is made here, when the button is pressed, so that a page left open does not
/// hold a stale one.
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    SignedIn { user, .. }: SignedIn,
    headers: HeaderMap,
) -> Result<Redirect, Failure> {
    // Another site must not begin this for a user who did not ask for it.
    if !security::is_same_origin(&headers, &app.public_url.origin()) {
        return Ok(Redirect::to(HERE));
    }
    let url = app.reelay.connect_url(&user, &app.return_to)?;
    Ok(Redirect::to(url.as_str()))
}

#[derive(Deserialize)]
pub(super) struct Return {
    zoom_link: Option<String>,
    zoom_error: Option<String>,
}

/// The user is back. The claim is confirmed for whoever is signed in in *this* browser: it is worth
/// something only to the user who began.
pub(super) async fn come_back(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    query: Result<Query<Return>, QueryRejection>,
) -> Result<Redirect, Failure> {
    let flash = match query {
        Ok(Query(Return {
            zoom_error: Some(code),
            ..
        })) => words::zoom_error(&code),
        Ok(Query(Return {
            zoom_link: Some(claim),
            ..
        })) => match app.reelay.confirm_link(&user, &claim).await {
            Ok(link) => connected(&link),
            Err(error) => {
                tracing::warn!(?error, %user, "a claim was not confirmed");
                words::claim_refused(&error)
            }
        },
        // Neither, or one of them twice: nothing that Reelay sends.
        Ok(_) | Err(_) => Flash::neutral(
            "Nothing was connected: the way back from Zoom was interrupted. Please connect again.",
        ),
    };
    flash.leave(&session).await?;
    // To another address, so that the claim stays in neither the address bar nor the history.
    Ok(Redirect::to(HERE))
}

fn connected(link: &Link) -> Flash {
    match &link.zoom.display_name {
        Some(name) => Flash::good(format!("Zoom is connected, as {name}.")),
        None => Flash::good("Zoom is connected."),
    }
}

pub(super) async fn disconnect(
    State(app): State<Arc<App>>,
    SignedIn { user, session }: SignedIn,
    Path(link_id): Path<String>,
) -> Result<Redirect, Failure> {
    let flash = match app.reelay.remove_link(&user, &link_id).await {
        Ok(()) => Flash::neutral("Zoom is disconnected. No new recordings will arrive from it."),
        Err(error) => {
            tracing::error!(?error, "a link was not removed");
            Flash::bad(words::reelay_error(&error))
        }
    };
    flash.leave(&session).await?;
    Ok(Redirect::to(HERE))
}
