//! A Zoom user moves to another account and then removes the app; Zoom's event names the earlier account.

use reelay_domain::ids::ZoomUser;

use super::MAX_AWAIT_POINTS;
use crate::case::Case;
use crate::delivery::{Delivery, deliver, use_grant};
use crate::interleave::Op;
use crate::journal::Queue;
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::World;

pub(super) async fn run(world: &World, rng: SeededRng) -> anyhow::Result<Outcome> {
    let mut case = Case::new(world, rng, 1, 2)?;
    let before = case.zoom_users[0].clone();
    let user_id = before.user_id.as_str();
    let linked = 1 + case.rng.below(2);
    for app_user in &case.app_users[..linked] {
        world.link(app_user, user_id).await?;
    }
    case.process_messages().await?;

    let account_id = format!("Account-{:04}", case.rng.below(10_000)).parse()?;
    case.move_user(ZoomUser { account_id, user_id: before.user_id.clone() })?;
    world.maintain(&before);
    case.process_messages().await?;
    // The simulator's events name the user's current account.
    case.move_user(before.clone())?;
    world.deauthorize(user_id, true).await?;

    let is_killed = case.rng.percent(30);
    let mut messages = Vec::new();
    while let Some(message) = world.journal.receive() {
        match message.queue {
            // The event becomes a job, which follows.
            Queue::Events => {
                deliver(&world.warm, &message).await?;
            }
            _ => messages.push(message),
        }
    }
    let fresh = world.warm.fresh();
    let instances = if is_killed { &fresh } else { &world.warm };
    let mut ops: Vec<Op<'_, anyhow::Result<bool>>> = messages
        .iter()
        .map(|message| {
            let op =
                Op::new(async { Ok(deliver(instances, message).await? == Delivery::Processed) });
            let op = op.start_after(case.rng.below(20));
            if is_killed { op.kill_at(case.rng.below(MAX_AWAIT_POINTS)) } else { op }
        })
        .collect();
    if case.rng.percent(40) {
        let grants = world.warm.grants()?;
        let use_once = async {
            use_grant(grants, &before).await;
            Ok(true)
        };
        ops.push(Op::new(use_once).start_after(case.rng.below(40)));
    }
    let results = case.run(ops).await.results;
    for (message, result) in messages.into_iter().zip(results) {
        if !result.transpose()?.unwrap_or(false) {
            world.journal.put_back(message);
        }
    }
    case.settle(0).await?;
    case.check_nothing_remains().await?;
    case.finish().await
}
