//! Concurrent disconnect of the last link, deauthorization event (stale or genuine) and one or two new
//! callbacks; one of them may be killed.

use std::cell::RefCell;

use anyhow::Context as _;

use super::MAX_AWAIT_POINTS;
use crate::case::Case;
use crate::delivery::{Delivery, deliver};
use crate::interleave::Op;
use crate::journal::{Message, Queue};
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::{ACCESS_TOKEN_EXPIRY, World};

pub(super) async fn run(world: &World, rng: SeededRng) -> anyhow::Result<Outcome> {
    let mut case = Case::new(world, rng, 1, 3)?;
    let user = case.zoom_users[0].user_id.to_string();
    let leaving_user = case.app_users[0].clone();
    let linked = 1 + usize::from(case.rng.percent(25));
    for app_user in &case.app_users[..linked] {
        world.link(app_user, &user).await?;
    }
    case.process_messages().await?;

    if case.rng.percent(40) {
        world.deauthorize(&user, true).await?;
    } else {
        world.send_deauthorization(&user).await?;
    }
    if case.rng.percent(30) {
        world.advance(ACCESS_TOKEN_EXPIRY);
    }
    let connecting = if case.rng.percent(50) { 0 } else { 2 };
    let mut visits = vec![world.consent(&case.app_users[connecting], &user).await?];
    if case.rng.percent(40) {
        visits.push(world.consent(&case.app_users[1], &user).await?);
    }
    // The event processor turns the event into a job, which is delivered below.
    let mut job = world.journal.receive();
    if let Some(event) = job.take_if(|message| message.queue == Queue::Events) {
        deliver(&world.warm, &event).await?;
        job = world.journal.receive();
    }
    let job = job.context("the deauthorization event enqueued no job")?;

    let links = world.list_links(&leaving_user).await?;
    let link = links.first().and_then(|link| link["id"].as_str());
    let disconnect = world.disconnect_request(&leaving_user, link.context("no link listed")?)?;
    let may_kill = case.rng.percent(50);
    let victim = may_kill.then(|| case.rng.below(2 + visits.len()));
    let fresh = world.warm.fresh();
    let instances = |index| {
        if victim == Some(index) { &fresh } else { &world.warm }
    };
    let api = instances(0).app_api()?;
    let claims = RefCell::new(Vec::new());
    let unfinished: RefCell<Vec<Message>> = RefCell::new(vec![job.clone()]);
    let finish = |message: &Message| {
        let mut unfinished = unfinished.borrow_mut();
        unfinished.retain(|other| other.body != message.body);
    };

    let mut ops = vec![
        Op::new(async {
            Box::pin(api.handle(disconnect)).await;
            while let Some(message) = world.journal.receive() {
                unfinished.borrow_mut().push(message.clone());
                if deliver(instances(0), &message).await? != Delivery::Processed {
                    break;
                }
                finish(&message);
            }
            anyhow::Ok(())
        }),
        Op::new(async {
            if deliver(instances(1), &job).await? == Delivery::Processed {
                finish(&job);
            }
            Ok(())
        }),
    ];
    for (index, visit) in visits.iter().enumerate() {
        let callback = instances(2 + index).oauth_callback()?;
        let claims = &claims;
        ops.push(Op::new(async move {
            let claim = visit.send(callback).await?;
            claims.borrow_mut().extend(claim);
            Ok(())
        }));
    }
    ops = ops.into_iter().map(|op| op.start_after(case.rng.below(40))).collect();
    if let Some(victim) = victim {
        let victim = ops.remove(victim);
        ops.push(victim.kill_at(case.rng.below(MAX_AWAIT_POINTS)));
    }
    for result in case.run(ops).await.results.into_iter().flatten() {
        result?;
    }
    for message in unfinished.into_inner() {
        world.journal.put_back(message);
    }
    case.confirm_some(claims.into_inner(), 70).await?;
    case.settle(25).await?;
    case.finish().await
}
