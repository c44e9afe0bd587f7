//! Random actions of users, browsers, the app, Zoom and AWS in any order. Operations run alone or up to three
//! at a time, with kills, faults of AWS calls and faults of Zoom.

use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_zoom_sim::{Fault, NewFault, Point};

use super::MAX_AWAIT_POINTS;
use crate::app::{CallbackVisit, Claim};
use crate::case::Case;
use crate::delivery::{Delivery, deliver, use_grant, use_replaced_token};
use crate::instances::Instances;
use crate::interleave::Op;
use crate::journal::Message;
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::World;

/// An operation that may be killed.
#[derive(Debug, Clone)]
enum Action {
    VisitCallback(CallbackVisit),
    Confirm(Claim),
    Disconnect {
        app_user: String,
        link: String,
    },
    Use(ZoomUser),
    /// Uses a grant as if Zoom had rejected a token before its expiry.
    ReplaceToken(ZoomUser),
    Deliver(Message),
}

/// Result of an action that the walk continues with.
enum ActionResult {
    Done,
    Claimed(Claim),
    Unprocessed(Message),
}

/// Actions that have begun and that the walk may continue.
#[derive(Default)]
struct Pending {
    visits: Vec<CallbackVisit>,
    claims: Vec<Claim>,
    /// Zoom users whose deauthorization event is late.
    deauthorizations: Vec<String>,
}

pub(super) async fn run(world: &World, mut rng: SeededRng) -> anyhow::Result<Outcome> {
    let (zoom_users, app_users) = (1 + rng.below(2), 2 + rng.below(2));
    let mut case = Case::new(world, rng, zoom_users, app_users)?;
    let mut pending = Pending::default();
    for _ in 0..10 + case.rng.below(20) {
        step(&mut case, &mut pending).await?;
    }
    for user_id in pending.deauthorizations {
        if case.rng.percent(70) {
            world.send_deauthorization(&user_id).await?;
        }
    }
    case.settle(25).await?;
    case.finish().await
}

/// Performs one event of the environment or up to three concurrent actions.
async fn step(case: &mut Case<'_>, pending: &mut Pending) -> anyhow::Result<()> {
    let world = case.world;
    let zoom_user = case.rng.pick(&case.zoom_users).clone();
    let user_id = zoom_user.user_id.as_str();
    let app_user = case.rng.pick(&case.app_users).clone();
    match case.rng.below(100) {
        0..20 => {
            let visit = world.consent(&app_user, user_id).await?;
            pending.visits.push(visit);
        }
        20..28 => {
            let seconds = *case.rng.pick(&[31, 200, 700, 1_000, 3_700, 90_000]);
            world.advance(SignedDuration::from_secs(seconds));
        }
        28..31 => world.run_schedules().await?,
        31..36 => {
            let sends_event = case.rng.percent(50);
            world.deauthorize(user_id, sends_event).await?;
            if !sends_event && case.rng.percent(70) {
                pending.deauthorizations.push(user_id.to_owned());
            }
        }
        36..40 => {
            let late = case.rng.take(&mut pending.deauthorizations);
            let user_id = late.unwrap_or_else(|| user_id.to_owned());
            world.send_deauthorization(&user_id).await?;
        }
        40..43 => move_user(case, &zoom_user)?,
        43..47 => world.maintain(&zoom_user),
        _ => run_actions(case, pending).await?,
    }
    Ok(())
}

/// Moves a Zoom user to a new account or back to an earlier one.
fn move_user(case: &mut Case<'_>, zoom_user: &ZoomUser) -> anyhow::Result<()> {
    let known = case.rng.pick(&case.zoom_users).account_id.clone();
    let account_id = if case.rng.percent(50) {
        known
    } else {
        format!("Account-{:04}", case.rng.below(10_000)).parse()?
    };
    let moved = ZoomUser { account_id, user_id: zoom_user.user_id.clone() };
    case.move_user(moved)
}

async fn run_actions(case: &mut Case<'_>, pending: &mut Pending) -> anyhow::Result<()> {
    let count = if case.rng.percent(50) { 1 } else { 2 + case.rng.below(2) };
    let mut actions = Vec::new();
    for _ in 0..count * 3 {
        if actions.len() < count {
            actions.extend(draw_action(case, pending).await?);
        }
    }
    if case.rng.percent(10) {
        let fault = draw_zoom_fault(&mut case.rng);
        case.inject_zoom_fault(fault)?;
    }
    let victims: Vec<_> =
        actions.iter().map(|_| case.rng.percent(20).then(|| case.world.warm.fresh())).collect();
    let mut ops = Vec::new();
    for (action, victim) in actions.iter().zip(&victims) {
        let instances = victim.as_ref().unwrap_or(&case.world.warm);
        let op =
            Op::new(perform(case.world, instances, action.clone())).start_after(case.rng.below(30));
        ops.push(match victim {
            Some(_) => op.kill_at(case.rng.below(MAX_AWAIT_POINTS)),
            None => op,
        });
    }
    if case.rng.percent(20) {
        case.start_aws_faults();
    }
    let completion = case.run(ops).await;
    case.stop_faults()?;
    for (action, result) in actions.into_iter().zip(completion.results) {
        match (action, result.transpose()?) {
            (Action::Deliver(message), None) | (_, Some(ActionResult::Unprocessed(message))) => {
                case.world.journal.put_back(message);
            }
            // SQS may deliver a processed message again.
            (Action::Deliver(message), Some(_)) if case.rng.percent(5) => {
                case.world.journal.put_back(message);
            }
            (_, Some(ActionResult::Claimed(claim))) => pending.claims.push(claim),
            // The browser or the app's server may retry.
            (Action::VisitCallback(visit), _) if case.rng.percent(20) => pending.visits.push(visit),
            (Action::Confirm(claim), _) if case.rng.percent(60) => pending.claims.push(claim),
            _ => {}
        }
    }
    Ok(())
}

/// Chooses an action; returns none if the chosen kind is not possible now.
async fn draw_action(case: &mut Case<'_>, pending: &mut Pending) -> anyhow::Result<Option<Action>> {
    let zoom_user = case.rng.pick(&case.zoom_users).clone();
    Ok(match case.rng.below(100) {
        0..25 => case.rng.take(&mut pending.visits).map(Action::VisitCallback),
        25..45 => case.rng.take(&mut pending.claims).map(Action::Confirm),
        45..55 => {
            let app_user = case.rng.pick(&case.app_users).clone();
            let mut links = case.world.list_links(&app_user).await?;
            case.rng.take(&mut links).map(|link| Action::Disconnect {
                app_user,
                link: link["id"].as_str().unwrap_or_default().to_owned(),
            })
        }
        55..65 => Some(Action::Use(zoom_user)),
        65..72 => Some(Action::ReplaceToken(zoom_user)),
        _ => {
            let journal = &case.world.journal;
            let nth = case.rng.below(journal.visible_count());
            journal.receive_nth(nth).map(Action::Deliver)
        }
    })
}

async fn perform(
    world: &World,
    instances: &Instances,
    action: Action,
) -> anyhow::Result<ActionResult> {
    match action {
        Action::VisitCallback(visit) => {
            if let Some(claim) = visit.send(instances.oauth_callback()?).await? {
                return Ok(ActionResult::Claimed(claim));
            }
        }
        Action::Confirm(claim) => {
            let request = world.confirm_request(&claim)?;
            Box::pin(instances.app_api()?.handle(request)).await;
        }
        Action::Disconnect { app_user, link } => {
            let request = world.disconnect_request(&app_user, &link)?;
            Box::pin(instances.app_api()?.handle(request)).await;
        }
        Action::Use(zoom_user) => {
            use_grant(instances.grants()?, &zoom_user).await;
        }
        Action::ReplaceToken(zoom_user) => {
            let grants = instances.grants()?;
            if let Ok(token) = grants.access_token(&zoom_user).await {
                use_replaced_token(grants, &zoom_user, &token).await;
            }
        }
        Action::Deliver(message) => {
            if deliver(instances, &message).await? != Delivery::Processed {
                return Ok(ActionResult::Unprocessed(message));
            }
        }
    }
    Ok(ActionResult::Done)
}

fn draw_zoom_fault(rng: &mut SeededRng) -> NewFault {
    let point =
        rng.pick(&[Point::TokenExchange, Point::TokenRefresh, Point::UsersMe, Point::Revoke]);
    let fault =
        rng.pick(&[Fault::Status { status: 500 }, Fault::Close, Fault::LoseResponse, Fault::Html]);
    NewFault::times(*point, fault.clone(), 1)
}
