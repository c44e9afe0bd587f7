//! What is tried.

mod consents;
mod downloads;
mod endings;
mod exchange;
mod refresh;
mod walk;

use clap::ValueEnum;

use crate::dice::Dice;
use crate::verdict::Verdict;
use crate::world::World;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Uses of one expired grant at the same time, the first of them killed.
    Refresh,
    /// A callback killed after the exchange, with another app user's link active on the same grant.
    Exchange,
    /// Consents of one Zoom user that come back at the same time.
    Consents,
    /// The last link given up, a deauthorization that is late or true, and a new callback, at the same time.
    Endings,
    /// Recordings on their way to the bucket, the downloader a process of its own that is killed (SIGKILL).
    Downloads,
    /// Anything, in any order, with anybody killed and any AWS call spoiled.
    Walk,
}

impl Scenario {
    /// As it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Exchange => "exchange",
            Self::Consents => "consents",
            Self::Endings => "endings",
            Self::Downloads => "downloads",
            Self::Walk => "walk",
        }
    }

    /// Runs one seed. That the simulation itself does not work is a violation like any other.
    pub async fn run(self, world: &World, seed: u64) -> Verdict {
        let dice = Dice::new(seed, self.name());
        let ran = match self {
            Self::Refresh => refresh::run(world, seed, dice).await,
            Self::Exchange => exchange::run(world, seed, dice).await,
            Self::Consents => consents::run(world, dice).await,
            Self::Endings => endings::run(world, dice).await,
            Self::Downloads => downloads::run(world, dice).await,
            Self::Walk => walk::run(world, dice).await,
        };
        ran.unwrap_or_else(|error| Verdict {
            violations: vec![format!("the simulation does not work: {error:#}")],
            ..Verdict::default()
        })
    }
}

/// The await point of a seed: neighbouring seeds have neighbouring points, so that a range of seeds as
/// long as there are points has each once.
fn await_point(seed: u64, points: u64) -> usize {
    usize::try_from(seed % points).unwrap_or(0)
}
