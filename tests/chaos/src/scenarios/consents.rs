//! Two or three concurrent callbacks of one Zoom user, interleaved with uses of the grant; one callback may
//! be killed. Zoom honours only the tokens of the last exchange.

use std::cell::RefCell;

use super::MAX_AWAIT_POINTS;
use crate::case::Case;
use crate::delivery::use_grant;
use crate::interleave::Op;
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::World;

pub(super) async fn run(world: &World, rng: SeededRng) -> anyhow::Result<Outcome> {
    let mut case = Case::new(world, rng, 1, 4)?;
    let user = case.zoom_users[0].clone();
    let user_id = user.user_id.as_str();
    if case.rng.percent(75) {
        world.link(&case.app_users[0], user_id).await?;
        case.process_messages().await?;
    }
    let count = 2 + case.rng.below(2);
    let mut visits = Vec::new();
    for app_user in &case.app_users[1..=count] {
        visits.push(world.consent(app_user, user_id).await?);
    }
    let victim = case.rng.percent(30).then(|| case.rng.below(count));
    let fresh = world.warm.fresh();
    let claims = RefCell::new(Vec::new());
    let mut ops = Vec::new();
    for (index, visit) in visits.iter().enumerate() {
        let is_victim = victim == Some(index);
        let instances = if is_victim { &fresh } else { &world.warm };
        let callback = instances.oauth_callback()?;
        let claims = &claims;
        let op = Op::new(async move {
            let claim = visit.send(callback).await?;
            claims.borrow_mut().extend(claim);
            anyhow::Ok(())
        })
        .start_after(case.rng.below(15));
        ops.push(if is_victim { op.kill_at(case.rng.below(MAX_AWAIT_POINTS)) } else { op });
    }
    if case.rng.percent(40) {
        let grants = world.warm.grants()?;
        let use_once = async {
            use_grant(grants, &user).await;
            Ok(())
        };
        ops.push(Op::new(use_once).start_after(case.rng.below(60)));
    }
    for result in case.run(ops).await.results.into_iter().flatten() {
        result?;
    }
    let claims = claims.into_inner();
    // An earlier exchange may be rejected as superseded, the last one may not.
    if claims.is_empty() && !case.is_disturbed {
        case.violation(format!("none of {count} callbacks returned a claim"));
    }
    case.confirm_some(claims, 80).await?;
    case.settle(25).await?;
    case.finish().await
}
