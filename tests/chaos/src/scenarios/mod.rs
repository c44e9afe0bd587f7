//! The scenarios.

mod consents;
mod disconnects;
mod downloads;
mod endings;
mod exchange;
mod moves;
mod refresh;
mod walk;

use clap::ValueEnum;

use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::weeks;
use crate::world::World;

/// Upper bound of the await points of one operation, for kills at a random point.
const MAX_AWAIT_POINTS: usize = 30;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Concurrent uses of one expired grant, the first of them killed.
    Refresh,
    /// A callback killed after the code exchange, while another app user's link uses the same grant.
    Exchange,
    /// Concurrent callbacks of one Zoom user.
    Consents,
    /// Concurrent disconnect of the last link, deauthorization event and new callback.
    Endings,
    /// A Zoom user moves to another account and removes the app; the event names the earlier account.
    Moves,
    /// The last link disconnected at a random moment of transfers, some killed or waiting.
    Disconnects,
    /// Recordings whose downloader process is killed with SIGKILL.
    Downloads,
    /// Random actions in any order, with kills and faults.
    Walk,
    /// Weeks of lost events, outages and kills, on a stack and a clock of its own.
    Weeks,
    /// One lasting outage of Zoom, AWS or the app, by the seed's number; nothing may be left to do by hand.
    Outages,
}

impl Scenario {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Exchange => "exchange",
            Self::Consents => "consents",
            Self::Endings => "endings",
            Self::Moves => "moves",
            Self::Disconnects => "disconnects",
            Self::Downloads => "downloads",
            Self::Walk => "walk",
            Self::Weeks => "weeks",
            Self::Outages => "outages",
        }
    }

    /// Runs one seed. An error of the simulation itself counts as a violation.
    pub async fn run(self, world: &World, seed: u64) -> Outcome {
        let rng = SeededRng::new(seed, self.name());
        let result = match self {
            Self::Refresh => Box::pin(refresh::run(world, seed, rng)).await,
            Self::Exchange => Box::pin(exchange::run(world, seed, rng)).await,
            Self::Consents => Box::pin(consents::run(world, rng)).await,
            Self::Endings => Box::pin(endings::run(world, rng)).await,
            Self::Moves => Box::pin(moves::run(world, rng)).await,
            Self::Disconnects => Box::pin(disconnects::run(world, rng)).await,
            Self::Downloads => Box::pin(downloads::run(world, rng)).await,
            Self::Walk => Box::pin(walk::run(world, rng)).await,
            Self::Weeks => weeks::run(rng).await,
            Self::Outages => weeks::run_outage(seed, rng).await,
        };
        result.unwrap_or_else(|error| Outcome {
            violations: vec![format!("simulation failed: {error:#}")],
            ..Outcome::default()
        })
    }
}

/// Maps a seed to an await point, so that consecutive seeds cover all points.
fn await_point(seed: u64, points: u64) -> usize {
    usize::try_from(seed % points).unwrap_or(0)
}
