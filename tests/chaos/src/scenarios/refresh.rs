//! Concurrent uses of one expired grant, the first of them killed at every await point, or rejected by Zoom's mistake.

use reelay_domain::ids::ZoomUser;
use reelay_grants::RevivalOutcome;
use reelay_zoom_sim::{Fault, NewFault, Point};

use super::await_point;
use crate::aws::RejectedCalls;
use crate::case::Case;
use crate::delivery::{GrantUse, use_grant, use_replaced_token};
use crate::interleave::Op;
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::{ACCESS_TOKEN_EXPIRY, LEASE_EXPIRY, World};

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
    // The pair must survive rejected calls after its issue; after some, it is saved in the other table.
    if case.rng.percent(40) {
        let user_id = user.user_id.to_string();
        let count = 1 + case.rng.below(4);
        case.may_be_diverted = count > 1;
        world.reject_after_refresh(RejectedCalls { user_id, refreshes: refreshes_before, count });
    }
    // An error of Zoom's does not end the grant. A rejection by mistake does, but it can be revived.
    let zoom = world.zoom()?;
    let is_mistaken = case.rng.percent(30);
    let has_error = is_mistaken || case.rng.percent(25);
    if has_error {
        let error = if is_mistaken { invalid_grant() } else { Fault::Status { status: 500 } };
        zoom.arm(NewFault::times(Point::TokenRefresh, error, 1))?;
    }
    let has_erred = || !zoom.faults().iter().any(|fault| fault.fault.times > Some(0));
    let others = usize::from(is_mistaken) + case.rng.below(4);
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
        ops.push(match index {
            0 if is_mistaken => op,
            0 => op.kill_at(point),
            _ => op.start_after(case.rng.below(point + 2)),
        });
    }
    if is_mistaken {
        // The lease of the rejected use may end before it marks the grant.
        let steps = case.rng.below(12);
        let expire = async move {
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            world.advance(LEASE_EXPIRY);
            GrantUse::Succeeded
        };
        ops.push(Op::new(expire).start_once(has_erred));
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

    if is_mistaken {
        world.advance(LEASE_EXPIRY);
        match world.warm.grants()?.revive(&user).await? {
            RevivalOutcome::Revived { .. } => case.revivals += 1,
            RevivalOutcome::NotMarked => {}
            RevivalOutcome::Rejected => {
                case.violation("a marked grant whose tokens Zoom honours cannot be revived");
            }
        }
    }
    case.settle(15).await?;
    if is_reauthorization_required && !is_mistaken && case.outcome.unavoidable_losses == 0 {
        case.violation("reauthorization was required although no token pair was lost");
    }
    case.finish().await
}

/// Zoom's response to a refresh token that has ended.
fn invalid_grant() -> Fault {
    Fault::Respond {
        status: 400,
        content_type: "application/json".to_owned(),
        body: r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#.to_owned(),
    }
}

/// Refreshes of the live grant, and requests with a refresh token that was already consumed.
fn refresh_counts(world: &World, user: &ZoomUser) -> anyhow::Result<(u32, u32)> {
    let grant = world.zoom()?.live_grant(user.user_id.as_str());
    Ok(grant.map_or((0, 0), |grant| (grant.refreshes, grant.refresh_token_reuses)))
}
