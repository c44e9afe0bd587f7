//! Concurrent uses of one expired grant, the first of them killed at every await point.

use reelay_domain::ids::ZoomUser;
use reelay_zoom_sim::{Fault, NewFault, Point};

use super::await_point;
use crate::case::Case;
use crate::delivery::{GrantUse, use_grant, use_replaced_token};
use crate::interleave::Op;
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::{ACCESS_TOKEN_EXPIRY, World};

/// Upper bound of the await points of a use that refreshes.
const MAX_POINTS: u64 = 24;

pub(super) async fn run(world: &World, seed: u64, rng: SeededRng) -> anyhow::Result<Outcome> {
    let mut case = Case::new(world, rng, 1, 2)?;
    let user = case.zoom_users[0].clone();
    let linked = 1 + case.rng.below(2);
    for app_user in &case.app_users[..linked] {
        world.link(app_user, user.user_id.as_str()).await?;
    }
    case.process_messages().await?;

    // The access token has expired, or Zoom rejected it early.
    let rejected = if case.rng.percent(30) {
        Some(world.warm.grants()?.access_token(&user).await?)
    } else {
        world.advance(ACCESS_TOKEN_EXPIRY);
        None
    };
    let (refreshes_before, _) = refresh_counts(world, &user)?;
    // The pair must survive one rejected call after its issue.
    if case.rng.percent(40) {
        world.reject_after_refresh(user.user_id.as_str(), refreshes_before);
    }
    // An error of Zoom's does not end the grant.
    let has_error = case.rng.percent(25);
    if has_error {
        let error = Fault::Status { status: 500 };
        world.zoom()?.arm(NewFault::times(Point::TokenRefresh, error, 1))?;
    }
    let others = case.rng.below(4);
    let fresh = world.warm.fresh();
    let point = await_point(seed, MAX_POINTS);
    let mut ops = Vec::new();
    for index in 0..=others {
        let instances = if index == 0 { &fresh } else { &world.warm };
        let grants = instances.grants()?;
        let (user, rejected) = (&user, rejected.as_ref());
        let op = Op::new(async move {
            match rejected {
                Some(token) => use_replaced_token(grants, user, token).await,
                None => use_grant(grants, user).await,
            }
        });
        ops.push(if index == 0 {
            op.kill_at(point)
        } else {
            op.start_after(case.rng.below(point + 2))
        });
    }
    let mut is_reauthorization_required = false;
    for result in case.run(ops).await.results.into_iter().flatten() {
        match result {
            GrantUse::Succeeded => {}
            GrantUse::ReauthorizationRequired => is_reauthorization_required = true,
            // An error, a conflict or a hanging call; the caller retries.
            GrantUse::Failed(_) if has_error || case.outcome.disturbed_calls > 0 => {}
            other => case.violation(format!("use of the grant ended in {other:?}")),
        }
    }
    let (refreshes, reuses) = refresh_counts(world, &user)?;
    let refreshes = refreshes - refreshes_before;
    let is_undisturbed = !has_error && case.outcome.disturbed_calls == 0;
    let is_missing = others > 0 && refreshes == 0 && is_undisturbed;
    if refreshes > 1 || is_missing {
        case.violation(format!("{refreshes} refreshes instead of one"));
    }
    if reuses > 1 {
        case.violation(format!("a consumed refresh token was sent {reuses} times"));
    }

    case.settle(15).await?;
    if is_reauthorization_required && case.outcome.unavoidable_losses == 0 {
        case.violation("reauthorization was required although no token pair was lost");
    }
    case.finish().await
}

/// Refreshes of the live grant, and requests with a refresh token that was already consumed.
fn refresh_counts(world: &World, user: &ZoomUser) -> anyhow::Result<(u32, u32)> {
    let grant = world.zoom()?.live_grant(user.user_id.as_str());
    Ok(grant.map_or((0, 0), |grant| (grant.refreshes, grant.refresh_token_reuses)))
}
