//! Outcomes of seeds and their printed form.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::ValueEnum as _;
use serde::Serialize;

use crate::aws::AwsCondition;
use crate::scenarios::Scenario;

/// Counters and violations of one seed, or of all seeds of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Steps of interleaved operations.
    pub steps: usize,
    /// Killed operations and processes.
    pub kills: usize,
    /// AWS calls with an injected fault.
    pub faulted_calls: usize,
    /// AWS calls that conflicted with a transaction or received no response.
    pub disturbed_calls: usize,
    /// Token pairs that Zoom issued to an operation that was killed before it could save them.
    pub unavoidable_losses: usize,
    /// Requests to Zoom, counted by the scenarios over weeks.
    pub zoom_requests: usize,
    /// Violated invariants.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Whether all invariants hold.
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Printed outcome of one seed.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) seed: u64,
    pub(crate) scenario: &'static str,
    pub(crate) ok: bool,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    pub(crate) wall_ms: u64,
    /// Command that reproduces a violation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reproduce: Option<String>,
}

impl Line {
    pub(crate) fn new(
        scenario: Scenario,
        aws: &[AwsCondition],
        seed: u64,
        outcome: Outcome,
        elapsed: Duration,
    ) -> Self {
        let (ok, name) = (outcome.is_ok(), scenario.name());
        let reproduce = || {
            let end = seed.saturating_add(1);
            let conditions = aws.iter().filter_map(AwsCondition::to_possible_value);
            let conditions: String =
                conditions.map(|condition| format!(" --aws {}", condition.get_name())).collect();
            format!(
                "cargo run --release -p chaos -- --seeds {seed}..{end} --scenario {name}{conditions}"
            )
        };
        Self {
            seed,
            scenario: name,
            ok,
            outcome,
            wall_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            reproduce: (!ok).then(reproduce),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.ok { "ok" } else { "VIOLATED" };
        write!(f, "{} {}: {state}", self.scenario, self.seed)?;
        for violation in &self.outcome.violations {
            write!(f, "\n  {violation}")?;
        }
        match &self.reproduce {
            Some(command) => write!(f, "\n  reproduce: {command}"),
            None => Ok(()),
        }
    }
}

/// Totals of all lines, by scenario.
#[derive(Debug, Default)]
pub(crate) struct Summary(BTreeMap<&'static str, Totals>);

#[derive(Debug, Default)]
struct Totals {
    seeds: usize,
    violated_seeds: usize,
    counters: Outcome,
    wall_ms: u64,
}

impl Summary {
    /// Adds one line to the totals.
    pub(crate) fn add(&mut self, line: &Line) {
        let totals = self.0.entry(line.scenario).or_default();
        totals.seeds += 1;
        totals.violated_seeds += usize::from(!line.ok);
        totals.counters.steps += line.outcome.steps;
        totals.counters.kills += line.outcome.kills;
        totals.counters.faulted_calls += line.outcome.faulted_calls;
        totals.counters.disturbed_calls += line.outcome.disturbed_calls;
        totals.counters.unavoidable_losses += line.outcome.unavoidable_losses;
        totals.wall_ms += line.wall_ms;
    }

    /// Whether any seed violated an invariant.
    pub(crate) fn has_violations(&self) -> bool {
        self.0.values().any(|totals| totals.violated_seeds > 0)
    }

    /// Formats the totals as a table.
    pub(crate) fn table(&self, elapsed: Duration) -> String {
        let mut text = format!(
            "{:<10} {:>7} {:>8} {:>9} {:>7} {:>8} {:>9} {:>7} {:>9}\n",
            "scenario",
            "seeds",
            "violated",
            "steps",
            "kills",
            "faults",
            "disturbed",
            "losses",
            "ms/seed"
        );
        for (name, totals) in &self.0 {
            let counters = &totals.counters;
            let average_ms = totals.wall_ms / (totals.seeds.max(1) as u64);
            text += &format!(
                "{name:<10} {:>7} {:>8} {:>9} {:>7} {:>8} {:>9} {:>7} {average_ms:>9}\n",
                totals.seeds,
                totals.violated_seeds,
                counters.steps,
                counters.kills,
                counters.faulted_calls,
                counters.disturbed_calls,
                counters.unavoidable_losses,
            );
        }
        text + &format!("total: {:.1} s", elapsed.as_secs_f64())
    }
}
