//! `GET /v2/users/me`.

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::{Category, bearer, caller, ok};
use crate::conn::Conn;
use crate::faults::Point;
use crate::guard::guarded;
use crate::lock;
use crate::sim::{Shared, Sim};

/// Who the token belongs to.
pub(crate) async fn me(
    State(sim): State<Shared>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    headers: HeaderMap,
) -> Response {
    let subject = subject(&sim, &headers);
    guarded(&sim, &conn, Point::UsersMe, &[&subject], |_| {
        match caller(&sim, &headers, ["user:read:user", "user:read"]) {
            Ok(user) => ok(&sim, Category::Light, &user.profile(sim.clock.now())),
            Err(refusal) => *refusal,
        }
    })
    .await
}

/// The user id that faults may be restricted to.
pub(super) fn subject(sim: &Sim, headers: &HeaderMap) -> String {
    let token = bearer(headers).unwrap_or_default();
    lock(&sim.world).grants.owner_of(token).unwrap_or_default()
}
