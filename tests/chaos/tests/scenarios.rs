//! A few seeds of each scenario; the command runs as many as one likes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use chaos::{Scenario, World};

async fn holds(scenario: Scenario, seeds: impl Iterator<Item = u64>) -> Vec<usize> {
    let command = env!("CARGO_BIN_EXE_chaos").into();
    let world = World::start_with(command).await.unwrap();
    let mut kills = Vec::new();
    for seed in seeds {
        let verdict = scenario.run(&world, seed).await;
        let found = &verdict.violations;
        assert!(verdict.is_ok(), "{} {seed}: {found:#?}", scenario.name());
        assert!(verdict.steps > 0, "{} {seed}", scenario.name());
        kills.push(verdict.kills);
    }
    world.shutdown().await;
    kills
}

#[tokio::test]
async fn a_grant_is_refreshed_once_wherever_the_winner_dies() {
    let kills = holds(Scenario::Refresh, (0..24).step_by(3)).await;
    assert_eq!(kills[0], 1, "the first await point is beyond the end");
}

#[tokio::test]
async fn an_active_link_works_wherever_somebody_elses_callback_dies() {
    let kills = holds(Scenario::Exchange, (0..16).step_by(2)).await;
    assert_eq!(kills[0], 1, "the first await point is beyond the end");
}

#[tokio::test]
async fn consents_at_the_same_time_leave_the_pair_that_zoom_honours() {
    holds(Scenario::Consents, 0..6).await;
}

#[tokio::test]
async fn endings_and_beginnings_in_any_order_end_in_what_zoom_and_the_table_agree_on() {
    holds(Scenario::Endings, 0..6).await;
}

#[tokio::test]
async fn a_walk_ends_with_nothing_left() {
    holds(Scenario::Walk, 0..6).await;
}

#[tokio::test]
async fn a_downloader_that_is_killed_leaves_nothing_behind_and_nothing_out() {
    let kills = holds(Scenario::Downloads, 0..6).await;
    assert!(kills.iter().sum::<usize>() > 0, "nobody was killed");
}
