//! Sessions: the browser holds a signed random id, and the server holds the data.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::{Deserialize, Serialize};
use tower_sessions::cookie::time::Duration;
use tower_sessions::cookie::{Key, SameSite};
use tower_sessions::service::SignedCookie;
use tower_sessions::session::Error;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer};

use crate::app_user::AppUser;

const USER: &str = "user";
const FLASH: &str = "flash";

/// The session layer. Sessions and the cookie key are in memory, so a restart signs all users out.
pub(crate) fn layer(port: u16, https: bool) -> SessionManagerLayer<MemoryStore, SignedCookie> {
    SessionManagerLayer::new(MemoryStore::default())
        // Cookies ignore ports. The port in the name keeps two demo apps on one machine apart.
        .with_name(format!("demo_session_{port}"))
        .with_secure(https)
        .with_http_only(true)
        // `Strict` would sign the user out on the way back from Zoom.
        .with_same_site(SameSite::Lax)
        .with_expiry(Expiry::OnInactivity(Duration::hours(8)))
        .with_signed(Key::generate())
}

/// The signed-in user. As a handler argument it redirects signed-out visitors to the sign-in page.
pub(crate) struct SignedIn {
    pub(crate) user: AppUser,
    pub(crate) session: Session,
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let session = Session::from_request_parts(parts, state).await;
        let session = session.map_err(|error| error.into_response())?;
        let failed = |_| StatusCode::INTERNAL_SERVER_ERROR.into_response();
        let user = user(&session).await.map_err(failed)?;
        let user = user.ok_or_else(|| Redirect::to("/").into_response())?;
        Ok(Self { user, session })
    }
}

/// The user who is signed in, if any.
pub(crate) async fn user(session: &Session) -> Result<Option<AppUser>, Error> {
    session.get(USER).await
}

/// Signs the user in under a new session id, which prevents session fixation.
pub(crate) async fn sign_in(session: &Session, user: &AppUser) -> Result<(), Error> {
    session.clear().await;
    session.cycle_id().await?;
    session.insert(USER, user).await
}

/// A message that the next page shows once.
#[derive(Serialize, Deserialize)]
pub(crate) enum Flash {
    Info(String),
    Error(String),
}

impl Flash {
    /// Stores the message for the next page.
    pub(crate) async fn store(&self, session: &Session) -> Result<(), Error> {
        session.insert(FLASH, self).await
    }

    /// Removes and returns the stored message.
    pub(crate) async fn take(session: &Session) -> Result<Option<Self>, Error> {
        session.remove(FLASH).await
    }
}
