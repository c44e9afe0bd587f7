//! The last link given up, a deauthorization that is late or true, and a new callback or two, step by step
//! in every order, and perhaps one of them killed.

use std::cell::RefCell;

use crate::case::{Case, Rest};
use crate::dice::Dice;
use crate::interleave::Op;
use crate::journal::{Message, To};
use crate::verdict::Verdict;
use crate::work::deliver;
use crate::world::{ACCESS_TOKENS_END, World};

/// Of an operation's life.
const POINTS: usize = 30;

pub(super) async fn run(world: &World, dice: Dice) -> anyhow::Result<Verdict> {
    let mut case = Case::begin(world, dice, 1, 3)?;
    let user = case.zoom_users[0].user_id.to_string();
    let leaves = case.app_users[0].clone();
    let linked = 1 + usize::from(case.dice.percent(25));
    for app_user in &case.app_users[..linked] {
        world.link(app_user, &user).await?;
    }
    case.work().await?;

    if case.dice.percent(40) {
        world.remove_at_zoom(&user, true).await?;
    } else {
        world.tell_of_removal(&user).await?;
    }
    if case.dice.percent(30) {
        world.advance(ACCESS_TOKENS_END);
    }
    let begins = if case.dice.percent(50) { 0 } else { 2 };
    let mut arrivals = vec![world.consent(&case.app_users[begins], &user).await?];
    if case.dice.percent(40) {
        // Another browser comes back at the same time.
        arrivals.push(world.consent(&case.app_users[1], &user).await?);
    }
    // The event becomes an order, which waits for its turn.
    let word = world.journal.take_due(0);
    let order = match word {
        Some(word) if word.to == To::Events => {
            deliver(&world.warm, &word).await?;
            world.journal.take_due(0)
        }
        other => other,
    };
    let order = order.ok_or_else(|| anyhow::anyhow!("Zoom's word has led to no order"))?;

    let listed = world.listed(&leaves).await?;
    let link = listed.first().and_then(|link| link["id"].as_str());
    let link = link.ok_or_else(|| anyhow::anyhow!("not linked"))?;
    let leaving = world.disconnecting(&leaves, link)?;
    let victim = case
        .dice
        .percent(50)
        .then(|| case.dice.below(2 + arrivals.len()));
    let fresh = world.fresh();
    let instances = |number| {
        if victim == Some(number) {
            &fresh
        } else {
            &world.warm
        }
    };
    let api = instances(0).app_api()?;
    let claims = RefCell::new(Vec::new());
    let unfinished: RefCell<Vec<Message>> = RefCell::new(vec![order.clone()]);

    let mut ops = vec![
        Op::new(async {
            api.handle(leaving).await;
            // The order that follows comes as soon as it can.
            while let Some(message) = world.journal.take_due(0) {
                unfinished.borrow_mut().push(message.clone());
                if !deliver(instances(0), &message).await? {
                    break;
                }
                unfinished
                    .borrow_mut()
                    .retain(|one| one.body != message.body);
            }
            anyhow::Ok(())
        }),
        Op::new(async {
            if deliver(instances(1), &order).await? {
                unfinished.borrow_mut().retain(|one| one.body != order.body);
            }
            Ok(())
        }),
    ];
    for (number, arrival) in arrivals.iter().enumerate() {
        let callback = instances(2 + number).oauth_callback()?;
        let claims = &claims;
        ops.push(Op::new(async move {
            let answer = callback.handle(arrival.request()?).await;
            claims.borrow_mut().extend(arrival.claim(&answer));
            Ok(())
        }));
    }
    ops = ops
        .into_iter()
        .map(|op| op.starting_after(case.dice.below(40)))
        .collect();
    if let Some(victim) = victim {
        let victim = ops.remove(victim);
        ops.push(victim.killed_at(case.dice.below(POINTS)));
    }
    for ended in case.run(ops).await.ended.into_iter().flatten() {
        ended?;
    }
    for message in unfinished.into_inner() {
        world.journal.put_back(message);
    }
    for claim in claims.into_inner() {
        if case.dice.percent(70) {
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
