//! Two or three consents of one Zoom user that come back at the same time, step by step in every order,
//! while the grant is used, and perhaps one of them killed. Zoom honours the last exchange alone.

use std::cell::RefCell;

use crate::case::{Case, Rest};
use crate::dice::Dice;
use crate::interleave::Op;
use crate::verdict::Verdict;
use crate::work::use_grant;
use crate::world::World;

/// Of a callback's life.
const POINTS: usize = 30;

pub(super) async fn run(world: &World, dice: Dice) -> anyhow::Result<Verdict> {
    let mut case = Case::begin(world, dice, 1, 4)?;
    let user = case.zoom_users[0].clone();
    if case.dice.percent(75) {
        world
            .link(&case.app_users[0], user.user_id.as_str())
            .await?;
        case.work().await?;
    }
    let many = 2 + case.dice.below(2);
    let mut arrivals = Vec::new();
    for app_user in &case.app_users[1..=many] {
        arrivals.push(world.consent(app_user, user.user_id.as_str()).await?);
    }
    let victim = case.dice.percent(30).then(|| case.dice.below(many));
    let fresh = world.fresh();
    let claims = RefCell::new(Vec::new());
    let mut ops = Vec::new();
    for (number, arrival) in arrivals.iter().enumerate() {
        let dies = victim == Some(number);
        let instances = if dies { &fresh } else { &world.warm };
        let callback = instances.oauth_callback()?;
        let claims = &claims;
        let op = Op::new(async move {
            let answer = callback.handle(arrival.request()?).await;
            claims.borrow_mut().extend(arrival.claim(&answer));
            anyhow::Ok(())
        })
        .starting_after(case.dice.below(15));
        ops.push(if dies {
            op.killed_at(case.dice.below(POINTS))
        } else {
            op
        });
    }
    if case.dice.percent(40) {
        let grants = world.warm.grants()?;
        let used = async {
            use_grant(grants, &user).await;
            Ok(())
        };
        ops.push(Op::new(used).starting_after(case.dice.below(60)));
    }
    for ended in case.run(ops).await.ended.into_iter().flatten() {
        ended?;
    }
    let claims = claims.into_inner();
    // Whoever is overtaken may be sent back; the last one is not.
    if claims.is_empty() && !case.disturbed {
        case.violation(format!("none of {many} consents came to a claim"));
    }
    for claim in claims {
        if case.dice.percent(80) {
            let confirming = world.confirming(&claim)?;
            world.warm.app_api()?.handle(confirming).await;
        }
    }
    let how = if case.dice.percent(25) {
        Rest::OrdersLost
    } else {
        Rest::Ordered
    };
    case.rest(how).await?;
    case.check().await?;
    case.give_up_everything().await?;
    case.check().await?;
    case.check_nothing_is_left().await?;
    Ok(case.verdict)
}
