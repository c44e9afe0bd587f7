//! A few seeds of each scenario; the `chaos` command runs more.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use chaos::{AwsCondition, Scenario, World};

/// Runs seeds and returns the number of kills of each.
async fn run_seeds(scenario: Scenario, seeds: impl Iterator<Item = u64>) -> Vec<usize> {
    let command = env!("CARGO_BIN_EXE_chaos").into();
    let world = World::start_with(command).await.unwrap();
    if scenario == Scenario::Moves {
        // A removal that is looked up in an index that lags.
        world.set_conditions(&[AwsCondition::IndexLag]);
    }
    let mut kills = Vec::new();
    for seed in seeds {
        let outcome = scenario.run(&world, seed).await;
        let violations = &outcome.violations;
        let name = scenario.name();
        assert!(outcome.is_ok(), "{name} {seed}: {violations:#?}");
        assert!(outcome.steps > 0, "{name} {seed} made no step");
        kills.push(outcome.kills);
    }
    world.shutdown().await;
    kills
}

#[tokio::test]
async fn grant_is_refreshed_once_despite_kill() {
    let kills = run_seeds(Scenario::Refresh, (0..24).step_by(3)).await;
    assert_eq!(kills[0], 1, "seed 0 must kill at the first await point");
}

#[tokio::test]
async fn active_link_survives_killed_callback() {
    let kills = run_seeds(Scenario::Exchange, (0..16).step_by(2)).await;
    assert_eq!(kills[0], 1, "seed 0 must kill at the first await point");
}

#[tokio::test]
async fn concurrent_consents_keep_the_honoured_tokens() {
    run_seeds(Scenario::Consents, 0..6).await;
}

#[tokio::test]
async fn concurrent_endings_agree_with_zoom() {
    run_seeds(Scenario::Endings, 0..6).await;
}

#[tokio::test]
async fn removal_after_a_move_leaves_nothing_behind() {
    run_seeds(Scenario::Moves, 0..6).await;
}

#[tokio::test]
async fn random_walk_leaves_nothing_behind() {
    run_seeds(Scenario::Walk, 0..6).await;
}

#[tokio::test]
async fn killed_downloader_loses_and_leaks_nothing() {
    let kills = run_seeds(Scenario::Downloads, 0..6).await;
    assert!(kills.iter().sum::<usize>() > 0, "no seed killed a process");
}

#[tokio::test]
async fn day_of_trouble_ends_in_agreement_with_zoom() {
    let outcome = chaos::run_day(0).await.unwrap();
    assert_eq!(outcome.violations, Vec::<String>::new());
    assert!(outcome.steps > 0);
}
