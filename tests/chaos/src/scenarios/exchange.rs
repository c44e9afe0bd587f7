//! A callback killed at every await point after the code exchange. Another app user's active link on the same
//! grant keeps working.

use super::await_point;
use crate::case::Case;
use crate::delivery::{GrantUse, use_grant};
use crate::interleave::Op;
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::World;

/// Upper bound of a callback's await points after the exchange.
const MAX_POINTS: u64 = 16;

pub(super) async fn run(world: &World, seed: u64, rng: SeededRng) -> anyhow::Result<Outcome> {
    let mut case = Case::new(world, rng, 1, 2)?;
    let user = case.zoom_users[0].clone();
    let user_id = user.user_id.as_str();
    world.link(&case.app_users[0], user_id).await?;
    case.process_messages().await?;

    // Usually another app user connects, otherwise the same one again.
    let connecting = usize::from(case.rng.percent(80));
    let visit = world.consent(&case.app_users[connecting], user_id).await?;
    let fresh = world.warm.fresh();
    let (callback, grants) = (fresh.oauth_callback()?, world.warm.grants()?);
    let zoom = world.zoom()?;
    let grant_id = || zoom.live_grant(user_id).map(|grant| grant.id);
    let before = grant_id();
    let killed = Op::new(async {
        visit.send(callback).await?;
        anyhow::Ok(GrantUse::Succeeded)
    })
    .count_once(|| grant_id() != before)
    .kill_at(await_point(seed, MAX_POINTS));
    let use_once = || Op::new(async { Ok(use_grant(grants, &user).await) });
    let mut ops = vec![killed];
    if case.rng.percent(60) {
        ops.push(use_once().start_after(case.rng.below(80)));
    }
    for result in case.run(ops).await.results.into_iter().flatten() {
        result?;
    }

    let result = case.run(vec![use_once()]).await.results.pop().flatten();
    let result = result.transpose()?;
    let works = result == Some(GrantUse::Succeeded);
    if !works && result != Some(GrantUse::ReauthorizationRequired) {
        case.violation(format!("use of the other link ended in {result:?}"));
    }
    case.settle(25).await?;
    if !works && case.outcome.unavoidable_losses == 0 {
        case.violation("an active link stopped working although no token pair was lost");
    }
    case.finish().await
}
