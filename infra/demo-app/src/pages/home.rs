//! The start: who are you, and then where you are on the way to the first recording.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tower_sessions::Session;
use url::Url;

use super::layout::{Frame, Section, hint, page};
use super::{Failure, words};
use crate::App;
use crate::app_user::AppUser;
use crate::reelay::{LinkStatus, RecordingStatus, ReelayError};
use crate::session::{self, Flash, SignedIn};

/// Whom to try it as. There are no passwords: this is a demo, and any other id will do.
const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// Enough to know how far a visitor has come.
const GLANCE: u8 = 20;

#[derive(Deserialize)]
pub(super) struct Next {
    next: Option<String>,
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    signed_in: Option<SignedIn>,
    session: Session,
    Query(Next { next }): Query<Next>,
) -> Result<Markup, Failure> {
    let flash = Flash::take(&session).await?;
    match signed_in {
        Some(SignedIn { user, .. }) => Ok(overview(&app, &user, flash).await),
        None => Ok(sign_in_page(next.as_deref(), flash)),
    }
}

fn sign_in_page(next: Option<&str>, flash: Option<Flash>) -> Markup {
    let body = html! {
        h1 { "Sign in" }
        p.lead {
            "This app's users connect Zoom once; from then on their cloud recordings are stored for them. "
            "Choose who you want to be — there are no passwords."
        }
        .people {
            @for user in USERS {
                form method="post" action="/sign-in" {
                    @if let Some(next) = next { input type="hidden" name="next" value=(next); }
                    button.person type="submit" name="user" value=(user) {
                        span.avatar aria-hidden="true" { (user[..1].to_uppercase()) }
                        (user)
                    }
                }
            }
        }
        form.inline method="post" action="/sign-in" {
            @if let Some(next) = next { input type="hidden" name="next" value=(next); }
            label for="user" { "or as somebody else" }
            input id="user" name="user" required maxlength="128" pattern="[A-Za-z0-9._~@:+=\\|\\-]{1,128}"
                autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="user-4711"
                aria-describedby="user-help";
            button type="submit" { "Sign in" }
            small.muted id="user-help" { "Letters, digits and . _ ~ @ : + = | -" }
        }
        (hint(html! { "Sign in. You will then be shown how to connect a Zoom account." }))
    };
    page(&Frame::plain("Sign in").with_flash(flash), body)
}

/// How far a user has come.
#[derive(Default)]
struct Progress {
    linked: bool,
    reconnect: bool,
    recorded: bool,
    stored: bool,
}

async fn progress(app: &App, user: &AppUser) -> Result<Progress, ReelayError> {
    let (links, recordings) = tokio::try_join!(
        app.reelay.links(user),
        app.reelay.recordings(user, GLANCE, None)
    )?;
    let recordings = recordings.recordings;
    Ok(Progress {
        linked: !links.is_empty(),
        reconnect: links
            .iter()
            .any(|link| link.status == LinkStatus::ReauthorizationRequired),
        recorded: !recordings.is_empty(),
        stored: recordings
            .iter()
            .any(|recording| recording.status == RecordingStatus::Stored),
    })
}

async fn overview(app: &App, user: &AppUser, flash: Option<Flash>) -> Markup {
    let (progress, flash) = match progress(app, user).await {
        Ok(progress) => (progress, flash),
        Err(error) => {
            tracing::error!(?error, "the overview is incomplete");
            let flash = Flash::bad(words::reelay_error(&error));
            (Progress::default(), Some(flash))
        }
    };
    let (told, _) = app.inbox.about(user.as_str(), 0);
    let simulator = app.simulator_url.as_ref();
    let steps = [
        (
            progress.linked && !progress.reconnect,
            "Connect a Zoom account",
            html! {
                @if progress.reconnect {
                    "Zoom asks you to confirm the connection again under "
                } @else {
                    "Allow this app to fetch your cloud recordings under "
                }
                a href="/settings/integrations" { "Integrations" } "."
            },
        ),
        (
            progress.recorded,
            "Complete a recording",
            complete(simulator),
        ),
        (
            progress.stored,
            "Watch it being stored",
            html! { "Follow every byte, then play the video under " a href="/recordings" { "Recordings" } "." },
        ),
        (
            told > 0,
            "See what this app was told",
            html! { "Reelay signs a message for every fact: read them under " a href="/notifications" { "Notifications" } "." },
        ),
    ];
    let current = steps.iter().position(|(done, ..)| !done);
    let body = html! {
        h1 { "Hello, " (user) }
        p.lead { "Four steps from a Zoom account to a recording of your own." }
        ol.steps {
            @for (number, (done, title, text)) in steps.iter().enumerate() {
                li.done[*done] aria-current=[(current == Some(number)).then_some("step")] {
                    span.number aria-hidden="true" { @if *done { "✓" } @else { (number + 1) } }
                    div {
                        h2 { (title) @if *done { span.hidden { " (done)" } } }
                        p { (text) }
                    }
                }
            }
        }
        @if current.is_none() {
            (hint(html! {
                "That is all of it. Sign in as somebody else to see that nobody sees another's recordings."
            }))
        }
    };
    page(
        &Frame::signed_in("Start", Section::Start, user, flash),
        body,
    )
}

fn complete(simulator: Option<&Url>) -> Markup {
    html! {
        @if let Some(url) = simulator {
            "There is no need for a real meeting: "
            a href=(url) target="_blank" rel="noopener noreferrer" { "open the Zoom simulator" } "."
        } @else {
            "Record a meeting to Zoom's cloud and end it."
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    user: String,
    next: Option<String>,
}

pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    session: Session,
    form: Result<Form<SignInForm>, FormRejection>,
) -> Result<Redirect, Failure> {
    let form = form.ok().map(|Form(form)| form);
    let user = form
        .as_ref()
        .and_then(|form| form.user.trim().parse::<AppUser>().ok());
    let Some(user) = user else {
        Flash::bad("A user id has 1 to 128 letters, digits or . _ ~ @ : + = | - and no spaces.")
            .leave(&session)
            .await?;
        return Ok(Redirect::to("/"));
    };
    session::sign_in(&session, &user).await?;
    let next = form.and_then(|form| form.next);
    let path = next.and_then(|next| local_path(&app.public_url, &next));
    Ok(Redirect::to(path.as_deref().unwrap_or("/")))
}

/// The path to go on with, if it is one of this app: nobody is sent elsewhere by a crafted link.
fn local_path(public_url: &Url, next: &str) -> Option<String> {
    let url = public_url.join(next).ok()?;
    (next.starts_with('/') && url.origin() == public_url.origin()
        // `/..//elsewhere` resolves to a path which, sent alone, would name a host.
        && !url.path().starts_with("//"))
    .then(|| url.path().to_owned())
}

pub(super) async fn sign_out(session: Session) -> Result<Redirect, Failure> {
    session::sign_out(&session).await?;
    Ok(Redirect::to("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_nowhere_else() {
        let ours = Url::parse("http://localhost:4000/").expect("a URL");
        let path = |next| local_path(&ours, next);
        assert_eq!(path("/recordings").as_deref(), Some("/recordings"));
        for bad in [
            "//evil.example",
            "/\\evil.example",
            "/..//evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "",
        ] {
            assert_eq!(path(bad), None, "{bad:?}");
        }
    }
}
