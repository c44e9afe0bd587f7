//! Anything, in any order: connect, come back, confirm, abandon, disconnect, remove the app at Zoom (told,
//! told late, not told), use, be refused, change accounts, deliver,
//! deliver twice, the hour strikes, time. One at a time or
//! up to three side by side, anybody killed anywhere, AWS calls spoiled, Zoom failing.

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_zoom_sim::{Fault, NewFault, Point};
use serde_json::json;

use crate::case::{Case, Rest};
use crate::dice::Dice;
use crate::flow::{Arrival, Claim};
use crate::instances::Instances;
use crate::interleave::Op;
use crate::journal::Message;
use crate::verdict::Verdict;
use crate::work::{deliver, use_another, use_grant};
use crate::world::World;

/// Of an operation's life.
const POINTS: usize = 30;

/// What somebody does, and may be killed over.
#[derive(Debug, Clone)]
enum Act {
    Arrive(Arrival),
    Confirm(Claim),
    Disconnect {
        app_user: String,
        link: String,
    },
    Use(ZoomUser),
    /// As if Zoom had refused a token that has not expired.
    UseAnother(ZoomUser),
    Deliver(Message),
}

/// What came of it.
enum Came {
    Nothing,
    Claim(Claim),
    NotDone(Message),
}

/// Who is where.
#[derive(Default)]
struct Open {
    arrivals: Vec<Arrival>,
    claims: Vec<Claim>,
    /// Zoom users who removed the app, of which Zoom will tell late.
    untold: Vec<String>,
}

pub(super) async fn run(world: &World, mut dice: Dice) -> anyhow::Result<Verdict> {
    let (zoom_users, app_users) = (1 + dice.below(2), 2 + dice.below(2));
    let mut case = Case::begin(world, dice, zoom_users, app_users)?;
    let mut open = Open::default();
    for _ in 0..10 + case.dice.below(20) {
        step(&mut case, &mut open).await?;
    }
    for zoom_user in open.untold {
        if case.dice.percent(70) {
            world.tell_of_removal(&zoom_user).await?;
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

/// One thing, or up to three at the same time.
async fn step(case: &mut Case<'_>, open: &mut Open) -> anyhow::Result<()> {
    let world = case.world;
    let zoom_user = case.zoom_users[case.dice.below(case.zoom_users.len())].clone();
    let app_user = case.app_users[case.dice.below(case.app_users.len())].clone();
    match case.dice.below(100) {
        0..20 => {
            let arrival = world.consent(&app_user, zoom_user.user_id.as_str()).await?;
            open.arrivals.push(arrival);
        }
        20..28 => {
            let times = [31, 200, 700, 1_000, 3_700, 90_000];
            let seconds = times[case.dice.below(times.len())];
            world.advance(SignedDuration::from_secs(seconds));
        }
        28..31 => world.strike().await?,
        31..36 => {
            let told = case.dice.percent(50);
            world
                .remove_at_zoom(zoom_user.user_id.as_str(), told)
                .await?;
            if !told && case.dice.percent(70) {
                open.untold.push(zoom_user.user_id.to_string());
            }
        }
        36..40 => {
            let late = case.dice.take(&mut open.untold);
            let of = late.unwrap_or_else(|| zoom_user.user_id.to_string());
            world.tell_of_removal(&of).await?;
        }
        40..43 => move_user(case, &zoom_user)?,
        // An event of a host whom nobody linked, and whose user id is known.
        43..47 => {
            let order = json!({"v": 1, "job": "maintain_grant", "zoom_user": zoom_user});
            world.journal.order(order.to_string());
        }
        _ => together(case, open).await?,
    }
    Ok(())
}

/// The Zoom user changes to another account, or back.
fn move_user(case: &mut Case<'_>, zoom_user: &ZoomUser) -> anyhow::Result<()> {
    let known = case.zoom_users.clone();
    let account = match case.dice.pick(&known) {
        Some(other) if case.dice.percent(50) => other.account_id.clone(),
        _ => format!("Account-{:04}", case.dice.below(10_000)).parse()?,
    };
    let moved = ZoomUser {
        account_id: account,
        user_id: zoom_user.user_id.clone(),
    };
    let zoom = case.world.zoom()?;
    zoom.move_user(moved.user_id.as_str(), moved.account_id.as_str())?;
    case.moved = true;
    if !known.contains(&moved) {
        case.zoom_users.push(moved);
    }
    Ok(())
}

async fn together(case: &mut Case<'_>, open: &mut Open) -> anyhow::Result<()> {
    let many = if case.dice.percent(50) {
        1
    } else {
        2 + case.dice.below(2)
    };
    let mut acts = Vec::new();
    for _ in 0..many * 3 {
        if acts.len() < many {
            acts.extend(draw(case, open).await?);
        }
    }
    if case.dice.percent(10) {
        let fault = zoom_fails(&mut case.dice);
        case.arm(fault)?;
    }
    let die: Vec<_> = acts
        .iter()
        .map(|_| case.dice.percent(20).then(|| case.world.fresh()))
        .collect();
    let mut ops = Vec::new();
    for (act, dies) in acts.iter().zip(&die) {
        let instances = dies.as_ref().unwrap_or(&case.world.warm);
        let op = Op::new(perform(case.world, instances, act.clone()))
            .starting_after(case.dice.below(30));
        ops.push(match dies {
            Some(_) => op.killed_at(case.dice.below(POINTS)),
            None => op,
        });
    }
    if case.dice.percent(20) {
        case.spoil();
    }
    let ran = case.run(ops).await;
    case.spare();
    case.world.zoom()?.clear_faults(None);
    for (act, ended) in acts.into_iter().zip(ran.ended) {
        match (act, ended.transpose()?) {
            // SQS delivers it again.
            (Act::Deliver(message), None) | (_, Some(Came::NotDone(message))) => {
                case.world.journal.put_back(message);
            }
            // It is delivered twice, now and then.
            (Act::Deliver(message), Some(_)) if case.dice.percent(5) => {
                case.world.journal.put_back(message);
            }
            (_, Some(Came::Claim(claim))) => open.claims.push(claim),
            // The browser is told to try again, or does by itself.
            (Act::Arrive(arrival), _) if case.dice.percent(20) => open.arrivals.push(arrival),
            (Act::Confirm(claim), _) if case.dice.percent(60) => open.claims.push(claim),
            _ => {}
        }
    }
    Ok(())
}

/// Something that can be done now.
async fn draw(case: &mut Case<'_>, open: &mut Open) -> anyhow::Result<Option<Act>> {
    let zoom_user = case.zoom_users[case.dice.below(case.zoom_users.len())].clone();
    Ok(match case.dice.below(100) {
        0..25 => case.dice.take(&mut open.arrivals).map(Act::Arrive),
        25..45 => case.dice.take(&mut open.claims).map(Act::Confirm),
        45..55 => {
            let app_user = case.app_users[case.dice.below(case.app_users.len())].clone();
            let listed = case.world.listed(&app_user).await?;
            case.dice.pick(&listed).map(|link| Act::Disconnect {
                app_user,
                link: link["id"].as_str().unwrap_or_default().to_owned(),
            })
        }
        55..65 => Some(Act::Use(zoom_user)),
        65..72 => Some(Act::UseAnother(zoom_user)),
        _ => {
            let due = case.world.journal.due();
            let nth = case.dice.below(due);
            case.world.journal.take_due(nth).map(Act::Deliver)
        }
    })
}

async fn perform(world: &World, instances: &Instances, act: Act) -> anyhow::Result<Came> {
    match act {
        Act::Arrive(arrival) => {
            let answer = instances.oauth_callback()?.handle(arrival.request()?).await;
            return Ok(arrival.claim(&answer).map_or(Came::Nothing, Came::Claim));
        }
        Act::Confirm(claim) => {
            instances.app_api()?.handle(world.confirming(&claim)?).await;
        }
        Act::Disconnect { app_user, link } => {
            let request = world.disconnecting(&app_user, &link)?;
            instances.app_api()?.handle(request).await;
        }
        Act::Use(zoom_user) => {
            use_grant(instances.grants()?, &zoom_user).await;
        }
        Act::UseAnother(zoom_user) => {
            let grants = instances.grants()?;
            if let Ok(token) = grants.access_token(&zoom_user).await {
                use_another(grants, &zoom_user, &token).await;
            }
        }
        Act::Deliver(message) => {
            if !deliver(instances, &message).await? {
                return Ok(Came::NotDone(message));
            }
        }
    }
    Ok(Came::Nothing)
}

fn zoom_fails(dice: &mut Dice) -> NewFault {
    let points = [
        Point::TokenExchange,
        Point::TokenRefresh,
        Point::UsersMe,
        Point::Revoke,
    ];
    let faults = [
        Fault::Status { status: 500 },
        Fault::Close,
        Fault::LoseResponse,
        Fault::Html,
    ];
    let point = points[dice.below(points.len())];
    let fault = faults[dice.below(faults.len())].clone();
    NewFault::times(point, fault, 1)
}
