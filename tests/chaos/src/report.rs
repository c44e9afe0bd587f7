//! What is printed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::scenarios::Scenario;
use crate::verdict::Verdict;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Which seed.
    pub(crate) seed: u64,
    /// Of which scenario.
    pub(crate) scenario: &'static str,
    /// Whether all held.
    pub(crate) ok: bool,
    /// Steps of operations that were run side by side, or to be killed.
    pub(crate) steps: usize,
    /// Operations that were killed.
    pub(crate) kills: usize,
    /// AWS calls that were spoiled.
    pub(crate) spoiled_calls: usize,
    /// Pairs that Zoom gave and nobody lived to save.
    pub(crate) unavoidable_losses: usize,
    /// What must not be.
    pub(crate) violations: Vec<String>,
    /// How long it took, in milliseconds.
    pub(crate) wall_ms: u64,
    /// How to run it again, if it must not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<String>,
}

impl Line {
    /// Of a seed's verdict.
    pub(crate) fn new(scenario: Scenario, seed: u64, verdict: Verdict, took: Duration) -> Self {
        let ok = verdict.is_ok();
        let name = scenario.name();
        let again = || {
            let end = seed.saturating_add(1);
            format!("cargo run --release -p chaos -- --seeds {seed}..{end} --scenario {name}")
        };
        Self {
            seed,
            scenario: name,
            ok,
            steps: verdict.steps,
            kills: verdict.kills,
            spoiled_calls: verdict.spoiled,
            unavoidable_losses: verdict.unavoidable_losses,
            violations: verdict.violations,
            wall_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            again: (!ok).then(again),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.ok { "held" } else { "VIOLATED" };
        write!(f, "{} {}: {state}", self.scenario, self.seed)?;
        for violation in &self.violations {
            write!(f, "\n  {violation}")?;
        }
        match &self.again {
            Some(again) => write!(f, "\n  again: {again}"),
            None => Ok(()),
        }
    }
}

/// All lines together.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    scenarios: BTreeMap<&'static str, Totals>,
}

#[derive(Debug, Default)]
struct Totals {
    seeds: usize,
    violated: usize,
    steps: usize,
    kills: usize,
    spoiled: usize,
    losses: usize,
    wall: Duration,
}

impl Summary {
    /// Counts a line.
    pub(crate) fn add(&mut self, line: &Line) {
        let totals = self.scenarios.entry(line.scenario).or_default();
        totals.seeds += 1;
        totals.violated += usize::from(!line.ok);
        totals.steps += line.steps;
        totals.kills += line.kills;
        totals.spoiled += line.spoiled_calls;
        totals.losses += line.unavoidable_losses;
        totals.wall += Duration::from_millis(line.wall_ms);
    }

    /// Whether anything was found that must not be.
    pub(crate) fn found_something(&self) -> bool {
        self.scenarios.values().any(|totals| totals.violated > 0)
    }

    /// For a person to read.
    pub(crate) fn after(&self, took: Duration) -> String {
        let mut text = format!(
            "{:<10} {:>7} {:>8} {:>9} {:>7} {:>8} {:>7} {:>9}\n",
            "scenario", "seeds", "violated", "steps", "kills", "spoiled", "losses", "ms a seed"
        );
        for (name, totals) in &self.scenarios {
            let each = totals.wall.as_millis() / u128::try_from(totals.seeds.max(1)).unwrap_or(1);
            text += &format!(
                "{name:<10} {:>7} {:>8} {:>9} {:>7} {:>8} {:>7} {each:>9}\n",
                totals.seeds,
                totals.violated,
                totals.steps,
                totals.kills,
                totals.spoiled,
                totals.losses,
            );
        }
        text + &format!("in {:.1} s", took.as_secs_f64())
    }
}
