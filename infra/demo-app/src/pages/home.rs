//! Signing in and out. There are no passwords: this is a demo.

use axum::extract::Form;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;
use tower_sessions::Session;

use super::components::avatar;
use super::error::PageError;
use super::integrations;
use super::layout::page;
use crate::app_user::AppUser;
use crate::session::{self, Flash};

/// The sign-in page. Signed-in users continue to the integrations.
pub(crate) async fn show(session: Session) -> Result<Response, PageError> {
    if session::user(&session).await?.is_some() {
        return Ok(Redirect::to(integrations::PATH).into_response());
    }
    let flash = Flash::take(&session).await?;
    let body = html! {
        .narrow {
            h1 { "Your Zoom recordings, kept" }
            p.lead { "Connect Zoom once. From then on each cloud recording is stored here, with its transcript." }
            section.card aria-labelledby="sign-in" {
                h2 id="sign-in" { "Sign in" }
                p.muted { "This is a demo without passwords. Two users show that each sees only their own recordings." }
                form.people method="post" action="/sign-in" {
                    @for (id, name) in [("alice", "Alice"), ("bob", "Bob")] {
                        button.person type="submit" name="user" value=(id) { (avatar(name)) (name) }
                    }
                }
                form.inline method="post" action="/sign-in" {
                    label for="user" { "Or as another user" }
                    input id="user" name="user" required maxlength="128" pattern="[A-Za-z0-9._~@:+=\\|\\-]{1,128}"
                        autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="user-help";
                    button type="submit" { "Sign in" }
                    small.muted id="user-help" { "Letters, digits and . _ ~ @ : + = | -" }
                }
            }
        }
    };
    Ok(page("Sign in", None, flash, &body).into_response())
}

#[derive(Deserialize)]
pub(crate) struct SignInForm {
    user: String,
}

pub(crate) async fn sign_in(
    session: Session,
    Form(form): Form<SignInForm>,
) -> Result<Redirect, PageError> {
    match form.user.trim().parse::<AppUser>() {
        Ok(user) => session::sign_in(&session, &user).await?,
        Err(error) => Flash::Error(format!("Please try again: {error}.")).store(&session).await?,
    }
    Ok(Redirect::to("/"))
}

pub(crate) async fn sign_out(session: Session) -> Result<Redirect, PageError> {
    session.flush().await?;
    Ok(Redirect::to("/"))
}
