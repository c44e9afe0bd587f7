//! Sessions: the browser holds a signed, meaningless cookie, the server everything else.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::{Deserialize, Serialize};
use tower_sessions::cookie::time::Duration;
use tower_sessions::cookie::{Key, SameSite};
use tower_sessions::service::SignedCookie;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer};
use url::form_urlencoded;

use crate::app_user::AppUser;
use crate::pages::Failure;

const USER: &str = "user";
const FLASH: &str = "flash";

/// The session layer. Sessions live in memory and the cookie key with them: after a restart, users sign in
/// again.
pub(crate) fn layer(port: u16, https: bool) -> SessionManagerLayer<MemoryStore, SignedCookie> {
    SessionManagerLayer::new(MemoryStore::default())
        // Cookies ignore ports: two demo apps on one machine would sign each other's users out.
        .with_name(format!("demo_session_{port}"))
        .with_secure(https)
        .with_http_only(true)
        // Not `Strict`: the user coming back from Zoom must still be signed in.
        .with_same_site(SameSite::Lax)
        .with_expiry(Expiry::OnInactivity(Duration::hours(8)))
        .with_signed(Key::generate())
}

/// Who is signed in. As an argument of a handler it sends everybody else to the sign-in page.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) user: AppUser,
    pub(crate) session: Session,
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Response> {
        let session = Session::from_request_parts(parts, state)
            .await
            .map_err(|error| error.into_response())?;
        let user = session.get::<AppUser>(USER).await.map_err(broken)?;
        Ok(user.map(|user| Self { user, session }))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let found: Option<Self> =
            <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        found.ok_or_else(|| {
            // The path only: a query may hold a claim, which has no business in another address.
            let next: String =
                form_urlencoded::byte_serialize(parts.uri.path().as_bytes()).collect();
            Redirect::to(&format!("/?next={next}")).into_response()
        })
    }
}

/// Begins a new session for the user, under a new cookie.
pub(crate) async fn sign_in(session: &Session, user: &AppUser) -> Result<(), Failure> {
    // Not `flush`: what is inserted after it goes by the old id, which somebody else may have planted.
    session.clear().await;
    session.cycle_id().await?;
    Ok(session.insert(USER, user).await?)
}

/// Ends the session.
pub(crate) async fn sign_out(session: &Session) -> Result<(), Failure> {
    Ok(session.flush().await?)
}

/// A message for the next page, shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flash {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

/// How a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tone {
    Good,
    Neutral,
    Bad,
}

impl Flash {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self {
            tone: Tone::Good,
            text: text.into(),
        }
    }

    pub(crate) fn neutral(text: impl Into<String>) -> Self {
        Self {
            tone: Tone::Neutral,
            text: text.into(),
        }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self {
            tone: Tone::Bad,
            text: text.into(),
        }
    }

    /// Leaves it for the next page.
    pub(crate) async fn leave(&self, session: &Session) -> Result<(), Failure> {
        Ok(session.insert(FLASH, self).await?)
    }

    /// Takes what the last page left.
    pub(crate) async fn take(session: &Session) -> Result<Option<Self>, Failure> {
        Ok(session.remove(FLASH).await?)
    }
}

fn broken(error: tower_sessions::session::Error) -> Response {
    Failure::from(error).into_response()
}
