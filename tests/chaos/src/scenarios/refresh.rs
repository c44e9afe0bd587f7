//! Uses of one expired grant at the same time, the first of them killed at every await point.

use reelay_domain::ids::ZoomUser;
use reelay_grants::{AccessToken, Grants};

use super::await_point;
use crate::case::{Case, Rest};
use crate::dice::Dice;
use crate::interleave::Op;
use crate::verdict::Verdict;
use crate::work::{Used, use_another, use_grant};
use crate::world::{ACCESS_TOKENS_END, World};

/// Above the number of await points of a use that refreshes.
const POINTS: u64 = 24;

pub(super) async fn run(world: &World, seed: u64, dice: Dice) -> anyhow::Result<Verdict> {
    let mut case = Case::begin(world, dice, 1, 2)?;
    let user = case.zoom_users[0].clone();
    let linked = 1 + case.dice.below(2);
    for app_user in &case.app_users[..linked] {
        world.link(app_user, user.user_id.as_str()).await?;
    }
    case.work().await?;

    // It has expired, or Zoom is said to have refused it before its time.
    let refused = if case.dice.percent(30) {
        Some(world.warm.grants()?.access_token(&user).await?)
    } else {
        world.advance(ACCESS_TOKENS_END);
        None
    };
    let before = refreshes(world, &user)?;
    let others = case.dice.below(4);
    let dies = world.fresh();
    let point = await_point(seed, POINTS);
    let mut ops = Vec::new();
    for number in 0..=others {
        let instances = if number == 0 { &dies } else { &world.warm };
        let grants = instances.grants()?;
        let op = Op::new(one_use(grants, &user, refused.as_ref()));
        ops.push(if number == 0 {
            op.killed_at(point)
        } else {
            op.starting_after(case.dice.below(point + 2))
        });
    }
    let ran = case.run(ops).await;
    let condemned = ran
        .ended
        .iter()
        .flatten()
        .any(|used| *used == Used::Over("reauthorization required"));
    for used in ran.ended.iter().flatten() {
        if !matches!(used, Used::Works | Used::Over("reauthorization required")) {
            case.violation(format!("a use ended in {used:?}"));
        }
    }
    let (refreshed, spent) = refreshes(world, &user)?;
    let refreshed = refreshed - before.0;
    if refreshed > 1 || (others > 0 && refreshed == 0) {
        case.violation(format!("{refreshed} refreshes, and one was needed"));
    }
    if spent > 1 {
        case.violation(format!("a spent token was tried {spent} times"));
    }

    let how = if case.dice.percent(15) {
        Rest::OrdersLost
    } else {
        Rest::Ordered
    };
    case.rest(how).await?;
    case.check().await?;
    if condemned && case.verdict.unavoidable_losses == 0 {
        case.violation("a grant was condemned, and no pair was lost");
    }
    case.give_up_everything().await?;
    case.check().await?;
    case.check_nothing_is_left().await?;
    Ok(case.verdict)
}

async fn one_use(grants: &Grants, user: &ZoomUser, refused: Option<&AccessToken>) -> Used {
    match refused {
        Some(refused) => use_another(grants, user, refused).await,
        None => use_grant(grants, user).await,
    }
}

/// How often the live grant was refreshed, and how often somebody tried with a token that was spent.
fn refreshes(world: &World, user: &ZoomUser) -> anyhow::Result<(u32, u32)> {
    let grant = world.zoom()?.live_grant(user.user_id.as_str());
    Ok(grant.map_or((0, 0), |grant| {
        (grant.refreshes, grant.refresh_token_reuses)
    }))
}
