//! The end of an authorization, and telling the app of it.

use crate::delivery::{self, Forgery, Target};
use crate::events;
use crate::grants::DeathCause;
use crate::lock;
use crate::signature::hmac_hex;
use crate::sim::Shared;

/// Kills the user's live grant and sends `app_deauthorized`. `None` if there is no such user.
pub(crate) fn end_grant(sim: &Shared, user_id: &str, cause: DeathCause) -> Option<u64> {
    lock(&sim.world).grants.kill(user_id, cause);
    notify(sim, user_id)
}

/// Sends `app_deauthorized`.
pub(crate) fn notify(sim: &Shared, user_id: &str) -> Option<u64> {
    let user = lock(&sim.world).user(user_id).cloned()?;
    let config = sim.config();
    let legacy = hmac_hex(
        &config.webhook_secret,
        &[user.id.as_bytes(), user.account_id.as_bytes()],
    );
    let body = events::app_deauthorized(&user, &config.client_id, &legacy, sim.clock.now());
    Some(delivery::send(
        sim,
        Target::Deauthorize,
        body,
        None,
        Forgery::default(),
    ))
}
