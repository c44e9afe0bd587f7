//! A callback killed at every await point after the exchange, with another app user's link active on the
//! same grant: that link still works.

use super::await_point;
use crate::case::{Case, Rest};
use crate::dice::Dice;
use crate::interleave::Op;
use crate::verdict::Verdict;
use crate::work::{Used, use_grant};
use crate::world::World;

/// Above the number of await points of a callback after the exchange.
const POINTS: u64 = 16;

pub(super) async fn run(world: &World, seed: u64, dice: Dice) -> anyhow::Result<Verdict> {
    let mut case = Case::begin(world, dice, 1, 2)?;
    let user = case.zoom_users[0].clone();
    let id = user.user_id.as_str();
    let linked = case.app_users[0].clone();
    world.link(&linked, id).await?;
    case.work().await?;

    // Somebody else connects, or the same once more.
    let begins = usize::from(case.dice.percent(80));
    let arrival = world.consent(&case.app_users[begins], id).await?;
    let dies = world.fresh();
    let (callback, grants) = (dies.oauth_callback()?, world.warm.grants()?);
    let request = arrival.request()?;
    let zoom = world.zoom()?;
    let before = zoom.live_grant(id).map(|grant| grant.id);
    let exchanged = || zoom.live_grant(id).map(|grant| grant.id) != before;
    let consent = Op::new(async {
        callback.handle(request).await;
        Used::Works
    })
    .counted_once(exchanged)
    .killed_at(await_point(seed, POINTS));
    let mut ops = vec![consent];
    if case.dice.percent(60) {
        // The link is used meanwhile.
        let start = case.dice.below(80);
        ops.push(Op::new(use_grant(grants, &user)).starting_after(start));
    }
    case.run(ops).await;

    let again = vec![Op::new(use_grant(grants, &user))];
    let used = case.run(again).await.ended.pop().flatten();
    let works = used == Some(Used::Works);
    if !works && used != Some(Used::Over("reauthorization required")) {
        case.violation(format!("the link was used, and ended in {used:?}"));
    }
    let how = if case.dice.percent(25) {
        Rest::OrdersLost
    } else {
        Rest::Ordered
    };
    case.rest(how).await?;
    case.check().await?;
    if !works && case.verdict.unavoidable_losses == 0 {
        case.violation("a link that was active works no more, and no pair was lost");
    }
    case.give_up_everything().await?;
    case.check().await?;
    case.check_nothing_is_left().await?;
    Ok(case.verdict)
}
